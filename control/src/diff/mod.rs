//! `sluice diff`: what one configuration says otherwise than another, key by key, and rule by rule.
//!
//! Both are compared as they are in force, with every default written out: what a file does not say counts as what it means.

use std::collections::BTreeSet;
use std::path::Path as FilePath;

use serde::Serialize;
use serde_json::Value;
use similar::{Algorithm, DiffOp, capture_diff_slices};

use crate::config::{self, Config, ConfigError, Path, Source, inline_yaml};
use crate::run::needs_restart;

/// A configuration and its text.
#[derive(Debug)]
pub struct Side {
    config: Config,
    source: Source,
}

/// What is said otherwise at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key, from the top.
    pub path: String,
    /// What goes and what comes, in the order of the files.
    pub changes: Vec<Change>,
}

/// A value that goes or comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Whether it is one of the new configuration.
    pub comes: bool,
    /// `FILE:LINE`; `None` where the file does not say it.
    pub place: Option<String>,
    /// The value, in one line.
    pub value: String,
}

impl Side {
    /// Reads a file.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn read(file: &FilePath) -> Result<Side, ConfigError> {
        let (config, source) = config::read_document::<Config>(file)?;
        Ok(Side { config: config::resolved(config), source })
    }

    /// What a daemon runs by: a text, and all that is in force, every default written out.
    ///
    /// # Errors
    /// Another version has written it, in which this one finds something wrong.
    pub fn running(file: &str, text: &str, yaml: &str) -> Result<Side, ConfigError> {
        let (_, source) = config::parse_document::<Config>(file, text.as_bytes())?;
        let config = config::parse(file, yaml.as_bytes())?;
        Ok(Side { config: config::resolved(config), source })
    }

    fn value(&self) -> Value {
        serde_json::to_value(&self.config).unwrap_or_default()
    }

    /// What stands at these paths.
    fn changes(&self, comes: bool, values: Vec<(Path, &Value)>) -> Vec<Change> {
        let paths: Vec<Path> = values.iter().map(|(path, _)| path.clone()).collect();
        let places = self.source.places(&paths).into_iter();
        let change = |((_, value), place)| Change { comes, place, value: inline_yaml(value) };
        values.into_iter().zip(places).map(change).collect()
    }
}

/// The two configurations.
#[derive(Debug)]
pub struct Sides {
    /// The one that is in force.
    pub old: Side,
    /// The one that is to be.
    pub new: Side,
}

impl Sides {
    /// All that they say otherwise.
    pub fn differences(&self) -> Vec<Difference> {
        let (old, new) = (self.old.value(), self.new.value());
        let mut found = Vec::new();
        self.walk(Path::root(), Some(&old), Some(&new), &mut found);
        found
    }

    /// The keys of those that only a restart can change.
    pub fn needs_restart(&self) -> Vec<String> {
        needs_restart(&self.old.config, &self.new.config, self.old.config.conntrack.max_entries.0)
    }

    fn walk(&self, path: Path, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
        let changes = match (old, new) {
            (old, new) if old == new => return,
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for key in keys {
                    self.walk(path.join(key.as_str()), before.get(key), after.get(key), found);
                }
                return;
            }
            (Some(Value::Array(before)), Some(Value::Array(after)))
                if has_rules(before) || has_rules(after) =>
            {
                self.compare_lists(&path, before, after)
            }
            (old, new) => {
                let at = |value| (path.clone(), value);
                let goes = self.old.changes(false, old.into_iter().map(at).collect());
                [goes, self.new.changes(true, new.into_iter().map(at).collect())].concat()
            }
        };
        found.push(Difference { path: path.to_string(), changes });
    }

    /// What goes and comes of a list whose order counts.
    fn compare_lists(&self, path: &Path, before: &[Value], after: &[Value]) -> Vec<Change> {
        let lines = |values: &[Value]| values.iter().map(inline_yaml).collect::<Vec<String>>();
        let ops = capture_diff_slices(Algorithm::Myers, &lines(before), &lines(after));
        let goes = |start: usize, len: usize| {
            let values = before.iter().enumerate().skip(start).take(len);
            self.old.changes(false, values.map(|(index, value)| (path.join(index), value)).collect())
        };
        let comes = |start: usize, len: usize| {
            let values = after.iter().enumerate().skip(start).take(len);
            self.new.changes(true, values.map(|(index, value)| (path.join(index), value)).collect())
        };
        let changes = |op: DiffOp| match op {
            DiffOp::Equal { .. } => Vec::new(),
            DiffOp::Delete { old_index, old_len, .. } => goes(old_index, old_len),
            DiffOp::Insert { new_index, new_len, .. } => comes(new_index, new_len),
            DiffOp::Replace { old_index, old_len, new_index, new_len } => {
                [goes(old_index, old_len), comes(new_index, new_len)].concat()
            }
        };
        ops.into_iter().flat_map(changes).collect()
    }
}

/// Whether a list is one of rules or the like, which is compared one by one.
fn has_rules(list: &[Value]) -> bool {
    list.iter().any(Value::is_object)
}
