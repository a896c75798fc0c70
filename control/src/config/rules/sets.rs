//! What must hold for the sets of addresses, and for who names one.

use crate::config::nearest::nearest;
use crate::config::path::{Path, Problem};
use crate::config::schema::Config;
use crate::config::values::{Addresses, List, is_name};

use super::common::element;

/// Most sets.
const MAX_SETS: usize = 1024;

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let section = Path::root().join("sets");
    let mut problems = Vec::new();
    if config.sets.len() > MAX_SETS {
        problems.push(Problem::at(section.clone(), format!("there are more than {MAX_SETS} sets")));
    }
    for name in config.sets.keys() {
        if !is_name(name, 63) {
            let message = format!(
                "`{name}` cannot be a name; use 1 to 63 letters, digits, `-`, `_` and `.`, a letter or digit first"
            );
            problems.push(Problem::at(section.join(name.as_str()), message).on_key());
        }
    }
    problems
}

/// The sets of a list that there are not.
pub(super) fn unknown(list: &Option<List<Addresses>>, config: &Config, path: &Path) -> Vec<Problem> {
    let Some(list) = list else { return Vec::new() };
    let unknown = |(index, addresses): (usize, &Addresses)| match addresses {
        Addresses::Set(name) if !config.sets.contains_key(name) => {
            Some(no_set(name, config, element(list, path.clone(), index)))
        }
        _ => None,
    };
    list.iter().enumerate().filter_map(unknown).collect()
}

/// A name that no set has.
pub(crate) fn no_set(name: &str, config: &Config, path: Path) -> Problem {
    let names: Vec<&str> = config.sets.keys().map(String::as_str).collect();
    let help = match nearest(name, &names) {
        Some(near) => format!("did you mean `@{near}`?"),
        None if names.is_empty() => "name it under `sets:`, with its prefixes or a file".to_owned(),
        None => format!("the sets are: {}", names.join(", ")),
    };
    Problem::at(path, format!("there is no set `{name}`")).help(Some(help))
}
