//! First packets that find no port: every port of every address that they could be translated to leads to their server
//! already.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::ensure;
use sluice_conntrack::nat::PortChoice;
use sluice_conntrack::verdict::{DropReason, Verdict};
use sluice_conntrack::{Capacity, Instant, Shard};
use sluice_memory::Pages;

use crate::configuration::{INSIDE, translating};
use crate::connection::{Connection, Endpoint, Protocol, Step};
use crate::driver::Buffer;

/// Servers that no port is left for; one refused packet goes to each.
pub const SERVERS: usize = 8;

/// Ports of all addresses together: as many as are tried for a packet, so that it is refused only when all have been.
const PORTS: u16 = 128;

/// Longer than it is remembered that there is none.
const FORGOTTEN: Duration = Duration::from_millis(101);

/// A shard that has no port left, and a first packet to each server.
pub struct Refused {
    shard: Shard,
    now: Instant,
    buffers: Vec<Buffer>,
}

impl Refused {
    /// One whose ports are those of so many addresses, at most 128.
    pub fn new(addresses: u16) -> anyhow::Result<Self> {
        let entries = SERVERS as u32 * u32::from(PORTS);
        let last = 1999 + PORTS / addresses;
        let configuration = translating(2 * entries, addresses.into(), PortChoice::Among(2000..=last));
        let now = Instant::from_ns(1_000_000_000);
        let capacity = Capacity { entries: 2 * entries, seed: [1, 2, 3, 4], pages: Pages::Huge2M };
        let mut it = Self { shard: Shard::new(capacity, configuration, now)?, now, buffers: Vec::new() };
        for client in 0..2 * PORTS {
            it.write(client);
            if it.process() > 0 {
                it.forget();
            }
        }
        ensure!(it.shard.len() == entries, "{} of {entries} ports are taken", it.shard.len());
        it.write(2 * PORTS);
        it.forget();
        Ok(it)
    }

    /// Lets it be forgotten that there is no port.
    pub fn forget(&mut self) {
        self.now = self.now.after(FORGOTTEN);
    }

    /// Writes the first packets of a client to all servers.
    fn write(&mut self, client: u16) {
        let client = Endpoint { address: Ipv4Addr::new(198, 18, 0, 1), port: 10_000 + client };
        let frame = |server: usize| {
            let server = Endpoint { address: Ipv4Addr::new(198, 19, 0, server as u8), port: 53 };
            let protocol = Protocol::Udp;
            Connection { protocol, client, server, client_isn: 0, server_isn: 0 }.frame(Step::Open)
        };
        self.buffers = (0..SERVERS).map(|server| Buffer { bytes: frame(server), port: INSIDE }).collect();
    }

    /// Takes the packets through the shard, as one burst; gives how many found no port.
    pub fn process(&mut self) -> usize {
        let mut verdicts = [Verdict::dropped(DropReason::Truncated); SERVERS];
        self.shard.process(self.now, &mut self.buffers, &mut verdicts);
        let is_refused = |verdict: &&Verdict| verdict.drop_reason() == Some(DropReason::NatExhausted);
        verdicts.iter().filter(is_refused).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_refused_again_and_again() {
        for addresses in [1, 16] {
            let mut refused = Refused::new(addresses).unwrap();
            assert_eq!((refused.process(), refused.process()), (SERVERS, SERVERS), "{addresses}");
        }
    }
}
