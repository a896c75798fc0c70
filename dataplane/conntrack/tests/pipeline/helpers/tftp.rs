//! TFTP: requests, and answers that come from other ports.

use super::session::expected;
use super::translated::{inwards, outwards, pool, router};
use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::policy::RuleAction;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, RuleCounters, State};

const READ: &[u8] = b"\0\x01file\0octet\0";
const WRITE: &[u8] = b"\0\x02file\0netascii\0blksize\x001428\0";
const DATA: &[u8] = b"\0\x03\0\x01data";
const ACKNOWLEDGEMENT: &[u8] = b"\0\x04\0\x01";
const ERROR: &[u8] = b"\0\x05\0\x01no such file\0";
const OPTIONS: &[u8] = b"\0\x06blksize\x001428\0";

/// What is expected of a server that a client inside has asked.
const ANSWER: &str = "198.51.100.2 > 10.0.0.2 40000";

fn tftp_on(ports: &[u16]) -> Assignment {
    Assignment { helper: HelperId::Tftp, ..ftp_on(ports) }
}

/// A wire that lets in what is RELATED.
fn wire_with_helper(preset: Preset) -> Middlebox {
    with_helpers(Middlebox::with(Settings::of(preset, ROOM), firewall()), [tftp_on(&[69])])
}

/// A router that translates.
fn router_with_helper(preset: Preset, nat: Nat) -> Middlebox {
    with_helpers(router(preset, nat, 1500), [tftp_on(&[69])])
}

fn client() -> Pair {
    Pair::at("10.0.0.2:40000", "198.51.100.2:69")
}

/// From another port of the server.
fn answer() -> Pair {
    Pair::at("198.51.100.2:3000", "10.0.0.2:40000")
}

#[test]
fn t1_requests_to_read_and_to_write_expect_an_answer() {
    for preset in PRESETS {
        for request in [READ, WRITE] {
            let mut it = wire_with_helper(preset);
            assert_eq!(it.carries(INSIDE, client(), request), (Some(State::New), Some(client())));
            assert_eq!(expected(&it), [ANSWER]);
            assert_eq!(it.helper_events(HelperEvent::Expected), 1);
            it.check();
        }
    }
}

#[test]
fn t1_other_datagrams_expect_nothing() {
    for preset in PRESETS {
        for other in [DATA, ACKNOWLEDGEMENT, ERROR, OPTIONS, b"", b"\0", b"\x01\0\0\x01", b"\0\x07\0\x01"] {
            let mut it = wire_with_helper(preset);
            assert_eq!(it.carries(INSIDE, client(), other), (Some(State::New), Some(client())));
            assert!(expected(&it).is_empty(), "{other:?}");
            it.check();
        }
    }
}

#[test]
fn t1_g22_a_malformed_request_turns_the_helper_off_and_linux_takes_it_for_one() {
    for malformed in [&b"\0\x01"[..], b"\0\x02file\0", b"\0\x01file\0octet", b"\0\x01file\0zip\0"] {
        let mut it = wire_with_helper(Preset::Classic);
        assert_eq!(it.carries(INSIDE, client(), malformed).1, Some(client()), "it passes");
        it.carries(INSIDE, client(), READ);
        assert!(expected(&it).is_empty(), "{malformed:?}");
        assert_eq!(it.helper_events(HelperEvent::Malformed), 1);
        let mut it = wire_with_helper(Preset::Linux);
        it.carries(INSIDE, client(), malformed);
        assert_eq!(expected(&it), [ANSWER]);
    }
    let mut it = wire_with_helper(Preset::Classic);
    it.carries(INSIDE, client(), b"GET /\r\n");
    it.carries(INSIDE, client(), READ);
    assert!(expected(&it).is_empty());
    assert_eq!(it.helper_events(HelperEvent::OtherProtocol), 1);
}

/// NAT slipstreaming over UDP: whoever has a browser ask a STUN server at the port of TFTP gets no port of it.
#[test]
fn g4_a_stun_binding_request_expects_nothing() {
    let mut it = wire_with_helper(Preset::Classic);
    it.carries(INSIDE, client(), b"\0\x01\0\0\x21\x12\xa4\x42transactions");
    assert!(expected(&it).is_empty());
    assert_eq!(it.helper_events(HelperEvent::Malformed), 1);
}

#[test]
fn what_a_server_says_is_no_request_but_in_linux() {
    for (preset, count) in [(Preset::Classic, 0), (Preset::Linux, 1)] {
        let mut it = wire_with_helper(preset);
        it.carries(INSIDE, client(), ACKNOWLEDGEMENT);
        it.carries(OUTSIDE, client().inverse(), READ);
        assert_eq!(expected(&it).len(), count);
    }
}

#[test]
fn g1_g3_rules_alone_assign_the_helper_whatever_the_port() {
    for (port, rule, count) in [(69, 6969, 0), (6969, 6969, 1)] {
        let pair = Pair::at("10.0.0.2:40000", &format!("198.51.100.2:{port}"));
        let mut it = with_helpers(Middlebox::of(Preset::Classic), [tftp_on(&[rule])]);
        it.carries(INSIDE, pair, READ);
        assert_eq!(expected(&it).len(), count);
    }
}

#[test]
fn t2_the_answer_comes_from_any_port_of_the_server_once() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.carries(INSIDE, client(), READ);
        let other_address = Pair::at("198.51.100.3:3000", "10.0.0.2:40000");
        assert_eq!(it.carries(OUTSIDE, other_address, DATA), (Some(State::New), None));
        let other_port = Pair::at("198.51.100.2:3000", "10.0.0.2:40001");
        assert_eq!(it.carries(OUTSIDE, other_port, DATA), (Some(State::New), None));
        assert_eq!(it.carries(OUTSIDE, answer(), DATA), (Some(State::Related), Some(answer())));
        let back = answer().inverse();
        assert_eq!(it.carries(INSIDE, back, ACKNOWLEDGEMENT), (Some(State::Established), Some(back)));
        let second = Pair::at("198.51.100.2:3001", "10.0.0.2:40000");
        assert_eq!(it.carries(OUTSIDE, second, DATA), (Some(State::New), None), "it is used up");
        it.check();
    }
}

#[test]
fn t3_options_or_an_error_come_first_like_data() {
    for preset in PRESETS {
        for first in [OPTIONS, ERROR, ACKNOWLEDGEMENT] {
            let mut it = wire_with_helper(preset);
            it.carries(INSIDE, client(), READ);
            assert_eq!(it.carries(OUTSIDE, answer(), first), (Some(State::Related), Some(answer())));
        }
    }
}

#[test]
fn t4_g17_a_repeated_request_is_waited_for_anew() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.change(|configuration| configuration.settings.timeouts.udp_unreplied_ms = 1_000_000);
        it.carries(INSIDE, client(), READ);
        it.pass(secs(200));
        it.carries(INSIDE, client(), READ);
        assert_eq!(expected(&it), [ANSWER]);
        it.pass(secs(299));
        assert_eq!(expected(&it), [ANSWER]);
        it.pass(secs(2));
        assert!(expected(&it).is_empty());
        it.check();
    }
}

#[test]
fn t5_a_server_may_answer_from_its_own_port() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.carries(INSIDE, client(), READ);
        let back = client().inverse();
        assert_eq!(it.carries(OUTSIDE, back, DATA), (Some(State::Established), Some(back)));
        assert_eq!(it.carries(INSIDE, client(), ACKNOWLEDGEMENT).1, Some(client()));
        assert_eq!(it.helper_events(HelperEvent::OtherProtocol), 0);
    }
}

/// A request from one side of a box, as it reaches the server, and the box.
struct Request {
    nat: Nat,
    port: PortId,
    sent: Pair,
    arrives: Pair,
}

fn requests() -> [Request; 5] {
    let masquerade = || outwards(pool("203.0.113.1"));
    let between = |sent: [&str; 2], arrives: [&str; 2], port, nat| {
        let [sent, arrives] = [sent, arrives].map(|[from, to]| Pair::at(from, to));
        Request { nat, port, sent, arrives }
    };
    let through_two = Nat { source: masquerade().source, ..inwards("10.9.9.9", "198.51.100.2") };
    let [v6_client, v6_server] = ["[fd00::2]:40000", "[2001:db8:9::2]:69"];
    let [v6_public, v6_published] = ["2001:db8:2::7", "2001:db8:2::9"];
    [
        between(
            ["10.0.0.2:40000", "198.51.100.2:69"],
            ["203.0.113.1:40000", "198.51.100.2:69"],
            INSIDE,
            masquerade(),
        ),
        between(
            ["198.51.100.9:40000", "203.0.113.10:69"],
            ["198.51.100.9:40000", "10.0.0.5:69"],
            OUTSIDE,
            inwards("203.0.113.10", "10.0.0.5"),
        ),
        between(
            ["10.0.0.2:40000", "10.9.9.9:69"],
            ["203.0.113.1:40000", "198.51.100.2:69"],
            INSIDE,
            through_two,
        ),
        between(
            [v6_client, v6_server],
            [&format!("[{v6_public}]:40000"), v6_server],
            INSIDE,
            outwards(pool(v6_public)),
        ),
        between(
            ["[2001:db8:9::9]:40000", &format!("[{v6_published}]:69")],
            ["[2001:db8:9::9]:40000", "[fd00::5]:69"],
            OUTSIDE,
            inwards(v6_published, "fd00::5"),
        ),
    ]
}

#[test]
fn t6_g20_answers_are_translated_as_the_request_was() {
    for preset in PRESETS {
        for Request { nat, port, sent, arrives } in requests() {
            let mut it = router_with_helper(preset, nat);
            assert_eq!(it.carries(port, sent, READ), (Some(State::New), Some(arrives)));
            let other_side = if port == INSIDE { OUTSIDE } else { INSIDE };
            let from = |server: std::net::IpAddr, client| Pair {
                source: (server, 3000).into(),
                destination: client,
            };
            let answer = from(arrives.destination.ip(), arrives.source);
            let at_client = from(sent.destination.ip(), sent.source);
            assert_eq!(it.carries(other_side, answer, DATA), (Some(State::Related), Some(at_client)));
            let [back, at_server] = [at_client.inverse(), answer.inverse()];
            assert_eq!(it.carries(port, back, ACKNOWLEDGEMENT), (Some(State::Established), Some(at_server)));
            assert_eq!(it.carries(other_side, answer, DATA), (Some(State::Established), Some(at_client)));
            it.check();
        }
    }
}

#[test]
fn t6_clients_that_share_a_port_get_their_own_answers() {
    for preset in PRESETS {
        let mut it = router_with_helper(preset, outwards(pool("203.0.113.1")));
        let clients = ["10.0.0.2:40000", "10.0.0.3:40000"].map(|from| Pair::at(from, "198.51.100.2:69"));
        let outside =
            clients.map(|client| it.carries(INSIDE, client, READ).1.expect("a request leaves").source);
        assert_ne!(outside[0].port(), outside[1].port());
        for (client, outside) in clients.into_iter().zip(outside) {
            let server = "198.51.100.2:3000".parse().unwrap();
            let answer = Pair { source: server, destination: outside };
            let at_client = Pair { source: server, destination: client.source };
            assert_eq!(it.carries(OUTSIDE, answer, DATA), (Some(State::Related), Some(at_client)));
        }
        it.check();
    }
}

#[test]
fn t7_g23_a_transfer_outlives_the_request() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.carries(INSIDE, client(), READ);
        it.carries(OUTSIDE, answer(), DATA);
        for _ in 0..500 {
            let back = answer().inverse();
            assert_eq!(it.carries(INSIDE, back, ACKNOWLEDGEMENT), (Some(State::Established), Some(back)));
            it.pass(secs(20));
            assert_eq!(it.carries(OUTSIDE, answer(), DATA), (Some(State::Established), Some(answer())));
        }
        assert_eq!(it.entries().len(), 1, "the request's own connection is over");
        it.check();
    }
}

#[test]
fn g8_the_port_of_a_service_is_opened_in_linux_only() {
    for (preset, count) in [(Preset::Classic, 0), (Preset::Linux, 1)] {
        let mut it = wire_with_helper(preset);
        it.carries(INSIDE, Pair::at("10.0.0.2:137", "198.51.100.2:69"), READ);
        assert_eq!(expected(&it).len(), count);
        assert_eq!(it.helper_events(HelperEvent::PrivilegedPort), 1 - count as u64);
    }
}

#[test]
fn g11_expectations_end_with_the_request() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.carries(INSIDE, client(), READ);
        it.pass(secs(31));
        assert!(expected(&it).is_empty());
        assert_eq!(it.carries(OUTSIDE, answer(), DATA), (Some(State::New), None));
        it.check();
    }
}

#[test]
fn g16_a_request_whose_answer_is_expected_already_is_dropped() {
    for preset in PRESETS {
        let mut it = with_helpers(wire_with_helper(preset), [tftp_on(&[69, 6969])]);
        it.carries(INSIDE, client(), READ);
        let other = Pair::at("10.0.0.2:40000", "198.51.100.2:6969");
        assert_eq!(it.carries(INSIDE, other, READ), (Some(State::New), None));
        assert_eq!(it.drops(DropReason::ExpectationClash), 1);
        assert_eq!(it.entries().len(), 1, "the connection has not begun");
        assert_eq!(it.helper_events(HelperEvent::Refused), 1);
        assert_eq!(expected(&it), [ANSWER]);
        it.check();
    }
}

#[test]
fn rules_count_no_connection_whose_request_is_dropped() {
    for preset in PRESETS {
        for Request { nat, port, sent, .. } in requests() {
            let mut it = with_helpers(router(preset, nat, 1500), [tftp_on(&[69, 6969])]);
            assert!(it.carries(port, sent, READ).1.is_some());
            let counted = it.shard.rule_counters().clone();
            assert!(
                counted
                    .source
                    .iter()
                    .map(|rule| rule.bound)
                    .chain(counted.destination.iter().copied())
                    .any(|bound| bound == 1)
            );
            let mut other = sent;
            other.destination.set_port(6969);
            assert_eq!(it.carries(port, other, READ), (Some(State::New), None));
            assert_eq!(it.drops(DropReason::ExpectationClash), 1);
            let RuleCounters { source, destination, .. } = it.shard.rule_counters();
            assert_eq!((source, destination), (&counted.source, &counted.destination));
        }
    }
}

#[test]
fn what_the_policy_drops_expects_nothing() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.reload(rules([(states([State::New]), RuleAction::Drop)]));
        it = with_helpers(it, [tftp_on(&[69])]);
        it.carries(INSIDE, client(), READ);
        assert!(expected(&it).is_empty());
        assert!(it.shard.is_empty());
    }
}
