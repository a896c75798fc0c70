//! Resets, and other segments that claim that a connection is closed (RFC 5961).

use super::memory::{Mark, TcpMemory, Traits};
use super::table::SegmentKind;
use super::window::before;
use super::{Step, TcpState};
use crate::entry::{Entry, Status};
use crate::settings::Settings;
use crate::tracker::{Context, Update};
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::tcp::Segment;

/// A reset (RFC 5961 section 3.2): only one with exactly the sequence number that the peer expects ends an assured connection.
/// One elsewhere in the window leaves the state: its receiver asks back, and the answer to that is exact if it was meant.
pub fn reset(
    segment: &Segment<'_>,
    direction: Direction,
    from: TcpState,
    settings: &Settings,
    status: Status,
    memory: &TcpMemory,
) -> Result<Step, Update> {
    let close = |in_window| Ok(Step { to: TcpState::Close, in_window });
    if from.is_closing() {
        // It may be about the next connection between these ports: what is known of this one is no test.
        return close(false);
    }
    let challenge = Mark::of(SegmentKind::Ack, Direction::Reply);
    if from == TcpState::SynSent
        && direction == Direction::Original
        && memory.last == challenge
        && segment.seq == memory.last_ack
    {
        // Refuses the challenge that its SYN has met.
        return close(false);
    }
    let is_assured = from == TcpState::Established && status.contains(Status::ASSURED);
    // The answer to a SYN or an ACK of the other end that was ignored: it may acknowledge what was never seen.
    let other = direction.invert();
    let answers = segment.ack == memory.last_end;
    let answers_syn =
        answers && memory.last == Mark::of(SegmentKind::Syn, other) && status.contains(Status::SEEN_REPLY);
    let answers_ack =
        answers && memory.last == Mark::of(SegmentKind::Ack, other) && !status.contains(Status::ASSURED);
    if !memory.traits[other as usize].contains(Traits::ACKED) || answers_syn {
        return close(!(answers_syn || answers_ack));
    }
    let expected = memory.sides[other as usize].max_ack;
    // One without a number refuses a SYN that came later.
    let refuses = segment.seq == 0 && !is_assured;
    if before(segment.seq, expected) && !refuses && !settings.tcp.ignore_invalid_rst {
        return Err(Update::Invalid(InvalidReason::TcpReset));
    }
    // The other end expects what is acknowledged, or, once that arrives, what follows the sender's last byte.
    let is_exact = segment.seq == expected || segment.seq == memory.sides[direction as usize].end;
    let to = if is_assured && !is_exact { from } else { TcpState::Close };
    Ok(Step { to, in_window: true })
}

/// A connection that is to live at least this long is cut short if both ends seem to have closed it.
const SHORTENED_FROM_MS: i32 = 120_000;

/// A segment outside the windows. If both ends of an assured connection send a FIN or a reset there, the box
/// has lost track of it, and it is closed.
#[cold]
pub fn misfit(
    reason: InvalidReason,
    kind: SegmentKind,
    direction: Direction,
    entry: &mut Entry,
    context: Context<'_>,
) -> Update {
    if entry.status.contains(Status::ASSURED) && matches!(kind, SegmentKind::Fin | SegmentKind::Rst) {
        let memory: &mut TcpMemory = entry.tracker.get_mut();
        let other = direction.invert();
        if memory.last != Mark::of(SegmentKind::Fin, other)
            && memory.last != Mark::of(SegmentKind::Rst, other)
        {
            memory.last = Mark::of(kind, direction);
            return Update::Invalid(reason);
        }
        let left_ms = entry.deadline.since_ms(context.now);
        let timeout_ms = context.settings.timeouts.tcp_unacknowledged_ms;
        if left_ms >= SHORTENED_FROM_MS && i64::from(left_ms) > i64::from(timeout_ms) {
            return Update::Suspect { reason, timeout_ms };
        }
    }
    Update::Invalid(reason)
}
