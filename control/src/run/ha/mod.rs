//! High availability: other boxes are told of this box's connections, and it stands by for theirs.
//!
//! Each box writes into a Redis of its own, a stream for each of its groups (`stream.rs`), by one thread (`writer.rs`), and reads the streams
//! of others by a thread for each group (`reader.rs`). All reach the workers over rings alone ([`sluice_engine::replica`]), so that no
//! Redis, whatever it does, keeps a packet waiting.

mod bulk;
mod engine;
mod fence;
mod installer;
mod keys;
mod lease;
mod member;
mod pace;
mod reader;
mod shared;
mod stream;
mod transport;
mod witness;
mod writer;

#[cfg(test)]
mod forged_tests;
#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod role_tests;
#[cfg(test)]
mod secure_tests;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use sluice_conntrack::Shard;
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::replica::{Replicate, Teller};
use sluice_engine::replica::{Incoming, Outgoing, Replica, rings};

use super::RunError;
use super::track_file::Known;
use crate::config::{self, Ha};
use crate::socket::protocol::{
    EngineStatus, GroupState, HaStatus, InstallFailures, LeaseStatus, PeerStatus, StreamStatus, WitnessStatus,
};
use engine::Address;
pub use fence::Fencing;
use installer::Workers;
use keys::Keys;
use member::Member;
pub use reader::Wake;
use reader::{Peer, Reader};
use shared::Stop;
use stream::Stream;
use witness::Witness;
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
        shard.set_quota(GroupId(0), entries / 2);
    }
    for (group, quota) in config::quotas(ha, entries) {
        shard.set_quota(group, quota);
    }
    Ok(())
}

/// The threads of a cluster's box. When it is dropped they end, and what the workers have told until then is written.
pub struct Cluster {
    ha: Ha,
    /// By the numbers of the groups.
    members: Vec<Arc<Member>>,
    is_up: Arc<AtomicBool>,
    is_witness_up: Arc<AtomicBool>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

impl Cluster {
    /// Begins to write and to read. Who looks after the groups is woken when a peer has become something else.
    ///
    /// # Errors
    /// A password cannot be read, or there is no thread.
    pub fn start(ha: &Ha, ends: Ends, wake: Wake) -> Result<Self, RunError> {
        let failed = |what: &str, error: io::Error| RunError::Other(format!("ha.{what}: {error}"));
        let (is_up, stop) = (Arc::<AtomicBool>::default(), Arc::<Stop>::default());
        let members = Member::all(ha);
        let mut cluster = Self {
            ha: ha.clone(),
            members: members.clone(),
            is_up: Arc::clone(&is_up),
            is_witness_up: Arc::default(),
            stop: Arc::clone(&stop),
            threads: Vec::new(),
        };
        let own = Address::of_own(&ha.engine).map_err(|error| failed("engine", error))?;
        let workers = Workers::new(ends.incoming, Arc::clone(&stop));
        let workers = workers.ok_or_else(|| RunError::Other("too many workers".to_owned()))?;
        for member in &members {
            let Some((name, of)) = member.other.as_ref().and_then(|name| ha.peers.get_key_value(name)) else {
                continue;
            };
            let address = Address::of_peer(of).map_err(|error| failed(&format!("peers.{name}"), error))?;
            let keys = Keys::of(&ha.cluster, name, &member.name);
            let peer = Peer { name: name.clone(), address, keys };
            let (wake, stop) = (Arc::clone(&wake), Arc::clone(&stop));
            let reader = Reader::new(peer, Arc::clone(member), workers.clone(), wake, stop);
            cluster
                .spawn(format!("control-ha-{}", member.name), || reader.run())
                .map_err(|error| failed("peers", error))?;
        }
        if let Some(of) = &ha.witness {
            let witness = cluster.witness(of, wake).map_err(|error| failed("witness", error))?;
            cluster
                .spawn("control-ha-lease".to_owned(), || witness.run())
                .map_err(|error| failed("witness", error))?;
        }
        let stream = |member: &Arc<Member>| {
            let keys = Keys::of(&ha.cluster, &ha.name, &member.name);
            Stream::new(Arc::clone(member), keys, ha.engine.memory.0)
        };
        let writer = Writer::new(own, ends.outgoing, members.iter().map(stream).collect(), is_up, stop);
        cluster.spawn("control-ha".to_owned(), || writer.run()).map_err(|error| failed("engine", error))?;
        Ok(cluster)
    }

    /// Who asks for the leases of the groups.
    fn witness(&self, of: &config::Peer, wake: Wake) -> io::Result<Witness> {
        let Self { ha, members, is_witness_up, stop, .. } = self;
        let peers = ha.peers.iter().map(|(name, of)| Ok((name.clone(), Address::of_peer(of)?)));
        let peers = peers.collect::<io::Result<_>>()?;
        let (names, is_up) = ((ha.cluster.as_str(), ha.name.as_str()), Arc::clone(is_witness_up));
        Ok(Witness::new(names, Address::of_peer(of)?, peers, members, is_up, (wake, Arc::clone(stop))))
    }

    fn spawn(&mut self, name: String, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(thread::Builder::new().name(name).spawn(run)?);
        Ok(())
    }

    /// Which of two boxes is active for each group, by their numbers.
    pub fn fencings(&self) -> Vec<Arc<Fencing>> {
        self.members.iter().map(|member| Arc::clone(&member.fencing)).collect()
    }

    /// What the box knows of the connections of each group, as far as that matters before it takes over.
    pub fn known(&self) -> Vec<Known> {
        let now = Instant::now();
        self.members.iter().map(|member| member.known(now)).collect()
    }

    fn witness_status(&self, of: &config::Peer) -> WitnessStatus {
        let now = Instant::now();
        let lease = |member: &Arc<Member>| {
            let lease = member.fencing.lock().lease?;
            Some(LeaseStatus { group: member.name.clone(), held: lease.is_held(now) })
        };
        WitnessStatus {
            url: of.url.to_string(),
            up: self.is_witness_up.load(Relaxed),
            leases: self.members.iter().filter_map(lease).collect(),
        }
    }

    /// How it stands, beside what the workers count.
    pub fn status(&self) -> HaStatus {
        let Self { ha, members, is_up, .. } = self;
        HaStatus {
            cluster: ha.cluster.clone(),
            name: ha.name.clone(),
            engine: EngineStatus { url: ha.engine.url.to_string(), up: is_up.load(Relaxed) },
            streams: members.iter().map(|member| stream(member)).collect(),
            peers: members.iter().filter_map(|member| peer(member, ha)).collect(),
            witness: ha.witness.as_ref().map(|of| self.witness_status(of)),
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

fn stream(member: &Member) -> StreamStatus {
    let Member { name, spoken, .. } = member;
    StreamStatus {
        group: name.clone(),
        term: spoken.term.load(Relaxed),
        sequence: spoken.sequence.load(Relaxed),
        records_sent: spoken.records.load(Relaxed),
        bulks_sent: spoken.bulks.load(Relaxed),
    }
}

fn peer(member: &Member, ha: &Ha) -> Option<PeerStatus> {
    let (name, of) = ha.peers.get_key_value(member.other.as_ref()?)?;
    let heard = &member.heard;
    Some(PeerStatus {
        name: name.clone(),
        group: member.name.clone(),
        url: of.url.to_string(),
        up: heard.is_up.load(Relaxed),
        synced: heard.is_synced.load(Relaxed),
        role: member.peer_role().map(GroupState::from),
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
    })
}
