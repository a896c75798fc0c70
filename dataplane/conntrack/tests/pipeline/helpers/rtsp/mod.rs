//! RTSP: what is expected of the streams that a client sets up, and what both ends say of them outside.

mod outside;

use super::session::*;
use super::translated::{inwards, outwards, pool, router};
use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, State};

const SERVER: &str = "198.51.100.2:554";
const TO_CLIENT: &str = "198.51.100.2 > 10.0.0.2";
const TO_SERVER: &str = "10.0.0.2 > 198.51.100.2";

fn rtsp() -> Assignment {
    let on = Match { destination_ports: vec![554..=554], ..Match::default() };
    Assignment { helper: HelperId::Rtsp, on, loose: false }
}

/// A request to set a stream up with this transport.
fn setup(transport: &str) -> String {
    format!("SETUP rtsp://198.51.100.2/a RTSP/1.0\r\nCSeq: 2\r\nTransport: {transport}\r\n\r\n")
}

/// The reply that it is done.
fn done(transport: &str) -> String {
    format!("RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 7;timeout=60\r\nTransport: {transport}\r\n\r\n")
}

const UDP: &str = "RTP/AVP;unicast;client_port=5000-5001";

fn fresh(it: Middlebox) -> Session {
    let pair = Pair::at("10.0.0.2:40000", SERVER);
    Session::open(it, pair, pair.inverse(), [1000, 5000])
}

fn wire(preset: Preset) -> Middlebox {
    with_helpers(Middlebox::with(Settings::of(preset, ROOM), accept_all()), [rtsp()])
}

/// A session that is not translated, in which the client has asked what there is.
fn plain(preset: Preset) -> Session {
    described(fresh(wire(preset)))
}

fn described(mut session: Session) -> Session {
    session.says(Client, "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    session.says(Server, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, SETUP\r\n\r\n");
    session
}

fn masqueraded(preset: Preset, public: &str) -> Session {
    let it = with_helpers(router(preset, outwards(pool(public)), 1500), [rtsp()]);
    let client = Pair::at("10.0.0.2:40000", SERVER);
    let server = Pair::at(SERVER, &format!("{public}:40000"));
    described(Session::open(it, client, server, [1000, 5000]))
}

/// A server inside, known outside by another address.
fn published(preset: Preset) -> Session {
    let session = Session::open_from_outside(
        with_helpers(router(preset, inwards("203.0.113.10", "10.0.0.5"), 1500), [rtsp()]),
        Pair::at("198.51.100.9:40000", "203.0.113.10:554"),
        Pair::at("10.0.0.5:554", "198.51.100.9:40000"),
        [1000, 5000],
    );
    described(session)
}

/// What is expected, in order.
fn sorted(session: &Session) -> Vec<String> {
    let mut expected = session.expected();
    expected.sort();
    expected
}

fn both(who: &str, port: u16) -> [String; 2] {
    [format!("{who} {port}"), format!("{who} {}", port + 1)]
}

#[test]
fn rtsp_r1_ports_of_a_client_are_expected_in_pairs() {
    for preset in PRESETS {
        for (ports, second) in [("5000-5001", 5001), ("5000/5001", 5001), ("5000", 5001), ("5000-5003", 5003)]
        {
            let mut session = plain(preset);
            session.says(Client, &setup(&format!("RTP/AVP;unicast;client_port={ports}")));
            assert_eq!(sorted(&session), [format!("{TO_CLIENT} 5000"), format!("{TO_CLIENT} {second}")]);
            session.it.check();
        }
        let mut session = plain(preset);
        session.says(Client, &setup(UDP));
        session.says(Server, &done(&format!("{UDP};server_port=6000-6001;ssrc=1")));
        assert_eq!(sorted(&session), [both(TO_SERVER, 6000), both(TO_CLIENT, 5000)].concat());
    }
}

#[test]
fn rtsp_r6_a_server_listens_at_whatever_port_the_configuration_says() {
    for port in [554, 770, 8554, 7070] {
        let on = Match { destination_ports: vec![port..=port], ..Match::default() };
        let it = Middlebox::with(Settings::of(Preset::Classic, ROOM), accept_all());
        let it = with_helpers(it, [Assignment { on, ..rtsp() }]);
        let pair = Pair::at("10.0.0.2:40000", &format!("198.51.100.2:{port}"));
        let mut session = described(Session::open(it, pair, pair.inverse(), [1000, 5000]));
        session.says(Client, &setup(UDP));
        assert_eq!(sorted(&session), both(TO_CLIENT, 5000), "{port}");
    }
}

#[test]
fn rtsp_r1_media_are_related_from_any_port_of_the_server_and_from_no_other_host() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says(Client, &setup(UDP));
        session.it.reload(firewall());
        let mut comes = |from: &str, to: &str| session.it.outside(&Pair::at(from, to).udp(20)).state;
        assert_eq!(comes("198.51.100.3:6000", "10.0.0.2:5000"), Some(State::New));
        assert_eq!(comes("198.51.100.2:6000", "10.0.0.2:5002"), Some(State::New));
        assert_eq!(comes("198.51.100.2:6000", "10.0.0.2:5000"), Some(State::Related));
        assert_eq!(comes("198.51.100.2:6001", "10.0.0.2:5001"), Some(State::Related));
    }
}

#[test]
fn rtsp_r2_a_destination_is_the_clients_own_and_rewritten() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says(Client, &setup(&format!("{UDP};destination=192.0.2.1")));
        assert!(session.expected().is_empty());
        assert_eq!(session.events(HelperEvent::ForeignAddress), 1);
        let mut session = masqueraded(preset, "203.0.113.77");
        for (transport, becomes) in [
            (
                "RTP/AVP;unicast;destination=10.0.0.2;client_port=5000-5001",
                "RTP/AVP;unicast;destination=203.0.113.77;client_port=5000-5001",
            ),
            (
                "RTP/AVP;unicast;client_port=5002-5003;destination=10.0.0.2:5002",
                "RTP/AVP;unicast;client_port=5002-5003;destination=203.0.113.77:5002",
            ),
        ] {
            assert_eq!(session.says(Client, &setup(transport)).text, setup(becomes));
            assert_eq!(session.says(Server, &done(becomes)).text, done(transport));
        }
        let outside = "198.51.100.2 > 203.0.113.77";
        assert_eq!(sorted(&session), [both(outside, 5000), both(outside, 5002)].concat());
    }
}

#[test]
fn rtsp_r3_another_source_than_the_server_is_for_the_loose_alone() {
    let elsewhere = format!("{UDP};source=192.0.2.7;server_port=6000-6001");
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says(Client, &setup(UDP));
        session.says(Server, &done(&elsewhere));
        assert_eq!(sorted(&session), both(TO_CLIENT, 5000));
        assert_eq!(session.events(HelperEvent::ForeignAddress), 1);
        let it = with_helpers(wire(preset), [Assignment { loose: true, ..rtsp() }]);
        let mut session = described(fresh(it));
        session.says(Client, &setup(UDP));
        session.says(Server, &done(&elsewhere));
        let [anybody, server] = [both("0.0.0.0 > 10.0.0.2", 5000), both("0.0.0.0 > 192.0.2.7", 6000)];
        assert_eq!(sorted(&session), [anybody, server].concat());
    }
}

#[test]
fn rtsp_r4_what_is_interleaved_or_for_a_group_expects_nothing() {
    for (transport, expected) in [
        ("RTP/AVP/TCP;unicast;interleaved=0-1", 0),
        ("RTP/AVP;unicast;interleaved=0-1", 0),
        ("RTP/AVP;multicast;client_port=5000-5001", 0),
        ("RTP/SAVP;unicast;client_port=5000-5001", 2),
        ("RTP/SAVPF/UDP;unicast;client_port=5000-5001", 2),
        ("RTP/AVP/TCP;unicast;interleaved=0-1,RTP/AVP;unicast;client_port=5000-5001", 2),
        ("RTP/SAVP;unicast;client_port=5000-5001,RTP/AVP;unicast;client_port=5000-5001", 2),
        ("RTP/SAVP;unicast;client_port=5002-5003,RTP/AVP;unicast;client_port=5000-5001", 4),
    ] {
        let mut session = plain(Preset::Classic);
        session.says(Client, &setup(transport));
        assert_eq!(session.expected().len(), expected, "{transport}");
    }
    // Media in the connection itself are not read.
    let mut session = plain(Preset::Classic);
    session.says(Client, &setup("RTP/AVP/TCP;unicast;interleaved=0-1"));
    session.says(Server, &done("RTP/AVP/TCP;unicast;interleaved=0-1"));
    session.says(Server, &format!("$\0\0\x20{}\n", setup(UDP)));
    assert_eq!(session.events(HelperEvent::Interleaved), 1);
    session.says(Client, &setup(UDP));
    assert!(session.expected().is_empty());
}

#[test]
fn rtsp_r5_the_pinhole_survives_errors_and_teardown_of_others() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says(Client, &setup(UDP));
        session.says(Server, &done(&format!("{UDP};server_port=6000-6001")));
        let child = Pair::at("198.51.100.2:6000", "10.0.0.2:5000");
        session.it.outside(&child.udp(20));
        // The client does not listen for RTCP yet.
        let control = Pair::at("10.0.0.2:5001", "198.51.100.2:6001").udp(20);
        assert_eq!(session.it.inside(&control).state, Some(State::Related));
        let error = control.error("198.51.100.2".parse().unwrap(), 3, 3);
        assert_eq!(session.it.outside(&error).state, Some(State::Related));
        assert_eq!(session.it.outside(&child.udp(20)).state, Some(State::Related), "the stream goes on");
        let report = Pair::at("198.51.100.2:6001", "10.0.0.2:5001").udp(20);
        // Classic has the error end what the client began; what its own port is open for still comes.
        let state = if preset == Preset::Classic { State::Related } else { State::Established };
        assert_eq!(session.it.outside(&report).state, Some(state), "and so does its control");
        session.says(Client, "TEARDOWN rtsp://198.51.100.2/b RTSP/1.0\r\nCSeq: 3\r\n\r\n");
        session.says(Client, &setup("RTP/AVP;unicast;client_port=5004-5005"));
        assert!(session.expected().contains(&format!("{TO_CLIENT} 5004")));
    }
}

#[test]
fn rtsp_r7_g4_http_is_none_of_it() {
    for first in [
        "GET /stream HTTP/1.0\r\nx-sessioncookie: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: 198.51.100.2:554\r\nContent-Length: 100000\r\n\r\n",
        "\x16\x03\x01\n",
    ] {
        let mut session = fresh(wire(Preset::Classic));
        session.says(Client, first);
        for padding in ["a".repeat(1400), String::from("\r\n\r\n")] {
            session.says(Client, &padding);
            session.says(Client, &setup(UDP));
        }
        assert!(session.expected().is_empty(), "{first}");
        assert_eq!(session.events(HelperEvent::OtherProtocol), 1);
    }
}

#[test]
fn rtsp_bodies_are_passed_over_and_nothing_in_them_counts() {
    let body = setup(UDP);
    for preset in PRESETS {
        let mut session = plain(preset);
        let message = |length: usize| {
            format!("ANNOUNCE rtsp://x/a RTSP/1.0\r\nCSeq: 3\r\nContent-Length: {length}\r\n\r\n{body}")
        };
        for cut in [1, 60, 76, 77, 78, 100] {
            let text = message(body.len());
            session.says(Client, &text[..cut]);
            session.says(Client, &text[cut..]);
            session.says(Server, "RTSP/1.0 200 OK\r\nCSeq: 3\r\nContent-Length: 8\r\n\r\nTranspor");
        }
        assert!(session.expected().is_empty());
        session.says(Client, &format!("{}{}", message(body.len()), setup(UDP)));
        assert_eq!(sorted(&session), both(TO_CLIENT, 5000), "what is behind one does");
    }
}

#[test]
fn rtsp_g13_cve_2026_23457_lengths_are_bounded() {
    for length in ["65537", "4294967328", "-1", "1x", "7\r\nContent-Length: 8"] {
        let mut session = plain(Preset::Classic);
        session.says(Client, &format!("ANNOUNCE x RTSP/1.0\r\nContent-Length: {length}\r\n\r\n"));
        assert_eq!(session.events(HelperEvent::Malformed), 1, "{length}");
        session.says(Client, &setup(UDP));
        assert!(session.expected().is_empty());
    }
}

#[test]
fn rtsp_g8_ports_of_services_and_malformed_ones_expect_nothing() {
    let mut session = plain(Preset::Classic);
    session.says(Client, &setup("RTP/AVP;unicast;client_port=22-23"));
    assert_eq!((session.expected().len(), session.events(HelperEvent::PrivilegedPort)), (0, 1));
    session.says(Client, &setup("RTP/AVP;unicast;client_port=5001-5000"));
    assert_eq!((session.expected().len(), session.events(HelperEvent::Malformed)), (0, 1));
}

#[test]
fn rtsp_a_request_may_be_cut_at_every_byte() {
    let text = setup(UDP);
    for cut in 1..text.len() {
        let mut session = plain(Preset::Classic);
        session.says(Client, &text[..cut]);
        session.says(Client, &text[cut..]);
        assert_eq!(sorted(&session), both(TO_CLIENT, 5000), "cut at {cut}");
    }
    let line = text.find("Transport").unwrap();
    for cut in line + 1..line + 30 {
        let mut session = masqueraded(Preset::Classic, "203.0.113.77");
        let seq = session.next[0];
        assert_eq!(session.sends(Client, seq, &text[..cut]).drop(), Some(DropReason::HelperPartial));
        session.says(Client, &text);
        assert_eq!(session.expected().len(), 2, "cut at {cut}");
    }
}

#[test]
fn rtsp_f19_a_session_picked_up_is_not_read() {
    for preset in PRESETS {
        let pair = Pair::at("10.0.0.2:40000", SERVER);
        let mut session = Session::picked_up(wire(preset), pair, [7000, 9000]);
        session.acknowledge(Client);
        session.acknowledge(Server);
        session.says(Client, &setup(UDP));
        session.says(Client, &setup(UDP));
        assert!(session.expected().is_empty(), "whether a body goes on is not known");
    }
}

#[test]
fn rtsp_of_more_streams_than_sixteen_ports_the_oldest_give_way() {
    let mut session = plain(Preset::Classic);
    for stream in 0..9 {
        session.says(
            Client,
            &setup(&format!("RTP/AVP;unicast;client_port={}-{}", 5000 + 2 * stream, 5001 + 2 * stream)),
        );
    }
    let expected = sorted(&session);
    assert_eq!((expected.len(), expected[0].as_str()), (16, "198.51.100.2 > 10.0.0.2 5002"));
}
