//! `sluice log-level`: how much a running daemon says.

use std::process::ExitCode;

use clap::Args;

use super::ask::Ask;
use crate::socket::protocol::{LogLevel, Request};

/// Show or change how much a running daemon says in its log
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice log-level          as it is now
  sluice log-level debug    until the daemon ends, or it is changed again")]
pub struct LogLevelArgs {
    /// The least that is said from now on
    level: Option<LogLevel>,

    /// How to ask
    #[command(flatten)]
    ask: Ask,
}

impl LogLevelArgs {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        self.ask.show(&Request::LogLevel { level: self.level })
    }
}
