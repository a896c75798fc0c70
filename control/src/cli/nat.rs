//! `sluice nat`: what address translation has to give, and who has got it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::args::Listing;
use super::conntrack;
use super::daemon::{Ask, Socket, exit};
use crate::config::Protocol;
use crate::socket::Filter;
use crate::socket::protocol::{PoolStatistics, Request};

/// Address translation of a running daemon
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice nat pools                              how many ports are left?
  sluice nat who-owns 203.0.113.10:40123        who was behind this address and port?
  sluice nat who-owns '[2001:db8::1]:443' -p tcp
  sluice conntrack -L --src-nat                 all whose source is translated")]
pub struct Nat {
    /// What to show
    #[command(subcommand)]
    command: NatCommand,
}

const POOLS_HELP: &str = "\
A line for each rule of nat.source that translates: by its name, or source- and
its place. `1201/64512` are ports in use of all that there are. One port serves
connections towards several servers, so a pool at its end refuses only those to
a server that all ports lead to already; `exhausted` counts them. Each worker
counts the ports it uses for itself: one that two workers use, towards different
servers, is two. Rules that share addresses share their ports, and show the
same ones as in use. Where a rule says nothing about ports, those above 1023 are
counted, which clients have. A 1:1 network keeps ports and has none to count:
`-`. `bound` and `exhausted` begin anew with a reload.";

const OWNER_HELP: &str = "\
The address and port are those that the other side sees: what a client's source
was translated to, or what is translated to a server behind the box. A port
serves several connections towards different servers, so there may be several
lines. For ICMP the port is the identifier.";

/// What there is to show.
#[derive(Clone, Debug, Subcommand)]
enum NatCommand {
    /// How many ports the rules for sources have to give, and how many are in use
    #[command(after_help = POOLS_HELP)]
    Pools(Ask),
    /// The connections that the outside knows by an address and port
    #[command(after_help = OWNER_HELP)]
    WhoOwns(WhoOwns),
}

/// Whose an address and port are.
#[derive(Clone, Debug, Args)]
struct WhoOwns {
    /// Address and port, such as 203.0.113.10:40123 or [2001:db8::1]:443
    #[arg(value_name = "IP:PORT", value_parser = address_and_port)]
    public: SocketAddr,

    /// Protocol, by name or number
    #[arg(short = 'p', long, value_name = "PROTO")]
    protocol: Option<Protocol>,

    /// How entries are printed
    #[arg(short, long, value_name = "FORMAT", default_value = "conntrack")]
    output: Listing,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,
}

fn address_and_port(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected IP:PORT, such as 203.0.113.10:40123 or [2001:db8::1]:443".to_owned())
}

impl Nat {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        match &self.command {
            NatCommand::Pools(ask) => ask.show(&Request::Pools),
            NatCommand::WhoOwns(asked) => {
                let filter =
                    Filter { public: Some(asked.public), proto: asked.protocol, ..Filter::default() };
                exit(conntrack::list(&asked.socket, &filter, asked.output))
            }
        }
    }
}

/// The rules for a reader's eyes.
pub(super) fn pools_text(pools: &[PoolStatistics]) -> String {
    if pools.is_empty() {
        return "no rule translates sources\n".to_owned();
    }
    let mut text = String::from(
        "pool                 addresses             tcp             udp           other        bound  exhausted\n",
    );
    for PoolStatistics { pool, addresses, ports, used, bound, exhausted } in pools {
        // Writing to a String cannot fail.
        let addresses = if *addresses == 0 { "-".to_owned() } else { addresses.to_string() };
        let _ = write!(text, "{pool:<20} {addresses:>9}");
        for ((_, used), (_, ports)) in used.named().into_iter().zip(ports.named()) {
            let share = if ports == 0 { "-".to_owned() } else { format!("{used}/{ports}") };
            let _ = write!(text, " {share:>15}");
        }
        let _ = writeln!(text, " {bound:>12} {exhausted:>10}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_a_rule() {
        let guests = PoolStatistics {
            pool: "guests".to_owned(),
            addresses: 1,
            ports: [64_512, 64_512, 65_536].into(),
            used: [1201, 7, 0].into(),
            bound: 1300,
            exhausted: 2,
        };
        let twin = PoolStatistics { pool: "twin".to_owned(), bound: 4, ..PoolStatistics::default() };
        let text = pools_text(&[guests, twin]);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["pool", "addresses", "tcp", "udp", "other", "bound", "exhausted"]);
        assert_eq!(rows[1], ["guests", "1", "1201/64512", "7/64512", "0/65536", "1300", "2"]);
        assert_eq!(rows[2], ["twin", "-", "-", "-", "-", "4", "0"]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "columns stand below each other");
    }

    #[test]
    fn an_address_needs_a_port() {
        assert!(address_and_port("203.0.113.10:53").is_ok() && address_and_port("[2001:db8::1]:53").is_ok());
        for wrong in ["203.0.113.10", "2001:db8::1:53", "203.0.113.10:65536", ""] {
            assert!(address_and_port(wrong).unwrap_err().contains("[2001:db8::1]:443"), "{wrong}");
        }
    }
}
