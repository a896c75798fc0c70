//! `sluice check`: is the file right, what comes of it, and is the machine ready for it?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::output::{print, refuse, say};
use crate::{config, host};

/// Validates a configuration.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sluice check box.yaml         print the configuration with every default
  sluice check --host box.yaml  look at huge pages, drivers, cores and limits too
  sluice import --iptables rules.v4 | sluice check --quiet -
                                say only what is wrong, and read standard input

Everything that is wrong is shown at once, each with file, line and column.
Exit status 1 if the file is wrong or the machine cannot run it; what only
slows it down is a warning.")]
pub struct Check {
    /// Also check this machine, and print the command that mends each finding
    #[arg(long)]
    host: bool,

    /// Print nothing of a configuration that is right
    #[arg(short, long)]
    quiet: bool,

    /// Configuration file; `-` is standard input
    file: PathBuf,
}

impl Check {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        let config = match config::read(&self.file) {
            Ok(config) => config,
            Err(error) => return refuse(&error),
        };
        let printed = match self.quiet {
            true => ExitCode::SUCCESS,
            false => print(&config::to_yaml(&config::resolved(config.clone()))),
        };
        if !self.host {
            return printed;
        }
        let findings = host::inspect(&config, std::path::Path::new("/"));
        findings.iter().for_each(|finding| say(&finding.to_string()));
        match findings.iter().any(|finding| finding.fatal) {
            true => ExitCode::FAILURE,
            false => {
                say("host: ready");
                printed
            }
        }
    }
}
