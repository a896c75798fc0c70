//! The bounds that stand at the fields of the schema themselves.

use garde::Validate;

use crate::config::path::{Path, Problem, Step};
use crate::config::schema::Config;

/// What is beyond the bounds at the fields.
pub(super) fn check(config: &Config) -> Vec<Problem> {
    let Err(report) = config.validate() else { return Vec::new() };
    let problem =
        |(path, error): (garde::Path, garde::Error)| Problem::at(path_of(&path), message(error.message()));
    report.into_inner().into_iter().map(problem).collect()
}

/// Garde's phrases, which say only how a number of elements or a value compares to the bound, and ours.
const PHRASES: [(&str, &str); 4] = [
    ("length is lower than ", "the number of elements is lower than "),
    ("length is greater than ", "the number of elements is greater than "),
    ("lower than ", "the value is lower than "),
    ("greater than ", "the value is greater than "),
];

/// What garde says, in our words; what our own tests of a field say stays.
fn message(text: &str) -> String {
    let phrase = PHRASES.iter().find_map(|(garde, ours)| Some((ours, text.strip_prefix(garde)?)));
    phrase.map_or_else(|| text.to_owned(), |(ours, bound)| format!("{ours}{bound}"))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever takes a new garde hears of it here if that says things otherwise.
    #[test]
    fn each_bound_is_told_in_our_words() {
        #[derive(Validate)]
        struct Bounds {
            #[garde(length(min = 1, max = 2))]
            list: Vec<u8>,
            #[garde(range(min = 3, max = 4))]
            value: u8,
        }
        let said = |list: &[u8], value| {
            let report = Bounds { list: list.to_vec(), value }.validate().unwrap_err();
            report.iter().map(|(_, error)| message(error.message())).collect::<Vec<_>>()
        };
        assert_eq!(said(&[], 3), ["the number of elements is lower than 1"]);
        assert_eq!(said(&[0; 3], 3), ["the number of elements is greater than 2"]);
        assert_eq!(said(&[0], 2), ["the value is lower than 3"]);
        assert_eq!(said(&[0], 5), ["the value is greater than 4"]);
    }
}
