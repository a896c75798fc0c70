//! `sluice apply` and `sluice confirm`: another file in force, in the place of the configured one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::ask::{Ask, Failure, exit};
use crate::config::Seconds;
use crate::replace::replace;
use crate::socket::Client;
use crate::socket::protocol::{Request, Response};

/// Put another file in force, for a time only unless it is confirmed, in the place of the configured one
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice apply --confirm 60s new.yaml   in force for a minute ...
  sluice confirm                        ... or for good
  sluice apply new.yaml                 in force for good at once

With --confirm the daemon puts back in force what was before when the time is over,
also where whoever has asked is gone, or has been cut off by the new rules. Try
`sluice confirm` from a new session, so that it shows that one can still be opened.
The configured file is replaced by the new one when it is confirmed: a daemon that
starts anew before that goes by the old one. `sluice reload` takes it back at once.

The daemon reads the file, so its user must be able to: best keep it beside the
configured one. What is refused changes nothing, as with `sluice reload`.")]
pub struct Apply {
    /// The time in which `sluice confirm` must come
    #[arg(long, value_name = "TIME")]
    confirm: Option<Seconds>,

    /// The file that is to take the place of the configured one
    file: PathBuf,

    /// How to ask
    #[command(flatten)]
    ask: Ask,
}

/// Keep in force what `sluice apply --confirm` has put in force for a time
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The configured file is replaced by what is confirmed, so whoever confirms must be able to write it."
)]
pub struct Confirm {
    /// How to ask
    #[command(flatten)]
    ask: Ask,
}

impl Apply {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        exit(self.apply())
    }

    fn apply(&self) -> Result<(), Failure> {
        let unreadable = |why| Failure::Other(format!("{}: {why}", self.file.display()));
        let file = self.file.canonicalize().map_err(unreadable)?;
        ask(&self.ask, &Request::Apply { file, confirm_within_s: self.confirm.map(|time| time.0) })
    }
}

impl Confirm {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        exit(ask(&self.ask, &Request::Confirm))
    }
}

/// Asks, and where the new configuration is in force for good, replaces the configured file.
fn ask(ask: &Ask, request: &Request) -> Result<(), Failure> {
    let answer = Client::connect(&ask.socket.path)?.ask(request)?;
    if let Response::Applied { revision, file, text, .. } = &answer {
        put(file, text).map_err(|why| {
            Failure::Other(format!(
                "configuration {revision} is in force, but {} cannot be replaced, so the next start goes by what it says: {why}",
                file.display()
            ))
        })?;
    }
    ask.print(&answer)
}

/// Replaces a file by a text; owner and mode stay.
fn put(file: &Path, text: &str) -> io::Result<()> {
    replace(file, |mut nascent| {
        nascent.write_all(text.as_bytes())?;
        if let Ok(old) = fs::metadata(file) {
            nascent.set_permissions(old.permissions())?;
            fchown(nascent, Some(old.uid()), Some(old.gid()))?;
        }
        Ok(())
    })
}
