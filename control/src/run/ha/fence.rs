//! Fencing: which of two boxes is active for a group where each would be.
//!
//! Each says what it is in every entry of its stream, a hundred times a second at least, and by which term. Who becomes active takes a term above
//! all that it has heard of, and waits as long as the other is heard to be active. Where both are active all the same, as behind a cut link, the
//! one whose term is lower steps back as soon as it hears of the other. Who becomes active by plan is offered it by the other, which has told all.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sluice_conntrack::groups::Role;
use sluice_conntrack::replica::{EntryKind, Header};

use super::lease::Lease;

/// A box that was not heard for so long may be dead: several heartbeats, and less than keepalived takes to notice it.
const ALIVE: Duration = Duration::from_millis(80);

/// What this box is, step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Own {
    /// Active for its own connections, where there are no groups, and says nothing of it.
    Ungrouped,
    /// On standby.
    Standby,
    /// Active.
    Active,
    /// Active as yet, while its workers hear that they are not.
    Leaving,
    /// Its workers forward nothing any more; what they have to tell is told.
    HandingOver,
}

/// What the peer has said last.
#[derive(Clone, Copy, Debug)]
struct Peer {
    term: u32,
    role: Option<Role>,
    heard: Instant,
}

/// Who is active, as one box sees it.
#[derive(Debug)]
pub struct Fence {
    /// Whether it wins where both have the same term.
    is_preferred: bool,
    own: Own,
    term: u32,
    peer: Option<Peer>,
    /// Whether what the peer has said is being read, and is not read to its end.
    is_reading: bool,
    /// Whether the peer has told all and waits for this box to be active.
    is_offered: bool,
    /// Whether the peer was active beside this box, and whether it has stepped back.
    was_contested: bool,
    is_alone: bool,
    /// By what the box may be active at all, where there is a witness.
    pub lease: Option<Lease>,
}

impl Fence {
    /// Of a box that is on standby where there are groups.
    pub fn new(has_groups: bool, is_preferred: bool) -> Self {
        let own = if has_groups { Own::Standby } else { Own::Ungrouped };
        Self {
            is_preferred,
            own,
            term: 0,
            peer: None,
            is_reading: false,
            is_offered: false,
            was_contested: false,
            is_alone: false,
            lease: None,
        }
    }

    /// What the box says of itself: its term, and what it is.
    pub fn said(&self) -> (u32, Option<Role>) {
        let role = match self.own {
            Own::Ungrouped => None,
            Own::Standby => Some(Role::Standby),
            Own::Active | Own::Leaving | Own::HandingOver => Some(Role::Active),
        };
        (self.term, role)
    }

    /// The box's stream begins anew, by a term of this number at least. What it had to hand over is lost.
    pub fn begin_stream(&mut self, least: u32) {
        self.term = least.max(self.term.saturating_add(1));
        self.handed_over();
    }

    /// The peer has said something. True where that is something else than before.
    pub fn hear(&mut self, header: &Header, now: Instant) -> bool {
        let Header { term, role, kind, .. } = *header;
        let before = self.peer.replace(Peer { term, role, heard: now });
        let is_offered = match (kind, role) {
            (EntryKind::Handover, _) => true,
            (_, Some(Role::Active)) => false,
            _ => self.is_offered,
        };
        let was_offered = std::mem::replace(&mut self.is_offered, is_offered);
        let is_contested = self.own == Own::Active && role == Some(Role::Active);
        let was_contested = std::mem::replace(&mut self.was_contested, is_contested);
        // A term that has changed is one of a box that has been active meanwhile, though it may not have been heard then.
        let has_been_active = was_contested || before.is_some_and(|before| before.term != term);
        self.is_alone |= has_been_active && !is_contested && self.own == Own::Active;
        before.is_none_or(|before| (before.term, before.role) != (term, role)) || was_offered != is_offered
    }

    /// What the peer is, as far as it has said.
    pub fn peer(&self) -> Option<Role> {
        self.peer.and_then(|peer| peer.role)
    }

    /// What the peer has said is being read from now on, which may take a while: the peer is not silent meanwhile.
    pub fn begin_reading(&mut self) {
        self.is_reading = true;
    }

    /// All is read that it has said until now.
    pub fn end_reading(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_reading)
            && let Some(peer) = &mut self.peer
        {
            peer.heard = now;
        }
    }

    /// Whether the peer was heard just now.
    pub fn hears(&self, now: Instant) -> bool {
        self.peer.is_some_and(|peer| self.is_reading || now.saturating_duration_since(peer.heard) < ALIVE)
    }

    /// Whether the peer was heard just now, and is active.
    pub fn is_taken(&self, now: Instant) -> bool {
        self.peer() == Some(Role::Active) && self.hears(now)
    }

    /// Whether the box is to become active and asks for what lets it.
    pub fn want(&mut self, is_wanted: bool, now: Instant) {
        if let Some(lease) = &mut self.lease {
            lease.want(is_wanted, now);
        }
    }

    /// The peer's host has answered.
    pub fn reach(&mut self, now: Instant) {
        if let Some(lease) = &mut self.lease {
            lease.reach(now);
        }
    }

    /// Whether the peer's host or the witness lets it become active.
    pub fn may_take(&self, now: Instant) -> bool {
        self.lease.is_none_or(|lease| lease.allows_taking(now))
    }

    /// Whether it is active and reaches neither.
    pub fn is_cut_off(&self, now: Instant) -> bool {
        self.own == Own::Active && self.lease.is_some_and(|lease| !lease.allows_staying(now))
    }

    /// Whether the peer has handed over to this box.
    pub fn is_offered(&self) -> bool {
        self.own == Own::Standby && self.is_offered
    }

    /// Whether the peer is active as well, and this box is to step back.
    pub fn is_deposed(&self) -> bool {
        let is_above = |peer: &Peer| (peer.term, !self.is_preferred) > (self.term, self.is_preferred);
        self.own == Own::Active
            && self.peer.is_some_and(|peer| peer.role == Some(Role::Active) && is_above(&peer))
    }

    /// Whether this box is to step back, or does so just now: its workers may not have heard of it.
    pub fn is_stepping_back(&self) -> bool {
        self.is_deposed() || matches!(self.own, Own::Leaving | Own::HandingOver)
    }

    /// Whether the peer has stepped back since this was asked, having been active beside this box.
    pub fn take_alone(&mut self) -> bool {
        std::mem::take(&mut self.is_alone)
    }

    /// The box becomes active, by a term above all that it has heard of.
    pub fn take(&mut self) {
        let heard = self.peer.map_or(0, |peer| peer.term);
        self.term = self.term.max(heard).saturating_add(1);
        (self.own, self.is_offered, self.was_contested) =
            (Own::Active, false, self.peer() == Some(Role::Active));
    }

    /// The box is about to be on standby: its workers are told so now.
    pub fn leave(&mut self) {
        self.own = Own::Leaving;
    }

    /// It could not be: the workers have not heard of it.
    pub fn stay(&mut self) {
        self.own = Own::Active;
    }

    /// Its workers are on standby; what they have yet to tell is told before the peer hears of that.
    pub fn hand_over(&mut self) {
        self.own = Own::HandingOver;
    }

    /// The box is on standby.
    pub fn stand_by(&mut self) {
        self.own = Own::Standby;
    }

    /// Whether all is to be told that the workers have to tell, and then that the peer may be active.
    pub fn is_handing_over(&self) -> bool {
        self.own == Own::HandingOver
    }

    /// That is done.
    pub fn handed_over(&mut self) {
        if self.own == Own::HandingOver {
            self.own = Own::Standby;
        }
    }

    /// Whether the box has connections to tell of all: not one on standby, which does not have them, nor one that may leave them out.
    pub fn tells_all(&self) -> bool {
        matches!(self.own, Own::Ungrouped | Own::Active)
    }

    /// Whether what the peer tells of counts: not while this box is active.
    pub fn follows(&self) -> bool {
        matches!(self.own, Own::Ungrouped | Own::Standby)
    }
}

/// One that several threads share.
#[derive(Debug)]
pub struct Fencing(Mutex<Fence>);

impl Fencing {
    /// Of a box that is on standby where there are groups.
    pub fn new(has_groups: bool, is_preferred: bool) -> Self {
        Self(Mutex::new(Fence::new(has_groups, is_preferred)))
    }

    /// Nobody else changes or sees it meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, Fence> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(term: u32, role: Role, kind: EntryKind) -> Header {
        Header { term, sequence: 1, sent_ns: 1, kind, role: Some(role) }
    }

    fn beat(term: u32, role: Role) -> Header {
        said(term, role, EntryKind::Heartbeat)
    }

    #[test]
    fn who_hears_an_active_peer_waits_until_it_is_silent() {
        let (mut fence, now) = (Fence::new(true, true), Instant::now());
        assert!(!fence.is_taken(now) && !fence.hears(now), "nobody was heard");
        assert!(fence.hear(&beat(5, Role::Standby), now));
        assert!(!fence.is_taken(now) && fence.hears(now));
        assert!(fence.hear(&beat(5, Role::Active), now));
        assert!(!fence.hear(&beat(5, Role::Active), now), "nothing new");
        assert!(fence.is_taken(now + ALIVE / 2) && !fence.is_taken(now + ALIVE));
        fence.take();
        assert_eq!(fence.said(), (6, Some(Role::Active)), "above all that was heard of");
        assert!(!fence.is_deposed() && !fence.follows() && fence.tells_all());
    }

    #[test]
    fn who_is_yet_to_read_all_that_an_active_peer_has_said_does_not_take_its_silence_for_one() {
        let (mut fence, now) = (Fence::new(true, true), Instant::now());
        fence.begin_reading();
        fence.hear(&beat(5, Role::Active), now);
        let read = now + 100 * ALIVE;
        assert!(fence.is_taken(read), "it was late, not silent");
        fence.end_reading(read);
        fence.end_reading(read + ALIVE);
        assert!(fence.is_taken(read + ALIVE / 2) && !fence.is_taken(read + ALIVE));
    }

    #[test]
    fn of_two_active_boxes_the_lower_term_steps_back() {
        let now = Instant::now();
        for (is_preferred, term, is_deposed) in
            [(true, 1, false), (false, 1, true), (true, 2, true), (false, 0, false)]
        {
            let mut fence = Fence::new(true, is_preferred);
            fence.take();
            assert!(!fence.is_deposed());
            fence.hear(&beat(term + 10, Role::Standby), now);
            assert!(!fence.is_deposed(), "the term of one on standby claims nothing");
            fence.hear(&beat(term, Role::Active), now);
            assert_eq!(fence.is_deposed(), is_deposed, "{is_preferred} {term}");
            assert_eq!(fence.is_stepping_back(), is_deposed);
            fence.leave();
            assert!(fence.is_stepping_back() && !fence.follows(), "its workers are yet to hear of it");
            fence.stand_by();
            assert!(
                !fence.is_deposed() && !fence.is_stepping_back() && fence.follows() && !fence.tells_all()
            );
        }
    }

    #[test]
    fn who_was_not_heard_while_it_was_active_has_been_all_the_same() {
        let (mut fence, now) = (Fence::new(true, true), Instant::now());
        fence.hear(&beat(5, Role::Standby), now);
        fence.take();
        fence.hear(&beat(5, Role::Standby), now);
        assert!(!fence.take_alone());
        fence.hear(&beat(7, Role::Standby), now);
        assert!(fence.take_alone() && !fence.take_alone());
    }

    #[test]
    fn an_offer_holds_until_it_is_taken_or_taken_back() {
        let (mut fence, now) = (Fence::new(true, false), Instant::now());
        fence.hear(&beat(5, Role::Active), now);
        assert!(fence.hear(&said(5, Role::Standby, EntryKind::Handover), now));
        assert!(fence.is_offered() && !fence.is_taken(now));
        assert!(!fence.hear(&beat(5, Role::Standby), now) && fence.is_offered());
        assert!(fence.hear(&said(6, Role::Active, EntryKind::Role), now) && !fence.is_offered());
        fence.hear(&said(6, Role::Standby, EntryKind::Handover), now);
        fence.take();
        assert!(!fence.is_offered());
        assert_eq!(fence.said(), (7, Some(Role::Active)));
    }

    #[test]
    fn who_hands_over_says_that_it_is_active_until_that_is_done() {
        let mut fence = Fence::new(true, true);
        fence.take();
        fence.leave();
        assert!(!fence.tells_all() && !fence.is_handing_over(), "a table without its connections is none");
        fence.hand_over();
        assert_eq!(fence.said(), (1, Some(Role::Active)));
        assert!(fence.is_handing_over() && !fence.follows());
        fence.handed_over();
        assert_eq!(fence.said(), (1, Some(Role::Standby)));
        fence.handed_over();
        fence.take();
        fence.handed_over();
        assert_eq!(fence.said(), (2, Some(Role::Active)), "that was another time");
        fence.leave();
        fence.stay();
        assert!(fence.tells_all());
    }

    #[test]
    fn a_stream_that_begins_anew_has_a_higher_term_whatever_the_clock_says() {
        let mut fence = Fence::new(false, true);
        fence.begin_stream(1000);
        fence.begin_stream(7);
        assert_eq!(fence.said(), (1001, None), "a box without groups says nothing of its role");
        assert!(fence.follows() && fence.tells_all());
        let mut fence = Fence::new(true, true);
        fence.take();
        fence.hand_over();
        fence.begin_stream(1000);
        assert_eq!(fence.said(), (1000, Some(Role::Standby)), "what was to be handed over is lost");
    }
}
