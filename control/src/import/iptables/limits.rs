//! Limits of iptables: how many packets (`limit`, `hashlimit`), and how many connections (`connlimit`).

use std::collections::BTreeSet;

use super::words::Words;
use crate::config::{Connections, Limit, LimitBy, Rate};
use crate::import::model::Match;

/// What iptables has where nothing is said.
const BURST: u32 = 5;
/// Seconds for which `hashlimit` knows who is silent.
const EXPIRE_S: u64 = 10;

/// The options of a module, from the first of them on, each with its value.
type Options<'a> = Vec<(&'a str, &'a str)>;

/// The names (`--hashlimit-name`) that several rules of a file have: those share what is left of their limits.
pub(super) fn shared_names(text: &str) -> BTreeSet<&str> {
    let (mut once, mut shared) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let name = line.split_once("--hashlimit-name ").and_then(|(_, rest)| rest.split(' ').next());
        shared.extend(name.filter(|name| !once.insert(*name)));
    }
    shared
}

/// Reads a limit, whose first option was taken already; `negated` is whether a `!` stands before that.
pub(super) fn read<'a>(
    words: &mut Words<'a>,
    module: &str,
    first: &'a str,
    negated: bool,
) -> Result<Vec<Match>, String> {
    let mut options = Options::new();
    let mut next = Some(first);
    let begins = format!("--{module}");
    while let Some(option) = next {
        let has_value = !matches!(option, "--connlimit-saddr" | "--connlimit-daddr");
        options.push((option, if has_value { words.value(option)? } else { "" }));
        next = words.peek().filter(|word| word.starts_with(&begins)).and_then(|_| words.next());
    }
    let read = match module {
        "limit" if !negated => limit(&options),
        "hashlimit" if !negated => hashlimit(&options),
        "connlimit" => connlimit(&options, negated),
        _ => Err(format!("`! {first}` cannot be said")),
    };
    Ok(read.unwrap_or_else(|why| vec![Match::UnknownLimit(why)]))
}

fn unknown(option: &str) -> String {
    format!("`{option}` cannot be said")
}

/// `3/min`; bytes (`512kb/s`) are none.
fn rate(text: &str) -> Result<Rate, String> {
    text.parse().map_err(|_| format!("a limit of {text} cannot be said"))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number that can be said"))
}

fn limit(options: &Options<'_>) -> Result<Vec<Match>, String> {
    let mut limit = plain("3/hour".parse()?);
    for (option, value) in options {
        match *option {
            "--limit" => limit.rate = rate(value)?,
            "--limit-burst" => limit.burst = number(value)?,
            other => return Err(unknown(other)),
        }
    }
    Ok(vec![Match::Limit(limit)])
}

/// A limit of all packets.
pub(in crate::import) const fn plain(rate: Rate) -> Limit {
    Limit { rate, burst: BURST, by: None, ipv4_prefix: 32, ipv6_prefix: 64, over: false }
}

fn hashlimit(options: &Options<'_>) -> Result<Vec<Match>, String> {
    let mut limit = None;
    let (mut burst, mut bits, mut expire_ms) = (BURST, 128, EXPIRE_S * 1000);
    let mut by = None;
    for (option, value) in options {
        match *option {
            "--hashlimit" | "--hashlimit-upto" => limit = Some(plain(rate(value)?)),
            "--hashlimit-above" => limit = Some(Limit { over: true, ..plain(rate(value)?) }),
            "--hashlimit-burst" => burst = number(value)?,
            "--hashlimit-mode" => by = Some(mode(value)?),
            "--hashlimit-srcmask" if by == Some(LimitBy::Source) => bits = number(value)?,
            "--hashlimit-dstmask" if by == Some(LimitBy::Destination) => bits = number(value)?,
            "--hashlimit-srcmask" | "--hashlimit-dstmask" => return Err(unknown(option)),
            "--hashlimit-htable-expire" => expire_ms = number(value)?,
            "--hashlimit-name"
            | "--hashlimit-htable-size"
            | "--hashlimit-htable-max"
            | "--hashlimit-htable-gcinterval" => {}
            other => return Err(unknown(other)),
        }
    }
    let limit = limit.ok_or_else(|| "`hashlimit` without a rate".to_owned())?;
    let limit = Limit { burst, by, ipv4_prefix: bits.min(32), ipv6_prefix: bits, ..limit };
    let refill_ms = limit.rate.interval().as_millis().saturating_mul(limit.burst.into());
    let forgets = (by.is_some() && refill_ms > u128::from(expire_ms)).then(|| {
        let why = format!(
            "who is silent for {} s has all of the limit again there, here as it fills",
            expire_ms / 1000
        );
        Match::Differs(why)
    });
    Ok([Match::Limit(limit)].into_iter().chain(forgets).collect())
}

fn mode(text: &str) -> Result<LimitBy, String> {
    match text {
        "srcip" => Ok(LimitBy::Source),
        "dstip" => Ok(LimitBy::Destination),
        other => Err(format!("a limit for each {other} cannot be said")),
    }
}

fn connlimit(options: &Options<'_>, negated: bool) -> Result<Vec<Match>, String> {
    let mut connections = None;
    let (mut by, mut bits) = (LimitBy::Source, 128);
    for (option, value) in options {
        match *option {
            "--connlimit-above" => connections = Some((number(value)?, !negated)),
            "--connlimit-upto" => connections = Some((number(value)?, negated)),
            "--connlimit-mask" => bits = number(value)?,
            "--connlimit-saddr" => by = LimitBy::Source,
            "--connlimit-daddr" => by = LimitBy::Destination,
            other => return Err(unknown(other)),
        }
    }
    let (most, over) = connections.ok_or_else(|| "`connlimit` without a number".to_owned())?;
    let (ipv4_prefix, ipv6_prefix) = (bits.min(32), bits);
    Ok(vec![Match::Connections(Connections { most, by: Some(by), ipv4_prefix, ipv6_prefix, over })])
}
