//! Tests, step by step.

use std::io;
use std::time::Duration;

use sluice_conntrack::Instant;

use super::compare::{Mismatch, entries, mismatches};
use super::compile::{Planned, PlannedStep};
use crate::config::Path;
use crate::explain::missed;
use crate::rehearsal::{Outcome, Rehearsal, Subject};

/// The clock when a test begins.
const BEGIN: Duration = Duration::from_secs(1);

/// A step that was played.
#[derive(Clone, Debug)]
pub struct Played {
    /// Where it stands in the file of tests.
    pub path: Path,
    /// What was done, in the words of the file.
    pub done: String,
    /// What has come of its packet, if it has one.
    pub outcome: Option<Outcome>,
    /// What is not as expected.
    pub mismatches: Vec<Mismatch>,
}

/// Plays a test on a box with an empty table.
///
/// # Errors
/// The host has no memory for one.
pub fn play(test: &Planned, subject: &Subject) -> io::Result<Vec<Played>> {
    let mut rehearsal = Rehearsal::new(&subject.configuration, Instant::default().after(BEGIN))?;
    Ok(test.steps.iter().map(|step| play_step(step, &mut rehearsal, subject)).collect())
}

fn play_step(step: &PlannedStep, rehearsal: &mut Rehearsal, subject: &Subject) -> Played {
    let PlannedStep { path, after, packet, expected } = step;
    rehearsal.wait(Duration::from_secs(after.0.into()));
    let came = packet.as_ref().map(|(_, ingress, spoken)| rehearsal.say(*ingress, spoken));
    let outcome = came.as_ref().map(|came| Outcome::of(came, &subject.names));
    let mut wrong = outcome.as_ref().map_or_else(Vec::new, |outcome| mismatches(expected, outcome));
    if let (Some(wrong), Some(came), Some(rule)) =
        (wrong.iter_mut().find(|wrong| wrong.key == "rule"), &came, &expected.rule)
    {
        wrong.note = missed(subject, came, rule);
    }
    wrong.extend(entries(expected, rehearsal.entries()));
    let words = packet.as_ref().map(|(text, ..)| text.clone());
    let waited = (after.0 > 0).then(|| format!("after {after}"));
    let done = waited.into_iter().chain(words).collect::<Vec<_>>().join(", ");
    Played { path: path.clone(), done, outcome, mismatches: wrong }
}
