//! What of a stream a helper reads.

use super::session::*;
use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::settings::Preset;
use sluice_conntrack::{DropReason, State};

const PORT: &str = "PORT 10,0,0,2,19,137\r\n";
const EXPECTED: [&str; 1] = ["198.51.100.2 > 10.0.0.2 5001"];

#[test]
fn f8_a_command_may_be_cut_at_every_byte() {
    for cut in 1..PORT.len() {
        let mut session = Session::plain(Preset::Classic).logged_in();
        assert_eq!(session.says(Client, &PORT[..cut]).drop(), None);
        assert!(session.expected().is_empty(), "cut at {cut}");
        assert_eq!(session.says(Client, &PORT[cut..]).drop(), None);
        assert_eq!(session.expected(), EXPECTED, "cut at {cut}");
        session.it.check();
    }
    let mut session = Session::plain(Preset::Classic).logged_in();
    for byte in PORT.chars() {
        session.says(Client, &byte.to_string());
    }
    assert_eq!(session.expected(), EXPECTED);
}

#[test]
fn f8_linux_reads_the_first_command_of_a_segment_only() {
    for (preset, port) in [(Preset::Classic, 5001), (Preset::Linux, 5005)] {
        let mut session = Session::plain(preset).logged_in();
        session.says(Client, &format!("PORT 10,0,0,2,19,141\r\n{PORT}"));
        assert_eq!(session.expected(), [format!("198.51.100.2 > 10.0.0.2 {port}")]);
        let mut session = Session::plain(preset).logged_in();
        session.says(Client, &format!("NOOP\r\n{PORT}"));
        assert_eq!(session.expected().len(), usize::from(preset == Preset::Classic));
    }
}

#[test]
fn f8_retransmitted_and_reordered_segments_are_read_once_and_in_order() {
    for (first, second, third) in [(0, 5, 12), (0, 12, 5), (5, 0, 12), (5, 12, 0), (12, 5, 0), (12, 0, 5)] {
        let mut session = Session::plain(Preset::Classic).logged_in();
        let start = session.next[0];
        session.next[0] += PORT.len() as u32;
        let end = |from| {
            if from == 0 {
                5
            } else if from == 5 {
                12
            } else {
                PORT.len()
            }
        };
        for from in [first, second, third, first, second, third] {
            let segment = session.sends(Client, start + from as u32, &PORT[from..end(from)]);
            assert_eq!(segment.drop(), None);
        }
        assert_eq!(session.expected(), EXPECTED, "{first} {second} {third}");
    }
}

#[test]
fn f17_a_forged_segment_reaches_no_helper() {
    let mut session = Session::plain(Preset::Classic).logged_in();
    let next = session.next[0];
    let forged = session.sends(Client, next.wrapping_add(1 << 20), PORT);
    assert_eq!(forged.verdict.state, Some(State::Invalid));
    let spoilt = session.segment(Client, next, PORT.as_bytes(), &[]).spoilt();
    assert_eq!(session.it.inside(&spoilt).state, Some(State::Invalid));
    assert!(session.expected().is_empty());
    session.says(Client, "NOOP\r\n");
    session.says(Client, PORT);
    assert_eq!(session.expected(), EXPECTED, "nor does it disturb one");
}

#[test]
fn what_the_policy_drops_reaches_no_helper() {
    for preset in PRESETS {
        let mut session = Session::plain(preset).logged_in();
        let syns_only = policy::TcpFlags { mask: 0x08, value: 0x08, invert: true };
        let but_data = Match { tcp_flags: Some(syns_only), ..Match::default() };
        session.it.reload(rules([(but_data, policy::RuleAction::Accept)]));
        let seq = session.next[0];
        assert_eq!(session.sends(Client, seq, PORT).drop(), Some(DropReason::Policy));
        assert!(session.expected().is_empty());
    }
}

#[test]
fn f19_a_session_picked_up_is_read_from_the_first_certain_line_on() {
    for preset in PRESETS {
        let pair = Pair::at("10.0.0.2:40000", "198.51.100.2:21");
        let mut session = Session::picked_up(ftp_box(preset), pair, [7000, 9000]);
        session.acknowledge(Client);
        session.acknowledge(Server);
        session.says(Client, PORT);
        assert!(session.expected().is_empty(), "it might begin in the midst of a line");
        session.says(Client, "PORT 10,0,0,2,19,138\r\n");
        assert_eq!(session.expected(), ["198.51.100.2 > 10.0.0.2 5002"]);
    }
}

/// S. Kamkar's attack: a web page has the browser post a form whose body is padded so that a segment of it begins with a line
/// of a protocol that a helper reads.
#[test]
fn g4_slipstream_v1_expects_nothing() {
    let mut session = Session::plain(Preset::Classic);
    let request = "POST / HTTP/1.1\r\nHost: 198.51.100.2:21\r\nContent-Length: 100000\r\n\r\n";
    session.says(Client, request);
    assert_eq!(session.events(HelperEvent::OtherProtocol), 1);
    for padding in ["a".repeat(1400), "b\r\n".repeat(400), String::from("USER x\r\n")] {
        session.says(Client, &padding);
        session.says(Client, PORT);
        session.says(Client, &format!("\r\n{PORT}"));
    }
    session.says(Server, "220 ready\r\n");
    session.says(Client, PORT);
    assert!(session.expected().is_empty());
    assert_eq!(session.events(HelperEvent::OtherProtocol), 1, "it is off for good");
    session.it.check();
}

#[test]
fn g4_a_method_that_is_a_verb_helps_no_attacker() {
    for first in
        ["PORT / HTTP/1.1\r\nHost: x\r\n", "NOOP / HTTP/1.1\r\nHost: x\r\n", "\x16\x03\x01 TLS\r\n", "\r\n"]
    {
        let mut session = Session::plain(Preset::Classic);
        session.says(Client, first);
        session.says(Client, PORT);
        assert!(session.expected().is_empty(), "{first}");
    }
}

/// Data in the SYN is not what anybody has agreed to take (RFC 7413): where the stream begins is not known then.
#[test]
fn g4_a_stream_that_begins_in_its_syn_is_not_read() {
    let pair = Pair::at("10.0.0.2:40000", "198.51.100.2:21");
    let mut it = ftp_box(Preset::Classic);
    let mut syn = pair.tcp("S", 1000, 0);
    syn.l4.extend_from_slice(b"POST / HTTP/1.1\r\n");
    it.inside(&syn);
    it.outside(&pair.inverse().tcp("SA", 5000, 1018));
    let mut session = Session::picked_up(it, pair, [1018, 5001]);
    session.says(Client, "USER me\r\n");
    session.says(Client, PORT);
    assert!(session.expected().is_empty());
}

/// CVE-2026-53268: a parser that went on from where it had failed read beyond the line.
#[test]
fn g12_cve_2026_53268_a_verb_without_its_argument_ends_the_reading() {
    for text in [
        "PORT",
        "PORT \r\n",
        "EPRT\r\n",
        "EPRT |\r\n",
        "EPRT |1\r\n",
        "EPRT |1|\r\n",
        "EPRT |1|10.0.0.2|\r\n",
    ] {
        for preset in PRESETS {
            let mut session = Session::plain(preset).logged_in();
            session.says(Client, text);
            let next = session.next[0];
            session.sends(Client, next, "\r\nPORT 10,0,0,2,19,137\r\n");
            assert!(session.expected().is_empty(), "{preset:?} {text}");
        }
    }
    for text in ["227 \r\n", "227\r\n", "229 (\r\n", "229 (|||)\r\n", "229 (|||5\r\n", "227 1,2,3,4,5\r\n"] {
        for preset in PRESETS {
            let mut session = Session::plain(preset).logged_in();
            session.says(Server, text);
            assert!(session.expected().is_empty(), "{preset:?} {text}");
        }
    }
}

/// CVE-2026-23457, CVE-2026-53002: lengths that were cut to 8 or 16 bits.
#[test]
fn g13_cve_2026_23457_long_lines_and_segments_are_read_with_bounds() {
    for preset in PRESETS {
        for len in [255, 256, 511, 512, 513, 1000, 8000] {
            let mut session = Session::plain(preset).logged_in();
            session.says(Client, &format!("NOOP {}\r\n", "x".repeat(len)));
            session.says(Server, &format!("200 {}\r\n", "1,".repeat(len / 2)));
            session.says(Client, PORT);
            assert_eq!(session.expected(), EXPECTED, "{preset:?} {len}");
            session.says(Server, &format!("227 {} (198,51,100,2,200,10)\r\n", "y".repeat(len)));
            assert_eq!(session.expected().len(), 1);
        }
    }
}

#[test]
fn more_than_a_few_announcements_in_one_segment_are_nobodys() {
    let mut session = Session::plain(Preset::Classic).logged_in();
    session.says(Client, &PORT.repeat(50));
    assert_eq!(session.events(HelperEvent::TooMany), 1);
    assert_eq!(session.events(HelperEvent::Expected), 4);
}

#[test]
fn telnet_commands_in_front_of_a_line_are_passed_over() {
    let mut session = Session::plain(Preset::Classic).logged_in();
    let next = session.next[0];
    let abort = session.segment(Client, next, b"\xff\xf4\xff\xf2ABOR\r\n", &[]);
    session.pass(Client, abort);
    session.next[0] += 10;
    session.awaited[1] += 10;
    session.says(Client, PORT);
    assert_eq!(session.expected(), EXPECTED);
}
