//! What `nft -j list ruleset` writes (libnftables-json(5)): one list of tables, sets, chains and rules, each an object that says what
//! it is by its only key.

mod alternatives;
mod limits;
mod matches;
mod statements;
mod values;

use std::rc::Rc;

use serde_json::Value;

use super::address_sets::AddressSets;
use super::model::{Action, Base, Chain, Hook, Match, Rule, Table};
use super::report::{Effect, Origin, Report};
use super::rules;
use alternatives::{Expanded, both};
use values::Objects;

/// Reads the tables of IP. What is of other families (bridge, arp, netdev) is left out, and reported.
///
/// # Errors
/// The file is no JSON, or none of nft's.
pub(super) fn read(
    number: usize,
    name: &str,
    text: &str,
    report: &mut Report,
    sets: &mut AddressSets,
) -> Result<Vec<Table>, String> {
    let ruleset: Value = serde_json::from_str(text).map_err(|error| format!("{name}: {error}"))?;
    let list = ruleset.get("nftables").and_then(Value::as_array);
    let list = list.ok_or_else(|| format!("{name}: it is not what `nft -j list ruleset` writes"))?;
    let objects = Objects::new(list);
    let mut tables: Vec<(String, String, Table)> = Vec::new();
    for (index, object) in list.iter().enumerate() {
        let Some((kind, object)) = object.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        let word = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
        let family = word("family");
        let Some(families) = families(family) else {
            if kind == "table" {
                let place = format!("{name}: {family} {}", word("name"));
                let origin =
                    Origin { order: (number, index), place, text: String::new(), note: String::new() };
                report.left(
                    &Rc::new(origin),
                    Effect::Either,
                    "the table is not about IP packets that are routed",
                );
            }
            continue;
        };
        let of = if kind == "table" { word("name") } else { word("table") };
        let known = tables.iter().position(|(known, name, _)| known == family && name == of);
        let at = known.unwrap_or_else(|| {
            tables.push((family.to_owned(), of.to_owned(), Table { families, chains: Vec::new() }));
            tables.len() - 1
        });
        let Some((.., table)) = tables.get_mut(at) else { continue };
        let chain_name = if kind == "chain" { word("name") } else { word("chain") };
        let handle = object.get("handle").and_then(Value::as_u64).unwrap_or_default();
        let origin = |text: String| {
            let place = match kind.as_str() {
                "rule" => format!("{name}: {family} {of} {chain_name} handle {handle}"),
                _ => format!("{name}: {family} {of} {chain_name}"),
            };
            let note =
                if kind == "rule" { format!("{chain_name}, handle {handle}") } else { chain_name.to_owned() };
            Rc::new(Origin { order: (number, index), place, text, note })
        };
        match kind.as_str() {
            "set" => values::named(object, |name, is_v4, addresses| {
                if let Some(name) = rules::name(name) {
                    sets.name(name, is_v4, addresses);
                }
            }),
            "chain" => table.chains.push(chain(object, chain_name, origin(String::new()), report)),
            "rule" => {
                let expressions = object.get("expr").and_then(Value::as_array);
                let text = serde_json::to_string(&expressions).unwrap_or_default();
                let comment = object.get("comment").and_then(Value::as_str).map(str::to_owned);
                let expanded = rule(expressions.map_or(&[], Vec::as_slice), &objects.of(family, of));
                let Some(chain) = table.chains.iter_mut().find(|chain| chain.name == chain_name) else {
                    continue;
                };
                let origin = origin(text);
                chain.rules.extend(expanded.into_iter().map(|(matches, action)| Rule {
                    origin: Rc::clone(&origin),
                    matches,
                    action,
                    comment: comment.clone(),
                }));
            }
            _ => {}
        }
    }
    Ok(tables.into_iter().map(|(.., table)| table).collect())
}

/// Whether packets of IPv4 and of IPv6 meet the tables of a family.
fn families(family: &str) -> Option<(bool, bool)> {
    match family {
        "ip" => Some((true, false)),
        "ip6" => Some((false, true)),
        "inet" => Some((true, true)),
        _ => None,
    }
}

fn chain(object: &Value, name: &str, origin: Rc<Origin>, report: &mut Report) -> Chain {
    let word = |key: &str| object.get(key).and_then(Value::as_str);
    let base = match (word("hook"), word("hook").and_then(Hook::named)) {
        (Some(_), Some(hook)) => Some(Base {
            hook,
            is_nat: word("type") == Some("nat"),
            priority: object.get("prio").and_then(Value::as_i64).unwrap_or_default(),
            accepts: word("policy") != Some("drop"),
        }),
        (Some(hook), None) => {
            report.left(&origin, Effect::Either, format!("nothing is looked at where `{hook}` is"));
            None
        }
        (None, _) => None,
    };
    Chain { name: name.to_owned(), base, origin, rules: Vec::new() }
}

/// A rule: its expressions narrow down what it is about, and do something with that, one after the other.
fn rule(expressions: &[Value], objects: &Objects<'_>) -> Expanded {
    let mut ways: Vec<Vec<Match>> = vec![Vec::new()];
    let mut rules = Vec::new();
    for expression in expressions {
        let Some((kind, value)) = expression.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        let found = match kind.as_str() {
            "match" => matches::read(value, objects),
            "vmap" => {
                statements::verdicts(value, objects, &ways, &mut rules);
                continue;
            }
            _ => match statements::read(kind, value, objects) {
                statements::Statement::Conditions(conditions) => vec![conditions],
                statements::Statement::Nothing => continue,
                statements::Statement::Actions(actions) => {
                    for (narrower, action) in actions {
                        let with = |way: &Vec<Match>| ([&way[..], &narrower].concat(), action.clone());
                        rules.extend(ways.iter().map(with));
                    }
                    continue;
                }
            },
        };
        ways = both(&ways, &found);
    }
    if rules.is_empty() {
        rules.extend(ways.into_iter().map(|way| (way, Action::Count)));
    }
    rules
}
