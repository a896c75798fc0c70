//! `sluice run`: the middlebox itself.
//!
//! The main thread is the control thread: it starts everything in the order that [`start`] shows, then serves
//! requests and signals one by one, and once a second looks after the workers ([`daemon`]). A worker's thread does
//! nothing but packets; both speak over rings alone.

mod daemon;
mod dataplane;
mod log;
mod pools;
mod ports;
mod reload;
mod rules;
mod service;
mod timeouts;
mod workers;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use clap::Args;
use dpdk::lcore;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::info;

use crate::config::{self, ConfigError};
use crate::metrics;
use crate::output::{fail, refuse};
use crate::socket::{Call, Server, SocketError};
use daemon::Daemon;
use dataplane::Dataplane;

/// What the control thread acts on.
#[derive(Debug)]
enum Event {
    /// A client asks.
    Call(Call),
    /// SIGHUP: read the configuration anew.
    Reload,
    /// SIGTERM or SIGINT: end.
    Stop,
}

/// Events that wait for the control thread. More clients than this wait for room.
const WAITING_EVENTS: usize = 64;

/// Why the daemon did not start, or ended.
#[derive(Debug)]
enum RunError {
    /// The configuration is wrong.
    Config(Box<ConfigError>),
    /// There is no control socket.
    Socket(SocketError),
    /// DPDK does not start, or a device does not.
    Dpdk(dpdk::DpdkError),
    /// Something else: what was tried, and why it failed.
    Other(String),
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Config(error) => error.fmt(f),
            RunError::Socket(error) => error.fmt(f),
            RunError::Dpdk(error) => write!(f, "DPDK: {error}"),
            RunError::Other(text) => f.write_str(text),
        }
    }
}

impl From<dpdk::DpdkError> for RunError {
    fn from(error: dpdk::DpdkError) -> RunError {
        RunError::Dpdk(error)
    }
}

/// Run the middlebox until a signal ends it
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  sluice run -c /etc/sluice/sluice.yaml

SIGTERM and SIGINT end it, with every packet sent that was received. SIGHUP
reads the configuration anew, as `sluice reload` does. Under systemd it is a
service of Type=notify, with a watchdog on the workers.")]
pub struct Run {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,
}

impl Run {
    /// Runs until a signal ends it.
    pub fn run(&self) -> ExitCode {
        match start(&self.config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(RunError::Config(error)) => refuse(&error),
            Err(error) => fail(&error.to_string()),
        }
    }
}

fn start(file: &Path) -> Result<(), RunError> {
    let config = config::read(file).map_err(|error| RunError::Config(Box::new(error)))?;
    log::start();
    // Every thread inherits it but the workers', which choose their own: neither a client nor DPDK's interrupts keep
    // packets waiting.
    lcore::pin(usize::from(config.system.cores.control))
        .map_err(|error| RunError::Other(format!("system.cores.control: {error}")))?;

    // First what a second instance would stumble over, so that it ends before it touches a device.
    let (events, received) = mpsc::sync_channel(WAITING_EVENTS);
    watch_signals(events.clone())?;
    let serve = move |call| events.send(Event::Call(call)).is_ok();
    let server = Server::start(&config.control.socket, serve).map_err(RunError::Socket)?;
    metrics::serve(config.metrics.listen).map_err(RunError::Other)?;

    let dataplane = Dataplane::start(&config)?;
    info!(
        "control socket {}, metrics http://{}/metrics",
        config.control.socket.display(),
        config.metrics.listen
    );
    let mut daemon = Daemon::new(file.to_owned(), config, dataplane)?;
    service::ready();
    let end = daemon.serve(&received);

    service::stopping();
    // New clients find no socket from here on, and waiting ones hear that it is over.
    drop(server);
    drop(received);
    daemon.stop()?;
    end
}

fn watch_signals(events: SyncSender<Event>) -> Result<(), RunError> {
    let failed = |error| RunError::Other(format!("signals: {error}"));
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let watch = move || {
        for signal in &mut signals {
            let event = if signal == SIGHUP { Event::Reload } else { Event::Stop };
            if events.send(event).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("control-signals".to_owned()).spawn(watch).map_err(failed)?;
    Ok(())
}
