//! The ways of packets through the chains of all tables, as Linux has them: what is for the box itself, what it sends, what passes;
//! and first packets, whose addresses are translated.

use super::flatten::{Step, compose, flatten};
use super::host::Ports;
use super::model::{Action, Base, Chain, Field, Hook, Table};
use super::report::{Effect, Report};
use super::scope::Scope;
use super::set::NumberSet;

/// Before this, packets are not tracked yet.
const TRACKING: i64 = -200;
/// Before this, the destination is not translated yet.
const DESTINATION_NAT: i64 = -100;

/// The packets of a way, as lists of rules.
pub(super) struct Way {
    /// What all of its packets have in common.
    pub scope: Scope,
    /// Its rules.
    pub steps: Vec<Step>,
}

/// What is looked for in chains.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// Verdicts, marks and the log.
    Policy,
    /// Translation.
    Nat,
}

/// Reads the ways out of tables.
pub(super) struct Reader<'a> {
    /// The tables.
    pub tables: &'a [Table],
    /// The ports.
    pub ports: &'a Ports,
    /// What is left over.
    pub report: &'a mut Report,
}

impl Reader<'_> {
    /// What is for the box itself.
    pub(super) fn input(&mut self) -> Result<Vec<Way>, String> {
        self.ways(
            &[Hook::Prerouting, Hook::Input],
            Part::Policy,
            &self.in_ports().with(Field::Out, self.local()),
        )
    }

    /// What the box sends.
    pub(super) fn output(&mut self) -> Result<Vec<Way>, String> {
        let scope = self.out_ports().with(Field::In, self.local());
        self.ways(&[Hook::Output, Hook::Postrouting], Part::Policy, &scope)
    }

    /// What passes.
    pub(super) fn forward(&mut self) -> Result<Vec<Way>, String> {
        let scope = self.out_ports().with(Field::In, self.ports.all());
        self.ways(&[Hook::Prerouting, Hook::Forward, Hook::Postrouting], Part::Policy, &scope)
    }

    /// Destinations of first packets: of those that the box sends, then of those that come in.
    pub(super) fn destinations(&mut self) -> Result<Vec<Way>, String> {
        let mut ways =
            self.ways(&[Hook::Output], Part::Nat, &Scope::default().with(Field::In, self.local()))?;
        ways.extend(self.ways(&[Hook::Prerouting], Part::Nat, &self.in_ports())?);
        Ok(ways)
    }

    /// Sources of first packets.
    pub(super) fn sources(&mut self) -> Result<Vec<Way>, String> {
        self.ways(&[Hook::Postrouting], Part::Nat, &self.out_ports())
    }

    /// What the chains say of packets before, or as, they are tracked: a list for each chain.
    pub(super) fn tracking(&mut self) -> Result<Vec<Vec<Step>>, String> {
        let own = Scope::default().with(Field::In, self.local());
        let mut lists = self.lists(&[Hook::Output], &own)?;
        lists.extend(self.arriving()?);
        Ok(lists)
    }

    /// What they say of packets as those come in: a list for each chain.
    pub(super) fn arriving(&mut self) -> Result<Vec<Vec<Step>>, String> {
        self.lists(&[Hook::Prerouting], &self.in_ports())
    }

    /// What they say of packets that pass, on their way to where they leave: a list for each chain.
    pub(super) fn leaving(&mut self) -> Result<Vec<Vec<Step>>, String> {
        let scope = self.out_ports().with(Field::In, self.ports.all());
        self.lists(&[Hook::Forward, Hook::Postrouting], &scope)
    }

    fn lists(&mut self, hooks: &[Hook], scope: &Scope) -> Result<Vec<Vec<Step>>, String> {
        let mut lists = Vec::new();
        for (table, chain, _) in chains(self.tables, hooks, Part::Policy) {
            if let Some(scope) = families(table.families, scope) {
                lists.push(flatten(table, chain, &scope, self.ports, self.report)?);
            }
        }
        Ok(lists)
    }

    fn local(&self) -> NumberSet {
        NumberSet::one(self.ports.local())
    }

    fn in_ports(&self) -> Scope {
        Scope::default().with(Field::In, self.ports.all())
    }

    fn out_ports(&self) -> Scope {
        Scope::default().with(Field::Out, self.ports.all())
    }

    /// The ways of packets through chains: one for both families where they meet the same chains, else one for each. Families that
    /// no table is of have none.
    fn ways(&mut self, hooks: &[Hook], part: Part, scope: &Scope) -> Result<Vec<Way>, String> {
        let chains = chains(self.tables, hooks, part);
        let knows = |family: fn(&Table) -> bool| self.tables.iter().any(family);
        let known = (knows(|table| table.families.0), knows(|table| table.families.1));
        let alike = known == (true, true) && chains.iter().all(|(table, ..)| table.families == known);
        let wanted = if alike { vec![known] } else { vec![(known.0, false), (false, known.1)] };
        let mut ways = Vec::new();
        for family in wanted {
            let Some(scope) = families(family, scope) else { continue };
            let meets = |table: &Table| table.families.0 && family.0 || table.families.1 && family.1;
            let mut steps: Option<Vec<Step>> = None;
            for (table, chain, base) in chains.iter().rev().filter(|(table, ..)| meets(table)) {
                let mut list = flatten(table, chain, &scope, self.ports, self.report)?;
                self.keep(&mut list, *base, part);
                steps = Some(match steps {
                    Some(rest) => compose(list, rest, self.report)?,
                    None => list,
                });
            }
            ways.push(Way { scope, steps: steps.unwrap_or_default() });
        }
        Ok(ways)
    }

    /// Keeps what is looked for, and of that what is as true later as where it stands.
    fn keep(&mut self, list: &mut Vec<Step>, base: Base, part: Part) {
        let has_nat = self.tables.iter().flat_map(|table| &table.chains).any(|chain| {
            chain.base.is_some_and(|base| base.is_nat && base.hook == Hook::Prerouting)
                && !chain.rules.is_empty()
        });
        list.retain(|step| {
            match step.action {
                Action::Translate(_) => return part == Part::Nat,
                Action::Untracked | Action::Zone(_) | Action::Helper(_) => {
                    if !matches!(base.hook, Hook::Prerouting | Hook::Output) || part == Part::Nat {
                        let why = "how a packet is tracked is said where it comes in";
                        self.report.left(&step.origin, Effect::Other, why);
                    }
                    return false;
                }
                Action::ClampMss(_) => {
                    if !matches!(base.hook, Hook::Forward | Hook::Postrouting) || part == Part::Nat {
                        let why = "segments are clamped of what passes, and by no rule that translates";
                        self.report.left(&step.origin, Effect::Other, why);
                    }
                    return false;
                }
                Action::Drop if step.bounds.no_reverse_path.is_some() && part == Part::Policy => {
                    if base.hook != Hook::Prerouting {
                        let why = "a reverse path filter is of all that comes in by an interface";
                        self.report.left(&step.origin, Effect::More, why);
                    }
                    return false;
                }
                Action::Drop | Action::Reject(_) if part == Part::Nat => {
                    self.report.left(&step.origin, Effect::More, "rules that translate drop nothing");
                    return false;
                }
                Action::Mark(_) | Action::Log(_) if part == Part::Nat => {
                    self.report.left(&step.origin, Effect::Other, "rules that translate do nothing else");
                    return false;
                }
                _ => {}
            }
            let looks_at = |fields: &[Field]| fields.iter().any(|field| step.scope.set(*field).is_some());
            let destination = [Field::Destination, Field::DestinationPort];
            let is_early = base.hook == Hook::Prerouting && base.priority <= DESTINATION_NAT;
            if part == Part::Policy && is_early && has_nat && looks_at(&destination) {
                let why = "it looks at the destination before it is translated, the policy afterwards";
                self.report.left(&step.origin, Effect::Either, why);
                return false;
            }
            if base.priority <= TRACKING && looks_at(&[Field::State]) {
                self.report.left(&step.origin, Effect::Either, "it looks at the state before there is one");
                return false;
            }
            true
        });
    }
}

/// The chains that begin at hooks, in the order in which packets meet them.
fn chains<'t>(tables: &'t [Table], hooks: &[Hook], part: Part) -> Vec<(&'t Table, &'t Chain, Base)> {
    let mut found = Vec::new();
    for (place, hook) in hooks.iter().enumerate() {
        for table in tables {
            let begins = |chain: &'t Chain| {
                let base =
                    chain.base.filter(|base| base.hook == *hook && base.is_nat == (part == Part::Nat))?;
                Some((place, (table, chain, base)))
            };
            found.extend(table.chains.iter().filter_map(begins));
        }
    }
    found.sort_by_key(|(place, (_, _, base))| (*place, base.priority));
    found.into_iter().map(|(_, chain)| chain).collect()
}

/// The scope, restricted to the families that are meant.
fn families(families: (bool, bool), scope: &Scope) -> Option<Scope> {
    match families {
        (true, true) => Some(scope.clone()),
        (true, false) => Some(scope.clone().with(Field::Family, NumberSet::one(0))),
        (false, true) => Some(scope.clone().with(Field::Family, NumberSet::one(1))),
        (false, false) => None,
    }
}
