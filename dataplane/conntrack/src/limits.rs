//! Limits of rules: how many packets a rule applies to in a while, of all together or of each address, as nft's `limit` and its meters.
//!
//! A limit is a token bucket, kept as the time at which it is full. One that is full says nothing, so its place is free: what is remembered is
//! only who has been using a limit of late. All shards of a box share the buckets, since the connections of a client belong to all of them;
//! nothing but a rule with a limit touches them.

use crate::facts::Facts;
use crate::family::Family;
use crate::time::Instant;
use ahash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets that one key may be in: as many as a cache line has.
const WAYS: usize = 8;
/// Bits of a bucket's word that are the time at which it is full, in microseconds, modulo that many; above is who uses it.
const TIME_BITS: u32 = 44;
const TIME: u64 = (1 << TIME_BITS) - 1;
/// The longest time that a bucket may take to become full: a part of the 203 days in which the time of buckets wraps, so that what seems to
/// take longer was full long ago.
pub const MAX_REFILL: Duration = Duration::from_secs(30 * 24 * 3600);

/// Whose packets a limit counts together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LimitBy {
    /// All that the rule matches.
    #[default]
    Rule,
    /// Those from one network.
    Source(Bits),
    /// Those to one network.
    Destination(Bits),
}

impl LimitBy {
    /// What a packet's part of a limit goes by.
    pub(crate) fn key(self, hasher: &RandomState, id: u64, facts: &Facts) -> u64 {
        let network = match self {
            Self::Rule => 0,
            Self::Source(bits) => bits.network(facts.family, facts.source),
            Self::Destination(bits) => bits.network(facts.family, facts.destination),
        };
        let family = (self != Self::Rule).then_some(facts.family);
        hasher.hash_one((id, family, network))
    }
}

/// The length of a network's prefix, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bits {
    /// Of IPv4, at most 32.
    pub v4: u8,
    /// Of IPv6, at most 128.
    pub v6: u8,
}

impl Bits {
    /// The network of an address, given as its number.
    const fn network(self, family: Family, address: u128) -> u128 {
        let host = match family {
            Family::V4 => 32_u32.saturating_sub(self.v4 as u32),
            Family::V6 => 128_u32.saturating_sub(self.v6 as u32),
        };
        if host == 128 { 0 } else { address >> host }
    }
}

/// A limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    /// Tells it from others. A limit that is the same after a reload has the same, and goes on where it was.
    pub id: u64,
    /// Microseconds for each packet, at least one.
    pub interval_us: u64,
    /// Packets at once after a silence, at least one. A bucket is full [in time](MAX_REFILL).
    pub burst: u32,
    /// Whose packets are counted together.
    pub by: LimitBy,
    /// Whether the rule is for packets beyond the limit, not for those within.
    pub over: bool,
}

/// What has been taken of late, of all limits of a box.
#[derive(Debug)]
pub struct Limits {
    /// Sets of [`WAYS`], a power of two of them.
    buckets: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// Room for a few, with a key that is not secret.
impl Default for Limits {
    fn default() -> Self {
        Self::new(1024, [1, 2, 3, 4])
    }
}

impl Limits {
    /// Room for so many buckets that are not full, at 8 bytes each, and a secret key, so that nobody can choose addresses which share a
    /// place. Where there is no room, the bucket that is full soonest gives way.
    pub fn new(buckets: usize, [a, b, c, d]: [u64; 4]) -> Self {
        let buckets = buckets.next_power_of_two().max(WAYS);
        Self {
            buckets: std::iter::repeat_with(AtomicU64::default).take(buckets).collect(),
            hasher: RandomState::with_seeds(a, b, c, d),
        }
    }

    /// Whether a packet is within a limit, of which it takes its part then.
    fn take(&self, limit: &Limit, facts: &Facts, now: Instant) -> bool {
        let key = limit.by.key(&self.hasher, limit.id, facts);
        let sets = self.buckets.len() / WAYS;
        let first = key as usize % sets * WAYS;
        let Some(set) = self.buckets.get(first..first + WAYS) else { return true };

        let own = key & !TIME;
        let now_us = now.as_ns() / 1000;
        // Microseconds until a bucket is full.
        let wait = |word: u64| {
            let wait = word.wrapping_sub(now_us) & TIME;
            if u128::from(wait) > MAX_REFILL.as_micros() { 0 } else { wait }
        };
        let by_wait = |bucket: &&AtomicU64| {
            let word = bucket.load(Ordering::Relaxed);
            if word & !TIME == own { (0, 0) } else { (1, wait(word)) }
        };
        let Some(bucket) = set.iter().min_by_key(by_wait) else { return true };
        let whole = limit.interval_us.saturating_mul(limit.burst.into());
        let taken = |word: u64| {
            // No bucket of this limit takes longer than a whole one: it was full long ago, and time has wrapped.
            let before = if word & !TIME == own { wait(word) } else { 0 };
            let after = if before <= whole { before } else { 0 } + limit.interval_us;
            (after <= whole).then(|| own | now_us.wrapping_add(after) & TIME)
        };
        // No other memory depends on it.
        bucket.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).is_ok()
    }
}

/// What a walk through the rules asks limits with.
#[derive(Clone, Copy, Debug)]
pub struct Limiter<'a> {
    /// What has been taken.
    pub limits: &'a Limits,
    /// The time.
    pub now: Instant,
    /// Whether the same packet has been decided about before: it has taken its part then.
    pub again: bool,
}

impl Limiter<'_> {
    /// Whether a rule with this limit is for the packet of these facts, which all else in it matches.
    #[inline(never)]
    pub(crate) fn applies(&self, limit: &Limit, facts: &Facts) -> bool {
        (self.again || self.limits.take(limit, facts, self.now)) != limit.over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PortId;

    fn facts(family: Family, source: u128) -> Facts {
        Facts {
            state: None,
            ingress: PortId(0),
            egress: None,
            family,
            source,
            destination: 1,
            protocol: 6,
            source_port: 0,
            destination_port: 0,
            tcp_flags: 0,
            zone: 0,
            connection: None,
        }
    }

    fn limit(by: LimitBy) -> Limit {
        Limit { id: 7, interval_us: 100_000, burst: 5, by, over: false }
    }

    /// How many of a thousand packets are within a limit.
    fn within(limits: &Limits, limit: &Limit, facts: &Facts, now: Instant) -> usize {
        (0..1000).filter(|_| limits.take(limit, facts, now)).count()
    }

    #[test]
    fn a_burst_and_then_one_an_interval() {
        let limits = Limits::default();
        let (limit, facts) = (limit(LimitBy::Rule), facts(Family::V4, 9));
        // Times before and behind the one at which the clock of buckets wraps.
        for start in [0, 4_000_000_000_000, (TIME + 1) * 1000 - 50_000_000, (TIME + 1) * 2500] {
            let start = Instant::from_ns(start);
            assert_eq!(within(&limits, &limit, &facts, start), 5, "{start:?}");
            assert_eq!(within(&limits, &limit, &facts, start.after(Duration::from_millis(99))), 0);
            assert_eq!(within(&limits, &limit, &facts, start.after(Duration::from_millis(100))), 1);
            assert_eq!(within(&limits, &limit, &facts, start.after(Duration::from_millis(350))), 2);
            assert_eq!(within(&limits, &limit, &facts, start.after(Duration::from_secs(3600))), 5);
        }
    }

    #[test]
    fn each_network_has_a_bucket_of_its_own() {
        let limits = Limits::default();
        let by = limit(LimitBy::Source(Bits { v4: 24, v6: 64 }));
        let now = Instant::from_ns(1);
        let within = |family, source| within(&limits, &by, &facts(family, source), now);
        assert_eq!(within(Family::V4, 0x0a00_0001), 5);
        assert_eq!(within(Family::V4, 0x0a00_00ff), 0, "of the same /24");
        assert_eq!(within(Family::V4, 0x0a00_0101), 5);
        assert_eq!(within(Family::V6, 0x0a00_0001), 5, "of another family");
        assert_eq!(within(Family::V6, 1 << 63), 0, "of the same /64");
        assert_eq!(within(Family::V6, 1 << 64), 5);
        assert_eq!(within(Family::V4, 0x0b00_0001), 5);
    }

    #[test]
    fn limits_know_nothing_of_each_other_and_remember_over_a_reload() {
        let limits = Limits::default();
        let (one, facts, now) = (limit(LimitBy::Rule), facts(Family::V4, 9), Instant::from_ns(1));
        assert_eq!(within(&limits, &one, &facts, now), 5);
        assert_eq!(within(&limits, &Limit { id: 8, ..one }, &facts, now), 5);
        assert_eq!(within(&limits, &limit(LimitBy::Rule), &facts, now), 0);
    }

    #[test]
    fn who_is_full_soonest_gives_way_in_a_flood() {
        let limits = Limits::new(WAYS, [1, 2, 3, 4]);
        let by = limit(LimitBy::Source(Bits { v4: 32, v6: 128 }));
        let now = Instant::from_ns(1);
        let heavy = facts(Family::V4, 1);
        assert_eq!(within(&limits, &by, &heavy, now), 5);
        for source in 2..1000 {
            assert!(limits.take(&by, &facts(Family::V4, source), now), "{source}");
        }
        assert!(!limits.take(&by, &heavy, now), "whoever has used up a limit is remembered");
    }

    #[test]
    fn many_that_take_at_once_get_no_more_than_one() {
        let limits = Limits::default();
        let (limit, facts, now) = (limit(LimitBy::Rule), facts(Family::V4, 9), Instant::from_ns(1));
        assert!(limits.take(&limit, &facts, now));
        let taken: usize = std::thread::scope(|scope| {
            let takers = [(); 4].map(|()| scope.spawn(|| within(&limits, &limit, &facts, now)));
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(taken, 4);
    }

    #[test]
    fn a_packet_that_is_decided_about_again_has_taken_its_part() {
        let limits = Limits::default();
        let (within, facts) = (limit(LimitBy::Rule), facts(Family::V4, 9));
        let over = Limit { over: true, ..within };
        let limiter = |again| Limiter { limits: &limits, now: Instant::from_ns(1), again };
        for _ in 0..5 {
            assert!(limiter(false).applies(&within, &facts));
        }
        assert!(!limiter(false).applies(&within, &facts) && limiter(false).applies(&over, &facts));
        assert!(limiter(true).applies(&within, &facts) && !limiter(true).applies(&over, &facts));
    }
}
