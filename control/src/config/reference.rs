//! The reference configuration and the JSON schema, both from the configuration's own types.

use std::collections::BTreeMap;

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{Schema, schema_for};
use serde_json::{Map, Value};

use super::load::inline_yaml;
use super::lower::resolved;
use super::path::Path;
use super::rules::refused_keys;
use super::schema::{Config, Interface};
use super::values::Device;

/// Width of the reference's comments.
const WIDTH: usize = 100;

const HEADER: &str = "\
# The reference configuration of Sluice: every key, what it means, and its default.
# `sluice reference` prints this file. A key after `#` has no default; what stands there is an example.
";

/// The JSON schema of the configuration file, for editors and other tools.
pub fn json_schema() -> String {
    let text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text + "\n"
}

fn schema() -> Schema {
    let mut schema = schema_for!(Config);
    // A key without a value is an error, so an optional key is one that may be left out, not one that may be null.
    RecursiveTransform(|schema: &mut Schema| {
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice.get("type") != Some(&Value::from("null")));
        }
    })
    .transform(&mut schema);
    schema
}

/// The defaults with a pair of interfaces as an example, since a configuration without interfaces is none.
fn defaults() -> Config {
    let port = |number: u8, name: &str| {
        let device = Device::Vdev(format!("net_af_packet{number},iface={name}"));
        (name.to_owned(), Interface::new(device))
    };
    resolved(Config::new(BTreeMap::from([port(0, "inside"), port(1, "outside")])))
}

/// The reference configuration as YAML with comments.
pub fn reference_yaml() -> String {
    let schema = schema().to_value();
    let values = serde_json::to_value(defaults()).unwrap_or_default();
    let mut writer =
        Writer { definitions: schema.get("$defs").cloned().unwrap_or_default(), text: HEADER.to_owned() };
    writer.mapping(&schema, Some(&values), &Path::root());
    writer.text
}

fn example_of(property: &Value) -> Option<&Value> {
    property.get("examples")?.get(0)
}

struct Writer {
    definitions: Value,
    text: String,
}

impl Writer {
    /// Every key of this mapping, live where it has a value and as a comment where it has none.
    fn mapping(&mut self, schema: &Value, values: Option<&Value>, path: &Path) {
        let depth = path.steps().len();
        let schema = self.resolve(schema);
        let Some(Value::Object(properties)) = schema.get("properties") else { return };
        for (key, property) in properties {
            if depth == 0 {
                self.text.push('\n');
            }
            self.comment(property, depth);
            match values.and_then(|values| values.get(key)) {
                Some(value) => self.entry(key, property, value, path),
                None => self.example(key, property, depth),
            }
        }
    }

    fn entry(&mut self, key: &str, property: &Value, value: &Value, path: &Path) {
        let depth = path.steps().len();
        let path = path.join(key);
        let schema = self.resolve(property);
        match value {
            Value::Object(map) if schema.get("properties").is_some() && !map.is_empty() => {
                self.line(depth, &format!("{key}:"));
                self.mapping(&schema, Some(value), &path);
            }
            Value::Object(map) if !map.is_empty() => {
                self.line(depth, &format!("{key}:"));
                self.named(&schema, map, &path);
            }
            value => {
                self.line(depth, &format!("{key}: {}", inline_yaml(value)));
                if value.as_array().is_some_and(Vec::is_empty) {
                    self.elements(&schema, &path);
                }
            }
        }
    }

    /// The entries of a mapping whose keys are names; the keys of one are documented at the first.
    fn named(&mut self, schema: &Value, map: &Map<String, Value>, path: &Path) {
        let depth = path.steps().len();
        let inner = schema.get("additionalProperties").cloned().unwrap_or_default();
        for (number, (name, value)) in map.iter().enumerate() {
            match number {
                0 => {
                    self.line(depth, &format!("{name}:"));
                    self.mapping(&inner, Some(value), &path.join(name.as_str()));
                }
                _ => {
                    self.line(depth, &format!("{name}:"));
                    for (key, value) in value.as_object().into_iter().flatten() {
                        self.line(depth + 1, &format!("{key}: {}", inline_yaml(value)));
                    }
                }
            }
        }
    }

    /// What an element of an empty list may look like, as comments: examples, and every key that it may have.
    fn elements(&mut self, list: &Value, path: &Path) {
        let depth = path.steps().len();
        for element in example_of(list).and_then(Value::as_array).into_iter().flatten() {
            self.line(depth, &format!("# - {}", inline_yaml(element)));
        }
        let items = self.resolve(list.get("items").unwrap_or(&Value::Null));
        let refused = refused_keys(path);
        let keys = items.get("properties").and_then(Value::as_object).into_iter().flatten();
        for (key, property) in keys.filter(|(key, _)| !refused.contains(&key.as_str())) {
            let example = example_of(property).map(inline_yaml).unwrap_or_default();
            let description = property.get("description").and_then(Value::as_str).unwrap_or("");
            let pair = format!("{key}: {example}");
            self.line(depth, &format!("# {pair:<28} # {description}"));
        }
    }

    fn example(&mut self, key: &str, property: &Value, depth: usize) {
        let schema = self.resolve(property);
        if schema.get("properties").is_some() && example_of(property).is_none() {
            let mut section = Writer { definitions: self.definitions.clone(), text: String::new() };
            section.line(0, &format!("{key}:"));
            section.examples(&schema, 1);
            section.text.lines().for_each(|line| self.line(depth, &format!("# {line}")));
            return;
        }
        let text =
            example_of(property).map(|example| format!(" {}", inline_yaml(example))).unwrap_or_default();
        self.line(depth, &format!("# {key}:{text}"));
    }

    /// Every key of a mapping with an example of its value.
    fn examples(&mut self, schema: &Value, depth: usize) {
        for (key, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            self.comment(property, depth);
            let inner = self.resolve(property);
            match example_of(property).or_else(|| property.get("default")) {
                Some(example) => self.line(depth, &format!("{key}: {}", inline_yaml(example))),
                None => {
                    self.line(depth, &format!("{key}:"));
                    self.examples(&inner, depth + 1);
                }
            }
        }
    }

    fn comment(&mut self, property: &Value, depth: usize) {
        let Some(description) = property.get("description").and_then(Value::as_str) else { return };
        let mut line = String::new();
        let words: Vec<&str> = description.split_whitespace().collect();
        for word in words {
            if !line.is_empty() && 2 * depth + 2 + line.len() + 1 + word.len() > WIDTH {
                self.line(depth, &format!("# {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(depth, &format!("# {line}"));
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.text.push_str(&"  ".repeat(depth));
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    /// The schema itself, or the one that it refers to.
    fn resolve(&self, schema: &Value) -> Value {
        let schema = schema.pointer("/anyOf/0").unwrap_or(schema);
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix("#/$defs/"));
        let found = name.and_then(|name| self.definitions.get(name));
        found.unwrap_or(schema).clone()
    }
}
