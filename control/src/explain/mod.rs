//! `sluice explain`: what every stage says about a packet, in order, and which rules it has passed on its way.
//!
//! What the stages have said is taken from what has come of the packet ([`Came`]); what a rule misses in a packet ([`why`]) is found by the
//! rule itself.

mod stages;
mod why;

use serde::Serialize;
use sluice_conntrack::DropReason;

use crate::rehearsal::{Came, Named, Outcome, Subject};

/// A packet's way.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The packet, in words.
    pub packet: String,
    /// The connection of a running daemon that it belongs to; left out where none was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<String>,
    /// Each stage that it came to.
    pub stages: Vec<Stage>,
    /// What becomes of it, and why where no rule says so.
    pub verdict: String,
}

/// What one stage says.
#[derive(Clone, Debug, Serialize)]
pub struct Stage {
    /// The stage.
    pub stage: &'static str,
    /// What it says.
    pub result: String,
    /// The rule by which it does.
    #[serde(flatten)]
    pub rule: Option<Named>,
    /// The rules that do not apply, or do and go on, in front of that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<Passed>,
}

/// A rule that did not decide.
#[derive(Clone, Debug, Serialize)]
pub struct Passed {
    /// The rule.
    #[serde(flatten)]
    pub rule: Named,
    /// Why it did not.
    pub because: String,
}

/// Explains what has come of a packet, which is called so.
pub fn explain(subject: &Subject, came: &Came, packet: String) -> Explanation {
    let outcome = Outcome::of(came, &subject.names);
    let by_rule = |reason: &DropReason| [DropReason::Policy, DropReason::Reject].contains(reason);
    let reason = outcome.reason.filter(|reason| !by_rule(reason));
    let reason = reason.map(|reason| format!(" ({}): {}", reason.label(), reason.meaning()));
    let verdict = format!("{}{}", outcome.verdict, reason.unwrap_or_default());
    Explanation { packet, running: None, stages: stages::all(subject, came, &outcome), verdict }
}

/// What a rule of the policy, by its name, misses in a packet that it has not decided about.
pub fn missed(subject: &Subject, came: &Came, name: &str) -> Option<String> {
    let Subject { config, configuration, names } = subject;
    let index = names.rules.iter().position(|rule| rule.name == name)?;
    let (rule, written) = (configuration.policy.rules.get(index)?, config.policy.rules.get(index)?);
    let because = why::why_not(&rule.matches, &stages::value(written), came.facts.as_ref()?, names)?;
    Some(format!("{}: {because}", names.rules[index]))
}
