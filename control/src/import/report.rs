//! What could not be carried over, line by line, and why.

use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

/// Where a rule stands in what was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    /// The number of its file, and its own within that: the order of the report.
    pub order: (usize, usize),
    /// File and line; of a rule of nft, its table, chain and handle.
    pub place: String,
    /// The rule itself, as it was written.
    pub text: String,
    /// The name of the chain, and the line or handle, for comments beside what becomes of it.
    pub note: String,
}

/// What comes of leaving something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing of consequence: verdicts are the same.
    Note,
    /// Fewer packets pass than did.
    Fewer,
    /// More packets may pass than did.
    More,
    /// It depends on the rules behind it.
    Either,
    /// Packets look or are treated otherwise, whether they pass or not.
    Other,
}

impl Effect {
    /// What comes of this and another one together.
    pub(super) fn and(self, other: Effect) -> Effect {
        match (self, other) {
            (Effect::Note, one) | (one, Effect::Note) => one,
            (one, another) if one == another => one,
            (Effect::Other, one) | (one, Effect::Other) => one,
            _ => Effect::Either,
        }
    }

    /// What comes of leaving out what keeps packets from that.
    pub(super) fn opposite(self) -> Effect {
        match self {
            Effect::Fewer => Effect::More,
            Effect::More => Effect::Fewer,
            same => same,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Effect::Note => "note",
            Effect::Fewer => "left out, fewer packets pass",
            Effect::More => "left out, more packets may pass",
            Effect::Either => "left out, more or fewer packets may pass",
            Effect::Other => "left out",
        }
    }
}

/// One thing that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leftover {
    origin: Rc<Origin>,
    /// What comes of it.
    pub effect: Effect,
    reason: String,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { place, text, .. } = &*self.origin;
        write!(f, "{place}: {}: {}", self.effect.words(), self.reason)?;
        if text.is_empty() { Ok(()) } else { write!(f, "\n    {text}") }
    }
}

/// Collects what is left over; the same of the same rule is said once.
#[derive(Debug, Default)]
pub(super) struct Report(BTreeSet<Leftover>);

impl Report {
    /// Says that a rule, or a part of it, is not carried over.
    pub(super) fn left(&mut self, origin: &Rc<Origin>, effect: Effect, reason: impl Into<String>) {
        self.0.insert(Leftover { origin: Rc::clone(origin), effect, reason: reason.into() });
    }

    /// Says something that changes no verdict.
    pub(super) fn note(&mut self, origin: &Rc<Origin>, reason: impl Into<String>) {
        self.left(origin, Effect::Note, reason);
    }

    /// All of it, in the order of what was read.
    pub(super) fn into_leftovers(self) -> Vec<Leftover> {
        self.0.into_iter().collect()
    }
}
