//! Limits of nft: how many packets (`limit rate`), how many connections (`ct count`), of all or of each element of a set that packets fill.

use serde_json::Value;

use super::matches;
use super::values::Objects;
use crate::config::{Connections, Limit, LimitBy, Rate};
use crate::import::model::{Field, Match};

/// What nft has where nothing is said.
const BURST: u64 = 5;

/// Reads a `limit` or a `ct count` of all that comes to it.
pub(super) fn read(kind: &str, value: &Value) -> Vec<Match> {
    let read =
        if kind == "limit" { limit(value).map(Match::Limit) } else { count(value).map(Match::Connections) };
    vec![read.unwrap_or_else(Match::UnknownLimit)]
}

fn is_over(value: &Value) -> bool {
    value.get("inv").and_then(Value::as_bool) == Some(true)
}

fn limit(value: &Value) -> Result<Limit, String> {
    let wrong = || format!("the limit {value} cannot be said");
    let word = |key: &str| value.get(key).and_then(Value::as_str);
    let (Some(rate), Some(per), None) =
        (value.get("rate").and_then(Value::as_u64), word("per"), word("rate_unit"))
    else {
        return Err(wrong());
    };
    let rate: Rate = format!("{rate}/{per}").parse().map_err(|_| wrong())?;
    let burst = value.get("burst").and_then(Value::as_u64).unwrap_or(BURST);
    let burst = u32::try_from(burst).map_err(|_| wrong())?;
    Ok(Limit { rate, burst, by: None, ipv4_prefix: 32, ipv6_prefix: 64, over: is_over(value) })
}

fn count(value: &Value) -> Result<Connections, String> {
    let most = value.get("val").and_then(Value::as_u64).and_then(|most| u32::try_from(most).ok());
    let most = most.ok_or_else(|| format!("so many connections cannot be said: {value}"))?;
    Ok(Connections { most, by: None, ipv4_prefix: 32, ipv6_prefix: 64, over: is_over(value) })
}

/// Reads what is done for each element of a set, or of a meter, that packets fill: `update @set { ip saddr limit rate 3/second }`.
pub(super) fn of_elements(value: &Value, objects: &Objects<'_>) -> Vec<Match> {
    each(value, objects).unwrap_or_else(|why| vec![Match::UnknownLimit(why)])
}

fn each(value: &Value, objects: &Objects<'_>) -> Result<Vec<Match>, String> {
    let not_known = || "what is done for each element of a set is not known".to_owned();
    let element = value.get("elem").or_else(|| value.get("key")).ok_or_else(not_known)?;
    let element = element.get("elem").map_or(element, |timed| timed.get("val").unwrap_or(timed));
    let (field, is_v4, implied) = matches::address(element).ok_or_else(not_known)?;
    let by = Some(if field == Field::Source { LimitBy::Source } else { LimitBy::Destination });
    let (ipv4_prefix, ipv6_prefix) = (32, if is_v4 { 64 } else { 128 });
    let statement = match value.get("stmt") {
        Some(Value::Array(list)) if list.len() == 1 => list.first(),
        Some(Value::Array(_)) => None,
        one => one,
    };
    let (kind, statement) =
        statement.and_then(Value::as_object).and_then(|object| object.iter().next()).ok_or_else(not_known)?;
    let of_each = match kind.as_str() {
        "limit" => Match::Limit(Limit { by, ipv4_prefix, ipv6_prefix, ..limit(statement)? }),
        "ct count" => Match::Connections(Connections { by, ipv4_prefix, ipv6_prefix, ..count(statement)? }),
        _ => return Err(not_known()),
    };
    let name = value.get("set").and_then(Value::as_str).and_then(|name| name.strip_prefix('@'));
    let timeout = name.and_then(|name| objects.get("set", name)).and_then(|set| set.get("timeout"));
    let forgets = timeout.map(|timeout| {
        Match::Differs(format!(
            "who is in the set for {timeout} s is forgotten there, here as the limit is full again"
        ))
    });
    Ok(implied.into_iter().chain([of_each]).chain(forgets).collect())
}
