//! From a file of tests to what is to be done: packets are read, and names looked up in the configuration.

use sluice_conntrack::PortId;

use super::schema::{Expect, Expected, NONE, Step, TestFile};
use crate::config::{Config, LOCAL, Path, Problem, Seconds, nearest};
use crate::packet::{self, Spoken, Wrong};
use crate::rehearsal::{Named, Names};

/// A test, ready to be played.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What it shows.
    pub name: String,
    /// Its steps.
    pub steps: Vec<PlannedStep>,
}

/// A step, ready to be played.
#[derive(Clone, Debug)]
pub struct PlannedStep {
    /// Where it stands in the file of tests.
    pub path: Path,
    /// How much time passes before.
    pub after: Seconds,
    /// The packet, the port that it comes in by, and its words.
    pub packet: Option<(String, PortId, Spoken)>,
    /// What is expected.
    pub expected: Expected,
}

/// Makes tests ready for a configuration with these names.
///
/// # Errors
/// Packets that are none, and names of rules and interfaces that there are not.
pub fn compile(file: &TestFile, config: &Config, names: &Names) -> Result<Vec<Planned>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut planned = Vec::new();
    for (number, test) in file.tests.iter().enumerate() {
        let path = Path::root().join("tests").join(number).join("steps");
        let mut steps = Vec::new();
        for (number, step) in test.steps.iter().enumerate() {
            steps.extend(compile_step(step, path.join(number), config, names, &mut problems));
        }
        planned.push(Planned { name: test.name.clone(), steps });
    }
    if problems.is_empty() { Ok(planned) } else { Err(problems) }
}

fn compile_step(
    Step { after, packet, expect: Expect(expected) }: &Step,
    path: Path,
    config: &Config,
    names: &Names,
    problems: &mut Vec<Problem>,
) -> Option<PlannedStep> {
    problems.extend(unknown_names(expected, &path.join("expect"), names));
    let spoken = packet.as_ref().map(|text| {
        let spoken = packet::parse(text)?;
        Ok((text.clone(), packet::ingress(config, &spoken)?, spoken))
    });
    let packet = match spoken.transpose() {
        Ok(packet) => packet,
        Err(Wrong { at, message, help }) => {
            problems.push(Problem::at(path.join("packet"), message).within(at).help(help));
            return None;
        }
    };
    let after = after.unwrap_or(Seconds(0));
    Some(PlannedStep { path, after, packet, expected: expected.clone() })
}

/// Rules and interfaces that are expected and do not exist.
fn unknown_names(expected: &Expected, path: &Path, names: &Names) -> Vec<Problem> {
    let rules = |rules: &[Named]| rules.iter().map(|rule| rule.name.clone()).collect::<Vec<_>>();
    let policy = [rules(&names.rules), vec![names.default.name.clone()]].concat();
    let interfaces = [names.interfaces.clone(), vec![LOCAL.to_owned()]].concat();
    let wanted = [
        ("rule", "rule", &expected.rule, policy),
        ("dnat", "rule in nat.destination", &expected.dnat, rules(&names.destination)),
        ("snat", "rule in nat.source", &expected.snat, rules(&names.source)),
        ("out", "interface", &expected.out, interfaces),
    ];
    let problem = |(key, what, name, known): (&str, &str, &Option<String>, Vec<String>)| {
        let name = name.as_ref().filter(|name| *name != NONE && !known.contains(name))?;
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let help = nearest(name, &known).map(|near| format!("did you mean `{near}`?"));
        Some(Problem::at(path.join(key), format!("there is no {what} `{name}`")).help(help))
    };
    wanted.into_iter().filter_map(problem).collect()
}
