//! Text to [`Config`]: the one module that speaks serde_yaml.
//!
//! Serde stops at the first error. To find them all, the key that an error is about is taken out of the tree
//! and the rest is read again, until nothing is wrong or there is no more to take out.

use std::fmt;
use std::io::Read;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_yaml::Value;

use super::error::{ConfigError, Finding, MAX_FINDINGS};
use super::explain::explain;
use super::path::{Path, Problem, Step};
use super::rules;
use super::schema::Config;
use super::spans::{Lines, Spans};

/// A rule set of the largest size allowed fits many times over.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Reads and checks a configuration file.
pub fn read(path: &std::path::Path) -> Result<Config, ConfigError> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let reading =
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    match reading {
        Ok(_) => parse(&name, &bytes),
        Err(error) => {
            Err(ConfigError::new(&name, "", vec![no_place(format!("cannot read the file: {error}"))]))
        }
    }
}

/// Checks a configuration; `file` is what its errors call it.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Config, ConfigError> {
    let text = text_of(file, bytes)?;
    let fail = |findings| Err(ConfigError::new(file, text, findings));
    if let Err(finding) = scan(text) {
        return fail(vec![finding]);
    }
    let spans = match Spans::read(text) {
        Ok(spans) => spans,
        Err(finding) => return fail(vec![finding]),
    };
    let checked = typed(text).and_then(|config| match rules::check(&config) {
        problems if problems.is_empty() => Ok(config),
        problems => Err(problems),
    });
    checked.or_else(|problems| fail(problems.into_iter().map(|problem| locate(&spans, problem)).collect()))
}

/// A configuration as YAML, every key written out.
pub fn to_yaml(config: &Config) -> String {
    serde_yaml::to_string(config).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

/// One value as YAML in one line.
pub(super) fn inline_yaml(value: &serde_json::Value) -> String {
    use serde_json::Value;
    // Inside a flow collection these characters end a plain word; JSON's quotes are YAML's too.
    let nested = |value: &Value| match value {
        Value::String(text) if text.contains([',', '[', ']', '{', '}']) => value.to_string(),
        _ => inline_yaml(value),
    };
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(nested).collect::<Vec<_>>().join(", ")),
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}: {}", nested(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        scalar => serde_yaml::to_string(scalar).unwrap_or_default().trim_end().to_owned(),
    }
}

fn no_place(message: String) -> Finding {
    Finding { span: None, message, expected: None, help: None }
}

/// The bytes as text, or why they cannot be a configuration at all.
fn text_of<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, ConfigError> {
    let refuse = |finding| Err(ConfigError::new(file, "", vec![finding]));
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return refuse(no_place(format!("the file is larger than {} MiB", MAX_FILE_BYTES >> 20)));
    }
    if bytes.contains(&0) {
        return refuse(no_place("this is a binary file, not YAML".to_owned()));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let span = Some(at..at + 1);
            let message =
                format!("byte {:#04x} is not UTF-8 text", bytes.get(at).copied().unwrap_or_default());
            let finding = Finding { span, message, expected: Some("UTF-8".to_owned()), help: None };
            return Err(ConfigError::new(file, &String::from_utf8_lossy(bytes), vec![finding]));
        }
    };
    let blank = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    if blank {
        let help = Some(
            "a configuration starts with `version: 1`; `sluice reference` prints a whole one".to_owned(),
        );
        return refuse(Finding { help, ..no_place("the file is empty".to_owned()) });
    }
    Ok(text)
}

/// A tree of any shape; reading one meets serde_yaml's limits on nesting and aliases.
struct AnyTree;

impl<'de> Deserialize<'de> for AnyTree {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<AnyTree, D::Error> {
        from.deserialize_any(AnyTreeVisitor)
    }
}

struct AnyTreeVisitor;

impl<'de> Visitor<'de> for AnyTreeVisitor {
    type Value = AnyTree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnyTree, A::Error> {
        while map.next_entry::<AnyTree, AnyTree>()?.is_some() {}
        Ok(AnyTree)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AnyTree, A::Error> {
        while list.next_element::<AnyTree>()?.is_some() {}
        Ok(AnyTree)
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, tagged: A) -> Result<AnyTree, A::Error> {
        let (IgnoredAny, value) = tagged.variant()?;
        serde::de::VariantAccess::newtype_variant(value)
    }

    fn visit_bool<E>(self, _: bool) -> Result<AnyTree, E> {
        Ok(AnyTree)
    }

    fn visit_u64<E>(self, _: u64) -> Result<AnyTree, E> {
        Ok(AnyTree)
    }

    fn visit_i64<E>(self, _: i64) -> Result<AnyTree, E> {
        Ok(AnyTree)
    }

    fn visit_u128<E>(self, _: u128) -> Result<AnyTree, E> {
        Ok(AnyTree)
    }

    fn visit_i128<E>(self, _: i128) -> Result<AnyTree, E> {
        Ok(AnyTree)
    }

    fn visit_f64<E>(self, _: f64) -> Result<AnyTree, E> {
        Ok(AnyTree)
    }

    fn visit_str<E>(self, _: &str) -> Result<AnyTree, E> {
        Ok(AnyTree)
    }

    fn visit_unit<E>(self) -> Result<AnyTree, E> {
        Ok(AnyTree)
    }
}

/// Whether the text is YAML at all, of bounded depth.
fn scan(text: &str) -> Result<(), Finding> {
    let Err(error) = serde_yaml::from_str::<AnyTree>(text) else { return Ok(()) };
    let lines = Lines::new(text);
    let span = error.location().map(|at| lines.at(at.line(), at.column())).map(|start| start..start + 1);
    let full = error.to_string();
    let what = full.split(" at line ").next().unwrap_or(&full);
    let line = span.as_ref().map_or("", |span| text[..span.start].lines().next_back().unwrap_or(""));
    let line_of_tab = text.lines().position(|line| line.trim_start_matches(' ').starts_with('\t'));
    let (message, help) = match what {
        _ if what.contains("recursion limit") => ("nested too deeply".to_owned(), None),
        _ if what.contains("repetition limit") => {
            let span = text.find('&').map(|start| start..start + 1);
            let message = "anchors and aliases (&name, *name) are not supported".to_owned();
            return Err(Finding { span, ..no_place(message) });
        }
        _ if what.contains("more than one document") => {
            ("more than one YAML document".to_owned(), Some("remove the `---` lines between them".to_owned()))
        }
        _ if what.contains("cannot start any token") && line_of_tab.is_some() => {
            let start = line_of_tab.map_or(0, |number| lines.at(number + 1, 1));
            let tab = start + text[start..].find('\t').unwrap_or(0);
            let help = Some("indent with spaces".to_owned());
            return Err(Finding {
                span: Some(tab..tab + 1),
                message: "tab in the indentation".to_owned(),
                expected: None,
                help,
            });
        }
        _ if what.contains("mapping values are not allowed") && line.contains(": ") => {
            let help = "put quotes around a value that holds `: `, and indent keys of one mapping alike";
            (format!("not YAML: {what}"), Some(help.to_owned()))
        }
        _ => (format!("not YAML: {what}"), None),
    };
    Err(Finding { span, message, expected: None, help })
}

/// The text as the types have it, or everything that does not fit them.
fn typed(text: &str) -> Result<Config, Vec<Problem>> {
    let mut tree: Value = serde_yaml::from_str(text)
        .map_err(|error| vec![Problem::at(Path::root(), format!("not YAML: {error}"))])?;
    let mut problems = Vec::new();
    let mut removed: Vec<Path> = Vec::new();
    for path in empty_values(&tree) {
        problems.push(no_value(&path));
        removed.extend(remove(&mut tree, &path));
    }
    while problems.len() < MAX_FINDINGS && removed.len() < 2 * MAX_FINDINGS {
        let error = match serde_path_to_error::deserialize::<_, Config>(tree.clone()) {
            Ok(config) if problems.is_empty() => return Ok(config),
            Ok(_) => break,
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let path = path_of(error.path());
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        let known = missing.is_some_and(|key| removed.contains(&path.join(key)));
        let problem = explain(path, &message);
        let at = problem.path.clone();
        if !known {
            problems.push(problem);
        }
        match remove(&mut tree, &at) {
            Some(taken) => removed.push(taken),
            None => break,
        }
    }
    Err(problems)
}

fn no_value(path: &Path) -> Problem {
    Problem::at(path.clone(), format!("`{path}` has no value"))
        .help(Some("give it one, or remove the key".to_owned()))
        .on_key()
}

/// Every place where a key stands without a value, which would otherwise read as if the key were not there.
fn empty_values(tree: &Value) -> Vec<Path> {
    fn walk(value: &Value, path: Path, found: &mut Vec<Path>) {
        match value {
            Value::Null => found.push(path),
            Value::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    walk(item, path.join(index), found);
                }
            }
            Value::Mapping(map) => {
                for (key, item) in map {
                    walk(item, path.join(key_text(key)), found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(tree, Path::root(), &mut found);
    found.truncate(MAX_FINDINGS);
    found
}

/// Takes out the key that this path is in; says which. Lists keep their elements, so that paths stay true.
fn remove(tree: &mut Value, path: &Path) -> Option<Path> {
    let key_path = path.up_to_last_key()?;
    let (last, parents) = key_path.steps().split_last()?;
    let mut at = tree;
    for step in parents {
        at = match step {
            Step::Key(name) => at.as_mapping_mut()?.iter_mut().find(|(key, _)| key_text(key) == *name)?.1,
            Step::Index(index) => at.as_sequence_mut()?.get_mut(*index)?,
        };
    }
    let map = at.as_mapping_mut()?;
    let key = map.keys().find(|key| Step::Key(key_text(key)) == *last)?.clone();
    map.shift_remove(&key)?;
    Some(key_path)
}

fn key_text(key: &Value) -> String {
    match key {
        Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other).unwrap_or_default().trim_end().to_owned(),
    }
}

fn path_of(path: &serde_path_to_error::Path) -> Path {
    use serde_path_to_error::Segment;
    let step = |segment: &Segment| match segment {
        Segment::Seq { index } => Some(Step::Index(*index)),
        Segment::Map { key } => Some(Step::Key(key.clone())),
        Segment::Enum { .. } | Segment::Unknown => None,
    };
    path.iter().filter_map(step).collect()
}

/// A problem at its place in the file; at the nearest key above it where it has none of its own.
fn locate(spans: &Spans<'_>, problem: Problem) -> Finding {
    let own = if problem.on_key { spans.key(&problem.path) } else { spans.value(&problem.path) };
    let span = own.or_else(|| problem.path.ancestors().find_map(|path| spans.key(&path)));
    Finding { span, message: problem.message, expected: problem.expected, help: problem.help }
}
