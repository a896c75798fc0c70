//! `sluice helpers`: those of a running daemon.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ask::Ask;
use crate::socket::protocol::Request;

/// The helpers of a running daemon: which there are, what came of them, on and off
#[derive(Clone, Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  sluice helpers             those that the configuration assigns, and what came of each
  sluice helpers off ftp     until the next reload, or `on`: read no FTP
  sluice helpers on ftp      new connections are read again

`connections` have the helper now, `in all` got it since the start; `expected` is
what is waited for now, `promised` how often a connection was announced and
expected, `met` how many of these came and `expired` how many did not in time;
`refused` were not expected, as too many were, or another connection had the
same; `turned off` is how many connections it reads no more, since it cannot or
must not. `sluice_helper_events_total` says why. Below stand the rules, as in the
configuration file, of which the first that fits a connection decides.

A helper that is switched off reads nothing more at once, as if its kernel module
had been unloaded: new connections do not get it, those that have it are not read,
and what it expected is not expected any more. What has passed stays: children go
on, and so does a connection whose numbers were shifted. Switched on again, it
begins with new connections, and goes on with those that have sent nothing
meanwhile. A reload puts in force what the file says."
)]
pub struct Helpers {
    /// What to do; show them unless told otherwise
    #[command(subcommand)]
    command: Option<HelpersCommand>,

    /// How to ask for them
    #[command(flatten)]
    ask: Ask,
}

/// What else can be done.
#[derive(Clone, Debug, Subcommand)]
enum HelpersCommand {
    /// Switch a helper on again
    On {
        /// Its name, such as ftp
        name: String,

        /// How to ask
        #[command(flatten)]
        ask: Ask,
    },
    /// Switch a helper off until the next reload
    Off {
        /// Its name, such as ftp
        name: String,

        /// How to ask
        #[command(flatten)]
        ask: Ask,
    },
}

impl Helpers {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        match &self.command {
            None => self.ask.show(&Request::Helpers),
            Some(HelpersCommand::On { name, ask }) => {
                ask.show(&Request::SwitchHelper { name: name.clone(), on: true })
            }
            Some(HelpersCommand::Off { name, ask }) => {
                ask.show(&Request::SwitchHelper { name: name.clone(), on: false })
            }
        }
    }
}
