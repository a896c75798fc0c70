//! `sluice config`: the configuration that a daemon runs by.

use std::process::ExitCode;

use clap::Args;

use super::ask::Ask;
use crate::socket::protocol::Request;

/// The configuration that a daemon runs by: its file, its hash, since when, and its text
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice config > running.yaml             what is in force, as it was written
  sluice config --json | jq -r .yaml       with every default written out, and with
                                           what `sluice timeouts set` has changed

The hash is that of sha256sum(1): `sluice config` tells whether the file has been
changed since it was read.")]
pub struct ConfigArgs {
    /// How to ask
    #[command(flatten)]
    ask: Ask,
}

impl ConfigArgs {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        self.ask.show(&Request::Configuration)
    }
}
