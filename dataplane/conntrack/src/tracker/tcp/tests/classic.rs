//! What the classic preset, and tracking without windows, do differently.

use super::*;

fn classic(window_tracking: bool) -> Talk {
    let mut talk = Talk::of(Preset::Classic);
    talk.settings.tcp.window_tracking = window_tracking;
    talk
}

#[test]
fn a_connection_closed_by_one_end_lives_twelve_hours() {
    let mut talk = classic(true);
    for (direction, segment) in handshake() {
        talk.send(direction, &segment);
    }
    assert_passes(talk.original(segment("FA", 1001, 5001)));
    assert_eq!(talk.reply(segment("A", 5001, 1002)), Update::Refresh { timeout_ms: 43_200_000 });
    assert_eq!(talk.state(), TcpState::CloseWait);
}

#[test]
fn a_connection_may_be_picked_up_while_it_opens() {
    let mut talk = classic(true);
    assert_passes(talk.original(segment("SA", 5000, 1001)));
    assert_eq!(talk.state(), TcpState::SynRecv);
    assert_passes(talk.reply(segment("A", 1001, 5001)));
    assert_eq!(talk.state(), TcpState::Established);
}

#[test]
fn a_connection_may_be_picked_up_while_it_closes() {
    let mut talk = classic(true);
    assert_passes(talk.original(segment("FA", 1001, 5001)));
    assert_eq!(talk.state(), TcpState::FinWait);
    assert_passes(talk.reply(segment("FA", 5001, 1002)));
    assert_passes(talk.original(segment("A", 1002, 5002)));
    assert_eq!(talk.state(), TcpState::TimeWait);
    assert_eq!(talk.original(segment("S", 9, 0)), Update::Reopen);
}

#[test]
fn without_windows_a_segment_without_flags_is_new() {
    let mut talk = classic(false);
    assert_eq!(talk.original(segment("", 0, 0)), Update::Refresh { timeout_ms: 1_800_000 });
    assert_eq!(talk.state(), TcpState::None);
    assert_eq!(talk.reply(segment("PU", 7, 7)), Update::Refresh { timeout_ms: 1_800_000 });
    assert_passes(talk.original(segment("A", 900, 800)));
    assert_eq!(talk.state(), TcpState::Established);
    assert_invalid(talk.original(segment("", 0, 0)), InvalidReason::TcpState);
}

#[test]
fn without_windows_no_number_is_looked_at() {
    let mut talk = classic(false);
    assert_passes(talk.original(segment("S", 1000, 0)));
    assert_passes(talk.reply(segment("SA", 5000, 77)));
    assert_passes(talk.original(segment("A", 3_000_000, 4_000_000_000).payload(100)));
    assert_eq!(talk.state(), TcpState::Established);
    assert_passes(talk.reply(segment("R", 1, 0)));
    assert_eq!(talk.state(), TcpState::Close);
}

#[test]
fn windows_switched_on_while_running_are_lax() {
    let mut talk = classic(true);
    for (direction, segment) in handshake() {
        talk.send(direction, &segment);
    }
    talk.settings.tcp.window_tracking = false;
    assert_passes(talk.original(segment("PA", 1_000_000, 5001).payload(10)));
    talk.settings.tcp.window_tracking = true;
    assert_passes(talk.reply(segment("A", 5001, 1_000_010)));
}

#[test]
fn a_connection_that_began_without_windows_has_none_to_hold_it_to() {
    let mut talk = classic(false);
    for (direction, segment) in handshake() {
        talk.send(direction, &segment);
    }
    talk.settings.tcp.window_tracking = true;
    assert_passes(talk.original(segment("PA", 700_000, 5001).payload(10)));
    assert_passes(talk.reply(segment("A", 800_000, 700_010)));
}
