//! Two boxes, the threads of each and a real redis-server: what one has, the other knows, whatever happens between them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant as Clock};

use sluice_conntrack::entry::Status;
use sluice_conntrack::expectations::Claims;
use sluice_conntrack::policy::Policy;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Capacity, Configuration, Forwarding, Instant, NewEntry, ShardId, Steering, Tuple};
use sluice_memory::Pages;

use super::engine::Engine;
use super::*;
use crate::config::EngineUrl;

const WORKERS: u16 = 2;
const ENTRIES: u32 = 8192;

/// What all boxes have.
const INTERFACES: &str = "version: 1\ninterfaces: {x: {device: 'vdev:net_null0', addresses: [192.0.2.2/24]}, y: {device: 'vdev:net_null1'}}\n";

/// How long anything may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A redis-server of its own.
pub(super) struct Server {
    directory: tempfile::TempDir,
    arguments: Vec<String>,
    /// How the box reaches it whose it is.
    engine: config::Engine,
    child: Option<Child>,
}

impl Server {
    pub(super) fn new() -> Self {
        let socket = "--port 0 --save '' --appendonly no --unixsocket redis.sock";
        let arguments = socket.split(' ').map(|word| word.replace('\'', "")).collect();
        Self::with(tempfile::tempdir().unwrap(), arguments, None)
    }

    /// One that lives in a directory, listens to `redis.sock` there, and knows the box as a user whose password is in a file.
    pub(super) fn with(
        directory: tempfile::TempDir,
        arguments: Vec<String>,
        login: Option<(String, PathBuf)>,
    ) -> Self {
        let url = EngineUrl::Unix(directory.path().join("redis.sock"));
        let (user, password_file) = login.unzip();
        let engine = config::Engine { url, memory: config::Size(1 << 20), user, password_file };
        let mut server = Self { directory, arguments, engine, child: None };
        server.start();
        server
    }

    fn start(&mut self) {
        let child = Command::new("redis-server")
            .args(&self.arguments)
            .current_dir(self.directory.path())
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server is installed (deploy/dependencies.sh test)"));
        let begun = Clock::now();
        while Engine::connect(&self.address()).is_err() {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not answer");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Has it answer nobody any more, or go on.
    pub(super) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn url(&self) -> EngineUrl {
        self.engine.url.clone()
    }

    /// How the box reaches it.
    pub(super) const fn engine(&self) -> &config::Engine {
        &self.engine
    }

    pub(super) fn address(&self) -> Address {
        Address::of_own(&self.engine).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The shards of a box, and what is between them and its cluster. Nobody works but in [`turn`](Self::turn).
pub(super) struct Shards(pub(super) Vec<(Shard, Replica)>);

impl Shards {
    /// Those of a box of a cluster, and its ends of the rings.
    fn new(ha: &Ha) -> (Self, Ends) {
        let claims = Arc::new(Claims::new(WORKERS, ENTRIES).unwrap());
        let mut ends = Ends::default();
        let shard = |number| {
            let capacity = Capacity { entries: ENTRIES, seed: [1, 2, 3, 4], pages: Pages::Ordinary };
            let settings = Settings::of(Preset::Linux, ENTRIES * u32::from(WORKERS));
            let configuration = if ha.groups.is_empty() {
                Configuration::new(settings, Policy::default(), Forwarding::wire())
            } else {
                let mut config = config::parse("test", INTERFACES.as_bytes()).unwrap();
                config.ha = Some(ha.clone());
                Configuration { settings, ..config::lower(&config).unwrap() }
            };
            let shard = Shard::new(capacity, configuration, Instant::default()).unwrap();
            let steering = Steering::new(ShardId(number), WORKERS).unwrap();
            let shard = shard.with_steering(steering).unwrap();
            let mut shard = shard.with_claims(Arc::clone(&claims)).unwrap();
            prepare(ha, &mut shard, ENTRIES).unwrap();
            (shard, ends.add())
        };
        let shards = (0..WORKERS).map(shard).collect();
        (Self(shards), ends)
    }

    /// A round of each worker.
    pub(super) fn turn(&mut self) {
        for (shard, replica) in &mut self.0 {
            shard.expire(shard.now(), 64);
            replica.exchange(shard);
        }
        self.pass_messages();
    }

    /// Has shards hear what others say to them.
    pub(super) fn pass_messages(&mut self) {
        for (from, to) in [(0, 1), (1, 0)] {
            while let Some(message) = self.0[from].0.next_message(ShardId(to as u16)) {
                self.0[to].0.receive(ShardId(from as u16), message);
            }
        }
    }

    /// Has a connection of this number, known outside by a port of its own.
    pub(super) fn open(&mut self, number: u16) {
        self.open_as(number, [203, 0, 113, 1]);
    }

    /// The same, known by this address.
    pub(super) fn open_as(&mut self, number: u16, outside: [u8; 4]) {
        let [high, low] = number.to_be_bytes();
        let server = [198, 51, 100, 2].into();
        let new = NewEntry {
            original: Tuple::new([10, 0, high, low].into(), server, 17, 4000, 53),
            reply: Tuple::new(server, outside.into(), 17, 53, 5000 + number),
            state: 0,
            status: Status::SEEN_REPLY.union(Status::ASSURED),
            timeout_ms: 3_600_000,
            mark: u32::from(number),
            tags: [0; 2],
        };
        let made = self.0.iter_mut().filter_map(|(shard, _)| shard.insert_entry(&new)).next();
        made.expect("one shard owns it").unwrap();
    }

    /// Ends the connections of these numbers.
    pub(super) fn close(&mut self, numbers: std::ops::Range<u16>) {
        for (shard, _) in &mut self.0 {
            shard.delete(|entry| numbers.contains(&(entry.mark as u16)));
        }
    }

    /// The marks of its connections, of its own or of its peer's.
    pub(super) fn marks(&self, is_standby: bool) -> BTreeSet<u32> {
        let mut marks = BTreeSet::new();
        for (shard, _) in &self.0 {
            let mut next = Some(0);
            while let Some(cursor) = next {
                next = shard.list(cursor, u32::MAX, |_, entry| {
                    if entry.is_standby == is_standby {
                        assert!(marks.insert(entry.mark), "{} is there twice", entry.mark);
                    }
                });
            }
        }
        marks
    }

    fn check(&self) {
        self.0.iter().for_each(|(shard, _)| shard.check_invariants().unwrap());
    }
}

/// A box `a` that is active and a box `b` that stands by for it.
pub(super) struct Pair {
    pub(super) servers: [Server; 2],
    pub(super) active: (Shards, Cluster),
    pub(super) standby: (Shards, Cluster),
}

/// The section of a box whose Redis and whose peer's are these.
fn section(name: &str, own: &Server, peer: &EngineUrl) -> Ha {
    section_with(name, own, peer, "")
}

pub(super) fn section_with(name: &str, own: &Server, peer: &EngineUrl, rest: &str) -> Ha {
    section_of(name, own, &[(if name == "a" { "b" } else { "a" }, peer.clone())], rest)
}

/// The same of a box that has these peers.
pub(super) fn section_of(name: &str, own: &Server, peers: &[(&str, EngineUrl)], rest: &str) -> Ha {
    let peers: Vec<_> = peers.iter().map(|(name, url)| format!("{name}: {{url: '{url}'}}")).collect();
    let (peers, url) = (peers.join(", "), own.url());
    let text = format!(
        "{INTERFACES}ha: {{cluster: test, box: {name}, engine: {{url: '{url}'}}, peers: {{{peers}}} {rest}}}"
    );
    config::parse("test", text.as_bytes()).unwrap().ha.unwrap()
}

pub(super) fn begin(ha: &Ha) -> (Shards, Cluster) {
    let (shards, ends) = Shards::new(ha);
    (shards, Cluster::start(ha, ends, Arc::new(|| ())).unwrap())
}

impl Pair {
    /// With this at the end of the section of each.
    pub(super) fn with(rest: &str) -> Self {
        let servers = [Server::new(), Server::new()];
        let active = begin(&section_with("a", &servers[0], &servers[1].url(), rest));
        let standby = begin(&section_with("b", &servers[1], &servers[0].url(), rest));
        Self { servers, active, standby }
    }

    pub(super) fn new() -> Self {
        Self::with("")
    }

    /// Has both work until something holds.
    pub(super) fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let begun = Clock::now();
        while !holds(self) {
            let status = || format!("{:#?}\n{:#?}", self.active.1.status(), self.standby.1.status());
            assert!(begun.elapsed() < PATIENCE, "{what}: {}", status());
            for _ in 0..64 {
                self.active.0.turn();
                self.standby.0.turn();
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Has both work until the standby has what the active box has, and knows that.
    pub(super) fn until_equal(&mut self, what: &str) {
        self.until(what, |pair| {
            pair.peer().synced && pair.standby.0.marks(true) == pair.active.0.marks(false)
        });
        self.active.0.check();
        self.standby.0.check();
    }

    /// What the standby says of its peer.
    pub(super) fn peer(&self) -> PeerStatus {
        self.standby.1.status().peers.remove(0)
    }

    pub(super) fn failures(&self, reason: &str) -> u64 {
        let failures = self.peer().failures;
        failures.iter().find(|failure| failure.reason == reason).unwrap().count
    }

    pub(super) fn open(&mut self, numbers: std::ops::Range<u16>) {
        for number in numbers {
            self.active.0.open(number);
            self.active.0.turn();
        }
    }
}

#[test]
fn a_standby_has_what_the_active_box_has() {
    let mut pair = Pair::new();
    pair.until_equal("two empty boxes");
    pair.open(0..3000);
    pair.until_equal("those that began");
    assert_eq!(pair.standby.0.marks(true).len(), 3000);
    let signposts: u32 = pair.standby.0.0.iter().map(|(shard, _)| shard.signposts()).sum();
    assert!(
        signposts > 0,
        "some belong to one worker by their original and to the other by their reply tuple"
    );
    pair.active.0.close(500..1500);
    pair.until_equal("those that ended");
    assert_eq!(pair.standby.0.marks(true).len(), 2000);
    let peer = pair.peer();
    assert_eq!((peer.gaps, peer.bulks), (0, 1), "{peer:?}");
    assert!(peer.failures.iter().all(|failure| failure.count == 0), "{peer:?}");
    assert!(peer.records_installed >= 4000, "{peer:?}");
}

#[test]
fn a_standby_that_begins_late_or_anew_is_told_of_all() {
    let mut pair = Pair::new();
    pair.open(0..2000);
    pair.until_equal("at first");
    let ha = section("b", &pair.servers[1], &pair.servers[0].url());
    pair.standby = begin(&ha);
    assert!(pair.standby.0.marks(true).is_empty());
    pair.until_equal("after a restart of the standby");
    assert_eq!(pair.standby.0.marks(true).len(), 2000);
}

#[test]
fn a_redis_that_was_gone_costs_nothing_but_a_bulk() {
    let mut pair = Pair::new();
    pair.open(0..1000);
    pair.until_equal("at first");
    pair.servers[0].kill();
    pair.until("the standby notices", |pair| !pair.peer().up);
    pair.until("the active box notices", |pair| !pair.active.1.status().engine.up);
    pair.active.0.close(0..300);
    pair.open(1000..1500);
    assert_eq!(pair.active.0.marks(false).len(), 1200);
    pair.servers[0].start();
    let before = pair.peer();
    pair.until("a new term", |pair| pair.peer().term > before.term);
    pair.until_equal("when it is back");
    let peer = pair.peer();
    assert!(peer.gaps >= 1 && peer.bulks >= 2, "{peer:?}");
    assert_eq!(pair.standby.0.marks(true).len(), 1200);
}

#[test]
fn an_active_box_that_begins_anew_takes_its_old_connections_along() {
    let mut pair = Pair::new();
    pair.open(0..500);
    pair.until_equal("at first");
    let ha = section("a", &pair.servers[0], &pair.servers[1].url());
    pair.active = begin(&ha);
    pair.open(400..600);
    pair.until_equal("what it has no more is gone");
    assert_eq!(pair.standby.0.marks(true).len(), 200);
}

#[test]
fn a_box_alone_has_nothing_to_wait_for() {
    let server = Server::new();
    let ha = section("a", &server, &"unix:///nonexistent/redis.sock".parse().unwrap());
    let (mut shards, cluster) = begin(&ha);
    (0..100).for_each(|number| shards.open(number));
    let begun = Clock::now();
    while cluster.status().streams[0].records_sent < 100 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", cluster.status());
        shards.turn();
        thread::sleep(Duration::from_millis(1));
    }
    let status = cluster.status();
    assert!(status.engine.up && !status.peers[0].up && !status.peers[0].synced, "{status:?}");
    drop(cluster);
}
