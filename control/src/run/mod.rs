//! `sluice run`: the middlebox itself.
//!
//! The main thread is the control thread: it starts everything in the order that `Run::start` shows, then serves
//! requests and signals one by one, and once a second looks after the workers ([`daemon`]). What may take long, as reading
//! a file, is done by threads of its own ([`background`]). A worker's thread does nothing but packets; it and the control
//! thread speak over rings alone.

mod aftermath;
mod alarms;
mod background;
mod candidate;
mod capture;
mod considered;
mod daemon;
mod dataplane;
mod entries;
mod events;
mod export;
mod follow;
mod group_routes;
mod groups;
mod ha;
mod helpers;
mod host;
mod host_time;
mod in_force;
mod journal;
mod lines;
mod listings;
mod log;
mod named_port;
mod nat_rules;
mod pools;
mod ports;
mod records;
mod reload;
mod rerouting;
mod routes;
mod rules;
mod service;
mod sets;
mod snapshot;
mod sources;
mod startup;
mod state;
mod timeouts;
mod totals;
mod trace;
mod track_file;
mod trial;
mod watches;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use clap::Args;
use dpdk::lcore;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use thiserror::Error;
use tracing::info;

use crate::config::ConfigError;
use crate::config::Followed;
use crate::metrics;
use crate::output::{fail, refuse};
use crate::socket::{Call, Server, SocketError};
use background::Work;
use candidate::Candidate;
use daemon::Daemon;
use dataplane::Dataplane;
use export::Export;
use group_routes::GroupRoutes;
use reload::Wanted;
pub(crate) use reload::needs_restart;
use rerouting::Rerouting;
pub(crate) use routes::get as route_to;
use startup::Startup;
use state::{LastGood, StateDirectory};

/// What the control thread acts on.
#[derive(Debug)]
enum Event {
    /// A client asks.
    Call(Call),
    /// SIGHUP: read the configuration anew.
    Reload,
    /// SIGTERM or SIGINT: end.
    Stop,
    /// Work that was waited for is [done](background::Background).
    Done(Work),
    /// What a network stack has that is [followed](follow), by its number.
    Followed(usize, Arc<Followed>),
    /// Another box has become something else than it was.
    Peer,
}

/// Events that wait for the control thread. More clients than this wait for room.
const WAITING_EVENTS: usize = 64;

/// Why the daemon did not start, or ended.
#[derive(Debug, Error)]
enum RunError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(Box<ConfigError>),
    /// There is no control socket.
    #[error("{0}")]
    Socket(SocketError),
    /// DPDK does not start, or a device does not.
    #[error("DPDK: {0}")]
    Dpdk(#[from] dpdk::DpdkError),
    /// A signal has ended it before it had started.
    #[error("stopped while starting")]
    Stopped,
    /// Something else: what was tried, and why it failed.
    #[error("{0}")]
    Other(String),
}

/// Run the middlebox until a signal ends it
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Example:
  sluice run -c /etc/sluice/sluice.yaml

SIGTERM and SIGINT end it, with every packet sent that was received. SIGHUP
reads the configuration anew, as `sluice reload` does. Under systemd it is a
service of Type=notify, with a watchdog on the workers.

With a state directory, each configuration that comes in force is kept there, as
last-good.yaml. A start with a file that is wrong goes on with that one, and the
log, `sluice stats` and the metric sluice_config_fallback say so; with
--no-fallback it ends, as it does without a state directory.

What SIGTERM ends leaves its connections in the state directory, and the next
start goes on with them: a restart cuts none that is established.")]
pub struct Run {
    /// Configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: PathBuf,

    /// Where what outlives the daemon is kept; systemd's StateDirectory= says it
    #[arg(long, value_name = "DIR", env = "STATE_DIRECTORY")]
    pub state_directory: Option<PathBuf>,

    /// End at once if the configuration file is wrong
    #[arg(long)]
    pub no_fallback: bool,
}

impl Run {
    /// Runs until a signal ends it.
    pub fn run(&self) -> ExitCode {
        match self.start() {
            Ok(()) => ExitCode::SUCCESS,
            Err(RunError::Stopped) => {
                info!("{}", RunError::Stopped);
                ExitCode::SUCCESS
            }
            Err(RunError::Config(error)) => refuse(&error),
            Err(error) => fail(&error.to_string()),
        }
    }

    fn start(&self) -> Result<(), RunError> {
        log::start();
        let state =
            self.state_directory.as_deref().map(StateDirectory::open).transpose().map_err(|error| {
                RunError::Other(format!("--state-directory (or STATE_DIRECTORY): it cannot be made: {error}"))
            })?;
        let fall_back_to = state.as_ref().filter(|_| !self.no_fallback);
        let candidate = Candidate::read_or_fall_back(&self.config, fall_back_to)?;
        let config = &candidate.config;
        // Every thread inherits it but the workers', which choose their own: neither a client nor DPDK's interrupts keep
        // packets waiting.
        lcore::pin(usize::from(config.system.cores.control))
            .map_err(|error| RunError::Other(format!("system.cores.control: {error}")))?;
        let nat_key = state.as_ref().map(StateDirectory::nat_key).transpose();
        let nat_key = nat_key.map_err(|error| RunError::Other(format!("{}: {error}", state::NAT_KEY)))?;
        let last_good = state.clone().map(LastGood::start).transpose();
        let last_good = last_good.map_err(|error| RunError::Other(format!("last-good: {error}")))?;

        // First what a second instance would stumble over, so that it ends before it touches a device.
        let (events, received) = mpsc::sync_channel(WAITING_EVENTS);
        watch_signals(events.clone())?;
        let calls = events.clone();
        let serve = move |call| calls.send(Event::Call(call)).is_ok();
        let server = Server::start(&config.control.socket, serve).map_err(RunError::Socket)?;
        let metrics = metrics::serve(config.metrics.listen).map_err(RunError::Other)?;

        let mut startup = Startup::new(events.clone(), &received);
        let mut dataplane = Dataplane::start(&candidate, nat_key, state.as_ref(), &mut startup)?;
        info!("control socket {}, metrics http://{metrics}/metrics", config.control.socket.display());
        let reload = startup.reload;
        let rerouting = Rerouting::start(&candidate.config, dataplane.ports(), events.clone())?;
        let told = events.clone();
        // Where so many events wait, the control thread is awake.
        let wake = Arc::new(move || drop(told.try_send(Event::Peer)));
        let export = Export::start(&candidate.config, &mut dataplane)?;
        let group_routes = GroupRoutes::start(&candidate.config)?;
        let cluster = dataplane.start_cluster(&candidate.config, wake)?;
        let mut daemon = Daemon::new(
            self.config.clone(),
            candidate,
            last_good,
            (dataplane, export),
            (cluster, group_routes),
            rerouting,
            events,
        );
        service::ready();
        if reload {
            daemon.reload(Wanted::Configured, None);
        }
        let end = daemon.serve(&received);

        service::stopping();
        // New clients find no socket from here on, and waiting ones hear that it is over.
        drop(server);
        drop(received);
        daemon.stop(state.as_ref())?;
        end
    }
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
