//! FTP on connections that are not translated: what is expected.

use super::session::*;
use super::*;
use sluice_conntrack::DropReason;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::settings::Preset;

const TO_CLIENT: &str = "198.51.100.2 > 10.0.0.2";
const TO_SERVER: &str = "10.0.0.2 > 198.51.100.2";

/// What is expected when an end says this after the login.
fn said(preset: Preset, from: End, text: &str) -> Vec<String> {
    let mut session = Session::plain(preset).logged_in();
    assert_eq!(session.says(from, text).drop(), None, "{text}");
    session.it.check();
    session.expected()
}

/// That a port of the one who says this is expected in both presets, and that the source port stays open.
#[track_caller]
fn announces(from: End, text: &str, port: u16) {
    let who = if from == Client { TO_CLIENT } else { TO_SERVER };
    for preset in PRESETS {
        assert_eq!(said(preset, from, text), [format!("{who} {port}")], "{preset:?}: {text}");
    }
}

#[test]
fn f1_announcements_count_in_any_case() {
    for text in ["PORT 10,0,0,2,19,137\r\n", "port 10,0,0,2,19,137\r\n", "PoRt 10,0,0,2,19,137\r\n"] {
        announces(Client, text, 5001);
    }
    for text in ["EPRT |1|10.0.0.2|5001|\r\n", "eprt ,1,10.0.0.2,5001,\r\n"] {
        announces(Client, text, 5001);
    }
    announces(Server, "227 Entering Passive Mode (198,51,100,2,200,10).\r\n", 51_210);
    announces(Server, "227 entering passive mode (198,51,100,2,200,10)\r\n", 51_210);
}

#[test]
fn f2_epsv_and_eprt_work_on_either_family() {
    announces(Server, "229 Entering Extended Passive Mode (|||51210|)\r\n", 51_210);
    for preset in PRESETS {
        let mut session = Session::plain_v6(preset).logged_in();
        session.says(Client, "EPSV 2\r\n");
        session.says(Server, "229 Entering Extended Passive Mode (|||51210|)\r\n");
        assert_eq!(session.expected(), ["fd00::2 > 2001:db8:9::2 51210"]);
        session.says(Client, "EPRT |2|fd00::2|5001|\r\n");
        assert_eq!(session.expected(), ["2001:db8:9::2 > fd00::2 5001"]);
    }
}

#[test]
fn f2_after_epsv_all_nothing_else_announces() {
    let mut session = Session::plain(Preset::Classic).logged_in();
    session.says(Client, "EPSV ALL\r\n");
    session.says(Client, "PORT 10,0,0,2,19,137\r\n");
    session.says(Client, "EPRT |1|10.0.0.2|5001|\r\n");
    session.says(Server, "227 Entering Passive Mode (198,51,100,2,200,10).\r\n");
    assert!(session.expected().is_empty());
    session.says(Server, "229 Entering Extended Passive Mode (|||51210|)\r\n");
    assert_eq!(session.expected(), [format!("{TO_SERVER} 51210")]);
}

#[test]
fn f3_replies_may_be_worded_otherwise() {
    announces(Server, "227 Passive =198,51,100,2,200,1\r\n", 51_201);
    announces(Server, "229 Entering (!!!51210!)\r\n", 51_210);
    let with_address = "229 Entering (|1|198.51.100.2|51210|)\r\n";
    assert_eq!(said(Preset::Classic, Server, with_address), [format!("{TO_SERVER} 51210")]);
    assert!(said(Preset::Classic, Server, "229 Entering (|1|198.51.100.3|51210|)\r\n").is_empty());
}

#[test]
fn f4_only_the_last_line_of_a_reply_counts() {
    let mut session = Session::plain(Preset::Classic).logged_in();
    session.says(Server, "227-Entering Passive Mode (198,51,100,2,200,1)\r\n229 (|||2222|)\r\n");
    assert!(session.expected().is_empty());
    session.says(Server, "227 Entering Passive Mode (198,51,100,2,200,2)\r\n");
    assert_eq!(session.expected(), [format!("{TO_SERVER} 51202")]);
}

#[test]
fn f5_bounce_attack_expects_nothing() {
    for preset in PRESETS {
        let mut session = Session::plain(preset).logged_in();
        for (from, text) in [
            (Client, "PORT 10,0,0,3,19,137\r\n"),
            (Client, "EPRT |1|192.0.2.1|5001|\r\n"),
            (Server, "227 Entering Passive Mode (198,51,100,3,200,10)\r\n"),
        ] {
            assert_eq!(session.says(from, text).drop(), None);
        }
        assert!(session.expected().is_empty());
        assert_eq!(session.events(HelperEvent::ForeignAddress), 3);
        assert_eq!(session.says(Client, "PORT 10,0,0,2,19,137\r\n").drop(), None);
        assert_eq!(session.expected(), [format!("{TO_CLIENT} 5001")], "it goes on reading");
    }
}

#[test]
fn f5_a_loose_helper_expects_any_address_of_the_family() {
    for preset in PRESETS {
        let loose = Assignment { loose: true, ..ftp_on(&[21]) };
        let pair = Pair::at("10.0.0.2:40000", "198.51.100.2:21");
        let it = with_helpers(Middlebox::of(preset), [loose]);
        let mut session = Session::open(it, pair, pair.inverse(), [1000, 5000]).logged_in();
        session.says(Server, "227 Entering Passive Mode (198,51,100,3,200,10)\r\n");
        assert_eq!(session.expected(), ["10.0.0.2 > 198.51.100.3 51210"]);
    }
    // An IPv4 address in a session of IPv6 is none that it could mean.
    let pair = Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:21");
    let it = with_helpers(Middlebox::of(Preset::Classic), [Assignment { loose: true, ..ftp_on(&[21]) }]);
    let mut session = Session::open(it, pair, pair.inverse(), [1000, 5000]).logged_in();
    session.says(Client, "PORT 10,0,0,2,19,137\r\n");
    assert!(session.expected().is_empty());
}

#[test]
fn f7_g22_what_is_malformed_expects_nothing_and_turns_the_helper_off() {
    for text in [
        "PORT 10,0,0,2,19\r\n",
        "PORT 10,0,0,2,300,1\r\n",
        "PORT 10,0,0,2,019,137\r\n",
        "PORT  10,0,0,2,19,138\r\n",
        "PORT 10,0,0,2,19,139 \r\n",
        "PORT 10,0,0,2,19,141\n",
        "EPRT |1|10.0.0.2|5003\r\n",
        "EPRT |3|10.0.0.2|5005|\r\n",
        "EPRT |1|10.0.0.2|70000|\r\n",
    ] {
        let mut session = Session::plain(Preset::Classic).logged_in();
        assert_eq!(session.says(Client, text).drop(), None, "{text}");
        session.says(Client, "PORT 10,0,0,2,19,137\r\n");
        assert!(session.expected().is_empty(), "{text}");
        assert_eq!(session.events(HelperEvent::Malformed), 1);
    }
}

#[test]
fn f7_linux_drops_what_begins_like_an_announcement_and_takes_what_wraps_around() {
    for text in ["PORT 10,0,0,2,19\r\n", "PORT  10,0,0,2,19,138\r\n", "EPRT |1|10.0.0.2|0|\r\n", "PORT", "P"]
    {
        let mut session = Session::plain(Preset::Linux).logged_in();
        assert_eq!(session.says(Client, text).drop(), Some(DropReason::HelperPartial), "{text}");
        assert!(session.expected().is_empty());
    }
    for (text, port) in [
        ("PORTS 10,0,0,2,19,142\r\n", 5006),
        ("PORT 10,0,0,2,0,0\r\n", 0),
        ("PORT 10,0,0,2,0,22\r\n", 22),
        ("EPRT |1|10.0.0.2|70000|\r\n", 4464),
    ] {
        assert_eq!(said(Preset::Linux, Client, text), [format!("{TO_CLIENT} {port}")]);
    }
}

#[test]
fn g8_ports_of_services_are_opened_for_nobody() {
    let mut session = Session::plain(Preset::Classic).logged_in();
    session.says(Client, "PORT 10,0,0,2,0,0\r\n");
    session.says(Client, "EPRT |1|10.0.0.2|22|\r\n");
    session.says(Server, "227 Entering Passive Mode (198,51,100,2,3,255)\r\n");
    assert!(session.expected().is_empty());
    assert_eq!(session.events(HelperEvent::PrivilegedPort), 3);
    session.says(Server, "227 Entering Passive Mode (198,51,100,2,4,0)\r\n");
    assert_eq!(session.expected(), [format!("{TO_SERVER} 1024")]);
}

#[test]
fn f9_the_first_line_of_a_client_counts_but_in_linux() {
    for (preset, expected) in [(Preset::Classic, 1), (Preset::Linux, 0)] {
        let mut session = Session::plain(preset);
        session.says(Client, "PORT 10,0,0,2,19,137\r\n");
        assert_eq!(session.expected().len(), expected);
        session.says(Client, "PORT 10,0,0,2,19,138\r\n");
        assert_eq!(session.expected(), [format!("{TO_CLIENT} 5002")], "the second does in both");
    }
}

#[test]
fn f13_g10_the_server_connects_from_any_port_of_its_own_and_once() {
    for preset in PRESETS {
        let mut session = Session::plain(preset).logged_in();
        session.says(Client, "PORT 10,0,0,2,19,137\r\n");
        session.it.reload(firewall());
        let mut connects = |from: &str, to: &str| {
            let verdict = session.it.outside(&Pair::at(from, to).tcp("S", 1, 0));
            (verdict.state, verdict.drop_reason().is_none())
        };
        use sluice_conntrack::State;
        assert_eq!(connects("198.51.100.3:20", "10.0.0.2:5001"), (Some(State::New), false), "another host");
        assert_eq!(connects("198.51.100.2:20", "10.0.0.2:5002"), (Some(State::New), false), "another port");
        assert_eq!(connects("198.51.100.2:34567", "10.0.0.2:5001"), (Some(State::Related), true));
        assert_eq!(connects("198.51.100.2:34568", "10.0.0.2:5001"), (Some(State::New), false), "used up");
    }
}

#[test]
fn f14_a_new_announcement_replaces_the_one_before() {
    for preset in PRESETS {
        let mut session = Session::plain(preset).logged_in();
        session.says(Client, "PORT 10,0,0,2,19,137\r\n");
        session.says(Client, "PORT 10,0,0,2,19,138\r\n");
        session.says(Client, "EPRT |1|10.0.0.2|5003|\r\n");
        assert_eq!(session.expected(), [format!("{TO_CLIENT} 5003")]);
    }
}

#[test]
fn f15_an_encrypted_session_is_left_alone() {
    let mut session = Session::plain(Preset::Classic);
    session.says(Server, "220 ready\r\n");
    session.says(Client, "AUTH TLS\r\n");
    session.says(Server, "234 go on\r\n");
    session.says(Client, "PORT 10,0,0,2,19,137\r\n");
    assert!(session.expected().is_empty());
    assert_eq!(session.events(HelperEvent::Encrypted), 1);
    assert_eq!(session.events(HelperEvent::OtherProtocol), 0);
    // A server that refuses it, as many do, is read on.
    let mut session = Session::plain(Preset::Classic);
    session.says(Client, "AUTH TLS\r\n");
    session.says(Server, "530 no\r\n");
    session.says(Client, "PORT 10,0,0,2,19,137\r\n");
    assert_eq!(session.expected().len(), 1);
}

#[test]
fn f16_what_the_other_side_would_say_is_nothing() {
    for preset in PRESETS {
        let mut session = Session::plain(preset).logged_in();
        session.says(Server, "PORT 198,51,100,2,19,137\r\n");
        session.says(Client, "227 Entering Passive Mode (10,0,0,2,200,10)\r\n");
        session.says(Server, "150 227 (198,51,100,2,200,4)\r\n");
        assert!(session.expected().is_empty());
    }
}

#[test]
fn stou_needs_nothing_but_the_port_before_it() {
    let mut session = Session::plain(Preset::Classic).logged_in();
    session.says(Client, "PORT 10,0,0,2,19,137\r\n");
    session.says(Client, "STOU\r\n");
    session.says(Server, "150 FILE: x.1\r\n");
    assert_eq!(session.expected(), [format!("{TO_CLIENT} 5001")]);
}

#[test]
fn g16_a_packet_that_announces_what_is_expected_already_is_dropped() {
    for preset in PRESETS {
        let mut session = Session::plain(preset).logged_in();
        session.says(Client, "PORT 10,0,0,2,19,137\r\n");
        let it = std::mem::replace(&mut session.it, Middlebox::of(preset));
        let pair = Pair::at("10.0.0.2:40001", "198.51.100.2:21");
        let mut other = Session::open(it, pair, pair.inverse(), [100, 200]).logged_in();
        let dropped = other.says(Client, "PORT 10,0,0,2,19,137\r\n");
        assert_eq!(dropped.drop(), Some(DropReason::ExpectationClash));
        assert_eq!(other.expected().len(), 1);
    }
}

#[test]
fn g17_linux_waits_anew_for_what_is_announced_again() {
    let mut session = Session::plain(Preset::Linux).logged_in();
    let seq = session.next[0];
    session.says(Client, "PORT 10,0,0,2,19,137\r\n");
    session.it.pass(secs(100));
    assert_eq!(session.sends(Client, seq, "PORT 10,0,0,2,19,137\r\n").drop(), None);
    session.it.pass(secs(250));
    assert_eq!(session.expected().len(), 1);
    session.it.pass(secs(51));
    assert!(session.expected().is_empty());
}
