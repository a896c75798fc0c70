//! Reloads. The file is read on a thread of its own: however long that takes, the control thread looks after the workers
//! and feeds the watchdog. [`needs_restart`] is what a new configuration may not change while packets flow.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use super::background::{Background, Work};
use super::candidate::Candidate;
use super::{Event, RunError};
use crate::config::Config;
use crate::config::Followed;
use crate::socket::protocol::Response;

/// The clients that wait for a reload. One by signal has none.
pub type Askers = Vec<SyncSender<Response>>;

/// What is to be read, as a rule to be put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// What the configured file says.
    Configured,
    /// What another file says, which is to take its place: at once, or when that is confirmed within a time.
    Other {
        /// The file.
        file: PathBuf,
        /// The time.
        confirm_within: Option<Duration>,
    },
    /// What another file says, which is only looked at.
    Considered {
        /// The file.
        file: PathBuf,
    },
}

/// What was read, of what was wanted, and who waits for it.
pub struct Reading<T> {
    /// What was wanted.
    pub wanted: Wanted,
    /// What has come of it.
    pub read: T,
    /// Who waits.
    pub askers: Askers,
}

/// Reloads that were asked for.
pub struct Reloads {
    file: PathBuf,
    events: SyncSender<Event>,
    /// The one whose file is being read.
    reading: Option<Reading<Background<Result<Candidate, RunError>>>>,
    /// What was asked for since that began: the file may have changed behind what was read, so it is read once more.
    next: VecDeque<(Wanted, Askers)>,
}

impl Reloads {
    /// Of this file.
    pub fn new(file: PathBuf, events: SyncSender<Event>) -> Reloads {
        Reloads { file, events, reading: None, next: VecDeque::new() }
    }

    /// Wants one. Who want the configured file to be read anew, one behind the other, share the reading.
    pub fn ask(&mut self, wanted: Wanted, asker: Option<SyncSender<Response>>) {
        match self.next.back_mut() {
            Some((last, askers)) if (&*last, &wanted) == (&Wanted::Configured, &Wanted::Configured) => {
                askers.extend(asker);
            }
            _ => self.next.push_back((wanted, asker.into_iter().collect())),
        }
    }

    /// Begins to read if that is wanted and nothing is being read; `followed` are the network stacks that routes are followed of.
    /// Says whether something is.
    ///
    /// # Errors
    /// There is no thread: why, and who waits in vain.
    pub fn go_on(&mut self, followed: impl FnOnce() -> Vec<Arc<Followed>>) -> Result<bool, (String, Askers)> {
        if self.reading.is_none()
            && let Some((wanted, askers)) = self.next.pop_front()
        {
            let file = match &wanted {
                Wanted::Configured => &self.file,
                Wanted::Other { file, .. } | Wanted::Considered { file } => file,
            };
            let (file, followed) = (file.clone(), followed());
            let read = move || Candidate::read(&file, &followed);
            match Background::start("control-reload", self.events.clone(), Work::Reload, read) {
                Ok(read) => self.reading = Some(Reading { wanted, read, askers }),
                Err(why) => return Err((why.to_string(), askers)),
            }
        }
        Ok(self.reading.is_some())
    }

    /// What was read, and who waits for it. To be asked behind [`Work::Reload`].
    pub fn read(&mut self) -> Option<Reading<Result<Candidate, String>>> {
        let Reading { wanted, read, askers } = self.reading.take()?;
        let read = match read.join() {
            Some(read) => read.map_err(|why| why.to_string()),
            None => Err("reading the configuration failed; this is a fault of sluice".to_owned()),
        };
        Some(Reading { wanted, read, askers })
    }
}

/// The keys that differ and cannot be changed while running. `capacity` is what the table was made for.
pub fn needs_restart(running: &Config, wanted: &Config, capacity: u64) -> Vec<String> {
    let mut keys = Vec::new();
    let mut differs = |key: &str, different: bool| {
        if different {
            keys.push(key.to_owned());
        }
    };
    differs("system.cores", running.system.cores != wanted.system.cores);
    differs("system.idle", running.system.idle != wanted.system.idle);
    differs("system.memory", running.system.memory != wanted.system.memory);
    differs("interfaces", !running.interfaces.keys().eq(wanted.interfaces.keys()));
    for (name, interface) in &wanted.interfaces {
        if let Some(before) = running.interfaces.get(name) {
            differs(&format!("interfaces.{name}.device"), before.device != interface.device);
            differs(&format!("interfaces.{name}.host"), before.host != interface.host);
            differs(&format!("interfaces.{name}.mtu"), before.mtu != interface.mtu);
        }
    }
    differs("routes.follow", running.routes.follow != wanted.routes.follow);
    differs("conntrack.max-entries", wanted.conntrack.max_entries.0 > capacity);
    differs("ha", running.ha != wanted.ha);
    differs("export", running.export != wanted.export);
    differs("metrics.listen", running.metrics != wanted.metrics);
    differs("control.socket", running.control != wanted.control);
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERFACES: &str = "interfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null1'}}";

    fn config(interfaces: &str, rest: &str) -> Config {
        let text = format!("version: 1\n{interfaces}\n{rest}");
        crate::config::parse("test", text.as_bytes()).unwrap()
    }

    #[test]
    fn what_a_shard_works_by_changes_while_running() {
        let running = config(INTERFACES, "conntrack: {max-entries: 1000}");
        let rest = "conntrack: {max-entries: 500, preset: linux, tcp: {loose: false}, timeouts: {icmp: 5}}\n\
                    policy: {default: accept}\nuntracked: [{protocol: udp}]";
        let interfaces =
            "interfaces: {a: {device: 'vdev:net_null0', zone: 3}, b: {device: 'vdev:net_null1'}}";
        assert!(needs_restart(&running, &config(interfaces, rest), 1000).is_empty());
    }

    #[test]
    fn what_was_taken_at_start_does_not() {
        let running = config(INTERFACES, "conntrack: {max-entries: 1000}");
        let cases = [
            (INTERFACES, "system: {cores: {workers: [0]}}", "system.cores"),
            (INTERFACES, "system: {memory: {hugepages: 2G}}", "system.memory"),
            (INTERFACES, "conntrack: {max-entries: 1001}", "conntrack.max-entries"),
            (INTERFACES, "ha: {cluster: c, box: a, engine: {url: 'unix:///tmp/a'}}", "ha"),
            (INTERFACES, "export: {journal: {directory: /tmp/j}}", "export"),
            (INTERFACES, "metrics: {listen: '127.0.0.1:1'}", "metrics.listen"),
            (INTERFACES, "control: {socket: /tmp/other}", "control.socket"),
            ("interfaces: {a: {device: 'vdev:net_null0'}, c: {device: 'vdev:net_null1'}}", "", "interfaces"),
            (
                "interfaces: {a: {device: 'vdev:net_null0', host: true}, b: {device: 'vdev:net_null1'}}",
                "forwarding: routed",
                "interfaces.a.host",
            ),
            (
                "interfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null2'}}",
                "",
                "interfaces.b.device",
            ),
        ];
        for (interfaces, rest, key) in cases {
            let rest = match rest.starts_with("conntrack") {
                true => rest.to_owned(),
                false => format!("conntrack: {{max-entries: 1000}}\n{rest}"),
            };
            assert_eq!(needs_restart(&running, &config(interfaces, &rest), 1000), [key]);
        }
    }
}
