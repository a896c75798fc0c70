//! A packet's way: parse, look up, track, judge, confirm.
//!
//! A burst goes through in passes, so that each pass fetches the cache lines of the next: the first parses and
//! fetches buckets, the second fetches the entries that the buckets point to, the third does the work. The second
//! runs a few packets ahead of the third: what is fetched all at once waits in a queue. A packet of another shard's
//! leaves in the first pass, to be handed off. The places of later stages: defragmentation behind parsing, helpers behind
//! tracking.

use crate::entries::NONE;
use crate::entry::{EntryId, Status};
use crate::forward::{MAX_PORTS, Way};
use crate::frame::{Frame, Handed};
use crate::headers::{Headers, Kind, Packet};
use crate::nat::{self, Destination, Newcomer};
use crate::policy::Facts;
use crate::settings::Preset;
use crate::shard::{End, Key, Shard};
use crate::steer::ShardId;
use crate::time::{Instant, Tick};
use crate::tracker::{self, Context, Update};
use crate::tuple::{Direction, Tuple};
use crate::verdict::{Action, DropReason, Handoff, InvalidReason, State, Verdict};
use crate::wire;
use std::hint::select_unpredictable;
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
    /// What becomes of it where it is not tracked here at all.
    ended: Option<Action>,
    key: Key,
}

/// What tracking found out about a packet.
#[derive(Clone, Copy)]
pub(crate) struct Tracked {
    pub(crate) state: State,
    pub(crate) direction: Option<Direction>,
    pub(crate) invalid: Option<InvalidReason>,
    pub(crate) place: Place,
}

/// Where a packet's entry is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It has none.
    None,
    /// In the table.
    Table(u32),
    /// In the table, from which it goes with this packet.
    Ending(u32),
    /// In the table, but it waits for another shard.
    Unsettled(u32),
    /// Known to another shard.
    Elsewhere(ShardId, Handoff),
    /// Not in the table yet, but [`Shard::newcomer`]: it enters when the packet has passed.
    New,
}

impl Tracked {
    const fn without_entry(state: State) -> Self {
        Self { state, direction: None, invalid: None, place: Place::None }
    }

    const fn invalid(reason: InvalidReason) -> Self {
        Self { invalid: Some(reason), ..Self::without_entry(State::Invalid) }
    }

    /// The packet's entry in the table.
    pub(crate) const fn entry(&self) -> Option<u32> {
        match self.place {
            Place::None | Place::New | Place::Elsewhere(..) => None,
            Place::Table(index) | Place::Ending(index) | Place::Unsettled(index) => Some(index),
        }
    }
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

    fn process_burst<F: Frame>(&mut self, frames: &mut [F], verdicts: &mut [Verdict]) {
        let mut slots = [Slot::default(); BURST];
        let slots = &mut slots[..frames.len().min(BURST)];
        self.parse_burst(slots, frames);
        self.decide_burst(slots, frames, verdicts);
        verdicts.iter().take(slots.len()).for_each(|verdict| self.count(verdict));
    }

    // Each pass is a function of its own: the loops have the registers to themselves.

    #[inline(never)]
    fn parse_burst<F: Frame>(&self, slots: &mut [Slot], frames: &[F]) {
        for (slot, frame) in slots.iter_mut().zip(frames) {
            slot.ended = self.parse(frame, slot).err();
        }
    }

    #[inline(never)]
    fn decide_burst<F: Frame>(&mut self, slots: &mut [Slot], frames: &mut [F], verdicts: &mut [Verdict]) {
        slots.iter_mut().take(AHEAD).for_each(|slot| self.fetch(slot));
        for (place, (frame, verdict)) in frames.iter_mut().zip(verdicts).enumerate() {
            if place % AHEAD == 0 {
                slots.iter_mut().skip(place + AHEAD).take(AHEAD).for_each(|slot| self.fetch(slot));
            }
            let Some(slot) = slots.get(place) else { return };
            *verdict = self.decide(frame, slot);
            if verdict.entry.is_none() {
                self.decline(frame.handed(), slot.headers.tuple);
            }
        }
    }

    /// First pass: headers, zone, exemption from tracking, checksum; fetches the bucket.
    #[inline]
    fn parse<F: Frame>(&self, frame: &F, slot: &mut Slot) -> Result<(), Action> {
        let headers = &mut slot.headers;
        wire::parse_into(frame, headers)?;
        let configuration = &*self.configuration;
        if !configuration.forwarding.is_for_box(frame, headers) {
            return Err(Action::Drop(DropReason::OtherHost));
        }
        if headers.kind == Kind::NotIp {
            return Ok(());
        }
        let port = frame.port();
        let mut exempt = false;
        let mut zone = configuration.zones[usize::from(port.0) % MAX_PORTS];
        if configuration.policy.looks_ahead() {
            let facts = Facts::of_packet(Packet { headers, head: frame.head() }, port);
            zone = configuration.policy.zone(&facts).unwrap_or(zone);
            exempt = configuration.policy.is_untracked(&Facts { zone, ..facts });
        }
        if zone != 0 {
            headers.tuple.selector = headers.tuple.selector.with_zone(zone);
        }
        if exempt {
            headers.kind = Kind::Untracked;
            return Ok(());
        }
        if let Some(owner) = self.steering.elsewhere(frame, headers) {
            return Err(Action::Handoff(owner, Handoff::Steering));
        }
        if matches!(headers.kind, Kind::Invalid(_)) {
            return Ok(());
        }
        if configuration.settings.checksum && !wire::verify_checksum(frame, headers) {
            headers.kind = Kind::Invalid(InvalidReason::BadChecksum);
            return Ok(());
        }
        slot.key = self.key(&headers.tuple);
        self.index.prefetch(slot.key.hash);
        Ok(())
    }

    /// Second pass: fetches the entry that the packet most probably belongs to, or what it takes to translate a new one.
    #[inline]
    fn fetch(&self, slot: &mut Slot) {
        slot.key.candidate = self.index.candidate(slot.key.hash);
        self.entries.prefetch(slot.key.candidate, slot.headers.tuple.family());
        let is_new = slot.key.candidate == NONE && slot.headers.kind == Kind::Tracked && slot.ended.is_none();
        if is_new && !self.configuration.nat.source.is_empty() {
            self.foresee(&slot.headers);
        }
    }

    /// Last pass: all that is decided about one packet.
    #[inline]
    fn decide<F: Frame>(&mut self, frame: &mut F, slot: &Slot) -> Verdict {
        if let Some(action) = slot.ended {
            return Verdict::ended(action);
        }
        let headers = &slot.headers;
        let packet = Packet { headers, head: frame.head() };
        let tracked = match headers.kind {
            Kind::NotIp | Kind::Untracked => Tracked::without_entry(State::Untracked),
            Kind::Invalid(reason) => Tracked::invalid(reason),
            Kind::Error => self.relate(&slot.key, packet, frame.handed()),
            Kind::Tracked => self.track(&slot.key, packet, frame.handed()),
        };
        match tracked.place {
            Place::Elsewhere(shard, by) => Verdict::ended(Action::Handoff(shard, by)),
            Place::Unsettled(index) => {
                Verdict { entry: Some(self.entries.id(index)), ..Verdict::ended(Action::Wait) }
            }
            Place::New => self.decide_new(frame, slot, &tracked),
            Place::Table(index) | Place::Ending(index) if self.entries.at(index).is_translated() => {
                self.decide_translated(frame, headers, &tracked, index)
            }
            Place::None | Place::Table(_) | Place::Ending(_) => {
                let verdict = self.route_and_judge(frame, headers, &tracked, None);
                self.conclude(frame, headers, &tracked, verdict)
            }
        }
    }

    /// About a packet of a translated connection, or an error about one.
    #[inline(never)]
    fn decide_translated<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        tracked: &Tracked,
        index: u32,
    ) -> Verdict {
        let direction = tracked.direction.unwrap_or(Direction::Original);
        if headers.kind == Kind::Error {
            return self.decide_error(frame, headers, tracked, index, direction);
        }
        let to = self.translated(index, direction);
        let verdict = if nat::is_rewritable(Packet { headers, head: frame.head() }, &to) {
            self.route_and_judge(frame, headers, tracked, Some(&Destination::of(&to)))
        } else {
            self.verdict(tracked, Action::Drop(DropReason::NatUnknown))
        };
        if let Action::Forward(_) = verdict.action {
            nat::rewrite(frame, headers, &to);
        }
        self.conclude(frame, headers, tracked, verdict)
    }

    /// About an error about a packet of a translated connection.
    #[cold]
    fn decide_error<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        tracked: &Tracked,
        index: u32,
        direction: Direction,
    ) -> Verdict {
        let edit = self.error_edit(index, direction);
        let destination = edit.dst.map(|address| Destination { address, port: None });
        let verdict = if wire::icmp::is_translatable(Packet { headers, head: frame.head() }) {
            self.route_and_judge(frame, headers, tracked, destination.as_ref())
        } else {
            self.verdict(tracked, Action::Drop(DropReason::NatUnknown))
        };
        if let Action::Forward(_) = verdict.action {
            nat::rewrite_error(frame, headers, &edit);
        }
        self.conclude(frame, headers, tracked, verdict)
    }

    /// About the first packet of a connection.
    #[inline(never)]
    fn decide_new<F: Frame>(&mut self, frame: &mut F, slot: &Slot, tracked: &Tracked) -> Verdict {
        if self.len() >= self.limit() && self.evictable(slot.key.hash).is_none() {
            self.counters.insert_failures += 1;
            return self.table_full();
        }
        let headers = &slot.headers;
        let tuple = &headers.tuple;
        let packet = Packet { headers, head: frame.head() };
        let mut facts = Facts::of_first_packet(packet, frame.port());
        self.bind_destination(tuple, &mut facts);
        let translated = facts.status.has(Status::DST_NAT).then_some(facts.destination);
        if translated.is_some() && !nat::is_rewritable(packet, &self.newcomer.reply.invert()) {
            return self.verdict(tracked, Action::Drop(DropReason::NatUnknown));
        }
        let verdict = match self.configuration.forwarding.way(frame, headers, translated) {
            Way::Open(egress) => {
                let judged = self.judge_first(headers, tracked, &mut facts, egress);
                let verdict = match judged.drop_reason() {
                    None => self.admit(&slot.key, tuple, &facts, egress, frame.handed(), judged),
                    Some(_) => judged,
                };
                if self.tries == 0 && !matches!(verdict.action, Action::Handoff(..)) {
                    self.count_for_rule(judged.rule, headers);
                }
                verdict
            }
            Way::Closed(action) => self.verdict(tracked, action),
        };
        if let (Action::Forward(_), Some(_)) = (verdict.action, verdict.entry)
            && self.newcomer.entry.is_translated()
        {
            nat::rewrite(frame, headers, &self.newcomer.reply.invert());
        }
        self.conclude(frame, headers, tracked, verdict)
    }

    /// What the policy says about a packet on its way, if that is not closed. Its destination may have been translated.
    #[inline(always)]
    fn route_and_judge<F: Frame>(
        &mut self,
        frame: &F,
        headers: &Headers,
        tracked: &Tracked,
        destination: Option<&Destination>,
    ) -> Verdict {
        let packet = Packet { headers, head: frame.head() };
        match self.configuration.forwarding.way(frame, headers, destination.map(|to| to.address)) {
            Way::Open(egress) => self.judge(packet, tracked, frame.port(), egress, destination),
            Way::Closed(action) => self.verdict(tracked, action),
        }
    }

    /// Ends the entry that ends with a packet, and does to the packet what forwarding asks for.
    #[inline(always)]
    fn conclude<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        tracked: &Tracked,
        mut verdict: Verdict,
    ) -> Verdict {
        if let Place::Ending(index) = tracked.place {
            self.remove(index, End::Closed);
        }
        verdict.action = self.configuration.forwarding.finish(frame, headers, verdict.action);
        verdict
    }

    /// Takes back what was delegated with a packet that did not get there.
    pub fn take_back<F: Frame>(&mut self, frame: &F) {
        if let Some(tuple) = self.tuple(frame) {
            self.signposts.remove(&tuple);
        }
    }

    /// The tuple of a packet that is tracked here.
    pub(crate) fn tuple<F: Frame>(&self, frame: &F) -> Option<Tuple> {
        let mut slots = [Slot::default()];
        self.parse_burst(&mut slots, slice::from_ref(frame));
        let [Slot { headers, ended, .. }] = slots;
        ended.is_none().then_some(headers.tuple)
    }

    /// Decides about a packet once more, which was counted before.
    pub(crate) fn decide_again<F: Frame>(&mut self, now: Instant, frame: &mut F) -> Verdict {
        self.advance(now);
        let (mut slots, frames) = ([Slot::default()], slice::from_mut(frame));
        let mut verdicts = [Verdict::dropped(DropReason::NatExhausted)];
        self.parse_burst(&mut slots, frames);
        self.decide_burst(&mut slots, frames, &mut verdicts);
        if let Some(reason) = verdicts[0].drop_reason() {
            self.count_drops(reason, 1);
        }
        verdicts[0]
    }

    /// Finds or opens the connection of a packet and brings it up to date.
    #[inline(always)]
    fn track(&mut self, key: &Key, packet: Packet<'_>, handed: Option<Handed>) -> Tracked {
        let now = Tick::at(self.now);
        let Some((index, direction)) = self.find(key, &packet.headers.tuple) else {
            return self.elsewhere(packet, handed).unwrap_or_else(|| self.open(packet, now));
        };
        let entry = self.entries.at_mut(index);
        if entry.status.has(Status::UNSETTLED) {
            let place = Place::Unsettled(index);
            return Tracked { direction: Some(direction), place, ..Tracked::without_entry(State::New) };
        }
        let answered = entry.status.has(Status::SEEN_REPLY);
        let tracker_state = entry.state;
        let context = Context { settings: &self.configuration.settings, now };
        let update = tracker::update(context, packet, entry, direction);
        let timeout_ms = match update {
            Update::Refresh { timeout_ms } => Some(timeout_ms),
            Update::Ignore | Update::End => None,
            Update::Invalid(reason) => return Tracked::invalid(reason),
            Update::Suspect { reason, timeout_ms } => {
                self.wheel.refresh(&mut self.entries, index, now.after_ms(timeout_ms));
                return Tracked::invalid(reason);
            }
            Update::Reopen => {
                self.remove(index, End::Closed);
                return self.elsewhere(packet, handed).unwrap_or_else(|| self.open(packet, now));
            }
        };
        // Directions come in no order that a branch could learn.
        let reply = direction == Direction::Reply;
        entry.status.set(select_unpredictable(reply, Status::SEEN_REPLY, Status::default()));
        if update != Update::Ignore && self.configuration.settings.accounting {
            entry.counter(direction).add(packet.headers.l3_len);
        }
        if entry.state != tracker_state {
            self.move_gauge(index, tracker_state);
        }
        if let Some(timeout_ms) = timeout_ms {
            self.wheel.refresh(&mut self.entries, index, now.after_ms(timeout_ms));
        }
        let state = if answered | reply { State::Established } else { State::New };
        let place = if update == Update::End { Place::Ending(index) } else { Place::Table(index) };
        Tracked { state, direction: Some(direction), invalid: None, place }
    }

    /// Tracks a packet that the box sends itself. It never makes an entry.
    pub(crate) fn track_own<F: Frame>(&mut self, frame: &F, id: EntryId) {
        let (Ok(mut headers), Some(entry)) = (wire::parse(frame), self.entry(id)) else { return };
        headers.tuple.selector = headers.tuple.selector.with_zone(entry.selector.zone());
        // What the box says answers a packet as that came in: where that was to be translated, so is this.
        if let Some(came) = self.entries.direction(id.index, &headers.tuple.invert()) {
            headers.tuple = self.entries.tuple(id.index, came.invert());
        }
        let key = self.key(&headers.tuple);
        let packet = Packet { headers: &headers, head: frame.head() };
        let tracked = match headers.kind {
            Kind::Error => self.relate(&key, packet, None),
            Kind::Tracked => self.track(&key, packet, None),
            Kind::NotIp | Kind::Untracked | Kind::Invalid(_) => return,
        };
        if let Place::Ending(index) = tracked.place {
            self.remove(index, End::Closed);
        }
    }

    fn move_gauge(&mut self, index: u32, from: u8) {
        let to = self.entries.at(index).state;
        let states = &mut self.counters.entries
            [crate::counters::ProtocolLabel::of(self.entries.at(index).protocol()) as usize];
        states[usize::from(from)] -= 1;
        states[usize::from(to)] += 1;
    }

    /// Makes the entry of a connection's first packet, outside the table.
    #[inline(never)]
    fn open(&mut self, packet: Packet<'_>, now: Tick) -> Tracked {
        self.newcomer = Newcomer::new();
        let entry = &mut self.newcomer.entry;
        entry.selector = packet.headers.tuple.selector;
        let context = Context { settings: &self.configuration.settings, now };
        match tracker::open(context, packet, entry) {
            Err(reason) => Tracked::invalid(reason),
            Ok(timeout_ms) => {
                entry.deadline = now.after_ms(timeout_ms);
                if self.configuration.settings.accounting {
                    entry.counter(Direction::Original).add(packet.headers.l3_len);
                }
                Tracked {
                    state: State::New,
                    direction: Some(Direction::Original),
                    invalid: None,
                    place: Place::New,
                }
            }
        }
    }

    /// The packet of a connection that another shard has, or is to know about.
    fn elsewhere(&self, packet: Packet<'_>, handed: Option<Handed>) -> Option<Tracked> {
        let (shard, by) = self.pointed(&packet.headers.tuple, handed)?;
        Some(Tracked { place: Place::Elsewhere(shard, by), ..Tracked::without_entry(State::New) })
    }

    /// Finds the connection that an ICMP error is about. An error counts and refreshes nothing.
    fn relate(&mut self, key: &Key, packet: Packet<'_>, handed: Option<Handed>) -> Tracked {
        let Some((index, direction)) = self.find(key, &packet.headers.tuple) else {
            let elsewhere = self.elsewhere(packet, handed);
            return elsewhere.unwrap_or(Tracked::invalid(InvalidReason::IcmpQuote));
        };
        let ends =
            self.configuration.settings.preset == Preset::Classic && wire::icmp::is_unreachable(packet);
        let place = if ends { Place::Ending(index) } else { Place::Table(index) };
        Tracked { state: State::Related, direction: Some(direction), invalid: None, place }
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
