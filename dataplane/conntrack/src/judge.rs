//! What the policy says about a packet: from the memory of its entry where that holds, else by a walk.

use crate::configuration::Configuration;
use crate::connection_counts::{Counted, Counter};
use crate::entry::Entry;
use crate::events::End;
use crate::facts::{Connection, Facts};
use crate::flows::Flow;
use crate::forward::Egress;
use crate::headers::{Headers, Packet};
use crate::ids::{PortId, RuleId};
use crate::limits::Limiter;
use crate::log::LogRecord;
use crate::nat::Destination;
use crate::policy::{Decision, Judgement, Outcome};
use crate::shard::Shard;
use crate::track::Tracked;
use crate::tuple::{Direction, protocol};
use crate::unconfirmed::Unconfirmed;
use crate::verdict::{Action, DropReason, Rejection, State, Verdict};

impl Shard {
    /// The verdict of the policy on a packet that did not open a connection, which counts for the rule that has decided.
    #[inline(always)]
    pub(crate) fn judge(
        &mut self,
        packet: Packet<'_>,
        tracked: &Tracked,
        ingress: PortId,
        egress: &Egress,
        destination: Option<&Destination>,
    ) -> Verdict {
        let remembered = match (tracked.state, tracked.direction, tracked.entry()) {
            (State::Established, Some(direction), Some(index)) => {
                self.flow(index, direction, ingress).map(|flow| flow.decision)
            }
            _ => None,
        };
        let decision = match remembered {
            Some(decision) => decision,
            None => {
                let decision = self.look_and_walk(packet, tracked, ingress, egress, destination);
                if self.is_rerouted(tracked, decision, egress) {
                    return self.end_rerouted(tracked, decision, packet.headers);
                }
                decision
            }
        };
        let verdict = self.apply(decision, packet.headers, tracked, egress);
        self.rule_counters.count(verdict.rule, packet.headers.l3_len);
        verdict
    }

    /// Whether a packet that may pass belongs to a masqueraded connection and would leave by another interface than that. Routes
    /// change with the configuration only, so nobody asks where a judgement is remembered.
    fn is_rerouted(&self, tracked: &Tracked, decision: Decision, egress: &Egress) -> bool {
        let Configuration { policy, forwarding, .. } = &*self.configuration;
        let (outcome, _) = policy.outcome(decision);
        matches!(tracked.state, State::New | State::Established)
            && tracked.direction == Some(Direction::Original)
            && matches!((outcome, egress.action()), (Outcome::Accept, Action::Forward(_)))
            && tracked
                .entry()
                .is_some_and(|index| self.is_masqueraded_elsewhere(index, egress.port, forwarding))
    }

    /// Ends such a connection, as Linux does.
    #[cold]
    #[inline(never)]
    fn end_rerouted(&mut self, tracked: &Tracked, decision: Decision, headers: &Headers) -> Verdict {
        let (_, rule) = self.configuration.policy.outcome(decision);
        self.rule_counters.count(rule, headers.l3_len);
        if let Some(index) = tracked.entry() {
            self.counters.routes_changed += 1;
            self.end(index, End::Closed);
        }
        let dropped = self.verdict(tracked, Action::Drop(DropReason::NatRouteChanged));
        Verdict { rule, entry: None, ..dropped }
    }

    /// The verdict of the policy on the first packet of a connection, and the mark that rules give the connection;
    /// with it the rule that wants the packet logged. What counts the connection is put into `counted`. What comes of it is [recorded](Self::record_first)
    /// at the end.
    #[inline]
    pub(crate) fn judge_first(
        &mut self,
        unconfirmed: &mut Unconfirmed,
        headers: &Headers,
        tracked: &Tracked,
        facts: &mut Facts,
        egress: &Egress,
        counted: &mut Counted,
    ) -> (Verdict, Option<RuleId>) {
        facts.egress = Some(egress.port);
        let limiter = Limiter { again: unconfirmed.attempt.again, ..self.limiter() };
        let mut counter = Counter::new(&self.connection_counts, counted);
        let judgement = self.configuration.policy.judge(facts, &limiter, &mut counter);
        unconfirmed.entry.mark = facts.mark().unwrap_or(0);
        let (outcome, rule) = self.configuration.policy.outcome(judgement.decision);
        if outcome == Outcome::Synproxy && !unconfirmed.is_proven {
            let action = self.ask_for_cookie(facts, unconfirmed);
            return (Verdict { rule, ..self.verdict(tracked, action) }, judgement.log);
        }
        (self.apply(judgement.decision, headers, tracked, egress), judgement.log)
    }

    /// Counts the first packet of a connection for the rule that has decided about it, and logs it for one that saw these facts:
    /// once, however often it is decided about. What is another shard's is counted and logged there; what finds the table full,
    /// no rule has decided.
    #[inline(always)]
    pub(crate) fn record_first(
        &mut self,
        verdict: &Verdict,
        headers: &Headers,
        unconfirmed: &Unconfirmed,
        log: Option<RuleId>,
        facts: &Facts,
    ) {
        if unconfirmed.attempt.again || matches!(verdict.action, Action::Handoff(..)) {
            return;
        }
        if verdict.drop_reason() != Some(DropReason::TableFull) {
            self.rule_counters.count(verdict.rule, headers.l3_len);
        }
        if let Some(rule) = log {
            let dropped = verdict.drop_reason();
            let leaves_as = unconfirmed.reply.invert();
            let translated = (dropped.is_none() && leaves_as != unconfirmed.original).then_some(leaves_as);
            let facts = facts.with_mark(unconfirmed.inherited_mark());
            self.record(LogRecord { at: self.now, rule, facts, len: headers.l3_len, dropped, translated });
        }
    }

    /// The verdict that a decision comes to.
    #[inline(always)]
    fn apply(&self, decision: Decision, headers: &Headers, tracked: &Tracked, egress: &Egress) -> Verdict {
        let (outcome, rule) = self.configuration.policy.outcome(decision);
        let action = match outcome {
            Outcome::Accept | Outcome::Synproxy => egress.action(),
            Outcome::Drop => Action::Drop(DropReason::Policy),
            Outcome::Reject if headers.protocol == protocol::TCP => {
                Action::Reject(DropReason::Reject, Rejection::TcpReset)
            }
            Outcome::Reject => Action::Reject(DropReason::Reject, Rejection::Prohibited),
        };
        Verdict { rule, next_hop: egress.next_hop, ..self.verdict(tracked, action) }
    }

    /// The verdict on a tracked packet about which no rule decides.
    #[inline]
    pub(crate) fn verdict(&self, tracked: &Tracked, action: Action) -> Verdict {
        Verdict {
            action,
            next_hop: None,
            state: Some(tracked.state),
            direction: tracked.direction,
            invalid: tracked.invalid,
            rule: None,
            entry: tracked.entry().map(|index| self.table.entries.id(index)),
        }
    }

    /// Walks the rules for a packet that did not open a connection, gives its entry the mark that they say, and remembers
    /// the decision where it will be the same again.
    #[inline(never)]
    fn look_and_walk(
        &mut self,
        packet: Packet<'_>,
        tracked: &Tracked,
        ingress: PortId,
        egress: &Egress,
        destination: Option<&Destination>,
    ) -> Decision {
        let mut facts = Facts::of_packet(packet, ingress);
        facts.state = Some(tracked.state);
        facts.egress = Some(egress.port);
        if let Some(to) = destination {
            facts.set_destination(to.address, to.port);
        }
        let len = packet.headers.l3_len;
        let (Some(index), Some(direction)) = (tracked.entry(), tracked.direction) else {
            let mut counted = Counted::new();
            let judgement = self.walk(&mut facts, len, None, &mut counted);
            counted.iter().for_each(|key| self.connection_counts.give_back(*key));
            return judgement.decision;
        };
        let Entry { mark, status, .. } = *self.table.entries.at(index);
        let helper = self.table.child(index).and_then(|child| child.expectation.helper());
        facts.connection = Some(Connection { direction, mark, status, helper });
        let before = self.table.counted(index);
        let mut counted = before.clone();
        let judgement = self.walk(&mut facts, len, Some((index, direction)), &mut counted);
        if counted != before {
            self.keep_counted(index, &counted);
        }
        if let Some(changed) = facts.mark().filter(|given| *given != mark) {
            self.set_mark(index, changed);
        }
        if tracked.state == State::Established && judgement.repeats {
            let destination = destination.map_or(packet.headers.tuple.dst, |to| to.address);
            self.remember(
                index,
                direction,
                judgement.decision,
                (ingress, packet.headers, destination),
                egress,
            );
        }
        judgement.decision
    }

    /// What a direction's packets come to that come in by a port, where the entry at `index` remembers it.
    #[inline(always)]
    pub(crate) fn flow(&self, index: u32, direction: Direction, ingress: PortId) -> Option<&Flow> {
        let judged = &self.table.entries.at(index).judged;
        self.flows.get(judged.get(self.generation, direction, ingress)?)
    }

    /// Has the entry at `index` remember what further packets of this direction come to.
    fn remember(
        &mut self,
        index: u32,
        direction: Direction,
        decision: Decision,
        (ingress, headers, destination): (PortId, &Headers, u128),
        egress: &Egress,
    ) {
        let Configuration { policy, forwarding, .. } = &*self.configuration;
        let (outcome, rule) = policy.outcome(decision);
        let passes = outcome == Outcome::Accept;
        let route = passes.then(|| forwarding.flow_route(ingress, headers, destination, egress)).flatten();
        let Egress { port, next_hop } = route.map_or(*egress, |route| route.egress);
        let verdict = Verdict {
            next_hop,
            state: Some(State::Established),
            rule,
            ..Verdict::ended(Action::Forward(port))
        };
        if let Some(number) = self.flows.number(Flow { decision, route, verdict }) {
            self.table.entries.at_mut(index).judged.set(self.generation, direction, ingress, number);
        }
    }

    /// Walks the rules, which give the facts their mark, and logs what one of them wants logged.
    /// What counts its connection is `counted`, as far as it did before, and is added there.
    fn walk(
        &mut self,
        facts: &mut Facts,
        len: u32,
        of: Option<(u32, Direction)>,
        counted: &mut Counted,
    ) -> Judgement {
        let seen = *facts;
        let mut counter = Counter::new(&self.connection_counts, counted);
        let judgement = self.configuration.policy.judge(facts, &self.limiter(), &mut counter);
        if let Some(rule) = judgement.log {
            self.record_walk(rule, &judgement, seen, len, of);
        }
        judgement
    }

    /// Logs a packet, of an entry and a direction of that if it has one, as the rules have judged it.
    #[cold]
    fn record_walk(
        &mut self,
        rule: RuleId,
        judgement: &Judgement,
        facts: Facts,
        len: u32,
        of: Option<(u32, Direction)>,
    ) {
        let dropped = match self.configuration.policy.outcome(judgement.decision).0 {
            Outcome::Accept | Outcome::Synproxy => None,
            Outcome::Drop => Some(DropReason::Policy),
            Outcome::Reject => Some(DropReason::Reject),
        };
        let leaves_as = |(index, direction): (u32, Direction)| {
            // An error about a connection goes its own way.
            let is_its = self.table.entries.tuple(index, direction).src == facts.source;
            let is_translated = self.table.entries.at(index).is_translated();
            (is_its && is_translated).then(|| self.table.entries.tuple(index, direction.invert()).invert())
        };
        let translated = of.filter(|_| dropped.is_none()).and_then(leaves_as);
        self.record(LogRecord { at: self.now, rule, facts, len, dropped, translated });
    }

    /// What rules with a limit are asked with about a packet that is new here.
    fn limiter(&self) -> Limiter<'_> {
        Limiter { limits: &self.limits, now: self.now, again: false }
    }

    #[cold]
    fn record(&mut self, record: LogRecord) {
        if !self.log.push(record) {
            self.counters.log_lost += 1;
        }
    }
}
