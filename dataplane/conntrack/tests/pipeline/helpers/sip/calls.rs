//! Calls: the media that they expect, and when no longer.

use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::{DropReason, State};

#[test]
fn sip_p1_nothing_is_read_unless_it_is_asked_for() {
    for preset in PRESETS {
        let mut it = Middlebox::with(Settings::of(preset, ROOM), firewall());
        it.says(INSIDE, phone(), &invite(16_384));
        assert!(all(&it).is_empty());
    }
}

#[test]
fn sip_p18_a_call_expects_the_media_of_both_sides() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        assert_eq!(it.says(INSIDE, phone(), &invite(16_384)), invite(16_384));
        assert_eq!(all(&it), [to_phone(16_384), to_phone(16_385)]);
        it.says(OUTSIDE, phone().inverse(), &accepted(26_384));
        assert_eq!(all(&it), [to_proxy(26_384), to_proxy(26_385), to_phone(16_384), to_phone(16_385)]);
        let rtp = Pair::at("198.51.100.2:26384", "10.0.0.2:16384");
        assert_eq!(it.carries(OUTSIDE, rtp, b"\x80\0rtp"), (Some(State::Related), Some(rtp)));
        let back = rtp.inverse();
        assert_eq!(it.carries(INSIDE, back, b"\x80\0rtp"), (Some(State::Established), Some(back)));
        let rtcp = Pair::at("198.51.100.2:26385", "10.0.0.2:16385");
        assert_eq!(it.carries(OUTSIDE, rtcp, b"\x80\xc8rtcp").0, Some(State::Related));
        assert_eq!(all(&it), [to_proxy(26_384), to_proxy(26_385)]);
        it.check();
    }
}

#[test]
fn sip_p18_media_is_expected_until_the_call_ends_or_is_refused() {
    let begin = |preset| {
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &invite(16_384));
        it
    };
    for preset in PRESETS {
        let mut it = begin(preset);
        it.says(OUTSIDE, phone().inverse(), &response(180, "INVITE", "10.0.0.2:5060", 1, ""));
        assert_eq!(all(&it).len(), 2);
        it.says(INSIDE, phone(), &request("BYE", "10.0.0.2:5060", 2, ""));
        assert!(all(&it).is_empty());
        for code in [302, 404, 486, 487, 503, 603] {
            let mut it = begin(preset);
            it.says(INSIDE, phone(), &request("CANCEL", "10.0.0.2:5060", 1, ""));
            it.says(OUTSIDE, phone().inverse(), &response(200, "CANCEL", "10.0.0.2:5060", 1, ""));
            assert_eq!(all(&it).len(), 2, "the call is not over before its own final response");
            it.says(OUTSIDE, phone().inverse(), &response(code, "INVITE", "10.0.0.2:5060", 2, ""));
            assert_eq!(all(&it).len(), 2, "nor by that to another");
            it.says(OUTSIDE, phone().inverse(), &response(code, "INVITE", "10.0.0.2:5060", 1, ""));
            assert!(all(&it).is_empty(), "{code}");
            it.check();
        }
    }
}

#[test]
fn sip_p18_a_new_offer_replaces_the_old_and_each_message_may_have_one() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &invite(16_384));
        it.says(INSIDE, phone(), &invite(16_400));
        assert_eq!(all(&it), [to_phone(16_400), to_phone(16_401)]);
        for (method, port) in [("UPDATE", 16_500), ("ACK", 16_600), ("PRACK", 16_700)] {
            let mut it = wire_with_helper(preset);
            it.says(INSIDE, phone(), &request(method, "10.0.0.2:5060", 1, &sdp("10.0.0.2", port)));
            assert_eq!(all(&it), [to_phone(port), to_phone(port + 1)], "{method}");
        }
        for (method, code) in [("INVITE", 183), ("UPDATE", 200), ("PRACK", 200)] {
            let mut it = wire_with_helper(preset);
            it.says(INSIDE, phone(), &request(method, "10.0.0.2:5060", 1, ""));
            let answer = response(code, method, "10.0.0.2:5060", 1, &sdp("198.51.100.2", 26_384));
            it.says(OUTSIDE, phone().inverse(), &answer);
            assert_eq!(all(&it), [to_proxy(26_384), to_proxy(26_385)], "{method}");
        }
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &request("OPTIONS", "10.0.0.2:5060", 1, &sdp("10.0.0.2", 16_384)));
        assert!(all(&it).is_empty());
    }
}

#[test]
fn sip_p18_each_answer_of_a_forked_call_has_its_media_and_the_oldest_gives_way() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &invite(16_384));
        for port in [26_000, 27_000] {
            let answer = response(183, "INVITE", "10.0.0.2:5060", 1, &sdp("198.51.100.2", port));
            it.says(OUTSIDE, phone().inverse(), &answer);
        }
        assert_eq!(all(&it), [26_000, 26_001, 27_000, 27_001].map(to_proxy), "four of a kind at a time");
        it.check();
    }
}

#[test]
fn sip_p10_audio_video_and_image_are_classes_and_others_are_passed_over() {
    for preset in PRESETS {
        let body = format!(
            "{}m=application 9000 x y\r\nm=video 18000 RTP/AVP 31\r\nm=image 19000 udptl t38\r\nm=audio 20000 RTP/AVP 0\r\n",
            sdp("10.0.0.2", 16_384)
        );
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &request("INVITE", "10.0.0.2:5060", 1, &body));
        assert_eq!(all(&it), [16_384, 16_385, 18_000, 18_001, 19_000, 19_001].map(to_phone));
        let mut classes = vec![];
        it.shard.list_expectations(0, u32::MAX, |_, snapshot| classes.push(snapshot.expectation.class));
        classes.sort_unstable();
        assert_eq!(classes, [1, 1, 2, 2, 3, 3]);
    }
}

#[test]
fn sip_p10_a_medium_may_have_an_address_of_its_own() {
    for preset in PRESETS {
        let body = sdp("192.0.2.1", 16_384) + "c=IN IP4 10.0.0.2\r\n";
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &request("INVITE", "10.0.0.2:5060", 1, &body));
        assert_eq!(all(&it), [16_384, 16_385].map(to_phone));
    }
}

#[test]
fn sip_p11_cve_2026_31427_hold_expects_nothing_and_nothing_becomes_0_0_0_0() {
    for preset in PRESETS {
        for body in [
            sdp("10.0.0.2", 16_384).replace("c=IN IP4 10.0.0.2", "c=IN IP4 0.0.0.0"),
            sdp("10.0.0.2", 16_384).replace("16384", "0"),
            sdp("10.0.0.2", 16_384).split("m=").next().unwrap().to_owned(),
        ] {
            let mut it = masquerading(preset);
            it.says(INSIDE, phone(), &invite(16_384));
            assert_eq!(all(&it).len(), 2);
            let said = it.says(INSIDE, phone(), &request("INVITE", "10.0.0.2:5060", 2, &body));
            assert!(all(&it).is_empty(), "{body}");
            assert!(said.contains("o=- 1 1 IN IP4 203.0.113.1\r\n"), "{said}");
            assert_eq!(said.matches("0.0.0.0").count(), body.matches("0.0.0.0").count());
            it.check();
        }
    }
    let body = sdp("10.0.0.2", 16_384) + "a=inactive\r\n";
    let mut it = wire_with_helper(Preset::Classic);
    it.says(INSIDE, phone(), &request("INVITE", "10.0.0.2:5060", 1, &body));
    assert!(all(&it).is_empty());
}

#[test]
fn sip_p12_ports_of_services_are_refused_and_linux_drops_the_message() {
    let body = sdp("10.0.0.2", 22);
    let mut it = wire_with_helper(Preset::Classic);
    it.says(INSIDE, phone(), &request("INVITE", "10.0.0.2:5060", 1, &body));
    assert!(all(&it).is_empty());
    assert_eq!(it.helper_events(HelperEvent::PrivilegedPort), 1);
    let mut it = wire_with_helper(Preset::Linux);
    for port in ["22", "70000"] {
        let body = sdp("10.0.0.2", 16_384).replace("16384", port);
        let text = request("INVITE", "10.0.0.2:5060", 1, &body);
        let passed = it.passes(INSIDE, &phone().datagram(text.as_bytes()));
        assert_eq!(passed.drop, Some(DropReason::HelperMalformed));
    }
}

#[test]
fn sip_p13_rtcp_comes_where_it_says_or_to_the_port_of_rtp() {
    let audio = |attributes: &str| sdp("10.0.0.2", 16_384) + attributes;
    for (body, ports, in_linux) in [
        (audio("a=rtcp:17000\r\n"), &[16_384, 17_000][..], &[16_384, 16_385][..]),
        (audio("a=rtcp:17000 IN IP4 10.0.0.2\r\n"), &[16_384, 17_000], &[16_384, 16_385]),
        (audio("a=rtcp:17000 IN IP4 192.0.2.1\r\n"), &[16_384], &[16_384, 16_385]),
        (audio("a=rtcp-mux\r\n"), &[16_384], &[16_384, 16_385]),
        (sdp("10.0.0.2", 16_387), &[16_387, 16_388], &[16_386, 16_387]),
    ] {
        for (preset, ports) in [(Preset::Classic, ports), (Preset::Linux, in_linux)] {
            let mut it = wire_with_helper(preset);
            it.says(INSIDE, phone(), &request("INVITE", "10.0.0.2:5060", 1, &body));
            let ports: Vec<String> = ports.iter().map(|port| to_phone(*port)).collect();
            assert_eq!(all(&it), ports, "{body}");
        }
    }
}

#[test]
fn sip_p15_media_that_another_connection_expects_already_is_not_expected_twice() {
    for preset in PRESETS {
        let mut it = with_helpers(wire_with_helper(preset), [sip_on(&[5060, 5062])]);
        it.says(INSIDE, phone(), &invite(16_384));
        it.says(INSIDE, Pair::at("10.0.0.2:5060", "198.51.100.2:5062"), &invite(16_384));
        assert_eq!(all(&it), [16_384, 16_385].map(to_phone));
        assert_eq!(it.entries().len(), 2);
        it.check();
    }
}

#[test]
fn sip_p16_media_of_a_third_host_is_expected_where_the_helper_is_loose() {
    for preset in PRESETS {
        let text = request("INVITE", "10.0.0.2:5060", 1, &sdp("10.0.0.9", 16_384));
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &text);
        assert!(all(&it).is_empty());
        assert_eq!(it.helper_events(HelperEvent::ForeignAddress), 1);
        let mut it = with_helpers(it, [Assignment { loose: true, ..sip_on(&[5060]) }]);
        it.says(INSIDE, Pair::at("10.0.0.2:5062", PROXY), &text);
        assert_eq!(all(&it), [16_384, 16_385].map(|port| format!("198.51.100.2 > 10.0.0.9 {port}")));
    }
}

/// Of media nothing is known but what messages say. A rule of the policy that has a name counts what comes otherwise.
#[test]
fn sip_p19_media_from_or_to_a_port_that_no_message_says_is_new() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &invite(16_384));
        it.says(OUTSIDE, phone().inverse(), &accepted(26_384));
        let rtp = Pair::at("198.51.100.2:26384", "10.0.0.2:16384");
        assert_eq!(it.carries(OUTSIDE, rtp, b"\x80\0rtp"), (Some(State::Related), Some(rtp)));
        for (from, to) in [("198.51.100.2:26400", "10.0.0.2:16384"), ("198.51.100.2:26384", "10.0.0.2:16400")]
        {
            let moved = it.passes(OUTSIDE, &Pair::at(from, to).datagram(b"\x80\0rtp"));
            assert_eq!((moved.state, moved.drop), (Some(State::New), Some(DropReason::Policy)));
        }
        let moved = Pair::at("198.51.100.2:26400", "10.0.0.2:16400");
        it.says(OUTSIDE, phone().inverse(), &accepted(26_400));
        it.says(INSIDE, phone(), &invite(16_400));
        assert_eq!(it.carries(OUTSIDE, moved, b"\x80\0rtp").0, Some(State::Related), "said, it is RELATED");
        it.check();
    }
}

#[test]
fn sip_p20_a_call_lives_for_an_hour_without_a_message() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &invite(16_384));
        it.pass(secs(181));
        assert!(all(&it).is_empty(), "media is waited for for three minutes");
        it.pass(secs(3418));
        assert_eq!(it.entries().len(), 1);
        it.says(OUTSIDE, phone().inverse(), &accepted(26_384));
        it.pass(secs(3599));
        assert_eq!(it.entries().len(), 1);
        it.pass(secs(2));
        assert!(it.entries().is_empty());
        it.check();
    }
}

#[test]
fn sip_p21_media_is_described_where_the_type_says_so() {
    let sdp = sdp("10.0.0.2", 16_384);
    let of_type =
        |kind: &str, body: &str| request("INVITE", "10.0.0.2:5060", 1, body).replace("application/sdp", kind);
    let parts = format!(
        "--x\r\nContent-Type: text/plain\r\n\r\nm=audio 1 x\r\n--x\r\ncontent-type: Application/SDP\r\n\r\n{sdp}--x--\r\n"
    );
    for (text, count) in [
        (of_type("application/sdp", &sdp), 2),
        (of_type("Application/SDP;x=y", &sdp), 2),
        (of_type("text/plain", &sdp), 0),
        (of_type("multipart/mixed;boundary=x", &parts), 2),
        (of_type("multipart/mixed;boundary=x", &sdp), 0),
    ] {
        let mut it = wire_with_helper(Preset::Classic);
        it.says(INSIDE, phone(), &text);
        assert_eq!(all(&it).len(), count, "{text}");
    }
    let mut it = wire_with_helper(Preset::Linux);
    it.says(INSIDE, phone(), &of_type("text/plain", &sdp));
    assert_eq!(all(&it).len(), 2, "there a description is what begins like one");
}

#[test]
fn sip_p23_ipv6_in_brackets_and_names_are_understood() {
    for preset in PRESETS {
        let pair = Pair::at("[fd00::2]:5060", "[2001:db8:9::2]:5060");
        let body = sdp("fd00::2", 16_384).replace("IP4", "IP6");
        let text = message(
            "INVITE sip:bob@example.org SIP/2.0",
            &[
                "Via: SIP/2.0/UDP [fd00::2]:5060;branch=1",
                "CSeq: 1 INVITE",
                "Contact: <sip:a@phone.example.org>",
            ],
            &body,
        );
        let mut it = wire_with_helper(preset);
        assert_eq!(it.says(INSIDE, pair, &text), text);
        assert_eq!(all(&it), [16_384, 16_385].map(|port| format!("2001:db8:9::2 > fd00::2 {port}")));
    }
}

#[test]
fn sip_p24_g22_what_is_malformed_turns_the_helper_off_and_linux_drops_it() {
    for text in [
        invite(16_384).replace("CSeq: 1 INVITE\r\n", "Subject: none\r\n"),
        invite(16_384).replace("CSeq: 1 INVITE", "CSeq: INVITE"),
        invite(16_384).replace("c=IN IP4 10.0.0.2\r\n", ""),
        invite(16_384).replace("m=audio 16384", "m=audio x"),
    ] {
        let mut it = wire_with_helper(Preset::Classic);
        assert_eq!(it.says(INSIDE, phone(), &text), text);
        it.says(INSIDE, phone(), &invite(16_384));
        assert!(all(&it).is_empty(), "{text}");
        assert_eq!(it.helper_events(HelperEvent::Malformed), 1);
        let mut it = wire_with_helper(Preset::Linux);
        let passed = it.passes(INSIDE, &phone().datagram(text.as_bytes()));
        assert_eq!(passed.drop, Some(DropReason::HelperMalformed), "{text}");
        it.says(INSIDE, phone(), &invite(16_384));
        assert_eq!(all(&it).len(), 2);
    }
}

#[test]
fn sip_g4_what_is_not_sip_turns_the_helper_off_but_keepalives_do_not() {
    for text in ["hello", "POST / HTTP/1.1\r\nHost: x\r\n\r\n", "\0\x01\0\0transactions"] {
        let mut it = wire_with_helper(Preset::Classic);
        it.says(INSIDE, phone(), text);
        it.says(INSIDE, phone(), &invite(16_384));
        assert!(all(&it).is_empty());
        assert_eq!(it.helper_events(HelperEvent::OtherProtocol), 1);
    }
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        for text in ["", "\r\n", "\r\n\r\n", "\0\0\0\0"] {
            it.says(INSIDE, phone(), text);
        }
        it.says(INSIDE, phone(), &invite(16_384));
        assert_eq!(all(&it).len(), 2);
    }
}

#[test]
fn sip_p2_a_body_may_be_shorter_than_its_length_says_only_in_linux() {
    let text = invite(16_384).replace("Content-Length: ", "Content-Length: 9");
    let mut it = wire_with_helper(Preset::Classic);
    it.says(INSIDE, phone(), &text);
    assert!(all(&it).is_empty());
    assert_eq!(it.helper_events(HelperEvent::Malformed), 1);
    let mut it = wire_with_helper(Preset::Linux);
    it.says(INSIDE, phone(), &text);
    assert_eq!(all(&it).len(), 2);
}
