//! `sluice import`: a Linux box's rules become a configuration.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::ask::{Socket, exit};
use super::conntrack::ConntrackArgs;
use super::load;
use crate::import::{self, Effect, File, Sources};
use crate::output::{fail, print, say};

/// Makes a configuration of what a Linux box says of itself, or takes over its connections.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  sluice import --iptables rules.v4 --ip6tables rules.v6 --addresses addr.json > sluice.yaml
  sluice import --nft ruleset.json --addresses addr.json > sluice.yaml
  sluice import --iptables rules.v4 --interface eth0=outside --interface eth1=inside --report left.txt
  sluice import --conntrack connections      connections of `conntrack -L -o save`, into a running daemon

The configuration goes to standard output, and what is not as it was to standard
error: a line for each rule that is left out, with the reason and what comes of
it, and notes. Give --addresses, else masquerade, redirects and matches of local
addresses cannot be carried over. Devices are made up where the kernel does not
tell them: `ip -d -j addr` does.

Exit status: 0 if everything is carried over, 3 if something is left out,
1 if nothing could be made of it, 2 if the command line is wrong."
)]
pub struct Import {
    /// What `iptables-save` has written
    #[arg(long, value_name = "FILE")]
    iptables: Vec<PathBuf>,

    /// What `ip6tables-save` has written
    #[arg(long, value_name = "FILE")]
    ip6tables: Vec<PathBuf>,

    /// What `nft -j list ruleset` has written
    #[arg(long, value_name = "FILE")]
    nft: Vec<PathBuf>,

    /// What `ip -d -j addr` has written
    #[arg(long, value_name = "FILE")]
    addresses: Option<PathBuf>,

    /// What `ip -j route` and `ip -6 -j route` have written
    #[arg(long, value_name = "FILE")]
    routes: Vec<PathBuf>,

    /// What `sysctl -a` has written
    #[arg(long, value_name = "FILE")]
    sysctl: Vec<PathBuf>,

    /// An interface that becomes a port of the box, and its name there. Left out: all NICs of
    /// --addresses, else all that rules name
    #[arg(long = "interface", value_name = "KERNEL[=NAME]", value_parser = interface)]
    interfaces: Vec<(String, Option<String>)>,

    /// Write what is left out here instead
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Connections that `conntrack -L -o save` has written, into a running daemon
    #[arg(long, value_name = "FILE", conflicts_with_all = ["iptables", "ip6tables", "nft", "addresses", "routes", "sysctl", "interfaces", "report"])]
    conntrack: Option<String>,

    /// Where that listens
    #[command(flatten)]
    socket: Socket,
}

/// `eth0`, `eth0=outside`.
fn interface(text: &str) -> Result<(String, Option<String>), String> {
    match text.split_once('=') {
        Some((kernel, name)) => Ok((kernel.to_owned(), Some(name.to_owned()))),
        None => Ok((text.to_owned(), None)),
    }
}

/// Something is left out.
const LEFT_OUT: u8 = 3;

/// More than any box has rules.
const MAX_FILE_BYTES: u64 = 64 << 20;

impl Import {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        if let Some(file) = &self.conntrack {
            return exit(load::load(&self.socket, file, ConntrackArgs::made));
        }
        self.import().unwrap_or_else(|why| fail(&why))
    }

    fn import(&self) -> Result<ExitCode, String> {
        let sources = Sources {
            iptables: read_all(&self.iptables)?,
            ip6tables: read_all(&self.ip6tables)?,
            nft: read_all(&self.nft)?,
            addresses: read_all(self.addresses.as_slice())?,
            routes: read_all(&self.routes)?,
            sysctl: read_all(&self.sysctl)?,
            interfaces: self.interfaces.clone(),
        };
        let imported = import::import(&sources)?;
        let report: String = imported.leftovers.iter().map(|leftover| format!("{leftover}\n")).collect();
        match &self.report {
            Some(path) => {
                let written =
                    std::fs::File::create(path).and_then(|mut file| file.write_all(report.as_bytes()));
                written.map_err(|error| format!("{}: {error}", path.display()))?;
            }
            None if report.is_empty() => {}
            None => say(report.trim_end()),
        }
        let printed = print(&imported.yaml);
        let is_whole = imported.leftovers.iter().all(|leftover| leftover.effect == Effect::Note);
        Ok(if is_whole { printed } else { ExitCode::from(LEFT_OUT) })
    }
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<File>, String> {
    paths.iter().map(|path| Ok((path.display().to_string(), read(path)?))).collect()
}

fn read(path: &Path) -> Result<String, String> {
    let said = |error: String| format!("{}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(|error| said(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| said(error.to_string()))?;
    match bytes.len() as u64 > MAX_FILE_BYTES {
        true => Err(said(format!("the file is larger than {} MiB", MAX_FILE_BYTES >> 20))),
        false => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}
