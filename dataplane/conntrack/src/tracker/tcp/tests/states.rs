//! What each kind of segment does in each state, in both directions.

use super::*;

/// Segments that lead to a state.
fn way_to(state: TcpState) -> Vec<(Direction, Segment)> {
    let mut way = handshake().to_vec();
    let fin = (Original, segment("FA", 1001, 5001));
    match state {
        TcpState::None | TcpState::Established => {}
        TcpState::SynSent => way.truncate(1),
        TcpState::SynRecv => way.truncate(2),
        TcpState::SynSent2 => way.splice(1.., [(Reply, segment("S", 5000, 0))]).for_each(drop),
        TcpState::FinWait => way.push(fin),
        TcpState::CloseWait => way.extend([fin, (Reply, segment("A", 5001, 1002))]),
        TcpState::LastAck => way.extend([fin, (Reply, segment("FA", 5001, 1002))]),
        TcpState::TimeWait => {
            way.extend([fin, (Reply, segment("FA", 5001, 1002)), (Original, segment("A", 1002, 5002))])
        }
        TcpState::Close => way.push((Original, segment("R", 1001, 0))),
    }
    way
}

/// A segment of this kind that fits the windows of every state.
fn probe(flags: &str, direction: Direction, state: TcpState) -> Segment {
    use TcpState::{CloseWait, FinWait, LastAck, SynSent, TimeWait};
    let fin = u32::from(matches!(state, FinWait | CloseWait | LastAck | TimeWait));
    let reply_fin = u32::from(matches!(state, LastAck | TimeWait));
    let (own, peer) = match direction {
        Original => (1001 + fin, 5001 + reply_fin),
        Reply => (5001 + reply_fin, 1001 + fin),
    };
    let first = if direction == Original { 1000 } else { 5000 };
    match flags {
        "S" => segment("S", first, 0),
        "SA" => segment("SA", first, peer),
        "RA" if state == SynSent && direction == Original => segment("R", 1001, 0),
        "RA" if state == SynSent => segment("RA", 0, 1001),
        _ => segment(flags, own, peer),
    }
}

/// Rows are states, columns kinds; a cell is the state that follows, or what else becomes of the segment.
/// This is what Linux 6.18 does.
const SEEN: &str = "
original    | SYN         SYN/ACK     FIN         ACK         RST
NONE        | SYN_SENT    INVALID     INVALID     ESTABLISHED INVALID
SYN_SENT    | ignored     INVALID     INVALID     INVALID     end
SYN_RECV    | ignored     SYN_RECV    FIN_WAIT    ESTABLISHED CLOSE
ESTABLISHED | ignored     INVALID     FIN_WAIT    ESTABLISHED CLOSE
FIN_WAIT    | ignored     INVALID     LAST_ACK    CLOSE_WAIT  CLOSE
CLOSE_WAIT  | ignored     INVALID     LAST_ACK    CLOSE_WAIT  CLOSE
LAST_ACK    | ignored     INVALID     LAST_ACK    TIME_WAIT   CLOSE
TIME_WAIT   | reopen      INVALID     TIME_WAIT   TIME_WAIT   CLOSE
CLOSE       | reopen      INVALID     CLOSE       CLOSE       CLOSE
SYN_SENT2   | SYN_SENT2   SYN_RECV    INVALID     INVALID     CLOSE

reply       | SYN         SYN/ACK     FIN         ACK         RST
SYN_SENT    | SYN_SENT2   SYN_RECV    INVALID     ignored     end
SYN_RECV    | INVALID     ignored     FIN_WAIT    SYN_RECV    CLOSE
ESTABLISHED | INVALID     ignored     FIN_WAIT    ESTABLISHED CLOSE
FIN_WAIT    | INVALID     ignored     LAST_ACK    CLOSE_WAIT  CLOSE
CLOSE_WAIT  | INVALID     ignored     LAST_ACK    CLOSE_WAIT  CLOSE
LAST_ACK    | INVALID     ignored     LAST_ACK    TIME_WAIT   CLOSE
TIME_WAIT   | reopen      ignored     TIME_WAIT   TIME_WAIT   CLOSE
CLOSE       | INVALID     ignored     CLOSE       CLOSE       CLOSE
SYN_SENT2   | SYN_SENT2   SYN_RECV    INVALID     ignored     CLOSE
";

const FLAGS: [(&str, &str); 5] =
    [("S", "SYN"), ("SA", "SYN/ACK"), ("FA", "FIN"), ("A", "ACK"), ("RA", "RST")];

fn outcome(direction: Direction, flags: &str, state: TcpState) -> &'static str {
    let mut talk = if state == TcpState::None { Talk::new() } else { Talk::after(way_to(state)) };
    assert_eq!(talk.state(), state);
    let update = talk.send(direction, &probe(flags, direction, state));
    let moved = talk.state() != state;
    match update {
        Update::Refresh { .. } => talk.state().name(),
        Update::Ignore if moved => talk.state().name(),
        Update::Ignore => "ignored",
        Update::Invalid(_) => "INVALID",
        Update::End => "end",
        Update::Reopen => "reopen",
        Update::Syn { .. } | Update::Assured { .. } => unreachable!("told as a refresh or ignored"),
    }
}

#[test]
fn every_kind_in_every_state() {
    let mut seen = String::new();
    for (direction, name) in [(Original, "original"), (Reply, "reply")] {
        let columns: String = FLAGS.iter().map(|(_, column)| format!(" {column:<11}")).collect();
        seen += &format!("\n{name:<11} |{}", columns.trim_end());
        for state in TcpState::ALL {
            if direction == Reply && state == TcpState::None {
                continue;
            }
            let cells: String =
                FLAGS.iter().map(|(flags, _)| format!(" {:<11}", outcome(direction, flags, state))).collect();
            seen += &format!("\n{:<11} |{}", state.name(), cells.trim_end());
        }
        seen += "\n";
    }
    assert_eq!(seen, SEEN, "{seen}");
}

#[test]
fn flagless_and_impossible_segments_are_invalid_everywhere() {
    for state in TcpState::ALL {
        for flags in ["", "P", "U", "F", "FP", "SF", "SR", "SFA", "SAU", "FRA", "FSRPAU"] {
            let mut talk = if state == TcpState::None { Talk::new() } else { Talk::after(way_to(state)) };
            assert_invalid(talk.original(segment(flags, 1001, 5001)), InvalidReason::TcpFlags);
            assert_eq!(talk.state(), state);
        }
    }
}

#[test]
fn both_ends_may_close_at_once() {
    let mut talk = Talk::established();
    assert_passes(talk.original(segment("FA", 1001, 5001)));
    assert_passes(talk.reply(segment("FA", 5001, 1001)));
    assert_eq!(talk.state(), TcpState::LastAck);
    assert_passes(talk.original(segment("A", 1002, 5002)));
    assert_eq!(talk.state(), TcpState::TimeWait);
    assert_passes(talk.reply(segment("A", 5002, 1002)));
    assert_eq!(talk.state(), TcpState::TimeWait);
}

/// RFC 5961: the server challenges a SYN into the old connection. That ACK is not the one for the last FIN.
#[test]
fn a_challenge_is_not_the_last_ack() {
    let mut talk = Talk::after(way_to(TcpState::LastAck));
    assert_eq!(talk.original(segment("S", 900_000, 0)), Update::Ignore);
    assert_eq!(talk.reply(segment("A", 5002, 1002)), Update::Ignore);
    assert_eq!(talk.state(), TcpState::LastAck);
    assert_passes(talk.reply(segment("A", 5002, 1002)));
    assert_eq!(talk.state(), TcpState::TimeWait);
}

#[test]
fn an_ignored_syn_that_is_answered_begins_the_handshake_anew() {
    let mut talk = Talk::after(way_to(TcpState::CloseWait));
    let syn = segment("S", 900_000, 0).window(500).options(&scale(7));
    assert_eq!(talk.original(syn), Update::Ignore);
    assert_eq!(talk.reply(segment("SA", 70_000, 900_002)), Update::Ignore, "answers something else");
    assert_eq!(talk.original(segment("S", 900_000, 0).window(500).options(&scale(7))), Update::Ignore);
    assert_passes(talk.reply(segment("SA", 70_000, 900_001).options(&scale(2))));
    assert_eq!(talk.state(), TcpState::SynRecv);
    assert_passes(talk.original(segment("A", 900_001, 70_001).window(500)));
    assert_eq!(talk.state(), TcpState::Established);
    assert!(talk.is_assured());
    // 500 << 7 bytes of room, which only the scale of the ignored SYN tells.
    assert_passes(talk.reply(segment("A", 70_001 + 63_999, 900_001).payload(1)));
}

/// Only its own ends close a connection, so only then its ports are free for another.
#[test]
fn a_reset_of_the_server_does_not_let_the_client_reopen() {
    let mut talk = Talk::established();
    assert_passes(talk.reply(segment("R", 5001, 0)));
    assert_eq!(talk.state(), TcpState::Close);
    assert_eq!(talk.original(segment("S", 900_000, 0)), Update::Ignore);
    let mut talk = Talk::after(way_to(TcpState::CloseWait));
    assert_passes(talk.reply(segment("R", 5001, 0)));
    assert_eq!(talk.original(segment("S", 900_000, 0)), Update::Reopen);
}
