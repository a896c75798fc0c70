//! The search for a reply tuple that no other connection owns.
//!
//! A port is kept where that can be. Else the search begins at one that the original tuple draws by a secret key (RFC 6056
//! section 3.3.3), so that a connection which goes on when the box has started anew gets the port that it had. It goes through
//! ports whose reply tuple this shard owns, so that no two shards ever draw the same and every answer comes home.
//!
//! Searching changes no entry. What it finds may be the tuple of an entry that has expired or is closed, which ends when its successor
//! is confirmed.

use super::budget::Budget;
use super::compiled::Candidate;
use super::exhausted::Exhausted;
use super::mapping::{Mappings, half};
use super::pools::Pools;
use super::ports::{choices, draw_from};
use super::rules::PortChoice;
use super::used_ports::{around, next_free};
use crate::entry::Status;
use crate::exchange::Exchange;
use crate::index::Hash;
use crate::steer::{Base, EVERYWHERE, Steering};
use crate::table::Table;
use crate::time::{Instant, Tick};
use crate::tracker::tcp;
use crate::tuple::{Direction, Tuple, protocol};
use crate::unconfirmed::{Attempt, Unconfirmed};
use ahash::RandomState;
use std::ops::RangeInclusive;

/// Whether a tuple is to be had.
enum Probe {
    /// It is nobody's; the entry at this index still has it, but has expired.
    Free(Hash, Option<u32>),
    Taken,
    /// It is that of a translated TCP connection that is closed, the entry at `index`; `follows` says whether this one's
    /// sequence numbers lie beyond.
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
    /// All are taken, some by connections that are closed: another may follow those.
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

/// The search for one connection, and what it looks at.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) table: &'a Table,
    pub(super) exchange: &'a Exchange,
    pub(super) pools: &'a Pools,
    /// What was sought in vain a moment ago. It is noted at once: what is not found leaves nothing else behind.
    pub(super) exhausted: &'a mut Exhausted,
    /// The key that ports are drawn by.
    pub(super) key: &'a RandomState,
    pub(super) now: Instant,
    /// What it may cost.
    pub(super) budget: Budget,
}

impl Search<'_> {
    /// Which tuples are the shard's own.
    pub(super) const fn steering(&self) -> &Steering {
        &self.exchange.steering
    }

    /// Finds a reply tuple for a connection whose source is to become a candidate, and gives it that.
    pub(super) fn commit_source(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        candidate: &Candidate<'_>,
        is_random: bool,
        reach: Reach,
    ) -> bool {
        unconfirmed.reply.dst = candidate.address;
        let wanted = unconfirmed.reply;
        let original = unconfirmed.original;
        let own = original.selector.sport();
        let Some(range) = choices(&original, own, candidate.ports) else {
            return reach == Reach::Home && self.commit_to(unconfirmed, &wanted);
        };
        let scope = Scope::of(self.steering(), &wanted, &range);
        let Some(scope) = (if reach == Reach::Home { Some(scope) } else { scope.foreign() }) else {
            return false;
        };
        let is_among = !is_random && (*candidate.ports == PortChoice::Preserve || range.contains(&own));
        let keeps = is_among && (!candidate.steers || scope.has(self.steering(), wanted.reply_port()));
        (keeps && self.commit_to(unconfirmed, &wanted)) || self.find_port(unconfirmed, &range, scope)
    }

    /// Finds a free reply tuple like that of a connection with a port among `range`: the one that the original tuple draws, one that
    /// nobody uses, one that serves only connections with other tuples, that of a closed TCP connection.
    fn find_port(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        range: &RangeInclusive<u16>,
        scope: Scope,
    ) -> bool {
        let wanted = unconfirmed.reply;
        let ports = around(range, draw_from(range, hash_of(self.key, &unconfirmed.original)));
        let drawn = ports.iter().find_map(|part| self.next_port(None, part.clone(), scope));
        if drawn.is_some_and(|port| self.commit_to(unconfirmed, &wanted.with_reply_port(port)))
            || self.find_unused(unconfirmed, &wanted, &ports, scope)
        {
            return true;
        }
        let key = exhausted_key(self.key, &wanted, scope.is_foreign());
        if self.exhausted.has(key, range, self.now) {
            return false;
        }
        let shared = self.find_shared(unconfirmed, &wanted, &ports, scope);
        if shared == Shared::Taken || (scope.is_foreign() && self.budget.is_last) {
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
    ) -> bool {
        self.walk(Some(wanted), ports, scope, |search, port| {
            search.commit_if_free(unconfirmed, &wanted.with_reply_port(port))
        })
    }

    /// One whose port serves others, with other tuples; the tuple of a closed TCP connection where there is none.
    fn find_shared(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        wanted: &Tuple,
        ports: &[RangeInclusive<u16>; 2],
        scope: Scope,
    ) -> Shared {
        let (mut closed, mut shared) = (None, Shared::Taken);
        let found = self.walk(None, ports, scope, |search, port| {
            let reply = wanted.with_reply_port(port);
            match search.probe(&reply, unconfirmed) {
                Probe::Free(hash, expired) => return search.commit(unconfirmed, &reply, hash, expired),
                Probe::Closed { index, hash, follows: true } if closed.is_none() => {
                    closed = Some((index, reply, hash));
                }
                Probe::Closed { .. } => shared = Shared::Closed,
                Probe::Taken => {}
            }
            false
        });
        if found {
            return Shared::Found;
        }
        let Some((index, reply, hash)) = closed else { return shared };
        unconfirmed.takes_over = Some(index);
        unconfirmed.commit(&reply, hash);
        Shared::Found
    }

    /// Probes ports of this scope one after the other, as far as the budget goes, until one is the connection's; where a tuple
    /// is `unused`, of those that nobody uses of its address.
    fn walk(
        &mut self,
        unused: Option<&Tuple>,
        ports: &[RangeInclusive<u16>; 2],
        scope: Scope,
        mut probe: impl FnMut(&mut Self, u16) -> bool,
    ) -> bool {
        for part in ports {
            let mut from = Some(*part.start());
            while let Some(port) = from.and_then(|from| self.next_port(unused, from..=*part.end(), scope))
                && self.budget.spend()
            {
                if probe(self, port) {
                    return true;
                }
                from = port.checked_add(1);
            }
        }
        false
    }

    /// One of some ports in a row of an address that no mapping has, of those whose mappings this shard keeps.
    pub(super) fn find_mappable(
        &mut self,
        mappings: &Mappings,
        unconfirmed: &Unconfirmed,
        address: u128,
        ports: RangeInclusive<u16>,
    ) -> Option<u16> {
        let (exchange, pools) = (self.exchange, self.pools);
        let reply = Tuple { dst: address, ..unconfirmed.reply };
        let outside = |port| half(address, port, unconfirmed.original.selector);
        let base = exchange.steering.endpoint_base(&outside(0));
        let own = |word| exchange.steering.own_ports(base, word);
        let next = |from| pools.next_free(&reply, from..=*ports.end(), own);
        let mut port = next(*ports.start())?;
        while self.budget.spend() {
            let is_nobodys = mappings.client(&outside(port)).is_none();
            if is_nobodys && !self.was_refused(unconfirmed.attempt, &reply.with_reply_port(port)) {
                return Some(port);
            }
            port = next(port.checked_add(1)?)?;
        }
        None
    }

    /// The first of some ports in a row of this scope; where a tuple is `unused`, of those that nobody uses of its address.
    fn next_port(&self, unused: Option<&Tuple>, ports: RangeInclusive<u16>, scope: Scope) -> Option<u16> {
        let among = |word| scope.ports(self.steering(), word);
        match unused {
            Some(reply) => self.pools.next_free(reply, ports, among),
            None => next_free(None, ports, among),
        }
    }

    /// Gives a connection a reply tuple, if that is nobody's and the budget has a probe left.
    #[inline]
    fn commit_to(&mut self, unconfirmed: &mut Unconfirmed, reply: &Tuple) -> bool {
        self.budget.spend() && self.commit_if_free(unconfirmed, reply)
    }

    #[inline]
    fn commit_if_free(&self, unconfirmed: &mut Unconfirmed, reply: &Tuple) -> bool {
        match self.probe(reply, unconfirmed) {
            Probe::Free(hash, expired) => self.commit(unconfirmed, reply, hash, expired),
            Probe::Closed { .. } | Probe::Taken => false,
        }
    }

    /// Gives a connection a free reply tuple, if no other shard has refused it that.
    #[inline]
    fn commit(&self, unconfirmed: &mut Unconfirmed, reply: &Tuple, hash: Hash, expired: Option<u32>) -> bool {
        let is_ours = !self.was_refused(unconfirmed.attempt, reply);
        if is_ours {
            unconfirmed.takes_over = expired;
            unconfirmed.commit(reply, hash);
        }
        is_ours
    }

    /// Whether another shard has refused a tuple to this connection, be it free as far as is known here.
    pub(super) fn was_refused(&self, attempt: Attempt, reply: &Tuple) -> bool {
        let port = reply.reply_port();
        attempt.refusals > 0 && self.exhausted.has(hash_of(self.key, reply), &(port..=port), self.now)
    }

    /// Whether any packet of a tuple would belong to a connection, other than that which an `unconfirmed` one replaces.
    fn probe(&self, tuple: &Tuple, unconfirmed: &Unconfirmed) -> Probe {
        if self.exchange.signpost(tuple).is_some() {
            return Probe::Taken;
        }
        let key = self.table.key(tuple);
        let owner = self.table.search(&key, tuple).map(|(index, _)| index);
        let Some(index) = owner.filter(|_| owner != unconfirmed.replaces) else {
            return Probe::Free(key.hash, None);
        };
        let old = self.table.entries.at(index);
        if old.deadline.is_due(Tick::at(self.now)) {
            Probe::Free(key.hash, Some(index))
        } else if self.is_closed(index, tuple) {
            let follows = tcp::may_follow(old, &unconfirmed.entry);
            Probe::Closed { index, hash: key.hash, follows }
        } else {
            Probe::Taken
        }
    }

    /// Whether a tuple is the reply tuple of a translated TCP connection that is closed.
    fn is_closed(&self, index: u32, reply: &Tuple) -> bool {
        let entry = self.table.entries.at(index);
        entry.status.contains(Status::SRC_NAT)
            && entry.protocol() == protocol::TCP
            && tcp::is_closed(entry)
            && self.table.entries.tuple(index, Direction::Reply) == *reply
    }
}

/// What the ports are remembered by that packets of this tuple could come to: those that are foreign, or the others.
pub(super) fn exhausted_key(key: &RandomState, reply: &Tuple, is_foreign: bool) -> u64 {
    let Tuple { src, dst, selector } = reply.with_reply_port(0);
    key.hash_one((src, dst, selector.as_u64(), is_foreign))
}

/// A number that an outsider cannot foretell, and that is the same for the same tuple whenever the box starts with its key.
pub(super) fn hash_of(key: &RandomState, tuple: &Tuple) -> u64 {
    key.hash_one((tuple.src, tuple.dst, tuple.selector.as_u64()))
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
    use sluice_memory::Pages;

    const SEED: [u64; 4] = [1, 2, 3, 4];

    fn client(host: u8) -> Unconfirmed {
        let (client, server) = ([10, 0, 0, host].into(), [198, 51, 100, 2].into());
        Unconfirmed::new(Tuple::new(client, server, protocol::UDP, 4000, 53), None)
    }

    /// The port that a connection gets of an address at some millisecond.
    fn port(table: &Table, connection: &mut Unconfirmed, ms: u64) -> u16 {
        let mut search = Search {
            table,
            exchange: &Exchange::new(8, SEED).unwrap(),
            pools: &Pools::default(),
            exhausted: &mut Exhausted::default(),
            key: &RandomState::with_seeds(1, 2, 3, 4),
            now: Instant::from_ns(ms * 1_000_000),
            budget: Budget::new(0),
        };
        let candidate = Candidate { address: 0xcb00_7101, ports: &PortChoice::Preserve, steers: true };
        assert!(search.commit_source(connection, &candidate, false, Reach::Home));
        connection.reply.reply_port()
    }

    #[test]
    fn the_tuple_of_an_entry_whose_time_is_over_is_free_for_a_successor() {
        let mut table = Table::new(8, 16, SEED, Pages::Ordinary, Tick::default()).unwrap();
        let [mut first, mut second, mut third] = [1, 2, 3].map(client);
        assert_eq!(port(&table, &mut first, 0), 4000);
        first.entry.deadline = Tick::default().after_ms(1000);
        let index = table.insert(table.key(&first.original).hash, &first, 0).unwrap();
        assert_ne!(port(&table, &mut second, 500), 4000);
        assert_eq!(second.takes_over, None);
        assert_eq!(port(&table, &mut third, 2000), 4000);
        assert_eq!((third.takes_over, table.entries.len()), (Some(index), 1), "nothing has ended yet");
    }
}
