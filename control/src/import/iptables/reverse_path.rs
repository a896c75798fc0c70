//! The reverse path filter of iptables, `-m rpfilter`.

use super::words::Words;
use crate::config::RpFilter;
use crate::import::model::Match;

/// `--invert`, and of what kind the filter is. The mark of a packet (`--validmark`) is nothing that routes look at here.
pub(super) fn read(words: &mut Words<'_>) -> Match {
    let (mut filter, mut is_inverted, mut unknown) = (RpFilter::Strict, false, None);
    while let Some(option) = words.peek().filter(|word| word.starts_with("--")) {
        match option {
            "--loose" => filter = RpFilter::Loose,
            "--invert" => is_inverted = true,
            "--validmark" => {}
            other => unknown = Some(other),
        }
        words.next();
    }
    match (unknown, is_inverted) {
        (Some(option), _) => Match::Unknown(format!("what `{option}` looks at is not known")),
        (None, false) => {
            Match::Unknown("what a route leads back to cannot be said, only what none does".to_owned())
        }
        (None, true) => Match::NoReversePath(filter),
    }
}
