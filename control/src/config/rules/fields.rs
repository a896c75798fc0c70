//! The bounds that stand at the fields of the schema themselves.

use garde::Validate;

use crate::config::path::{Path, Problem, Step};
use crate::config::schema::Config;

/// What is beyond the bounds at the fields.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let Err(report) = config.validate() else { return Vec::new() };
    let problem = |(path, error): (garde::Path, garde::Error)| {
        // Of a list and of a number, garde says only how it compares to the bound.
        let message = match error.message() {
            text if text.starts_with("length is") => text.replacen("length", "the number of elements", 1),
            text if text.starts_with("lower") || text.starts_with("greater") => {
                format!("the value is {text}")
            }
            text => text.to_owned(),
        };
        Problem::at(path_of(&path), message)
    };
    report.into_inner().into_iter().map(problem).collect()
}

/// Garde's path with the file's keys for Rust's field names; the names of interfaces are the user's own.
fn path_of(path: &garde::Path) -> Path {
    let mut steps = Vec::new();
    for (kind, text) in path.__iter().rev() {
        let is_field = steps.last() != Some(&Step::from("interfaces"));
        steps.push(match (kind, text.parse()) {
            (garde::error::Kind::Index, Ok(index)) => Step::Index(index),
            _ if is_field => Step::Key(text.replace('_', "-")),
            _ => Step::Key(text.to_string()),
        });
    }
    steps.into_iter().collect()
}
