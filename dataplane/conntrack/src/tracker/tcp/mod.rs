//! The TCP tracker (RFC 9293, RFC 5961, RFC 7323, RFC 2018; G. van Rooij, "Real Stateful TCP Packet
//! Filtering in IP Filter").
//!
//! A segment is judged in four steps: are its flags legal, what does the table say, is it one of the few
//! cases in which the state alone does not tell (a SYN into an old connection, a reset), does it fit the
//! windows. Then the entry takes its state and its timeout from it.

mod memory;
mod offer;
mod reset;
mod side;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use memory::MAX_SCALE;
pub use state::TcpState;

use super::{Context, Told, Update};
use crate::entry::{Entry, Status};
use crate::headers::Packet;
use crate::settings::{Preset, Settings, TcpOptions};
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::tcp::{Flags, Segment};
use crate::wire::{bytes, field};
use memory::{Mark, TcpMemory};
use offer::Offer;
use reset::reset;
use side::Traits;
use table::{Move, SegmentKind};
use window::Fit;

/// Judges the first segment of a connection.
pub fn open(context: Context<'_>, packet: Packet<'_>, entry: &mut Entry) -> Result<u32, InvalidReason> {
    let settings = context.settings;
    let segment = Segment::parse(&packet).ok_or(InvalidReason::ShortHeader)?;
    let kind = kind(segment.flags, &settings.tcp).ok_or(InvalidReason::TcpFlags)?;
    let Move::To(state) = table::step(Direction::Original, kind, TcpState::None) else {
        return Err(InvalidReason::TcpNotNew);
    };
    if !may_be_new(kind, settings) {
        return Err(InvalidReason::TcpNotNew);
    }
    let memory: &mut TcpMemory = entry.tracker.get_mut();
    memory.begin(kind, &segment);
    if !settings.tcp.window_tracking {
        memory.lose_track();
    } else if kind != SegmentKind::Syn {
        memory.judge(&segment, kind, Direction::Original, TcpState::None, true);
    }
    memory.last = Mark::of(kind, Direction::Original);
    if state == TcpState::FinWait {
        memory.traits[Direction::Original as usize].insert(Traits::CLOSED_FIRST);
    }
    // The handshake of a SYN/ACK is completed by the reply direction, as when both ends open at once.
    entry.detail = if kind == SegmentKind::SynAck { Offer::CROSSED.bits() } else { 0 };
    entry.state = state as u8;
    Ok(cap_unreplied(timeout_ms(settings, memory, state, kind), state, settings))
}

/// Begins a connection of which no segment was seen: its windows are learnt from those that come.
pub fn begin_unseen(entry: &mut Entry) {
    entry.tracker.get_mut::<TcpMemory>().begin_unseen();
}

/// What is told of a connection to another box: window scales, and what the ends have offered and closed. Windows are not: they would be
/// old, and a segment that does not fit an old one teaches nothing.
pub fn told(entry: &Entry) -> Told {
    let TcpMemory { scale, traits, .. } = entry.tracker.get();
    let [ours, theirs] = traits.map(|traits| traits.intersection(Traits::TOLD).bits());
    [scale[0], scale[1], ours, theirs, 0, 0, 0, 0]
}

/// Whether that can be told of a connection.
pub fn may_be_told(&[original, reply, ours, theirs, ref spare @ ..]: &Told) -> bool {
    original.max(reply) <= MAX_SCALE && !Traits::TOLD.bits() & (ours | theirs) == 0 && *spare == [0; 4]
}

/// Takes over what another box tells of a connection of which no segment was seen here.
pub fn begin_told(entry: &mut Entry, &[original, reply, ours, theirs, ..]: &Told) {
    let memory: &mut TcpMemory = entry.tracker.get_mut();
    memory.scale = [original, reply];
    memory.traits = [ours, theirs].map(Traits::from_bits_truncate);
    memory.lose_track();
}

/// Whether a segment of a connection fits the windows that are known of both ends.
pub fn fits(entry: &Entry, packet: Packet<'_>, direction: Direction) -> bool {
    let memory: &TcpMemory = entry.tracker.get();
    Segment::parse(&packet).is_some_and(|segment| memory.fits(&segment, direction))
}

/// Windows are known well enough: what does not fit them belongs to the connection no more.
pub fn keep_to_windows(entry: &mut Entry) {
    let memory: &mut TcpMemory = entry.tracker.get_mut();
    memory.traits.iter_mut().for_each(|traits| traits.remove(Traits::LIBERAL));
}

/// Which first segments are NEW.
///
/// Without `loose` only a SYN. With it also a plain ACK, and as in the Iptables Tutorial anything that
/// may be followed by more: a SYN/ACK, a FIN/ACK. Without window tracking anything at all.
fn may_be_new(kind: SegmentKind, settings: &Settings) -> bool {
    match kind {
        SegmentKind::Syn => true,
        _ if !settings.tcp.loose => false,
        _ if !settings.tcp.window_tracking => true,
        SegmentKind::Ack => true,
        SegmentKind::SynAck | SegmentKind::Fin => settings.preset == Preset::Classic,
        SegmentKind::Rst | SegmentKind::None => false,
    }
}

/// The kind of a segment, if its flags are legal. Without window tracking flags are not checked.
#[inline]
fn kind(flags: Flags, options: &TcpOptions) -> Option<SegmentKind> {
    if options.window_tracking { SegmentKind::of_legal(flags) } else { Some(SegmentKind::of(flags)) }
}

/// Whether a connection is closed: what its sides still send repeats what was said.
pub const fn is_closed(entry: &Entry) -> bool {
    entry.state == TcpState::TimeWait as u8 || entry.state == TcpState::Close as u8
}

/// Whether a connection that begins may have the tuple of an older one: one that is closed, and whose client's sequence
/// numbers lie behind the new connection's.
pub fn may_follow(old: &Entry, new: &Entry) -> bool {
    let end = |entry: &Entry| entry.tracker.get::<TcpMemory>().sides[Direction::Original as usize].end;
    is_closed(old)
        && new.state == TcpState::SynSent as u8
        && end(new).wrapping_sub(end(old)).cast_signed() > 0
}

/// Judges a further segment.
#[inline]
pub fn update(context: Context<'_>, packet: Packet<'_>, entry: &mut Entry, direction: Direction) -> Update {
    match follow(context.settings, packet.l4(), packet.headers.l4_len, entry, direction) {
        Some(timeout_ms) => Update::Refresh { timeout_ms },
        None => by_the_rules(context, packet, entry, direction),
    }
}

/// Whether a segment that an ICMP error quotes, sent in `direction`, may still be on its way. Who has not seen it can hardly
/// tell its sequence number.
#[cold]
pub fn is_in_flight(entry: &Entry, direction: Direction, quoted: &[u8]) -> bool {
    let seq = bytes::get(quoted, field::tcp::SEQUENCE);
    seq.is_some_and(|seq| entry.tracker.get::<TcpMemory>().is_in_flight(u32::from_be_bytes(seq), direction))
}

/// The common case, and the rules' answer to it: data or an acknowledgement that fits an established
/// connection. Returns the entry's new timeout in milliseconds; `None` leaves the segment to the rules, and has changed nothing.
#[inline(always)]
pub(super) fn follow(
    settings: &Settings,
    l4: &[u8],
    l4_len: u32,
    entry: &mut Entry,
    direction: Direction,
) -> Option<u32> {
    // What assures a connection is the rules' business.
    let is_assured = entry.status.contains(Status::SEEN_REPLY.union(Status::ASSURED));
    if entry.state != TcpState::Established as u8 || !is_assured || !settings.tcp.window_tracking {
        return None;
    }
    let segment = Segment::read(l4, l4_len)?;
    if !SegmentKind::is_plain_ack(segment.flags) {
        return None;
    }
    let memory: &mut TcpMemory = entry.tracker.get_mut();
    if !memory.follow(&segment, direction) {
        return None;
    }
    memory.last = Mark::of(SegmentKind::Ack, direction);
    Some(timeout_ms(settings, memory, TcpState::Established, SegmentKind::Ack))
}

/// What a segment that is neither ignored nor INVALID does.
struct Step {
    /// The state after it.
    to: TcpState,
    /// Whether it must fit the windows.
    in_window: bool,
}

/// Judges any segment. One that is INVALID leaves the entry as it was, whatever was learnt from it before that showed.
#[inline(never)]
fn by_the_rules(context: Context<'_>, packet: Packet<'_>, entry: &mut Entry, direction: Direction) -> Update {
    let Some(segment) = Segment::parse(&packet) else { return Update::Invalid(InvalidReason::ShortHeader) };
    let Entry { tracker, detail, status, .. } = *entry;
    match judge(context, segment, entry, direction) {
        Update::Invalid(reason) => {
            (entry.tracker, entry.detail) = (tracker, detail);
            Update::Invalid(reason)
        }
        Update::Refresh { timeout_ms } if segment.flags.contains(Flags::SYN) => {
            Update::Syn { timeout_ms: Some(timeout_ms) }
        }
        Update::Ignore if segment.flags.contains(Flags::SYN) => Update::Syn { timeout_ms: None },
        Update::Refresh { timeout_ms } if entry.status != status => Update::Assured { timeout_ms },
        update => update,
    }
}

#[inline]
fn judge(context: Context<'_>, segment: Segment<'_>, entry: &mut Entry, direction: Direction) -> Update {
    let settings = context.settings;
    let Some(kind) = kind(segment.flags, &settings.tcp) else {
        return Update::Invalid(InvalidReason::TcpFlags);
    };
    let from = TcpState::from_number(entry.state);
    let step = match table::step(direction, kind, from) {
        Move::Invalid => return Update::Invalid(InvalidReason::TcpState),
        other => match special(&segment, kind, direction, from, other, settings, entry) {
            Ok(step) => step,
            Err(update) => return update,
        },
    };

    let memory: &mut TcpMemory = entry.tracker.get_mut();
    if !settings.tcp.window_tracking {
        memory.lose_track();
    } else if step.in_window {
        match memory.judge(&segment, kind, direction, from, settings.tcp.be_liberal) {
            Fit::Fits => {}
            Fit::Old | Fit::Overshoot => return Update::Ignore,
            Fit::Invalid(reason) => return Update::Invalid(reason),
        }
    }
    if kind == SegmentKind::Rst && !entry.status.contains(Status::SEEN_REPLY) {
        // The only answer is a reset: there never was a connection.
        return Update::End;
    }
    if kind == SegmentKind::Rst && step.to != TcpState::Close {
        return Update::Ignore;
    }
    memory.last = Mark::of(kind, direction);
    if step.to == TcpState::FinWait && from != TcpState::FinWait {
        memory.traits[direction as usize].insert(Traits::CLOSED_FIRST);
    }
    let timeout_ms = timeout_ms(settings, memory, step.to, kind);
    entry.state = step.to as u8;
    conclude(entry, kind, from, step.to, timeout_ms, settings)
}

/// The cases in which the table does not tell all.
fn special(
    segment: &Segment<'_>,
    kind: SegmentKind,
    direction: Direction,
    from: TcpState,
    step: Move,
    settings: &Settings,
    entry: &mut Entry,
) -> Result<Step, Update> {
    let offer = Offer(entry.detail);
    let memory: &mut TcpMemory = entry.tracker.get_mut();
    let challenged = memory.last == Mark::of(SegmentKind::Syn, direction.invert());
    let to = match step {
        Move::Invalid => return Err(Update::Invalid(InvalidReason::TcpState)),
        // The answer to a SYN that was ignored: both ends agree, and the box follows them.
        Move::Ignore if kind == SegmentKind::SynAck && challenged && segment.ack == memory.last_end => {
            memory.synchronise(direction, offer.scale(), offer.traits());
            entry.detail &= !Offer::CHALLENGED.bits();
            TcpState::SynRecv
        }
        // Nobody but its own ends can have closed it: by a FIN, or by a reset of the SYN's sender.
        Move::Reopen
            if memory.traits.iter().any(|t| t.contains(Traits::CLOSED_FIRST))
                || memory.last == Mark::of(SegmentKind::Rst, direction) =>
        {
            return Err(Update::Reopen);
        }
        Move::Ignore | Move::Reopen => {
            memory.note(segment, Mark::of(kind, direction));
            if kind == SegmentKind::Syn && direction == Direction::Original {
                entry.detail = Offer::of(segment, from).0;
            }
            if kind == SegmentKind::Ack && from == TcpState::SynSent {
                memory.last_ack = segment.ack;
            }
            return Err(Update::Ignore);
        }
        Move::To(TcpState::TimeWait)
            if kind == SegmentKind::Ack
                && from == TcpState::LastAck
                && challenged
                && offer.contains(Offer::CHALLENGED) =>
        {
            entry.detail &= !Offer::CHALLENGED.bits();
            return Err(Update::Ignore);
        }
        Move::To(TcpState::SynSent2) => {
            entry.detail |= Offer::CROSSED.bits();
            TcpState::SynSent2
        }
        Move::To(TcpState::SynRecv)
            if kind == SegmentKind::Ack
                && direction == Direction::Reply
                && offer.contains(Offer::CROSSED) =>
        {
            TcpState::Established
        }
        Move::To(TcpState::Close) if kind == SegmentKind::Rst && settings.tcp.window_tracking => {
            return reset(segment, direction, from, settings, entry.status, memory);
        }
        Move::To(to) => to,
    };
    Ok(Step { to, in_window: true })
}

/// What becomes of the entry after a segment that belongs to it.
#[inline]
fn conclude(
    entry: &mut Entry,
    kind: SegmentKind,
    from: TcpState,
    to: TcpState,
    timeout_ms: u32,
    settings: &Settings,
) -> Update {
    if !entry.status.contains(Status::SEEN_REPLY) {
        return match kind {
            // A SYN sent over and over must not keep the entry, and with it a translation, alive.
            SegmentKind::Syn if from == TcpState::SynSent => Update::Ignore,
            _ => Update::Refresh { timeout_ms: cap_unreplied(timeout_ms, to, settings) },
        };
    }
    if to == TcpState::Established && matches!(from, TcpState::SynRecv | TcpState::Established) {
        entry.status.insert(Status::ASSURED);
    }
    Update::Refresh { timeout_ms }
}

/// A connection picked up in mid-stream must be answered before it is believed for days.
fn cap_unreplied(timeout_ms: u32, state: TcpState, settings: &Settings) -> u32 {
    if state == TcpState::Established {
        timeout_ms.min(settings.timeouts.tcp_unacknowledged_ms)
    } else {
        timeout_ms
    }
}

/// How long an entry in `state` lives after a segment of `kind`.
#[inline(always)]
fn timeout_ms(settings: &Settings, memory: &TcpMemory, state: TcpState, kind: SegmentKind) -> u32 {
    let timeouts = &settings.timeouts;
    let full = timeouts.tcp_ms[state as usize];
    let retrying = timeouts.tcp_max_retrans_ms;
    if !settings.tcp.window_tracking {
        return if kind == SegmentKind::Rst { timeouts.tcp_ms[TcpState::Close as usize] } else { full };
    }
    if memory.retransmissions >= settings.tcp.max_retrans && full > retrying {
        return retrying;
    }
    if kind == SegmentKind::Rst {
        return timeouts.tcp_ms[TcpState::Close as usize];
    }
    if memory.traits.iter().any(|t| t.contains(Traits::UNACKNOWLEDGED))
        && full > timeouts.tcp_unacknowledged_ms
    {
        return timeouts.tcp_unacknowledged_ms;
    }
    if memory.last_window == 0 && full > retrying { retrying } else { full }
}
