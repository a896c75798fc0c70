//! The file of `sluice test`.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sluice_conntrack::{DropReason, InvalidReason};

use crate::config::{AddressRange, Document, Path, Problem, Seconds, State, nearest};
use crate::rehearsal::Word;

/// Tests of a configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a mapping (config, tests)")]
pub struct TestFile {
    /// The configuration, seen from the directory of this file.
    pub config: Option<PathBuf>,
    /// The tests, each of which begins with an empty table.
    pub tests: Vec<Test>,
}

/// One test: packets, one after the other.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a test (name, steps)")]
pub struct Test {
    /// What it shows.
    pub name: String,
    /// What happens.
    pub steps: Vec<Step>,
}

/// Time that passes, a packet that comes in then, and what is expected of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a step (after, packet, expect)")]
pub struct Step {
    /// How much time passes before.
    pub after: Option<Seconds>,
    /// The packet, in words.
    pub packet: Option<String>,
    /// What is expected of it, if anything.
    #[serde(default)]
    pub expect: Expect,
}

/// What is expected of a packet. What is not said is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expect(pub Expected);

/// The same, key by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a verdict, or a mapping")]
pub struct Expected {
    /// What becomes of the packet: accept, drop, reject or hold.
    pub verdict: Option<Word>,
    /// Why it is dropped, as `sluice drops` names it.
    pub reason: Option<String>,
    /// Its state.
    pub state: Option<State>,
    /// Why it is INVALID, as `sluice drops` names it.
    pub invalid: Option<String>,
    /// The rule of the policy that decides: its name, `policy.rules[3]`, `default`, or `none` if the policy is not asked.
    pub rule: Option<String>,
    /// The rule that its connection's destination is translated by: its name, `destination-0`, or `none`.
    pub dnat: Option<String>,
    /// The rule that its connection's source is translated by: its name, `source-0`, or `none`.
    pub snat: Option<String>,
    /// The interface that it leaves by, `local` if it is for the box itself, or `none`.
    pub out: Option<String>,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The source that it leaves with.
    pub source: Option<AddressRange>,
    /// The destination that it leaves with.
    pub destination: Option<AddressRange>,
    /// Words of what the box answers, in their order, or `none`.
    pub answer: Option<String>,
    /// Words of its entry's line in `conntrack -L`, in their order, or `none`.
    pub entry: Option<String>,
    /// Entries in the table.
    pub entries: Option<u32>,
}

/// What is not there.
pub const NONE: &str = "none";

impl<'de> Deserialize<'de> for Expect {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Expect, D::Error> {
        from.deserialize_any(ExpectVisitor)
    }
}

struct ExpectVisitor;

impl<'de> Visitor<'de> for ExpectVisitor {
    type Value = Expect;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a verdict (accept, drop, reject, hold), or a mapping")
    }

    fn visit_str<E: serde::de::Error>(self, verdict: &str) -> Result<Expect, E> {
        let verdict = Word::deserialize(StrDeserializer::new(verdict))?;
        Ok(Expect(Expected { verdict: Some(verdict), ..Expected::default() }))
    }

    fn visit_map<A: MapAccess<'de>>(self, keys: A) -> Result<Expect, A::Error> {
        Expected::deserialize(MapAccessDeserializer::new(keys)).map(Expect)
    }
}

impl Document for TestFile {
    const BEGINS: &'static str =
        "a file of tests has the keys `config` and `tests`; `sluice test --help` shows one";

    fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (number, test) in self.tests.iter().enumerate() {
            let steps = Path::root().join("tests").join(number).join("steps");
            for (number, step) in test.steps.iter().enumerate() {
                check_step(step, &steps.join(number), &mut problems);
            }
        }
        problems
    }
}

fn check_step(Step { after, packet, expect }: &Step, path: &Path, problems: &mut Vec<Problem>) {
    let Expect(expected) = expect;
    let expect = path.join("expect");
    let drops: Vec<&str> = DropReason::ALL.iter().map(|reason| reason.label()).collect();
    let invalid: Vec<&str> = InvalidReason::ALL.iter().map(|reason| reason.label()).collect();
    for (key, said, known) in [("reason", &expected.reason, drops), ("invalid", &expected.invalid, invalid)] {
        if let Some(reason) = said.as_deref().filter(|reason| !known.contains(reason)) {
            let help = nearest(reason, &known).map(|near| format!("did you mean `{near}`?"));
            let help = help.unwrap_or_else(|| "`sluice drops --help` has all reasons".to_owned());
            let problem = Problem::at(expect.join(key), format!("there is no reason `{reason}`"));
            problems.push(problem.help(Some(help)));
        }
    }
    let only_entries = Expected { entries: expected.entries, ..Expected::default() };
    match packet {
        None if after.is_none() => {
            problems
                .push(Problem::at(path.clone(), "a step has a packet, or time passes (`after`)".to_owned()));
        }
        None if *expected != only_entries => {
            let message = "without a packet only `entries` can be expected".to_owned();
            problems.push(Problem::at(expect, message).on_key());
        }
        _ => {}
    }
}
