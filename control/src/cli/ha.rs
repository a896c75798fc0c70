//! `sluice ha`: the cluster of a running daemon.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ask::Ask;
use crate::socket::protocol::Request;

/// High availability of a running daemon: what its peers are told, and what it knows of them
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice ha status              this box, its Redis and its peers
  sluice ha status --json       the same for programs
  sluice conntrack -L --standby the connections of the peer that this box stands by for

A peer is `synced` when this box knows all that the peer has told. `lag` is how old
a record was when the workers had it.")]
pub struct HaArgs {
    /// What to do
    #[command(subcommand)]
    command: HaCommand,
}

/// What can be done.
#[derive(Clone, Debug, Subcommand)]
enum HaCommand {
    /// Show how it stands
    Status(Ask),
}

impl HaArgs {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        match &self.command {
            HaCommand::Status(ask) => ask.show(&Request::HaStatus),
        }
    }
}
