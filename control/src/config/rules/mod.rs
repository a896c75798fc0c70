//! What the types alone cannot say: names that must exist, values that must not meet, keys that need others.

mod common;
mod export;
mod fields;
mod groups;
mod ha;
mod helpers;
mod interfaces;
mod limits;
mod matches;
mod nat;
mod policy;
mod pools;
mod routes;
mod sets;

use crate::config::path::{Path, Problem, Step};
use crate::config::schema::Config;

pub(crate) use common::no_interface;
pub(crate) use sets::no_set;

/// The keys that rules at this place cannot have, although rules of their kind have them elsewhere.
pub(crate) fn refused_keys(path: &Path) -> Vec<&'static str> {
    let key = |number: usize| match path.steps().get(number) {
        Some(Step::Key(key)) => key.as_str(),
        _ => "",
    };
    match (key(0), key(1)) {
        ("untracked" | "zones", _) => policy::refused_keys(),
        ("helpers", _) => helpers::refused_keys(),
        ("nat", list @ ("source" | "destination")) => nat::refused_keys(list),
        _ => Vec::new(),
    }
}

/// Everything that is wrong with a configuration whose types are right.
pub fn check(config: &Config) -> Vec<Problem> {
    let sections = [
        fields::check,
        interfaces::check,
        routes::check,
        sets::check,
        policy::check,
        helpers::check,
        nat::check,
        pools::check,
        ha::check,
        groups::check,
        export::check,
    ];
    sections.into_iter().flat_map(|check| check(config)).collect()
}
