//! `sluice test`: do packets come to what is expected of them?

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::config::{self, ConfigError, Source};
use crate::output::{fail, print, refuse};
use crate::packet;
use crate::rehearsal::Subject;
use crate::test_file::{Mismatch, Played, TestFile, compile, play};

const EXAMPLE: &str = "\
A file of tests, kept beside the configuration:

  config: box.yaml                        seen from the directory of this file
  tests:
    - name: clients surf, masqueraded     each test begins with an empty table
      steps:
        - packet: in lan tcp 10.0.0.2:40000 -> 192.0.2.1:80 syn
          expect: { verdict: accept, state: new, rule: out, out: wan, source: 203.0.113.1 }
        - packet: in wan tcp 192.0.2.1:80 -> 203.0.113.1:40000 syn ack
          expect: { state: established, destination: \"10.0.0.2:40000\" }
        - after: 2m
          expect: { entries: 0 }
    - name: nobody logs in from outside
      steps:
        - packet: in wan tcp 198.51.100.9 -> 203.0.113.1:22 syn
          expect: drop

Expected is a verdict (accept, drop, reject, hold), or any of
  verdict            what becomes of the packet
  reason, invalid    why it is dropped, why it is INVALID: as `sluice drops` names it
  state              new, established, related, invalid, untracked
  rule               the rule that decides: its name, policy.rules[3], default
  dnat, snat         the NAT rule that binds its connection: its name, source-0
  out, via           the interface (`local`: the box itself) and next hop
  source, destination
                     with which it leaves: 203.0.113.1, 203.0.113.0/28:1024-65535
  answer, entry      words, in their order, of what the box answers, and of the line
                     that `conntrack -L` shows of its connection
  entries            how many the table has
`none` means that there is none. What is not said is not looked at.";

/// Plays tests of a configuration: packets, and what is expected of them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE, after_long_help = format!("{EXAMPLE}\n\n{}\n\n{EXIT}", packet::HELP))]
pub struct Test {
    /// The configuration; by default the one that each file names
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Show only what is not as expected
    #[arg(short, long)]
    quiet: bool,

    /// Files of tests
    #[arg(value_name = "FILE.yaml", required = true)]
    files: Vec<PathBuf>,
}

const EXIT: &str = "\
Nothing is opened and nothing running is asked: the packets go through the same
tracking, translation, routes and rules as those of `sluice run`.
Exit status 1 if a packet came to something else, or a file is wrong.";

impl Test {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        let mut failed = false;
        for file in &self.files {
            match self.play(file) {
                Ok((shown, as_expected)) => {
                    failed |= !as_expected;
                    print(&shown);
                }
                Err(Failure::Wrong(error)) => {
                    refuse(&error);
                    failed = true;
                }
                Err(Failure::Other(why)) => {
                    fail(&format!("{}: {why}", file.display()));
                    failed = true;
                }
            }
        }
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    /// Plays a file; gives what is to be shown, and whether all was as expected.
    fn play(&self, file: &Path) -> Result<(String, bool), Failure> {
        let (tests, source) = config::read_document::<TestFile>(file)?;
        let subject = self.subject(file, &tests)?;
        let planned =
            compile(&tests, &subject.config, &subject.names).map_err(|problems| source.refuse(problems))?;
        let mut shown = String::new();
        let (mut steps, mut wrong) = (0, 0);
        for test in &planned {
            let played = play(test, &subject).map_err(|why| Failure::Other(why.to_string()))?;
            steps += played.len();
            let failed = played.iter().filter(|step| !step.mismatches.is_empty()).count();
            wrong += failed;
            if failed > 0 || !self.quiet {
                shown.push_str(&format!("{}\n", test.name));
                let shows = |step: &&Played| !self.quiet || !step.mismatches.is_empty();
                played.iter().filter(shows).for_each(|step| shown.push_str(&line(step, &source)));
            }
        }
        let came = match wrong {
            0 => "all as expected".to_owned(),
            wrong => format!("{wrong} not as expected"),
        };
        let (step, test) = (plural(steps, "step"), plural(planned.len(), "test"));
        shown.push_str(&format!("{}: {step} in {test}, {came}\n", file.display()));
        Ok((shown, wrong == 0))
    }

    /// The configuration that a file is about.
    fn subject(&self, file: &Path, tests: &TestFile) -> Result<Subject, Failure> {
        let named = tests.config.as_ref().map(|config| file.parent().unwrap_or(Path::new("")).join(config));
        match self.config.clone().or(named) {
            Some(path) => Subject::read(&path).map_err(Failure::Wrong),
            None => {
                let why = "which configuration? give it with -c, or name it by `config:`";
                Err(Failure::Other(why.to_owned()))
            }
        }
    }
}

/// Why a file was not played.
enum Failure {
    Wrong(Box<ConfigError>),
    Other(String),
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Wrong(Box::new(error))
    }
}

/// A step in a line, and below it what is not as expected.
fn line(step: &Played, source: &Source) -> String {
    let Played { path, done, outcome, mismatches } = step;
    if mismatches.is_empty() {
        let outcome = outcome.as_ref().map(|outcome| format!(": {outcome}")).unwrap_or_default();
        return format!("  ok    {done}{outcome}\n");
    }
    let place = source.places(std::slice::from_ref(path)).pop().flatten().unwrap_or_default();
    let mut text = format!("  FAIL  {place}: {done}\n");
    if let Some(outcome) = outcome {
        text.push_str(&format!("        came to {outcome}\n"));
    }
    for Mismatch { key, expected, got, note } in mismatches {
        text.push_str(&format!("        {key}: expected {expected}, got {got}\n"));
        text.extend(note.iter().map(|note| format!("          {note}\n")));
    }
    text
}

fn plural(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
