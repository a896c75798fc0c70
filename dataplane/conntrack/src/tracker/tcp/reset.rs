//! Resets (RFC 5961).

use super::memory::{Mark, TcpMemory};
use super::side::Traits;
use super::table::SegmentKind;
use super::window::before;
use super::{Step, TcpState};
use crate::entry::Status;
use crate::settings::Settings;
use crate::tracker::Update;
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
