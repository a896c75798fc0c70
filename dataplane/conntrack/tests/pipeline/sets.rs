//! Rules that look for addresses in named sets, and sets that change while connections are open.

use crate::common::*;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{AddressSet, InSets, Match, Policy, Prefix, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, Installation, State};
use std::net::IpAddr;
use std::sync::Arc;

/// The set of these addresses.
fn set(addresses: &[IpAddr]) -> Arc<AddressSet> {
    Arc::new(AddressSet::new(addresses.iter().map(|address| Prefix::new(*address, u8::MAX))))
}

fn from(set: &Arc<AddressSet>) -> Match {
    let sets = InSets { source: vec![Arc::clone(set)], ..InSets::default() };
    Match { sets: Some(Box::new(sets)), ..Match::default() }
}

fn to(set: &Arc<AddressSet>) -> Match {
    let sets = InSets { destination: vec![Arc::clone(set)], ..InSets::default() };
    Match { sets: Some(Box::new(sets)), ..Match::default() }
}

/// Who is blocked does not get through; all else does.
fn blocking(blocked: &[IpAddr]) -> Policy {
    rules([(from(&set(blocked)), RuleAction::Drop), (Match::default(), RuleAction::Accept)])
}

#[test]
fn a_set_that_changes_cuts_an_open_connection_and_lets_it_go_on() {
    for pair in Pair::both(4000, 53) {
        let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), blocking(&[]));
        let (client, answer) = (pair.udp(9), pair.inverse().udp(9));
        let come_and_go = |it: &mut Middlebox| {
            let came = it.inside(&client);
            (came.drop_reason(), it.outside(&answer).drop_reason(), came.rule.map(|rule| rule.0))
        };
        for _ in 0..3 {
            assert_eq!(come_and_go(&mut it), (None, None, Some(1)));
        }
        let reroute = |it: &mut Middlebox, blocked: &[IpAddr]| {
            let settings = it.shard.configuration().settings.clone();
            it.shard.reroute(&mut Installation::new(configuration(settings, blocking(blocked))));
        };
        reroute(&mut it, &[pair.source.ip()]);
        for _ in 0..3 {
            assert_eq!(come_and_go(&mut it), (Some(DropReason::Policy), None, Some(0)));
        }
        assert_eq!(it.entries().len(), 1, "the connection is still known");
        reroute(&mut it, &[pair.destination.ip()]);
        assert_eq!(come_and_go(&mut it), (None, Some(DropReason::Policy), Some(1)));
        reroute(&mut it, &[]);
        assert_eq!(state(it.inside(&client)), State::Established);
        let counted: Vec<u64> = it.shard.rule_counters().policy.iter().map(|rule| rule.packets).collect();
        assert_eq!(counted, [4, 11, 0], "what rules have come to goes on");
        it.check();
    }
}

#[test]
fn rules_of_all_kinds_look_for_addresses_in_sets() {
    let pair = Pair::v4(4000, 53);
    let (client, server) = (set(&[pair.source.ip()]), set(&[pair.destination.ip()]));
    let nobody = set(&[]);
    let policy = Policy {
        untracked: vec![from(&nobody), to(&server)],
        zones: vec![(from(&nobody), 7), (from(&client), 3)],
        ..accept_all()
    };
    let mut it = Middlebox::with(Settings::of(Preset::Linux, ROOM), policy);
    assert_eq!(state(it.inside(&pair.udp(9))), State::Untracked);
    it.change(|configuration| {
        let policy = Policy { untracked: vec![], ..configuration.policy.clone().into_policy() };
        configuration.policy = policy.into();
    });
    assert_eq!(state(it.inside(&pair.udp(9))), State::New);
    assert_eq!(it.entry().original.selector.zone(), 3);

    let public: IpAddr = [203, 0, 113, 77].into();
    let target = Target::Pool(vec![Range::of(public, PortChoice::Preserve)]);
    let rule = |set: &Arc<AddressSet>| NatRule::new(from(set), target.clone());
    let mut it = Middlebox::routed(Nat { source: vec![rule(&nobody), rule(&client)], destination: vec![] });
    it.inside(&pair.udp(9));
    assert_eq!(it.entry().reply.destination(), public);
}
