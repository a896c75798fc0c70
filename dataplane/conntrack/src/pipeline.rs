//! A packet's way: parse, look up, track, judge, admit, rewrite.
//!
//! A burst goes through in passes, so that each pass fetches the cache lines of the next: the first parses and
//! fetches buckets, the second fetches the entries that the buckets point to, the third does the work. The second
//! runs a few packets ahead of the third: what is fetched all at once waits in a queue. A packet of another shard's
//! leaves in the first pass, to be handed off, and so does a fragment, which comes again with its datagram.

use crate::claim::delegated_in;
use crate::entries::NONE;
use crate::entry::Status;
use crate::facts::Facts;
use crate::forward::{Forwarding, RouteResult};
use crate::frame::{Frame, Handed};
use crate::headers::{Headers, Packet, PacketKind};
use crate::ids::EntryId;
use crate::lifecycle::End;
use crate::nat::{self, Bound, Destination};
use crate::shard::Shard;
use crate::table::Key;
use crate::time::Instant;
use crate::track::{Lookup, Tracked};
use crate::tuple::{Direction, protocol};
use crate::unconfirmed::{Attempt, Unconfirmed};
use crate::verdict::{Action, DropReason, Handoff, InvalidReason, State, Verdict};
use crate::wire;
use std::slice;

/// Packets that go through the passes together.
pub const BURST: usize = 32;

/// How many packets the second pass takes at once, ahead of the third. A core has buffers for some twenty cache
/// lines on their way, and each entry is two: more packets would wait for one another, and fewer would walk
/// page tables one after the other.
const AHEAD: usize = 8;

/// A packet between the passes.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    headers: Headers,
    /// Whether it is not tracked here at all, and its verdict is there already.
    is_ended: bool,
    key: Key,
    /// What was tried for its connection before.
    attempt: Attempt,
}

impl Shard {
    /// Takes a burst of frames through all stages at `now`: edits them in place and writes one verdict for each.
    /// Frames beyond the length of `verdicts` are left alone.
    pub fn process<F: Frame>(&mut self, now: Instant, frames: &mut [F], verdicts: &mut [Verdict]) {
        self.advance(now);
        for (frames, verdicts) in frames.chunks_mut(BURST).zip(verdicts.chunks_mut(BURST)) {
            self.process_burst(frames, verdicts);
        }
    }

    /// The same with one frame, be it a datagram that came in fragments.
    pub(crate) fn process_one<F: Frame>(&mut self, now: Instant, frame: &mut F) -> Verdict {
        self.advance(now);
        let mut verdict = Verdict::dropped(DropReason::Truncated);
        self.process_slots(&mut [Slot::default()], slice::from_mut(frame), slice::from_mut(&mut verdict));
        verdict
    }

    fn process_burst<F: Frame>(&mut self, frames: &mut [F], verdicts: &mut [Verdict]) {
        let mut slots = [Slot::default(); BURST];
        let slots = &mut slots[..frames.len().min(BURST)];
        self.process_slots(slots, frames, verdicts);
    }

    #[inline(always)]
    fn process_slots<F: Frame>(&mut self, slots: &mut [Slot], frames: &mut [F], verdicts: &mut [Verdict]) {
        self.parse_burst(slots, frames, verdicts);
        self.decide_burst(slots, frames, verdicts);
        self.hold_back(verdicts);
        verdicts.iter().take(slots.len()).for_each(|verdict| self.count(verdict));
    }

    // Each pass is a function of its own: the loops have the registers to themselves.

    #[inline(never)]
    fn parse_burst<F: Frame>(&self, slots: &mut [Slot], frames: &[F], verdicts: &mut [Verdict]) {
        for ((slot, frame), verdict) in slots.iter_mut().zip(frames).zip(verdicts) {
            if let Err(action) = self.parse(frame, slot) {
                slot.is_ended = true;
                *verdict = Verdict::ended(action);
            }
        }
        if let Forwarding::Routed(router) = &self.configuration.forwarding {
            router.prefetch(slots.iter().map(|slot| &slot.headers));
        }
    }

    #[inline(never)]
    fn decide_burst<F: Frame>(&mut self, slots: &mut [Slot], frames: &mut [F], verdicts: &mut [Verdict]) {
        slots.iter_mut().take(AHEAD).for_each(|slot| self.fetch(slot));
        for (index, (frame, verdict)) in frames.iter_mut().zip(verdicts).enumerate() {
            if index % AHEAD == 0 {
                slots.iter_mut().skip(index + AHEAD).take(AHEAD).for_each(|slot| self.fetch(slot));
            }
            let Some(slot) = slots.get(index) else { return };
            if !slot.is_ended {
                *verdict = self.decide(frame, slot);
            }
            if let Some(zone) = delegated_in(frame)
                && !self.keeps_delegation(verdict)
            {
                self.decline(slot.headers.tuple, zone);
            }
        }
    }

    /// First pass: headers, zone, exemption from tracking, checksum; fetches the bucket.
    #[inline]
    fn parse<F: Frame>(&self, frame: &F, slot: &mut Slot) -> Result<(), Action> {
        let headers = &mut slot.headers;
        wire::parse_into(frame, headers)?;
        let configuration = &*self.configuration;
        if !configuration.forwarding.is_for_box(frame, headers, &self.macs) {
            return Err(Action::Drop(Forwarding::not_for_box(headers)));
        }
        let mut exempt = match headers.kind {
            PacketKind::NotIp => return Ok(()),
            PacketKind::Fragment => self.steer_fragment(frame, headers)?,
            _ => false,
        };
        let port = frame.port();
        let known = frame.handed().and_then(Handed::zone);
        let mut zone = known.unwrap_or(configuration.zone_of(port));
        if configuration.policy.looks_ahead() {
            let facts = Facts::of_packet(Packet { headers, head: frame.head() }, port);
            zone = known.or_else(|| configuration.policy.zone(&facts)).unwrap_or(zone);
            exempt |= configuration.policy.is_untracked(&Facts { zone, ..facts });
        }
        if zone != 0 {
            headers.tuple.selector = headers.tuple.selector.with_zone(zone);
        }
        if headers.protocol == protocol::GRE {
            self.complete_call(frame.head(), headers);
        }
        if exempt {
            headers.kind = PacketKind::Untracked;
            return Ok(());
        }
        if let Some(owner) = self.steering().elsewhere(frame, headers) {
            return Err(Action::Handoff(owner, Handoff::Steering));
        }
        if matches!(headers.kind, PacketKind::Invalid(_)) {
            return Ok(());
        }
        if configuration.settings.checksum && !wire::verify_checksum(frame, headers) {
            headers.kind = PacketKind::Invalid(InvalidReason::BadChecksum);
            return Ok(());
        }
        if configuration.settings.quote_checksum
            && headers.kind == PacketKind::Error
            && !wire::icmp::quotes_undamaged(Packet { headers, head: frame.head() })
        {
            headers.kind = PacketKind::Invalid(InvalidReason::IcmpQuote);
            return Ok(());
        }
        slot.key = self.table.key(&headers.tuple);
        self.table.index.prefetch(slot.key.hash);
        Ok(())
    }

    /// Second pass: fetches the entry that the packet most probably belongs to, or what it takes to translate a new one.
    #[inline]
    fn fetch(&self, slot: &mut Slot) {
        if slot.is_ended {
            return;
        }
        slot.key.candidate = self.table.index.candidate(slot.key.hash);
        self.table.entries.prefetch(slot.key.candidate, slot.headers.tuple.family());
        let is_new = slot.key.candidate == NONE && slot.headers.kind == PacketKind::Tracked;
        if is_new && self.configuration.nat.may_change_source() {
            self.prefetch_translation(&slot.headers);
        }
    }

    /// Last pass: all that is decided about one packet.
    #[inline]
    fn decide<F: Frame>(&mut self, frame: &mut F, slot: &Slot) -> Verdict {
        let headers = &slot.headers;
        let packet = Packet { headers, head: frame.head() };
        let tracked = match headers.kind {
            PacketKind::NotIp | PacketKind::Untracked => Tracked::without_entry(State::Untracked),
            PacketKind::Fragment => Tracked::invalid(InvalidReason::Fragment),
            PacketKind::Invalid(reason) => Tracked::invalid(reason),
            PacketKind::Error => self.relate(&slot.key, packet, frame.handed()),
            PacketKind::Tracked => self.track(&slot.key, packet, frame.handed()),
        };
        self.decide_tracked(frame, slot, &tracked)
    }

    /// The same once it is known what the packet belongs to.
    #[inline(always)]
    fn decide_tracked<F: Frame>(&mut self, frame: &mut F, slot: &Slot, tracked: &Tracked) -> Verdict {
        let headers = &slot.headers;
        match tracked.lookup {
            Lookup::Elsewhere(shard, by) => Verdict::ended(Action::Handoff(shard, by)),
            Lookup::Apart(index) => self.decide_apart(frame, slot, tracked, index),
            Lookup::New(replaces) => self.decide_new(frame, slot, tracked, replaces),
            Lookup::Table(index) | Lookup::Syn(index) | Lookup::Ending(index)
                if self.table.entries.at(index).is_rewritten() =>
            {
                self.decide_rewritten(frame, headers, tracked, index)
            }
            Lookup::None | Lookup::Table(_) | Lookup::Syn(_) | Lookup::Ending(_) => {
                let verdict = self.route_and_judge(frame, headers, tracked, None);
                self.conclude(frame, headers, tracked, verdict)
            }
        }
    }

    /// About a packet of a connection that waits for another shard, or whose numbers a helper has moved.
    #[cold]
    #[inline(never)]
    fn decide_apart<F: Frame>(&mut self, frame: &mut F, slot: &Slot, found: &Tracked, index: u32) -> Verdict {
        if self.table.entries.at(index).is_pending() {
            return Verdict { entry: Some(self.table.entries.id(index)), ..Verdict::ended(Action::Wait) };
        }
        let direction = found.direction.unwrap_or(Direction::Original);
        let packet = Packet { headers: &slot.headers, head: frame.head() };
        let tracked = self.track_adjusted(index, packet, direction, frame.handed());
        self.decide_tracked(frame, slot, &tracked)
    }

    /// About a packet that opens no connection though it has none.
    #[inline(never)]
    fn decide_untracked<F: Frame>(&mut self, frame: &mut F, headers: &Headers, tracked: &Tracked) -> Verdict {
        let verdict = self.route_and_judge(frame, headers, tracked, None);
        self.conclude(frame, headers, tracked, verdict)
    }

    /// About the first packet of a connection.
    #[inline(never)]
    fn decide_new<F: Frame>(
        &mut self,
        frame: &mut F,
        slot: &Slot,
        tracked: &Tracked,
        replaces: Option<u32>,
    ) -> Verdict {
        let headers = &slot.headers;
        let packet = Packet { headers, head: frame.head() };
        let mut unconfirmed = Unconfirmed::new(headers.tuple, replaces);
        if let Err(reason) = self.open(packet, &mut unconfirmed) {
            return self.decide_untracked(frame, headers, &Tracked::invalid(reason));
        }
        unconfirmed.delegated = delegated_in(frame).is_some();
        unconfirmed.attempt = slot.attempt;
        let mut facts = Facts::of_first_packet(packet, frame.port());
        if !self.expectations.is_empty() || slot.attempt.again {
            self.look_for_expectation(&mut unconfirmed, &mut facts);
        }
        if let Some(assigned) = self.configuration.helpers.assign(&facts) {
            unconfirmed.helper = Some(assigned);
        }
        let mut verdict = self.decide_opened(frame, slot, tracked, &mut unconfirmed, &mut facts);
        if let Some(child) = &unconfirmed.child {
            self.conclude_child(child, &mut verdict);
        }
        verdict
    }

    /// The same when it is known what it is the first packet of.
    #[inline(always)]
    fn decide_opened<F: Frame>(
        &mut self,
        frame: &mut F,
        slot: &Slot,
        tracked: &Tracked,
        unconfirmed: &mut Unconfirmed,
        facts: &mut Facts,
    ) -> Verdict {
        let headers = &slot.headers;
        let packet = Packet { headers, head: frame.head() };
        if (self.configuration.nat.may_change_destination() || unconfirmed.child.is_some())
            && let Bound::Elsewhere(shard) = self.bind_destination(unconfirmed, facts)
        {
            let Some(handoff) = self.delegate(&headers.tuple, shard) else {
                return Verdict::dropped(DropReason::HoldFull);
            };
            self.make_way(unconfirmed);
            return handoff;
        }
        let translated = facts.has_status(Status::DST_NAT).then_some(facts.destination);
        if translated.is_some() && !nat::is_rewritable(packet, &unconfirmed.reply.invert()) {
            return self.verdict(tracked, Action::Drop(DropReason::NatUnknown));
        }
        let verdict = match self.configuration.forwarding.route(frame, headers, translated, &self.macs) {
            RouteResult::Open(egress) => {
                let (mut verdict, log) = self.judge_first(unconfirmed, headers, tracked, facts, &egress);
                if verdict.drop_reason().is_none() {
                    self.admit(&slot.key, headers, unconfirmed, facts, &egress, &mut verdict);
                }
                self.record_first(&verdict, headers, unconfirmed, log, facts);
                verdict
            }
            RouteResult::Closed(action) => self.verdict(tracked, action),
        };
        if unconfirmed.helper.is_some()
            && let Some(EntryId { index, .. }) = verdict.entry
        {
            return self.conclude_first_helped(frame, headers, tracked, index, verdict);
        }
        if let (Action::Forward(_), Some(EntryId { index, .. })) = (verdict.action, verdict.entry)
            && self.table.entries.at(index).is_translated()
        {
            self.rewrite(frame, headers, &self.translated(index, Direction::Original));
        }
        self.conclude(frame, headers, tracked, verdict)
    }

    /// What the policy says about a packet on its way, if that is not closed. Its destination may have been translated.
    #[inline(always)]
    pub(crate) fn route_and_judge<F: Frame>(
        &mut self,
        frame: &F,
        headers: &Headers,
        tracked: &Tracked,
        destination: Option<&Destination>,
    ) -> Verdict {
        let packet = Packet { headers, head: frame.head() };
        let translated = destination.map(|to| to.address);
        match self.configuration.forwarding.route(frame, headers, translated, &self.macs) {
            RouteResult::Open(egress) => self.judge(packet, tracked, frame.port(), &egress, destination),
            RouteResult::Closed(action) => self.verdict(tracked, action),
        }
    }

    /// Does to a packet, and to its entry, what its verdict asks for.
    #[inline(always)]
    pub(crate) fn conclude<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        tracked: &Tracked,
        mut verdict: Verdict,
    ) -> Verdict {
        if !matches!(tracked.lookup, Lookup::Table(_))
            && (!self.configuration.mss_clamp.is_empty() || matches!(tracked.lookup, Lookup::Ending(_)))
        {
            self.conclude_rarer(frame, headers, tracked.lookup, verdict.action);
        }
        verdict.action = self.configuration.forwarding.finish(frame, headers, verdict.action);
        verdict
    }

    /// Ends the entry that ends with a packet which passes, and clamps the maximum segment size of a SYN that leaves.
    #[inline(never)]
    fn conclude_rarer<F: Frame>(&mut self, frame: &mut F, headers: &Headers, lookup: Lookup, action: Action) {
        if let (Lookup::Ending(index), Action::Forward(_) | Action::Deliver) = (lookup, action) {
            self.end(index, End::Closed);
        }
        if let Action::Forward(egress) = action {
            self.configuration.mss_clamp.apply(frame, headers, egress);
        }
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
        let attempt = Attempt { again: true, refusals, before };
        let (mut slots, frames) = ([Slot { attempt, ..Slot::default() }], slice::from_mut(frame));
        let mut verdicts = [Verdict::dropped(DropReason::NatExhausted)];
        self.parse_burst(&mut slots, frames, &mut verdicts);
        self.decide_burst(&mut slots, frames, &mut verdicts);
        if let Some(reason) = verdicts[0].drop_reason() {
            self.count_drops(reason, 1);
        }
        self.hold_back(&mut verdicts);
        verdicts[0]
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
