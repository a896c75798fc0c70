//! The search for a reply tuple that no other connection owns.
//!
//! A port is kept where that can be. Else one is drawn (RFC 6056 section 3.3.1) whose reply tuple this shard owns, so that no
//! two shards ever draw the same and every answer comes home.

use super::rules::Ports;
use crate::entry::Status;
use crate::shard::{End, Shard};
use crate::steer::{Base, TABLE};
use crate::time::Tick;
use crate::tracker::tcp;
use crate::tuple::{Tuple, protocol};
use std::ops::RangeInclusive;

/// Reply tuples that are looked up for one connection, at most, when every port of an address serves somebody already:
/// some tens of microseconds of work. The client's next packet goes on from another port.
const MOST_PROBES: usize = 512;

/// What a rule wants the source or destination of a connection to be.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) address: u128,
    pub(super) ports: Ports,
    /// Whether the port may be another than the connection's own only to bring its answers home. Clients that share an
    /// address do not mind; one whose source a rule leaves alone, or translates one to one, keeps its port, and has a
    /// signpost.
    pub(super) steers: bool,
}

/// The ports that a connection gets another one from when its own is taken: of its own class (RFC 4787 section 4.2.2), and
/// none between 512 and 600, which old programs take for a sign of trust.
const fn class(port: u16) -> RangeInclusive<u16> {
    match port {
        0..512 => 1..=511,
        512..1024 => 600..=1023,
        1024.. => 1024..=u16::MAX,
    }
}

/// The ports that a connection whose own is `own` can get; `None` where its protocol has none. An ICMP identifier counts as
/// a port without classes.
pub(super) fn choices(number: u8, own: u16, ports: &Ports) -> Option<RangeInclusive<u16>> {
    let is_icmp = matches!(number, protocol::ICMP | protocol::ICMPV6);
    let has_ports =
        is_icmp || matches!(number, protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP);
    has_ports.then(|| match ports {
        Ports::Own if is_icmp => 0..=u16::MAX,
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
        let (sport, dport) = match self.protocol() {
            protocol::ICMP | protocol::ICMPV6 => (port, self.selector.dport()),
            _ => (self.selector.sport(), port),
        };
        let ports = (sport as u32) << 16 | dport as u32;
        Self { selector: self.selector.with_ports(ports), ..self }
    }
}

impl Shard {
    /// A number that nobody outside can foretell.
    pub(super) fn draw(&mut self) -> u64 {
        self.draws = self.draws.wrapping_add(1);
        self.index.keyed(&self.draws)
    }

    /// Finds a reply tuple for a connection whose source is to become what is wished, and gives it to the newcomer.
    pub(super) fn settle_source(&mut self, original: &Tuple, wish: &Wish, is_random: bool) -> bool {
        let wanted = Tuple { dst: wish.address, ..self.newcomer.reply };
        let own = original.selector.sport();
        let found = match choices(original.protocol(), own, &wish.ports) {
            // Without another port there is nothing to try again.
            None => (self.tries == 0 && !self.is_taken(&wanted)).then_some(wanted),
            Some(range) => {
                let is_among = wish.ports == Ports::Own || range.contains(&own);
                self.find_port(&wanted, own, range, is_among && !is_random && self.tries == 0, wish.steers)
            }
        };
        self.newcomer.reply = found.unwrap_or(wanted);
        found.is_some()
    }

    /// A free reply tuple like `wanted`: with its `own` port if it may keep that, else with one among `range` that nobody
    /// uses, else one that serves only connections with other tuples, else that of a TCP connection that is over.
    fn find_port(
        &mut self,
        wanted: &Tuple,
        own: u16,
        range: RangeInclusive<u16>,
        may_keep: bool,
        steers: bool,
    ) -> Option<Tuple> {
        let steering = self.steering;
        let home = Home::new(steering.base(&wanted.with_reply_port(0)), &range);
        if may_keep && (home.has(own) || !steers) && !self.is_taken(&wanted.with_reply_port(own)) {
            return Some(wanted.with_reply_port(own));
        }
        let start = draw_from(&range, self.draw());
        let unused = self.find_unused(wanted, &range, start, &home);
        unused.or_else(|| self.find_shared(wanted, &range, start, &home))
    }

    /// One whose port nobody uses. Only traffic that no rule translates can own its tuple all the same.
    fn find_unused(
        &mut self,
        wanted: &Tuple,
        range: &RangeInclusive<u16>,
        start: u16,
        home: &Home<'_>,
    ) -> Option<Tuple> {
        let mut from = start;
        for _ in 0..MOST_PROBES / 8 {
            let port = self
                .configuration
                .pools
                .free(wanted.family(), wanted.dst, wanted.protocol(), range.clone(), from)
                .find(|port| home.has(*port))?;
            let reply = wanted.with_reply_port(port);
            if !self.is_taken(&reply) {
                return Some(reply);
            }
            from = if port == *range.end() { *range.start() } else { port + 1 };
        }
        None
    }

    /// One whose port serves others, with other tuples; the tuple of a TCP connection that is over where there is none.
    fn find_shared(
        &mut self,
        wanted: &Tuple,
        range: &RangeInclusive<u16>,
        start: u16,
        home: &Home<'_>,
    ) -> Option<Tuple> {
        let mut over = None;
        let ports = (start..=*range.end()).chain(*range.start()..start);
        for port in ports.filter(|port| home.has(*port)).take(MOST_PROBES) {
            let reply = wanted.with_reply_port(port);
            match self.owner_of(&reply) {
                None if !self.is_signposted(&reply) => return Some(reply),
                None => {}
                Some(index) if over.is_none() && self.may_take_over(index) => over = Some((index, reply)),
                Some(_) => {}
            }
        }
        // A range of one port is not searched, in Linux either.
        let (index, reply) = over.filter(|_| range.start() < range.end())?;
        self.remove(index, End::Closed);
        Some(reply)
    }

    /// Whether a packet of this tuple would belong to a connection, of this shard or, as far as is known here, of another.
    pub(crate) fn is_taken(&mut self, tuple: &Tuple) -> bool {
        self.is_signposted(tuple) || self.owner_of(tuple).is_some()
    }

    fn is_signposted(&self, tuple: &Tuple) -> bool {
        self.signposts.get(tuple).is_some()
    }

    /// The entry that a packet of this tuple would belong to. One whose time is over ends here: two entries must never
    /// have a tuple in common.
    fn owner_of(&mut self, tuple: &Tuple) -> Option<u32> {
        let key = self.key(tuple);
        let (index, _) = self.search(&key, tuple)?;
        if self.entries.at(index).deadline.is_due(Tick::at(self.now)) {
            self.remove(index, End::Expired);
            return None;
        }
        Some(index)
    }

    /// Whether the newcomer may have the tuple of an entry: that of a translated TCP connection that is over, for one
    /// whose sequence numbers lie beyond.
    fn may_take_over(&self, index: u32) -> bool {
        let (old, new) = (self.entries.at(index), &self.newcomer.entry);
        let is_translated = old.status.has(Status::SRC_NAT);
        is_translated && new.protocol() == protocol::TCP && tcp::may_follow(old, new)
    }
}

/// Which ports bring the answers to a connection home to this shard.
struct Home<'a> {
    base: Base<'a>,
    /// Whether ports make a difference.
    steers: bool,
}

impl<'a> Home<'a> {
    /// For a reply tuple without its port, which is to be among `range`. Where no port brings the answer home, any will do.
    fn new(base: Base<'a>, range: &RangeInclusive<u16>) -> Self {
        let is_home = |port| base.is_own_with(port);
        // Every shard has a port among as many as the table has places.
        let mut some = range.clone().take(TABLE);
        let steers = base.steers() && some.clone().any(is_home) && !some.all(is_home);
        Self { base, steers }
    }

    fn has(&self, port: u16) -> bool {
        !self.steers || self.base.is_own_with(port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_stays_in_its_class() {
        for (own, range) in [(500, 1..=511), (511, 1..=511), (512, 600..=1023), (1024, 1024..=u16::MAX)] {
            assert_eq!(choices(protocol::UDP, own, &Ports::Own), Some(range));
        }
        assert_eq!(choices(protocol::ICMP, 7, &Ports::Own), Some(0..=u16::MAX));
        assert_eq!(choices(protocol::GRE, 0, &Ports::Own), None);
    }

    #[test]
    fn ports_are_shifted_by_as_much() {
        let shift = Ports::Shift { from: 5000, to: 6000 };
        assert_eq!(choices(protocol::TCP, 5042, &shift), Some(6042..=6042));
    }
}
