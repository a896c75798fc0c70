//! DCC requests of translated sessions: what they say outside, and who is let in then.

use super::*;

#[test]
fn irc_g14_g15_several_offers_are_rewritten_and_sent_again_the_same() {
    for preset in PRESETS {
        for (public, first) in [
            ("203.0.113.77", [1000, 5000]),
            ("1.2.3.4", [u32::MAX - 50, u32::MAX - 9]),
            ("0.0.0.9", [1000, 5000]),
        ] {
            let mut session = masqueraded(preset, public, first);
            for port in [5001, 5002, 5003] {
                let seq = session.next[0];
                let offer = send("10.0.0.2", port);
                let said = session.says(Client, &offer);
                assert_eq!(said.text, send(public, port));
                let again = session.sends(Client, seq, &offer);
                assert_eq!((again.seq, again.text), (said.seq, said.text));
                session.says(Server, ":srv NOTICE joe :sent\r\n");
            }
            session.says(Client, "QUIT\r\n");
            assert_eq!(session.expected().len(), 3);
            session.it.check();
        }
    }
}

#[test]
fn irc_an_offer_may_be_cut_at_every_byte() {
    let offer = send("10.0.0.2", 5001);
    for cut in 1..offer.len() - 1 {
        let mut session = plain(Preset::Classic);
        session.says(Client, &offer[..cut]);
        session.says(Client, &offer[cut..]);
        assert_eq!(session.expected().len(), 1, "cut at {cut}");
        // What has to be rewritten waits for the rest.
        let mut session = masqueraded(Preset::Classic, "203.0.113.1", [1000, 5000]);
        let seq = session.next[0];
        assert_eq!(session.sends(Client, seq, &offer[..cut]).drop(), Some(DropReason::HelperPartial));
        assert_eq!(session.says(Client, &offer).text, send("203.0.113.1", 5001), "cut at {cut}");
    }
    let mut session = masqueraded(Preset::Classic, "203.0.113.1", [1000, 5000]);
    for piece in ["PRIVMSG bob :h", "ello\r", "\nPRIVMSG #x :\x01A", "CTION waves\x01\r\n"] {
        assert_eq!(session.says(Client, piece).drop(), None, "{piece:?}");
    }
}

#[test]
fn irc_g20_a_masqueraded_client_is_reached_by_anybody_as_who_he_is() {
    for (preset, from) in [(Preset::Classic, "192.0.2.77"), (Preset::Linux, "198.51.100.2")] {
        let mut session = masqueraded(preset, "203.0.113.77", [1000, 5000]);
        session.says(Client, &send("10.0.0.2", 5001));
        let child = Pair::at("192.0.2.77:30000", "203.0.113.77:5001");
        let inside = Pair::at(&format!("{from}:30000"), "10.0.0.2:5001");
        let syn = session.it.crosses(OUTSIDE, &child.tcp("S", 1, 0), &inside.tcp("S", 1, 0));
        assert_eq!(syn.state, Some(State::Related));
        let answer = (inside.inverse().tcp("SA", 9, 2), child.inverse().tcp("SA", 9, 2));
        session.it.crosses(INSIDE, &answer.0, &answer.1);
        session.it.check();
    }
}

#[test]
fn irc_g20_a_client_outside_of_a_server_inside_is_reached_from_inside() {
    for (preset, by) in [(Preset::Classic, "203.0.113.1"), (Preset::Linux, "203.0.113.10")] {
        let mut session = published(preset);
        let offer = send("198.51.100.9", 5001);
        assert_eq!(session.says(Client, &offer).text, offer);
        assert_eq!(session.expected(), ["0.0.0.0 > 198.51.100.9 5001"]);
        let child = Pair::at("10.0.0.7:30000", "198.51.100.9:5001");
        let outside = Pair::at(&format!("{by}:30000"), "198.51.100.9:5001");
        let syn = session.it.crosses(INSIDE, &child.tcp("S", 1, 0), &outside.tcp("S", 1, 0));
        assert_eq!(syn.state, Some(State::Related));
        let answer = (outside.inverse().tcp("SA", 9, 2), child.inverse().tcp("SA", 9, 2));
        session.it.crosses(OUTSIDE, &answer.0, &answer.1);
        session.it.check();
    }
}

#[test]
fn irc_a_port_that_is_taken_outside_becomes_another_and_the_offer_says_it() {
    for preset in PRESETS {
        let mut first = masqueraded(preset, "203.0.113.1", [1000, 5000]);
        first.says(Client, &send("10.0.0.2", 5001));
        let mut second = open(first.it, "10.0.0.3:40001", SERVER, "203.0.113.1:40001", [1000, 5000]);
        let said = second.says(Client, &send("10.0.0.3", 5001)).text;
        let port: u16 = said.split(' ').nth(6).unwrap().parse().unwrap();
        assert_eq!(said, send("203.0.113.1", port));
        assert!(port >= 1024 && port != 5001, "{said}");
        for (port, to) in [(5001, "10.0.0.2:5001"), (port, "10.0.0.3:5001")] {
            let child = Pair::at("192.0.2.77:30000", &format!("203.0.113.1:{port}"));
            assert_eq!(second.it.reaches(OUTSIDE, &child.tcp("S", 1, 0)).1, to);
        }
    }
}
