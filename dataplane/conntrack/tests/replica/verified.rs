//! What a box does not believe a peer: connections of other addresses, and such as its own policy would not let begin.

use super::talk::*;
use super::*;
use sluice_conntrack::groups::{Group, Groups, Takeover};
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Policy, Prefix, RuleAction, StateSet};
use sluice_conntrack::replica::{Installed, Installing, NotInstalled, Record};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Configuration, Instant, State, Verify, entry::Status};

const REFUSED: Result<Installed, NotInstalled> = Err(NotInstalled::Policy);

fn states(list: &[State]) -> Option<StateSet> {
    Some(list.iter().copied().collect())
}

/// What is established passes; from inside, web servers are reached, and what goes there has a mark; from outside, what is translated.
fn policy() -> Policy {
    let to_web = Match {
        states: states(&[State::New]),
        ingress: vec![INSIDE],
        egress: vec![OUTSIDE],
        protocols: vec![protocol::TCP],
        destination_ports: vec![443..=443],
        ..Match::default()
    };
    let translated = Match {
        ingress: vec![OUTSIDE],
        egress: vec![INSIDE],
        status: Some(Status::DST_NAT),
        ..Match::default()
    };
    let established = Match { states: states(&[State::Established, State::Related]), ..Match::default() };
    rules([
        (established, RuleAction::Accept),
        (to_web.clone(), RuleAction::Mark(7)),
        (to_web, RuleAction::Accept),
        (translated, RuleAction::Accept),
    ])
}

/// Its server inside is reached by an address of the box.
fn nat() -> Nat {
    let ip = |text: &str| text.parse().unwrap();
    let server = Target::Pool(vec![Range::of(ip("10.0.0.8"), PortChoice::Among(8080..=8080))]);
    let destination = vec![Prefix::new(ip("203.0.113.1"), 32)];
    Nat { destination: vec![NatRule::new(Match { destination, ..Match::default() }, server)], ..masquerade() }
}

fn verifying(verify: Verify) -> Middlebox {
    let settings = Settings::of(Preset::Linux, ROOM);
    let configuration = Configuration { verify, ..routed(settings, policy(), nat()) };
    let mut it = Middlebox::starting(Instant::from_ns(0), ROOM, configuration);
    it.shard.set_quota(GROUP, ROOM / 2);
    it
}

fn tell(it: &mut Middlebox, connection: Connection, origin: Origin) -> Result<Installed, NotInstalled> {
    let record = Record::State(connection);
    let done = it.shard.install(&Installing { record, origin, is_delegated: false });
    it.check();
    done
}

/// A connection from outside that leads to this port of this host inside.
fn to_server(host: [u8; 4], port: u16) -> Connection {
    let original = Tuple::new([192, 0, 2, 9].into(), [203, 0, 113, 1].into(), protocol::TCP, 5000, 80);
    let reply = Tuple::new(host.into(), [192, 0, 2, 9].into(), protocol::TCP, port, 5000);
    let status = RecordStatus::SEEN_REPLY.union(RecordStatus::ASSURED).union(RecordStatus::DST_NAT);
    Connection { original, reply, status, ..tcp([10, 0, 0, 5]) }
}

#[test]
fn what_the_policy_would_not_let_begin_is_not_installed() {
    let web = translated(tcp([10, 0, 0, 5]), [203, 0, 113, 1], 40_000);
    let from_outside = of(Tuple::new([192, 0, 2, 9].into(), [10, 0, 0, 5].into(), protocol::TCP, 5000, 443));
    let from_outside = Connection { state: 3, tracker: web.tracker, ..from_outside };
    let nowhere = tcp([192, 0, 2, 9]);
    let cases = [
        (web, true),
        (udp(), false),
        (from_outside, false),
        (nowhere, false),
        (to_server([10, 0, 0, 8], 8080), true),
        (to_server([10, 0, 0, 8], 22), false),
        (to_server([10, 0, 0, 9], 8080), false),
    ];
    for (connection, may_be) in cases {
        let mut it = verifying(Verify::Policy);
        let expected = if may_be { Ok(Installed::Here) } else { REFUSED };
        assert_eq!(tell(&mut it, connection, PEER), expected, "{connection:?}");
        assert_eq!(it.shard.len(), u32::from(may_be));
        // Of this box's own nobody asks, nor where it is not to.
        for (verify, origin) in [(Verify::Policy, Origin::Own), (Verify::None, PEER)] {
            let done = tell(&mut verifying(verify), connection, origin);
            assert_eq!(done, Ok(Installed::Here), "{connection:?}");
        }
    }
}

#[test]
fn its_mark_is_the_one_that_the_rules_give() {
    let told = Connection { mark: 99, ..translated(tcp([10, 0, 0, 5]), [203, 0, 113, 1], 40_000) };
    for (verify, mark) in [(Verify::Policy, 7), (Verify::None, 99)] {
        let mut it = verifying(verify);
        tell(&mut it, told, PEER).unwrap();
        assert_eq!(it.entry().mark, mark);
        // And so when it is told of again.
        tell(&mut it, told, PEER).unwrap();
        assert_eq!(it.entry().mark, mark);
    }
}

#[test]
fn what_is_translated_to_an_address_of_no_group_is_not_installed() {
    let ip = |text: &str| text.parse().unwrap();
    let group = Group { addresses: vec![(OUTSIDE, ip("203.0.113.1"))], ..Group::default() };
    let groups = Groups::new(vec![group], Takeover::default());
    let settings = Settings::of(Preset::Linux, ROOM);
    let configuration = Configuration { groups, ..routed(settings, accept_all(), masquerade()) };
    let mut it = Middlebox::starting(Instant::from_ns(0), ROOM, configuration);
    it.shard.set_quota(GROUP, ROOM / 2);
    let to = |address| translated(tcp([10, 0, 0, 5]), address, 40_001);
    assert_eq!(tell(&mut it, to([203, 0, 113, 2]), PEER), Err(NotInstalled::OtherGroup));
    assert_eq!(tell(&mut it, to([203, 0, 113, 1]), PEER), Ok(Installed::Here));
    // Only its port was changed, since another connection had it.
    assert_eq!(tell(&mut it, to([10, 0, 0, 5]), PEER), Ok(Installed::Here));
}
