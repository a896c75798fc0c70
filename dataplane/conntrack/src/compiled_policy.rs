//! The policy as packets are judged by it: for each state the rules that packets of it can match, in their order, with what is fixed
//! about a rule worked out beforehand.
//!
//! A rule takes twelve bytes here, and most of those that are for others are told by them, so that a walk past many rules reads
//! little memory.

use crate::connection_counts::Counter;
use crate::facts::Facts;
use crate::ids::RuleId;
use crate::limits::Limiter;
use crate::policy::{Decision, Judgement, Parts, Policy, Rule, RuleAction};
use crate::tuple::protocol;
use crate::verdict::State;
use std::ops::Deref;

/// A rule that packets of a state can match.
#[derive(Clone, Debug)]
struct Step {
    /// Its number among the rules.
    number: u16,
    /// What it looks at, besides the state.
    parts: Parts,
    /// The one protocol that it is for, if it is for one.
    protocol: Option<u8>,
    /// The one range of destination ports that it is for; all of them where it is for several.
    destination_ports: (u16, u16),
    /// Whether it has a limit, of packets or of connections.
    is_limited: bool,
    /// Whether it applies to all packets of one direction of a connection alike, or to none.
    repeats: bool,
}

const _: () = assert!(size_of::<Step>() == 12, "five of them are in a cache line");

impl Step {
    fn new(number: u16, rule: &Rule) -> Self {
        let matches = &rule.matches;
        let protocol = match matches.protocols[..] {
            [protocol] => Some(protocol),
            _ => None,
        };
        let destination_ports = match &matches.destination_ports[..] {
            [ports] => (*ports.start(), *ports.end()),
            _ => (0, u16::MAX),
        };
        Self {
            number,
            parts: matches.parts(),
            protocol,
            destination_ports,
            is_limited: matches.limit.is_some() || matches.connections.is_some(),
            repeats: matches.repeats(),
        }
    }

    /// False where what is known of the rule here says that it does not apply.
    #[inline(always)]
    fn may_apply(&self, facts: &Facts) -> bool {
        let (first, last) = self.destination_ports;
        self.protocol.is_none_or(|protocol| protocol == facts.protocol)
            && (first..=last).contains(&facts.destination_port)
    }
}

/// The rules of the box, and how they are walked.
#[derive(Clone, Debug)]
pub struct CompiledPolicy {
    policy: Policy,
    /// For each state, and for packets without one, the rules that can apply.
    walks: [Vec<Step>; State::ALL.len() + 1],
    /// The largest window scale that a SYN/ACK with a SYN cookie offers; `None` where no SYN is answered with one.
    largest_wscale: Option<u8>,
}

impl From<Policy> for CompiledPolicy {
    fn from(policy: Policy) -> Self {
        let walk = |number: usize| {
            let state = State::ALL.get(number).copied();
            let concerns = |rule: &Rule| {
                rule.matches.states.is_none_or(|states| state.is_some_and(|state| states.contains(state)))
            };
            let rules = (0..).zip(&policy.rules).filter(|(_, rule)| concerns(rule));
            rules.map(|(number, rule)| Step::new(number, rule)).collect()
        };
        let wscale = |rule: &Rule| match rule.action {
            RuleAction::Synproxy(synproxy) => Some(synproxy.wscale.unwrap_or(0)),
            _ => None,
        };
        let largest_wscale = policy.rules.iter().filter_map(wscale).max();
        Self { walks: std::array::from_fn(walk), largest_wscale, policy }
    }
}

/// Two are equal whose rules are.
impl PartialEq for CompiledPolicy {
    fn eq(&self, other: &Self) -> bool {
        self.policy == other.policy
    }
}

impl Deref for CompiledPolicy {
    type Target = Policy;

    #[inline(always)]
    fn deref(&self) -> &Policy {
        &self.policy
    }
}

impl CompiledPolicy {
    /// The rules, of which others can be made.
    pub fn into_policy(self) -> Policy {
        self.policy
    }

    /// Whether any SYN is answered with a SYN cookie.
    #[inline(always)]
    pub(crate) const fn has_synproxy(&self) -> bool {
        self.largest_wscale.is_some()
    }

    /// The largest window scale that a SYN/ACK with a SYN cookie offers.
    pub(crate) fn largest_wscale(&self) -> u8 {
        self.largest_wscale.unwrap_or(0)
    }

    /// Walks the rules for one packet. The facts then have the mark that the rules have given to its connection.
    pub fn judge(&self, facts: &mut Facts, limiter: &Limiter<'_>, counter: &mut Counter<'_>) -> Judgement {
        let mut judgement = Judgement { decision: Decision::default(), log: None, repeats: true };
        let walk = facts.state.map_or(State::ALL.len(), |state| state as usize);
        for step in &self.walks[walk] {
            judgement.repeats &= step.repeats;
            if !step.may_apply(facts) {
                continue;
            }
            let Some(Rule { matches, action, .. }) = self.policy.rules.get(usize::from(step.number)) else {
                continue;
            };
            if !matches.parts_apply(step.parts, facts) {
                continue;
            }
            if step.is_limited {
                judgement.repeats &= matches.limit.is_none();
                if matches.limit.as_ref().is_some_and(|limit| !limiter.applies(limit, facts))
                    || matches.connections.as_ref().is_some_and(|limit| !counter.applies(limit, facts))
                {
                    continue;
                }
            }
            match action {
                RuleAction::Synproxy(_)
                    if facts.protocol != protocol::TCP || facts.state != Some(State::New) => {}
                RuleAction::Accept | RuleAction::Drop | RuleAction::Reject | RuleAction::Synproxy(_) => {
                    judgement.decision = Decision::by(RuleId(step.number));
                    break;
                }
                RuleAction::Mark(mark) => {
                    if let Some(connection) = &mut facts.connection {
                        judgement.repeats &= connection.mark == *mark;
                        connection.mark = *mark;
                    }
                }
                RuleAction::Log => {
                    judgement.log = judgement.log.or(Some(RuleId(step.number)));
                    judgement.repeats = false;
                }
            }
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_counts::{ConnectionCounts, Counted};
    use crate::facts::Connection;
    use crate::family::Family;
    use crate::ids::PortId;
    use crate::limits::Limits;
    use crate::policy::{Match, Outcome, Prefix, StateSet, TcpFlags};
    use crate::synproxy::Synproxy;
    use crate::time::Instant;
    use crate::tuple::Direction;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    const ACTIONS: [RuleAction; 5] =
        [RuleAction::Accept, RuleAction::Drop, RuleAction::Reject, RuleAction::Mark(7), RuleAction::Log];

    fn states() -> impl Strategy<Value = Option<StateSet>> {
        prop::option::of(subsequence(State::ALL.to_vec(), 1..=5).prop_map(StateSet::from_iter))
    }

    fn ports() -> impl Strategy<Value = Vec<std::ops::RangeInclusive<u16>>> {
        subsequence(vec![0..=21, 22..=22, 53..=80, 443..=u16::MAX], 0..=2)
    }

    prop_compose! {
        fn rule()(
            states in states(),
            protocols in subsequence(vec![protocol::ICMP, protocol::TCP, protocol::UDP], 0..=2),
            destination_ports in ports(),
            source_ports in ports(),
            source in subsequence(vec![Prefix::new([10, 0, 0, 0].into(), 8), Prefix::new([10, 1, 0, 0].into(), 16)], 0..=2),
            ingress in subsequence(vec![PortId(0), PortId(1)], 0..=1),
            direction in prop::option::of(select(vec![Direction::Original, Direction::Reply])),
            mark in prop::option::of(select(vec![(0, u32::MAX), (7, 0xff)])),
            has_flags in any::<bool>(),
            action in select(ACTIONS.to_vec()),
        ) -> Rule {
            let tcp_flags = has_flags.then_some(TcpFlags { mask: 0x12, value: 2, invert: false });
            let matches = Match {
                states, protocols, destination_ports, source_ports, source, ingress, direction, mark, tcp_flags,
                ..Match::default()
            };
            Rule { name: None, matches, action }
        }
    }

    prop_compose! {
        fn facts()(
            state in prop::option::of(select(State::ALL.to_vec())),
            protocol in select(vec![protocol::ICMP, protocol::TCP, protocol::UDP, protocol::GRE]),
            destination_port in select(vec![0, 22, 53, 443, 2048]),
            source_port in select(vec![0, 80, 40_000]),
            source in select(vec![0x0a00_0001_u128, 0x0a01_0001, 0xc000_0201]),
            ingress in select(vec![PortId(0), PortId(1)]),
            tcp_flags in select(vec![0, 2, 0x12]),
            is_tracked in any::<bool>(),
        ) -> Facts {
            let connection = is_tracked
                .then(|| Connection { direction: Direction::Original, mark: 0, status: Default::default(), helper: None });
            Facts {
                state, ingress, source, protocol, source_port, destination_port, tcp_flags, connection,
                egress: None, family: Family::V4, destination: 0xc633_6401, zone: 0,
            }
        }
    }

    /// What the rules come to one after the other, in words of their own.
    fn by_the_rules(rules: &[Rule], mut facts: Facts) -> (Option<usize>, Option<usize>, Option<u32>) {
        let mut log = None;
        for (number, rule) in rules.iter().enumerate() {
            match rule.action {
                _ if !rule.matches.applies(&facts) => {}
                RuleAction::Mark(mark) => facts = facts.with_mark(mark),
                RuleAction::Log => log = log.or(Some(number)),
                _ => return (Some(number), log, facts.mark()),
            }
        }
        (None, log, facts.mark())
    }

    #[test]
    fn the_largest_scale_that_any_rule_offers_is_known_beforehand() {
        let rule = |wscale: &Option<u8>| Rule {
            name: None,
            matches: Match::default(),
            action: RuleAction::Synproxy(Synproxy { mss: 1460, wscale: *wscale, sack_perm: true }),
        };
        for (offered, known) in
            [(&[][..], (false, 0)), (&[None], (true, 0)), (&[Some(7), None, Some(9), Some(2)], (true, 9))]
        {
            let rules = offered.iter().map(rule).collect();
            let policy = CompiledPolicy::from(Policy { rules, ..Policy::default() });
            assert_eq!((policy.has_synproxy(), policy.largest_wscale()), known);
        }
    }

    proptest! {
        #[test]
        fn a_walk_comes_to_what_the_rules_say(rules in prop::collection::vec(rule(), 0..12), mut facts in facts()) {
            let expected = by_the_rules(&rules, facts);
            let policy = CompiledPolicy::from(Policy { rules, default: Outcome::Drop, ..Policy::default() });
            let limits = Limits::new(1, [1, 2, 3, 4]);
            let counts = ConnectionCounts::new(1, [1, 2, 3, 4]).unwrap();
            let limiter = Limiter { limits: &limits, now: Instant::from_ns(0), again: false };
            let mut counted = Counted::new();
            let judgement = policy.judge(&mut facts, &limiter, &mut Counter::new(&counts, &mut counted));
            let number = |rule: Option<RuleId>| rule.map(|RuleId(number)| usize::from(number));
            let (_, decided) = policy.outcome(judgement.decision);
            prop_assert_eq!((number(decided), number(judgement.log), facts.mark()), expected);
        }
    }
}
