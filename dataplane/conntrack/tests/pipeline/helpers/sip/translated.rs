//! Calls of translated phones: what messages say outside, and where media goes.

use super::*;
use sluice_conntrack::State;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::settings::Settings;

pub fn public_invite(port: u16) -> String {
    request("INVITE", "203.0.113.1:5060", 1, &sdp("203.0.113.1", port))
        .replace("From: <sip:alice@203.0.113.1>", "From: <sip:alice@203.0.113.1:5060>")
        .replace("Call-ID: call1@203.0.113.1", "Call-ID: call1@10.0.0.2")
}

#[test]
fn sip_p5_p6_what_names_an_end_is_rewritten_and_its_length_follows() {
    for preset in PRESETS {
        let mut it = masquerading(preset);
        assert_eq!(it.says(INSIDE, phone(), &invite(16_384)), public_invite(16_384));
        assert_eq!(all(&it), [16_384, 16_385].map(|port| format!("198.51.100.2 > 203.0.113.1 {port}")));
        let answer = response(200, "INVITE", "203.0.113.1:5060", 1, &sdp("198.51.100.2", 26_384));
        let heard = response(200, "INVITE", "10.0.0.2:5060", 1, &sdp("198.51.100.2", 26_384))
            .replace("From: <sip:alice@10.0.0.2>", "From: <sip:alice@10.0.0.2:5060>");
        assert_eq!(it.says(OUTSIDE, to_public(), &answer), heard);
        let rtp = Pair::at("198.51.100.2:26384", "203.0.113.1:16384");
        let at_phone = Pair::at("198.51.100.2:26384", "10.0.0.2:16384");
        assert_eq!(it.carries(OUTSIDE, rtp, b"rtp"), (Some(State::Related), Some(at_phone)));
        let back = it.carries(INSIDE, at_phone.inverse(), b"rtp");
        assert_eq!(back, (Some(State::Established), Some(rtp.inverse())));
        it.check();
    }
}

#[test]
fn sip_p3_a_length_gets_another_digit() {
    let mut body = sdp("10.0.0.2", 16_384);
    body.truncate(body.find("a=rtpmap").unwrap());
    while body.len() < 99 {
        body += if 99 - body.len() > 4 { "a=x\r\n" } else { "\n" };
    }
    assert_eq!(body.len(), 99);
    for preset in PRESETS {
        let mut it = masquerading(preset);
        let said = it.says(INSIDE, phone(), &request("INVITE", "10.0.0.2:5060", 1, &body));
        assert!(said.contains("Content-Length: 105\r\n"), "{said}");
        assert_eq!(said.split("\r\n\r\n").nth(1).unwrap().len(), 105);
        let mut it = router_with_helper(preset, outwards(pool("1.1.1.1")));
        let said = it.says(INSIDE, phone(), &invite(16_384));
        assert!(said.contains("Content-Length: 106\r\n"), "{said}");
    }
}

#[test]
fn sip_p4_compact_and_folded_headers_are_rewritten_too() {
    for preset in PRESETS {
        let text = format!(
            "INVITE sip:bob@198.51.100.2 SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.2:5060\r\nf:<sip:a@10.0.0.2>\r\n\
             T: <sip:bob@198.51.100.2>\r\ni: 1@10.0.0.2\r\nCSEQ: 1 INVITE\r\n\
             m: \"A, B\" <sip:a@10.0.0.2>,\r\n <sip:b@10.0.0.2:5060>\r\nM:<sip:c@10.0.0.2:5061>\r\n\
             c: application/sdp\r\nl: 108\r\n\r\n{}",
            sdp("10.0.0.2", 16_384)
        );
        let mut it = masquerading(preset);
        let said = it.says(INSIDE, phone(), &text);
        let becomes = format!(
            "INVITE sip:bob@198.51.100.2 SIP/2.0\r\nv: SIP/2.0/UDP 203.0.113.1:5060\r\nf:<sip:a@203.0.113.1:5060>\r\n\
             T: <sip:bob@198.51.100.2>\r\ni: 1@10.0.0.2\r\nCSEQ: 1 INVITE\r\n\
             m: \"A, B\" <sip:a@203.0.113.1:5060>,\r\n <sip:b@203.0.113.1:5060>\r\nM:<sip:c@10.0.0.2:5061>\r\n\
             c: application/sdp\r\nl: 114\r\n\r\n{}",
            sdp("203.0.113.1", 16_384)
        );
        assert_eq!(said, becomes);
    }
}

#[test]
fn sip_p5_parameters_of_the_topmost_via_are_translated() {
    for preset in PRESETS {
        let mut it = masquerading(preset);
        let via = |at: &str, more: &str| request("OPTIONS", at, 1, "").replace(";branch=z9hG4bK1", more);
        let said = it.says(
            INSIDE,
            phone(),
            &via("10.0.0.2:5060", ";rport;maddr=10.0.0.2, SIP/2.0/UDP 10.0.0.2:5060"),
        );
        assert!(
            said.contains(
                "Via: SIP/2.0/UDP 203.0.113.1:5060;rport;maddr=203.0.113.1, SIP/2.0/UDP 10.0.0.2:5060\r\n"
            ),
            "{said}"
        );
        let answer = response(200, "OPTIONS", "203.0.113.1:5060", 1, "")
            .replace(";branch=z9hG4bK1", ";received=203.0.113.1;rport=5060");
        let heard = it.says(OUTSIDE, to_public(), &answer);
        assert!(heard.contains("Via: SIP/2.0/UDP 10.0.0.2:5060;received=10.0.0.2;rport=5060\r\n"), "{heard}");
    }
}

#[test]
fn sip_p6_routes_are_rewritten_but_in_linux() {
    for preset in PRESETS {
        let mut it = masquerading(preset);
        let text = request("OPTIONS", "10.0.0.2:5060", 1, "")
            .replace("To:", "Record-Route: <sip:10.0.0.2;lr>, <sip:10.9.9.9;lr>\r\nTo:");
        let said = it.says(INSIDE, phone(), &text);
        let is_rewritten = said.contains("Record-Route: <sip:203.0.113.1:5060;lr>, <sip:10.9.9.9;lr>\r\n");
        assert_eq!(is_rewritten, preset == Preset::Classic, "{said}");
    }
}

#[test]
fn sip_p7_a_phone_that_waits_at_another_port_gets_its_answers_there() {
    for preset in PRESETS {
        let mut it = masquerading(preset);
        let cisco = Pair::at("10.0.0.2:49173", PROXY);
        it.says(INSIDE, cisco, &request("OPTIONS", "10.0.0.2:5060", 1, ""));
        let answer = response(200, "OPTIONS", "10.0.0.2:5060", 1, "");
        let back = Pair::at(PROXY, "203.0.113.1:49173");
        let passed = it.passes(OUTSIDE, &back.datagram(answer.as_bytes()));
        assert_eq!(passed.pair, Some(Pair::at(PROXY, "10.0.0.2:5060")));
        it.check();
    }
}

/// Two phones inside that both have media come to the same ports.
fn two_phones(preset: Preset, body: impl Fn(&str) -> String) -> (Middlebox, [String; 2]) {
    let mut it = masquerading(preset);
    let texts = ["10.0.0.2", "10.0.0.3"].map(|phone| {
        let from = Pair::at(&format!("{phone}:5060"), PROXY);
        it.says(INSIDE, from, &request("INVITE", &format!("{phone}:5060"), 1, &body(phone)))
    });
    (it, texts)
}

/// The number behind a word.
fn number_behind(text: &str, word: &str) -> u16 {
    let digits = text.split(word).nth(1).expect("it has the word").chars().take_while(char::is_ascii_digit);
    digits.collect::<String>().parse().unwrap()
}

#[test]
fn sip_p14_ports_that_are_taken_outside_become_another_pair() {
    for preset in PRESETS {
        let (mut it, [first, second]) = two_phones(preset, |phone| sdp(phone, 16_384));
        let [first, second] = [first, second].map(|text| number_behind(&text, "m=audio "));
        assert_eq!((first, second % 2), (16_384, 0));
        assert!(![first - 1, first, first + 1].contains(&second));
        for (outside, phone) in [(first, "10.0.0.2"), (second, "10.0.0.3")] {
            for next in [0, 1] {
                let comes = Pair::at("198.51.100.2:26384", &format!("203.0.113.1:{}", outside + next));
                let at_phone = Pair::at("198.51.100.2:26384", &format!("{phone}:{}", 16_384 + next));
                assert_eq!(it.carries(OUTSIDE, comes, b"rtp"), (Some(State::Related), Some(at_phone)));
            }
        }
        it.check();
    }
}

#[test]
fn sip_p13_p14_rtcp_of_its_own_gets_its_own_port() {
    let body = |phone: &str| sdp(phone, 16_384) + &format!("a=rtcp:17000 IN IP4 {phone}\r\n");
    let (mut it, [first, second]) = two_phones(Preset::Classic, body);
    assert!(first.ends_with("a=rtcp:17000 IN IP4 203.0.113.1\r\n"), "{first}");
    let [rtp, rtcp] = ["m=audio ", "a=rtcp:"].map(|word| number_behind(&second, word));
    assert!(rtp != 16_384 && rtcp != 17_000 && rtp != rtcp, "{second}");
    for (outside, inside) in [(rtp, 16_384), (rtcp, 17_000)] {
        let comes = Pair::at("198.51.100.2:26384", &format!("203.0.113.1:{outside}"));
        let at_phone = Pair::at("198.51.100.2:26384", &format!("10.0.0.3:{inside}"));
        assert_eq!(it.carries(OUTSIDE, comes, b"rtp"), (Some(State::Related), Some(at_phone)));
    }
    let (it, [_, second]) = two_phones(Preset::Classic, |phone| sdp(phone, 16_384) + "a=rtcp-mux\r\n");
    assert_eq!(all(&it).len(), 2, "one port each");
    assert_ne!(number_behind(&second, "m=audio "), 16_384);
}

#[test]
fn sip_p18_media_that_is_described_again_stays_where_it_is() {
    for preset in PRESETS {
        let (mut it, [_, second]) = two_phones(preset, |phone| sdp(phone, 16_384));
        let outside = number_behind(&second, "m=audio ");
        let comes = Pair::at("198.51.100.2:26384", &format!("203.0.113.1:{outside}"));
        it.carries(OUTSIDE, comes, b"rtp");
        let again = request("INVITE", "10.0.0.3:5060", 2, &sdp("10.0.0.3", 16_384));
        let said = it.says(INSIDE, Pair::at("10.0.0.3:5060", PROXY), &again);
        assert_eq!(number_behind(&said, "m=audio "), outside);
        let count = it.entries().len();
        assert!(it.carries(OUTSIDE, comes, b"rtp").1.is_some());
        assert_eq!(it.entries().len(), count, "it is no other connection");
        it.check();
    }
}

#[test]
fn sip_p17_ice_finds_its_own_way() {
    let body = sdp("10.0.0.2", 16_384) + "a=candidate:1 1 UDP 2130706431 10.0.0.2 16384 typ host\r\n";
    let mut it = masquerading(Preset::Classic);
    let said = it.says(INSIDE, phone(), &request("INVITE", "10.0.0.2:5060", 1, &body));
    assert!(said.ends_with(&body) && said.contains("Contact: <sip:alice@203.0.113.1:5060>"), "{said}");
    assert!(all(&it).is_empty());
}

#[test]
fn sip_g13_cve_2026_53002_what_would_not_fit_stays_as_it_is() {
    let text = invite(16_384);
    let mtu = (28 + text.len() + 10) as u16;
    let mut it = router(Preset::Classic, outwards(pool("203.0.113.1")), mtu);
    it = with_helpers(it, [sip_on(&[5060])]);
    assert_eq!(it.says(INSIDE, phone(), &text), text);
    assert!(all(&it).is_empty());
    assert_eq!(it.helper_events(HelperEvent::TooLong), 1);
}

#[test]
fn sip_g20_a_phone_that_is_published_is_called_from_outside() {
    for preset in PRESETS {
        let mut it = router_with_helper(preset, inwards("203.0.113.10", "10.0.0.5"));
        let caller = Pair::at("198.51.100.9:5060", "203.0.113.10:5060");
        let text = message(
            "INVITE sip:bob@203.0.113.10 SIP/2.0",
            &[
                "Via: SIP/2.0/UDP 198.51.100.9:5060",
                "To: <sip:bob@203.0.113.10>",
                "CSeq: 1 INVITE",
                "Contact: <sip:al@198.51.100.9>",
            ],
            &sdp("198.51.100.9", 26_384),
        );
        let heard = it.says(OUTSIDE, caller, &text);
        assert!(heard.starts_with("INVITE sip:bob@10.0.0.5:5060 SIP/2.0\r\n"), "{heard}");
        assert!(heard.contains("To: <sip:bob@10.0.0.5:5060>\r\n"), "{heard}");
        assert_eq!(all(&it), [26_384, 26_385].map(|port| format!("10.0.0.5 > 198.51.100.9 {port}")));
        let answer = message(
            "SIP/2.0 200 OK",
            &["Via: SIP/2.0/UDP 198.51.100.9:5060", "CSeq: 1 INVITE", "Contact: <sip:bob@10.0.0.5>"],
            &sdp("10.0.0.5", 16_384),
        );
        let said = it.says(INSIDE, Pair::at("10.0.0.5:5060", "198.51.100.9:5060"), &answer);
        assert!(said.contains("Contact: <sip:bob@203.0.113.10:5060>\r\n"), "{said}");
        assert!(said.contains("c=IN IP4 203.0.113.10\r\n"), "{said}");
        let rtp = Pair::at("198.51.100.9:26384", "203.0.113.10:16384");
        let at_phone = Pair::at("198.51.100.9:26384", "10.0.0.5:16384");
        assert_eq!(it.carries(OUTSIDE, rtp, b"rtp"), (Some(State::Related), Some(at_phone)));
        it.check();
    }
}

#[test]
fn sip_p23_ipv6_is_rewritten_in_brackets() {
    for preset in PRESETS {
        let mut it = router_with_helper(preset, outwards(pool("2001:db8:2::7")));
        let text = message(
            "INVITE sip:bob@[2001:db8:9::2] SIP/2.0",
            &["Via: SIP/2.0/UDP [fd00::2]:5060", "CSeq: 1 INVITE", "Contact: <sip:a@[fd00::2]>"],
            &sdp("fd00::2", 16_384).replace("IP4", "IP6"),
        );
        let said = it.says(INSIDE, Pair::at("[fd00::2]:5060", "[2001:db8:9::2]:5060"), &text);
        assert!(said.contains("Via: SIP/2.0/UDP [2001:db8:2::7]:5060\r\n"), "{said}");
        assert!(said.contains("Contact: <sip:a@[2001:db8:2::7]:5060>\r\n"), "{said}");
        assert!(said.contains("c=IN IP6 2001:db8:2::7\r\n"), "{said}");
        assert_eq!(all(&it), [16_384, 16_385].map(|port| format!("2001:db8:9::2 > 2001:db8:2::7 {port}")));
    }
}

#[test]
fn sip_g16_a_full_table_of_expectations_drops_the_message() {
    for preset in PRESETS {
        let mut it =
            Middlebox::with(Settings { max_expectations: 1, ..Settings::of(preset, ROOM) }, firewall());
        it = with_helpers(it, [sip_on(&[5060])]);
        let passed = it.passes(INSIDE, &phone().datagram(invite(16_384).as_bytes()));
        assert_eq!(passed.drop, Some(sluice_conntrack::DropReason::ExpectationFull));
        assert!(all(&it).is_empty(), "nor is the other half of it expected");
        it.check();
    }
}
