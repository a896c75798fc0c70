//! Resets (RFC 5961) and other segments that claim the connection is closed.

use super::*;

/// Established; the client has acknowledged everything up to 6001.
fn acknowledged() -> Talk {
    let mut talk = Talk::established();
    talk.reply(segment("PA", 5001, 1001).payload(1000));
    talk.original(segment("A", 1001, 6001));
    talk
}

#[test]
fn only_the_exact_reset_closes() {
    let mut talk = acknowledged();
    assert_eq!(talk.reply(segment("R", 6001, 0)), Update::Refresh { timeout_ms: 10_000 });
    assert_eq!(talk.state(), TcpState::Close);
    for seq in [6002, 16_000, 16_001] {
        let mut talk = acknowledged();
        assert_eq!(talk.reply(segment("R", seq, 0)), Update::Ignore, "{seq}");
        assert_eq!(talk.state(), TcpState::Established);
    }
    for seq in [6000, 5001, 0] {
        let mut talk = acknowledged();
        assert_invalid(talk.reply(segment("R", seq, 0)), InvalidReason::TcpReset);
        assert_eq!(talk.state(), TcpState::Established);
    }
    assert_invalid(acknowledged().reply(segment("R", 1_000_000, 0)), InvalidReason::TcpWindow);
}

#[test]
fn an_old_reset_passes_if_invalid_ones_are_ignored() {
    let mut talk = acknowledged();
    talk.settings.tcp.ignore_invalid_rst = true;
    assert_eq!(talk.reply(segment("R", 6000, 0)), Update::Ignore);
    assert_eq!(talk.state(), TcpState::Established);
}

#[test]
fn a_reset_may_follow_its_senders_own_data() {
    for spoken in [false, true] {
        let mut talk = acknowledged();
        assert_passes(talk.reply(segment("PA", 6001, 1001).payload(4)));
        if spoken {
            assert_passes(talk.original(segment("A", 1001, 6001)));
        }
        assert_passes(talk.reply(segment("R", 6005, 0)));
        assert_eq!(talk.state(), TcpState::Close);
    }
}

#[test]
fn any_reset_closes_a_connection_that_is_closing() {
    let mut talk = acknowledged();
    assert_passes(talk.reply(segment("FA", 6001, 1001)));
    assert_passes(talk.reply(segment("R", 3_000_000_000, 0)));
    assert_eq!(talk.state(), TcpState::Close);
}

#[test]
fn a_refused_connection_ends_at_once() {
    for refusal in [segment("RA", 0, 1001), segment("R", 777_777, 0), segment("RA", 77, 0)] {
        let mut talk = Talk::after([(Original, segment("S", 1000, 0))]);
        assert_eq!(talk.reply(refusal), Update::End);
    }
    let mut talk = Talk::after([(Original, segment("S", 1000, 0))]);
    assert_invalid(talk.reply(segment("RA", 0, 5000)), InvalidReason::TcpAck);
    let mut talk = Talk::after([(Original, segment("S", 1000, 0))]);
    assert_eq!(talk.original(segment("R", 1001, 0)), Update::End, "the client gives up");
}

/// The server takes the SYN for one of an old connection and challenges it. The client resets that one.
#[test]
fn a_challenged_syn_may_be_reset_by_its_sender() {
    let mut talk = Talk::after([(Original, segment("S", 1000, 0))]);
    assert_eq!(talk.reply(segment("A", 145_824_453, 643_160_523)), Update::Ignore);
    assert_passes(talk.original(segment("R", 643_160_523, 0)));
    assert_eq!(talk.state(), TcpState::Close);
    assert_eq!(talk.original(segment("S", 1000, 0)), Update::Reopen);
}

#[test]
fn a_reset_may_answer_a_syn_that_was_ignored() {
    let mut talk = acknowledged();
    assert_eq!(talk.original(segment("S", 900_000, 0)), Update::Ignore);
    assert_passes(talk.reply(segment("RA", 0, 900_001)));
    assert_eq!(talk.state(), TcpState::Close);
    // Not by the SYN's own sender.
    let mut talk = acknowledged();
    assert_eq!(talk.original(segment("S", 900_000, 0)), Update::Ignore);
    assert_invalid(talk.original(segment("RA", 3_000_000, 900_001)), InvalidReason::TcpWindow);
}

/// A SYN that was ignored excuses no reset but its answer, whoever sends it.
#[test]
fn a_syn_that_was_ignored_makes_no_other_reset_good() {
    for reset in [segment("R", 1011, 0), segment("RA", 1011, 6001), segment("R", 1011, 900_001)] {
        let mut talk = acknowledged();
        assert_passes(talk.reply(segment("A", 6001, 1001)));
        assert_eq!(talk.original(segment("S", 900_000, 0)), Update::Ignore);
        assert_eq!(talk.original(reset), Update::Ignore);
        assert_eq!(talk.state(), TcpState::Established);
    }
    for reset in [segment("R", 6011, 0), segment("RA", 6011, 1001), segment("RA", 6011, 900_002)] {
        let mut talk = acknowledged();
        assert_eq!(talk.original(segment("S", 900_000, 0)), Update::Ignore);
        let update = talk.reply(reset);
        assert!(matches!(update, Update::Ignore | Update::Invalid(_)), "{update:?}");
        assert_eq!(talk.state(), TcpState::Established);
    }
}

/// Nor does an ACK make those of its own sender good, before the connection is assured.
#[test]
fn only_the_other_end_answers_an_ack() {
    let [syn, answer, _] = handshake();
    let mut talk = Talk::after([syn, answer, (Reply, segment("A", 5001, 1001))]);
    assert_invalid(talk.reply(segment("RA", 900_000_000, 5001)), InvalidReason::TcpWindow);
    assert_eq!(talk.state(), TcpState::SynRecv);
}

/// In SYN_SENT only the server has no sequence number yet.
#[test]
fn the_client_does_not_reset_its_syn_without_a_number() {
    let mut talk = Talk::after([(Original, segment("S", 0xf000_0000, 0))]);
    assert_invalid(talk.original(segment("R", 0, 0)), InvalidReason::TcpWindow);
    assert_eq!(talk.reply(segment("RA", 0, 0xf000_0001)), Update::End);
}

#[test]
fn a_liberal_box_lets_a_reset_pass_but_does_not_believe_it() {
    let mut talk = acknowledged();
    talk.settings.tcp.be_liberal = true;
    assert_eq!(talk.reply(segment("R", 500_000, 0)), Update::Ignore);
    assert_eq!(talk.state(), TcpState::Established);
}

#[test]
fn ends_that_seem_to_close_out_of_the_window_change_nothing() {
    let mut talk = acknowledged();
    let before = talk.bytes();
    for _ in 0..3 {
        assert_invalid(talk.original(segment("FA", 500_000, 6001)), InvalidReason::TcpWindow);
        assert_invalid(talk.reply(segment("FA", 900_000, 1001)), InvalidReason::TcpWindow);
        assert_invalid(talk.reply(segment("RA", 900_000, 1001)), InvalidReason::TcpWindow);
    }
    assert_eq!(talk.bytes(), before);
}
