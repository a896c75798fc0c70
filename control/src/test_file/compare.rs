//! What is not as expected.

use super::schema::{Expected, NONE};
use crate::config::AddressRange;
use crate::rehearsal::{Named, Outcome, end};

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The key in the file of tests.
    pub key: &'static str,
    /// What stands there.
    pub expected: String,
    /// What there is instead, where the rule that it is about stands.
    pub got: String,
    /// Why, where that is known.
    pub note: Option<String>,
}

impl Mismatch {
    const fn new(key: &'static str, expected: String, got: String) -> Mismatch {
        Mismatch { key, expected, got, note: None }
    }
}

/// All that is not as expected of a packet.
pub fn mismatches(expected: &Expected, outcome: &Outcome) -> Vec<Mismatch> {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let plain = |key, wanted: Option<String>, got: Option<String>| {
        let (wanted, got) = (wanted?, or_none(got));
        (wanted != got).then(|| Mismatch::new(key, wanted, got))
    };
    let rule = |key, wanted: &Option<String>, got: &Option<Named>| {
        let wanted = wanted.as_ref()?;
        let name = got.as_ref().map_or(NONE, |rule| &rule.name);
        let got = || or_none(got.as_ref().map(Named::to_string));
        (wanted != name).then(|| Mismatch::new(key, wanted.clone(), got()))
    };
    let address = |key, wanted: Option<AddressRange>, got: Option<_>| {
        let wanted = wanted.filter(|wanted| !got.is_some_and(|got| is_within(wanted, got)))?;
        Some(Mismatch::new(key, wanted.to_string(), or_none(got.map(end))))
    };
    let words = |key, wanted: &Option<String>, got: &Option<String>| {
        let wanted = wanted.as_ref()?;
        let fits = match got {
            None => wanted == NONE,
            Some(line) => wanted != NONE && has_words(line, wanted),
        };
        (!fits).then(|| Mismatch::new(key, wanted.clone(), or_none(got.clone())))
    };
    let state = |state: &str| state.to_lowercase();
    let all = [
        plain("verdict", expected.verdict.map(|word| word.to_string()), Some(outcome.verdict.to_string())),
        plain("reason", expected.reason.clone(), outcome.reason.map(|reason| reason.label().to_owned())),
        plain(
            "state",
            expected.state.map(|wanted| state(&format!("{wanted:?}"))),
            outcome.state.map(|got| state(got.name())),
        ),
        plain("invalid", expected.invalid.clone(), outcome.invalid.map(|reason| reason.label().to_owned())),
        rule("rule", &expected.rule, &outcome.rule),
        rule("dnat", &expected.dnat, &outcome.dnat),
        rule("snat", &expected.snat, &outcome.snat),
        plain("out", expected.out.clone(), outcome.out.clone()),
        plain("via", expected.via.map(|via| via.to_string()), outcome.via.map(|via| via.to_string())),
        address("source", expected.source, outcome.left.map(|left| left.source)),
        address("destination", expected.destination, outcome.left.map(|left| left.destination)),
        words("answer", &expected.answer, &outcome.answer),
        words("entry", &expected.entry, &outcome.entry),
    ];
    all.into_iter().flatten().collect()
}

/// Whether there are as many entries as expected.
pub fn entries(expected: &Expected, entries: u32) -> Option<Mismatch> {
    let wanted = expected.entries.filter(|wanted| *wanted != entries)?;
    Some(Mismatch::new("entries", wanted.to_string(), entries.to_string()))
}

fn is_within(wanted: &AddressRange, (address, port): (std::net::IpAddr, Option<u16>)) -> bool {
    let has_port =
        wanted.ports.is_none_or(|ports| port.is_some_and(|port| (ports.first..=ports.last).contains(&port)));
    (wanted.first..=wanted.last).contains(&address) && has_port
}

/// Whether a line has all of these words, in their order.
fn has_words(line: &str, words: &str) -> bool {
    let mut left = line.split_whitespace();
    words.split_whitespace().all(|word| left.any(|other| other == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_looked_for_in_their_order() {
        let line = "tcp 6 431999 ESTABLISHED src=10.0.0.2 dst=192.0.2.1 [ASSURED] mark=0";
        assert!(has_words(line, "tcp ESTABLISHED dst=192.0.2.1 [ASSURED]"));
        assert!(!has_words(line, "ESTABLISHED tcp") && !has_words(line, "src=10.0.0"));
    }

    #[test]
    fn an_address_may_be_one_of_several() {
        let is_within = |range: &str, address: &str, port| {
            is_within(&range.parse().unwrap(), (address.parse().unwrap(), port))
        };
        assert!(is_within("203.0.113.1", "203.0.113.1", Some(7)));
        assert!(is_within("203.0.113.0/24:1024-65535", "203.0.113.9", Some(1024)));
        assert!(!is_within("203.0.113.0/24:1024-65535", "203.0.113.9", Some(7)));
        assert!(!is_within("203.0.113.1:7", "203.0.113.1", None));
    }
}
