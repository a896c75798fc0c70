//! What the types alone cannot say: names that must exist, values that must not meet, keys that need others.

mod common;
mod fields;
mod interfaces;
mod matches;
mod nat;
mod policy;
mod pools;
mod routes;

use crate::config::path::Problem;
use crate::config::schema::Config;

pub(crate) use common::no_interface;

/// Everything that is wrong with a configuration whose types are right.
pub fn check(config: &Config) -> Vec<Problem> {
    let sections = [fields::check, interfaces::check, routes::check, policy::check, nat::check, pools::check];
    sections.into_iter().flat_map(|check| check(config)).collect()
}
