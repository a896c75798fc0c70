//! `sluice ha`: the cluster of a running daemon.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ask::Ask;
use super::notify::NotifyArgs;
use crate::socket::protocol::Request;

/// High availability of a running daemon: for what it is active, what its peers are told, and what it knows of them
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice ha status              this box, its groups, its Redis and its peers
  sluice ha status --json       the same for programs
  sluice ha promote g1          be active for a group; keepalived says so by `notify`
  sluice ha demote g1           hand over to the other box and stand by
  sluice ha notify --track-file /run/sluice-track/state FIFO
                                as keepalived's vrrp_notify_fifo_script, which adds FIFO
  sluice conntrack -L --standby the connections of the peer that this box stands by for

A peer is `synced` when this box knows all that the peer has told. `lag` is how old
a record was when the workers had it.

A box that becomes active for a group goes on with all connections that it was
told of, whatever their number, and announces the group's addresses by gratuitous
ARP and unsolicited neighbour advertisements, three times 100 ms apart. A box on
standby forwards and answers nothing of the group: `sluice drops` counts that as
`standby`.

A box that hears another one that is active is not promoted: it waits, and becomes
active when the other is not heard as such any more. Of two that are active, as
behind a cut link, the one steps back that became so first. A box that is demoted
tells the other what is left to be told, with which that one becomes active.

Exit status: 0 if the box is so now (or was before), 1 if it is not, and why is
said.")]
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
    /// Be active for a group
    Promote(Change),
    /// Stand by for a group
    Demote(Change),
    /// Do what keepalived says over a pipe, and tell it as soon as the daemon dies
    Notify(NotifyArgs),
}

/// A change of what the box is for a group.
#[derive(Clone, Debug, Args)]
struct Change {
    /// The group's name
    group: String,

    /// Though another box is active, or none stands by
    #[arg(long)]
    force: bool,

    /// How to ask
    #[command(flatten)]
    ask: Ask,
}

impl Change {
    fn to(&self, active: bool) -> ExitCode {
        self.ask.show(&Request::ChangeRole { group: self.group.clone(), active, force: self.force })
    }
}

impl HaArgs {
    /// Does it.
    pub fn run(self) -> ExitCode {
        match self.command {
            HaCommand::Status(ask) => ask.show(&Request::HaStatus),
            HaCommand::Promote(change) => change.to(true),
            HaCommand::Demote(change) => change.to(false),
            HaCommand::Notify(args) => args.run(),
        }
    }
}
