//! The configuration as text: a rule a line, with the rule that it comes of behind it, and no key that is as it is by default.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Map, Value};

use super::draft::Draft;
use super::sections::Item;
use crate::config::{Config, Interface, inline_yaml};

/// The text of a configuration, which is in the parts of a draft.
pub(super) fn write(draft: &Draft) -> String {
    let Draft { config, .. } = draft;
    let mut text = "# What `sluice import` has made of a Linux box's rules. Behind each rule stands where it comes from.\n".to_owned();
    text.push_str("version: 1\ninterfaces:\n");
    for (name, interface) in &config.interfaces {
        let plain = Interface::new(interface.device.clone());
        let mut keys = changed(&value(interface), &value(&plain)).unwrap_or_default();
        keys.shift_insert(0, "device".to_owned(), value(&interface.device));
        let key = inline_yaml(&Value::String(name.clone()));
        let _ = writeln!(text, "  {key}: {}", inline_yaml(&Value::Object(keys)));
    }
    text.push_str("forwarding: routed\n");
    list(&mut text, "", "routes", &draft.routes);
    if !config.sets.is_empty() {
        text.push_str("sets:\n");
    }
    for (name, set) in &config.sets {
        let _ =
            writeln!(text, "  {}: {}", inline_yaml(&Value::String(name.clone())), inline_yaml(&value(set)));
    }
    let plain = Config::new(config.interfaces.clone());
    let conntrack = changed(&value(&config.conntrack), &value(&plain.conntrack)).unwrap_or_default();
    let _ = writeln!(text, "conntrack: {}", inline_yaml(&Value::Object(conntrack)));
    list(&mut text, "", "untracked", &draft.untracked);
    list(&mut text, "", "zones", &draft.zones);
    list(&mut text, "", "helpers", &draft.helpers);
    if !draft.source.is_empty() || !draft.destination.is_empty() {
        text.push_str("nat:\n");
        list(&mut text, "  ", "destination", &draft.destination);
        list(&mut text, "  ", "source", &draft.source);
    }
    let _ = writeln!(text, "policy:\n  default: {}", inline_yaml(&value(&config.policy.default)));
    list(&mut text, "  ", "rules", &draft.policy);
    text
}

/// A list, if there is anything in it.
fn list<T: Serialize>(text: &mut String, indent: &str, key: &str, items: &[Item<T>]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(text, "{indent}{key}:");
    for (item, origin) in items {
        let item = inline_yaml(&value(item));
        let note = origin.as_ref().map(|origin| origin.note.as_str()).filter(|note| !note.is_empty());
        let note = note
            .map(|note| format!(" # {}", note.replace(|c: char| c.is_control(), " ")))
            .unwrap_or_default();
        let _ = writeln!(text, "{indent}  - {item}{note}");
    }
}

fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).unwrap_or_default()
}

/// The keys of a mapping that are not as they are in another one.
fn changed(value: &Value, plain: &Value) -> Option<Map<String, Value>> {
    let keys = value.as_object()?.iter().filter_map(|(key, value)| {
        let plain = plain.get(key).unwrap_or(&Value::Null);
        match (changed(value, plain), value == plain) {
            (_, true) => None,
            (Some(nested), _) => Some((key.clone(), Value::Object(nested))),
            (None, _) => Some((key.clone(), value.clone())),
        }
    });
    Some(keys.collect())
}
