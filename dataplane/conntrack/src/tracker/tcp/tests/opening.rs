//! Handshakes, pick-up in mid-stream, and what makes a connection assured.

use super::*;

#[test]
fn a_handshake_assures() {
    let mut talk = Talk::new();
    assert_eq!(talk.original(segment("S", 1000, 0)), Update::Refresh { timeout_ms: 120_000 });
    assert_eq!(talk.reply(segment("SA", 5000, 1001)), Update::Refresh { timeout_ms: 60_000 });
    assert!(!talk.is_assured());
    assert_eq!(talk.original(segment("A", 1001, 5001)), Update::Refresh { timeout_ms: 432_000_000 });
    assert_eq!(talk.state(), TcpState::Established);
    assert!(talk.is_assured());
}

#[test]
fn a_syn_again_does_not_refresh() {
    let mut talk = Talk::new();
    assert_passes(talk.original(segment("S", 1000, 0)));
    assert_eq!(talk.original(segment("S", 1000, 0)), Update::Ignore);
    // With another sequence number it is the one that must be answered.
    assert_eq!(talk.original(segment("S", 2000, 0)), Update::Ignore);
    assert_passes(talk.reply(segment("SA", 5000, 2001)));
}

#[test]
fn an_answer_to_another_syn_is_invalid() {
    let mut talk = Talk::new();
    assert_passes(talk.original(segment("S", 1000, 0)));
    assert_invalid(talk.reply(segment("SA", 5000, 1002)), InvalidReason::TcpAck);
    assert_eq!(talk.state(), TcpState::SynSent);
}

#[test]
fn data_in_the_syn_is_acknowledged() {
    let mut talk = Talk::new();
    assert_passes(talk.original(segment("S", 1000, 0).payload(4)));
    assert_passes(talk.reply(segment("SA", 5000, 1005)));
    assert_passes(talk.original(segment("A", 1005, 5001)));
}

#[test]
fn both_ends_may_open_at_once() {
    let crossed = || {
        let mut talk = Talk::after([
            (Original, segment("S", 1000, 0)),
            (Reply, segment("S", 5000, 0)),
            (Original, segment("SA", 1000, 5001)),
        ]);
        assert_eq!(talk.state(), TcpState::SynRecv);
        assert_eq!(talk.reply(segment("SA", 5000, 1001)), Update::Ignore);
        talk
    };
    let mut talk = crossed();
    assert_passes(talk.reply(segment("A", 5001, 1001)));
    assert_eq!(talk.state(), TcpState::Established, "either end completes it");
    let mut talk = crossed();
    assert_passes(talk.original(segment("A", 1001, 5001)));
    assert_eq!(talk.state(), TcpState::Established);
    assert!(talk.is_assured());
}

#[test]
fn the_server_may_speak_before_the_handshake_is_complete() {
    let mut talk = Talk::after(handshake()[..2].to_vec());
    assert_passes(talk.reply(segment("PA", 5001, 1001).payload(12)));
    assert_eq!(talk.state(), TcpState::SynRecv);
    assert_passes(talk.original(segment("A", 1001, 5013)));
    assert_eq!(talk.state(), TcpState::Established);
}

#[test]
fn what_may_come_first() {
    let firsts = ["S", "SEC", "SPU", "A", "PA", "UA", "SA", "FA", "R", "RA"];
    let new = |preset, loose, window_tracking| -> Vec<&str> {
        let is_new = |flags: &&str| {
            let mut talk = Talk::of(preset);
            talk.settings.tcp.loose = loose;
            talk.settings.tcp.window_tracking = window_tracking;
            match talk.original(segment(flags, 1000, 5001)) {
                Update::Refresh { .. } => true,
                update => {
                    assert_invalid(update, InvalidReason::TcpNotNew);
                    false
                }
            }
        };
        firsts.into_iter().filter(is_new).collect()
    };
    let syns = ["S", "SEC", "SPU"];
    for preset in [Preset::Linux, Preset::Classic] {
        assert_eq!(new(preset, false, true), syns);
        assert_eq!(new(preset, false, false), syns);
        assert_eq!(new(preset, true, false), firsts);
    }
    assert_eq!(new(Preset::Linux, true, true), ["S", "SEC", "SPU", "A", "PA", "UA"]);
    assert_eq!(new(Preset::Classic, true, true), ["S", "SEC", "SPU", "A", "PA", "UA", "SA", "FA"]);
}

#[test]
fn a_connection_picked_up_must_be_answered_first() {
    let mut talk = Talk::new();
    assert_eq!(talk.original(segment("PA", 1001, 5001).payload(4)), Update::Refresh { timeout_ms: 300_000 });
    assert_eq!(talk.state(), TcpState::Established);
    assert_passes(talk.reply(segment("A", 5001, 1005)));
    assert!(!talk.is_assured());
    assert_passes(talk.reply(segment("PA", 5001, 1005).payload(4)));
    assert!(talk.is_assured());
    assert_eq!(talk.original(segment("A", 1005, 5005)), Update::Refresh { timeout_ms: 432_000_000 });
}

/// The window scales of a connection picked up are unknown.
#[test]
fn windows_are_lax_after_pick_up() {
    let mut talk = Talk::after([(Original, segment("A", 1001, 5001)), (Reply, segment("A", 5001, 1001))]);
    assert_passes(talk.reply(segment("PA", 9_000_000, 1001).payload(1)));
    assert_passes(talk.original(segment("PA", 71_001, 9_000_001).payload(1)));
}

#[test]
fn a_connection_picked_up_ends_with_an_unanswered_reset() {
    let mut talk = Talk::after([(Original, segment("A", 1001, 5001))]);
    assert_eq!(talk.original(segment("RA", 1001, 5001)), Update::End);
}
