//! Text to [`Config`], or to another [`Document`]. The text is parsed once, and serde reads the tree of that.
//!
//! Serde stops at the first error. To find them all, the key that an error is about is taken out of the tree
//! and the rest is read again, until nothing is wrong or there is no more to take out.

use std::io::Read;
use std::path::Path as FilePath;
use std::sync::Arc;

use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde_yaml::Value;

use super::elements::{self, Elements, Unread};
use super::error::{ConfigError, Finding, MAX_FINDINGS};
use super::explain::{explain, missing_key};
use super::path::{Path, Problem, Step};
use super::rules;
use super::schema::Config;
use super::source::Source;
use super::spans::Spans;
use super::tree;
use super::values::List;

/// A rule set of the largest size allowed fits many times over.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// What is written in a file of YAML, with types that say what may stand there.
pub trait Document: DeserializeOwned {
    /// How such a file begins; completes "the file is empty: ...".
    const BEGINS: &'static str;

    /// What the types cannot say.
    fn check(&self) -> Vec<Problem>;

    /// Reads what it refers to; relative paths begin in a directory.
    ///
    /// # Errors
    /// All that is wrong with that.
    fn complete(&mut self, _directory: &FilePath, _source: &Source) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl Document for Config {
    const BEGINS: &'static str =
        "a configuration starts with `version: 1`; `sluice reference` prints a whole one";

    fn check(&self) -> Vec<Problem> {
        rules::check(self)
    }

    /// The files of sets.
    fn complete(&mut self, directory: &FilePath, source: &Source) -> Result<(), ConfigError> {
        for (name, set) in &mut self.sets {
            let path = Path::root().join("sets").join(name.as_str());
            let refuse = |path: Path, why| source.refuse(vec![Problem::at(path, why)]);
            let mut prefixes: Vec<IpNet> = set.prefixes.iter().flat_map(List::iter).map(|it| it.0).collect();
            if let Some(file) = &mut set.file {
                *file = directory.join(&file);
                prefixes.extend(elements::read_file(file).map_err(|unread| match unread {
                    Unread::File(why) => refuse(path.join("file"), why),
                    Unread::Lines(error) => *error,
                })?);
            }
            let elements = Elements::from_iter(prefixes);
            elements.check_size().map_err(|why| refuse(path, why))?;
            set.elements = Arc::new(elements);
        }
        Ok(())
    }
}

/// Reads and checks a configuration file, or standard input where its name is `-`.
pub fn read(path: &FilePath) -> Result<Config, ConfigError> {
    read_document(path).map(|(config, _)| config)
}

/// Reads and checks a file, or standard input where its name is `-`; gives its text, too, which knows where things stand.
pub fn read_document<T: Document>(path: &FilePath) -> Result<(T, Source), ConfigError> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let mut read = |input: &mut dyn Read| input.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    let reading = match name.as_str() {
        "-" => read(&mut std::io::stdin().lock()),
        _ => std::fs::File::open(path).and_then(|mut file| read(&mut file)),
    };
    match reading {
        Ok(_) => parse_document(&name, &bytes),
        Err(error) => {
            let finding = Finding::without_place(format!("cannot read the file: {error}"));
            Err(ConfigError::new(&name, "", vec![finding]))
        }
    }
}

/// Checks a configuration; `file` is what its errors call it.
pub fn parse(file: &str, bytes: &[u8]) -> Result<Config, ConfigError> {
    parse_document(file, bytes).map(|(config, _)| config)
}

/// The same with any document.
pub fn parse_document<T: Document>(file: &str, bytes: &[u8]) -> Result<(T, Source), ConfigError> {
    let text = text_of(file, bytes, T::BEGINS)?;
    let fail = |findings| Err(ConfigError::new(file, text, findings));
    let tree = match Spans::read(text, T::BEGINS) {
        Ok(spans) => tree::value(spans.root()),
        Err(finding) => return fail(vec![finding]),
    };
    let source = Source::new(file, text, T::BEGINS);
    let checked = typed::<T>(tree).and_then(|document| match document.check() {
        problems if problems.is_empty() => Ok(document),
        problems => Err(problems),
    });
    let mut document = checked.map_err(|problems| source.refuse(problems))?;
    let directory = FilePath::new(".").join(FilePath::new(file).parent().unwrap_or(FilePath::new("")));
    document.complete(&std::path::absolute(&directory).unwrap_or(directory), &source)?;
    Ok((document, source))
}

/// A configuration as YAML, every key written out.
pub fn to_yaml(config: &Config) -> String {
    serde_yaml::to_string(config).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

/// One value as YAML in one line.
pub(crate) fn inline_yaml(value: &serde_json::Value) -> String {
    use serde_json::Value;
    // Inside a flow collection these characters end a plain word; JSON's quotes are YAML's too.
    let nested = |value: &Value| match value {
        Value::String(text) if text.contains([',', '[', ']', '{', '}']) => value.to_string(),
        Value::String(text) if text.starts_with(':') || text.ends_with(':') => value.to_string(),
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

/// The bytes as text, or why they cannot be a configuration at all.
fn text_of<'a>(file: &str, bytes: &'a [u8], begins: &str) -> Result<&'a str, ConfigError> {
    let refuse = |text: &str, finding| Err(ConfigError::new(file, text, vec![finding]));
    if bytes.len() as u64 > MAX_FILE_BYTES {
        let message = format!("the file is larger than {} MiB", MAX_FILE_BYTES >> 20);
        return refuse("", Finding::without_place(message));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let wrong = bytes.get(at).copied().unwrap_or_default();
            let finding = Finding::at(at..at + 1, format!("byte {wrong:#04x} is not UTF-8 text"));
            let finding = Finding { expected: Some("UTF-8".to_owned()), ..finding };
            return refuse(&String::from_utf8_lossy(bytes), finding);
        }
    };
    // Some editors begin a file with a byte order mark, which says nothing of UTF-8.
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    if let Some(finding) = unprintable(text) {
        return refuse(text, finding);
    }
    let blank = text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
    if blank {
        return refuse("", Finding::without_place("the file is empty").help(begins));
    }
    Ok(text)
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// The first character that YAML does not allow, or that ends a line for one reader of YAML and not for another.
fn unprintable(text: &str) -> Option<Finding> {
    let is_wrong = |(at, character): &(usize, char)| match character {
        '\t' | '\n' => false,
        '\r' => !text[at + 1..].starts_with('\n'),
        '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' | &BYTE_ORDER_MARK => true,
        other => other.is_control(),
    };
    let nul = text.find('\0').map(|at| (at, '\0'));
    let (at, character) = nul.or_else(|| text.char_indices().find(is_wrong))?;
    let span = at..at + character.len_utf8();
    let code = u32::from(character);
    Some(match character {
        '\0' => Finding::at(span, "a NUL byte: this is a binary file or UTF-16, not YAML"),
        '\r' => Finding::at(span, "a carriage return that ends no line"),
        _ => Finding::at(span, format!("the character U+{code:04X}, which cannot be seen, is not allowed")),
    })
}

/// The tree as the types have it, or everything that does not fit them.
fn typed<T: DeserializeOwned>(mut tree: Value) -> Result<T, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut removed: Vec<Path> = Vec::new();
    for path in empty_values(&tree) {
        problems.push(no_value(&path));
        removed.extend(remove(&mut tree, &path));
    }
    while problems.len() < MAX_FINDINGS && removed.len() < 2 * MAX_FINDINGS {
        let error = match serde_path_to_error::deserialize::<_, T>(tree.clone()) {
            Ok(document) if problems.is_empty() => return Ok(document),
            Ok(_) => break,
            Err(error) => error,
        };
        let message = error.inner().to_string();
        let path = path_of(error.path());
        let known = missing_key(&message).is_some_and(|key| removed.contains(&path.join(key)));
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
    let key = map.keys().find(|key| matches!(last, Step::Key(name) if key_text(key) == name))?.clone();
    map.shift_remove(&key)?;
    Some(key_path)
}

/// All keys are words.
fn key_text(key: &Value) -> &str {
    key.as_str().unwrap_or_default()
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
