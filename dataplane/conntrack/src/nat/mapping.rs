//! Endpoint-independent mapping (RFC 4787 section 4.1): what a client sends from one port has one port outside, whatever
//! server it goes to.
//!
//! A mapping is kept by the shard of its client's port, which all connections from there are delegated to
//! ([`crate::message`]). It lasts as long as any of them. Its port serves no other client: shards draw from ports of
//! their own, which are those that they own by address and port alone.

use super::binder::Wish;
use super::rules::Ports;
use super::search::choices;
use crate::shard::Shard;
use crate::steer::ShardId;
use crate::tuple::{Selector, Tuple};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a client's port is translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Mapped {
    /// Address, as it lies in memory.
    address: [u32; 4],
    port: u16,
    spare: u16,
    /// Connections that use it.
    uses: u32,
}

impl Mapped {
    fn address(&self) -> u128 {
        zerocopy::transmute!(self.address)
    }
}

/// A client's port: the original tuple without its server.
fn endpoint(original: &Tuple) -> Tuple {
    half(original.src, original.selector.sport(), original.selector)
}

/// An address and port with nobody at the other end.
fn half(address: u128, port: u16, selector: Selector) -> Tuple {
    Tuple { src: address, dst: 0, selector: selector.with_ports(u32::from(port) << 16) }
}

impl Shard {
    /// The shard that keeps the mapping of a connection's client.
    pub(super) fn home(&self, original: &Tuple) -> ShardId {
        self.steering.owner_of_endpoint(&endpoint(original))
    }

    /// What a connection's source is to become by a rule that wishes `wish`: what its client's port already is, or a port
    /// that is nobody's yet. `None` where there is none.
    #[inline(never)]
    pub(super) fn map(&mut self, original: &Tuple, wish: Wish, is_random: bool) -> Option<Wish> {
        if let Some(mapped) = self.mappings.get(&endpoint(original)) {
            let ports = Ports::Among(mapped.port..=mapped.port);
            return Some(Wish { address: mapped.address(), ports, steers: true });
        }
        let own = original.selector.sport();
        // Without ports there is nothing to be shared.
        let Some(range) = choices(original.protocol(), own, &wish.ports) else { return Some(wish) };
        let steering = self.steering;
        let is_home = |port: u16| {
            steering.owner_of_endpoint(&half(wish.address, port, original.selector)) == steering.own()
        };
        let random = self.draw();
        let pools = &self.configuration.pools;
        let free = |start| {
            let range = range.clone();
            pools.free(original.family(), wish.address, original.protocol(), range, start)
        };
        let keeps = |port: &u16| *port == own && !is_random && self.tries == 0 && is_home(own);
        let kept = range.contains(&own).then(|| free(own).next().filter(keeps)).flatten();
        let port =
            kept.or_else(|| free(super::search::draw_from(&range, random)).find(|port| is_home(*port)))?;
        Some(Wish { ports: Ports::Among(port..=port), ..wish })
    }

    /// Counts the newcomer's use of its client's mapping, which begins with the first.
    #[inline(never)]
    pub(super) fn use_mapping(&mut self, original: &Tuple) -> bool {
        let endpoint = endpoint(original);
        if let Some(mapped) = self.mappings.get_mut(&endpoint) {
            mapped.uses += 1;
            return true;
        }
        let reply = self.newcomer.reply;
        let address = zerocopy::transmute!(reply.dst);
        self.mappings.insert(&endpoint, Mapped { address, port: reply.reply_port(), spare: 0, uses: 1 })
    }

    /// Gives back what the newcomer was bound to: it does not enter the table.
    pub(crate) fn unbind_source(&mut self, original: &Tuple) {
        if self.newcomer.mapped {
            self.leave_mapping(original);
        }
    }

    /// Counts it no more; the mapping ends with the last.
    pub(crate) fn leave_mapping(&mut self, original: &Tuple) {
        let endpoint = endpoint(original);
        let Some(mapped) = self.mappings.get_mut(&endpoint) else { return };
        mapped.uses -= 1;
        if mapped.uses == 0 {
            self.mappings.remove(&endpoint);
        }
    }
}
