//! Resets, and other segments that claim that a connection is over (RFC 5961).

use super::memory::{Mark, Memory, Traits};
use super::table::Kind;
use super::window::before;
use super::{Step, TcpState};
use crate::entry::{Entry, Status};
use crate::settings::Settings;
use crate::tracker::{Context, Update};
use crate::tuple::Direction;
use crate::verdict::InvalidReason;
use crate::wire::tcp::Segment;

/// A reset (RFC 5961 section 3): only one with exactly the sequence number that the peer expects ends an
/// assured connection. One that may be right does not, but shortens its life.
pub fn reset(
    segment: &Segment<'_>,
    direction: Direction,
    from: TcpState,
    settings: &Settings,
    status: Status,
    memory: &Memory,
) -> Result<Step, Update> {
    let close = |in_window| Ok(Step { to: TcpState::Close, in_window });
    if from.is_closing() {
        // It may be about the next connection between these ports: what is known of this one is no test.
        return close(false);
    }
    let challenge = Mark::of(Kind::Ack, Direction::Reply);
    if from == TcpState::SynSent
        && direction == Direction::Original
        && memory.last == challenge
        && segment.seq == memory.last_ack
    {
        // Refuses the challenge that its SYN has met.
        return close(false);
    }
    let settled = from == TcpState::Established && status.has(Status::ASSURED);
    let peer = direction.invert() as usize;
    let mut to = TcpState::Close;
    if memory.traits[peer].has(Traits::ACKED) && !memory.last.is(Kind::Syn) {
        let expected = memory.sides[peer].max_ack;
        if segment.seq == 0 && !settled {
            // Refuses a SYN that came later.
            return close(true);
        }
        if before(segment.seq, expected) && !settings.tcp.ignore_invalid_rst {
            return Err(Update::Invalid(InvalidReason::TcpReset));
        }
        let follows_own_data =
            memory.last == Mark::of(Kind::Ack, direction) && segment.seq == memory.last_end;
        if !settled || segment.seq == expected || follows_own_data {
            return close(true);
        }
        to = from;
    }
    // The answer to a SYN or an ACK that was ignored: it may acknowledge what was never seen.
    let answers_ignored = memory.last == Mark::of(Kind::Syn, direction.invert())
        && status.has(Status::SEEN_REPLY)
        || memory.last.is(Kind::Ack) && !status.has(Status::ASSURED);
    Ok(Step { to, in_window: !(answers_ignored && segment.ack == memory.last_end) })
}

/// A connection that is to live at least this long is cut short if both ends seem to have closed it.
const SHORTENED_FROM_MS: i32 = 120_000;

/// A segment outside the windows. If both ends of an assured connection send a FIN or a reset there, the box
/// has lost track of it, and it is over.
#[cold]
pub fn misfit(
    reason: InvalidReason,
    kind: Kind,
    direction: Direction,
    entry: &mut Entry,
    context: Context<'_>,
) -> Update {
    if entry.status.has(Status::ASSURED) && matches!(kind, Kind::Fin | Kind::Rst) {
        let memory: &mut Memory = entry.tracker.get_mut();
        let other = direction.invert();
        if memory.last != Mark::of(Kind::Fin, other) && memory.last != Mark::of(Kind::Rst, other) {
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
