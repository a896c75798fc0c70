//! Which events a command is about: conntrack(8)'s `-e`, and the filters of entries.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sluice_conntrack::events::{Event, EventKind, ExpectationEvent};

use super::{ExpectationFilter, Filter};

/// Kinds of events, by conntrack(8)'s names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventName {
    /// Whatever happens
    All,
    /// A connection begins
    New,
    /// It is answered or becomes assured, its state or mark changes, or an operator changes its timeout
    #[value(alias = "UPDATE")]
    Updates,
    /// It ends
    Destroy,
}

/// An event is shown if it is of one of these kinds and its entry fits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct EventFilter {
    /// The kinds; all, where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<EventName>,
    /// The entry.
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub entry: Filter,
}

impl EventFilter {
    /// Whether an event fits.
    pub fn matches(&self, event: &Event) -> bool {
        is_of(event.kind, &self.kinds) && self.entry.matches(&event.entry)
    }
}

/// The same of expectations.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExpectationEventFilter {
    /// The kinds; all, where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<EventName>,
    /// The expectation.
    pub expectation: ExpectationFilter,
}

impl ExpectationEventFilter {
    /// Whether an event fits.
    pub fn matches(&self, event: &ExpectationEvent) -> bool {
        is_of(event.kind, &self.kinds) && self.expectation.matches(&event.expectation)
    }
}

/// Whether an event is of one of these kinds, or there are none.
fn is_of(kind: EventKind, names: &[EventName]) -> bool {
    let is_it = |name: &EventName| match name {
        EventName::All => true,
        EventName::New => kind == EventKind::New,
        EventName::Updates => kind == EventKind::Update,
        EventName::Destroy => kind == EventKind::Destroy,
    };
    names.is_empty() || names.iter().any(is_it)
}
