//! SANE: a client asks its server to begin a scan, and fetches the picture at the port that the reply names.

use super::session::*;
use super::translated::{inwards, outwards, pool, router};
use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, State};

const INIT: &str = "\0\0\0\0\x01\0\0\x03\0\0\0\x03me\0";
const VERSION: &str = "\0\0\0\0\x01\0\0\x03";
const START: &str = "\0\0\0\x07\0\0\0\x01";
/// Success at port 30001, and the byte order of the picture.
const STARTED: &str = "\0\0\0\0\0\0u1\0\0\x12\x34\0\0\0\0";

fn sane() -> [Assignment; 1] {
    [Assignment { helper: HelperId::Sane, ..ftp_on(&[6566]) }]
}

/// A connection through a box that has said how it begins.
fn begun(it: Middlebox, client: &str, server: [&str; 2], seen: &str) -> Session {
    let client = Pair::at(client, server[0]);
    let server = Pair::at(server[1], seen);
    let mut session = Session::open(it, client, server, [1000, u32::MAX - 12]);
    session.says(Client, INIT);
    session.says(Server, VERSION);
    session
}

const SERVER: &str = "198.51.100.2:6566";

fn plain(preset: Preset) -> Session {
    let it = with_helpers(Middlebox::with(Settings::of(preset, ROOM), firewall()), sane());
    begun(it, "10.0.0.2:40000", [SERVER; 2], "10.0.0.2:40000")
}

#[test]
fn sane_s1_the_port_of_a_reply_is_expected_once() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says(Client, START);
        assert_eq!(session.says(Server, STARTED).text, STARTED);
        assert_eq!(session.expected(), ["10.0.0.2 > 198.51.100.2 30001"]);
        let data = Pair::at("10.0.0.2:40001", "198.51.100.2:30001");
        assert_eq!(session.it.inside(&data.tcp("S", 1, 0)).state, Some(State::Related));
        assert_eq!(session.expected(), [""; 0]);
        session.it.check();
    }
}

#[test]
fn sane_s1_s3_other_replies_and_those_to_other_requests_name_none() {
    for preset in PRESETS {
        for (request, reply) in [
            (START, "\0\0\0\x01\0\0u1"),
            (START, "\0\0\0\0\0\x01u1"),
            (START, "\0\0\0\0\0\0u"),
            ("\0\0\0\x06\0\0\0\x01", STARTED),
            ("\0\0\0\x07\0\0\0\x01\0", STARTED),
            ("\0\0\0\x07\0\0\0", STARTED),
        ] {
            let mut session = plain(preset);
            session.says(Client, request);
            session.says(Server, reply);
            assert_eq!(session.expected(), [""; 0], "{request:?} {reply:?}");
        }
        let mut session = plain(preset);
        session.says(Server, STARTED);
        assert_eq!(session.expected(), [""; 0], "nobody has asked");
    }
}

#[test]
fn sane_s2_requests_and_replies_come_in_any_pieces() {
    for preset in PRESETS {
        for cut in 1..8 {
            let mut session = plain(preset);
            for (end, text) in [(Client, START), (Server, STARTED)] {
                session.says(end, &text[..cut]);
                session.says(end, &text[cut..]);
            }
            assert_eq!(session.expected(), ["10.0.0.2 > 198.51.100.2 30001"], "{cut}");
        }
    }
}

#[test]
fn sane_s3_g8_the_port_of_a_service_is_opened_in_linux_only() {
    for (preset, count) in [(Preset::Classic, 0), (Preset::Linux, 1)] {
        let mut session = plain(preset);
        session.says(Client, START);
        session.says(Server, "\0\0\0\0\0\0\0\x16");
        assert_eq!(session.expected().len(), count);
        assert_eq!(session.events(HelperEvent::PrivilegedPort), 1 - count as u64);
    }
}

#[test]
fn sane_g4_what_does_not_begin_with_init_turns_the_helper_off() {
    let it = with_helpers(Middlebox::with(Settings::of(Preset::Classic, ROOM), firewall()), sane());
    let client = Pair::at("10.0.0.2:40000", SERVER);
    let mut session = Session::open(it, client, client.inverse(), [1000, 5000]);
    session.says(Client, "POST / HTTP/1.1\r\n\r\n");
    session.says(Server, VERSION);
    session.says(Client, START);
    session.says(Server, STARTED);
    assert_eq!(session.expected(), [""; 0]);
    assert_eq!(session.events(HelperEvent::OtherProtocol), 1);
}

#[test]
fn sane_g20_the_picture_is_fetched_through_the_translation_of_the_request() {
    for preset in PRESETS {
        let it = with_helpers(router(preset, outwards(pool("203.0.113.1")), 1500), sane());
        let mut session = begun(it, "10.0.0.2:40000", [SERVER; 2], "203.0.113.1:40000");
        session.says(Client, START);
        assert_eq!(session.says(Server, STARTED).text, STARTED);
        let mut frames = [(INSIDE, Pair::at("10.0.0.2:40001", "198.51.100.2:30001").tcp("S", 1, 0).frame())];
        assert_eq!(session.it.burst(&mut frames)[0].state, Some(State::Related));
        assert_eq!(frames[0].1[26..30], [203, 0, 113, 1]);
        session.it.check();
    }
}

#[test]
fn sane_g14_g15_a_port_that_is_taken_outside_becomes_another_whenever_it_is_sent() {
    for preset in PRESETS {
        let mut nat = inwards("203.0.113.10", "198.51.100.2");
        nat.source = outwards(pool("203.0.113.1")).source;
        let it = with_helpers(router(preset, nat, 1500), sane());
        let servers = ["203.0.113.10:6566", SERVER];
        let mut first = begun(it, "10.0.0.2:40000", servers, "203.0.113.1:40000");
        first.says(Client, START);
        assert_eq!(first.says(Server, STARTED).text, STARTED);
        let mut second = begun(first.it, "10.0.0.2:40010", servers, "203.0.113.1:40010");
        second.says(Client, START);
        let seq = second.next[1];
        let part = second.sends(Server, seq, &STARTED[..7]);
        assert_eq!(part.drop(), Some(DropReason::HelperPartial), "half a port");
        let said = second.sends(Server, seq, STARTED).text;
        let is_whole = said.starts_with(&STARTED[..6]) && said.ends_with(&STARTED[8..]);
        assert!(is_whole && said.chars().count() == STARTED.len(), "{said:?}");
        assert_ne!(said, STARTED);
        assert_eq!(second.sends(Server, seq, STARTED).text, said, "sent again it says the same");
        let port = said.chars().skip(6).take(2).fold(0, |port, byte| port << 8 | byte as u16);
        let data = Pair::at("10.0.0.2:40011", &format!("203.0.113.10:{port}"));
        let (verdict, to) = second.it.reaches(INSIDE, &data.tcp("S", 1, 0));
        assert_eq!((verdict.state, to.as_str()), (Some(State::Related), "198.51.100.2:30001"));
        second.it.check();
    }
}
