//! talk and ntalk: a daemon that has announced a caller has its host come for the invitation, and who gets that calls the caller's
//! client.

use super::datagrams::Passed;
use super::session::expected;
use super::translated::{inwards, outwards, pool, router};
use super::*;
use sluice_conntrack::helpers::{Descriptor, HelperEvent};
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, State};

const LEAVE_INVITE: u8 = 0;
const LOOK_UP: u8 = 1;
const ANNOUNCE: u8 = 3;
const SUCCESS: u8 = 0;
const NOT_HERE: u8 = 1;

const HELPERS: [HelperId; 2] = [HelperId::Talk, HelperId::Ntalk];

fn port_of(helper: HelperId) -> u16 {
    Descriptor::of(helper).ports[0]
}

/// A `sockaddr_in` of the talk protocols.
fn sockaddr(endpoint: &str) -> Vec<u8> {
    let SocketAddr::V4(endpoint) = endpoint.parse().unwrap() else { panic!("{endpoint} is IPv4") };
    [&[0, 2], &endpoint.port().to_be_bytes()[..], &endpoint.ip().octets(), &[0; 8]].concat()
}

/// A request of a client that has its conversation at `addr`, and waits for an answer at `ctl_addr`.
fn request(helper: HelperId, kind: u8, addr: &str, ctl_addr: &str) -> Vec<u8> {
    let name = |name: &str, len: usize| [name.as_bytes(), &vec![0; len - name.len()]].concat();
    let addresses = [sockaddr(addr), sockaddr(ctl_addr)].concat();
    match helper {
        HelperId::Talk => [vec![kind], name("alice", 9), name("bob", 9), vec![0; 25], addresses].concat(),
        _ => {
            let names = [name("alice", 12), name("bob", 12), vec![0; 16]].concat();
            [vec![1, kind, 0, 0, 0, 0, 0, 7], addresses, vec![0; 4], names].concat()
        }
    }
}

fn response(helper: HelperId, kind: u8, answer: u8, addr: &str) -> Vec<u8> {
    let begin = if helper == HelperId::Talk { vec![kind, answer, 0] } else { vec![1, kind, answer] };
    [begin, vec![0; 5], sockaddr(addr)].concat()
}

/// The address that stands there.
fn endpoint(payload: &[u8], at: usize) -> String {
    let address: [u8; 4] = *payload[at + 4..].first_chunk().unwrap();
    SocketAddr::from((address, u16::from_be_bytes([payload[at + 2], payload[at + 3]]))).to_string()
}

/// Those that a request mentions.
fn mentioned(helper: HelperId, request: &[u8]) -> [String; 2] {
    let places = if helper == HelperId::Talk { [44, 60] } else { [8, 24] };
    places.map(|at| endpoint(request, at))
}

fn on(helper: HelperId, loose: bool) -> [Assignment; 1] {
    [Assignment { helper, loose, ..ftp_on(&[port_of(helper)]) }]
}

/// A wire that lets in what is RELATED.
fn wire(preset: Preset, helper: HelperId) -> Middlebox {
    with_helpers(Middlebox::with(Settings::of(preset, ROOM), firewall()), on(helper, false))
}

fn translating(preset: Preset, helper: HelperId, nat: Nat) -> Middlebox {
    with_helpers(router(preset, nat, 1500), on(helper, false))
}

impl Middlebox {
    /// The payload of a datagram that passes.
    #[track_caller]
    fn brings(&mut self, port: PortId, [from, to]: [&str; 2], payload: &[u8]) -> (Passed, Vec<u8>) {
        let passed = self.passes(port, &Pair::at(from, to).datagram(payload));
        let payload = passed.text.chars().map(|byte| byte as u8).collect();
        (passed, payload)
    }

    /// The state of a first segment, and where it goes.
    fn calls(&mut self, port: PortId, from: &str, to: &str) -> (Option<State>, String) {
        let (verdict, to) = self.reaches(port, &Pair::at(from, to).tcp("S", 1, 0));
        (verdict.state, to)
    }
}

/// Alice, inside, has Bob called by the daemon of his host.
fn announced(it: &mut Middlebox, helper: HelperId, caller: &str) {
    let daemon = format!("198.51.100.2:{}", port_of(helper));
    let own = format!("{caller}:40000");
    let asks = request(helper, ANNOUNCE, &format!("{caller}:5001"), &own);
    let (passed, _) = it.brings(INSIDE, [&own, &daemon], &asks);
    let back = passed.pair.expect("it leaves").inverse();
    let answers = response(helper, ANNOUNCE, SUCCESS, "0.0.0.0:0");
    it.brings(OUTSIDE, [&back.source.to_string(), &back.destination.to_string()], &answers);
}

#[test]
fn talk_k1_who_is_announced_looks_the_invitation_up_and_calls() {
    for (preset, helper) in PRESETS.into_iter().flat_map(|preset| HELPERS.map(|helper| (preset, helper))) {
        let mut it = wire(preset, helper);
        let port = port_of(helper);
        let daemon = format!("10.0.0.2:{port}");
        let looks_up = request(helper, LOOK_UP, "0.0.0.0:0", "198.51.100.2:50000");
        let asks = ["198.51.100.2:50000", daemon.as_str()];
        assert_eq!(it.brings(OUTSIDE, asks, &looks_up).0.pair, None, "nobody was announced");
        announced(&mut it, helper, "10.0.0.2");
        assert_eq!(expected(&it), [format!("198.51.100.2 > 10.0.0.2 {port}")]);
        let stranger = ["198.51.100.3:50000", daemon.as_str()];
        assert_eq!(it.brings(OUTSIDE, stranger, &looks_up).0.pair, None);
        assert_eq!(it.brings(OUTSIDE, asks, &looks_up).0.state, Some(State::Related));
        let tells = response(helper, LOOK_UP, SUCCESS, "10.0.0.2:5001");
        let (_, told) = it.brings(INSIDE, [&daemon, "198.51.100.2:50000"], &tells);
        assert_eq!(told, tells);
        assert_eq!(expected(&it), ["198.51.100.2 > 10.0.0.2 5001"]);
        let called = it.calls(OUTSIDE, "198.51.100.2:50001", "10.0.0.2:5001");
        assert_eq!(called, (Some(State::Related), "10.0.0.2:5001".into()));
        assert!(expected(&it).is_empty());
        assert_eq!(it.helper_events(HelperEvent::Met), 2);
        it.check();
    }
}

#[test]
fn talk_k1_who_calls_out_is_related_too() {
    for (preset, helper) in PRESETS.into_iter().flat_map(|preset| HELPERS.map(|helper| (preset, helper))) {
        let mut it = wire(preset, helper);
        let daemon = format!("198.51.100.2:{}", port_of(helper));
        it.brings(
            INSIDE,
            ["10.0.0.2:40000", &daemon],
            &request(helper, LOOK_UP, "0.0.0.0:0", "10.0.0.2:40000"),
        );
        let tells = response(helper, LOOK_UP, SUCCESS, "198.51.100.2:6001");
        it.brings(OUTSIDE, [&daemon, "10.0.0.2:40000"], &tells);
        let called = it.calls(INSIDE, "10.0.0.2:40001", "198.51.100.2:6001");
        assert_eq!(called.0, Some(State::Related));
    }
}

#[test]
fn talk_k1_what_is_asked_for_and_what_is_refused_announces_nothing() {
    for helper in HELPERS {
        let mut it = wire(Preset::Classic, helper);
        let daemon = format!("198.51.100.2:{}", port_of(helper));
        let [there, back] = [["10.0.0.2:40000", &daemon], [&daemon, "10.0.0.2:40000"]];
        for kind in [LEAVE_INVITE, LOOK_UP, ANNOUNCE] {
            it.brings(INSIDE, there, &request(helper, kind, "10.0.0.2:5001", "10.0.0.2:40000"));
            it.brings(OUTSIDE, back, &response(helper, kind, NOT_HERE, "10.0.0.2:5001"));
        }
        it.brings(OUTSIDE, back, &response(helper, LEAVE_INVITE, SUCCESS, "10.0.0.2:5001"));
        it.brings(INSIDE, there, &response(helper, LOOK_UP, SUCCESS, "10.0.0.2:5001"));
        assert!(expected(&it).is_empty());
        assert_eq!(it.helper_events(HelperEvent::OtherProtocol), 1, "clients do not answer");
    }
}

#[test]
fn talk_g17_who_is_announced_again_is_waited_for_anew_once() {
    for helper in HELPERS {
        let mut it = wire(Preset::Classic, helper);
        announced(&mut it, helper, "10.0.0.2");
        it.pass(secs(200));
        announced(&mut it, helper, "10.0.0.2");
        it.pass(secs(239));
        assert_eq!(expected(&it).len(), 1);
        it.pass(secs(2));
        assert!(expected(&it).is_empty());
        assert!(it.entries().is_empty(), "its connection has waited as long");
        it.check();
    }
}

#[test]
fn talk_g4_what_is_not_talk_turns_the_helper_off() {
    for helper in HELPERS {
        for other in [&b"\0\x01\0\0\x21\x12\xa4\x42transactions"[..], b"GET / HTTP/1.1\r\n\r\n", &[1; 84]] {
            let mut it = wire(Preset::Classic, helper);
            let daemon = format!("198.51.100.2:{}", port_of(helper));
            it.brings(INSIDE, ["10.0.0.2:40000", &daemon], other);
            announced(&mut it, helper, "10.0.0.2");
            assert!(expected(&it).is_empty(), "{other:?}");
            assert_eq!(it.helper_events(HelperEvent::OtherProtocol), 1);
        }
    }
}

#[test]
fn talk_g6_g8_another_ones_address_and_the_port_of_a_service_are_not_opened() {
    for (preset, helper) in PRESETS.into_iter().flat_map(|preset| HELPERS.map(|helper| (preset, helper))) {
        let daemon = format!("198.51.100.2:{}", port_of(helper));
        let asks = request(helper, LOOK_UP, "0.0.0.0:0", "10.0.0.2:40000");
        for (addr, event) in [
            ("198.51.100.9:6001", HelperEvent::ForeignAddress),
            ("198.51.100.2:22", HelperEvent::PrivilegedPort),
            ("198.51.100.2:0", HelperEvent::PrivilegedPort),
        ] {
            let mut it = wire(preset, helper);
            it.brings(INSIDE, ["10.0.0.2:40000", &daemon], &asks);
            it.brings(OUTSIDE, [&daemon, "10.0.0.2:40000"], &response(helper, LOOK_UP, SUCCESS, addr));
            assert!(expected(&it).is_empty(), "{addr}");
            assert_eq!(it.helper_events(event), 1, "{addr}");
        }
        let box_ = Middlebox::with(Settings::of(preset, ROOM), firewall());
        let mut it = with_helpers(box_, on(helper, true));
        it.brings(INSIDE, ["10.0.0.2:40000", &daemon], &asks);
        let tells = response(helper, LOOK_UP, SUCCESS, "198.51.100.9:6001");
        it.brings(OUTSIDE, [&daemon, "10.0.0.2:40000"], &tells);
        assert_eq!(expected(&it), ["10.0.0.2 > 198.51.100.9 6001"]);
    }
}

#[test]
fn talk_g22_a_family_that_is_none_turns_the_helper_off() {
    for helper in HELPERS {
        let mut it = wire(Preset::Classic, helper);
        let daemon = format!("198.51.100.2:{}", port_of(helper));
        let asks = request(helper, LOOK_UP, "0.0.0.0:0", "10.0.0.2:40000");
        it.brings(INSIDE, ["10.0.0.2:40000", &daemon], &asks);
        let mut tells = response(helper, LOOK_UP, SUCCESS, "198.51.100.2:6001");
        tells[9] = 10;
        it.brings(OUTSIDE, [&daemon, "10.0.0.2:40000"], &tells);
        assert!(expected(&it).is_empty());
        assert_eq!(it.helper_events(HelperEvent::Malformed), 1);
    }
}

#[test]
fn talk_g20_a_masqueraded_caller_is_called_by_the_address_that_is_known_outside() {
    for (preset, helper) in PRESETS.into_iter().flat_map(|preset| HELPERS.map(|helper| (preset, helper))) {
        let mut it = translating(preset, helper, outwards(pool("203.0.113.1")));
        let port = port_of(helper);
        let daemon = format!("198.51.100.2:{port}");
        let asks = request(helper, ANNOUNCE, "10.0.0.2:5001", "10.0.0.2:40000");
        let (_, asked) = it.brings(INSIDE, ["10.0.0.2:40000", &daemon], &asks);
        assert_eq!(mentioned(helper, &asked), ["203.0.113.1:5001", "203.0.113.1:40000"]);
        let granted = response(helper, ANNOUNCE, SUCCESS, "0.0.0.0:0");
        it.brings(OUTSIDE, [&daemon, "203.0.113.1:40000"], &granted);
        assert_eq!(expected(&it), [format!("198.51.100.2 > 203.0.113.1 {port}")]);
        let looks_up = request(helper, LOOK_UP, "0.0.0.0:0", "198.51.100.2:50000");
        let (came, text) =
            it.brings(OUTSIDE, ["198.51.100.2:50000", &format!("203.0.113.1:{port}")], &looks_up);
        assert_eq!((came.state, text), (Some(State::Related), looks_up));
        let own_daemon = format!("10.0.0.2:{port}");
        assert_eq!(came.pair, Some(Pair::at("198.51.100.2:50000", &own_daemon)));
        let tells = response(helper, LOOK_UP, SUCCESS, "10.0.0.2:5001");
        let (left, told) = it.brings(INSIDE, [&own_daemon, "198.51.100.2:50000"], &tells);
        assert_eq!(left.pair.unwrap().source.to_string(), format!("203.0.113.1:{port}"));
        assert_eq!(endpoint(&told, 8), "203.0.113.1:5001");
        let called = it.calls(OUTSIDE, "198.51.100.2:50001", "203.0.113.1:5001");
        assert_eq!(called, (Some(State::Related), "10.0.0.2:5001".into()));
        it.check();
    }
}

#[test]
fn talk_g20_a_published_daemon_tells_the_address_that_is_known_outside() {
    for (preset, helper) in PRESETS.into_iter().flat_map(|preset| HELPERS.map(|helper| (preset, helper))) {
        let mut it = translating(preset, helper, inwards("203.0.113.10", "10.0.0.5"));
        let port = port_of(helper);
        let looks_up = request(helper, LOOK_UP, "0.0.0.0:0", "198.51.100.2:50000");
        let asks = ["198.51.100.2:50000", &format!("203.0.113.10:{port}")];
        assert_eq!(it.brings(OUTSIDE, asks, &looks_up).1, looks_up);
        let tells = response(helper, LOOK_UP, SUCCESS, "10.0.0.5:5001");
        let (_, told) = it.brings(INSIDE, [&format!("10.0.0.5:{port}"), "198.51.100.2:50000"], &tells);
        assert_eq!(endpoint(&told, 8), "203.0.113.10:5001");
        let called = it.calls(OUTSIDE, "198.51.100.2:50001", "203.0.113.10:5001");
        assert_eq!(called, (Some(State::Related), "10.0.0.5:5001".into()));
        it.check();
    }
}

/// Whom a daemon has announced is looked up at one port, which one client alone can have outside.
#[test]
fn talk_g16_a_second_caller_of_the_same_host_behind_the_same_address_is_refused() {
    for helper in HELPERS {
        let mut it = translating(Preset::Classic, helper, outwards(pool("203.0.113.1")));
        announced(&mut it, helper, "10.0.0.2");
        let daemon = format!("198.51.100.2:{}", port_of(helper));
        let asks = request(helper, ANNOUNCE, "10.0.0.3:5001", "10.0.0.3:40000");
        let (passed, _) = it.brings(INSIDE, ["10.0.0.3:40000", &daemon], &asks);
        let outside = passed.pair.unwrap().source.to_string();
        let granted = response(helper, ANNOUNCE, SUCCESS, "0.0.0.0:0");
        let (passed, _) = it.brings(OUTSIDE, [&daemon, &outside], &granted);
        assert_eq!(passed.drop, Some(DropReason::ExpectationClash));
        assert_eq!(expected(&it).len(), 1);
        it.check();
    }
}

/// The second conversation at the same port of two clients behind one address gets another port outside.
#[test]
fn talk_f12_a_port_that_is_taken_outside_becomes_another() {
    let helper = HelperId::Ntalk;
    let mut nat = inwards("203.0.113.10", "10.0.0.5");
    let other = sluice_conntrack::nat::NatRule::new(
        Match { destination_ports: vec![519..=519], ..nat.destination[0].matches.clone() },
        pool("10.0.0.6"),
    );
    nat.destination.insert(0, other);
    let on = Match { destination_ports: vec![518..=519], ..Match::default() };
    let mut it = with_helpers(router(Preset::Classic, nat, 1500), [Assignment { helper, on, loose: false }]);
    let told = [(518, "10.0.0.5"), (519, "10.0.0.6")].map(|(port, inside)| {
        let looks_up = request(helper, LOOK_UP, "0.0.0.0:0", "198.51.100.2:50000");
        it.brings(OUTSIDE, ["198.51.100.2:50000", &format!("203.0.113.10:{port}")], &looks_up);
        let tells = response(helper, LOOK_UP, SUCCESS, &format!("{inside}:5001"));
        let (_, told) = it.brings(INSIDE, [&format!("{inside}:{port}"), "198.51.100.2:50000"], &tells);
        endpoint(&told, 8)
    });
    assert_eq!(told[0], "203.0.113.10:5001");
    assert_ne!(told[1], told[0]);
    assert_eq!(it.calls(OUTSIDE, "198.51.100.2:50001", &told[0]).1, "10.0.0.5:5001");
    assert_eq!(it.calls(OUTSIDE, "198.51.100.2:50001", &told[1]).1, "10.0.0.6:5001");
    it.check();
}
