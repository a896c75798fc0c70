//! `sluice diff`: what a reload would change.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::diff::{Change, Difference, Side, Sides};
use crate::output::{print, refuse};

/// The exit status where only a restart puts the new configuration in force.
const NEEDS_RESTART: u8 = 3;

/// What a configuration says otherwise than another, and whether a reload can change it
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sluice diff /etc/sluice/sluice.yaml new.yaml

Both are compared as they would be in force, with every default written out: two
files that say the same in other words do not differ. `-` goes, `+` comes, each with
file and line; `default` is what a file does not say. Connections go on over a
reload; each is judged anew, by the new rules, with its next packet.

Exit status 0 if a reload puts the new one in force, 3 if only a restart can, 1 if a
file is wrong.")]
pub struct Diff {
    /// The configuration that is in force
    old: PathBuf,

    /// The one that is to be; `-` is standard input
    new: PathBuf,
}

impl Diff {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        let sides = match (Side::read(&self.old), Side::read(&self.new)) {
            (Ok(old), Ok(new)) => Sides { old, new },
            (Err(error), _) | (_, Err(error)) => return refuse(&error),
        };
        let differences = sides.differences();
        let mut text: String = differences.iter().map(show).collect();
        let restart = sides.needs_restart();
        text.push_str(&match (differences.len(), restart.is_empty()) {
            (0, _) => "no difference\n".to_owned(),
            (_, true) => "a reload puts this in force\n".to_owned(),
            (_, false) => format!("only a restart can change {}\n", restart.join(", ")),
        });
        let printed = print(&text);
        if restart.is_empty() { printed } else { ExitCode::from(NEEDS_RESTART) }
    }
}

/// A key, and below it what goes and what comes.
fn show(Difference { path, changes }: &Difference) -> String {
    let place = |change: &Change| change.place.clone().unwrap_or_else(|| "default".to_owned());
    let width = changes.iter().map(|change| place(change).len()).max().unwrap_or_default();
    let line = |change: &Change| {
        let sign = if change.comes { '+' } else { '-' };
        format!("  {sign} {:<width$}  {}\n", place(change), change.value)
    };
    format!("{path}\n{}\n", changes.iter().map(line).collect::<String>())
}
