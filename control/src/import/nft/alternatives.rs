//! A rule as several: what nft says in one, with sets of several things together and with maps, are alternatives here.

use crate::import::model::{Action, Match};

/// Rules that one is written as: each has matches and an action.
pub(super) type Expanded = Vec<(Vec<Match>, Action)>;

/// More alternatives than this in one rule are a mistake.
const MAX_ALTERNATIVES: usize = 10_000;

/// All that is in one of the first and in one of the second.
pub(super) fn both(ways: &[Vec<Match>], found: &[Vec<Match>]) -> Vec<Vec<Match>> {
    if ways.len() * found.len() > MAX_ALTERNATIVES {
        return vec![vec![Match::Unknown(format!("it has more than {MAX_ALTERNATIVES} alternatives"))]];
    }
    ways.iter().flat_map(|way| found.iter().map(|found| [&way[..], found].concat())).collect()
}
