//! Which timeout a segment leaves.

use super::*;

#[track_caller]
fn assert_timeout(update: Update, secs: u32) {
    assert_eq!(update, Update::Refresh { timeout_ms: secs * 1000 });
}

#[test]
fn unacknowledged_data_shortens() {
    let mut talk = Talk::established();
    assert_timeout(talk.original(segment("PA", 1001, 5001).payload(100)), 300);
    assert_timeout(talk.reply(segment("A", 5001, 1051)), 300);
    assert_timeout(talk.reply(segment("A", 5001, 1101)), 432_000);
}

#[test]
fn it_never_lengthens() {
    let mut talk = Talk::established();
    talk.settings.timeouts.tcp_unacknowledged_ms = 200_000;
    assert_timeout(talk.original(segment("FA", 1001, 5001)), 120);
}

#[test]
fn the_third_retransmission_shortens() {
    let mut talk = Talk::established();
    talk.settings.timeouts.tcp_max_retrans_ms = 50_000;
    for secs in [300, 300, 300, 50, 50] {
        assert_timeout(talk.original(segment("PA", 1001, 5001).payload(4)), secs);
    }
    assert_timeout(talk.reply(segment("A", 5001, 1005)), 432_000);
    talk.settings.tcp.max_retrans = 1;
    for secs in [300, 50] {
        assert_timeout(talk.original(segment("PA", 1005, 5001).payload(4)), secs);
    }
}

#[test]
fn a_closed_window_shortens() {
    let mut talk = Talk::established();
    talk.settings.timeouts.tcp_max_retrans_ms = 77_000;
    assert_timeout(talk.reply(segment("A", 5001, 1001).window(0)), 77);
    assert_timeout(talk.reply(segment("A", 5001, 1001).window(10)), 432_000);
}

#[test]
fn until_a_window_is_known_as_well() {
    let mut talk = Talk::new();
    talk.settings.timeouts.tcp_max_retrans_ms = 50_000;
    assert_timeout(talk.original(segment("S", 1000, 0)), 50);
    assert_timeout(talk.reply(segment("SA", 5000, 1001)), 50);
    assert_timeout(talk.original(segment("A", 1001, 5001)), 432_000);
}

#[test]
fn a_reset_always_leaves_the_shortest() {
    let mut talk = Talk::established();
    talk.settings.timeouts.tcp_ms[TcpState::Close as usize] = 3000;
    assert_timeout(talk.original(segment("R", 1001, 0)), 3);
}

#[test]
fn changed_settings_hold_from_the_next_segment_on() {
    let mut talk = Talk::established();
    talk.settings.timeouts.tcp_ms[TcpState::Established as usize] = 7000;
    assert_eq!(talk.left_ms(), 432_000_000);
    assert_timeout(talk.original(segment("A", 1001, 5001)), 7);
}
