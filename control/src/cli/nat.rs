//! `sluice nat`: what its rules have bound, the SNAT port pools, and which connections an address and port outside belong to.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ask::{Ask, Socket, exit};
use super::entries;
use super::help::{NAT_RULES_HELP, OWNED_HELP, OWNER_HELP, POOLS_HELP};
use super::owned::{WhoOwned, address_and_port};
use crate::config::Protocol;
use crate::listing::Format;
use crate::socket::Filter;
use crate::socket::protocol::Request;

/// Address translation of a running daemon
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice nat rules                              which rules translate connections?
  sluice nat pools                              how many ports are left?
  sluice nat who-owns 203.0.113.10:40123        who is behind this address and port?
  sluice nat who-owns '[2001:db8::1]:443' -p tcp
  sluice nat who-owned 203.0.113.10:40123 @2h   and who was it two hours ago?
  sluice conntrack -L --src-nat                 all whose source is translated")]
pub struct Nat {
    /// What to show
    #[command(subcommand)]
    command: NatCommand,
}

/// What there is to show.
#[derive(Clone, Debug, Subcommand)]
enum NatCommand {
    /// The rules of NAT: how many connections each has bound
    #[command(after_help = NAT_RULES_HELP)]
    Rules(Ask),
    /// The SNAT port pools: their size, and the ports in use
    #[command(after_help = POOLS_HELP)]
    Pools(Ask),
    /// The connections that the outside knows by an address and port
    #[command(after_help = OWNER_HELP)]
    WhoOwns(WhoOwns),
    /// The connections that the outside knew by an address and port at a time
    #[command(after_help = OWNED_HELP)]
    WhoOwned(WhoOwned),
}

/// Whose an address and port are.
#[derive(Clone, Debug, Args)]
struct WhoOwns {
    /// Address and port, such as 203.0.113.10:40123 or [2001:db8::1]:443
    #[arg(value_name = "IP:PORT", value_parser = address_and_port)]
    public: SocketAddr,

    /// Layer 4 protocol, by name or number: tcp, udp, icmp, 47
    #[arg(short = 'p', long, value_name = "PROTO")]
    protocol: Option<Protocol>,

    /// How entries are printed
    #[arg(short, long, value_name = "FORMAT", default_value = "conntrack")]
    output: Format,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,
}

impl Nat {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        match &self.command {
            NatCommand::Rules(ask) => ask.show(&Request::NatRules),
            NatCommand::Pools(ask) => ask.show(&Request::Pools),
            NatCommand::WhoOwned(asked) => asked.run(),
            NatCommand::WhoOwns(asked) => {
                let filter =
                    Filter { public: Some(asked.public), proto: asked.protocol, ..Filter::default() };
                exit(entries::list(&asked.socket, &filter, asked.output))
            }
        }
    }
}
