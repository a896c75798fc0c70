//! Endpoint-independent mapping (RFC 4787 section 4.1): what a client sends from one port has one port outside, whatever
//! server it goes to.
//!
//! A mapping is kept by the shard of its client's port, which all connections from there are delegated to
//! ([`crate::message`]). It lasts as long as any of them. Its port serves no other client: shards draw from ports of
//! their own, which are those that they own by address and port alone.
//!
//! Where filtering is endpoint-independent, too (section 5), a mapping is published: whoever sends something to its
//! address and port outside begins a connection with its client, as by a destination rule. The same shard keeps that: to it
//! such connections are delegated as well.

use super::bind::Bound;
use super::binder::Wish;
use super::rules::{Filtering, Ports};
use super::search::choices;
use crate::entry::Status;
use crate::shard::Shard;
use crate::steer::ShardId;
use crate::tuple::{Direction, Selector, Tuple, protocol};
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

/// The client that a published mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub(crate) struct Client {
    /// Address, as it lies in memory.
    address: [u32; 4],
    port: u16,
    spare: u16,
}

impl Client {
    /// The client that sends by this tuple.
    pub(crate) fn of(sends: &Tuple) -> Self {
        Self { address: zerocopy::transmute!(sends.src), port: sends.selector.sport(), spare: 0 }
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
        self.steering.owner_of_endpoint(&inside(original))
    }

    /// What a connection's source is to become by a rule that wishes `wish`: what its client's port already is, or a port
    /// that is nobody's yet. `None` where there is none.
    #[inline(never)]
    pub(super) fn map(&mut self, original: &Tuple, wish: Wish, is_random: bool) -> Option<Wish> {
        if let Some(mapped) = self.mappings.get(&inside(original)) {
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

    /// Counts the newcomer's use of its client's mapping, which begins with the first. False where there is no room.
    #[inline(never)]
    pub(super) fn use_mapping(&mut self, original: &Tuple, filtering: Filtering) -> bool {
        if let Some(mapped) = self.mappings.get_mut(&inside(original)) {
            mapped.uses += 1;
            return true;
        }
        let comes = self.newcomer.reply;
        let (address, port) = (zerocopy::transmute!(comes.dst), comes.reply_port());
        let masquerades = u16::from(self.newcomer.masqueraded);
        let mapped = Mapped { address, port, masquerades, uses: 1 };
        if !self.mappings.insert(&inside(original), mapped) {
            return false;
        }
        // Its port is in use even if those that use it came in by it.
        self.configuration.pools.take(comes.family(), comes.dst, comes.protocol(), port);
        if filtering == Filtering::EndpointIndependent && protocol::has_ports(comes.protocol()) {
            // Where there is no room, only those that the client speaks to reach it.
            let _ = self.published.insert(&outside(&comes), Client::of(original));
        }
        true
    }

    /// Gives the newcomer the client as destination to whom the address and port belong that it was sent to, if anybody may
    /// speak to those.
    #[inline(never)]
    pub(super) fn enter(&mut self, original: &Tuple) -> Bound {
        let is_open = self.configuration.binders.is_open(original.family(), original.dst);
        if !is_open || !protocol::has_ports(original.protocol()) {
            return Bound::Found;
        }
        let outside = outside(original);
        let home = self.steering.owner_of_endpoint(&outside);
        if home != self.steering.own() && !self.newcomer.delegated {
            return Bound::Elsewhere(home);
        }
        if let Some(client) = self.published.get(&outside) {
            let reply = &mut self.newcomer.reply;
            reply.src = zerocopy::transmute!(client.address);
            reply.selector = reply.selector.with_sport(client.port);
            self.newcomer.entered = true;
        }
        Bound::Found
    }

    /// Counts the newcomer's use of the mapping that it came in by. False if that has ended meanwhile.
    pub(super) fn use_entered(&mut self) -> bool {
        let mapped = self.mappings.get_mut(&inside(&self.newcomer.reply));
        mapped.map(|mapped| mapped.uses += 1).is_some()
    }

    /// Gives back what the newcomer was bound to: it does not enter the table.
    pub(crate) fn unbind_source(&mut self, original: &Tuple) {
        let reply = self.newcomer.reply;
        if self.newcomer.mapped {
            self.leave_mapping(original, &reply);
        }
        if self.newcomer.entered {
            self.leave_mapping(&reply, original);
        }
    }

    /// Counts an entry's use of a mapping no more.
    #[inline(never)]
    pub(crate) fn leave_mapping_of(&mut self, index: u32) {
        let (original, reply) =
            (self.entries.tuple(index, Direction::Original), self.entries.tuple(index, Direction::Reply));
        if self.entries.at(index).status.has(Status::ENTERED) {
            self.leave_mapping(&reply, &original);
        } else {
            self.leave_mapping(&original, &reply);
        }
    }

    /// Counts a use no more, by a client that sends by one tuple and gets by the other; the mapping ends with the last.
    fn leave_mapping(&mut self, sends: &Tuple, comes: &Tuple) {
        let (inside, outside) = (inside(sends), outside(comes));
        let Some(mapped) = self.mappings.get_mut(&inside) else { return };
        mapped.uses -= 1;
        if mapped.uses > 0 {
            return;
        }
        self.mappings.remove(&inside);
        self.configuration.pools.give_back(comes.family(), comes.dst, comes.protocol(), comes.reply_port());
        if self.published.get(&outside) == Some(Client::of(sends)) {
            self.published.remove(&outside);
        }
    }
}
