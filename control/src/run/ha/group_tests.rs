//! Three boxes, each with a part in two of three groups, and a real redis-server of each: what is told of a group comes to the box that
//! stands by for it, and to no other.

use std::collections::BTreeSet;
use std::time::Instant as Clock;

use sluice_conntrack::groups::Role;

use super::tests::{PATIENCE, Server, Shards, begin, section_of};
use super::*;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Who is preferred for each group, and who stands by.
const PAIRS: [(usize, usize); 3] = [(0, 1), (1, 2), (2, 0)];

/// The groups of a box, as its file has them: those that it has no part in are left out.
fn groups(own: usize) -> Vec<usize> {
    (0..PAIRS.len()).filter(|group| [PAIRS[*group].0, PAIRS[*group].1].contains(&own)).collect()
}

fn outside(group: usize) -> [u8; 4] {
    [203, 0, 113, 1 + group as u8]
}

struct Node {
    shards: Shards,
    cluster: Cluster,
    /// The groups that it has a part in, by their numbers there.
    groups: Vec<usize>,
}

impl Node {
    fn new(own: usize, servers: &[Server]) -> Self {
        let group = |group: &usize| {
            let (prefer, standby) = PAIRS[*group];
            let [a, b, c, d] = outside(*group);
            let (prefer, standby) = (NAMES[prefer], NAMES[standby]);
            format!(
                "{{name: g{group}, prefer: {prefer}, standby: {standby}, addresses: {{x: {a}.{b}.{c}.{d}/24}}}}"
            )
        };
        let list: Vec<String> = groups(own).iter().map(group).collect();
        let others = (0..NAMES.len()).filter(|other| *other != own);
        let peers: Vec<_> = others.map(|other| (NAMES[other], servers[other].url())).collect();
        let rest = format!(", groups: [{}]", list.join(", "));
        let (shards, cluster) = begin(&section_of(NAMES[own], &servers[own], &peers, &rest));
        Self { shards, cluster, groups: groups(own) }
    }

    /// The number that the box knows a group by.
    fn number(&self, group: usize) -> usize {
        self.groups.iter().position(|it| *it == group).unwrap()
    }

    fn promote(&mut self, group: usize) {
        let number = self.number(group);
        self.cluster.fencings()[number].lock().take();
        let id = GroupId(number as u8);
        self.shards.0.iter_mut().for_each(|(shard, _)| shard.set_role(id, Role::Active));
    }

    /// Hands a group over, as the control thread does.
    fn demote(&mut self, group: usize) {
        let number = self.number(group);
        let fencing = self.cluster.fencings().remove(number);
        fencing.lock().leave();
        let id = GroupId(number as u8);
        self.shards.0.iter_mut().for_each(|(shard, _)| shard.set_role(id, Role::Standby));
        fencing.lock().hand_over();
    }

    /// Connections of a group, by numbers of its own.
    fn open(&mut self, group: usize, numbers: std::ops::Range<u16>) {
        for number in numbers {
            self.shards.open_as(number + 1000 * group as u16, outside(group));
            self.shards.pass_messages();
        }
    }

    /// How many connections of each group it has as its own, or stands by for.
    fn counts(&self, is_standby: bool) -> [usize; 3] {
        let marks: BTreeSet<u32> = self.shards.marks(is_standby);
        [0, 1, 2].map(|group| marks.range(1000 * group..1000 * (group + 1)).count())
    }
}

struct Cluster3([Node; 3]);

impl Cluster3 {
    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut [Node; 3]) -> bool) {
        let begun = Clock::now();
        while !holds(&mut self.0) {
            let status = self.0.each_ref().map(|node| node.cluster.status());
            assert!(begun.elapsed() < PATIENCE, "{what}: {status:#?}");
            for _ in 0..64 {
                self.0.iter_mut().for_each(|node| node.shards.turn());
            }
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

#[test]
fn each_box_stands_by_for_the_groups_that_it_has_a_part_in() {
    let servers = [Server::new(), Server::new(), Server::new()];
    let mut cluster = Cluster3([0, 1, 2].map(|own| Node::new(own, &servers)));
    for (group, (prefer, _)) in PAIRS.iter().enumerate() {
        cluster.0[*prefer].promote(group);
        cluster.0[*prefer].open(group, 0..200 + 100 * group as u16);
    }
    cluster.until("those that stand by to know all", |nodes| {
        nodes.each_ref().map(|node| node.counts(true)) == [[0, 0, 400], [200, 0, 0], [0, 300, 0]]
            && nodes.iter().all(|node| node.cluster.status().peers.iter().all(|peer| peer.up))
    });
    assert_eq!(
        cluster.0.each_ref().map(|node| node.counts(false)),
        [[200, 0, 0], [0, 300, 0], [0, 0, 400]],
        "each has what it is active for"
    );
    let failures = |nodes: &[Node; 3]| -> u64 {
        let peers = nodes.iter().flat_map(|node| node.cluster.status().peers);
        peers.flat_map(|peer| peer.failures).map(|failures| failures.count).sum()
    };
    assert_eq!(failures(&cluster.0), 0);
    // The second group moves, and what it still had to tell with it; the others stay where they are.
    cluster.0[1].open(1, 300..500);
    cluster.0[1].demote(1);
    cluster.until("the handover", |nodes| {
        let number = nodes[2].number(1);
        nodes[2].cluster.fencings()[number].lock().is_offered()
    });
    cluster.0[2].promote(1);
    cluster.until("the one that left to know all", |nodes| {
        nodes[2].counts(false) == [0, 500, 400] && nodes[1].counts(true) == [200, 500, 0]
    });
    // A box that begins anew is told of both, by two boxes.
    cluster.0[0] = Node::new(0, &servers);
    cluster.until("the third group to be known again", |nodes| {
        nodes[0].counts(true) == [0, 0, 400] && nodes[0].cluster.known().len() == 2
    });
    assert_eq!(cluster.0[1].counts(true)[0], 200, "what it had is kept where it was told");
    assert_eq!(failures(&cluster.0), 0);
}
