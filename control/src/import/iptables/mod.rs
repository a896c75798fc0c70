//! What `iptables-save` and `ip6tables-save` write: tables (`*filter`), chains (`:INPUT DROP [0:0]`) and rules (`-A INPUT ...`), a
//! line each.

mod limits;
mod matches;
mod reverse_path;
mod targets;
mod words;

use std::collections::BTreeSet;
use std::rc::Rc;

use super::model::{Base, Chain, Field, Hook, Match, Rule, Table};
use super::report::{Effect, Origin, Report};
use super::set::NumberSet;
use words::{Words, split};

/// What a file of rules is called, and its text.
pub(super) struct Source<'a> {
    /// Its number among all files.
    pub number: usize,
    /// Its name.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Whether its rules are of IPv4, not of IPv6.
    pub is_v4: bool,
}

/// Where chains of each table begin that are built in, in the order in which packets meet them.
#[rustfmt::skip]
const PRIORITIES: [(&str, i64); 5] = [("raw", -300), ("mangle", -150), ("nat", -100), ("filter", 0), ("security", 50)];

/// Reads the tables. A line that cannot be read is left out, and reported.
pub(super) fn read(source: &Source<'_>, report: &mut Report) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut table = None;
    let shared = limits::shared_names(source.text);
    for (number, line) in (1..).zip(source.text.lines()) {
        let line = line.trim();
        let origin = Rc::new(Origin {
            order: (source.number, number),
            place: format!("{}:{number}", source.name),
            text: line.to_owned(),
            note: format!("line {number}"),
        });
        let problem = match line.chars().next() {
            None | Some('#') => None,
            Some('*') => {
                tables.push(Table { families: (source.is_v4, !source.is_v4), chains: Vec::new() });
                table = Some(line[1..].to_owned());
                None
            }
            Some(_) if line == "COMMIT" => {
                table = None;
                None
            }
            Some(first) => match (&table, tables.last_mut()) {
                (Some(name), Some(table)) if first == ':' => {
                    chain(name, table, &line[1..], origin.clone(), report)
                }
                (Some(_), Some(table)) => rule(table, line, &origin, source.is_v4, &shared),
                _ => Some("it is outside of a table".to_owned()),
            },
        };
        if let Some(why) = problem {
            report.left(&origin, Effect::Either, why);
        }
    }
    tables
}

/// `INPUT DROP [0:0]`.
fn chain(
    name: &str,
    table: &mut Table,
    line: &str,
    origin: Rc<Origin>,
    report: &mut Report,
) -> Option<String> {
    let mut words = line.split_ascii_whitespace();
    let (Some(chain), policy) = (words.next(), words.next()) else {
        return Some("a chain has no name".to_owned());
    };
    let priority = PRIORITIES.iter().find(|(known, _)| *known == name).map(|(_, priority)| *priority);
    let base = match (Hook::named(chain), policy, priority) {
        (Some(hook), Some(policy @ ("ACCEPT" | "DROP")), Some(priority)) => {
            Some(Base { hook, is_nat: name == "nat", priority, accepts: policy == "ACCEPT" })
        }
        (Some(_), Some("ACCEPT" | "DROP"), None) => {
            report.left(&origin, Effect::Either, format!("the table `{name}` is not known"));
            None
        }
        _ => None,
    };
    let note = format!("{chain}, {}", origin.note);
    let origin = Rc::new(Origin { note, ..(*origin).clone() });
    table.chains.push(Chain { name: chain.to_owned(), base, origin, rules: Vec::new() });
    None
}

/// `-A INPUT -p tcp ... -j ACCEPT`, before which there may be counters.
fn rule(
    table: &mut Table,
    line: &str,
    origin: &Rc<Origin>,
    is_v4: bool,
    shared_limits: &BTreeSet<&str>,
) -> Option<String> {
    let words = match split(line) {
        Ok(words) => words,
        Err(why) => return Some(why),
    };
    let limit_name = words.iter().skip_while(|word| *word != "--hashlimit-name").nth(1);
    let mut words = Words::new(&words);
    words.skip_counters();
    if !matches!(words.next(), Some("-A" | "--append")) {
        return Some("it is no rule: they begin with -A".to_owned());
    }
    let name = words.next().unwrap_or_default();
    if table.chain(name).is_none() {
        return Some(format!("there is no chain `{name}`"));
    }
    let origin = Rc::new(Origin { note: format!("{name}, {}", origin.note), ..(**origin).clone() });
    let mut parsed = matches::Parsed::default();
    let family = Match::Set(Field::Family, NumberSet::one(u128::from(!is_v4)));
    parsed.matches.push(family);
    if let Err(why) = matches::read(&mut words, is_v4, &mut parsed) {
        return Some(why);
    }
    if let Some(name) = limit_name.filter(|name| shared_limits.contains(name.as_str())) {
        let why =
            format!("rules of the name `{name}` share what is left of their limit, here each has its own");
        parsed.matches.push(Match::Differs(why));
    }
    let action = targets::read(&mut words, table, is_v4, &parsed);
    let chain = table.chains.iter_mut().find(|chain| chain.name == name)?;
    for alternative in parsed.alternatives() {
        chain.rules.push(Rule {
            origin: Rc::clone(&origin),
            matches: alternative,
            action: action.clone(),
            comment: parsed.comment.clone(),
        });
    }
    None
}
