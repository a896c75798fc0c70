//! Two boxes that decide about a group by what they hear of each other, over links that are late and cut, and whoever promotes and demotes them.

use std::collections::VecDeque;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::replica::{EntryKind, Header};

use super::*;

/// A step of time, in which anything happens once.
const STEP: Duration = Duration::from_millis(1);

/// Steps between two heartbeats, and those that an entry of a stream is on its way at most.
const HEARTBEAT: u64 = 10;
const LATE: u64 = 5;

/// Steps after which boxes that hear each other have come to one.
const SETTLED: u64 = 200;

/// A box, and what it has said that has not arrived.
struct Node {
    groups: Groups,
    fencing: Arc<Fencing>,
    role: Role,
    /// How often it has announced its addresses.
    announced: u32,
    said: Option<(u32, Option<Role>)>,
    stream: VecDeque<(u64, Header)>,
}

impl Node {
    fn new(name: &str) -> Node {
        let text = "version: 1\ninterfaces: {x: {device: 'vdev:net_null0', addresses: [192.0.2.2/24]}}\n\
             ha: {cluster: c, box: a, engine: {url: 'unix:///a'}, peers: {b: {url: 'unix:///b'}},
                  groups: [{name: g, prefer: a, standby: b, addresses: {x: 192.0.2.1/24}}]}"
            .replace("box: a", &format!("box: {name}"))
            .replace("peers: {b", if name == "a" { "peers: {b" } else { "peers: {a" });
        let config = crate::config::parse("test", text.as_bytes()).unwrap();
        let fencing = Arc::new(Fencing::new(true, name == "a"));
        let groups = Groups::start(&config, &[Arc::clone(&fencing)], &mut |_, _| Ok(()));
        Node { groups, fencing, role: Role::Standby, announced: 0, said: None, stream: VecDeque::new() }
    }

    /// Promotes or demotes it.
    fn tell(&mut self, role: Role, is_forced: bool, now: Instant) -> Result<Response, String> {
        let Node { groups, role: is, .. } = self;
        groups.change("g", role, is_forced, now, &mut |_, role| {
            *is = role;
            Ok(())
        })
    }

    fn heed(&mut self, now: Instant) {
        let Node { groups, role: is, announced, .. } = self;
        groups.heed_peer(now, &mut |_, role| {
            *is = role;
            *announced += u32::from(role == Role::Active);
            Ok(())
        });
    }

    /// Says what it is, as its writer does.
    fn speak(&mut self, step: u64, delay: u64) {
        let mut fence = self.fencing.lock();
        let (said, is_last) = (fence.said(), fence.is_handing_over());
        fence.handed_over();
        let said = if is_last { fence.said() } else { said };
        let kind = match (is_last, self.said == Some(said)) {
            (true, _) => EntryKind::Handover,
            (false, false) => EntryKind::Role,
            (false, true) if step.is_multiple_of(HEARTBEAT) => EntryKind::Heartbeat,
            (false, true) => return,
        };
        self.said = Some(said);
        let header = Header { term: said.0, sequence: step, sent_ns: step, kind, role: said.1 };
        let due = self.stream.back().map_or(step, |(due, _)| *due).max(step + delay);
        self.stream.push_back((due, header));
    }
}

struct Pair {
    nodes: [Node; 2],
    begin: Instant,
    step: u64,
    random: ChaCha8Rng,
    /// Whether what each says does not arrive; it is read when the link is back.
    is_cut: [bool; 2],
}

impl Pair {
    fn new(seed: u64) -> Pair {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Pair { nodes: ["a", "b"].map(Node::new), begin: Instant::now(), step: 0, random, is_cut: [false; 2] }
    }

    fn now(&self) -> Instant {
        self.begin + STEP * self.step as u32
    }

    fn pass(&mut self, steps: u64) {
        for _ in 0..steps {
            self.step += 1;
            let (now, step) = (self.now(), self.step);
            for from in 0..2 {
                let delay = self.random.random_range(0..=LATE);
                self.nodes[from].speak(step, delay);
                while !self.is_cut[from]
                    && let Some((_, header)) = self.nodes[from].stream.pop_front_if(|(due, _)| *due <= step)
                {
                    self.nodes[1 - from].fencing.lock().hear(&header, now);
                }
            }
            self.nodes.iter_mut().for_each(|node| node.heed(now));
        }
    }

    fn tell(&mut self, node: usize, role: Role, is_forced: bool) -> Result<Response, String> {
        let now = self.now();
        self.nodes[node].tell(role, is_forced, now)
    }

    fn roles(&self) -> [Role; 2] {
        self.nodes.each_ref().map(|node| node.role)
    }

    fn state(&self, node: usize) -> GroupState {
        self.nodes[node].groups.status()[0].state
    }
}

use Role::{Active, Standby};

#[test]
fn a_promotion_waits_while_another_box_is_active() {
    let mut pair = Pair::new(1);
    pair.pass(20);
    pair.tell(0, Active, false).unwrap();
    pair.pass(20);
    assert_eq!(pair.roles(), [Active, Standby]);
    let refused = pair.tell(1, Active, false).unwrap_err();
    assert!(refused.contains("another box says that it is active for group `g`"), "{refused}");
    pair.pass(SETTLED);
    assert_eq!((pair.roles(), pair.state(1)), ([Active, Standby], GroupState::Waiting));
    // It is silent from now on.
    pair.is_cut = [true; 2];
    pair.pass(50);
    assert_eq!(pair.roles(), [Active, Standby]);
    pair.pass(50);
    assert_eq!(pair.roles(), [Active, Active], "nobody can tell it from a dead one");
    let announced = pair.nodes[1].announced;
    pair.is_cut = [false; 2];
    pair.pass(20);
    assert_eq!(
        (pair.roles(), pair.state(0)),
        ([Standby, Active], GroupState::Waiting),
        "the later one stays"
    );
    assert_eq!(pair.nodes[0].groups.status()[0].depositions, 1);
    assert_eq!(pair.nodes[1].announced, announced + 1, "neighbours may have heard the other one last");
    // Who was demoted does not wait.
    pair.tell(0, Standby, false).unwrap();
    pair.is_cut[1] = true;
    pair.pass(SETTLED);
    assert_eq!((pair.roles(), pair.state(0)), ([Standby, Active], GroupState::Standby));
}

#[test]
fn who_is_demoted_hands_over() {
    let mut pair = Pair::new(2);
    pair.tell(0, Active, false).unwrap();
    pair.pass(20);
    for (from, to) in [(0, 1), (1, 0), (0, 1)] {
        pair.tell(from, Standby, false).unwrap();
        assert_eq!(pair.roles(), [Standby; 2]);
        pair.pass(20);
        assert_eq!((pair.nodes[from].role, pair.nodes[to].role), (Standby, Active));
    }
    let takeovers = pair.nodes.each_ref().map(|node| node.groups.status()[0].takeovers);
    assert_eq!(takeovers, [2, 2]);
}

#[test]
fn whoever_is_promoted_by_force_stays() {
    let mut pair = Pair::new(3);
    pair.tell(0, Active, false).unwrap();
    pair.pass(20);
    pair.tell(1, Active, true).unwrap();
    pair.pass(20);
    assert_eq!(pair.roles(), [Standby, Active]);
}

#[test]
fn both_are_active_only_while_they_do_not_hear_each_other() {
    for seed in 0..200 {
        let mut pair = Pair::new(seed);
        let mut heard = 0;
        for _ in 0..3000 {
            let (node, roll) = (pair.random.random_range(0..2), pair.random.random_range(0..600));
            match roll {
                0..4 => drop(pair.tell(node, Active, roll == 0)),
                4 | 5 => drop(pair.tell(node, Standby, false)),
                6 | 7 => pair.is_cut[node] = !pair.is_cut[node],
                8 => {
                    let least = pair.random.random_range(0..2000);
                    pair.nodes[node].fencing.lock().begin_stream(least);
                }
                _ => {}
            }
            let is_quiet = roll > 8;
            heard = if is_quiet && pair.is_cut == [false; 2] { heard + 1 } else { 0 };
            pair.pass(1);
            assert!(heard < 20 || pair.roles() != [Active; 2], "seed {seed}, step {}", pair.step);
        }
        pair.is_cut = [false; 2];
        let was_wanted = (0..2).any(|node| pair.state(node) != GroupState::Standby);
        pair.pass(SETTLED);
        let active = pair.roles().iter().filter(|role| **role == Active).count();
        assert!(active == 1 || active == 0 && !was_wanted, "seed {seed}: {:?}", pair.roles());
    }
}
