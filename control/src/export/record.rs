//! What is told of a connection, by the host's clock.

use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use sluice_conntrack::Tuple;
use sluice_conntrack::entry::Status;
use sluice_conntrack::events::End;
use sluice_conntrack::listing::{EntrySnapshot, Traffic};

/// What was seen of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It has begun.
    Begin,
    /// It goes on.
    Alive,
    /// It has ended.
    End,
}

/// Microseconds since 1970, UTC.
pub type Micros = u64;

/// What time it is.
pub fn now_us() -> Micros {
    micros(SystemTime::now())
}

/// A time of the host's clock.
pub fn micros(at: SystemTime) -> Micros {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as Micros
}

/// Who had which addresses and ports, as the journal keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// What was seen.
    pub what: What,
    /// When.
    pub at_us: Micros,
    /// When the connection began: to the second, unless this is its begin.
    pub began_us: Micros,
    /// The tuple of packets as they come from the client.
    pub original: Tuple,
    /// The tuple of packets as they come from the server.
    pub reply: Tuple,
    /// Whether its source, and whether its destination, is translated.
    pub translated: [bool; 2],
}

/// What all exporters are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The connection.
    pub translation: Translation,
    /// What has passed in the original and the reply direction; `None` without accounting.
    pub traffic: Option<[Traffic; 2]>,
    /// State of its tracker, where the protocol has states.
    pub state: Option<&'static str>,
    /// Why it has ended, if it has.
    pub end: Option<End>,
}

/// What a `log` rule has said of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When the packet came.
    pub at_us: Micros,
    /// What the log says of it.
    pub text: String,
}

impl Record {
    /// Of an entry, at a time.
    pub fn of(entry: &EntrySnapshot, what: What, at_us: Micros, end: Option<End>) -> Record {
        let began_us = match what {
            What::Begin => at_us,
            What::Alive | What::End => at_us.saturating_sub(u64::from(entry.age_s) * 1_000_000),
        };
        let translated = [Status::SRC_NAT, Status::DST_NAT].map(|bit| entry.status.contains(bit));
        let (original, reply) = (entry.original, entry.reply);
        Record {
            translation: Translation { what, at_us, began_us, original, reply, translated },
            traffic: entry.traffic,
            state: entry.state,
            end,
        }
    }
}

impl Translation {
    /// Whether its source or its destination is translated.
    pub fn is_translated(&self) -> bool {
        self.translated.contains(&true)
    }

    /// What the outside knows its ends by: the client, if its source is translated, and the server, if its destination is. Of ICMP
    /// the port is the identifier.
    pub fn public(&self) -> impl Iterator<Item = SocketAddr> {
        let [source, destination] = self.translated;
        let end = |address: IpAddr, port: u16| SocketAddr::new(address, port);
        let client = end(self.reply.destination(), self.reply.reply_port());
        let server = end(self.original.destination(), self.original.reply_port());
        [source.then_some(client), destination.then_some(server)].into_iter().flatten()
    }
}
