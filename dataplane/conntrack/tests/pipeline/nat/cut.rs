//! What is said that a configuration cuts, and what becomes of the next packets once it is in force.

use super::*;
use crate::common::frame::Segment;
use sluice_conntrack::cut::{Change, Cut, Fate};
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::limits::{Limit, LimitBy};
use sluice_conntrack::synproxy::Synproxy;
use std::sync::Arc;

/// A router with two ways out, whose default route goes by one of them, and which masquerades what leaves by them.
fn by(port: u8, own: [&str; 2], policy: Policy) -> Configuration {
    let interface = |own: &str| Interface {
        addresses: vec![(own.parse().unwrap(), 24)],
        mtu: 1500,
        ..Interface::default()
    };
    let [first, second] = own;
    let interfaces = ["10.0.0.1", first, second].map(interface).to_vec();
    let via = if port == 1 { "203.0.113.254" } else { "192.0.2.254" };
    let to = Prefix::new("198.51.100.0".parse().unwrap(), 24);
    let router = Router::new(interfaces, [Route::by(to, PortId(port), Some(via.parse().unwrap()))]);
    let rule = NatRule::new(
        Match {
            source: vec![Prefix::new("10.0.0.0".parse().unwrap(), 28)],
            egress: vec![PortId(1), PortId(2)],
            ..Match::default()
        },
        Target::Masquerade(PortChoice::Preserve),
    );
    let nat = Nat { source: vec![rule], destination: vec![] };
    Configuration::new(Settings::of(Preset::Linux, ROOM), policy, Forwarding::Routed(Box::new(router)))
        .with_nat(nat)
}

const OWN: [&str; 2] = ["203.0.113.1", "192.0.2.1"];

/// Of the hosts inside, the first is masqueraded and the second is not.
const HOSTS: [u8; 2] = [2, 99];

fn from(host: u8) -> Pair {
    Pair::of([10, 0, 0, host].into(), 40000, [198, 51, 100, 2].into(), 80)
}

/// The connections of both hosts, answered.
fn open(it: &mut Middlebox) -> [EntryId; 2] {
    HOSTS.map(|host| {
        let seen = it.goes_out(&from(host).udp(1));
        let source = format!("{}:{}", source_address(&seen), source_port(&seen));
        let answer = Pair::at(&source, "198.51.100.2:80").inverse();
        it.crosses(OUTSIDE, &answer.udp(1), &from(host).inverse().udp(1));
        it.goes_out(&from(host).udp(1));
        it.entries().iter().find(|(_, entry)| entry.original.source() == from(host).source.ip()).unwrap().0
    })
}

/// What a configuration is said to cut, by the name of the entry.
fn said(it: &Middlebox, after: &Configuration) -> Vec<(EntryId, Cut)> {
    let before = Arc::new(it.shard.configuration().clone());
    let change = Change::new(before, Arc::new(after.clone()));
    let (mut said, mut next) = (vec![], Some(0));
    while let Some(cursor) = next {
        next = it.shard.list_changed(&change, cursor, 1, |fate, id, _| match fate {
            Fate::Cut(cut) => said.push((id, cut)),
            Fate::StaleNat => panic!("nobody has asked for that"),
        });
    }
    said
}

/// Puts it in force; gives whether the next packet of each connection passes as one of it.
fn goes_on(it: &mut Middlebox, after: Configuration, connections: [EntryId; 2]) -> [bool; 2] {
    it.configure(after);
    it.pass(ms(1));
    let next = HOSTS.map(|host| it.pass_one(INSIDE, &from(host).udp(1)).0);
    [0, 1].map(|n| matches!(next[n].action, Action::Forward(_)) && next[n].entry == Some(connections[n]))
}

#[test]
fn what_is_said_to_be_cut_is_what_is_cut() {
    let from_inside = |state| Match { ingress: vec![INSIDE], ..states([state]) };
    let only_new = || rules([(from_inside(State::New), RuleAction::Accept)]);
    let no_answers = || rules([(Match { ingress: vec![INSIDE], ..Match::default() }, RuleAction::Accept)]);
    let untracked = Policy { untracked: vec![Match::default()], ..firewall() };
    let zoned = Configuration { zones: [7; _], ..by(1, OWN, firewall()) };
    let (lost, moved) = (Cut::LostAddress, Cut::RouteChanged);
    let cases = [
        (by(1, OWN, firewall()), [None, None]),
        (by(1, OWN, accept_all()), [None, None]),
        (by(1, ["203.0.113.2", OWN[1]], firewall()), [Some(lost), None]),
        (by(2, OWN, firewall()), [Some(moved), None]),
        (by(9, OWN, firewall()), [Some(Cut::NoRoute); 2]),
        (zoned, [Some(Cut::Zone); 2]),
        (by(1, OWN, untracked), [Some(Cut::Untracked); 2]),
        (by(1, OWN, only_new()), [Some(Cut::Policy); 2]),
    ];
    for (after, expected) in cases {
        let mut it = Middlebox::of_configuration(by(1, OWN, firewall()));
        let connections = open(&mut it);
        let lines = it.lines();
        let said = said(&it, &after);
        assert_eq!(it.lines(), lines, "nothing is changed");
        let of = |id| said.iter().find(|(cut, _)| *cut == id).map(|(_, cut)| *cut);
        assert_eq!(connections.map(of), expected);
        assert_eq!(goes_on(&mut it, after, connections), expected.map(|cut| cut.is_none()), "{expected:?}");
        let counters = it.shard.counters();
        let ended = [counters.addresses_lost, counters.routes_changed];
        let count = |cut| expected.iter().filter(|expected| **expected == Some(cut)).count() as u64;
        assert_eq!((ended, counters.sweeps), ([count(lost), count(moved)], 0));
        it.check();
    }
    let mut it = Middlebox::of_configuration(by(1, OWN, firewall()));
    open(&mut it);
    assert_eq!(said(&it, &by(1, OWN, no_answers())).len(), 2, "what comes back is asked for, too");
}

/// On a wire nobody knows by which port the packets of a connection come that nobody has answered: whichever it is, they are dropped.
#[test]
fn what_is_cut_by_whichever_port_it_comes_is_cut() {
    let wire = |policy| configuration(Settings::of(Preset::Linux, ROOM), policy);
    let by = |port| rules([(Match { ingress: vec![port], ..Match::default() }, RuleAction::Accept)]);
    let mut it = Middlebox::of_configuration(wire(accept_all()));
    assert_eq!(it.inside(&from(2).udp(1)).action, Action::Forward(OUTSIDE));
    assert_eq!(said(&it, &wire(by(OUTSIDE))), [], "it may have come in there");
    let [(_, cut)] = said(&it, &wire(Policy::default()))[..] else { panic!("one is cut") };
    assert_eq!(cut, Cut::Policy);
    it.configure(wire(by(INSIDE)));
    let [(_, cut)] = said(&it, &wire(by(OUTSIDE)))[..] else { panic!("it did not come in there before") };
    assert_eq!(cut, Cut::Policy);
}

/// Who has begun is not asked for a SYN cookie: its SYN goes on when it comes again.
#[test]
fn a_rule_with_syn_cookies_cuts_no_connection() {
    let wire = |policy| configuration(Settings::of(Preset::Linux, ROOM), policy);
    let cookies = RuleAction::Synproxy(Synproxy { mss: 1460, wscale: Some(7), sack_perm: true });
    let tcp = || Match { protocols: vec![6], ..Match::default() };
    let after = || wire(rules([(states([State::Established]), RuleAction::Accept), (tcp(), cookies)]));
    let syn = |host| from(host).segment(&Segment { flags: 0x02, seq: 1000, ..Segment::default() });
    let mut it = Middlebox::of_configuration(wire(accept_all()));
    assert_eq!(it.inside(&syn(2)).action, Action::Forward(OUTSIDE));
    assert_eq!(said(&it, &after()), []);
    it.configure(after());
    assert_eq!(it.inside(&syn(2)).action, Action::Forward(OUTSIDE));
    assert_eq!(it.inside(&syn(3)).drop_reason(), Some(DropReason::SynCookie));
}

#[test]
fn what_did_not_pass_before_is_not_cut() {
    let mut it = Middlebox::of_configuration(by(1, OWN, accept_all()));
    open(&mut it);
    it.configure(by(1, OWN, Policy::default()));
    assert_eq!(said(&it, &by(1, OWN, firewall())), []);
    assert_eq!(said(&it, &Configuration { renumbers: true, ..by(1, OWN, Policy::default()) }), []);
}

#[test]
fn nothing_is_taken_of_the_limit_of_a_rule() {
    let limit = Limit { id: 7, interval_us: 3_600_000_000, burst: 1, by: LimitBy::Rule, over: false };
    let limited = || rules([(Match { limit: Some(limit), ..Match::default() }, RuleAction::Accept)]);
    let mut it = Middlebox::of_configuration(by(1, OWN, accept_all()));
    let connections = open(&mut it);
    assert_eq!((said(&it, &by(1, OWN, limited())), said(&it, &by(1, OWN, limited()))), (vec![], vec![]));
    assert_eq!(goes_on(&mut it, by(1, OWN, limited()), connections), [true, false], "the first has taken it");
}
