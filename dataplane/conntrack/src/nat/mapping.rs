//! Endpoint-independent mapping (RFC 4787 section 4.1): what a client sends from one port has one port outside, whatever
//! server it goes to.
//!
//! A mapping is kept by the shard of its client's port, which all connections from there are delegated to
//! ([`crate::exchange`]). It lasts as long as any of them. Its port serves no other client: shards draw from ports of
//! their own, which are those that they own by address and port alone, and keep in mind whose each is. A mapping that the
//! rules no longer make serves the connections that have it, and no more.
//!
//! Where filtering is endpoint-independent, too (section 5), whoever sends something to a mapping's address and port outside
//! begins a connection with its client, as by a destination rule. To the same shard such connections are delegated as well.

use super::ports::has_choice;
use super::rules::Filtering;
use crate::tuple::{Selector, Tuple, protocol};
use crate::tuple_map::TupleMap;
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a client's port is translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Mapped {
    /// Address, as it lies in memory.
    address: [u32; 4],
    pub(super) port: u16,
    /// Whether the address is the box's own, 1 or 0.
    masquerades: u16,
    /// Connections that use it.
    pub(crate) uses: u32,
}

impl Mapped {
    pub(super) fn address(&self) -> u128 {
        zerocopy::transmute!(self.address)
    }

    /// Whether packets that come by this tuple come to it.
    fn is_at(&self, inbound: &Tuple) -> bool {
        (self.address(), self.port) == (inbound.dst, inbound.reply_port())
    }

    /// The box's own address that it gives away, if it does.
    pub(crate) fn own_address(&self) -> Option<u128> {
        (self.masquerades != 0).then(|| self.address())
    }
}

/// The client that a mapped address and port outside are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Client {
    /// Address, as it lies in memory.
    address: [u32; 4],
    pub(super) port: u16,
    /// Whether anybody may begin connections to it, 1 or 0.
    open: u16,
}

impl Client {
    /// The client that sends by this tuple.
    fn of(outbound: &Tuple, filtering: Filtering) -> Self {
        let is_open = filtering == Filtering::EndpointIndependent && protocol::has_ports(outbound.protocol());
        let (address, port) = (zerocopy::transmute!(outbound.src), outbound.selector.sport());
        Self { address, port, open: u16::from(is_open) }
    }

    pub(super) fn address(&self) -> u128 {
        zerocopy::transmute!(self.address)
    }

    /// Whether anybody may begin connections to it.
    pub(crate) const fn is_open(&self) -> bool {
        self.open != 0
    }

    /// Whether it sends by this tuple.
    pub(crate) fn sends(&self, tuple: &Tuple) -> bool {
        self.address() == tuple.src && self.port == tuple.selector.sport()
    }
}

/// An address and port with nobody at the other end.
pub(super) const fn half(address: u128, port: u16, selector: Selector) -> Tuple {
    Tuple { src: address, dst: 0, selector: selector.with_ports((port as u32) << 16) }
}

/// The address and port that a client sends from by this tuple.
pub(crate) const fn inside(outbound: &Tuple) -> Tuple {
    half(outbound.src, outbound.selector.sport(), outbound.selector)
}

/// The address and port outside that its packets come to by this tuple.
pub(crate) const fn outside(inbound: &Tuple) -> Tuple {
    half(inbound.dst, inbound.reply_port(), inbound.selector)
}

/// The mappings of a shard.
#[derive(Debug)]
pub(crate) struct Mappings {
    /// By the client's address and port.
    mapped: TupleMap<Mapped>,
    /// Whose they are, by address and port outside.
    clients: TupleMap<Client>,
}

impl Mappings {
    /// Room for so many, found by an index keyed by `seed`.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(super) fn new(capacity: u32, seed: [u64; 4]) -> io::Result<Self> {
        Ok(Self { mapped: TupleMap::new(capacity, seed)?, clients: TupleMap::new(capacity, seed)? })
    }

    /// Bytes of memory behind them, about.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.mapped.memory_bytes() + self.clients.memory_bytes()
    }

    /// How many mappings there are, and how many ports outside that are somebody's.
    pub(crate) const fn len(&self) -> (u32, u32) {
        (self.mapped.len(), self.clients.len())
    }

    /// What is kept for the client at this end ([`inside`]).
    pub(crate) fn get(&self, inside: &Tuple) -> Option<Mapped> {
        self.mapped.get(inside)
    }

    /// The client that this end ([`outside`]) belongs to.
    pub(crate) fn client(&self, outside: &Tuple) -> Option<Client> {
        self.clients.get(outside)
    }

    /// Whether a connection whose client sends by the outbound tuple and receives by the inbound one can use its client's mapping, or begin
    /// one: neither end belongs to another.
    pub(crate) fn may_join(&self, outbound: &Tuple, inbound: &Tuple) -> bool {
        let is_clients = |client: Client| client.sends(outbound);
        self.get(&inside(outbound)).is_none_or(|mapped| mapped.is_at(inbound))
            && (!has_choice(inbound.protocol()) || self.client(&outside(inbound)).is_none_or(is_clients))
    }

    /// Whether a connection from outside can have come by a mapping: what it was sent to is its client's.
    pub(crate) fn leads(&self, original: &Tuple, reply: &Tuple) -> bool {
        self.get(&inside(reply)).is_some_and(|mapped| mapped.is_at(original))
            && self.client(&outside(original)).is_some_and(|client| client.sends(reply))
    }

    /// Counts the use of a mapping by a connection whose client sends by the outbound tuple and receives by the inbound one; it begins with the first.
    /// False where there is no room.
    pub(super) fn join(
        &mut self,
        outbound: &Tuple,
        inbound: &Tuple,
        masquerades: bool,
        filtering: Filtering,
    ) -> bool {
        if self.join_known(outbound) {
            return true;
        }
        let (address, port) = (zerocopy::transmute!(inbound.dst), inbound.reply_port());
        let mapped = Mapped { address, port, masquerades: u16::from(masquerades), uses: 1 };
        let is_alone = has_choice(inbound.protocol());
        if is_alone && !self.clients.insert(&outside(inbound), Client::of(outbound, filtering)) {
            return false;
        }
        let is_kept = self.mapped.insert(&inside(outbound), mapped);
        if is_alone && !is_kept {
            self.clients.remove(&outside(inbound));
        }
        is_kept
    }

    /// Counts one more use of a mapping; false where there is none.
    pub(super) fn join_known(&mut self, outbound: &Tuple) -> bool {
        self.mapped.get_mut(&inside(outbound)).map(|mapped| mapped.uses += 1).is_some()
    }

    /// Counts a use no more; the mapping ends with the last.
    pub(super) fn leave(&mut self, outbound: &Tuple, inbound: &Tuple) {
        let inside = inside(outbound);
        let Some(mapped) = self.mapped.get_mut(&inside) else { return };
        mapped.uses -= 1;
        if mapped.uses > 0 {
            return;
        }
        self.mapped.remove(&inside);
        if has_choice(inbound.protocol()) {
            self.clients.remove(&outside(inbound));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Filtering = Filtering::EndpointIndependent;

    fn tuples(server: u8) -> [Tuple; 2] {
        let server = [198, 51, 100, server].into();
        let outbound = Tuple::new([10, 0, 0, 1].into(), server, protocol::UDP, 4000, 53);
        [outbound, Tuple::new(server, [203, 0, 113, 1].into(), protocol::UDP, 53, 5000)]
    }

    #[test]
    fn a_mapping_lasts_as_long_as_any_of_its_connections() {
        let mut mappings = Mappings::new(4, [1, 2, 3, 4]).unwrap();
        for server in 1..=2 {
            let [outbound, inbound] = tuples(server);
            assert!(mappings.join(&outbound, &inbound, true, OPEN));
        }
        let [outbound, inbound] = tuples(3);
        let mapped = mappings.get(&inside(&outbound)).unwrap();
        assert_eq!((mapped.address(), mapped.port, mapped.uses), (inbound.dst, 5000, 2));
        assert_eq!(mapped.own_address(), Some(inbound.dst));
        let client = mappings.client(&outside(&inbound)).unwrap();
        assert!(client.is_open() && client.sends(&outbound));
        mappings.leave(&outbound, &inbound);
        assert_eq!(mappings.len(), (1, 1));
        mappings.leave(&outbound, &inbound);
        assert_eq!((mappings.len(), mappings.join_known(&outbound)), ((0, 0), false));
    }

    #[test]
    fn a_full_map_keeps_nothing_of_a_mapping() {
        let mut mappings = Mappings::new(1, [1, 2, 3, 4]).unwrap();
        let [outbound, inbound] = tuples(1);
        assert!(mappings.join(&outbound, &inbound, false, Filtering::default()));
        let other = Tuple { src: 7, ..outbound };
        assert!(!mappings.join(&other, &Tuple { dst: 8, ..inbound }, false, OPEN));
        assert_eq!(mappings.len(), (1, 1));
        assert!(!mappings.client(&outside(&inbound)).unwrap().is_open());
    }
}
