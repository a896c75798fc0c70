//! The policy as packets meet it: its cached judgements, reloads, counters and logs.

use crate::common::*;
use sluice_conntrack::entry::Status;
use sluice_conntrack::ids::RuleId;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{IcmpType, Match, Policy, RuleAction, TcpFlags};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Direction, DropReason, Installation, KeptRules, RuleCounters, State, Verdict};
use std::net::IpAddr;
use std::sync::Arc;

fn linux(policy: sluice_conntrack::policy::Policy) -> Middlebox {
    Middlebox::with(Settings::of(Preset::Linux, ROOM), policy)
}

/// Opens a TCP connection; the last verdict is that on the first established packet of the client.
fn handshake(it: &mut Middlebox, pair: Pair) -> Verdict {
    it.inside(&pair.tcp("S", 1000, 0));
    it.outside(&pair.inverse().tcp("SA", 5000, 1001));
    it.inside(&pair.tcp("A", 1001, 5001))
}

fn to_port(port: u16) -> Match {
    Match { destination_ports: vec![port..=port], ..Match::default() }
}

fn everything() -> Match {
    Match::default()
}

/// Where no tracker read the ports of a protocol, a rule for one of them let all of it in.
#[test]
fn g9_cve_2014_8160_a_rule_for_a_port_lets_in_no_protocol_without_ports() {
    for preset in PRESETS {
        let policy = rules([(to_port(80), RuleAction::Accept)]);
        let mut it = Middlebox::with(Settings::of(preset, ROOM), policy);
        for pair in Pair::both(40_000, 80) {
            assert_eq!(it.inside(&pair.tcp("S", 1000, 0)).drop_reason(), None);
            let begin = pair.tcp("S", 1000, 0).l4;
            for protocol in [33, 50, 253] {
                let packet = pair.packet(protocol, begin.clone(), None);
                assert_eq!(it.inside(&packet).drop_reason(), Some(DropReason::Policy), "{protocol}");
            }
        }
    }
}

#[test]
fn a_reload_judges_each_connection_anew_at_its_next_packet() {
    for pair in Pair::both(4000, 22) {
        let mut it = linux(firewall());
        assert_eq!(handshake(&mut it, pair).drop_reason(), None);
        it.reload(rules([(Match { ingress: vec![INSIDE], ..everything() }, RuleAction::Accept)]));
        assert_eq!(it.inside(&pair.tcp("A", 1001, 5001)).drop_reason(), None);
        let answer = it.outside(&pair.inverse().tcp("A", 5001, 1001));
        assert_eq!(
            (answer.state, answer.drop_reason()),
            (Some(State::Established), Some(DropReason::Policy))
        );
        it.reload(firewall());
        assert_eq!(it.outside(&pair.inverse().tcp("A", 5001, 1001)).drop_reason(), None);
        it.check();
    }
}

#[test]
fn each_packet_counts_for_the_rule_that_decides() {
    let mut it = linux(firewall());
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(72));
    for _ in 0..5 {
        assert_eq!(it.outside(&pair.inverse().udp(172)).rule, Some(RuleId(0)));
    }
    assert_eq!(it.outside(&Pair::v4(1, 2).udp(0)).rule, None);
    let counters = &it.shard.rule_counters().policy;
    assert_eq!(counters.iter().map(|rule| rule.packets).collect::<Vec<_>>(), [5, 1, 1]);
    assert_eq!(counters.iter().map(|rule| rule.bytes).collect::<Vec<_>>(), [1000, 100, 28]);
}

#[test]
fn a_reload_hands_out_the_old_counters_and_begins_anew() {
    let mut it = linux(firewall());
    it.inside(&Pair::v4(4000, 53).udp(1));
    let new = configuration(Settings::of(Preset::Linux, ROOM), firewall());
    let old = it.configure(new);
    assert_eq!(old.rule_counters.policy[1].packets, 1);
    assert_eq!(it.shard.rule_counters().policy[1].packets, 0);
}

#[test]
fn what_is_about_a_connection_does_not_match_where_there_is_none() {
    let exempt = Match { destination_ports: vec![99..=99], ..everything() };
    for (matches, all) in [
        (Match { mark: Some((0, u32::MAX)), ..everything() }, true),
        (Match { mark: Some((0, 0)), ..everything() }, true),
        (Match { direction: Some(Direction::Original), ..everything() }, true),
        (Match { status: Some(Status::SEEN_REPLY), ..everything() }, false),
    ] {
        let policy = Policy { untracked: vec![exempt.clone()], ..rules([(matches, RuleAction::Accept)]) };
        let mut it = linux(policy);
        for pair in Pair::both(4000, 22) {
            let verdict = it.inside(&pair.tcp("S", 1000, 0));
            assert_eq!((verdict.state, verdict.drop_reason().is_none()), (Some(State::New), all));
            let related = it.outside(&pair.tcp("S", 1000, 0).time_exceeded(pair.router()));
            assert_eq!(related.state.filter(|_| all), Some(State::Related).filter(|_| all));
            let untracked = Pair { destination: (pair.destination.ip(), 99).into(), ..pair }.udp(1);
            let strays = [pair.tcp("SF", 1000, 0), pair.udp(1).spoilt(), pair.echo_reply(1, 1), untracked];
            for stray in strays {
                let verdict = it.inside(&stray);
                assert!(matches!(verdict.state, Some(State::Invalid | State::Untracked)));
                assert_eq!(verdict.drop_reason(), Some(DropReason::Policy), "{stray:?}");
            }
        }
        it.check();
    }
}

#[test]
fn a_mark_on_a_packet_without_a_connection_is_nobodys() {
    let mut it = linux(rules([
        (everything(), RuleAction::Mark(2)),
        (Match { mark: Some((2, u32::MAX)), ..everything() }, RuleAction::Accept),
    ]));
    for pair in Pair::both(4000, 22) {
        assert_eq!(it.outside(&pair.echo_reply(1, 1)).drop_reason(), Some(DropReason::Policy));
        assert_eq!(it.outside(&pair.echo(1, 1)).drop_reason(), None);
    }
}

#[test]
fn the_first_rule_that_fits_wins() {
    let mut it = linux(rules([
        (to_port(53), RuleAction::Drop),
        (Match { protocols: vec![17], ..everything() }, RuleAction::Accept),
    ]));
    let dropped = it.inside(&Pair::v4(1, 53).udp(1));
    assert_eq!((dropped.rule, dropped.drop_reason()), (Some(RuleId(0)), Some(DropReason::Policy)));
    assert_eq!(it.inside(&Pair::v4(1, 54).udp(1)).rule, Some(RuleId(1)));
    assert_eq!(it.inside(&Pair::v4(1, 54).tcp("S", 0, 0)).rule, None);
}

#[test]
fn a_rule_on_tcp_flags_sees_every_packet() {
    let reset = TcpFlags { mask: 0b100, value: 0b100, invert: false };
    let no_resets = Match { tcp_flags: Some(reset), ..everything() };
    for pair in Pair::both(4000, 22) {
        let mut it =
            linux(rules([(no_resets.clone(), RuleAction::Drop), (everything(), RuleAction::Accept)]));
        assert_eq!(handshake(&mut it, pair).drop_reason(), None);
        for _ in 0..3 {
            assert_eq!(it.inside(&pair.tcp("A", 1001, 5001)).rule, Some(RuleId(1)));
        }
        assert_eq!(it.inside(&pair.tcp("R", 1001, 0)).rule, Some(RuleId(0)));
    }
}

#[test]
fn only_a_syn_may_be_new_where_a_rule_says_so() {
    let syn = TcpFlags { mask: 0b1_0111, value: 0b10, invert: true };
    let no_syn = Match { tcp_flags: Some(syn), ..states([State::New]) };
    let mut it = Middlebox::with(
        Settings::of(Preset::Classic, ROOM),
        rules([(no_syn, RuleAction::Drop), (everything(), RuleAction::Accept)]),
    );
    assert_eq!(it.inside(&Pair::v4(1, 22).tcp("A", 1, 1)).rule, Some(RuleId(0)));
    assert_eq!(it.inside(&Pair::v4(2, 22).tcp("S", 1, 0)).rule, Some(RuleId(1)));
    assert_eq!(it.shard.len(), 1);
}

#[test]
fn a_rule_on_icmp_types_is_not_fooled_by_the_quote() {
    let unreachable = IcmpType { protocol: 1, kind: 3, code: None };
    let mut it = linux(rules([
        (Match { icmp_types: vec![unreachable], ..everything() }, RuleAction::Drop),
        (everything(), RuleAction::Accept),
    ]));
    let pair = Pair::v4(4000, 53);
    let router = [10, 9, 9, 9].into();
    it.inside(&pair.udp(1));
    assert_eq!(it.outside(&pair.udp(1).time_exceeded(router)).rule, Some(RuleId(1)));
    assert_eq!(it.outside(&pair.udp(1).unreachable(router)).rule, Some(RuleId(0)));
}

#[test]
fn a_rule_on_addresses_sees_those_of_the_error_itself() {
    let router: std::net::IpAddr = [10, 9, 9, 9].into();
    let from_router =
        Match { source: vec![sluice_conntrack::policy::Prefix::new(router, 32)], ..everything() };
    let mut it = linux(rules([(from_router, RuleAction::Drop), (everything(), RuleAction::Accept)]));
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(1));
    assert_eq!(it.outside(&pair.udp(1).time_exceeded(router)).rule, Some(RuleId(0)));
}

#[test]
fn log_rules_see_every_packet_and_decide_nothing() {
    let mut it = linux(rules([(to_port(53), RuleAction::Log), (everything(), RuleAction::Accept)]));
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(1));
    it.outside(&pair.inverse().udp(1));
    for _ in 0..3 {
        assert_eq!(it.inside(&pair.udp(1)).rule, Some(RuleId(1)));
    }
    let records: Vec<_> = std::iter::from_fn(|| it.shard.log().pop()).collect();
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record.rule == RuleId(0) && record.facts.destination_port == 53));
    assert_eq!(records[0].facts.state, Some(State::New));
    assert_eq!(records[3].facts.state, Some(State::Established));
}

#[test]
fn logs_are_bounded_and_say_what_is_lost() {
    let mut it = linux(rules([(everything(), RuleAction::Log), (everything(), RuleAction::Accept)]));
    for _ in 0..5000 {
        it.inside(&Pair::v4(4000, 53).udp(1));
    }
    let kept = std::iter::from_fn(|| it.shard.log().pop()).count() as u64;
    assert!(kept <= 1024);
    assert_eq!(kept + it.shard.counters().log_lost, 5000);
    it.pass(secs(1));
    it.inside(&Pair::v4(4000, 53).udp(1));
    assert!(it.shard.log().pop().is_some(), "the next second has its own share");
}

#[test]
fn a_judgement_is_of_one_direction_and_one_port() {
    let mut it = linux(rules([
        (Match { direction: Some(Direction::Reply), ..everything() }, RuleAction::Drop),
        (Match { ingress: vec![INSIDE], ..everything() }, RuleAction::Accept),
    ]));
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(1));
    assert_eq!(it.outside(&pair.inverse().udp(1)).rule, Some(RuleId(0)));
    for _ in 0..2 {
        assert_eq!(it.inside(&pair.udp(1)).rule, Some(RuleId(1)));
        assert_eq!(it.outside(&pair.udp(1)).rule, None, "the same packet by another port");
    }
}

#[test]
fn a_mark_that_changes_counts_for_both_directions() {
    // The answer marks the connection; only then may the question's side go on.
    let mut it = linux(rules([
        (Match { direction: Some(Direction::Reply), ..to_port(4000) }, RuleAction::Mark(7)),
        (Match { mark: Some((7, u32::MAX)), ..everything() }, RuleAction::Accept),
        (states([State::New]), RuleAction::Accept),
        (Match { direction: Some(Direction::Original), ..everything() }, RuleAction::Drop),
        (everything(), RuleAction::Accept),
    ]));
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(1));
    assert_eq!(it.outside(&pair.inverse().udp(1)).rule, Some(RuleId(1)));
    assert_eq!(it.inside(&pair.udp(1)).rule, Some(RuleId(1)));
    // And the other way round: what was decided without the mark does not outlive it.
    let mut it = linux(accept_all());
    it.inside(&pair.udp(1));
    it.outside(&pair.inverse().udp(1));
    it.reload(rules([
        (Match { direction: Some(Direction::Reply), ..everything() }, RuleAction::Mark(7)),
        (Match { mark: Some((7, u32::MAX)), ..states([State::Established]) }, RuleAction::Drop),
        (everything(), RuleAction::Accept),
    ]));
    assert_eq!(it.inside(&pair.udp(1)).rule, Some(RuleId(2)));
    assert_eq!(it.outside(&pair.inverse().udp(1)).rule, Some(RuleId(1)));
    assert_eq!(it.inside(&pair.udp(1)).rule, Some(RuleId(1)), "the mark is the connection's");
}

#[test]
fn an_invalid_packet_can_be_dropped_by_a_rule() {
    let mut it =
        linux(rules([(states([State::Invalid]), RuleAction::Drop), (everything(), RuleAction::Accept)]));
    let verdict = it.inside(&Pair::v4(1, 2).tcp("SF", 0, 0));
    assert_eq!((verdict.rule, verdict.drop_reason()), (Some(RuleId(0)), Some(DropReason::Policy)));
}

/// Configurations are told apart by a number of 16 bits, which comes again.
#[test]
fn no_judgement_of_an_older_configuration_holds_however_many_there_were_since() {
    let mut it = linux(accept_all());
    let pairs: Vec<Pair> = (1..=100).map(|sport| Pair::v4(sport, 53)).collect();
    for pair in &pairs {
        for packet in [pair.udp(1), pair.inverse().udp(1), pair.udp(1)] {
            assert!(matches!(it.inside(&packet).action, Action::Forward(_)));
        }
    }
    let closed = Arc::new(configuration(Settings::of(Preset::Linux, ROOM), Policy::default()));
    for _ in 0..u16::MAX {
        it.shard.configure(&mut Installation::new(Arc::clone(&closed)));
        // A worker's round, with a little of its other work.
        it.shard.expire(it.now, 1);
    }
    for pair in pairs {
        assert_eq!(it.inside(&pair.udp(1)).drop_reason(), Some(DropReason::Policy));
    }
    it.check();
}

#[test]
fn what_kept_rules_have_come_to_goes_on_over_a_reload() {
    let mut it = linux(firewall());
    let pair = Pair::v4(4000, 53);
    it.inside(&pair.udp(72));
    it.outside(&pair.inverse().udp(172));
    let next = rules([(to_port(9), RuleAction::Drop), (states([State::Established]), RuleAction::Accept)]);
    let next = configuration(Settings::of(Preset::Linux, ROOM), next);
    // The first rule of the firewall is the second one now, and the default is the same.
    let kept = KeptRules { policy: vec![(0, 1), (2, 2)], ..KeptRules::default() };
    let mut next = Installation::new(next).keeping(Arc::new(kept));
    it.shard.configure(&mut next);
    it.outside(&pair.inverse().udp(172));
    let packets = |counters: &RuleCounters| counters.policy.iter().map(|it| it.packets).collect::<Vec<_>>();
    assert_eq!(packets(it.shard.rule_counters()), [0, 2, 0]);
    assert_eq!(packets(&next.rule_counters), [1, 1, 0], "and what was before comes back");
}

#[test]
fn a_record_says_how_long_a_packet_is_what_becomes_of_it_and_as_what_it_leaves() {
    let public = IpAddr::from([203, 0, 113, 10]);
    let target = Target::Pool(vec![Range::of(public, PortChoice::Preserve)]);
    let source = vec![NatRule::new(Match { egress: vec![OUTSIDE], ..everything() }, target)];
    let policy = rules([(everything(), RuleAction::Log), (to_port(53), RuleAction::Accept)]);
    let mut it = Middlebox::routed_with(policy, Nat { source, destination: vec![] });
    let pair = Pair::of([10, 0, 0, 2].into(), 4000, [198, 51, 100, 2].into(), 53);
    for _ in 0..2 {
        it.inside(&pair.udp(10));
        let record = it.shard.log().pop().unwrap();
        assert_eq!((record.len, record.dropped), (38, None));
        let sent = record.translated.unwrap();
        assert_eq!(
            (sent.source(), sent.selector.sport(), sent.destination()),
            (public, 4000, pair.destination.ip())
        );
    }
    it.outside(&Pair::of(pair.destination.ip(), 53, public, 4000).udp(10));
    let record = it.shard.log().pop().unwrap();
    assert_eq!((record.dropped, record.translated), (Some(DropReason::Policy), None));
    it.inside(&pair.tcp("S", 1, 0));
    assert_eq!(it.shard.log().pop().map(|record| (record.len, record.dropped)), Some((40, None)));
}
