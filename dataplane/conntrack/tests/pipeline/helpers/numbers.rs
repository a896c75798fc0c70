//! Sequence numbers, acknowledgements and SACK blocks of connections whose text was rewritten.

use super::session::*;
use super::translated::{PORT, inwards, masqueraded, outwards, pool, router};
use super::*;
use sluice_conntrack::helpers::Seqadj;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::Preset;
use sluice_conntrack::{DropReason, State};

#[test]
fn f18_g14_thousands_of_transfers_through_one_connection() {
    for preset in PRESETS {
        let mut session = masqueraded(preset, "203.0.113.1", [u32::MAX - 3000, u32::MAX - 500]);
        for round in 0..3000 {
            let port = 2000 + round % 5000;
            let [high, low] = u16::to_be_bytes(port);
            let said = session.says(Client, &format!("PORT 10,0,0,2,{high},{low}\r\n"));
            assert_eq!(said.text, format!("PORT 203,0,113,1,{high},{low}\r\n"));
            session.says(Server, "200 ok\r\n");
            assert_eq!(session.expected().len(), 1);
        }
        session.it.check();
    }
}

#[test]
fn g14_g15_both_directions_are_rewritten_across_the_wrap_and_text_that_is_sent_again_is_the_same() {
    for preset in PRESETS {
        for distance in 0..60 {
            // Client and server are both translated.
            let client = Pair::at("10.0.0.2:40000", "10.9.9.9:21");
            let server = Pair::at("198.51.100.2:21", "203.0.113.1:40000");
            let nat = Nat {
                destination: inwards("10.9.9.9", "198.51.100.2").destination,
                ..outwards(pool("203.0.113.1"))
            };
            let first = [u32::MAX - 16 - distance, u32::MAX - 26 - distance];
            let mut session = Session::open(router(preset, nat, 1500), client, server, first).logged_in();
            let passive = "227 Passive (198,51,100,2,200,10).\r\n";
            for _ in 0..3 {
                let seq = session.next[0];
                let said = session.says(Client, PORT);
                assert_eq!(said.text, "PORT 203,0,113,1,19,137\r\n");
                let again = session.sends(Client, seq, PORT);
                assert_eq!((again.drop(), again.seq, again.text), (None, said.seq, said.text));
                let seq = session.next[1];
                let said = session.says(Server, passive);
                assert_eq!(said.text, "227 Passive (10,9,9,9,200,10).\r\n");
                let again = session.sends(Server, seq, passive);
                assert_eq!((again.drop(), again.seq, again.text), (None, said.seq, said.text));
            }
            session.says(Client, "QUIT\r\n");
            session.says(Server, "221 bye\r\n");
            session.it.check();
        }
    }
}

#[test]
fn g14_sack_blocks_are_moved_back_like_acknowledgements() {
    for preset in PRESETS {
        let mut session = masqueraded(preset, "203.0.113.1", [1000, 5000]);
        session.says(Client, PORT);
        let (sent, got) = (session.next[0], session.awaited[1]);
        assert_eq!(got, sent + 3);
        session.sends(Client, sent, "NOOP 1\r\n");
        session.sends(Client, sent + 8, "NOOP 2\r\n");
        session.next[0] += 16;
        let option =
            |left: u32, right: u32| [&[1, 1, 5, 10][..], &left.to_be_bytes(), &right.to_be_bytes()].concat();
        let next = session.next[1];
        let packet = session.segment(Server, next, b"", &option(got + 8, got + 16));
        let seen = session.pass(Server, packet);
        assert_eq!(seen.drop(), None);
        assert_eq!((seen.ack, seen.options), (sent, option(sent + 8, sent + 16)));
    }
}

#[test]
fn g14_text_that_is_sent_again_with_other_text_or_in_other_pieces() {
    let mut session = masqueraded(Preset::Classic, "203.0.113.1", [1000, 5000]);
    let seq = session.next[0];
    let said = session.says(Client, PORT);
    session.says(Client, "LIST\r\n");
    // Both commands in one segment, as a stack may put them together.
    let again = session.sends(Client, seq, &format!("{PORT}LIST\r\n"));
    assert_eq!((again.drop(), again.seq), (None, said.seq));
    assert_eq!(again.text, "PORT 203,0,113,1,19,137\r\nLIST\r\n");
    let rest = session.sends(Client, seq + 22, "LIST\r\n");
    assert_eq!((rest.seq, rest.text.as_str()), (said.seq + 25, "LIST\r\n"));
    // A part of the text cannot be told apart from what it became.
    for (from, to) in [(0, 10), (6, 22), (10, 14)] {
        let part = session.sends(Client, seq + from as u32, &PORT[from..to]);
        assert_eq!(part.drop(), Some(DropReason::HelperPartial));
    }
    let before = session.sends(Client, seq, "PORT ");
    assert_eq!((before.drop(), before.text.as_str()), (None, "PORT "));
    // Whoever sends something else now has it replaced all the same.
    let other = session.sends(Client, seq, "PORT 10,0,0,2,99,99X\r\n");
    assert_eq!(other.text, "PORT 203,0,113,1,19,137\r\n"[..23].to_owned() + "\r\n");
}

#[test]
fn windows_are_tracked_in_the_numbers_of_whoever_sends() {
    for preset in PRESETS {
        let mut session = masqueraded(preset, "203.0.113.1", [1000, 5000]);
        session.says(Client, PORT);
        session.says(Client, "LIST\r\n");
        let (sent, got) = (session.next[0], session.awaited[1]);
        let pair = session.pairs[1];
        let too_much = session.pass(Server, pair.tcp("A", session.next[1], got + 1));
        assert_eq!(too_much.verdict.state, Some(State::Invalid));
        let all = session.pass(Server, pair.tcp("A", session.next[1], got));
        assert_eq!((all.verdict.state, all.ack), (Some(State::Established), sent));
        let beyond = session.sends(Client, sent + 20_000, "x");
        assert_eq!(beyond.verdict.state, Some(State::Invalid));
    }
}

#[test]
fn g14_a_listing_tells_from_where_on_numbers_are_shifted() {
    for preset in PRESETS {
        let mut session = masqueraded(preset, "203.0.113.1", [u32::MAX - 2, 5000]);
        assert_eq!(session.it.entry().seqadj, None);
        let correction_pos = session.next[0].wrapping_add("PORT ".len() as u32);
        session.says(Client, "PORT 10,0,0,2,8,1\r\n");
        let seqadj = Seqadj { correction_pos, offset_before: 0, offset_after: 3 };
        assert_eq!(session.it.entry().seqadj, Some([seqadj, Seqadj::default()]));
    }
}

#[test]
fn g14_text_of_the_same_length_is_sent_again_the_same_when_its_helper_reads_no_more() {
    for preset in PRESETS {
        let mut session = masqueraded(preset, "10.9.9.9", [1000, 5000]);
        let seq = session.next[0];
        let said = session.says(Client, PORT);
        assert_eq!((said.seq, said.text.as_str()), (seq, "PORT 10,9,9,9,19,137\r\n"));
        session.says(Client, "AUTH TLS\r\n");
        session.says(Server, "234 go on\r\n");
        for _ in 0..2 {
            let again = session.sends(Client, seq, PORT);
            assert_eq!((again.drop(), again.seq, again.text.as_str()), (None, said.seq, said.text.as_str()));
        }
        session.it.check();
    }
}
