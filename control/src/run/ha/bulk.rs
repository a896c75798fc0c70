//! When a standby needs to be told of all connections: where it has missed something, and once more where that does not come to an end.

use std::time::{Duration, Instant};

/// How long a bulk may take, from the wish for it to its end.
const DEADLINE: Duration = Duration::from_secs(120);

/// The least time between the ends of bulks that nothing was missed before.
const PAUSE: Duration = Duration::from_secs(30);

/// How it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// All is known.
    #[default]
    Complete,
    /// Something was missed; the peer was asked then, or is yet to be.
    Wanted(Option<Instant>),
    /// The peer tells since then.
    Running(Instant),
}

/// The bulk of a peer's group, as the standby sees it.
#[derive(Clone, Debug, Default)]
pub struct Bulk {
    state: State,
    ended: Option<Instant>,
}

/// The peer is to be asked for a bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whether it was asked before and has not come to the end in time.
    pub is_late: bool,
}

impl Bulk {
    /// Something was missed: what is being told, or was asked for, does not count.
    pub fn missed(&mut self) {
        self.state = State::Wanted(None);
    }

    /// A connection that was told of could not be kept, perhaps because of one that the peer has no more.
    pub fn doubted(&mut self, now: Instant) {
        let has_rested = self.ended.is_none_or(|ended| now.duration_since(ended) >= PAUSE);
        if self.state == State::Complete && has_rested {
            self.missed();
        }
    }

    /// The peer begins to tell of all.
    pub fn begun(&mut self, now: Instant) {
        self.state = State::Running(now);
    }

    /// It has come to the end. True where nothing of it was missed.
    pub fn ended(&mut self, now: Instant) -> bool {
        let is_whole = matches!(self.state, State::Running(_));
        if is_whole {
            self.state = State::Complete;
            self.ended = Some(now);
        }
        is_whole
    }

    /// Whether all is known.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Whether the peer is to be asked now: then it counts as asked.
    pub fn ask(&mut self, now: Instant) -> Option<Ask> {
        let is_late = match self.state {
            State::Complete => return None,
            State::Wanted(None) => false,
            State::Wanted(Some(since)) | State::Running(since) if now.duration_since(since) < DEADLINE => {
                return None;
            }
            State::Wanted(Some(_)) | State::Running(_) => true,
        };
        self.state = State::Wanted(Some(now));
        Some(Ask { is_late })
    }

    /// The peer may not have heard that it was asked.
    pub fn ask_again(&mut self) {
        if let State::Wanted(_) = self.state {
            self.missed();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASK: Option<Ask> = Some(Ask { is_late: false });

    #[test]
    fn what_was_missed_is_asked_for_once_until_it_is_late() {
        let (mut bulk, now) = (Bulk::default(), Instant::now());
        assert_eq!(bulk.ask(now), None);
        bulk.missed();
        assert_eq!((bulk.ask(now), bulk.ask(now)), (ASK, None));
        assert_eq!(bulk.ask(now + DEADLINE - Duration::from_secs(1)), None);
        let late = now + DEADLINE;
        assert_eq!((bulk.ask(late), bulk.ask(late)), (Some(Ask { is_late: true }), None));
        bulk.begun(late);
        assert!(!bulk.is_complete() && bulk.ask(late).is_none());
        assert_eq!(bulk.ask(late + DEADLINE), Some(Ask { is_late: true }), "it came to no end");
        bulk.begun(late);
        assert!(bulk.ended(late) && bulk.is_complete() && bulk.ask(late + 2 * DEADLINE).is_none());
    }

    #[test]
    fn a_bulk_with_a_gap_is_none() {
        let (mut bulk, now) = (Bulk::default(), Instant::now());
        bulk.begun(now);
        bulk.missed();
        assert!(!bulk.ended(now) && !bulk.is_complete());
        assert_eq!(bulk.ask(now), ASK);
        bulk.ask_again();
        assert_eq!(bulk.ask(now), ASK, "the wish was lost with the connection");
        bulk.begun(now);
        bulk.ask_again();
        assert_eq!((bulk.ask(now), bulk.ended(now)), (None, true));
    }

    #[test]
    fn doubts_wait_for_their_turn() {
        let (mut bulk, now) = (Bulk::default(), Instant::now());
        bulk.begun(now);
        assert!(bulk.ended(now));
        bulk.doubted(now + PAUSE / 2);
        assert!(bulk.is_complete());
        bulk.doubted(now + PAUSE);
        assert_eq!(bulk.ask(now + PAUSE), ASK);
    }
}
