//! `sluice set`: the named sets of a running daemon, by the verbs of nft and ipset.

use std::io::{self, Write};
use std::path::{self, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::ask::{Ask, Failure, exit, unexpected};
use crate::config::Prefix;
use crate::socket::Client;
use crate::socket::protocol::{Request, Response, SetChange};

/// The named sets of a running daemon: what is in them, and changes of that
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice set list                                  the sets, and how many prefixes each has
  sluice set show blocked                          what is in one, a prefix a line
  sluice set add blocked 192.0.2.7 2001:db8::/32   these come into it
  sluice set delete blocked 192.0.2.7              and this leaves it
  sluice set replace blocked /tmp/list.txt         what a file says, and nothing else
  sluice set flush blocked                         nothing any more

A change holds from the next packet on, for connections that are open, too: each is
judged anew, and none is lost. Whether a packet of an open connection gets as far
as a rule with the set is up to the order of rules: one that drops what is in
@blocked cuts connections only if it stands before the one that accepts
ESTABLISHED.

It holds until the next reload, which reads the configuration and the files of sets
anew, or a restart. To keep what is in a set, write it to its file:
  sluice set show blocked > /etc/sluice/blocked.txt")]
pub struct Sets {
    /// What to do
    #[command(subcommand)]
    command: SetCommand,
}

/// What can be done with sets.
#[derive(Clone, Debug, Subcommand)]
enum SetCommand {
    /// Show which sets there are, and how much is in them
    List(Ask),
    /// Show what is in a set, a prefix a line, as a set's file has it
    Show {
        /// Its name, without `@`
        name: String,

        /// How to ask
        #[command(flatten)]
        ask: Ask,
    },
    /// Add prefixes to a set; those that are in it already stay
    Add {
        /// Its name, without `@`
        name: String,

        /// Addresses and prefixes
        #[arg(required = true)]
        prefixes: Vec<Prefix>,

        /// How to ask
        #[command(flatten)]
        ask: Ask,
    },
    /// Delete prefixes from a set: all of them, or none where one is not in it
    Delete {
        /// Its name, without `@`
        name: String,

        /// Addresses and prefixes, as the set has them
        #[arg(required = true)]
        prefixes: Vec<Prefix>,

        /// How to ask
        #[command(flatten)]
        ask: Ask,
    },
    /// Put what a file says, a prefix a line, in the place of all that is in a set, in one step
    Replace {
        /// Its name, without `@`
        name: String,

        /// The file, which the daemon reads
        file: PathBuf,

        /// How to ask
        #[command(flatten)]
        ask: Ask,
    },
    /// Delete all that is in a set
    Flush {
        /// Its name, without `@`
        name: String,

        /// How to ask
        #[command(flatten)]
        ask: Ask,
    },
}

impl Sets {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        let change = |ask: &Ask, name: &str, change| {
            exit(ask.ask(&Request::ChangeSet { name: name.to_owned(), change }))
        };
        match &self.command {
            SetCommand::List(ask) => ask.show(&Request::Sets),
            SetCommand::Show { name, ask } => exit(show(name, ask)),
            SetCommand::Add { name, prefixes, ask } => change(ask, name, SetChange::Add(prefixes.clone())),
            SetCommand::Delete { name, prefixes, ask } => {
                change(ask, name, SetChange::Delete(prefixes.clone()))
            }
            SetCommand::Replace { name, file, ask } => match path::absolute(file) {
                Ok(file) => change(ask, name, SetChange::Replace(file)),
                Err(why) => exit(Err(Failure::Other(format!("{}: {why}", file.display())))),
            },
            SetCommand::Flush { name, ask } => change(ask, name, SetChange::Flush),
        }
    }
}

/// Asks page by page, and writes each as it comes; in JSON all pages as one answer.
fn show(name: &str, ask: &Ask) -> Result<(), Failure> {
    let mut client = Client::connect(&ask.socket.path)?;
    let (mut all, mut from) = (Vec::new(), Some(0));
    let mut out = io::stdout().lock();
    while let Some(position) = from {
        let answer = client.ask(&Request::Set { name: name.to_owned(), from: position })?;
        let Response::Set { prefixes, next } = answer else { return Err(unexpected()) };
        from = next;
        match ask.json {
            true => all.extend(prefixes),
            false => prefixes.iter().try_for_each(|prefix| writeln!(out, "{prefix}"))?,
        }
    }
    if ask.json {
        drop(out);
        ask.print(&Response::Set { prefixes: all, next: None })?;
    }
    Ok(())
}
