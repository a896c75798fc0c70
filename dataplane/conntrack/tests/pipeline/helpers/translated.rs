//! FTP on translated connections: what is expected, what the text says outside, and the numbers from then on.

use super::session::*;
use super::*;
use sluice_conntrack::forward::{Interface, Route, Router};
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::Prefix;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Configuration, DropReason, Forwarding, Instant, State};

pub(super) const PORT: &str = "PORT 10,0,0,2,19,137\r\n";

pub(super) fn pool(address: &str) -> Target {
    let address = address.parse().unwrap();
    Target::Pool(vec![Range { first: address, last: address, ports: PortChoice::Preserve }])
}

pub(super) fn outwards(target: Target) -> Nat {
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    Nat { source: vec![NatRule::new(out, target)], destination: vec![] }
}

pub(super) fn inwards(from: &str, to: &str) -> Nat {
    let towards =
        Match { destination: vec![Prefix::new(from.parse().unwrap(), u8::MAX)], ..Match::default() };
    Nat { source: vec![], destination: vec![NatRule::new(towards, pool(to))] }
}

/// A router whose outside has this MTU, and which translates by these rules.
pub(super) fn router(preset: Preset, nat: Nat, mtu: u16) -> Middlebox {
    let interface = |v4: &str, length, v6: &str, mtu| Interface {
        addresses: vec![(v4.parse().unwrap(), length), (v6.parse().unwrap(), 64)],
        mtu,
        ..Interface::default()
    };
    let interfaces =
        vec![interface("10.0.0.1", 8, "fd00::1", 9000), interface("203.0.113.1", 24, "2001:db8:2::1", mtu)];
    let default = |to: &str, via: &str| {
        Route::by(Prefix::new(to.parse().unwrap(), 0), OUTSIDE, Some(via.parse().unwrap()))
    };
    let router =
        Router::new(interfaces, [default("0.0.0.0", "203.0.113.254"), default("::", "2001:db8:2::fe")]);
    let forwarding = Forwarding::Routed(Box::new(router));
    let configuration =
        Configuration::new(Settings::of(preset, ROOM), accept_all(), forwarding).with_nat(nat);
    with_helpers(Middlebox::starting(Instant::from_ns(0), ROOM, configuration), [ftp_on(&[21])])
}

/// A client inside whose source becomes this address.
pub(super) fn masqueraded(preset: Preset, public: &str, first: [u32; 2]) -> Session {
    let it = router(preset, outwards(pool(public)), 1500);
    let client = Pair::at("10.0.0.2:40000", "198.51.100.2:21");
    let server = Pair::at("198.51.100.2:21", &format!("{public}:40000"));
    Session::open(it, client, server, first).logged_in()
}

/// A server inside, known outside by another address.
fn published(preset: Preset) -> Session {
    let it = router(preset, inwards("203.0.113.10", "10.0.0.5"), 1500);
    let client = Pair::at("198.51.100.9:40000", "203.0.113.10:21");
    let server = Pair::at("10.0.0.5:21", "198.51.100.9:40000");
    let session = Session::open_from_outside(it, client, server, [1000, 5000]);
    session.logged_in()
}

#[test]
fn f10_the_text_grows_shrinks_or_keeps_its_length() {
    for preset in PRESETS {
        for (public, text) in [
            ("203.0.113.77", "203,0,113,77,19,137"),
            ("1.2.3.4", "1,2,3,4,19,137"),
            ("10.0.0.2", "10,0,0,2,19,137"),
            ("10.0.0.200", "10,0,0,200,19,137"),
            ("10.0.0.20", "10,0,0,20,19,137"),
        ] {
            let mut session = masqueraded(preset, public, [1000, 5000]);
            let said = session.says(Client, PORT);
            assert_eq!(said.text, format!("PORT {text}\r\n"));
            assert_eq!(session.expected(), [format!("198.51.100.2 > {public} 5001")]);
            assert_eq!(session.says(Client, "LIST\r\n").text, "LIST\r\n");
            assert_eq!(session.says(Server, "200 PORT ok\r\n").text, "200 PORT ok\r\n");
            let child = Pair::at("198.51.100.2:20", &format!("{public}:5001"));
            let (verdict, to) = session.it.reaches(OUTSIDE, &child.tcp("S", 1, 0));
            assert_eq!((verdict.state, to.as_str()), (Some(State::Related), "10.0.0.2:5001"));
            session.it.check();
        }
    }
}

#[test]
fn f1_each_form_is_rewritten_in_its_own() {
    for preset in PRESETS {
        let mut session = masqueraded(preset, "203.0.113.1", [1000, 5000]);
        assert_eq!(session.says(Client, "eprt |1|10.0.0.2|5001|\r\n").text, "eprt |1|203.0.113.1|5001|\r\n");
        assert_eq!(session.expected(), ["198.51.100.2 > 203.0.113.1 5001"]);
        // What the server announces is outside already.
        for text in ["227 Entering Passive Mode (198,51,100,2,200,10).\r\n", "229 Entering (|||51210|)\r\n"] {
            assert_eq!(session.says(Server, text).text, text);
            assert_eq!(session.expected(), ["10.0.0.2 > 198.51.100.2 51210"]);
        }
    }
}

#[test]
fn f6_a_server_inside_is_announced_by_the_address_that_its_client_knows() {
    for preset in PRESETS {
        for (text, becomes) in [
            ("227 Passive (10,0,0,5,200,10).\r\n", "227 Passive (203,0,113,10,200,10).\r\n"),
            ("229 Extended (|||51210|)\r\n", "229 Extended (|||51210|)\r\n"),
        ] {
            let mut session = published(preset);
            assert_eq!(session.says(Server, text).text, becomes);
            assert_eq!(session.expected(), ["198.51.100.9 > 203.0.113.10 51210"]);
            let child = Pair::at("198.51.100.9:40100", "203.0.113.10:51210");
            let (verdict, to) = session.it.reaches(OUTSIDE, &child.tcp("S", 1, 0));
            assert_eq!((verdict.state, to.as_str()), (Some(State::Related), "10.0.0.5:51210"));
            session.says(Server, "226 done\r\n");
            session.says(Client, "QUIT\r\n");
        }
    }
    // A server that knows what it is called outside says that itself.
    let mut session = published(Preset::Classic);
    let text = "227 Passive (203,0,113,10,200,10).\r\n";
    assert_eq!(session.says(Server, text).text, text);
    assert_eq!(session.expected(), ["198.51.100.9 > 203.0.113.10 51210"]);
}

#[test]
fn an_active_server_inside_connects_with_the_address_that_its_client_knows() {
    for preset in PRESETS {
        let mut session = published(preset);
        let text = "PORT 198,51,100,9,19,137\r\n";
        assert_eq!(session.says(Client, text).text, text);
        assert_eq!(session.expected(), ["10.0.0.5 > 198.51.100.9 5001"]);
        let child = Pair::at("10.0.0.5:20", "198.51.100.9:5001");
        let mut frames = [(INSIDE, child.tcp("S", 1, 0).frame())];
        assert_eq!(session.it.burst(&mut frames)[0].state, Some(State::Related));
        assert_eq!(frames[0].1[26..30], [203, 0, 113, 10]);
    }
}

#[test]
fn f11_the_longest_address_of_ipv6_fits() {
    for preset in PRESETS {
        let public = "2001:db8:2:ffff:ffff:ffff:ffff:ffff";
        let it = router(preset, outwards(pool(public)), 1500);
        let client = Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:21");
        let server = Pair::at("[2001:db8:9::2]:21", &format!("[{public}]:40000"));
        let mut session = Session::open(it, client, server, [1000, 5000]).logged_in();
        let said = session.says(Client, "EPRT |2|fd00::2|65535|\r\n");
        assert_eq!(said.text, "EPRT |2|2001:0db8:0002:ffff:ffff:ffff:ffff:ffff|65535|\r\n");
        session.says(Client, "LIST\r\n");
    }
}

#[test]
fn f12_a_port_that_is_taken_outside_becomes_another_and_the_text_says_it() {
    for preset in PRESETS {
        let it = router(preset, outwards(pool("203.0.113.1")), 1500);
        let open = |it, client: &str, port: u16| {
            let client = Pair::at(&format!("{client}:{port}"), "198.51.100.2:21");
            let server = Pair::at("198.51.100.2:21", &format!("203.0.113.1:{port}"));
            Session::open(it, client, server, [1000, 5000]).logged_in()
        };
        let mut first = open(it, "10.0.0.2", 40_000);
        assert_eq!(first.says(Client, PORT).text, "PORT 203,0,113,1,19,137\r\n");
        let mut second = open(first.it, "10.0.0.3", 40_001);
        let said = second.says(Client, "PORT 10,0,0,3,19,137\r\n").text;
        let numbers: Vec<u16> =
            said[5..].trim_end().split(',').map(|number| number.parse().unwrap()).collect();
        let port = numbers[4] * 256 + numbers[5];
        assert!(port >= 1024 && port != 5001, "{said}");
        for (port, to) in [(5001, "10.0.0.2:5001"), (port, "10.0.0.3:5001")] {
            let child = Pair::at("198.51.100.2:20", &format!("203.0.113.1:{port}"));
            assert_eq!(second.it.reaches(OUTSIDE, &child.tcp("S", 1, 0)).1, to);
        }
    }
}

#[test]
fn f8_a_part_of_a_line_that_may_have_to_be_rewritten_waits_for_the_rest() {
    for cut in 1..PORT.len() - 1 {
        let mut session = masqueraded(Preset::Classic, "203.0.113.1", [1000, 5000]);
        let seq = session.next[0];
        assert_eq!(session.sends(Client, seq, &PORT[..cut]).drop(), Some(DropReason::HelperPartial));
        let rest = session.sends(Client, seq + cut as u32, &PORT[cut..]);
        assert_eq!(rest.drop(), Some(DropReason::HelperPartial), "it is too early");
        assert_eq!(session.says(Client, PORT).text, "PORT 203,0,113,1,19,137\r\n");
    }
    // Without the rest it passes when it comes again, and so does all else.
    let mut session = masqueraded(Preset::Classic, "203.0.113.1", [1000, 5000]);
    let seq = session.next[0];
    assert_eq!(session.sends(Client, seq, "PORT 10,").drop(), Some(DropReason::HelperPartial));
    assert_eq!(session.says(Client, "PORT 10,").text, "PORT 10,");
    assert_eq!(session.says(Client, "0,0,2,19,137\r\n").text, "0,0,2,19,137\r\n");
    assert_eq!(session.events(HelperEvent::Incomplete), 1);
    assert_eq!(session.says(Client, PORT).text, PORT);
    assert!(session.expected().is_empty());
    // What cannot be such a line passes in any pieces.
    let mut session = masqueraded(Preset::Classic, "203.0.113.1", [1000, 5000]);
    for piece in ["PA", "SV", "\r", "\n", "RETR fi", "le\r\n"] {
        if piece != "PA" {
            assert_eq!(session.says(Client, piece).drop(), None, "{piece}");
        } else {
            assert_eq!(session.says(Client, piece).drop(), None, "PA is no PORT");
        }
    }
    assert_eq!(session.says(Client, PORT).text, "PORT 203,0,113,1,19,137\r\n");
}

#[test]
fn g13_a_rewrite_that_the_way_has_no_room_for_is_refused_and_counted() {
    for preset in PRESETS {
        for (padding, rewritten) in [(1500 - 40 - 22 - 3, true), (1500 - 40 - 22 - 2, false)] {
            let mut session = masqueraded(preset, "203.0.113.1", [1000, 5000]);
            // Commands behind it in the same segment make it as long as can be.
            let text = format!("{PORT}{}\r\n", "N".repeat(padding - 2));
            let seq = session.next[0];
            let said = session.sends(Client, seq, &text);
            assert_eq!(said.drop(), None);
            assert_eq!(said.text.starts_with("PORT 203"), rewritten);
            assert_eq!(session.expected().len(), usize::from(rewritten));
            assert_eq!(session.events(HelperEvent::TooLong), u64::from(!rewritten));
        }
    }
}

#[test]
fn g21_extension_headers_of_ipv6_are_passed_over() {
    for preset in PRESETS {
        let public = "2001:db8:2::7";
        let it = router(preset, outwards(pool(public)), 1500);
        let client = Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:21");
        let server = Pair::at("[2001:db8:9::2]:21", &format!("[{public}]:40000"));
        let mut session = Session::open(it, client, server, [1000, 5000]).logged_in();
        // Destination options in front of TCP: eight bytes of padding.
        session.extension_headers = vec![6, 0, 1, 4, 0, 0, 0, 0];
        let said = session.says(Client, "EPRT |2|fd00::2|5001|\r\n");
        assert_eq!(said.text, "EPRT |2|2001:0db8:0002:0000:0000:0000:0000:0007|5001|\r\n");
        assert_eq!(said.frame[20], 60, "they are still there");
        assert_eq!(u16::from_be_bytes([said.frame[18], said.frame[19]]), 8 + 20 + said.text.len() as u16);
        session.says(Client, "LIST\r\n");
        session.extension_headers.clear();
        session.says(Server, "200 ok\r\n");
    }
}

/// CVE-2025-68206: a helper that was given to a running connection rewrote its text and did not move its numbers.
#[test]
fn g2_cve_2025_68206_a_helper_that_is_switched_on_begins_with_new_connections() {
    for preset in PRESETS {
        let mut session = masqueraded(preset, "203.0.113.1", [1000, 5000]);
        session.it = with_helpers(session.it, []);
        assert_eq!(
            session.says(Client, PORT).text,
            "PORT 203,0,113,1,19,137\r\n",
            "it goes on with what it reads"
        );
        let it = with_helpers(router(preset, outwards(pool("203.0.113.1")), 1500), []);
        let client = Pair::at("10.0.0.2:40000", "198.51.100.2:21");
        let server = Pair::at("198.51.100.2:21", "203.0.113.1:40000");
        let mut session = Session::open(it, client, server, [1000, 5000]).logged_in();
        session.it = with_helpers(session.it, [ftp_on(&[21])]);
        assert_eq!(session.says(Client, PORT).text, PORT);
        assert_eq!(session.says(Client, "LIST\r\n").text, "LIST\r\n");
        assert!(session.expected().is_empty());
    }
}

#[test]
fn what_was_rewritten_stays_moved_when_the_helper_is_off() {
    let mut session = masqueraded(Preset::Classic, "203.0.113.1", [1000, 5000]);
    session.says(Client, PORT);
    session.says(Client, "PORT x\r\n");
    assert_eq!(session.events(HelperEvent::Malformed), 1);
    session.says(Client, "LIST\r\n");
    session.says(Server, "226 done\r\n");
    let [client, server] = session.pairs;
    let end = session.pass(Client, client.tcp("FA", session.next[0], session.awaited[0]));
    assert_eq!(end.seq, session.awaited[1]);
    let last = session.pass(Server, server.tcp("FA", session.next[1], end.seq + 1));
    assert_eq!(last.ack, session.next[0] + 1);
    let over = session.pass(Client, client.tcp("A", session.next[0] + 1, last.seq + 1));
    assert_eq!(over.seq, end.seq + 1);
    session.it.pass(secs(121));
    assert!(session.it.shard.is_empty());
    session.it.check();
}
