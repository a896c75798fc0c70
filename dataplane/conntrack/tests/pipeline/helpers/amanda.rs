//! Amanda: a backup server asks a client for data, and comes for it to the ports that the client names.

use super::session::expected;
use super::translated::{inwards, outwards, pool, router};
use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, State};

const REQUEST: &str = "Amanda 2.4 REQ HANDLE 000-1 SEQ 1\nSERVICE sendbackup\n";

fn reply(line: &str) -> String {
    format!("Amanda 2.4 REP HANDLE 000-1 SEQ 1\n{line}\nOPTIONS ;\n")
}

fn amanda() -> [Assignment; 1] {
    [Assignment { helper: HelperId::Amanda, ..ftp_on(&[10_080]) }]
}

/// A wire that lets in what is RELATED.
fn wire_with_helper(preset: Preset) -> Middlebox {
    with_helpers(Middlebox::with(Settings::of(preset, ROOM), firewall()), amanda())
}

fn router_with_helper(preset: Preset, nat: Nat, mtu: u16) -> Middlebox {
    with_helpers(router(preset, nat, mtu), amanda())
}

/// The backup server is inside, whom it asks outside.
fn asks() -> Pair {
    Pair::at("10.0.0.2:900", "198.51.100.2:10080")
}

/// A box that a request has passed.
fn asked(mut it: Middlebox) -> Middlebox {
    it.says(INSIDE, asks(), REQUEST);
    it
}

fn to_port(port: u16) -> String {
    format!("10.0.0.2 > 198.51.100.2 {port}")
}

impl Middlebox {
    /// The state of a connection's first segment, and where it goes.
    fn connects(&mut self, port: PortId, from: &str, to: &str) -> (Option<State>, String) {
        let (verdict, to) = self.reaches(port, &Pair::at(from, to).tcp("S", 1, 0));
        (verdict.state, to)
    }
}

#[test]
fn amanda_a1_each_stream_that_a_reply_names_is_expected_by_itself() {
    for preset in PRESETS {
        for (line, ports) in [
            ("CONNECT DATA 50001 MESG 50002 INDEX 50003", &[50_003, 50_002, 50_001][..]),
            ("CONNECT DATA 50001 MESG 50002 INDEX 50003 STATE 50004", &[50_004, 50_003, 50_002, 50_001]),
            ("CONNECT DATA 50001", &[50_001]),
        ] {
            let mut it = asked(wire_with_helper(preset));
            assert!(expected(&it).is_empty());
            assert_eq!(it.says(OUTSIDE, asks().inverse(), &reply(line)), reply(line));
            let mut found = expected(&it);
            found.reverse();
            assert_eq!(found, ports.iter().map(|port| to_port(*port)).collect::<Vec<_>>());
            for port in ports {
                let to = format!("198.51.100.2:{port}");
                assert_eq!(it.connects(INSIDE, "10.0.0.2:901", &to), (Some(State::Related), to.clone()));
            }
            let other = "198.51.100.2:50009";
            assert_eq!(it.connects(INSIDE, "10.0.0.2:901", other).0, Some(State::New));
            it.check();
        }
    }
}

#[test]
fn amanda_a1_a_reply_may_name_its_streams_in_any_order() {
    for preset in PRESETS {
        let mut it = asked(wire_with_helper(preset));
        it.says(OUTSIDE, asks().inverse(), &reply("CONNECT INDEX 50003 STATE 50004 DATA 50001"));
        let mut found = expected(&it);
        found.sort();
        assert_eq!(found, [to_port(50_001), to_port(50_003), to_port(50_004)]);
    }
}

#[test]
fn amanda_a1_who_asks_names_no_ports() {
    for preset in PRESETS {
        let mut it = asked(wire_with_helper(preset));
        it.says(INSIDE, asks(), &reply("CONNECT DATA 50001"));
        assert!(expected(&it).is_empty());
    }
}

#[test]
fn amanda_a2_port_0_ends_the_line() {
    for preset in PRESETS {
        let mut it = asked(wire_with_helper(preset));
        it.says(OUTSIDE, asks().inverse(), &reply("CONNECT DATA 50001 MESG 0 INDEX 50003"));
        assert_eq!(expected(&it), [to_port(50_001)]);
    }
}

#[test]
fn amanda_a2_g22_numbers_of_more_digits_or_at_the_end_turn_the_helper_off() {
    for line in ["CONNECT DATA 500010\n", "CONNECT DATA 70000\n", "CONNECT DATA 5", "CONNECT DATA "] {
        let mut it = asked(wire_with_helper(Preset::Classic));
        let text = format!("Amanda 2.4 REP HANDLE 000-1 SEQ 1\n{line}");
        assert_eq!(it.says(OUTSIDE, asks().inverse(), &text), text);
        it.says(OUTSIDE, asks().inverse(), &reply("CONNECT DATA 50001"));
        assert!(expected(&it).is_empty(), "{line}");
        assert_eq!(it.helper_events(HelperEvent::Malformed), 1);
    }
    let mut it = asked(wire_with_helper(Preset::Linux));
    it.says(OUTSIDE, asks().inverse(), "CONNECT DATA 700001\n");
    assert_eq!(expected(&it), [to_port(4464)], "there numbers wrap around");
}

#[test]
fn amanda_a4_four_streams_are_waited_for_at_a_time_for_three_minutes() {
    for preset in PRESETS {
        let mut it = asked(wire_with_helper(preset));
        it.says(OUTSIDE, asks().inverse(), &reply("CONNECT DATA 50001 MESG 50002"));
        it.says(OUTSIDE, asks().inverse(), &reply("CONNECT DATA 50011 MESG 50012 INDEX 50013"));
        let mut found = expected(&it);
        found.sort();
        assert_eq!(found, [50_002, 50_011, 50_012, 50_013].map(to_port));
        it.pass(secs(179));
        assert_eq!(expected(&it).len(), 4);
        it.pass(secs(2));
        assert!(expected(&it).is_empty());
        it.check();
    }
}

#[test]
fn amanda_a4_each_reply_has_the_connection_wait_for_five_minutes() {
    for preset in PRESETS {
        let mut it = asked(wire_with_helper(preset));
        it.says(OUTSIDE, asks().inverse(), "Amanda 2.4 ACK HANDLE 000-1 SEQ 1\n");
        it.pass(secs(299));
        assert_eq!(it.entries().len(), 1);
        it.says(OUTSIDE, asks().inverse(), "Amanda 2.4 ACK HANDLE 000-1 SEQ 1\n");
        it.pass(secs(299));
        assert_eq!(it.entries().len(), 1);
        it.pass(secs(2));
        assert!(it.entries().is_empty());
    }
}

/// What goes over one TCP connection (`bsdtcp`) needs no helper, and gets none.
#[test]
fn amanda_a5_a_connection_over_tcp_is_not_read() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.inside(&asks().tcp("S", 1, 0));
        assert_eq!(it.entry().helper, None);
    }
}

#[test]
fn amanda_g4_what_is_not_amanda_turns_the_helper_off() {
    let mut it = wire_with_helper(Preset::Classic);
    it.says(INSIDE, asks(), "GET / HTTP/1.1\r\n\r\n");
    it.says(OUTSIDE, asks().inverse(), &reply("CONNECT DATA 50001"));
    assert!(expected(&it).is_empty());
    assert_eq!(it.helper_events(HelperEvent::OtherProtocol), 1);
    it.pass(secs(200));
    assert!(it.entries().is_empty(), "nor does it live longer than others");
}

#[test]
fn amanda_g8_the_port_of_a_service_is_opened_in_linux_only() {
    for (preset, ports) in [(Preset::Classic, &[50_002][..]), (Preset::Linux, &[22, 50_002])] {
        let mut it = asked(wire_with_helper(preset));
        it.says(OUTSIDE, asks().inverse(), &reply("CONNECT DATA 22 MESG 50002"));
        let mut found = expected(&it);
        found.sort();
        let mut ports: Vec<String> = ports.iter().map(|port| to_port(*port)).collect();
        ports.sort();
        assert_eq!(found, ports);
    }
}

#[test]
fn amanda_g20_streams_are_translated_as_the_request_was() {
    for preset in PRESETS {
        let text = reply("CONNECT DATA 50001 MESG 50002 INDEX 50003");
        let mut it = router_with_helper(preset, outwards(pool("203.0.113.1")), 1500);
        it.says(INSIDE, asks(), REQUEST);
        let answers = Pair::at("198.51.100.2:10080", "203.0.113.1:900");
        assert_eq!(it.says(OUTSIDE, answers, &text), text);
        for port in [50_001, 50_002, 50_003] {
            let mut frames =
                [(INSIDE, Pair::at("10.0.0.2:901", &format!("198.51.100.2:{port}")).tcp("S", 1, 0).frame())];
            assert_eq!(it.burst(&mut frames)[0].state, Some(State::Related));
            assert_eq!(frames[0].1[26..30], [203, 0, 113, 1]);
        }
        it.check();
        let mut it = router_with_helper(preset, inwards("203.0.113.10", "10.0.0.5"), 1500);
        it.says(OUTSIDE, Pair::at("198.51.100.9:900", "203.0.113.10:10080"), REQUEST);
        assert_eq!(it.says(INSIDE, Pair::at("10.0.0.5:10080", "198.51.100.9:900"), &text), text);
        let reached = it.connects(OUTSIDE, "198.51.100.9:901", "203.0.113.10:50002");
        assert_eq!(reached, (Some(State::Related), "10.0.0.5:50002".into()));
        it.check();
    }
}

/// Two clients inside that are known outside by one address, and name the same ports.
fn two_clients(preset: Preset, mtu: u16, line: &str) -> (Middlebox, [String; 2]) {
    let mut nat = inwards("203.0.113.10", "10.0.0.5");
    let other = sluice_conntrack::nat::NatRule::new(
        Match { destination_ports: vec![10_081..=10_081], ..nat.destination[0].matches.clone() },
        pool("10.0.0.6"),
    );
    nat.destination.insert(0, other);
    let mut it = router(preset, nat, mtu);
    let on = Match { destination_ports: vec![10_080..=10_081], ..Match::default() };
    it = with_helpers(it, [Assignment { helper: HelperId::Amanda, on, loose: false }]);
    let texts = [(10_080, "10.0.0.5"), (10_081, "10.0.0.6")].map(|(port, inside)| {
        it.says(OUTSIDE, Pair::at("198.51.100.9:900", &format!("203.0.113.10:{port}")), REQUEST);
        it.says(INSIDE, Pair::at(&format!("{inside}:{port}"), "198.51.100.9:900"), &reply(line))
    });
    (it, texts)
}

/// The ports of a line.
fn ports(text: &str) -> Vec<u16> {
    let line = text.lines().find(|line| line.starts_with("CONNECT")).expect("it has the line");
    line.split(' ').filter_map(|word| word.parse().ok()).collect()
}

#[test]
fn amanda_g13_ports_that_are_taken_outside_become_others_and_the_datagram_grows() {
    for preset in PRESETS {
        let line = "CONNECT DATA 1025 MESG 9998 INDEX 9999";
        let (mut it, [first, second]) = two_clients(preset, 1500, line);
        assert_eq!(first, reply(line));
        let outside = ports(&second);
        assert_eq!(outside.len(), 3);
        assert!(outside.iter().all(|port| ![1025, 9998, 9999].contains(port)), "{second}");
        assert!(second.ends_with("\nOPTIONS ;\n"), "what is behind the ports stays");
        for (inside, outside) in [1025, 9998, 9999].into_iter().zip(outside) {
            let reached = it.connects(OUTSIDE, "198.51.100.9:901", &format!("203.0.113.10:{outside}"));
            assert_eq!(reached, (Some(State::Related), format!("10.0.0.6:{inside}")));
            let reached = it.connects(OUTSIDE, "198.51.100.9:902", &format!("203.0.113.10:{inside}"));
            assert_eq!(reached, (Some(State::Related), format!("10.0.0.5:{inside}")));
        }
        it.check();
    }
}

#[test]
fn amanda_g13_what_would_not_fit_keeps_its_text_and_is_not_expected() {
    let line = "CONNECT DATA 9998";
    let mtu = (28 + reply(line).len()) as u16;
    let (it, [_, second]) = two_clients(Preset::Classic, mtu, line);
    if ports(&second) == [9998] {
        assert_eq!((expected(&it).len(), it.helper_events(HelperEvent::TooLong)), (1, 1));
    } else {
        assert_eq!(second.len(), reply(line).len(), "another port of four digits fits");
    }
    it.check();
}

#[test]
fn amanda_g13_a_datagram_without_a_checksum_stays_without() {
    let (mut it, _) = two_clients(Preset::Classic, 1500, "CONNECT DATA 9998");
    let mut packet =
        Pair::at("10.0.0.6:10081", "198.51.100.9:900").datagram(reply("CONNECT MESG 9998").as_bytes());
    packet.checksum_at = None;
    let mut frames = [(INSIDE, packet.frame())];
    it.burst(&mut frames);
    assert_eq!(frames[0].1[40..42], [0, 0]);
    assert!(!frames[0].1.windows(10).any(|window| window == b"MESG 9998\n"), "another client has that port");
}

#[test]
fn amanda_g16_what_another_connection_expects_is_dropped() {
    for preset in PRESETS {
        let mut it = asked(with_helpers(
            Middlebox::with(Settings::of(preset, ROOM), firewall()),
            [Assignment { helper: HelperId::Amanda, ..ftp_on(&[10_080, 10_081]) }],
        ));
        let other = Pair::at("10.0.0.2:900", "198.51.100.2:10081");
        it.says(INSIDE, other, REQUEST);
        it.says(OUTSIDE, asks().inverse(), &reply("CONNECT DATA 50001"));
        let text = reply("CONNECT DATA 50001");
        let passed = it.passes(OUTSIDE, &other.inverse().datagram(text.as_bytes()));
        assert_eq!(passed.drop, Some(DropReason::ExpectationClash));
    }
}
