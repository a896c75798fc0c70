//! SIP over TCP: messages in any pieces, plain and translated.

use super::*;
use crate::helpers::session::{Client, End, Server, Session};
use sluice_conntrack::DropReason;
use sluice_conntrack::helpers::HelperEvent;
use std::collections::BTreeMap;
use std::ops::Range;

const FIRST: [u32; 2] = [1000, u32::MAX - 300];

fn plain(preset: Preset) -> Session {
    Session::open(wire_with_helper(preset), phone(), phone().inverse(), FIRST)
}

fn masqueraded(preset: Preset) -> Session {
    Session::open(masquerading(preset), phone(), to_public(), FIRST)
}

/// A request that is longer by so many bytes of a header which means nothing here.
fn long(text: &str, bytes: usize) -> String {
    text.replacen("\r\n", &format!("\r\nSubject: {}\r\n", "x".repeat(bytes)), 1)
}

/// Sends text in pieces that begin at these offsets, and again what does not pass; gives what arrives.
#[track_caller]
fn carried(session: &mut Session, from: End, text: &str, cuts: &[usize]) -> String {
    let bounds = [&[0], cuts, &[text.len()]].concat();
    carried_in(session, from, text, bounds.windows(2).map(|bounds| bounds[0]..bounds[1]).collect())
}

/// The same in these pieces, of which one may have what another has.
#[track_caller]
fn carried_in(session: &mut Session, from: End, text: &str, mut pieces: Vec<Range<usize>>) -> String {
    let peer = if from == Client { Server } else { Client };
    let (first, awaited) = (session.next[from as usize], session.awaited[peer as usize]);
    let mut arrived = BTreeMap::new();
    for _ in 0..4 {
        pieces.retain(|piece| {
            let sent = session.sends(from, first.wrapping_add(piece.start as u32), &text[piece.clone()]);
            let is_dropped = sent.drop().is_some();
            if !is_dropped {
                for (index, byte) in (sent.seq.wrapping_sub(awaited)..).zip(sent.text.bytes()) {
                    let before = arrived.insert(index, byte);
                    assert!(before.is_none_or(|before| before == byte), "what comes again is the same");
                }
            }
            is_dropped
        });
    }
    assert!(pieces.is_empty(), "{pieces:?} never passes");
    assert_eq!(arrived.last_key_value().map_or(0, |(last, _)| *last as usize + 1), arrived.len());
    let all = String::from_utf8(arrived.into_values().collect()).unwrap();
    session.next[from as usize] = first.wrapping_add(text.len() as u32);
    session.awaited[peer as usize] = awaited.wrapping_add(all.len() as u32);
    assert_eq!(session.acknowledge(peer).ack, session.next[from as usize]);
    all
}

fn audio(from: &str, to: &str, port: u16) -> Vec<String> {
    [port, port + 1].map(|port| format!("{from} > {to} {port}")).to_vec()
}

#[test]
fn sip_tcp_a_call_expects_the_media_of_both_sides() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says(Client, &invite(16_384));
        assert_eq!(session.expected(), audio("198.51.100.2", "10.0.0.2", 16_384));
        session.says(Server, &accepted(26_384));
        assert_eq!(session.expected().len(), 4);
        session.says(Client, &request("BYE", "10.0.0.2:5060", 2, ""));
        assert_eq!(session.expected(), [""; 0]);
        session.it.check();
    }
}

#[test]
fn sip_tcp_p2_messages_come_in_any_pieces() {
    let text = invite(16_384);
    for cut in 1..text.len() {
        let mut session = plain(Preset::Classic);
        assert_eq!(carried(&mut session, Client, &text, &[cut]), text);
        assert_eq!(session.expected().len(), 2, "{cut}");
    }
    let mut session = plain(Preset::Classic);
    let cuts: Vec<usize> = (1..text.len()).collect();
    carried(&mut session, Client, &text, &cuts);
    assert_eq!(session.expected().len(), 2);
}

#[test]
fn sip_tcp_p2_one_that_overtook_another_waits_for_it() {
    let text = invite(16_384);
    for cut in [1, 100, 300, text.len() - 1] {
        let mut session = plain(Preset::Classic);
        session.sends(Client, 1001 + cut as u32, &text[cut..]);
        assert_eq!(session.expected().len(), 0);
        session.sends(Client, 1001, &text[..cut]);
        assert_eq!(session.expected().len(), 2, "{cut}");
    }
}

#[test]
fn sip_tcp_p2_several_messages_and_keepalives_come_in_one_segment() {
    for preset in PRESETS {
        let mut session = plain(preset);
        let register = request("REGISTER", "10.0.0.2:5060", 1, "").replace("CSeq", "Expires: 60\r\nCSeq");
        session.says(Client, &[register, invite(16_384)].concat());
        assert_eq!(all(&session.it).len(), 3);
    }
    let mut session = plain(Preset::Classic);
    for keepalive in ["\r\n", "\r\n\r\n", "\r\n\r\n\r\n"] {
        session.says(Client, keepalive);
    }
    session.says(Client, &format!("\r\n\r\n{}", invite(16_384)));
    assert_eq!(session.expected().len(), 2);
}

/// A message that the segment has a part of, or that does not say its length, is not read by Linux.
#[test]
fn sip_tcp_p2_linux_reads_what_a_segment_has_all_of() {
    let text = invite(16_384);
    let mut session = plain(Preset::Linux);
    session.says(Client, &text[..text.len() - 1]);
    session.says(Client, &text[text.len() - 1..]);
    session.says(Client, &text.replace("Content-Length", "X"));
    session.says(Client, "hello, world, this is not SIP at all\r\n\r\n");
    assert_eq!(session.expected(), [""; 0]);
    session.says(Client, &text);
    assert_eq!(session.expected().len(), 2);
}

#[test]
fn sip_tcp_p2_cve_2026_23457_lengths_that_are_wrong_turn_the_helper_off() {
    let text = invite(16_384);
    let length = text.split("Content-Length: ").nth(1).unwrap().split('\r').next().unwrap();
    let said = format!("Content-Length: {length}");
    let wrong =
        ["Content-Length: 4294967404", "Content-Length: -1", "Content-Length: 1x", "Content-Length:", "X: y"];
    let twice = format!("{said}\r\nl: 7");
    for other in wrong.into_iter().chain([twice.as_str()]) {
        let mut session = plain(Preset::Classic);
        session.says(Client, &text.replace(&said, other));
        session.says(Client, &text);
        assert_eq!(session.expected(), [""; 0], "{other}");
        let [malformed, others] =
            [HelperEvent::Malformed, HelperEvent::OtherProtocol].map(|event| session.events(event));
        assert_eq!(malformed + others, 1, "{other}");
    }
    for other in [format!("{said}   "), format!("l:{length}"), format!("{said}\r\nl: {length}")] {
        let mut session = plain(Preset::Classic);
        session.says(Client, &text.replace(&said, &other));
        assert_eq!(session.expected().len(), 2, "{other}");
    }
}

#[test]
fn sip_tcp_p2_a_message_that_is_longer_than_is_kept_passes_unread() {
    for preset in PRESETS {
        let mut session = plain(preset);
        let long = message(
            "MESSAGE sip:bob@h SIP/2.0",
            &["CSeq: 1 MESSAGE"],
            &"m=audio 7000 RTP/AVP 0\r\n".repeat(600),
        );
        for piece in long.as_bytes().chunks(1400) {
            session.says(Client, std::str::from_utf8(piece).unwrap());
        }
        session.says(Client, &invite(16_384));
        assert_eq!(session.expected().len(), 2);
    }
    let mut session = plain(Preset::Classic);
    session.says(Client, "INVITE sip:bob@h SIP/2.0\r\nX: ");
    for _ in 0..20 {
        session.says(Client, &"y".repeat(1000));
    }
    assert_eq!(session.events(HelperEvent::TooMany), 1, "nobody has such headers");
}

#[test]
fn sip_tcp_g4_a_stream_that_does_not_begin_with_sip_is_never_read() {
    let post = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", invite(16_384).len());
    let mut session = plain(Preset::Classic);
    session.says(Client, &post);
    session.says(Client, &invite(16_384));
    assert_eq!(session.expected(), [""; 0]);
    assert_eq!(session.events(HelperEvent::OtherProtocol), 1);
}

#[test]
fn sip_tcp_p25_encrypted_text_turns_the_helper_off() {
    let mut session = plain(Preset::Classic);
    session.says(Client, "\x16\x03\x01\x02\0\x01\n\0");
    session.says(Client, &invite(16_384));
    assert_eq!(session.expected(), [""; 0]);
    assert_eq!(session.events(HelperEvent::OtherProtocol), 1);
}

#[test]
fn sip_tcp_p3_g14_messages_are_rewritten_and_numbers_shifted_both_ways() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        for number in 1..60 {
            let said =
                session.says(Client, &request("INVITE", "10.0.0.2:5060", number, &sdp("10.0.0.2", 16_384)));
            let becomes =
                super::translated::public_invite(16_384).replace("CSeq: 1 ", &format!("CSeq: {number} "));
            assert_eq!(said.text, becomes);
            let answer = response(200, "INVITE", "203.0.113.1:5060", number, &sdp("198.51.100.2", 26_384));
            let heard = session.says(Server, &answer);
            assert!(heard.text.contains("Via: SIP/2.0/UDP 10.0.0.2:5060"), "{}", heard.text);
        }
        assert_eq!(session.expected().len(), 4);
        session.it.check();
    }
}

#[test]
fn sip_tcp_g14_what_is_sent_again_becomes_the_same() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        let text = invite(16_384);
        let seq = session.next[0];
        let first = session.says(Client, &text);
        let both = [text.as_str(), &request("BYE", "10.0.0.2:5060", 2, "")].concat();
        let again = session.sends(Client, seq, &text);
        assert_eq!((again.seq, again.text), (first.seq, first.text.clone()));
        let more = session.sends(Client, seq, &both);
        assert_eq!(more.seq, first.seq);
        assert!(more.text.starts_with(&first.text) && more.text.contains("BYE"), "{}", more.text);
    }
}

#[test]
fn sip_tcp_p2_p3_a_cut_message_is_rewritten_once_it_is_whole() {
    let text = invite(16_384);
    let becomes = super::translated::public_invite(16_384);
    for cut in 1..text.len() {
        let mut session = masqueraded(Preset::Classic);
        assert_eq!(carried(&mut session, Client, &text, &[cut]), becomes, "{cut}");
        assert_eq!(session.expected().len(), 2);
    }
    for cuts in [&[10, 20][..], &[100, 200, 300], &[1, 2, 3, 4, 5, 6, 7]] {
        let mut session = masqueraded(Preset::Classic);
        assert_eq!(carried(&mut session, Client, &text, cuts), becomes, "{cuts:?}");
        session.says(Client, &request("BYE", "10.0.0.2:5060", 2, ""));
        assert_eq!(session.expected(), [""; 0]);
    }
}

#[test]
fn sip_tcp_p2_p3_a_message_in_pieces_that_overlap_becomes_the_same_in_each() {
    let text = invite(16_384);
    let becomes = super::translated::public_invite(16_384);
    for cut in 1..text.len() {
        for overlap in [1, 7, 60] {
            let mut session = masqueraded(Preset::Classic);
            let pieces = vec![0..cut, cut.saturating_sub(overlap)..text.len()];
            assert_eq!(carried_in(&mut session, Client, &text, pieces), becomes, "{cut}, {overlap}");
            let mut session = masqueraded(Preset::Classic);
            let pieces = vec![cut..text.len(), 0..(cut + overlap).min(text.len())];
            assert_eq!(carried_in(&mut session, Client, &text, pieces), becomes, "{overlap} behind {cut}");
        }
    }
}

#[test]
fn sip_tcp_p2_p3_a_message_of_more_than_one_segment_is_rewritten() {
    let becomes = long(&super::translated::public_invite(16_384), 3000);
    let mut session = masqueraded(Preset::Classic);
    let text = long(&invite(16_384), 3000);
    assert_eq!(carried(&mut session, Client, &text, &[1204, 2408]), becomes);
    assert_eq!(session.expected().len(), 2);
    let mut session = masqueraded(Preset::Classic);
    let text = [long(&invite(16_384), 2000), request("OPTIONS", "10.0.0.2:5060", 2, "")].concat();
    let all = carried(&mut session, Client, &text, &[1204, 2408]);
    assert!(!all.contains("@10.0.0.2:") && all.ends_with("Content-Length: 0\r\n\r\n"), "{all}");
}

/// Whoever waits for an acknowledgement before the rest comes has its way, and the message passes as it is.
#[test]
fn sip_tcp_p2_a_part_that_comes_again_by_itself_passes() {
    let text = invite(16_384);
    let headers = text.find("\r\n\r\n").unwrap() + 4;
    let mut session = masqueraded(Preset::Classic);
    let seq = session.next[0];
    assert_eq!(session.sends(Client, seq, &text[..headers]).drop(), Some(DropReason::HelperPartial));
    assert_eq!(session.says(Client, &text[..headers]).text, text[..headers]);
    assert_eq!(session.says(Client, &text[headers..]).text, text[headers..]);
    assert_eq!(session.expected(), [""; 0]);
    assert_eq!(session.events(HelperEvent::TooLong), 1);
    session.says(Client, &invite(16_384));
    assert_eq!(session.expected().len(), 2, "the next one is read again");
    let mut session = masqueraded(Preset::Classic);
    assert_eq!(session.sends(Client, seq, &text[..50]).drop(), Some(DropReason::HelperPartial));
    session.says(Client, &text[..50]);
    assert_eq!(session.events(HelperEvent::Incomplete), 1, "where it ends is not known");
}

/// What was rewritten and is not acknowledged yet is remembered: more waits for that.
#[test]
fn sip_tcp_g14_messages_that_nobody_acknowledges_are_not_followed_by_others() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        let text = request("OPTIONS", "10.0.0.2:5060", 1, "");
        let first = session.next[0];
        let sent = |session: &mut Session, number: usize| {
            session.sends(Client, first.wrapping_add((number * text.len()) as u32), &text)
        };
        let passed: Vec<_> =
            (0..100).map(|number| sent(&mut session, number)).take_while(|it| it.drop().is_none()).collect();
        assert!((8..100).contains(&passed.len()), "{}", passed.len());
        for (number, before) in passed.iter().enumerate() {
            let again = sent(&mut session, number);
            assert_eq!((again.seq, &again.text), (before.seq, &before.text));
        }
        let last = passed.last().unwrap();
        session.awaited[1] = last.seq.wrapping_add(last.text.len() as u32);
        session.acknowledge(Server);
        assert_eq!(sent(&mut session, passed.len()).text, last.text);
    }
}

#[test]
fn sip_tcp_g20_a_phone_that_is_published_is_called_from_outside() {
    for preset in PRESETS {
        let it = router_with_helper(preset, inwards("203.0.113.10", "10.0.0.2"));
        let [caller, called] = [Pair::at(PROXY, "203.0.113.10:5060"), Pair::at("10.0.0.2:5060", PROXY)];
        let mut session =
            Session { ports: [OUTSIDE, INSIDE], ..Session::unopened(it, caller, called, FIRST) };
        session.handshake();
        let invite = request("INVITE", PROXY, 1, &sdp("198.51.100.2", 26_384))
            .replace("bob@198.51.100.2", "bob@203.0.113.10");
        let said = session.says(Client, &invite).text;
        assert!(said.starts_with("INVITE sip:bob@10.0.0.2:5060 SIP/2.0\r\n"), "{said}");
        let said = session.says(Server, &response(200, "INVITE", PROXY, 1, &sdp("10.0.0.2", 16_384))).text;
        assert!(said.contains("c=IN IP4 203.0.113.10\r\n") && !said.contains("IP4 10.0.0.2"), "{said}");
        let rtp = Pair::at("198.51.100.2:26384", "203.0.113.10:16384");
        let at_phone = Pair::at("198.51.100.2:26384", "10.0.0.2:16384");
        let (state, to) = session.it.carries(OUTSIDE, rtp, b"rtp");
        assert_eq!((state, to), (Some(sluice_conntrack::State::Related), Some(at_phone)));
        session.it.check();
    }
}

#[test]
fn sip_tcp_g13_ends_leave_room_for_what_is_rewritten() {
    for (nat, offer) in [(outwards(pool("203.0.113.1")), 1204), (Nat::default(), 1460)] {
        let mut it = router_with_helper(Preset::Classic, nat);
        let options = vec![2, 4, 5, 0xb4];
        let syn = frame::Segment { flags: 2, seq: 1, options, ..Default::default() };
        let mut frames = [(INSIDE, phone().segment(&syn).frame())];
        it.burst(&mut frames);
        let header = &frames[0].1[34..];
        assert_eq!(u16::from_be_bytes([header[22], header[23]]), offer);
    }
}
