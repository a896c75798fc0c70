//! Scopes: the packets that a rule is about, where it stands. A scope is what all the matches on the way to a rule have in common,
//! kept as a set of numbers for each thing that is looked at.

use std::collections::BTreeMap;

use super::host::Ports;
use super::model::{Field, MAX_PROTOCOL, MAX_V4, Match};
use super::set::NumberSet;
use crate::config::{Connections, Limit, Mark, Protocol, RpFilter, Status, TcpFlags};

const UNKNOWN_KIND: &str =
    "the kind of an address is known of IPv4 only, and if the box's addresses are given";

/// Some packets.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Scope {
    /// What is restricted, and to what.
    sets: BTreeMap<Field, NumberSet>,
    /// TCP flags that it looks at.
    pub flags: Vec<TcpFlags>,
    /// The connection's mark.
    pub mark: Option<Mark>,
    /// Status of the connection: any of each.
    pub status: Vec<Vec<Status>>,
    /// The helper that expected the connection.
    pub helper: Option<String>,
}

/// Why no packet is in a scope.
#[derive(Debug, PartialEq)]
pub(super) enum Nothing {
    /// Its matches exclude each other.
    Contradiction,
    /// No port of the box has this name.
    NoPort(String),
}

/// Which of the packets of a scope a rule is for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bounds {
    /// How many packets.
    pub limit: Option<Limit>,
    /// How many connections.
    pub connections: Option<Connections>,
    /// Those that the reverse path filter does not let pass.
    pub no_reverse_path: Option<RpFilter>,
}

impl Bounds {
    /// Whether it is for all of them.
    pub(super) const fn is_all(self) -> bool {
        self.limit.is_none() && self.connections.is_none() && self.no_reverse_path.is_none()
    }
}

/// What a rule is about: its scope, and what of its matches that does not say.
#[derive(Debug)]
pub(super) struct Narrowed {
    /// The scope.
    pub scope: Scope,
    /// Matches that Sluice does not know, in words.
    pub unknown: Vec<String>,
    /// Limits that cannot be said, in words.
    pub limits: Vec<String>,
    /// Which packets of the scope.
    pub bounds: Bounds,
    /// What of that is otherwise, in words.
    pub differs: Vec<String>,
    /// Packets that are in the scope and that the matches do not fit, in words.
    pub wider: Vec<String>,
}

impl Scope {
    /// What of a thing is in the scope; `None` is everything.
    pub(super) fn set(&self, field: Field) -> Option<&NumberSet> {
        self.sets.get(&field)
    }

    /// Whether anything is said about a thing.
    pub(super) fn looks_at(&self, field: Field) -> bool {
        self.sets.contains_key(&field)
    }

    /// The same scope with one thing more restricted, whether or not a packet is left.
    #[must_use]
    pub(super) fn with(mut self, field: Field, set: NumberSet) -> Scope {
        let common = self.sets.get(&field).map(|own| own.intersection(&set));
        self.sets.insert(field, common.unwrap_or(set));
        self
    }

    /// The same scope with nothing said about one thing.
    #[must_use]
    pub(super) fn without(mut self, field: Field) -> Scope {
        self.sets.remove(&field);
        self
    }

    /// The packets that are in both.
    pub(super) fn and(&self, other: &Scope) -> Option<Scope> {
        let mut both =
            other.sets.iter().fold(self.clone(), |both, (field, set)| both.with(*field, set.clone()));
        let flags = other.flags.iter().filter(|flags| !self.flags.contains(flags));
        both.flags.extend(flags);
        let status = other.status.iter().filter(|status| !self.status.contains(status));
        both.status.extend(status.cloned());
        both.mark = match (self.mark, other.mark) {
            (Some(one), Some(another)) => Some(mark(one, another)?),
            (one, another) => one.or(another),
        };
        both.helper = same(self.helper.clone(), other.helper.clone())?;
        both.flags = flags_of(&both.flags)?;
        (!both.is_empty()).then_some(both)
    }

    /// The packets among these that all matches fit.
    pub(super) fn narrow(&self, matches: &[Match], ports: &Ports) -> Result<Narrowed, Nothing> {
        let mut narrowed = Narrowed {
            scope: self.clone(),
            unknown: Vec::new(),
            limits: Vec::new(),
            bounds: Bounds::default(),
            differs: Vec::new(),
            wider: Vec::new(),
        };
        for one in matches {
            let mut part = Scope::default();
            match one {
                Match::Interface { field, names, negated } => {
                    let set = ports.named(names);
                    let absent = names.iter().find(|name| ports.named(std::slice::from_ref(name)).is_empty());
                    if let (true, false, Some(absent)) = (set.is_empty(), negated, absent) {
                        return Err(Nothing::NoPort(absent.clone()));
                    }
                    let set = if *negated { set.complement(ports.local()) } else { set };
                    part.sets.insert(*field, set);
                }
                Match::Set(field, set) => {
                    part.sets.insert(*field, set.clone());
                    let ports = matches!(field, Field::SourcePort | Field::DestinationPort);
                    let protocols = narrowed.scope.set(Field::Protocol);
                    if ports && protocols.is_none_or(|set| set.intersection(&ported()) != *set) {
                        narrowed.unknown.push("ports of protocols that have none".to_owned());
                    }
                }
                Match::Address { field, kinds, negated } => {
                    let is_v4 = narrowed.scope.set(Field::Family) == Some(&NumberSet::one(0));
                    match ports.addresses(kinds).filter(|_| is_v4) {
                        Some(set) if *negated => part = part.with(*field, set.complement(MAX_V4)),
                        Some(set) => part = part.with(*field, set),
                        None => narrowed.unknown.push(UNKNOWN_KIND.to_owned()),
                    }
                }
                Match::TcpFlags(flags) => {
                    part.flags.push(*flags);
                    part.sets.insert(Field::Protocol, NumberSet::one(u128::from(Protocol::TCP.0)));
                }
                Match::Mark(mark) => part.mark = Some(*mark),
                Match::Status(status) => part.status.push(status.clone()),
                Match::Helper(helper) => part.helper = Some(helper.clone()),
                Match::Limit(limit) => {
                    if narrowed.bounds.limit.replace(*limit).is_some() {
                        narrowed.limits.push("two limits of rate in one rule".to_owned());
                    }
                }
                Match::Connections(connections) => {
                    if narrowed.bounds.connections.replace(*connections).is_some() {
                        narrowed.limits.push("two limits of connections in one rule".to_owned());
                    }
                }
                Match::NoReversePath(filter) => {
                    if narrowed.bounds.no_reverse_path.replace(*filter).is_some() {
                        narrowed.unknown.push("two reverse path filters in one rule".to_owned());
                    }
                }
                Match::UnknownLimit(limit) => narrowed.limits.push(limit.clone()),
                Match::Differs(why) => narrowed.differs.push(why.clone()),
                Match::Unknown(why) => narrowed.unknown.push(why.clone()),
                Match::Wider(why) => narrowed.wider.push(why.clone()),
            }
            narrowed.scope = narrowed.scope.and(&part).ok_or(Nothing::Contradiction)?;
        }
        Ok(narrowed)
    }

    fn is_empty(&self) -> bool {
        // INVALID and untracked packets belong to no connection that anything could be said about.
        let is_stateless = self
            .set(Field::State)
            .is_some_and(|states| [0, 1, 2].iter().all(|state| !states.contains(*state)));
        let of_connection = self.mark.is_some()
            || self.helper.is_some()
            || !self.status.is_empty()
            || self.set(Field::Direction).is_some();
        self.sets.values().any(NumberSet::is_empty) || is_stateless && of_connection
    }
}

/// The protocols whose ports rules may match.
pub(super) fn ported() -> NumberSet {
    let has_ports = |number: &u128| u8::try_from(*number).is_ok_and(|number| Protocol(number).has_ports());
    (0..=MAX_PROTOCOL).filter(has_ports).collect()
}

/// One of two values that must not differ; `None` if they do.
#[expect(clippy::option_option, reason = "a value that may be missing, or none that could be")]
fn same<T: PartialEq>(one: Option<T>, another: Option<T>) -> Option<Option<T>> {
    match (one, another) {
        (Some(one), Some(another)) if one != another => None,
        (one, another) => Some(one.or(another)),
    }
}

/// A mark that two say something of; `None` if they contradict each other.
fn mark(one: Mark, another: Mark) -> Option<Mark> {
    let common = one.mask & another.mask;
    let value = one.value & one.mask | another.value & another.mask;
    (one.value & common == another.value & common).then_some(Mark { value, mask: one.mask | another.mask })
}

/// The same flags with those that are not negated as one; `None` if they contradict each other.
fn flags_of(flags: &[TcpFlags]) -> Option<Vec<TcpFlags>> {
    let mut joined: Vec<TcpFlags> = Vec::new();
    for one in flags {
        match joined.iter_mut().find(|other| !other.negated && !one.negated) {
            Some(other) => {
                let common = other.mask & one.mask;
                if other.set & common != one.set & common {
                    return None;
                }
                *other = TcpFlags { mask: other.mask | one.mask, set: other.set | one.set, negated: false };
            }
            None => joined.push(*one),
        }
    }
    // What the flags that must be set say already, a negated match need not.
    let plain = joined.iter().find(|flags| !flags.negated).copied();
    if let Some(plain) = plain {
        let is_refuted =
            |one: &TcpFlags| one.negated && plain.set & one.mask & plain.mask != one.set & plain.mask;
        let is_implied = |one: &TcpFlags| one.negated && one.mask & !plain.mask == 0 && !is_refuted(one);
        if joined.iter().any(is_implied) {
            return None;
        }
        joined.retain(|one| !is_refuted(one));
    }
    Some(joined)
}
