//! The thread that asks the witness for the leases of groups, and looks whether the peers' hosts answer.
//!
//! A lease is a key in the Redis of a third host that lasts for three seconds and has the name of the box whose it is. The active box renews it
//! each second; one that is to take over asks for it; one that is on standby gives it back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use redis::RedisResult;
use sluice_conntrack::groups::Role;
use tracing::{info, warn};

use super::engine::{Address, Engine};
use super::lease::LEASE;
use super::member::Member;
use super::reader::Wake;
use super::shared::Stop;
use super::transport::Bounds;

/// How often is looked what is to be done.
const TICK: Duration = Duration::from_millis(20);

/// How often a lease is renewed, and how often a peer's Redis is asked whether it answers.
const RENEWAL: Duration = Duration::from_secs(1);
const PROBE: Duration = Duration::from_millis(250);

/// How long a Redis that is gone is left alone.
const RETRY: Duration = Duration::from_millis(500);

/// Little, for others wait meanwhile.
const WITNESS_BOUNDS: Bounds = bounds(Duration::from_millis(400));
const PEER_BOUNDS: Bounds = bounds(Duration::from_millis(150));

const fn bounds(time: Duration) -> Bounds {
    Bounds { silence: time, time, bytes: 1 << 16 }
}

/// A Redis that is asked now and then.
struct Asked {
    address: Address,
    bounds: Bounds,
    engine: Option<Engine>,
    /// When it was asked last, and when that failed.
    asked: Option<Instant>,
    failed: Option<Instant>,
}

impl Asked {
    fn new(address: Address, bounds: Bounds) -> Self {
        Self { address, bounds, engine: None, asked: None, failed: None }
    }

    /// Whether so long has gone by since it was asked.
    fn is_due(&self, period: Duration, now: Instant) -> bool {
        self.asked.is_none_or(|asked| now.duration_since(asked) >= period)
    }

    /// Asks something, unless it was gone a moment ago.
    fn ask<T>(
        &mut self,
        now: Instant,
        question: impl FnOnce(&mut Engine) -> RedisResult<T>,
    ) -> Option<RedisResult<T>> {
        if self.failed.is_some_and(|failed| now.duration_since(failed) < RETRY) {
            return None;
        }
        self.asked = Some(now);
        let answer =
            match self.engine.take().map_or_else(|| Engine::connect_within(&self.address, self.bounds), Ok) {
                Ok(mut engine) => question(&mut engine).inspect(|_| self.engine = Some(engine)),
                Err(why) => Err(why),
            };
        self.failed = answer.is_err().then(Instant::now);
        Some(answer)
    }
}

/// One who asks.
pub struct Witness {
    /// This box's name, and that of its cluster.
    name: String,
    cluster: String,
    witness: Asked,
    peers: BTreeMap<String, Asked>,
    /// The groups in which another box has a part.
    members: Vec<Arc<Member>>,
    /// Whether the witness answers.
    is_up: Arc<AtomicBool>,
    /// When all leases were renewed last.
    renewed: Option<Instant>,
    wake: Wake,
    stop: Arc<Stop>,
}

impl Witness {
    /// Of the groups of a box, by its name and that of its cluster.
    pub fn new(
        (cluster, name): (&str, &str),
        witness: Address,
        peers: BTreeMap<String, Address>,
        members: &[Arc<Member>],
        is_up: Arc<AtomicBool>,
        (wake, stop): (Wake, Arc<Stop>),
    ) -> Self {
        let asked = |(name, address)| (name, Asked::new(address, PEER_BOUNDS));
        Self {
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            witness: Asked::new(witness, WITNESS_BOUNDS),
            peers: peers.into_iter().map(asked).collect(),
            members: members.iter().filter(|member| member.other.is_some()).cloned().collect(),
            is_up,
            renewed: None,
            wake,
            stop,
        }
    }

    /// Asks until it is over; what the box has then is given back.
    pub fn run(mut self) {
        let mut is_said = false;
        loop {
            let is_over = self.stop.is_over();
            match self.renew() {
                Some(Ok(())) if !self.is_up.swap(true, Relaxed) => info!("ha: the witness answers"),
                Some(Err(why)) if self.is_up.swap(false, Relaxed) || !is_said => {
                    // Said once for each time that it is gone.
                    is_said = true;
                    warn!("ha: the witness: {why}; without it and without its peer this box is not active");
                }
                _ => {}
            }
            if is_over {
                return;
            }
            self.probe();
            if self.members.iter().any(|member| member.fencing.lock().is_cut_off(Instant::now())) {
                (self.wake)();
            }
            self.stop.within(TICK);
        }
    }

    /// Asks for the leases that the box is to have, and gives back those that it is not to, when it is time.
    fn renew(&mut self) -> Option<RedisResult<()>> {
        let now = Instant::now();
        let is_due = self.renewed.is_none_or(|renewed| now.duration_since(renewed) >= RENEWAL);
        let wants = |member: &Arc<Member>| {
            let fence = member.fencing.lock();
            let lease = fence.lease?;
            let is_active = fence.said().1 == Some(Role::Active);
            let (is_to_have, has) = (is_active || lease.is_wanted(), lease.is_held(now));
            (is_due && is_to_have || is_to_have != has).then_some((Arc::clone(member), is_to_have))
        };
        let wanted: Vec<_> = self.members.iter().filter_map(wants).collect();
        if wanted.is_empty() && !is_due {
            return None;
        }
        let (cluster, name) = (&self.cluster, &self.name);
        let answer = self.witness.ask(now, |engine| {
            for (member, is_to_have) in wanted {
                let key = format!("sluice:{cluster}:{}:lease", member.name);
                let asked = Instant::now();
                let is_own = match is_to_have {
                    true => engine.take_lease(&key, name, LEASE)?,
                    false => engine.give_lease_back(&key, name).map(|()| false)?,
                };
                let mut fence = member.fencing.lock();
                if let Some(lease) = &mut fence.lease {
                    if is_own { lease.give(asked) } else { lease.take_away() }
                }
            }
            engine.ping()
        });
        if is_due && let Some(Ok(())) = answer {
            self.renewed = Some(now);
        }
        answer
    }

    /// Asks the peers' Redis whether they answer; often where the box is to take over.
    fn probe(&mut self) {
        for (name, peer) in &mut self.peers {
            let of_peer = || self.members.iter().filter(|member| member.other.as_ref() == Some(name));
            let is_urgent =
                of_peer().any(|member| member.fencing.lock().lease.is_some_and(|it| it.is_wanted()));
            let now = Instant::now();
            if !peer.is_due(if is_urgent { TICK } else { PROBE }, now) {
                continue;
            }
            if let Some(Ok(())) = peer.ask(now, Engine::ping) {
                of_peer().for_each(|member| member.fencing.lock().reach(now));
            }
        }
    }
}
