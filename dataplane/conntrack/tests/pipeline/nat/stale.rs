//! Whose translation is said to get stale by a configuration, and what connections get once it is in force: one that goes on, and one
//! that begins anew.

use super::*;
use sluice_conntrack::cut::{Change, Fate};
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::tracker::sctp::TagPair;
use sluice_conntrack::{NewEntry, Tuple};
use std::sync::Arc;

/// The box's addresses outside.
const OWN: [&str; 2] = ["203.0.113.1", "203.0.113.2"];

/// Of the hosts inside, the first is masqueraded, and the second speaks for itself.
const HOSTS: [&str; 2] = ["10.0.0.2", "10.0.0.99"];

/// Two servers inside: one is reached by an address outside, and one by its own.
const PUBLIC: [&str; 2] = ["203.0.113.10:80", "10.0.0.8:80"];

fn from(network: &str) -> Match {
    let (address, length) = network.split_once('/').unwrap();
    let source = vec![Prefix::new(address.parse().unwrap(), length.parse().unwrap())];
    Match { source, ..outwards() }
}

/// What `server` inside is, and what leaves from a network is translated to.
fn nat(network: &str, target: Target, server: &str) -> Nat {
    Nat {
        source: vec![NatRule::new(from(network), target)],
        destination: vec![NatRule::new(towards("203.0.113.10"), to(server))],
    }
}

fn usual() -> Nat {
    nat("10.0.0.0/28", Target::Masquerade(PortChoice::Preserve), "10.0.0.5:8080")
}

fn by(nat: Nat) -> Configuration {
    with_outside(&OWN, "203.0.113.254", nat)
}

/// The same with another policy.
fn with_policy(policy: Policy, nat: Nat) -> Configuration {
    Configuration { policy: policy.into(), ..by(nat) }
}

/// The first packets of all connections.
fn firsts() -> [(PortId, Packet); 4] {
    let [one, other] =
        HOSTS.map(|host| (INSIDE, Pair::at(&format!("{host}:40000"), "198.51.100.2:53").udp(1)));
    let [by_public, by_own] = PUBLIC.map(|server| (OUTSIDE, Pair::at("198.51.100.9:5000", server).udp(1)));
    [one, other, by_public, by_own]
}

/// Whatever connections there are, with what they are translated to, by their original tuple.
fn translations(it: &Middlebox) -> [EntrySnapshot; 4] {
    let entries = it.entries();
    firsts().map(|(_, packet)| {
        let of = |entry: &&(EntryId, EntrySnapshot)| {
            entry.1.original.source() == packet.source && entry.1.original.destination() == packet.destination
        };
        entries.iter().find(of).unwrap().1
    })
}

fn begun(configuration: Configuration) -> Middlebox {
    let mut it = Middlebox::of_configuration(configuration);
    for (port, packet) in firsts() {
        assert!(matches!(it.pass_one(port, &packet).0.action, Action::Forward(_)));
    }
    it
}

/// What a configuration is said to do, by the original tuples.
fn said(it: &Middlebox, after: &Configuration) -> Vec<(EntrySnapshot, Fate)> {
    let before = Arc::new(it.shard.configuration().clone());
    let change = Change::new(before, Arc::new(after.clone())).with_stale_nat();
    let (mut said, mut next) = (vec![], Some(0));
    while let Some(cursor) = next {
        next = it.shard.list_changed(&change, cursor, 1, |fate, _, entry| said.push((entry, fate)));
    }
    said
}

/// The rules of a policy that marks what comes from the first host, and a rule of NAT that goes by this mark.
fn marked(mark: u32, wanted: u32) -> Configuration {
    let first = Match { source: vec![Prefix::new(HOSTS[0].parse().unwrap(), 32)], ..Match::default() };
    let policy = rules([(first, RuleAction::Mark(mark)), (Match::default(), RuleAction::Accept)]);
    let mut nat = usual();
    nat.source[0].matches = Match { mark: Some((wanted, u32::MAX)), ..outwards() };
    with_policy(policy, nat)
}

#[test]
fn whose_translation_is_said_to_get_stale_would_get_another() {
    let [none, first, second, third] =
        [[false; 4], [true, false, false, false], [false, true, false, false], [false, false, true, false]];
    let small = "10.0.0.0/28";
    let masquerade = |ports| Target::Masquerade(ports);
    let server = "10.0.0.5:8080";
    let cases = [
        (by(usual()), by(usual()), none),
        (by(usual()), with_policy(rules([(Match::default(), RuleAction::Accept)]), usual()), none),
        (by(usual()), by(nat(small, masquerade(PortChoice::Among(30_000..=50_000)), server)), none),
        (by(usual()), by(nat(small, masquerade(PortChoice::Among(1024..=2047)), server)), first),
        (by(usual()), by(nat(small, to("203.0.113.7"), server)), first),
        (by(usual()), by(nat(small, to(OWN[0]), server)), none),
        (by(usual()), by(nat(small, Target::NoNat, server)), first),
        (by(usual()), by(nat("10.0.0.0/24", masquerade(PortChoice::Preserve), server)), second),
        (by(usual()), by(nat(small, masquerade(PortChoice::Preserve), "10.0.0.6:8080")), third),
        (by(usual()), by(nat(small, masquerade(PortChoice::Preserve), "10.0.0.5:8081")), third),
        (by(usual()), by(Nat { destination: vec![], ..usual() }), third),
        (by(usual()), by(Nat::default()), [true, false, true, false]),
        (by(Nat::default()), by(Nat::default()), none),
        // The box has another address first.
        (by(usual()), with_outside(&[OWN[1], OWN[0]], "203.0.113.254", usual()), first),
        (marked(7, 7), marked(8, 7), first),
        (marked(7, 7), marked(8, 8), none),
    ];
    for (number, (before, after, expected)) in cases.into_iter().enumerate() {
        let mut it = begun(before.clone());
        let lines = it.lines();
        let (held, said) = (translations(&it), said(&it, &after));
        assert_eq!(it.lines(), lines, "nothing is changed");
        assert!(said.iter().all(|(_, fate)| *fate == Fate::StaleNat), "case {number}: {said:?}");
        let is_said = held.map(|entry| said.iter().any(|(stale, _)| stale.original == entry.original));
        assert_eq!(is_said, expected, "case {number}");
        // All go on as they were.
        it.configure(after.clone());
        for (port, packet) in firsts() {
            let verdict = it.pass_one(port, &packet).0;
            assert!(
                matches!(verdict.action, Action::Forward(_)) && verdict.state != Some(State::Established)
            );
        }
        assert_eq!(
            translations(&it).map(|entry| entry.reply),
            held.map(|entry| entry.reply),
            "case {number}"
        );
        // Those that begin by it get what was said: where the server has no way from outside any more, there is none.
        let mut anew = Middlebox::of_configuration(after);
        for (index, (port, packet)) in firsts().into_iter().enumerate() {
            anew.pass_one(port, &packet);
            let entries = anew.entries();
            let reply = entries.iter().find(|(_, entry)| entry.original == held[index].original);
            let differs = reply.is_none_or(|(_, entry)| entry.reply != held[index].reply);
            assert_eq!(differs, expected[index], "case {number}, connection {index}");
        }
        it.check();
    }
}

/// What an operator has made is by no rule, and neither is what would not begin at all.
#[test]
fn what_no_rule_gave_gets_stale_by_none() {
    let mut it = Middlebox::of_configuration(by(usual()));
    let tuple = |source: &str| {
        let [source, server] = [source, "198.51.100.2"].map(|address| address.parse().unwrap());
        Tuple::new(source, server, 17, 40_000, 53)
    };
    let (original, reply) = (tuple("10.0.0.3"), tuple("203.0.113.99").invert());
    let new = NewEntry {
        original,
        reply,
        state: 0,
        status: Status::SEEN_REPLY,
        timeout_ms: 60_000,
        mark: 0,
        tags: TagPair::default(),
    };
    it.shard.insert_entry(&new).unwrap().unwrap();
    assert_eq!(said(&it, &by(Nat::default())), []);

    let it = begun(by(usual()));
    let answers = rules([
        (states([State::Established]), RuleAction::Accept),
        (Match { ingress: vec![OUTSIDE], ..Match::default() }, RuleAction::Accept),
    ]);
    let said = said(&it, &with_policy(answers, Nat { destination: vec![], ..Nat::default() }));
    let stale: Vec<_> = said.iter().filter(|(_, fate)| *fate == Fate::StaleNat).collect();
    assert!(
        matches!(stale[..], [(EntrySnapshot { .. }, _)]),
        "only the server's, which comes from outside: {said:?}"
    );
}
