//! The search for a reply tuple that no other connection owns.
//!
//! A port is kept where that can be. Else the search begins at one that the original tuple draws by a secret key (RFC 6056
//! section 3.3.3), so that a connection which goes on when the box has started anew gets the port that it had. It goes through
//! ports whose reply tuple this shard owns, so that no two shards ever draw the same and every answer comes home.

use super::binder::Wish;
use super::budget::Budget;
use super::rules::Ports;
use super::used_ports::{around, next_free};
use crate::entry::Status;
use crate::index::Hash;
use crate::lifecycle::End;
use crate::shard::Shard;
use crate::steer::{Base, EVERYWHERE, Steering};
use crate::table::Key;
use crate::time::Tick;
use crate::tracker::tcp;
use crate::tuple::{Direction, Tuple, protocol};
use crate::unconfirmed::{Attempt, Unconfirmed};
use std::ops::RangeInclusive;

/// The ports that a connection gets another one from when its own is taken: of its own class (RFC 4787 section 4.2.2), and
/// none between 512 and 600, which old programs take for a sign of trust.
const fn class(port: u16) -> RangeInclusive<u16> {
    match port {
        0..512 => 1..=511,
        512..1024 => 600..=1023,
        1024.. => 1024..=u16::MAX,
    }
}

const fn is_icmp(number: u8) -> bool {
    matches!(number, protocol::ICMP | protocol::ICMPV6)
}

/// Whether a connection of a protocol can get another port. Without ports, those of many clients look alike.
pub(crate) const fn has_choice(number: u8) -> bool {
    is_icmp(number) || protocol::has_ports(number)
}

/// Whether a query asks for information about a node, which has what it asks for where others have an identifier (RFC 4620
/// section 4).
pub(super) const fn asks_a_node(query: &Tuple) -> bool {
    const NODE_INFORMATION_QUERY: u16 = 139;
    query.protocol() == protocol::ICMPV6 && query.selector.dport() >> 8 == NODE_INFORMATION_QUERY
}

/// The ports that a connection whose own is `own` can get; `None` where it has none. An ICMP identifier counts as a port
/// without classes.
pub(super) fn choices(original: &Tuple, own: u16, ports: &Ports) -> Option<RangeInclusive<u16>> {
    let number = original.protocol();
    (has_choice(number) && !asks_a_node(original)).then(|| match ports {
        Ports::Preserve if is_icmp(number) => 0..=u16::MAX,
        Ports::Preserve => class(own),
        Ports::Among(range) => range.clone(),
        Ports::Shift { from, to } => {
            let port = to.wrapping_add(own.wrapping_sub(*from));
            port..=port
        }
    })
}

/// One of a range of ports.
pub(super) fn draw_from(range: &RangeInclusive<u16>, random: u64) -> u16 {
    let size = u64::from(range.end() - range.start()) + 1;
    range.start() + (random % size) as u16
}

impl Tuple {
    /// The port of a reply tuple that stands for the source of its connection: that of its destination; of ICMP the
    /// identifier.
    pub const fn reply_port(&self) -> u16 {
        match self.protocol() {
            protocol::ICMP | protocol::ICMPV6 => self.selector.sport(),
            _ => self.selector.dport(),
        }
    }

    /// The reply tuple with another such port.
    #[must_use]
    pub(super) const fn with_reply_port(self, port: u16) -> Self {
        let selector = match self.protocol() {
            protocol::ICMP | protocol::ICMPV6 => self.selector.with_sport(port),
            _ => self.selector.with_dport(port),
        };
        Self { selector, ..self }
    }
}

/// Whether a tuple is to be had.
enum Probe {
    Free(Hash),
    Taken,
    /// It is that of a translated TCP connection that is over, the entry at `index`; `follows` says whether this one's sequence
    /// numbers lie beyond.
    Closed {
        index: u32,
        hash: Hash,
        follows: bool,
    },
}

/// What a search among tuples that others may have has come to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shared {
    Found,
    /// All are taken, some by connections that are over: another may follow those.
    Closed,
    Taken,
}

/// Whose reply tuples a search goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those that bring the answers to a connection home, as far as its port can do that.
    Home,
    /// Those of other shards, which are to be asked.
    Abroad,
}

impl Reach {
    /// Nearest first.
    pub(super) const fn of(steering: &Steering) -> &'static [Self] {
        if steering.is_single() { &[Self::Home] } else { &[Self::Home, Self::Abroad] }
    }
}

impl Shard {
    /// Finds a reply tuple for a connection whose source is to become what is wished, and gives it that.
    pub(super) fn settle_source(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        wish: &Wish,
        is_random: bool,
        reach: Reach,
        budget: &mut Budget,
    ) -> bool {
        unconfirmed.reply.dst = wish.address;
        let wanted = unconfirmed.reply;
        let original = unconfirmed.original;
        let own = original.selector.sport();
        let Some(range) = choices(&original, own, &wish.ports) else {
            return reach == Reach::Home && self.settle_on(unconfirmed, &wanted, budget);
        };
        let scope = Scope::of(self.steering(), &wanted, &range);
        let Some(scope) = (if reach == Reach::Home { Some(scope) } else { scope.foreign() }) else {
            return false;
        };
        let is_among = !is_random && (wish.ports == Ports::Preserve || range.contains(&own));
        let keeps = is_among && (!wish.steers || scope.has(self.steering(), wanted.reply_port()));
        (keeps && self.settle_on(unconfirmed, &wanted, budget))
            || self.find_port(unconfirmed, &range, scope, budget)
    }

    /// Finds a free reply tuple like that of a connection with a port among `range`: the one that the original tuple draws, one that
    /// nobody uses, one that serves only connections with other tuples, that of a TCP connection that is over.
    fn find_port(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        range: &RangeInclusive<u16>,
        scope: Scope,
        budget: &mut Budget,
    ) -> bool {
        let wanted = unconfirmed.reply;
        let ports = around(range, draw_from(range, self.nat_hash(&unconfirmed.original)));
        let drawn = ports.iter().find_map(|part| self.next_port(None, part.clone(), scope));
        if drawn.is_some_and(|port| self.settle_on(unconfirmed, &wanted.with_reply_port(port), budget))
            || self.find_unused(unconfirmed, &wanted, &ports, scope, budget)
        {
            return true;
        }
        let key = self.exhausted_key(&wanted, scope.is_foreign());
        if self.exhausted.has(key, range, self.now) {
            return false;
        }
        let shared = self.find_shared(unconfirmed, &wanted, &ports, scope, budget);
        if shared == Shared::Taken || (scope.is_foreign() && budget.is_last) {
            self.exhausted.note(key, range, self.now);
        }
        shared == Shared::Found
    }

    /// One whose port nobody uses. Only traffic that no rule translates can own its tuple all the same.
    fn find_unused(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        wanted: &Tuple,
        ports: &[RangeInclusive<u16>; 2],
        scope: Scope,
        budget: &mut Budget,
    ) -> bool {
        for part in ports {
            let mut from = Some(*part.start());
            while !budget.is_spent()
                && let Some(port) =
                    from.and_then(|from| self.next_port(Some(wanted), from..=*part.end(), scope))
            {
                if self.settle_on(unconfirmed, &wanted.with_reply_port(port), budget) {
                    return true;
                }
                from = port.checked_add(1);
            }
        }
        false
    }

    /// One whose port serves others, with other tuples; the tuple of a TCP connection that is over where there is none.
    fn find_shared(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        wanted: &Tuple,
        ports: &[RangeInclusive<u16>; 2],
        scope: Scope,
        budget: &mut Budget,
    ) -> Shared {
        let (mut closed, mut shared) = (None, Shared::Taken);
        for part in ports {
            let mut from = Some(*part.start());
            while let Some(port) = from.and_then(|from| self.next_port(None, from..=*part.end(), scope))
                && budget.spend()
            {
                let reply = wanted.with_reply_port(port);
                match self.probe(&reply, Some(unconfirmed)) {
                    Probe::Free(hash) if !self.was_refused(unconfirmed.attempt, &reply) => {
                        unconfirmed.settle(&reply, hash);
                        return Shared::Found;
                    }
                    Probe::Closed { index, hash, follows: true } if closed.is_none() => {
                        closed = Some((index, reply, hash));
                    }
                    Probe::Closed { .. } => shared = Shared::Closed,
                    Probe::Free(_) | Probe::Taken => {}
                }
                from = port.checked_add(1);
            }
        }
        let Some((index, reply, hash)) = closed else { return shared };
        unconfirmed.takes_over = Some(index);
        unconfirmed.settle(&reply, hash);
        Shared::Found
    }

    /// The first of some ports in a row of this scope; where a tuple is `unused`, of those that nobody uses of its address.
    fn next_port(&self, unused: Option<&Tuple>, ports: RangeInclusive<u16>, scope: Scope) -> Option<u16> {
        let among = |word| scope.ports(self.steering(), word);
        match unused {
            Some(comes) => self.configuration.pools.next_free(comes, ports, among),
            None => next_free(None, ports, among),
        }
    }

    /// Gives a connection a reply tuple, if that is nobody's.
    fn settle_on(&mut self, unconfirmed: &mut Unconfirmed, reply: &Tuple, budget: &mut Budget) -> bool {
        if !budget.spend() {
            return false;
        }
        let Probe::Free(hash) = self.probe(reply, Some(unconfirmed)) else { return false };
        let settles = !self.was_refused(unconfirmed.attempt, reply);
        if settles {
            unconfirmed.settle(reply, hash);
        }
        settles
    }

    /// Whether another shard has refused a tuple to this connection, be it free as far as is known here.
    pub(super) fn was_refused(&self, attempt: Attempt, reply: &Tuple) -> bool {
        let port = reply.reply_port();
        attempt.refusals > 0 && self.exhausted.has(self.nat_hash(reply), &(port..=port), self.now)
    }

    /// Another shard has refused a tuple to a connection, which is bound again next.
    pub(crate) fn note_refused(&mut self, reply: &Tuple) {
        let port = reply.reply_port();
        self.exhausted.note(self.nat_hash(reply), &(port..=port), self.now);
    }

    /// Whether a packet of this tuple would belong to a connection, of this shard or, as far as is known here, of another.
    pub(crate) fn is_taken(&mut self, tuple: &Tuple) -> bool {
        !matches!(self.probe(tuple, None), Probe::Free(_))
    }

    /// Whether any packet of a tuple would belong to a connection, other than that which an `unconfirmed` one replaces.
    fn probe(&mut self, tuple: &Tuple, unconfirmed: Option<&Unconfirmed>) -> Probe {
        if self.exchange.signpost(tuple).is_some() {
            return Probe::Taken;
        }
        let key = self.table.key(tuple);
        let replaces = unconfirmed.and_then(|unconfirmed| unconfirmed.replaces);
        match self.owner_of(&key, tuple).filter(|owner| Some(*owner) != replaces) {
            None => Probe::Free(key.hash),
            Some(index) if self.is_closed(index, tuple) => {
                let old = self.table.entries.at(index);
                let follows = unconfirmed.is_some_and(|unconfirmed| tcp::may_follow(old, &unconfirmed.entry));
                Probe::Closed { index, hash: key.hash, follows }
            }
            Some(_) => Probe::Taken,
        }
    }

    /// The entry that a packet of this tuple would belong to. One whose time is over ends here: two entries must never
    /// have a tuple in common.
    fn owner_of(&mut self, key: &Key, tuple: &Tuple) -> Option<u32> {
        let (index, _) = self.table.search(key, tuple)?;
        if self.table.entries.at(index).deadline.is_due(Tick::at(self.now)) {
            self.end(index, End::Expired);
            return None;
        }
        Some(index)
    }

    /// Whether a tuple is the reply tuple of a translated TCP connection that is over.
    fn is_closed(&self, index: u32, reply: &Tuple) -> bool {
        let entry = self.table.entries.at(index);
        entry.status.contains(Status::SRC_NAT)
            && entry.protocol() == protocol::TCP
            && tcp::is_over(entry)
            && self.table.entries.tuple(index, Direction::Reply) == *reply
    }

    /// What the ports are remembered by that packets of this tuple could come to: those that are foreign, or the others.
    fn exhausted_key(&self, reply: &Tuple, is_foreign: bool) -> u64 {
        let Tuple { src, dst, selector } = reply.with_reply_port(0);
        self.table.index.keyed(&(src, dst, selector.as_u64(), is_foreign))
    }

    /// A translated connection has ended, which packets of this tuple came to: its port may serve another.
    pub(crate) fn forget_exhausted(&mut self, reply: &Tuple) {
        if !self.exhausted.is_empty(self.now) {
            self.exhausted.forget(self.exhausted_key(reply, self.exchange.needs_signpost(reply)));
        }
    }

    /// A number that an outsider cannot foretell, and that is the same for the same tuple whenever the box starts with its key.
    pub(super) fn nat_hash(&self, tuple: &Tuple) -> u64 {
        self.nat_key.hash_one((tuple.src, tuple.dst, tuple.selector.as_u64()))
    }
}

/// Which ports a search goes through.
#[derive(Clone, Copy)]
enum Scope {
    All,
    /// Those that bring the answers to a connection home to this shard.
    Own(Base),
    /// All others: the answers are another shard's, which is to be asked.
    Foreign(Base),
}

impl Scope {
    /// For a reply tuple whose port is to be among `range`. Where no port brings the answer home, any will do.
    fn of(steering: &Steering, reply: &Tuple, range: &RangeInclusive<u16>) -> Self {
        let base = steering.base(&reply.with_reply_port(0));
        let has_own = |base: &Base| {
            range.end() - range.start() >= EVERYWHERE - 1
                || range.clone().any(|port| steering.is_own_with(*base, port))
        };
        base.filter(has_own).map_or(Self::All, Self::Own)
    }

    const fn is_foreign(self) -> bool {
        matches!(self, Self::Foreign(_))
    }

    /// The ports of others, if those are any.
    const fn foreign(self) -> Option<Self> {
        match self {
            Self::Own(base) => Some(Self::Foreign(base)),
            Self::All | Self::Foreign(_) => None,
        }
    }

    /// The ports of a word, a bit each, as [`next_free`] wants them.
    const fn ports(self, steering: &Steering, word: usize) -> u64 {
        match self {
            Self::All => u64::MAX,
            Self::Own(base) => steering.own_ports(base, word),
            Self::Foreign(base) => !steering.own_ports(base, word),
        }
    }

    const fn has(self, steering: &Steering, port: u16) -> bool {
        self.ports(steering, port as usize / 64) >> (port % 64) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::{Family, Selector};

    /// The first tuple of a connection to port 80, or of a query of type 8.
    fn of(number: u8) -> Tuple {
        let dport = if number == protocol::ICMP { 8 << 8 } else { 80 };
        Tuple { selector: Selector::new(Family::V4, number, 0, 0, dport), ..Tuple::default() }
    }

    #[test]
    fn a_port_stays_in_its_class() {
        for (own, range) in [(500, 1..=511), (511, 1..=511), (512, 600..=1023), (1024, 1024..=u16::MAX)] {
            assert_eq!(choices(&of(protocol::UDP), own, &Ports::Preserve), Some(range));
        }
        assert_eq!(choices(&of(protocol::ICMP), 7, &Ports::Preserve), Some(0..=u16::MAX));
        assert_eq!(choices(&of(protocol::GRE), 0, &Ports::Preserve), None);
    }

    #[test]
    fn ports_are_shifted_by_as_much() {
        let shift = Ports::Shift { from: 5000, to: 6000 };
        assert_eq!(choices(&of(protocol::TCP), 5042, &shift), Some(6042..=6042));
    }
}
