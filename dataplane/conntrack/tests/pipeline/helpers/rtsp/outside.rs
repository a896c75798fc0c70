//! RTSP of a translated client or server: what each is called outside, and what is rewritten.

use super::*;

#[test]
fn rtsp_g20_a_masqueraded_clients_ports_are_a_pair_outside_and_the_reply_says_its_own() {
    for preset in PRESETS {
        let mut first = masqueraded(preset, "203.0.113.1");
        assert_eq!(first.says(Client, &setup(UDP)).text, setup(UDP), "they are free");
        let client = Pair::at("10.0.0.3:40001", SERVER);
        let server = Pair::at(SERVER, "203.0.113.1:40001");
        let mut second = described(Session::open(first.it, client, server, [1000, 5000]));
        let said = second.says(Client, &setup(UDP)).text;
        let ports = said.split("client_port=").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
        let [rtp, rtcp] = [0, 1].map(|index| ports.split('-').nth(index).unwrap().parse::<u16>().unwrap());
        assert!(rtp >= 1024 && rtp % 2 == 0 && rtcp == rtp + 1 && rtp != 5000, "{said}");
        let outside = format!("RTP/AVP;unicast;client_port={ports};server_port=6000-6001");
        assert_eq!(second.says(Server, &done(&outside)).text, done(&format!("{UDP};server_port=6000-6001")));
        for (port, to) in [
            (5000, "10.0.0.2:5000"),
            (5001, "10.0.0.2:5001"),
            (rtp, "10.0.0.3:5000"),
            (rtcp, "10.0.0.3:5001"),
        ] {
            let child = Pair::at("198.51.100.2:6000", &format!("203.0.113.1:{port}"));
            let (verdict, reached) = second.it.reaches(OUTSIDE, &child.udp(20));
            assert_eq!((verdict.state, reached.as_str()), (Some(State::Related), to));
        }
        second.says(Client, "PLAY rtsp://198.51.100.2/a RTSP/1.0\r\nCSeq: 3\r\n\r\n");
        second.says(Server, "RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n");
        second.it.check();
    }
}

#[test]
fn rtsp_g20_a_server_inside_is_known_by_the_address_outside() {
    for preset in PRESETS {
        let mut session = published(preset);
        session.says(Client, &setup(UDP));
        let inside = format!("{UDP};source=10.0.0.5;server_port=6000-6001");
        let outside = format!("{UDP};source=203.0.113.10;server_port=6000-6001");
        assert_eq!(session.says(Server, &done(&inside)).text, done(&outside));
        let [to_server, to_client] = ["198.51.100.9 > 203.0.113.10", "10.0.0.5 > 198.51.100.9"];
        assert_eq!(sorted(&session), [both(to_client, 5000), both(to_server, 6000)].concat());
        let child = Pair::at("198.51.100.9:5001", "203.0.113.10:6001");
        let (verdict, reached) = session.it.reaches(OUTSIDE, &child.udp(20));
        assert_eq!((verdict.state, reached.as_str()), (Some(State::Related), "10.0.0.5:6001"));
        let child = Pair::at("10.0.0.5:6000", "198.51.100.9:5000");
        let mut frames = [(INSIDE, child.udp(20).frame())];
        assert_eq!(session.it.burst(&mut frames)[0].state, Some(State::Related));
        assert_eq!(frames[0].1[26..30], [203, 0, 113, 10]);
        session.says(Server, "RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n");
        session.it.check();
    }
}

#[test]
fn rtsp_g14_setups_are_rewritten_and_sent_again_the_same() {
    for preset in PRESETS {
        let mut session = masqueraded(preset, "203.0.113.77");
        for port in [5000, 5002, 5004] {
            let transport = |address: &str| {
                format!("RTP/AVP;unicast;destination={address};client_port={port}-{}", port + 1)
            };
            let seq = session.next[0];
            let request = setup(&transport("10.0.0.2"));
            let said = session.says(Client, &request);
            assert_eq!(said.text, setup(&transport("203.0.113.77")));
            let again = session.sends(Client, seq, &request);
            assert_eq!((again.seq, again.text), (said.seq, said.text));
            session.says(Server, &done(&transport("203.0.113.77")));
        }
        assert_eq!(session.expected().len(), 6);
        session.it.check();
    }
}
