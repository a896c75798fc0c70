//! A packet's way: parse, look up, track, judge, admit, rewrite.
//!
//! A burst goes through in passes, so that each pass fetches the cache lines of the next: the first parses and
//! fetches buckets, the second fetches the entries that the buckets point to, the third does the work. The second
//! runs a few packets ahead of the third: what is fetched all at once waits in a queue. A packet of another shard's
//! leaves in the first pass, to be handed off, and so does a fragment, which comes again with its datagram.

use crate::claim::delegated_in;
use crate::configuration::Configuration;
use crate::entries::NONE;
use crate::forward::Forwarding;
use crate::frame::Frame;
use crate::headers::PacketKind;
use crate::ids::EntryId;
use crate::shard::Shard;
use crate::slow_path::Parsed;
use crate::table::Key;
use crate::time::Instant;
use crate::tuple::Family;
use crate::unconfirmed::Attempt;
use crate::verdict::{Action, Verdict};
use crate::wire::usual::Usual;
use arrayvec::ArrayVec;
use std::ops::Range;
use std::slice;

/// Packets that go through the passes together.
pub const BURST: usize = 32;

/// How many packets the second pass takes at once, ahead of the third. A core has buffers for some twenty cache
/// lines on their way, and each entry is two: more packets would wait for one another, and fewer would walk
/// page tables one after the other.
const AHEAD: usize = 8;

/// A packet between the passes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Slot {
    /// Nothing is known of it yet.
    #[default]
    Unread,
    /// It may take the fast path: this is all that is kept of it.
    Usual(Usual, Key),
    /// It is not tracked here at all: its verdict.
    Ended(Action),
    /// It takes the slow path: its number among those that were parsed.
    Parsed(usize),
}

/// Those of a burst.
type AllParsed = ArrayVec<Parsed, BURST>;

impl Shard {
    /// Takes a burst of frames through all stages at `now`: edits them in place and writes one verdict for each.
    /// Frames beyond the length of `verdicts` are left alone.
    pub fn process<F: Frame>(&mut self, now: Instant, frames: &mut [F], verdicts: &mut [Verdict]) {
        self.advance(now);
        for (frames, verdicts) in frames.chunks_mut(BURST).zip(verdicts.chunks_mut(BURST)) {
            self.process_burst(frames, verdicts, Self::recognise);
        }
    }

    /// The same with one frame, be it a datagram that came in fragments.
    pub(crate) fn process_one<F: Frame>(&mut self, now: Instant, frame: &mut F) -> Verdict {
        self.advance(now);
        let mut verdict = self.decide_alone(frame, Attempt::default());
        self.hold_back(slice::from_mut(&mut verdict));
        self.count(&verdict);
        verdict
    }

    /// Decides about a packet once more, which was counted and logged before, and whose connection was refused its
    /// reply tuple so often. The entry that it had has ended, the last one that is.
    pub(crate) fn decide_again<F: Frame>(
        &mut self,
        now: Instant,
        frame: &mut F,
        refusals: u8,
        before: EntryId,
    ) -> Verdict {
        self.advance(now);
        let mut verdict = self.decide_alone(frame, Attempt { again: true, refusals, before });
        if let Some(reason) = verdict.drop_reason() {
            self.count_drops(reason, 1);
        }
        self.hold_back(slice::from_mut(&mut verdict));
        verdict
    }

    /// Decides about a packet by itself, on which this was tried before.
    pub(crate) fn decide_alone<F: Frame>(&mut self, frame: &mut F, attempt: Attempt) -> Verdict {
        let mut parsed = Parsed { attempt, ..Parsed::default() };
        self.parse(frame, &mut parsed);
        self.fetch_entry(&mut parsed.key, parsed.headers.tuple.family());
        self.decide_parsed(frame, &parsed)
    }

    /// A burst's way. What `recognise` recognises takes the fast path, all else is parsed and takes the slow one.
    pub(crate) fn process_burst<F: Frame>(
        &mut self,
        frames: &mut [F],
        verdicts: &mut [Verdict],
        recognise: impl Fn(&Self, &F, &mut Slot) -> bool,
    ) {
        let mut slots = [Slot::default(); BURST];
        let slots = &mut slots[..frames.len().min(verdicts.len())];
        let mut parsed = AllParsed::new();
        self.parse_burst(slots, &mut parsed, frames, recognise);
        self.decide_burst(slots, &mut parsed, frames, verdicts);
        self.hold_back(verdicts);
    }

    // Each pass is a function of its own: the loops have the registers to themselves.

    /// First pass: recognises or parses, and fetches buckets.
    #[inline(never)]
    fn parse_burst<F: Frame>(
        &self,
        slots: &mut [Slot],
        parsed: &mut AllParsed,
        frames: &[F],
        recognise: impl Fn(&Self, &F, &mut Slot) -> bool,
    ) {
        for (slot, frame) in slots.iter_mut().zip(frames) {
            if !recognise(self, frame, slot) {
                let number = parsed.len();
                parsed.push(Parsed::default());
                self.parse(frame, &mut parsed[number]);
                *slot = match parsed[number].ended {
                    Some(action) if delegated_in(frame).is_none() => Slot::Ended(action),
                    _ => Slot::Parsed(number),
                };
            }
        }
    }

    /// Second and third pass: fetches entries, and decides.
    #[inline(never)]
    fn decide_burst<F: Frame>(
        &mut self,
        slots: &mut [Slot],
        parsed: &mut AllParsed,
        frames: &mut [F],
        verdicts: &mut [Verdict],
    ) {
        let len = slots.len();
        let together = |first: usize| first.min(len)..(first + AHEAD).min(len);
        self.fetch(slots, parsed, frames, together(0));
        for first in (0..len).step_by(AHEAD) {
            self.fetch(slots, parsed, frames, together(first + AHEAD));
            let now = together(first);
            let slots = &slots[now.clone()];
            for ((slot, frame), verdict) in slots.iter().zip(&mut frames[now.clone()]).zip(&mut verdicts[now])
            {
                let number = match slot {
                    Slot::Usual(usual, key) => {
                        let Err(found) = self.take_fast_path(frame, usual, key, verdict) else { continue };
                        let headers = usual.headers(frame.head());
                        parsed.push(Parsed { headers, key: *key, found: Some(found), ..Parsed::default() });
                        parsed.len() - 1
                    }
                    Slot::Parsed(number) => *number,
                    Slot::Ended(action) => {
                        *verdict = Verdict::ended(*action);
                        self.count(verdict);
                        continue;
                    }
                    Slot::Unread => continue,
                };
                *verdict = self.decide_parsed(frame, &parsed[number]);
                self.count(verdict);
            }
        }
    }

    /// Second pass: fetches the entries that these packets most probably belong to, or what it takes to route, to translate and to make
    /// room for new ones.
    #[inline(never)]
    fn fetch<F: Frame>(
        &self,
        slots: &mut [Slot],
        parsed: &mut AllParsed,
        frames: &[F],
        together: Range<usize>,
    ) {
        let mut has_new = false;
        for slot in &mut slots[together.clone()] {
            let key = match slot {
                Slot::Usual(usual, key) => {
                    self.fetch_entry(key, usual.family());
                    key
                }
                Slot::Parsed(number) => {
                    let Parsed { headers, key, .. } = &mut parsed[*number];
                    self.fetch_entry(key, headers.tuple.family());
                    key
                }
                Slot::Unread | Slot::Ended(_) => continue,
            };
            has_new |= key.candidate == NONE;
        }
        if has_new {
            self.fetch_for_new(&slots[together.clone()], parsed, &frames[together]);
        }
    }

    /// The same for those of these packets that have no entry.
    #[inline(never)]
    fn fetch_for_new<F: Frame>(&self, slots: &[Slot], parsed: &AllParsed, frames: &[F]) {
        let Configuration { forwarding, nat, .. } = &*self.configuration;
        let router = match forwarding {
            Forwarding::Routed(router) => Some(router),
            Forwarding::Wire { .. } => None,
        };
        let (translates, is_full) = (nat.may_change_source(), self.is_full());
        if router.is_none() && !translates && !is_full {
            return;
        }
        let mut destinations = ArrayVec::<_, AHEAD>::new();
        let mut evictions = 0;
        for (slot, frame) in slots.iter().zip(frames) {
            let tuple = match slot {
                Slot::Usual(usual, key) if key.candidate == NONE => usual.tuple(frame.head()),
                Slot::Parsed(number) => match &parsed[*number] {
                    Parsed { headers, ended: None, key, .. }
                        if key.candidate == NONE && headers.kind == PacketKind::Tracked =>
                    {
                        headers.tuple
                    }
                    _ => continue,
                },
                Slot::Usual(..) | Slot::Unread | Slot::Ended(_) => continue,
            };
            if router.is_some() {
                destinations.push((tuple.family(), tuple.dst));
            }
            if translates {
                self.prefetch_translation(&tuple);
            }
            if is_full {
                self.prefetch_evictable(evictions);
                evictions += 1;
            }
        }
        if let Some(router) = router {
            router.prefetch(destinations.into_iter());
        }
    }

    #[inline(always)]
    pub(crate) fn fetch_entry(&self, key: &mut Key, family: Family) {
        key.candidate = self.table.index.candidate(key.hash);
        self.table.entries.prefetch(key.candidate, family);
    }

    fn count(&mut self, verdict: &Verdict) {
        if let Some(state) = verdict.state {
            self.counters.packets[state as usize] += 1;
        }
        if let Some(reason) = verdict.invalid {
            self.counters.invalid[reason as usize] += 1;
        }
        if let Some(reason) = verdict.drop_reason() {
            self.counters.drops[reason as usize] += 1;
        }
    }
}
