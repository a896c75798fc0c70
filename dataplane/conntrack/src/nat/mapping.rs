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

use super::bind::Bound;
use super::binder::{Binder, Wish};
use super::budget::Budget;
use super::rules::{Filtering, Ports};
use super::search::{choices, draw_from, has_choice};
use super::used_ports::around;
use crate::entry::Status;
use crate::ids::ShardId;
use crate::shard::Shard;
use crate::tuple::{Selector, Tuple, protocol};
use crate::unconfirmed::Unconfirmed;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a client's port is translated to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Mapped {
    /// Address, as it lies in memory.
    address: [u32; 4],
    port: u16,
    /// Whether the address is the box's own, 1 or 0.
    masquerades: u16,
    /// Connections that use it.
    pub(crate) uses: u32,
}

impl Mapped {
    fn address(&self) -> u128 {
        zerocopy::transmute!(self.address)
    }

    /// The box's own address that it gives away, if it does.
    pub(super) fn own_address(&self) -> Option<u128> {
        (self.masquerades != 0).then(|| self.address())
    }
}

/// The client that a mapped address and port outside are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Client {
    /// Address, as it lies in memory.
    address: [u32; 4],
    port: u16,
    /// Whether anybody may begin connections to it, 1 or 0.
    open: u16,
}

impl Client {
    /// The client that sends by this tuple.
    fn of(sends: &Tuple, filtering: Filtering) -> Self {
        let is_open = filtering == Filtering::EndpointIndependent && protocol::has_ports(sends.protocol());
        let (address, port) = (zerocopy::transmute!(sends.src), sends.selector.sport());
        Self { address, port, open: u16::from(is_open) }
    }

    /// Whether it sends by this tuple.
    pub(crate) fn sends(&self, tuple: &Tuple) -> bool {
        let address: u128 = zerocopy::transmute!(self.address);
        address == tuple.src && self.port == tuple.selector.sport()
    }
}

/// An address and port with nobody at the other end.
const fn half(address: u128, port: u16, selector: Selector) -> Tuple {
    Tuple { src: address, dst: 0, selector: selector.with_ports((port as u32) << 16) }
}

/// The address and port that a client sends from by this tuple.
pub(crate) const fn inside(sends: &Tuple) -> Tuple {
    half(sends.src, sends.selector.sport(), sends.selector)
}

/// The address and port outside that its packets come to by this tuple.
pub(crate) const fn outside(comes: &Tuple) -> Tuple {
    half(comes.dst, comes.reply_port(), comes.selector)
}

impl Shard {
    /// The shard that keeps the mapping of a connection's client.
    pub(super) fn home(&self, original: &Tuple) -> ShardId {
        self.steering().owner_of_endpoint(&inside(original))
    }

    /// Whether a rule still makes the mapping of a connection's client, or would make one.
    pub(super) fn may_map(&self, binder: &Binder, original: &Tuple, own: Option<IpAddr>) -> bool {
        let mapped = self.mappings.get(&inside(original));
        mapped.is_none_or(|mapped| binder.offers(original, own, mapped.address(), mapped.port))
    }

    /// What a connection's source is to become by a rule that wishes `wish`: what its client's port already is, or a port
    /// that is nobody's yet. `None` where there is none.
    #[inline(never)]
    pub(super) fn map(
        &self,
        unconfirmed: &Unconfirmed,
        wish: Wish,
        is_random: bool,
        budget: &mut Budget,
    ) -> Option<Wish> {
        let original = &unconfirmed.original;
        if let Some(mapped) = self.mappings.get(&inside(original)) {
            let ports = Ports::Among(mapped.port..=mapped.port);
            return Some(Wish { address: mapped.address(), ports, steers: true });
        }
        let own = original.selector.sport();
        // Without ports there is nothing to be shared.
        let Some(range) = choices(original, own, &wish.ports) else { return Some(wish) };
        let keeps = range.contains(&own) && !is_random;
        let kept = keeps.then_some(own..=own);
        let drawn = around(&range, draw_from(&range, self.nat_hash(&inside(original))));
        let mut parts = kept.into_iter().chain(drawn);
        let port = parts.find_map(|part| self.find_mappable(unconfirmed, wish.address, part, budget))?;
        Some(Wish { ports: Ports::Among(port..=port), ..wish })
    }

    /// One of some ports in a row of an address that no mapping has, of those whose mappings this shard keeps.
    fn find_mappable(
        &self,
        unconfirmed: &Unconfirmed,
        address: u128,
        ports: RangeInclusive<u16>,
        budget: &mut Budget,
    ) -> Option<u16> {
        let (steering, pools) = (self.steering(), &self.configuration.pools);
        let comes = Tuple { dst: address, ..unconfirmed.reply };
        let outside = |port| half(address, port, unconfirmed.original.selector);
        let base = steering.endpoint_base(&outside(0));
        let next = |from| pools.next_free(&comes, from..=*ports.end(), |word| steering.own_ports(base, word));
        let mut port = next(*ports.start())?;
        while budget.spend() {
            let is_nobodys = self.clients.get(&outside(port)).is_none();
            if is_nobodys && !self.was_refused(unconfirmed.attempt, &comes.with_reply_port(port)) {
                return Some(port);
            }
            port = next(port.checked_add(1)?)?;
        }
        None
    }

    /// Counts a connection's use of its client's mapping, which begins with the first. False where there is no room.
    #[inline(never)]
    pub(super) fn use_mapping(&mut self, unconfirmed: &Unconfirmed, filtering: Filtering) -> bool {
        let original = &unconfirmed.original;
        if let Some(mapped) = self.mappings.get_mut(&inside(original)) {
            mapped.uses += 1;
            return true;
        }
        let comes = unconfirmed.reply;
        let (address, port) = (zerocopy::transmute!(comes.dst), comes.reply_port());
        let masquerades = u16::from(unconfirmed.masqueraded);
        let mapped = Mapped { address, port, masquerades, uses: 1 };
        let is_alone = has_choice(comes.protocol());
        if is_alone && !self.clients.insert(&outside(&comes), Client::of(original, filtering)) {
            return false;
        }
        let is_kept = self.mappings.insert(&inside(original), mapped);
        if is_alone && !is_kept {
            self.clients.remove(&outside(&comes));
        }
        is_kept
    }

    /// Gives a connection the client as destination to whom the address and port belong that it was sent to, if anybody may
    /// speak to those.
    #[inline(never)]
    pub(super) fn enter(&mut self, unconfirmed: &mut Unconfirmed) -> Bound {
        let original = &unconfirmed.original;
        let is_open = self.configuration.binders.is_open(original.family(), original.dst);
        if !is_open || !protocol::has_ports(original.protocol()) {
            return Bound::Found;
        }
        let outside = outside(original);
        let home = self.steering().owner_of_endpoint(&outside);
        if home != self.steering().own() && !unconfirmed.delegated {
            return Bound::Elsewhere(home);
        }
        if let Some(client) = self.clients.get(&outside).filter(|client| client.open != 0) {
            let reply = &mut unconfirmed.reply;
            reply.src = zerocopy::transmute!(client.address);
            reply.selector = reply.selector.with_sport(client.port);
            unconfirmed.entered = true;
        }
        Bound::Found
    }

    /// Counts a connection's use of the mapping that it came in by. False if that has ended meanwhile.
    pub(super) fn use_entered(&mut self, unconfirmed: &Unconfirmed) -> bool {
        let mapped = self.mappings.get_mut(&inside(&unconfirmed.reply));
        mapped.map(|mapped| mapped.uses += 1).is_some()
    }

    /// Gives back what a connection was bound to: it does not enter the table.
    pub(crate) fn unbind_source(&mut self, unconfirmed: &Unconfirmed) {
        let Unconfirmed { original, reply, .. } = unconfirmed;
        if unconfirmed.mapped {
            self.leave_mapping(original, reply);
        }
        if unconfirmed.entered {
            self.leave_mapping(reply, original);
        }
    }

    /// Counts the use of a mapping by a connection of these tuples no more.
    #[inline(never)]
    pub(crate) fn leave_mapping_of(&mut self, [original, reply]: &[Tuple; 2], status: Status) {
        if status.contains(Status::ENTERED) {
            self.leave_mapping(reply, original);
        } else {
            self.leave_mapping(original, reply);
        }
    }

    /// Counts a use no more, by a client that sends by one tuple and gets by the other; the mapping ends with the last.
    fn leave_mapping(&mut self, sends: &Tuple, comes: &Tuple) {
        let inside = inside(sends);
        let Some(mapped) = self.mappings.get_mut(&inside) else { return };
        mapped.uses -= 1;
        if mapped.uses > 0 {
            return;
        }
        self.mappings.remove(&inside);
        if has_choice(comes.protocol()) {
            self.clients.remove(&outside(comes));
        }
    }
}
