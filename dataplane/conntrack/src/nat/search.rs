//! The search for a reply tuple that no other connection owns.
//!
//! A port is kept where that can be. Else one is drawn (RFC 6056 section 3.3.1) whose reply tuple this shard owns, so that no
//! two shards ever draw the same and every answer comes home.

use super::binder::Wish;
use super::rules::Ports;
use crate::entry::{Entry, Status};
use crate::index::Hash;
use crate::shard::Shard;
use crate::steer::{Base, EVERYWHERE, Steering};
use crate::table::{End, Key};
use crate::time::Tick;
use crate::tracker::tcp;
use crate::tuple::{Direction, Tuple, protocol};
use crate::unconfirmed::Unconfirmed;
use std::ops::RangeInclusive;

/// Reply tuples that are looked up for one connection, at most, when every port of an address serves somebody already:
/// some tens of microseconds of work. The client's next packet goes on from another port.
pub(super) const MOST_PROBES: usize = 512;

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
        Ports::Own if is_icmp(number) => 0..=u16::MAX,
        Ports::Own => class(own),
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
    const fn with_reply_port(self, port: u16) -> Self {
        let selector = match self.protocol() {
            protocol::ICMP | protocol::ICMPV6 => self.selector.with_sport(port),
            _ => self.selector.with_dport(port),
        };
        Self { selector, ..self }
    }
}

impl Shard {
    /// A number that nobody outside can foretell.
    pub(super) fn draw(&mut self) -> u64 {
        self.draws = self.draws.wrapping_add(1);
        self.index.keyed(&self.draws)
    }

    /// Finds a reply tuple for a connection whose source is to become what is wished, and gives it that.
    pub(super) fn settle_source(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        wish: &Wish,
        is_random: bool,
    ) -> bool {
        unconfirmed.reply.dst = wish.address;
        let wanted = unconfirmed.reply;
        let own = unconfirmed.original.selector.sport();
        let is_first = unconfirmed.attempt.may_keep_port();
        match choices(&unconfirmed.original, own, &wish.ports) {
            // Without another port there is nothing to try again.
            None => is_first && self.settle_on(unconfirmed, &wanted),
            Some(range) => {
                let is_among = wish.ports == Ports::Own || range.contains(&own);
                let may_keep = is_among && !is_random && is_first;
                self.find_port(unconfirmed, &wanted, &range, may_keep, wish.steers)
            }
        }
    }

    /// Finds a free reply tuple like `wanted`: that itself if it may keep its port, else one with a port among `range` that
    /// nobody uses, else one that serves only connections with other tuples, else that of a TCP connection that is over.
    fn find_port(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        wanted: &Tuple,
        range: &RangeInclusive<u16>,
        may_keep: bool,
        steers: bool,
    ) -> bool {
        let home = Home::new(self.steering(), wanted, range);
        let may_keep = may_keep && (!steers || home.has(self.steering(), wanted.reply_port()));
        if may_keep && self.settle_on(unconfirmed, wanted) {
            return true;
        }
        let start = draw_from(range, self.draw());
        self.find_unused(unconfirmed, wanted, range, start, home)
            || self.find_shared(unconfirmed, wanted, range, start, home)
    }

    /// One whose port nobody uses. Only traffic that no rule translates can own its tuple all the same.
    fn find_unused(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        wanted: &Tuple,
        range: &RangeInclusive<u16>,
        start: u16,
        home: Home,
    ) -> bool {
        let mut from = start;
        for _ in 0..MOST_PROBES / 8 {
            let port = self
                .configuration
                .pools
                .free(wanted.family(), wanted.dst, wanted.protocol(), range.clone(), from)
                .find(|port| home.has(self.steering(), *port));
            let Some(port) = port else { return false };
            if self.settle_on(unconfirmed, &wanted.with_reply_port(port)) {
                return true;
            }
            from = if port == *range.end() { *range.start() } else { port + 1 };
        }
        false
    }

    /// One whose port serves others, with other tuples; the tuple of a TCP connection that is over where there is none.
    fn find_shared(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        wanted: &Tuple,
        range: &RangeInclusive<u16>,
        start: u16,
        home: Home,
    ) -> bool {
        let mut over = None;
        let mut ports = (start..=*range.end()).chain(*range.start()..start);
        for _ in 0..MOST_PROBES {
            let Some(port) = ports.find(|port| home.has(self.steering(), *port)) else { break };
            let reply = wanted.with_reply_port(port);
            let key = self.key(&reply);
            match self.owner_of(&key, &reply).filter(|owner| Some(*owner) != unconfirmed.replaces) {
                None if !self.is_signposted(&reply) => {
                    unconfirmed.settle(&reply, key.hash);
                    return true;
                }
                None => {}
                Some(index) if over.is_none() && self.may_take_over(index, &unconfirmed.entry, &reply) => {
                    over = Some((index, reply, key.hash));
                }
                Some(_) => {}
            }
        }
        let Some((index, reply, hash)) = over else { return false };
        self.remove(index, End::Closed);
        unconfirmed.settle(&reply, hash);
        true
    }

    /// Gives a connection a reply tuple, if that is nobody's.
    fn settle_on(&mut self, unconfirmed: &mut Unconfirmed, reply: &Tuple) -> bool {
        let free = self.if_free(reply, unconfirmed.replaces);
        if let Some(hash) = free {
            unconfirmed.settle(reply, hash);
        }
        free.is_some()
    }

    /// Whether a packet of this tuple would belong to a connection, of this shard or, as far as is known here, of another.
    pub(crate) fn is_taken(&mut self, tuple: &Tuple) -> bool {
        self.if_free(tuple, None).is_none()
    }

    /// The hash of a tuple, if no packet of it would belong to a connection other than the entry `except`.
    fn if_free(&mut self, tuple: &Tuple, except: Option<u32>) -> Option<Hash> {
        if self.is_signposted(tuple) {
            return None;
        }
        let key = self.key(tuple);
        self.owner_of(&key, tuple).is_none_or(|owner| Some(owner) == except).then_some(key.hash)
    }

    fn is_signposted(&self, tuple: &Tuple) -> bool {
        self.exchange.signpost(tuple).is_some()
    }

    /// The entry that a packet of this tuple would belong to. One whose time is over ends here: two entries must never
    /// have a tuple in common.
    fn owner_of(&mut self, key: &Key, tuple: &Tuple) -> Option<u32> {
        let (index, _) = self.search(key, tuple)?;
        if self.entries.at(index).deadline.is_due(Tick::at(self.now)) {
            self.remove(index, End::Expired);
            return None;
        }
        Some(index)
    }

    /// Whether a new connection may have the reply tuple of an entry: that of a translated TCP connection that is over, for one
    /// whose sequence numbers lie beyond.
    fn may_take_over(&self, index: u32, new: &Entry, reply: &Tuple) -> bool {
        let old = self.entries.at(index);
        let is_translated = old.status.contains(Status::SRC_NAT);
        is_translated
            && new.protocol() == protocol::TCP
            && tcp::may_follow(old, new)
            && self.entries.tuple(index, Direction::Reply) == *reply
    }
}

/// Which ports bring the answers to a connection home to this shard; without a base, all.
#[derive(Clone, Copy)]
struct Home(Option<Base>);

impl Home {
    /// For a reply tuple whose port is to be among `range`. Where no port brings the answer home, any will do.
    fn new(steering: &Steering, reply: &Tuple, range: &RangeInclusive<u16>) -> Self {
        let base = steering.base(&reply.with_reply_port(0));
        let has_home = |base: &Base| {
            range.end() - range.start() >= EVERYWHERE - 1
                || range.clone().any(|port| steering.is_own_with(*base, port))
        };
        Self(base.filter(has_home))
    }

    fn has(self, steering: &Steering, port: u16) -> bool {
        self.0.is_none_or(|base| steering.is_own_with(base, port))
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
            assert_eq!(choices(&of(protocol::UDP), own, &Ports::Own), Some(range));
        }
        assert_eq!(choices(&of(protocol::ICMP), 7, &Ports::Own), Some(0..=u16::MAX));
        assert_eq!(choices(&of(protocol::GRE), 0, &Ports::Own), None);
    }

    #[test]
    fn ports_are_shifted_by_as_much() {
        let shift = Ports::Shift { from: 5000, to: 6000 };
        assert_eq!(choices(&of(protocol::TCP), 5042, &shift), Some(6042..=6042));
    }
}
