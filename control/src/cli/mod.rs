//! The command line: what can be asked, and who answers.

mod apply;
mod ask;
mod capture;
mod check;
mod compare;
mod config;
mod conntrack;
mod diff;
mod entries;
mod events;
mod expect;
mod explain;
mod ha;
mod help;
mod helpers;
mod import;
mod load;
mod log_level;
mod nat;
mod notify;
mod owned;
mod pcapng;
mod rates;
mod routes;
mod running;
mod sets;
mod snapshot;
mod stats;
mod test;
mod text;
mod timeouts;
mod top;
mod trace;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config as configuration;
use crate::output::{fail, print};
use crate::replay::Replay;
use crate::run::Run;
use ask::Ask;
use conntrack::ConntrackArgs;

/// A stateful middlebox: Linux-style connection tracking on DPDK.
#[derive(Debug, Parser)]
#[command(name = "sluice", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  sluice reference > /etc/sluice/sluice.yaml   begin with every key and its default
  sluice check /etc/sluice/sluice.yaml         is the file right, and what comes of it?
  sluice check --host /etc/sluice/sluice.yaml  is this machine ready for it?
  sluice replay -c sluice.yaml --in inside=a.pcap --client-side inside
                                               what would become of this capture?

Exit status: 0 if all is well, 1 if something is wrong, 2 if the command line is.";

const RELOAD_HELP: &str = "\
No packet and no connection is lost. A file that is wrong, or that changes what
only a restart can change (system, interfaces' devices and MTU, a larger
max-entries, metrics, control, ha, export), changes nothing, and the answer says why.";

const MAN_HELP: &str = "\
Examples:
  sluice man nat pools | man -l -
  sluice man --all /usr/local/share/man/man8";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the middlebox until a signal ends it
    Run(Run),
    /// Validate a configuration and print it with every default written out
    Check(check::Check),
    /// The tracked connections of a running daemon, as conntrack(8) shows them
    Conntrack(Box<ConntrackArgs>),
    /// Address translation of a running daemon: pools of ports, and whose an address and port are
    Nat(nat::Nat),
    /// The helpers of a running daemon: which there are, what came of them, on and off
    Helpers(helpers::Helpers),
    /// High availability of a running daemon: for what it is active, what its peers are told, and what it knows of them
    Ha(ha::HaArgs),
    /// Who a running daemon tells of connections: the NAT journal, syslog, collectors of IPFIX
    #[command(after_help = help::EXPORT_HELP)]
    Export(Ask),
    /// A running daemon at a glance: entries, packets by state, ports, rules
    Stats(stats::Stats),
    /// A running daemon on a screen, anew each second: rates, drops, workers, pools, who has made the connections
    Top(top::Top),
    /// What becomes of packets of a running daemon, as it happens: a line each
    Trace(trace::Trace),
    /// Packets of a running daemon, into a capture file with what was decided about each
    Capture(Box<capture::Capture>),
    /// The ports of a running daemon: link, address, queues, device
    #[command(after_help = help::PORTS_HELP)]
    Ports(Ask),
    /// The neighbours of a running daemon's ports, as ip-neighbour(8) shows them
    #[command(visible_aliases = ["neighbors", "neigh"], after_help = help::NEIGHBOURS_HELP)]
    Neighbours(Ask),
    /// The routes of a running daemon, and the one to an address, as ip-route(8) shows them
    #[command(visible_alias = "route")]
    Routes(routes::Routes),
    /// Named sets of addresses of a running daemon: what is in them, and changes of that
    Set(sets::Sets),
    /// Drops and INVALID packets of a running daemon, by reason
    #[command(after_help = help::reasons())]
    Drops(Ask),
    /// Have a running daemon read its configuration anew
    #[command(after_help = RELOAD_HELP)]
    Reload(Ask),
    /// Put another file in force, for a time only unless it is confirmed, in the place of the configured one
    Apply(apply::Apply),
    /// Keep in force what `sluice apply --confirm` has put in force for a time
    Confirm(apply::Confirm),
    /// The configuration that a daemon runs by: its file, its hash, since when, and its text
    Config(config::ConfigArgs),
    /// Show or change how much a running daemon says in its log
    LogLevel(log_level::LogLevelArgs),
    /// Show or change the timeouts of a running daemon
    Timeouts(timeouts::TimeoutsArgs),
    /// Captures in, captures out, in capture time
    Replay(Replay),
    /// What a configuration says otherwise than another, or than a running daemon's, and what a reload would do to open connections
    Diff(diff::Diff),
    /// What every stage would say about a packet: tracking, translation, route, rules, verdict
    Explain(explain::Explain),
    /// Play tests of a configuration: packets, and what is expected of them
    Test(test::Test),
    /// Play captures through the kernel, with a Linux box's rules, and through Sluice, and show each packet that differs
    Compare(compare::Compare),
    /// Make a configuration of a Linux box's rules
    Import(Box<import::Import>),
    /// Print the reference configuration: every key, its meaning, its default
    Reference,
    /// Print the JSON schema of the configuration, for editors and other tools
    Schema,
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  sluice completions bash > /etc/bash_completion.d/sluice")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or that of a command, in roff
    #[command(after_help = MAN_HELP)]
    Man {
        /// The command, such as `conntrack` or `nat pools`
        command: Vec<String>,
        /// Write the pages of all commands into this directory instead
        #[arg(long, value_name = "DIRECTORY", conflicts_with = "command")]
        all: Option<PathBuf>,
    },
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(run) => run.run(),
        Command::Check(check) => check.run(),
        Command::Conntrack(conntrack) => conntrack.run(),
        Command::Nat(nat) => nat.run(),
        Command::Helpers(helpers) => helpers.run(),
        Command::Ha(ha) => ha.run(),
        Command::Export(ask) => ask.export(),
        Command::Stats(stats) => stats.run(),
        Command::Top(top) => top.run(),
        Command::Trace(trace) => trace.run(),
        Command::Capture(capture) => capture.run(),
        Command::Ports(ask) => ask.ports(),
        Command::Neighbours(ask) => ask.neighbours(),
        Command::Routes(routes) => routes.run(),
        Command::Set(sets) => sets.run(),
        Command::Drops(ask) => ask.drops(),
        Command::Reload(ask) => ask.reload(),
        Command::Apply(apply) => apply.run(),
        Command::Confirm(confirm) => confirm.run(),
        Command::Config(config) => config.run(),
        Command::LogLevel(level) => level.run(),
        Command::Timeouts(timeouts) => timeouts.run(),
        Command::Replay(replay) => crate::replay::run(&replay),
        Command::Diff(diff) => diff.run(),
        Command::Explain(explain) => explain.run(),
        Command::Test(test) => test.run(),
        Command::Compare(compare) => compare.run(),
        Command::Import(import) => import.run(),
        Command::Reference => print(&configuration::reference_yaml()),
        Command::Schema => print(&configuration::json_schema()),
        Command::Completions { shell } => completions(shell),
        Command::Man { all: Some(directory), .. } => manuals(&directory),
        Command::Man { command, all: None } => manual(&command),
    }
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sluice", &mut script);
    print(&String::from_utf8_lossy(&script))
}

fn manual(names: &[String]) -> ExitCode {
    match page(names) {
        Ok(page) => print(&String::from_utf8_lossy(&page)),
        Err(why) => fail(&why),
    }
}

fn manuals(directory: &Path) -> ExitCode {
    let mut pages = Vec::new();
    all_pages(&whole(), &mut pages);
    let written = fs::create_dir_all(directory)
        .and_then(|()| pages.iter().try_for_each(|(file, page)| fs::write(directory.join(file), page)));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("cannot write manual pages to {}: {error}", directory.display())),
    }
}

/// The manual page of a command.
fn page(names: &[String]) -> Result<Vec<u8>, String> {
    let mut command = whole();
    for name in names {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| format!("there is no command `{}`", names.join(" ")))?;
    }
    Ok(roff(command))
}

/// Those of a command and of all below it, by the names of their files.
fn all_pages(command: &clap::Command, pages: &mut Vec<(String, Vec<u8>)>) {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push((format!("{name}.8"), roff(command.clone())));
    let is_page = |command: &&clap::Command| !command.is_hide_set() && command.get_name() != "help";
    command.get_subcommands().filter(is_page).for_each(|command| all_pages(command, pages));
}

/// All commands, as their pages name one another.
fn whole() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn roff(command: clap::Command) -> Vec<u8> {
    let mut page = Vec::new();
    let written = clap_mangen::Man::new(command).section("8").render(&mut page);
    written.expect("there is memory for a page");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_that_a_page_names_can_be_printed() {
        let page = |names: &str| {
            let names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
            page(&names).map(|page| String::from_utf8_lossy(&page).into_owned())
        };
        let whole = page("").unwrap();
        assert!(whole.contains(r".TH sluice 8") && whole.contains(r"sluice\-conntrack(8)"), "{whole}");
        assert!(page("conntrack").unwrap().contains(r".TH sluice-conntrack 8"));
        assert!(page("nat pools").unwrap().contains("exhausted"));
        assert_eq!(page("nat pool").unwrap_err(), "there is no command `nat pool`");
    }

    #[test]
    fn each_command_has_a_page_in_a_file_of_its_name() {
        let mut pages = Vec::new();
        all_pages(&whole(), &mut pages);
        let files: Vec<&str> = pages.iter().map(|(file, _)| file.as_str()).collect();
        assert!(
            ["sluice.8", "sluice-conntrack.8", "sluice-nat-pools.8"].iter().all(|file| files.contains(file))
        );
        assert!(!files.iter().any(|file| file.ends_with("-help.8")), "{files:?}");
        for (file, page) in &pages {
            let title = format!(".TH {} 8", file.trim_end_matches(".8"));
            assert!(String::from_utf8_lossy(page).contains(&title), "{file}");
        }
    }

    #[test]
    fn help_explains_each_reason() {
        let help = page(&["drops".to_owned()]).unwrap();
        let help = String::from_utf8_lossy(&help).replace('\\', "");
        assert!(help.contains("hold-full") && help.contains("Too many first packets wait"), "{help}");
        assert!(help.contains("tcp-window") && help.contains("sequence number beyond the window"), "{help}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
