//! The lease of a group: what a witness on a third host, or the sight of the peer's host, lets a box be active by.
//!
//! Two boxes that hear each other on no way cannot tell a dead peer from a cut link. A witness can: of the two, one has the lease. A box may be
//! active while it has it, or while the peer's Redis answers: then the link holds, and the two agree without a third. One that has
//! neither stops, and does so before the lease is the other's; one that would take over without reaching the peer takes the lease first,
//! and waits besides until the peer, if it lives, has stopped for not reaching this box.

use std::time::{Duration, Instant};

/// How long a lease lasts from when the witness hears of it.
pub const LEASE: Duration = Duration::from_secs(3);

/// How long a box counts on its own: less, for its workers have to hear of the end, and two clocks do not run alike.
const OWN: Duration = Duration::from_millis(2500);

/// How long the peer's host counts as reached by an answer.
const REACH: Duration = Duration::from_secs(1);

/// By what a box may be active for a group.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lease {
    /// Until when the lease is this box's.
    until: Option<Instant>,
    /// When the peer's Redis answered last.
    reached: Option<Instant>,
    /// Since when the box is to take over.
    wanted: Option<Instant>,
}

impl Lease {
    /// The witness has given or renewed it, asked at this time.
    pub fn give(&mut self, asked: Instant) {
        self.until = Some(asked + OWN);
    }

    /// It is another box's, or nobody's.
    pub fn take_away(&mut self) {
        self.until = None;
    }

    /// The peer's Redis has answered.
    pub fn reach(&mut self, now: Instant) {
        self.reached = Some(now);
    }

    /// Whether the box is to take over.
    pub fn want(&mut self, is_wanted: bool, now: Instant) {
        self.wanted = if is_wanted { self.wanted.or(Some(now)) } else { None };
    }

    /// Whether it is to take over, and asks for that.
    pub fn is_wanted(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether the box has it now.
    pub fn is_held(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Whether the peer's host was reached just now.
    fn reaches(&self, now: Instant) -> bool {
        self.reached.is_some_and(|reached| now < reached + REACH)
    }

    /// Whether the box may become active: the peer's host has answered since it is to, or does not any more, and the lease is this box's.
    pub fn allows_taking(&self, now: Instant) -> bool {
        let has_answered = self.wanted.zip(self.reached).is_some_and(|(wanted, reached)| reached >= wanted);
        if self.reaches(now) { has_answered } else { self.is_held(now) }
    }

    /// Whether it may stay active.
    pub fn allows_staying(&self, now: Instant) -> bool {
        self.reaches(now) || self.is_held(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn who_reaches_the_peers_host_takes_over_at_once() {
        let (mut lease, now) = (Lease::default(), Instant::now());
        lease.reach(now);
        lease.want(true, now + ms(10));
        assert!(!lease.allows_taking(now + ms(20)), "that was before");
        lease.reach(now + ms(30));
        assert!(lease.allows_taking(now + ms(40)));
        lease.want(false, now);
        assert!(!lease.is_wanted());
    }

    #[test]
    fn who_does_not_needs_the_lease_and_gives_the_peer_time_to_stop() {
        let (mut lease, now) = (Lease::default(), Instant::now());
        lease.want(true, now);
        assert!(!lease.allows_taking(now));
        lease.give(now);
        assert!(lease.allows_taking(now) && lease.is_held(now));
        lease.take_away();
        assert!(!lease.allows_taking(now));
        // One that was reached a moment ago may be active for that reason as yet.
        let mut lease = Lease::default();
        lease.reach(now);
        lease.want(true, now + ms(1));
        lease.give(now + ms(2));
        assert!(!lease.allows_taking(now + ms(3)) && lease.allows_taking(now + REACH));
    }

    #[test]
    fn who_loses_both_stops_before_the_other_may_begin() {
        let (mut lease, now) = (Lease::default(), Instant::now());
        lease.give(now);
        lease.reach(now + ms(100));
        assert!(lease.allows_staying(now + ms(2499)) && !lease.allows_staying(now + OWN));
        assert!(OWN < LEASE && REACH < OWN);
        lease.take_away();
        assert!(lease.allows_staying(now + ms(1000)) && !lease.allows_staying(now + ms(1100)));
    }
}
