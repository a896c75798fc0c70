//! From chains that jump to one another to one list of rules, of which the first that fits decides: what is jumped to stands in the
//! place of the jump, restricted to what jumps there. Where some packets leave a chain (RETURN), the rest of their way, through all
//! that it was jumped to from, stands in that place once more, restricted to those.

use std::rc::Rc;

use super::host::Ports;
use super::model::{Action, Chain, Field, Rule, Table};
use super::report::{Effect, Origin, Report};
use super::scope::{Bounds, Narrowed, Nothing, Scope};
use super::set::NumberSet;
use crate::config::TcpFlags;

/// A rule of a list: packets and what is done to them. Jumps and returns are none any more; where the list ends, all packets that
/// are left are accepted or dropped.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The packets.
    pub scope: Scope,
    /// How many of them.
    pub bounds: Bounds,
    /// What is done.
    pub action: Action,
    /// The rule that it comes of.
    pub origin: Rc<Origin>,
    /// The rule's comment.
    pub comment: Option<String>,
}

/// The kernel has 16.
const MAX_DEPTH: usize = 64;
/// Twice what a section of a configuration has room for.
const MAX_STEPS: usize = 20_000;
/// Rules that are looked at, on all ways together: more than a minute's work is a mistake.
const MAX_VISITS: usize = 2_000_000;

/// A chain on the way to a rule, and the rule of it that is next.
type Frame<'a> = (&'a Chain, usize);

struct Walk<'a> {
    /// The chain that begins at the hook.
    first: &'a Chain,
    table: &'a Table,
    ports: &'a Ports,
    report: &'a mut Report,
    steps: Vec<Step>,
    visits: usize,
    depth: usize,
}

/// The list that a chain of a table, which begins at a hook, comes to for the packets of a scope.
///
/// # Errors
/// It is too long, or the chains go round in a circle.
pub(super) fn flatten(
    table: &Table,
    chain: &Chain,
    scope: &Scope,
    ports: &Ports,
    report: &mut Report,
) -> Result<Vec<Step>, String> {
    let mut walk = Walk { first: chain, table, ports, report, steps: Vec::new(), visits: 0, depth: 0 };
    if walk.chain(&[(chain, 0)], scope)? {
        walk.end(scope)?;
    }
    Ok(walk.steps)
}

impl<'a> Walk<'a> {
    /// The rules of the last chain, from the next one on. Says whether packets come to its end.
    fn chain(&mut self, frames: &[Frame<'a>], scope: &Scope) -> Result<bool, String> {
        let Some((&(chain, next), callers)) = frames.split_last() else { return Ok(true) };
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("the jumps of chain `{}` are too deep, or go round in a circle", chain.name));
        }
        for (index, rule) in chain.rules.iter().enumerate().skip(next) {
            self.visits += 1;
            if self.visits > MAX_VISITS {
                return Err(format!("the ways through chain `{}` are too many", chain.name));
            }
            let Some(narrowed) = self.narrow(rule, &chain.rules[index + 1..], scope) else { continue };
            let (narrowed, bounds) = narrowed;
            let is_all = bounds.is_all() && narrowed == *scope;
            let here = || [callers, &[(chain, index + 1)]].concat();
            let goes_on = match &rule.action {
                Action::Accept
                | Action::Drop
                | Action::Reject(_)
                | Action::Synproxy(_)
                | Action::Translate(_) => {
                    self.push(narrowed, bounds, rule)?;
                    false
                }
                Action::Return if is_all => {
                    self.depth -= 1;
                    return Ok(true);
                }
                Action::Return => {
                    self.rest(callers, &narrowed)?;
                    false
                }
                Action::Jump(name) => match self.table.chain(name) {
                    Some(called) => self.chain(&[&here()[..], &[(called, 0)]].concat(), &narrowed)?,
                    None => self.no_chain(rule, name),
                },
                Action::Goto(name) => match self.table.chain(name) {
                    Some(called) => {
                        let falls = self.chain(&[callers, &[(called, 0)]].concat(), &narrowed)?;
                        if is_all {
                            self.depth -= 1;
                            return Ok(falls);
                        }
                        if falls {
                            self.rest(callers, &narrowed)?;
                        }
                        false
                    }
                    None => self.no_chain(rule, name),
                },
                Action::Mark(_)
                | Action::Log(_)
                | Action::Untracked
                | Action::Zone(_)
                | Action::Helper(_)
                | Action::ClampMss(_) => {
                    self.push(narrowed, bounds, rule)?;
                    true
                }
                Action::Count => true,
                Action::Unknown(why, effect) => {
                    self.report.left(&rule.origin, *effect, why.clone());
                    true
                }
            };
            if is_all && !goes_on {
                self.depth -= 1;
                return Ok(false);
            }
        }
        self.depth -= 1;
        Ok(true)
    }

    /// What becomes of packets that have left a chain: the rest of those that it was jumped to from, and the end of the first.
    fn rest(&mut self, callers: &[Frame<'a>], scope: &Scope) -> Result<(), String> {
        for number in (1..=callers.len()).rev() {
            if !self.chain(&callers[..number], scope)? {
                return Ok(());
            }
        }
        self.end(scope)
    }

    /// What becomes of packets about which no rule of the first chain decides.
    fn end(&mut self, scope: &Scope) -> Result<(), String> {
        let accepts = self.first.base.is_none_or(|base| base.accepts);
        let action = if accepts { Action::Accept } else { Action::Drop };
        let origin = Rc::clone(&self.first.origin);
        let rule = Rule { origin, matches: Vec::new(), action, comment: None };
        self.push(scope.clone(), Bounds::default(), &rule)
    }

    fn push(&mut self, scope: Scope, bounds: Bounds, rule: &Rule) -> Result<(), String> {
        if self.steps.len() >= MAX_STEPS {
            return Err(format!("the chains come to more than {MAX_STEPS} rules"));
        }
        let Rule { origin, action, comment, .. } = rule;
        self.steps.push(Step {
            scope,
            bounds,
            action: action.clone(),
            origin: Rc::clone(origin),
            comment: comment.clone(),
        });
        Ok(())
    }

    fn no_chain(&mut self, rule: &Rule, name: &str) -> bool {
        self.report.left(&rule.origin, Effect::Either, format!("there is no chain `{name}`"));
        true
    }

    /// What comes of it if packets do not meet a rule, before the rest of its chain.
    fn without_one(&self, rule: &Rule, rest: &[Rule]) -> Effect {
        match &rule.action {
            Action::Jump(name) | Action::Goto(name) => {
                let called = self.table.chain(name);
                called.map_or(Effect::Note, |called| self.without(&called.rules, MAX_DEPTH))
            }
            Action::Return => self.without(rest, MAX_DEPTH).opposite(),
            action => effect(action),
        }
    }

    /// What comes of it if packets do not meet these rules.
    fn without(&self, rules: &[Rule], depth: usize) -> Effect {
        let of_rule = |rule: &Rule| match &rule.action {
            Action::Jump(name) | Action::Goto(name) => match (self.table.chain(name), depth.checked_sub(1)) {
                (Some(called), Some(depth)) => self.without(&called.rules, depth),
                (Some(_), None) => Effect::Either,
                (None, _) => Effect::Note,
            },
            action => effect(action),
        };
        rules.iter().map(of_rule).fold(Effect::Note, Effect::and)
    }

    /// Takes note of what cannot be said of a rule's limits. Connections are counted by packets that are NEW.
    fn bound(&mut self, rule: &Rule, narrowed: &mut Narrowed) {
        if narrowed.bounds.is_all() {
            return;
        }
        if narrowed.bounds.no_reverse_path.is_some() && !matches!(rule.action, Action::Drop) {
            narrowed
                .unknown
                .push("what no route leads back to is dropped, or nothing is done to it".to_owned());
        }
        let is_some = narrowed.bounds.limit.is_some() || narrowed.bounds.connections.is_some();
        let unbounded = unbounded(&rule.action).filter(|_| is_some);
        narrowed.unknown.extend(unbounded.map(|what| format!("{what} cannot be said")));
        if narrowed.bounds.connections.is_none() {
            return;
        }
        let new = NumberSet::one(0);
        let is_new = narrowed.scope.set(Field::State) == Some(&new);
        if !is_new && narrowed.scope.flags.iter().any(is_opening) && !narrowed.scope.looks_at(Field::State) {
            narrowed.scope = narrowed.scope.clone().with(Field::State, new);
            let why =
                "only a SYN that begins a connection is looked at, and none of one that is open".to_owned();
            narrowed.differs.push(why);
        } else if !is_new {
            let why = "open connections are looked at by packets of the state NEW alone".to_owned();
            narrowed.unknown.push(why);
        }
    }

    /// What a rule is about, and how much of that, before the rest of its chain; `None` if it is about no packet, or about what cannot
    /// be said.
    fn narrow(&mut self, rule: &Rule, rest: &[Rule], scope: &Scope) -> Option<(Scope, Bounds)> {
        let mut narrowed = match scope.narrow(&rule.matches, self.ports) {
            Ok(narrowed) => narrowed,
            Err(Nothing::Contradiction) => return None,
            Err(Nothing::NoPort(name)) => {
                let why = match name.as_str() {
                    "lo" => "what the box says to itself does not leave its own network stack".to_owned(),
                    _ => format!("no packet comes or goes by `{name}`, which is no port of the box"),
                };
                self.report.note(&rule.origin, why);
                return None;
            }
        };
        if matches!(rule.action, Action::Log(_)) && !narrowed.limits.is_empty() {
            narrowed.limits.clear();
            self.report.note(&rule.origin, "the log has a limit of its own, the same for all rules");
        }
        narrowed.unknown.append(&mut narrowed.limits);
        self.bound(rule, &mut narrowed);
        if narrowed.unknown.is_empty() {
            for why in narrowed.wider {
                self.report.left(&rule.origin, self.without_one(rule, rest).opposite(), why);
            }
            for why in narrowed.differs {
                self.report.left(&rule.origin, Effect::Either, why);
            }
            return Some((narrowed.scope, narrowed.bounds));
        }
        let effect = self.without_one(rule, rest);
        self.report.left(&rule.origin, effect, narrowed.unknown.join("; "));
        None
    }
}

/// Whether flags are those of an opening segment.
fn is_opening(flags: &TcpFlags) -> bool {
    !flags.negated && flags.set == 0x02 && flags.mask & 0x12 == 0x12
}

/// What there cannot be a limit of.
fn unbounded(action: &Action) -> Option<&'static str> {
    match action {
        Action::Accept
        | Action::Drop
        | Action::Reject(_)
        | Action::Synproxy(_)
        | Action::Mark(_)
        | Action::Log(_) => None,
        Action::Jump(_) | Action::Goto(_) => Some("a limit of what goes through another chain"),
        Action::Return => Some("a limit of what leaves the chain"),
        Action::Translate(_) => Some("a limit of what is translated"),
        Action::Untracked | Action::Zone(_) | Action::Helper(_) => Some("a limit of how packets are tracked"),
        Action::ClampMss(_) => Some("a limit of what is clamped"),
        Action::Count | Action::Unknown(..) => None,
    }
}

/// What comes of leaving a rule out.
fn effect(action: &Action) -> Effect {
    match action {
        Action::Accept => Effect::Fewer,
        Action::Drop | Action::Reject(_) => Effect::More,
        Action::Return | Action::Count => Effect::Note,
        Action::Jump(_) | Action::Goto(_) | Action::Synproxy(_) => Effect::Either,
        Action::Unknown(_, effect) => *effect,
        Action::Mark(_)
        | Action::Log(_)
        | Action::Translate(_)
        | Action::Untracked
        | Action::Zone(_)
        | Action::Helper(_)
        | Action::ClampMss(_) => Effect::Other,
    }
}

/// Packets that a first list accepts go through the second. A list that accepts none but at its end stands before the other as it is.
pub(super) fn compose(
    mut first: Vec<Step>,
    second: Vec<Step>,
    report: &mut Report,
) -> Result<Vec<Step>, String> {
    let accepts = |step: &Step| matches!(step.action, Action::Accept);
    if second.iter().all(accepts) {
        return Ok(first);
    }
    let ends_accepting = first.last().is_some_and(accepts);
    while first.last().is_some_and(accepts) {
        first.pop();
    }
    first.retain(|step| {
        let is_said = !accepts(step) || step.bounds.is_all();
        if !is_said {
            let why = "a limit of what goes through another table cannot be said";
            report.left(&step.origin, Effect::Fewer, why);
        }
        is_said
    });
    let mut both = Vec::with_capacity(first.len() + second.len());
    for step in first {
        if accepts(&step) {
            let common = second
                .iter()
                .filter_map(|then| Some(Step { scope: step.scope.and(&then.scope)?, ..then.clone() }));
            both.extend(common);
        } else {
            both.push(step);
        }
        if both.len() > MAX_STEPS {
            return Err(format!("the chains come to more than {MAX_STEPS} rules"));
        }
    }
    if ends_accepting {
        both.extend(second);
    }
    Ok(both)
}
