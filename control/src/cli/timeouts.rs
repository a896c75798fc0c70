//! `sluice timeouts`: those of a running daemon.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ask::{Ask, Failure, Socket, exit, unexpected};
use super::text::text_of;
use crate::socket::Client;
use crate::socket::protocol::{Request, Response};

/// The timeouts of a running daemon
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice timeouts get                        all of them, in seconds
  sluice timeouts get tcp.established        one of them
  sluice timeouts set tcp.established 1d     until the next reload

A new timeout holds for an entry from its next packet on. To keep one, write it
under conntrack.timeouts in the configuration file.")]
pub struct TimeoutsArgs {
    /// What to do
    #[command(subcommand)]
    command: TimeoutsCommand,
}

/// What can be done with timeouts.
#[derive(Clone, Debug, Subcommand)]
enum TimeoutsCommand {
    /// Show the timeouts, or one of them
    Get {
        /// Its keys below conntrack.timeouts, such as tcp.established
        name: Option<String>,

        /// Where to ask
        #[command(flatten)]
        socket: Socket,
    },
    /// Change one until the next reload
    Set {
        /// Its keys below conntrack.timeouts, such as tcp.established
        name: String,

        /// Seconds, or a number with one of the units s, m, h, d
        value: String,

        /// Where to ask
        #[command(flatten)]
        socket: Socket,
    },
}

impl TimeoutsArgs {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        exit(match &self.command {
            TimeoutsCommand::Get { name, socket } => get(name.as_deref(), socket),
            TimeoutsCommand::Set { name, value, socket } => {
                let request = Request::SetTimeout { name: name.clone(), value: value.clone() };
                Ask { json: false, socket: socket.clone() }.ask(&request)
            }
        })
    }
}

fn get(name: Option<&str>, socket: &Socket) -> Result<(), Failure> {
    let Response::Timeouts { mut timeouts } = Client::connect(&socket.path)?.ask(&Request::Timeouts)? else {
        return Err(unexpected());
    };
    if let Some(name) = name {
        timeouts.retain(|timeout| timeout.name == name);
        if timeouts.is_empty() {
            return Err(Failure::Other(format!(
                "there is no timeout `{name}`; `sluice timeouts get` shows them all"
            )));
        }
    }
    Ok(io::stdout().write_all(text_of(&Response::Timeouts { timeouts }).as_bytes())?)
}
