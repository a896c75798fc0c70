//! A packet's way: parse, look up, track, judge, confirm.
//!
//! A burst goes through in passes, so that each pass fetches the cache lines of the next: the first parses and
//! fetches buckets, the second fetches the entries that the buckets point to, the third does the work. The places
//! of later stages: steering comes before the first pass, defragmentation behind parsing, helpers and
//! translation between tracking and policy.

use crate::entry::{Entry, Status};
use crate::forward::{MAX_PORTS, Way};
use crate::frame::Frame;
use crate::headers::{Headers, Kind, Packet};
use crate::index::Hash;
use crate::policy::Facts;
use crate::settings::Preset;
use crate::shard::{End, Shard};
use crate::time::{Instant, Tick};
use crate::tracker::{self, Context, Update};
use crate::tuple::{Direction, Tuple, Zone};
use crate::verdict::{DropReason, InvalidReason, State, Verdict};
use crate::wire;
use zerocopy::FromZeros;

/// Packets that go through the passes together.
pub const BURST: usize = 32;

/// A parsed packet between the passes.
#[derive(Clone, Copy, Debug)]
struct Slot {
    parsed: Result<Headers, DropReason>,
    inverse: Tuple,
    hash: Hash,
}

/// What tracking found out about a packet.
pub(crate) struct Tracked {
    pub(crate) state: State,
    pub(crate) direction: Option<Direction>,
    pub(crate) invalid: Option<InvalidReason>,
    pub(crate) place: Place,
}

/// Where a packet's entry is.
pub(crate) enum Place {
    /// It has none.
    None,
    /// In the table.
    Table(u32),
    /// In the table, from which it goes with this packet.
    Ending(u32),
    /// Not in the table yet: it enters when the packet has passed.
    New(Entry),
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
            Place::None | Place::New(_) => None,
            Place::Table(index) | Place::Ending(index) => Some(index),
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
        let empty =
            Slot { parsed: Err(DropReason::Truncated), inverse: Tuple::default(), hash: Hash::default() };
        let mut slots = [empty; BURST];
        for (slot, frame) in slots.iter_mut().zip(&*frames) {
            self.parse(slot, frame);
        }
        for slot in &slots[..frames.len().min(BURST)] {
            if let Ok(headers) = &slot.parsed
                && let Some(index) = self.index.candidate(slot.hash)
            {
                self.entries.prefetch(index, headers.tuple.family());
            }
        }
        for ((slot, frame), verdict) in slots.iter().zip(frames).zip(verdicts) {
            *verdict = self.decide(frame, slot);
            if let Ok(headers) = &slot.parsed {
                verdict.action = self.configuration.forwarding.finish(frame, headers, verdict.action);
            }
            self.count(verdict);
        }
    }

    /// First pass: headers, zone, exemption from tracking, checksum; fetches the bucket.
    fn parse<F: Frame>(&self, slot: &mut Slot, frame: &F) {
        slot.parsed = wire::parse(frame);
        let Ok(headers) = &mut slot.parsed else { return };
        let configuration = &*self.configuration;
        if !configuration.forwarding.is_for_box(frame, headers) {
            slot.parsed = Err(DropReason::OtherHost);
            return;
        }
        if headers.kind == Kind::NotIp {
            return;
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
            return;
        }
        if matches!(headers.kind, Kind::Invalid(_)) {
            return;
        }
        if configuration.settings.checksum && !wire::verify_checksum(frame, headers) {
            headers.kind = Kind::Invalid(InvalidReason::BadChecksum);
            return;
        }
        slot.inverse = headers.tuple.invert();
        slot.hash = self.index.hash(&headers.tuple, &slot.inverse);
        self.index.prefetch(slot.hash);
    }

    /// Last pass: all that is decided about one packet.
    fn decide<F: Frame>(&mut self, frame: &F, slot: &Slot) -> Verdict {
        let headers = match &slot.parsed {
            Ok(headers) => headers,
            Err(reason) => return Verdict::dropped(*reason),
        };
        let packet = Packet { headers, head: frame.head() };
        let mut tracked = match headers.kind {
            Kind::NotIp | Kind::Untracked => Tracked::without_entry(State::Untracked),
            Kind::Invalid(reason) => Tracked::invalid(reason),
            Kind::Error => self.relate(slot, packet),
            Kind::Tracked => self.track(slot, packet),
        };
        if matches!(tracked.place, Place::New(_))
            && self.len() >= self.limit()
            && self.evictable(slot.hash).is_none()
        {
            self.counters.insert_failures += 1;
            return self.table_full();
        }
        let verdict = match self.configuration.forwarding.way(frame, headers) {
            Way::Open(egress) => self.judge(packet, &mut tracked, frame.port(), egress),
            Way::Closed(action) => self.verdict(&tracked, action),
        };
        let passed = verdict.drop_reason().is_none();
        match tracked.place {
            Place::New(entry) if passed => match self.confirm(slot, &headers.tuple, entry) {
                Some(index) => Verdict { entry: Some(self.entries.id(index)), ..verdict },
                None => self.table_full(),
            },
            Place::Ending(index) => {
                self.remove(index, End::Closed);
                verdict
            }
            _ => verdict,
        }
    }

    /// The refusal of a connection that finds no room. Linux ends such a packet before it has a state.
    fn table_full(&self) -> Verdict {
        let state = match self.configuration.settings.preset {
            Preset::Classic => Some(State::Invalid),
            Preset::Linux => None,
        };
        Verdict { state, ..Verdict::dropped(DropReason::TableFull) }
    }

    /// Finds or opens the connection of a packet and brings it up to date.
    fn track(&mut self, slot: &Slot, packet: Packet<'_>) -> Tracked {
        let now = Tick::at(self.now);
        // A packet can end the entry it meets and open another in its place: then it is looked up again, once,
        // since the new look-up finds nothing.
        while let Some((index, direction)) = self.find(slot.hash, &packet.headers.tuple, &slot.inverse) {
            let entry = self.entries.at_mut(index);
            let status = entry.status;
            let tracker_state = entry.state;
            let context = Context { settings: &self.configuration.settings, now };
            let update = tracker::update(context, packet, entry, direction);
            match update {
                Update::Invalid(reason) => return Tracked::invalid(reason),
                Update::Suspect { reason, timeout_ms } => {
                    self.wheel.refresh(&mut self.entries, index, now.after_ms(timeout_ms));
                    return Tracked::invalid(reason);
                }
                _ => {}
            }
            if update == Update::Reopen {
                self.remove(index, End::Closed);
                continue;
            }
            if direction == Direction::Reply {
                entry.status.set(Status::SEEN_REPLY);
            }
            if update != Update::Ignore && self.configuration.settings.accounting {
                entry.counter(direction).add(packet.headers.l3_len);
            }
            if let Update::Refresh { timeout_ms } = update {
                self.wheel.refresh(&mut self.entries, index, now.after_ms(timeout_ms));
            }
            if self.entries.at(index).state != tracker_state {
                self.move_gauge(index, tracker_state);
            }
            let state = match direction {
                Direction::Original if !status.has(Status::SEEN_REPLY) => State::New,
                _ => State::Established,
            };
            let place = if update == Update::End { Place::Ending(index) } else { Place::Table(index) };
            return Tracked { state, direction: Some(direction), invalid: None, place };
        }
        self.open(packet, now)
    }

    /// Tracks a packet that the box sends itself. It never makes an entry.
    pub(crate) fn track_own<F: Frame>(&mut self, frame: &F, zone: Zone) {
        let Ok(mut headers) = wire::parse(frame) else { return };
        headers.tuple.selector = headers.tuple.selector.with_zone(zone);
        let inverse = headers.tuple.invert();
        let hash = self.index.hash(&headers.tuple, &inverse);
        let slot = Slot { parsed: Ok(headers), inverse, hash };
        let packet = Packet { headers: &headers, head: frame.head() };
        let tracked = match headers.kind {
            Kind::Error => self.relate(&slot, packet),
            Kind::Tracked => self.track(&slot, packet),
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
    fn open(&self, packet: Packet<'_>, now: Tick) -> Tracked {
        let mut entry = Entry::new_zeroed();
        entry.selector = packet.headers.tuple.selector;
        entry.born_s = self.now.as_secs() as u32;
        let context = Context { settings: &self.configuration.settings, now };
        match tracker::open(context, packet, &mut entry) {
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
                    place: Place::New(entry),
                }
            }
        }
    }

    /// Finds the connection that an ICMP error is about. An error counts and refreshes nothing.
    fn relate(&mut self, slot: &Slot, packet: Packet<'_>) -> Tracked {
        let Some((index, direction)) = self.find(slot.hash, &packet.headers.tuple, &slot.inverse) else {
            return Tracked::invalid(InvalidReason::IcmpQuote);
        };
        let ends =
            self.configuration.settings.preset == Preset::Classic && wire::icmp::is_unreachable(packet);
        let place = if ends { Place::Ending(index) } else { Place::Table(index) };
        Tracked { state: State::Related, direction: Some(direction), invalid: None, place }
    }

    /// Puts the entry of a packet that has passed into the table, if need be in the place of another.
    fn confirm(&mut self, slot: &Slot, tuple: &Tuple, entry: Entry) -> Option<u32> {
        if self.len() >= self.limit() {
            let victim = self.evictable(slot.hash)?;
            self.remove(victim, End::Evicted);
        }
        let index = self.insert(slot.hash, tuple, entry);
        if index.is_none() {
            self.counters.insert_failures += 1;
        }
        index
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
