//! What is said over the control connection, in one piece or not.

use super::*;

#[test]
fn pptp_q6_what_is_no_message_about_a_call_is_passed_over() {
    let short = |mut message: Vec<u8>, bytes: u8| {
        message.truncate(usize::from(bytes));
        message[1] = bytes;
        message
    };
    for preset in PRESETS {
        for odd in [
            short(out_granted(9, 5), 24),
            short(out_granted(9, 5), 12),
            message(99, 32, &[9, 5, 0x0100]),
            out_granted(9, 6),
            in_granted(9, 5),
            [vec![0, 32, 0, 2], out_granted(9, 5).split_off(4)].concat(),
        ] {
            let mut session = plain(preset);
            session.says_bytes(Client, out_call(5));
            session.says_bytes(Server, &odd);
            assert!(calls(&session.it).is_empty(), "{odd:?}");
            session.says_bytes(Server, out_granted(9, 5));
            assert_eq!(calls(&session.it).len(), 2, "{odd:?}");
        }
        let mut session = plain(preset);
        session.says_bytes(Server, out_granted(9, 5));
        assert!(calls(&session.it).is_empty(), "nobody has asked");
    }
}

#[test]
fn pptp_q6_what_is_no_message_turns_the_helper_off() {
    let spoilt = |at: usize, byte| {
        let mut message = out_granted(9, 5);
        message[at] = byte;
        message
    };
    for preset in PRESETS {
        for odd in [spoilt(4, 0), spoilt(0, 0xff), spoilt(1, 11), spoilt(0, 2)] {
            let mut session = plain(preset);
            session.says_bytes(Client, out_call(5));
            session.says_bytes(Server, &odd);
            session.says_bytes(Server, out_granted(9, 5));
            assert!(calls(&session.it).is_empty(), "{odd:?}");
            assert_eq!(session.events(HelperEvent::Malformed), 1, "{odd:?}");
        }
    }
}

#[test]
fn pptp_q6_messages_may_be_cut_and_come_together() {
    for preset in PRESETS {
        let asked = out_call(5);
        for cut in 1..asked.len() {
            let mut session = plain(preset);
            session.says_bytes(Client, &asked[..cut]);
            session.says_bytes(Client, &asked[cut..]);
            session.says_bytes(Server, [link_info(5), out_granted(9, 5)].concat());
            assert_eq!(calls(&session.it).len(), 2, "{cut}");
        }
        let mut session = masqueraded(preset);
        session.says_bytes(Client, out_call(5));
        let both = session.says_bytes(Server, [out_granted(9, 40000), link_info(40000)].concat()).bytes();
        assert_eq!(both, [out_granted(9, 5), link_info(5)].concat());
    }
}

#[test]
fn pptp_q6_of_a_translated_connection_a_message_about_a_call_comes_whole() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        let (seq, asked) = (session.next[0], out_call(5));
        assert_eq!(session.sends_bytes(Client, seq, &asked[..100]).drop(), Some(DropReason::HelperPartial));
        let passed = session.says_bytes(Client, &asked).bytes();
        assert_eq!(id(&passed), 40000);
        let again = session.sends_bytes(Client, seq, &asked).bytes();
        assert_eq!(again, passed, "what is sent again is the same");
        session.says_bytes(Server, out_granted(9, 40000));
        assert_eq!(calls(&session.it).len(), 2);
        assert_eq!(session.it.entry().seqadj, None, "no number is moved");
    }
}

#[test]
fn pptp_g4_a_stream_of_something_else_announces_nothing() {
    for preset in PRESETS {
        let it = with_helpers(Middlebox::with(Settings::of(preset, ROOM), accept_all()), [pptp()]);
        let pair = Pair::at("10.0.0.2:40000", "198.51.100.2:1723");
        let mut session = Session::open(it, pair, pair.inverse(), [1000, 5000]);
        session.says_bytes(Client, "POST / HTTP/1.1\r\n\r\n");
        let mut session = started(session);
        call(&mut session, 5, 9);
        assert!(calls(&session.it).is_empty());
        assert_eq!(session.events(HelperEvent::OtherProtocol), 1);
    }
}
