//! `sluice routes`: the routes of a running daemon, as ip-route(8) shows them.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ask::{Ask, Failure, exit, unexpected};
use crate::socket::Client;
use crate::socket::protocol::{Request, Response};

/// The routes of a running daemon
#[derive(Clone, Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  sluice routes                    all routes, the networks of the ports first
  sluice routes get 203.0.113.9    where do packets to this address go?"
)]
pub struct Routes {
    /// What to show; all routes unless told otherwise
    #[command(subcommand)]
    command: Option<RoutesCommand>,

    /// How to ask for all routes
    #[command(flatten)]
    ask: Ask,
}

/// What else there is to show.
#[derive(Clone, Debug, Subcommand)]
enum RoutesCommand {
    /// The route to an address: interface, next router, and the address that the box speaks from there
    Get {
        /// The destination
        address: IpAddr,

        /// How to ask
        #[command(flatten)]
        ask: Ask,
    },
}

impl Routes {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        match &self.command {
            None => exit(self.list()),
            Some(RoutesCommand::Get { address, ask }) => ask.show(&Request::Route { to: *address }),
        }
    }

    /// Asks for all pages and shows them as one answer.
    fn list(&self) -> Result<(), Failure> {
        let mut client = Client::connect(&self.ask.socket.path)?;
        let mut all = Vec::new();
        let mut from = Some(0);
        while let Some(position) = from {
            let answer = client.ask(&Request::Routes { from: position })?;
            let Response::Routes { routes, next } = answer else { return Err(unexpected()) };
            all.extend(routes);
            from = next;
        }
        self.ask.print(&Response::Routes { routes: all, next: None })
    }
}
