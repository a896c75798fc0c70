//! `sluice replay`: captures in, captures out, through the workers that `sluice run` runs, in capture time.
//!
//! The captures are first made ready for DPDK's `net_pcap` devices ([`input`]), all at once. Then the workers
//! ([`workers`]) take their packets in the order of their stamps ([`play`]), and the captures that the devices wrote get the stamps of
//! the packets in them ([`restamp`]). [`report`] shows what came of it.

mod args;
mod capture;
mod frames;
mod helped;
mod input;
mod link_type;
mod play;
mod report;
mod restamp;
mod sides;
mod trace;
mod workers;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressStyle};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use tempfile::TempDir;
use thiserror::Error;

use crate::config::{self, Config};
use crate::output::{fail, refuse, say};
pub use args::{Replay, ReplayInput};
pub use frames::{CapturedFrame, captured};
use input::{Input, Source, Targets};
use play::{Interface, Played};
use sluice_engine::Vlan;
use trace::Trace;

/// Why a replay ended early: a sentence for the user.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What could not be done to a file, and why.
    fn file(verb: &str, path: &Path, why: impl fmt::Display) -> Self {
        Self(format!("cannot {verb} {}: {why}", path.display()))
    }
}

impl From<dpdk::DpdkError> for Failure {
    fn from(error: dpdk::DpdkError) -> Self {
        Self(error.to_string())
    }
}

/// Does what the command line says.
pub fn run(args: &Replay) -> ExitCode {
    let config = match config::read(&args.config) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    match replay(args, &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&failure.to_string()),
    }
}

/// Replays, writes all files, and shows what came of it.
fn replay(args: &Replay, config: &Config) -> Result<(), Failure> {
    let has_captures = |(_, interface): &(&String, &config::Interface)| interface.device.vlan().is_none();
    let names: Vec<&str> =
        config.interfaces.iter().filter(has_captures).map(|(name, _)| name.as_str()).collect();
    let configuration = config::lower(config).map_err(|problem| Failure::new(problem.message))?;
    let configuration = Arc::new(configuration);
    let layout = args.output.layout(configuration.settings.preset);
    let work = work_directory()?;
    let prepared = |name: &str| work.path().join(format!("{name}.in.pcap"));
    let sources = sources(args, &names, &prepared)?;
    for input in &args.inputs {
        File::open(&input.file).map_err(|error| Failure::file("read", &input.file, error))?;
    }
    let outputs = Outputs::create(args, &names)?;
    let trace = args.trace.as_deref().map(|path| Trace::create(path, config)).transpose()?;

    let mut inputs = prepare(&sources)?;
    let interfaces = config.interfaces.iter().map(|(name, interface)| {
        if let Some((parent, id)) = interface.device.vlan() {
            return Ok(Interface::Vlan(Vlan { parent: config.port(parent).unwrap_or_default(), id }));
        }
        let path = prepared(name);
        let index = inputs.iter().position(|input| input.path == path);
        let input = index.map_or_else(|| input::none(path), |index| Ok(inputs.swap_remove(index)));
        input.map(Interface::Capture)
    });
    let interfaces = interfaces.collect::<Result<Vec<_>, _>>()?;

    let played = play::play(interfaces, &configuration, args.workers, work.path(), trace)?;
    outputs.write(&played, work.path())?;
    if let Some(path) = &args.report {
        report::write(path, &names, &played)?;
    }
    report::table(&played, layout)?;
    report::summarise(&names, &played, &outputs.directory);
    Ok(())
}

/// A directory for what is not kept. Names of files in it become arguments of a device, which end at a comma.
fn work_directory() -> Result<TempDir, Failure> {
    let parent = std::env::temp_dir();
    let work = tempfile::Builder::new().prefix("sluice-").tempdir_in(&parent);
    let work = work.map_err(|error| Failure::file("write", &parent, error))?;
    match work.path().to_str() {
        Some(path) if !path.contains(',') => Ok(work),
        _ => Err(Failure::file("use", &parent, "the name of TMPDIR has a comma or is not UTF-8")),
    }
}

/// What each capture on the command line is to become.
fn sources<'a>(
    args: &'a Replay,
    names: &[&str],
    prepared: &impl Fn(&str) -> PathBuf,
) -> Result<Vec<Source<'a>>, Failure> {
    let known = |name: &str, option: &str| match names.contains(&name) {
        true => Ok(()),
        false => {
            let names = names.join(", ");
            Err(Failure(format!(
                "{option}: there is no interface `{name}` with a device in the configuration, only {names}"
            )))
        }
    };
    let mut seen = BTreeSet::new();
    for input in &args.inputs {
        known(&input.interface, "--in")?;
        if !seen.insert(&input.interface) {
            return Err(Failure(format!("--in: `{}` is given twice", input.interface)));
        }
    }
    let targets = |interface: &str| match &args.client_side {
        None => Ok(Targets::One(prepared(interface))),
        Some(client) => {
            known(client, "--client-side")?;
            let mut others = names.iter().filter(|name| *name != client);
            match (args.inputs.len(), others.next(), others.next()) {
                (1, Some(server), None) => {
                    Ok(Targets::Split { client: prepared(client), server: prepared(server) })
                }
                (1, ..) => Err(Failure::new("--client-side needs a configuration with two interfaces")),
                _ => Err(Failure::new("--client-side takes a single capture apart; there are several --in")),
            }
        }
    };
    let source = |(number, input): (usize, &'a ReplayInput)| {
        Ok(Source { number, path: &input.file, targets: targets(&input.interface)? })
    };
    args.inputs.iter().enumerate().map(source).collect()
}

/// Makes all captures ready, on all processors, and says where one is damaged.
fn prepare(sources: &[Source<'_>]) -> Result<Vec<Input>, Failure> {
    let bytes =
        sources.iter().filter_map(|source| fs::metadata(source.path).ok()).map(|file| file.len()).sum();
    let bar = progress("Reading", bytes, "{decimal_bytes} of {decimal_total_bytes}");
    let one = |source: &Source<'_>| {
        let mut before = 0;
        input::prepare(source, |behind| {
            // Not for each packet: the bar takes longer than the packet.
            if behind - before >= 1 << 20 {
                bar.inc(behind - before);
                before = behind;
            }
        })
    };
    let prepared = sources.par_iter().map(one).collect::<Result<Vec<_>, _>>()?;
    bar.finish_and_clear();
    for (source, (_, damage)) in sources.iter().zip(&prepared) {
        if let Some(damage) = damage {
            say(&format!(
                "sluice: {}: packet {} is damaged: {}; what comes before it is replayed",
                source.path.display(),
                damage.packet,
                damage.what
            ));
        }
    }
    Ok(prepared.into_iter().flat_map(|(inputs, _)| inputs).collect())
}

/// A bar on standard error, if that is a terminal.
fn progress(what: &'static str, len: u64, amount: &str) -> ProgressBar {
    let template = format!("{{msg}} {{bar:40}} {amount} {{eta}}");
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(len).with_style(style).with_message(what)
}

/// Where the output captures go.
struct Outputs {
    directory: PathBuf,
    files: Vec<PathBuf>,
}

impl Outputs {
    /// Makes the directory and makes sure of everything that is to be written.
    fn create(args: &Replay, names: &[&str]) -> Result<Self, Failure> {
        let directory = match &args.out {
            Some(directory) => directory.clone(),
            None => {
                let new = tempfile::Builder::new().prefix("sluice-replay-").tempdir();
                new.map_err(|error| Failure::file("write", &std::env::temp_dir(), error))?.keep()
            }
        };
        fs::create_dir_all(&directory).map_err(|error| Failure::file("write", &directory, error))?;
        let files: Vec<PathBuf> = names.iter().map(|name| directory.join(format!("{name}.pcap"))).collect();
        let inputs = args.inputs.iter().filter_map(|input| fs::canonicalize(&input.file).ok());
        let inputs: BTreeSet<PathBuf> = inputs.collect();
        for file in files.iter().chain(&args.report).chain(&args.trace) {
            if fs::canonicalize(file).is_ok_and(|path| inputs.contains(&path)) {
                return Err(Failure::file("write", file, "it is one of the inputs"));
            }
            let opened = File::options().append(true).create(true).open(file);
            opened.map_err(|error| Failure::file("write", file, error))?;
        }
        Ok(Self { directory, files })
    }

    /// Copies what the devices have written, each packet with its own stamp.
    fn write(&self, played: &Played, work: &Path) -> Result<(), Failure> {
        for (port, (file, times_ns)) in self.files.iter().zip(&played.sent_ns).enumerate() {
            let copy = || {
                let mut written = BufReader::new(File::open(play::output(work, port))?);
                let mut out = BufWriter::new(File::create(file)?);
                restamp::restamp(&mut written, times_ns, &mut out)?;
                out.flush()
            };
            copy().map_err(|error| Failure::file("write", file, error))?;
        }
        Ok(())
    }
}
