//! Calls: what a message of Q.931 announces, and what it says outside.

use super::*;
use sluice_conntrack::helpers::HelperEvent;

#[test]
fn h323_the_h245_channel_of_a_call_is_expected_whichever_message_announces_it() {
    for preset in PRESETS {
        for message in [CONNECT, PROCEEDING, ALERTING, START_H245] {
            let mut session = plain(preset);
            session.says_bytes(Client, SETUP.with(["10.0.0.2:5000", CALLED, CALLER]));
            assert_eq!(session.expected(), ["198.51.100.2 > 10.0.0.2 5000"]);
            session.says_bytes(Server, message.with(["198.51.100.2:6000"]));
            assert_eq!(all(&session.it), ["10.0.0.2 > 198.51.100.2 6000", "198.51.100.2 > 10.0.0.2 5000"]);
            session.says_bytes(Server, RELEASE.with([]));
            session.it.check();
        }
        let mut session = plain(preset);
        session.says_bytes(
            Server,
            PROGRESS.with(["198.51.100.2:6000", "198.51.100.2:7000", "198.51.100.2:7001"]),
        );
        let media = media("10.0.0.2", "198.51.100.2", 7000);
        assert_eq!(all(&session.it), ["10.0.0.2 > 198.51.100.2 6000", &media[0], &media[1]]);
    }
}

#[test]
fn h323_h4_fast_start_has_media_come_without_an_h245_channel() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says_bytes(Client, SETUP_FAST.with([CALLED, CALLER, "10.0.0.2:5000", "10.0.0.2:5001"]));
        assert_eq!(all(&session.it), media("198.51.100.2", "10.0.0.2", 5000));
        session.says_bytes(Server, CONNECT_FAST.with(["198.51.100.2:7000", "198.51.100.2:7001"]));
        assert_eq!(all(&session.it)[..2], media("10.0.0.2", "198.51.100.2", 7000));
        let rtp = Pair::at("198.51.100.2:7000", "10.0.0.2:5000");
        assert_eq!(state(session.it.outside(&rtp.datagram(b"rtp"))), State::Related);
        session.it.check();
    }
}

#[test]
fn h323_h4_tunnelled_messages_of_h245_are_read() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says_bytes(Client, TUNNELLED.with(["10.0.0.2:5001", "10.0.0.2:5002", "10.0.0.2:5003"]));
        let [first, second] = [5000, 5002].map(|port| media("198.51.100.2", "10.0.0.2", port));
        assert_eq!(all(&session.it), [first, second].concat());
    }
}

#[test]
fn h323_a_masqueraded_caller_announces_his_address_outside() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        let said = session.says_bytes(Client, SETUP.with(["10.0.0.2:5000", CALLED, CALLER]));
        let outside = [&format!("{PUBLIC}:5000"), CALLED, &format!("{PUBLIC}:40000")];
        assert_eq!(said.bytes(), SETUP.with(outside));
        assert_eq!(session.expected(), [format!("198.51.100.2 > {PUBLIC} 5000")]);
        // The callee connects, and what it says reaches the caller.
        let server = Pair::at("198.51.100.2:6000", &format!("{PUBLIC}:5000"));
        let (verdict, to) = session.it.reaches(OUTSIDE, &server.tcp("S", 1, 0));
        assert_eq!((state(verdict), &*to), (State::Related, "10.0.0.2:5000"));
        let said = session.says_bytes(Server, CONNECT.with(["198.51.100.2:6000"]));
        assert_eq!(said.bytes(), CONNECT.with(["198.51.100.2:6000"]));
        session.it.check();
    }
}

#[test]
fn h323_media_of_fast_start_keeps_its_ports_outside_as_a_pair() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        // Another host has these ports outside.
        let other = Pair::at("10.0.0.3:5001", "192.0.2.9:9");
        session.it.inside(&other.datagram(b"x"));
        let said =
            session.says_bytes(Client, SETUP_FAST.with([CALLED, CALLER, "10.0.0.2:5000", "10.0.0.2:5001"]));
        let expected = all(&session.it);
        let port: u16 = expected[0].rsplit(' ').next().unwrap().parse().unwrap();
        assert_eq!(expected, media("198.51.100.2", PUBLIC, port));
        assert!(port.is_multiple_of(2) && port != 5000);
        let [rtp, rtcp] = [port, port + 1].map(|port| format!("{PUBLIC}:{port}"));
        let caller = format!("{PUBLIC}:40000");
        assert_eq!(said.bytes(), SETUP_FAST.with([CALLED, &caller, &rtp, &rtcp]));
        let from = Pair::at("198.51.100.2:7001", &rtcp);
        let (verdict, to) = session.it.reaches(OUTSIDE, &from.datagram(b"rtcp"));
        assert_eq!((state(verdict), &*to), (State::Related, "10.0.0.2:5001"));
        session.it.check();
    }
}

#[test]
fn h323_a_published_host_is_called_by_its_address_inside() {
    for preset in PRESETS {
        let mut session = published(preset);
        let said = session
            .says_bytes(Client, SETUP.with(["198.51.100.9:5000", "203.0.113.10:1720", "198.51.100.9:40000"]));
        let heard = SETUP.with(["198.51.100.9:5000", "10.0.0.5:1720", "198.51.100.9:40000"]);
        assert_eq!(said.bytes(), heard);
        let said = session.says_bytes(Server, CONNECT.with(["10.0.0.5:6000"]));
        assert_eq!(said.bytes(), CONNECT.with(["203.0.113.10:6000"]));
        let channel = Pair::at("198.51.100.9:40001", "203.0.113.10:6000");
        let (verdict, to) = session.it.reaches(OUTSIDE, &channel.tcp("S", 1, 0));
        assert_eq!((state(verdict), &*to), (State::Related, "10.0.0.5:6000"));
        session.it.check();
    }
}

#[test]
fn h323_what_is_announced_again_stays_where_it_is() {
    let mut session = published(Preset::Classic);
    let other = Pair::at("198.51.100.9:1", "203.0.113.10:6000");
    session.it.outside(&other.tcp("S", 1, 0));
    let said = [PROCEEDING, ALERTING, CONNECT].map(|message| {
        let bytes = session.says_bytes(Server, message.with(["10.0.0.5:6000"])).bytes();
        let host = encoded("203.0.113.10:0")[..4].to_vec();
        let at = bytes.windows(4).position(|bytes| *bytes == *host).expect("the address outside");
        u16::from_be_bytes([bytes[at + 4], bytes[at + 5]])
    });
    assert!(said.iter().all(|port| *port == said[0]), "{said:?}");
    assert_eq!(session.expected().len(), 1);
}

#[test]
fn h323_ipv6_is_read_as_ipv4_is() {
    for preset in PRESETS {
        let pair = Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:1720");
        let mut session = Session::open(wire(preset), pair, pair.inverse(), [1000, 5000]);
        session.says_bytes(Server, CONNECT_V6.with(["[2001:db8:9::2]:6000"]));
        assert_eq!(session.expected(), ["fd00::2 > 2001:db8:9::2 6000"]);
        let mut session = plain(preset);
        session.says_bytes(Server, CONNECT_V6.with(["[2001:db8:9::2]:6000"]));
        assert!(session.expected().is_empty(), "of another family than the connection");
    }
}

#[test]
fn h323_g14_a_message_that_is_sent_again_becomes_the_same_again() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        let seq = session.next[0];
        let message = SETUP.with(["10.0.0.2:5000", CALLED, CALLER]);
        let said = session.says_bytes(Client, &message);
        let again = session.sends_bytes(Client, seq, &message);
        assert_eq!((again.seq, again.bytes()), (said.seq, said.bytes()));
        assert_eq!(session.events(HelperEvent::Expected), 1);
    }
}

#[test]
fn h323_h3_packets_come_in_any_pieces() {
    let message = [SETUP.with(["10.0.0.2:5000", CALLED, CALLER]), RELEASE.with([])].concat();
    for preset in PRESETS {
        for cut in 1..message.len() {
            let mut session = plain(preset);
            session.says_bytes(Client, &message[..cut]);
            session.says_bytes(Client, &message[cut..]);
            assert_eq!(session.expected(), ["198.51.100.2 > 10.0.0.2 5000"], "{cut}");
            assert_eq!(session.events(HelperEvent::Malformed), 0);
        }
    }
}

#[test]
fn h323_h3_a_cut_message_is_rewritten_once_it_is_whole() {
    let message = SETUP.with(["10.0.0.2:5000", CALLED, CALLER]);
    let outside = SETUP.with([&format!("{PUBLIC}:5000"), CALLED, &format!("{PUBLIC}:40000")]);
    for cut in 1..message.len() {
        let mut session = masqueraded(Preset::Classic);
        let first = session.next[0];
        let part = session.sends_bytes(Client, first, &message[..cut]);
        assert_eq!(part.drop(), Some(DropReason::HelperPartial), "{cut}");
        let mut arrived = vec![];
        let rest = session.sends_bytes(Client, first.wrapping_add(cut as u32), &message[cut..]);
        let again = session.sends_bytes(Client, first, &message[..cut]);
        for segment in [again, rest] {
            assert_eq!(segment.drop(), None, "{cut}");
            assert_eq!(segment.seq, session.awaited[1].wrapping_add(arrived.len() as u32));
            arrived.extend(segment.bytes());
        }
        assert_eq!(arrived, outside, "{cut}");
    }
}

#[test]
fn h323_h3_a_packet_without_contents_keeps_the_connection_alive() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        session.says_bytes(Client, [3, 0, 0, 4]);
        session.says_bytes(Client, [3, 0, 0, 4, 3, 0, 0, 4]);
        session.says_bytes(Client, SETUP.with(["10.0.0.2:5000", CALLED, CALLER]));
        assert_eq!(session.expected().len(), 1);
    }
}
