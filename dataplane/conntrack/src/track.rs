//! Tracking: which connection a packet belongs to, and what it does to that connection's entry.

use crate::entry::Status;
use crate::events::End;
use crate::frame::{Frame, Handed};
use crate::headers::{Packet, PacketKind};
use crate::ids::{EntryId, ShardId};
use crate::settings::Preset;
use crate::shard::Shard;
use crate::table::{Found, Key};
use crate::time::Tick;
use crate::tracker::{self, Context, Update};
use crate::tuple::Direction;
use crate::unconfirmed::Unconfirmed;
use crate::verdict::{Handoff, InvalidReason, State};
use crate::wire;
use crate::wire::tcp::LONGEST_HEADER;
use std::hint::select_unpredictable;

/// What tracking found out about a packet.
#[derive(Clone, Copy)]
pub(crate) struct Tracked {
    pub(crate) state: State,
    pub(crate) direction: Option<Direction>,
    pub(crate) invalid: Option<InvalidReason>,
    pub(crate) lookup: Lookup,
}

/// What the look-up of a packet's entry gave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// It has none.
    None,
    /// In the table.
    Table(u32),
    /// In the table; the packet is a SYN, with or without ACK.
    Syn(u32),
    /// In the table, from which it goes with this packet, if that passes.
    Ending(u32),
    /// In the table, but its packets go apart: it waits for another shard, or it was installed, or a helper has moved its numbers, by
    /// which the packet is yet [to be tracked](Shard::track_adjusted).
    Apart(u32),
    /// Known to another shard.
    Elsewhere(ShardId, Handoff),
    /// Nowhere: the packet may open a connection, in place of this entry if there is one.
    New(Option<u32>),
}

impl Tracked {
    pub(crate) const fn without_entry(state: State) -> Self {
        Self { state, direction: None, invalid: None, lookup: Lookup::None }
    }

    /// What is known of a packet that may open a connection.
    pub(crate) const fn first(replaces: Option<u32>) -> Self {
        Self {
            state: State::New,
            direction: Some(Direction::Original),
            invalid: None,
            lookup: Lookup::New(replaces),
        }
    }

    pub(crate) const fn invalid(reason: InvalidReason) -> Self {
        Self { invalid: Some(reason), ..Self::without_entry(State::Invalid) }
    }

    /// The packet's entry in the table.
    pub(crate) const fn entry(&self) -> Option<u32> {
        match self.lookup {
            Lookup::None | Lookup::New(_) | Lookup::Elsewhere(..) => None,
            Lookup::Table(index) | Lookup::Syn(index) | Lookup::Ending(index) | Lookup::Apart(index) => {
                Some(index)
            }
        }
    }
}

/// What an entry was before a packet, of what others are told of.
#[derive(Clone, Copy)]
struct Before {
    state: u8,
    status: Status,
}

/// The state of packets of a connection that nobody has answered.
#[cold]
pub(crate) const fn unanswered(status: Status) -> State {
    if status.contains(Status::EXPECTED) { State::Related } else { State::New }
}

impl Shard {
    /// Brings the connection of a packet up to date, if one was found.
    #[inline(always)]
    pub(crate) fn track(&mut self, found: Found, packet: Packet<'_>, handed: Option<Handed>) -> Tracked {
        let Some((index, direction)) = found else {
            return self.elsewhere(packet, handed).unwrap_or(Tracked::first(None));
        };
        let entry = self.table.entries.at(index);
        if entry.status.intersects(Status::APART) {
            let lookup = Lookup::Apart(index);
            return Tracked { direction: Some(direction), lookup, ..Tracked::without_entry(State::New) };
        }
        self.track_found(index, packet, direction, handed)
    }

    /// Brings the entry of a packet up to date whose connection's numbers a helper has moved, by the numbers that its ends know, or whose
    /// connection was installed.
    #[cold]
    #[inline(never)]
    pub(crate) fn track_adjusted(
        &mut self,
        index: u32,
        packet: Packet<'_>,
        direction: Direction,
        handed: Option<Handed>,
    ) -> Tracked {
        let mut header = [0; LONGEST_HEADER];
        let moved = self.as_sent(index, packet, direction, &mut header);
        let (headers, head) = moved.unwrap_or((*packet.headers, packet.head));
        let (id, packet) = (self.table.entries.id(index), Packet { headers: &headers, head });
        let tracked = self.track_found(index, packet, direction, handed);
        if tracked.invalid.is_none() {
            self.settle(id, packet, direction);
        }
        tracked
    }

    /// Brings the entry of a packet up to date.
    #[inline(always)]
    pub(crate) fn track_found(
        &mut self,
        index: u32,
        packet: Packet<'_>,
        direction: Direction,
        handed: Option<Handed>,
    ) -> Tracked {
        let now = Tick::at(self.now);
        let entry = self.table.entries.at_mut(index);
        let before = Before { state: entry.state, status: entry.status };
        let answered = before.status.contains(Status::SEEN_REPLY);
        let context = Context { settings: &self.configuration.settings, now };
        let update = tracker::update(context, packet, entry, direction);
        let reply = direction == Direction::Reply;
        let state = if answered | reply { State::Established } else { unanswered(entry.status) };
        let belongs = |lookup| Tracked { state, direction: Some(direction), invalid: None, lookup };
        let timeout_ms = match update {
            Update::Refresh { timeout_ms } => Some(timeout_ms),
            Update::Ignore => None,
            Update::Assured { timeout_ms } => {
                self.take_assured(index, packet, direction, before, timeout_ms);
                return belongs(Lookup::Table(index));
            }
            Update::Syn { timeout_ms } => {
                return self.take_syn(index, packet, direction, before, timeout_ms);
            }
            Update::End => return belongs(Lookup::Ending(index)),
            Update::Invalid(reason) => return Tracked::invalid(reason),
            Update::Reopen => return self.reopen(index, packet, handed),
        };
        self.bring_up_to_date(index, packet.headers.l3_len, direction, before, timeout_ms);
        belongs(Lookup::Table(index))
    }

    /// Brings the entry of a packet of so many bytes that belongs to it up to date. Who listens is told once if its state or its status is
    /// another than before.
    /// Without a timeout the packet is not counted.
    #[inline(always)]
    fn bring_up_to_date(
        &mut self,
        index: u32,
        l3_len: u32,
        direction: Direction,
        before: Before,
        timeout_ms: Option<u32>,
    ) {
        let entry = self.table.entries.at_mut(index);
        // Directions come in no order that a branch could learn.
        let reply = direction == Direction::Reply;
        entry.status.insert(select_unpredictable(reply, Status::SEEN_REPLY, Status::default()));
        if timeout_ms.is_some() {
            self.account(index, direction, l3_len);
        }
        let entry = self.table.entries.at(index);
        if entry.state != before.state {
            self.change_state(index, before.state, timeout_ms);
        } else if entry.status != before.status {
            self.change_status(index, timeout_ms);
        }
        if let Some(timeout_ms) = timeout_ms {
            let deadline = Tick::at(self.now).after_ms(timeout_ms);
            self.refresh(index, deadline);
        }
    }

    /// Takes a packet with which the connection at `index` has become an assured one.
    #[inline(never)]
    fn take_assured(
        &mut self,
        index: u32,
        packet: Packet<'_>,
        direction: Direction,
        before: Before,
        timeout_ms: u32,
    ) {
        self.bring_up_to_date(index, packet.headers.l3_len, direction, before, Some(timeout_ms));
    }

    /// Counts a packet of so many bytes for its entry, if packets are counted.
    #[inline(always)]
    pub(crate) fn account(&mut self, index: u32, direction: Direction, l3_len: u32) {
        if self.configuration.settings.accounting {
            self.table.entries.at_mut(index).counter(direction).add(l3_len);
        }
    }

    /// Takes a SYN that belongs to the entry at `index`. It goes apart: where the look-up is written for all packets at one point,
    /// each of an established connection takes 12 instructions more.
    #[inline(never)]
    fn take_syn(
        &mut self,
        index: u32,
        packet: Packet<'_>,
        direction: Direction,
        before: Before,
        timeout_ms: Option<u32>,
    ) -> Tracked {
        let answered = self.table.entries.at(index).status.contains(Status::SEEN_REPLY);
        let established = answered || direction == Direction::Reply;
        let status = self.table.entries.at(index).status;
        let state = if established { State::Established } else { unanswered(status) };
        self.bring_up_to_date(index, packet.headers.l3_len, direction, before, timeout_ms);
        Tracked { state, direction: Some(direction), invalid: None, lookup: Lookup::Syn(index) }
    }

    /// Opens a connection in place of the entry at `index`, which is closed or has expired. What another shard has to decide about does not
    /// wait for that: the entry ends, so that nothing here stands in the way.
    #[cold]
    fn reopen(&mut self, index: u32, packet: Packet<'_>, handed: Option<Handed>) -> Tracked {
        match self.elsewhere(packet, handed) {
            Some(tracked) => {
                self.end(index, End::Closed);
                tracked
            }
            None => Tracked::first(Some(index)),
        }
    }

    /// Tracks a packet that the box sends itself. It never makes an entry.
    pub(crate) fn track_own<F: Frame>(&mut self, frame: &F, id: EntryId) {
        let (Ok(mut headers), Some(entry)) = (wire::parse(frame), self.entry(id)) else { return };
        headers.tuple.selector = headers.tuple.selector.with_zone(entry.selector.zone());
        // What the box says answers a packet as that came in: where that was to be translated, so is this.
        if let Some(came) = self.table.entries.direction(id.index, &headers.tuple.invert()) {
            headers.tuple = self.table.entries.tuple(id.index, came.invert());
        }
        let key = self.table.key(&headers.tuple);
        let packet = Packet { headers: &headers, head: frame.head() };
        let tracked = match headers.kind {
            PacketKind::Error => self.relate(&key, packet, None),
            PacketKind::Tracked => {
                let found = self.find(&key, &headers.tuple);
                self.track(found, packet, None)
            }
            PacketKind::NotIp | PacketKind::Untracked | PacketKind::Fragment | PacketKind::Invalid(_) => {
                return;
            }
        };
        let tracked = match (tracked.lookup, tracked.direction) {
            (Lookup::Apart(index), Some(direction)) if !self.table.entries.at(index).is_pending() => {
                self.track_adjusted(index, packet, direction, None)
            }
            _ => tracked,
        };
        if let Lookup::Ending(index) = tracked.lookup {
            self.end(index, End::Closed);
        }
    }

    /// Opens the connection of a first packet, of which no more than the tuple is known.
    ///
    /// # Errors
    /// Why the packet opens none, and is INVALID.
    pub(crate) fn open(
        &self,
        packet: Packet<'_>,
        unconfirmed: &mut Unconfirmed,
    ) -> Result<(), InvalidReason> {
        let now = Tick::at(self.now);
        let entry = &mut unconfirmed.entry;
        let context = Context { settings: &self.configuration.settings, now };
        let timeout_ms = tracker::open(context, packet, entry)?;
        entry.deadline = now.after_ms(timeout_ms);
        if self.configuration.settings.accounting {
            entry.counter(Direction::Original).add(packet.headers.l3_len);
        }
        Ok(())
    }

    /// The packet of a connection that another shard has, or is to know about.
    fn elsewhere(&self, packet: Packet<'_>, handed: Option<Handed>) -> Option<Tracked> {
        let (shard, by) = self.exchange.pointed(&packet.headers.tuple, handed)?;
        Some(Tracked { lookup: Lookup::Elsewhere(shard, by), ..Tracked::without_entry(State::New) })
    }

    /// Finds the connection that an ICMP error is about. An error counts and refreshes nothing.
    pub(crate) fn relate(&mut self, key: &Key, packet: Packet<'_>, handed: Option<Handed>) -> Tracked {
        let Some((index, direction)) = self.find(key, &packet.headers.tuple) else {
            let elsewhere = self.elsewhere(packet, handed);
            return elsewhere.unwrap_or(Tracked::invalid(InvalidReason::IcmpQuote));
        };
        let ends = self.configuration.settings.preset == Preset::Classic
            && wire::icmp::is_unreachable(packet)
            && self.may_end_by_error(index, direction.invert(), packet);
        let lookup = if ends { Lookup::Ending(index) } else { Lookup::Table(index) };
        Tracked { state: State::Related, direction: Some(direction), invalid: None, lookup }
    }

    /// Whether an error that says that a packet sent in `direction` has not arrived may end its connection: anybody can send
    /// one. It does not, once both ends have spoken, and none that shows no knowledge of what was sent (RFC 5927 section 4).
    #[cold]
    fn may_end_by_error(&self, index: u32, direction: Direction, error: Packet<'_>) -> bool {
        let entry = self.table.entries.at(index);
        let quoted = wire::icmp::quoted_l4(error);
        !entry.status.contains(Status::ASSURED) && tracker::is_in_flight(entry, direction, quoted)
    }
}
