//! Which events a command is about: conntrack(8)'s `-e`, and the filters of entries.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sluice_conntrack::events::{Event, EventKind};

use super::Filter;

/// Kinds of events, by conntrack(8)'s names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[value(rename_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum EventName {
    /// Whatever happens
    All,
    /// A connection begins
    New,
    /// Its state or mark changes, or an operator changes its timeout
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
        let is_of = |name: &EventName| match name {
            EventName::All => true,
            EventName::New => event.kind == EventKind::New,
            EventName::Updates => event.kind == EventKind::Update,
            EventName::Destroy => event.kind == EventKind::Destroy,
        };
        (self.kinds.is_empty() || self.kinds.iter().any(is_of)) && self.entry.matches(&event.entry)
    }
}
