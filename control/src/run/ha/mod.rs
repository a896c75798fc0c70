//! High availability: other boxes are told of this box's connections, and it stands by for theirs.
//!
//! Each box writes into a Redis of its own, by one thread (`writer.rs`), and reads that of its peer by another (`reader.rs`). Both reach
//! the workers over rings alone ([`sluice_engine::replica`]), so that no Redis, whatever it does, keeps a packet waiting.

mod bulk;
mod engine;
mod fence;
mod installer;
mod keys;
mod pace;
mod reader;
mod shared;
mod writer;

#[cfg(test)]
mod forged_tests;
#[cfg(test)]
mod role_tests;
#[cfg(test)]
mod secure_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use sluice_conntrack::Shard;
use sluice_conntrack::replica::{Replicate, Teller};
use sluice_engine::replica::{Incoming, Outgoing, Replica, rings};

use super::RunError;
use super::track_file::Known;
use crate::config::{self, EngineUrl, Ha};
use crate::socket::protocol::{EngineStatus, GroupState, HaStatus, InstallFailures, PeerStatus};
use engine::Address;
pub use fence::Fencing;
use installer::Installer;
use keys::{GROUP, Keys};
pub use reader::Wake;
use reader::{Peer, Reader};
use shared::{Heard, Spoken, Stop};
use writer::Writer;

/// The ends of the workers' rings.
#[derive(Default)]
pub struct Ends {
    outgoing: Vec<Outgoing>,
    incoming: Vec<Incoming>,
}

impl Ends {
    /// Makes the rings of one more worker; gives its own ends.
    pub fn add(&mut self) -> Replica {
        let (replica, outgoing, incoming) = rings();
        self.outgoing.push(outgoing);
        self.incoming.push(incoming);
        replica
    }
}

/// Has a shard, in which no packet was yet, tell others of its connections, and leave room for those of a peer.
///
/// # Errors
/// When the host refuses the address space.
pub fn prepare(ha: &Ha, shard: &mut Shard, entries: u32) -> io::Result<()> {
    let replicate = match ha.replicate {
        config::Replicate::None => None,
        config::Replicate::Assured => Some(Replicate::Assured),
        config::Replicate::All => Some(Replicate::All),
    };
    let teller = replicate.map(|replicate| Teller::new(replicate, entries)).transpose()?;
    shard.tell_by(teller.map(Box::new));
    if ha.groups.is_empty() && !ha.peers.is_empty() {
        shard.set_quota(GROUP, entries / 2);
    }
    for (group, quota) in config::quotas(ha, entries) {
        shard.set_quota(group, quota);
    }
    Ok(())
}

/// The threads of a cluster's box. When it is dropped they end, and what the workers have told until then is written.
pub struct Cluster {
    ha: Ha,
    fencing: Arc<Fencing>,
    spoken: Arc<Spoken>,
    heard: Vec<(String, EngineUrl, Arc<Heard>)>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Begins to write and to read. Who looks after the groups is woken when the peer has become something else.
    ///
    /// # Errors
    /// A password cannot be read, or there is no thread.
    pub fn start(ha: &Ha, ends: Ends, wake: Wake) -> Result<Self, RunError> {
        let failed = |what: &str, error: io::Error| RunError::Other(format!("ha.{what}: {error}"));
        let (spoken, stop) = (Arc::<Spoken>::default(), Arc::<Stop>::default());
        let is_preferred = ha.groups.first().is_some_and(|group| group.prefer == ha.name);
        let fencing = Arc::new(Fencing::new(!ha.groups.is_empty(), is_preferred));
        let mut cluster = Self {
            ha: ha.clone(),
            fencing,
            spoken,
            heard: Vec::new(),
            stop: Arc::clone(&stop),
            threads: Vec::new(),
        };
        let own = Address::of_own(&ha.engine).map_err(|error| failed("engine", error))?;
        let writer = Writer::new(
            own,
            Keys::of(&ha.cluster, &ha.name),
            ha.engine.memory.0,
            ends.outgoing,
            Arc::clone(&cluster.fencing),
            Arc::clone(&cluster.spoken),
            Arc::clone(&stop),
        );
        // One peer at most: the rings to the workers are its reader's.
        if let Some((name, of)) = ha.peers.first_key_value() {
            let address = Address::of_peer(of).map_err(|error| failed(&format!("peers.{name}"), error))?;
            let heard = Arc::<Heard>::default();
            cluster.heard.push((name.clone(), of.url.clone(), Arc::clone(&heard)));
            let installer = Installer::new(ends.incoming, GROUP, Arc::clone(&heard), Arc::clone(&stop));
            let installer = installer.ok_or_else(|| RunError::Other("too many workers".to_owned()))?;
            let peer = Peer { name: name.clone(), address, keys: Keys::of(&ha.cluster, name) };
            let reader = Reader::new(peer, installer, Arc::clone(&cluster.fencing), wake, heard, stop);
            cluster
                .spawn(format!("control-ha-{name}"), || reader.run())
                .map_err(|error| failed("peers", error))?;
        }
        cluster.spawn("control-ha".to_owned(), || writer.run()).map_err(|error| failed("engine", error))?;
        Ok(cluster)
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Which of two boxes is active for the first group.
    pub fn fencing(&self) -> Arc<Fencing> {
        Arc::clone(&self.fencing)
    }

    /// What the box knows of its peer, as far as that matters before it takes over.
    pub fn known(&self) -> Known {
        let fence = self.fencing.lock();
        let is_synced = || self.heard.iter().all(|(.., heard)| heard.is_synced.load(Relaxed));
        match fence.peer() {
            _ if !fence.follows() || self.heard.is_empty() => Known::All,
            None => Known::Nothing,
            Some(_) if fence.is_taken(Instant::now()) && !is_synced() => Known::NotAll,
            Some(_) => Known::All,
        }
    }

    /// How it stands, beside what the workers count.
    pub fn status(&self) -> HaStatus {
        let Self { ha, fencing, spoken, heard, .. } = self;
        let role = fencing.lock().peer().map(GroupState::from);
        HaStatus {
            cluster: ha.cluster.clone(),
            name: ha.name.clone(),
            engine: EngineStatus {
                url: ha.engine.url.to_string(),
                up: spoken.is_up.load(Relaxed),
                term: spoken.term.load(Relaxed),
                sequence: spoken.sequence.load(Relaxed),
                records_sent: spoken.records.load(Relaxed),
                bulks_sent: spoken.bulks.load(Relaxed),
            },
            peers: heard.iter().map(|(name, url, heard)| peer(name, url, heard, role)).collect(),
            ..HaStatus::default()
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.stop();
        for thread in self.threads.drain(..) {
            // One that has panicked has said so.
            let _ = thread.join();
        }
    }
}

fn peer(name: &str, url: &EngineUrl, heard: &Heard, role: Option<GroupState>) -> PeerStatus {
    PeerStatus {
        name: name.to_owned(),
        url: url.to_string(),
        up: heard.is_up.load(Relaxed),
        synced: heard.is_synced.load(Relaxed),
        role,
        term: heard.term.load(Relaxed),
        sequence: heard.sequence.load(Relaxed),
        lag_us: heard.lag_ns().map(|lag_ns| lag_ns / 1000),
        records_installed: heard.installed.load(Relaxed),
        failures: heard
            .failures()
            .map(|(reason, count)| InstallFailures { reason: reason.to_owned(), count })
            .collect(),
        gaps: heard.gaps.load(Relaxed),
        bulks: heard.bulks.load(Relaxed),
    }
}
