//! Many boxes that share groups of addresses (docs/three-boxes.md), each a shard that routes, translates, tells of its connections and
//! installs those of others as it does in a worker; between them logs that are read a little late. What happens to connections when
//! boxes die or are restarted is counted by what becomes of their packets.
//!
//! Not simulated are NICs, neighbours, and how routers find the box that is active: packets of a group go there at once.

use std::collections::{HashSet, VecDeque};
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, ensure};
use sluice_conntrack::forward::{Interface, Route, Router};
use sluice_conntrack::groups::{self, Groups, Role, Takeover};
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Outcome, Policy, Prefix};
use sluice_conntrack::replica::{Installing, Origin, Record, Replicate, Teller};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::{Action, DropReason, State, Verdict};
use sluice_conntrack::{Capacity, Configuration, Forwarding, Instant, Shard};
use sluice_memory::Pages;

use crate::configuration::{INSIDE, OUTSIDE};
use crate::connection::{self, Connection, Endpoint, Step};
use crate::driver::Buffer;

/// How many there are of what.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Boxes.
    pub boxes: usize,
    /// Groups that each is preferred for. It stands by for as many of others.
    pub groups: usize,
    /// Connections of each group.
    pub connections: u32,
}

/// A group, and the box that it is with.
#[derive(Clone, Copy, Debug)]
struct Place {
    prefer: usize,
    standby: usize,
    /// The box that is active for it; `None` where both are dead.
    active: Option<usize>,
}

impl Place {
    /// The other box that has a part in it.
    const fn other(&self, than: usize) -> usize {
        if self.prefer == than { self.standby } else { self.prefer }
    }
}

/// A box.
struct Node {
    shard: Shard,
    is_alive: bool,
    /// The groups that it has a part in, by their numbers there.
    groups: Vec<usize>,
    /// What it has told and when, by group, and the other box has not read.
    log: VecDeque<(Instant, usize, Record)>,
}

/// A connection, of whose group and how the server sees its client.
struct Open {
    group: usize,
    inside: Connection,
    outside: Endpoint,
}

/// What has become of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Those that go on as they were.
    pub survived: usize,
    /// Those whose ends are told at once that they are over.
    pub reset: usize,
    /// Those that nobody answers for.
    pub lost: usize,
}

/// All boxes.
pub struct Boxes {
    scale: Scale,
    nodes: Vec<Node>,
    places: Vec<Place>,
    open: Vec<Open>,
    now: Instant,
    /// How late what a box tells is read.
    lag: Duration,
}

/// The last two bytes of a group's, or a box's, addresses.
const fn bytes(number: usize) -> [u8; 2] {
    (number as u16).to_be_bytes()
}

impl Boxes {
    /// Boxes that are all active for what they are preferred for, without a connection.
    ///
    /// # Errors
    /// The host has too little memory, or there are too few boxes.
    pub fn new(scale: Scale, lag: Duration) -> anyhow::Result<Self> {
        ensure!(scale.boxes > scale.groups, "the groups of a box go to other boxes: more boxes than groups");
        let place = |number: usize| {
            let (prefer, nth) = (number / scale.groups, number % scale.groups);
            // Each group of a box goes to another one, and each box stands by for as many.
            let standby = (prefer + 1 + nth * (scale.boxes - 1) / scale.groups) % scale.boxes;
            Place { prefer, standby, active: Some(prefer) }
        };
        let places: Vec<Place> = (0..scale.boxes * scale.groups).map(place).collect();
        let now = Instant::from_ns(1_000_000_000);
        let mut boxes = Self { scale, nodes: Vec::new(), places, open: Vec::new(), now, lag };
        for number in 0..scale.boxes {
            let mut node = boxes.node(number)?;
            for (id, group) in (0..).map(GroupId).zip(&node.groups) {
                if boxes.places[*group].prefer == number {
                    node.shard.set_role(id, Role::Active);
                }
            }
            boxes.nodes.push(node);
        }
        Ok(boxes)
    }

    /// A box without a connection that stands by for all its groups.
    fn node(&self, number: usize) -> anyhow::Result<Node> {
        let has_part = |place: &Place| [place.prefer, place.standby].contains(&number);
        let groups: Vec<usize> =
            (0..self.places.len()).filter(|group| has_part(&self.places[*group])).collect();
        // Twice as much as the box is active for: its own, and as much of others.
        let entries = 4 * self.scale.connections * self.scale.groups as u32 + 1024;
        let capacity = Capacity { entries, seed: [number as u64, 2, 3, 4], pages: Pages::Ordinary };
        let mut shard = Shard::new(capacity, configuration(number, &groups, entries), self.now)?;
        for id in (0..groups.len() as u8).map(GroupId) {
            shard.set_quota(id, 2 * self.scale.connections);
        }
        shard.tell_by(Some(Box::new(Teller::new(Replicate::Assured, entries)?)));
        Ok(Node { shard, is_alive: true, groups, log: VecDeque::new() })
    }

    /// Opens the connections of all groups.
    ///
    /// # Errors
    /// One cannot begin.
    pub fn open_all(&mut self) -> anyhow::Result<()> {
        let groups = self.places.len();
        for number in 0..self.scale.connections * groups as u32 {
            let group = number as usize % groups;
            let [high, low] = bytes(group);
            let mut inside = Connection::new(1, number, 0);
            inside.client.address = Ipv4Addr::new(10, high, low, 2 + (number / groups as u32 % 250) as u8);
            let node = self.places[group].active.context("a group that nobody is active for")?;
            let (verdict, frame) = self.pass(node, &inside, Step::Open);
            ensure!(verdict.state == Some(State::New), "{:?}", verdict.action);
            let outside = connection::source(&frame);
            for step in [Step::Answer, Step::Original] {
                let from = if step.from_inside() { inside } else { inside.from_outside(outside) };
                let (verdict, _) = self.pass(node, &from, step);
                ensure!(verdict.state == Some(State::Established), "{step:?}: {verdict:?}");
            }
            self.open.push(Open { group, inside, outside });
        }
        Ok(())
    }

    /// A packet through a box; gives it as it leaves.
    fn pass(&mut self, node: usize, connection: &Connection, step: Step) -> (Verdict, connection::Frame) {
        self.now = self.now.after(Duration::from_micros(1));
        let port = if step.from_inside() { INSIDE } else { OUTSIDE };
        let mut frames = [Buffer { bytes: connection.frame(step), port }];
        let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
        let Node { shard, groups, log, .. } = &mut self.nodes[node];
        shard.process(self.now, &mut frames, &mut verdicts);
        while let Some(record) = shard.export() {
            if let Some(GroupId(group)) = shard.told_in(&record) {
                log.push_back((self.now, groups[usize::from(group)], record));
            }
        }
        let [verdict] = verdicts;
        (verdict, frames[0].bytes)
    }

    /// Has a lag pass, and all read that was told.
    ///
    /// # Errors
    /// A record is not installed.
    pub fn settle(&mut self) -> anyhow::Result<()> {
        self.now = self.now.after(self.lag);
        self.read()
    }

    /// Has read what is old enough of what living boxes have told.
    fn read(&mut self) -> anyhow::Result<()> {
        for from in 0..self.nodes.len() {
            while let Some((_, group, record)) =
                self.nodes[from].log.pop_front_if(|(told, ..)| told.after(self.lag) <= self.now)
            {
                let to = self.places[group].other(from);
                if self.nodes[to].is_alive {
                    self.install(to, group, record)?;
                }
            }
        }
        Ok(())
    }

    fn install(&mut self, node: usize, group: usize, record: Record) -> anyhow::Result<()> {
        let id = self.id_of(node, group)?;
        let installing = Installing { record, origin: Origin::Peer(id), is_delegated: false };
        self.nodes[node].shard.install(&installing)?;
        Ok(())
    }

    fn id_of(&self, node: usize, group: usize) -> anyhow::Result<GroupId> {
        let at = self.nodes[node].groups.iter().position(|it| *it == group);
        Ok(GroupId(at.context("a box that has no part in the group")? as u8))
    }

    fn set_role(&mut self, node: usize, group: usize, role: Role) -> anyhow::Result<()> {
        let id = self.id_of(node, group)?;
        self.nodes[node].shard.set_role(id, role);
        Ok(())
    }

    /// A box dies with all that others have not read; each of its groups goes to the box that stands by, if that lives.
    ///
    /// # Errors
    /// None, if the boxes were made here.
    pub fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        self.read()?;
        self.nodes[number].is_alive = false;
        self.nodes[number].log.clear();
        for group in self.nodes[number].groups.clone() {
            if self.places[group].active == Some(number) {
                let other = self.places[group].other(number);
                self.places[group].active = self.nodes[other].is_alive.then_some(other);
                if self.nodes[other].is_alive {
                    self.set_role(other, group, Role::Active)?;
                }
            }
        }
        Ok(())
    }

    /// Hands a group over to the other box, which has all then.
    fn hand_over(&mut self, group: usize) -> anyhow::Result<()> {
        let from = self.places[group].active.context("nobody is active")?;
        let to = self.places[group].other(from);
        ensure!(self.nodes[to].is_alive, "the other box is dead");
        self.set_role(from, group, Role::Standby)?;
        self.settle()?;
        self.set_role(to, group, Role::Active)?;
        self.places[group].active = Some(to);
        Ok(())
    }

    /// A box hands over what it is active for, begins anew with nothing, is told of all, and gets back what it is preferred for.
    ///
    /// # Errors
    /// The other boxes are not there.
    pub fn restart(&mut self, number: usize) -> anyhow::Result<()> {
        let groups = self.nodes[number].groups.clone();
        for group in &groups {
            if self.places[*group].active == Some(number) {
                self.hand_over(*group)?;
            }
        }
        self.nodes[number] = self.node(number)?;
        for group in groups {
            self.tell_all(group, number)?;
            if self.places[group].prefer == number {
                self.hand_over(group)?;
            }
        }
        Ok(())
    }

    /// The box that is active for a group tells another of all its connections.
    fn tell_all(&mut self, group: usize, to: usize) -> anyhow::Result<()> {
        let from = self.places[group].active.context("nobody is active")?;
        let (here, there) = (self.id_of(from, group)?, self.id_of(to, group)?);
        self.nodes[to].shard.begin_bulk(there);
        let mut next = Some(0);
        while let Some(cursor) = next {
            let mut page = Vec::new();
            next = self.nodes[from].shard.tell_page(here, cursor, u32::MAX, |it| page.push(it));
            page.into_iter().try_for_each(|it| self.install(to, group, Record::State(it)))?;
        }
        self.nodes[to].shard.end_bulk(there);
        Ok(())
    }

    /// Has each connection go on, by a packet of its client to the box that is active, and one of its server.
    pub fn go_on(&mut self) -> Fates {
        let mut fates = Fates::default();
        let open = std::mem::take(&mut self.open);
        for Open { group, inside, outside } in &open {
            let fate = match self.places[*group].active {
                Some(node) => self.go_on_at(node, inside, *outside),
                None => Fates { lost: 1, ..Fates::default() },
            };
            fates.survived += fate.survived;
            fates.reset += fate.reset;
            fates.lost += fate.lost;
        }
        self.open = open;
        fates
    }

    fn go_on_at(&mut self, node: usize, inside: &Connection, outside: Endpoint) -> Fates {
        let (original, frame) = self.pass(node, inside, Step::Original);
        let (reply, _) = self.pass(node, &inside.from_outside(outside), Step::Reply);
        let is_same = connection::source(&frame) == outside;
        match (original.action, reply.action) {
            (Action::Forward(_), Action::Forward(_)) if is_same => Fates { survived: 1, ..Fates::default() },
            (Action::Reject(..), _) => Fates { reset: 1, ..Fates::default() },
            _ => Fates { lost: 1, ..Fates::default() },
        }
    }

    /// The connections of the busiest box that lives, as a multiple of what each has while all do.
    pub fn busiest(&self) -> f64 {
        let active = |number| self.places.iter().filter(|place| place.active == Some(number)).count();
        let most = (0..self.nodes.len()).map(active).max().unwrap_or(0);
        most as f64 / self.scale.groups as f64
    }

    /// Whether no two connections are the same outside, whichever box has them.
    pub fn are_apart(&self) -> bool {
        let mut seen = HashSet::new();
        self.open.iter().all(|open| seen.insert((open.outside, open.inside.server)))
    }
}

/// A box with these groups, by their numbers in the order of its file: each has hosts inside and an address outside, as which they are
/// seen.
fn configuration(number: usize, groups: &[usize], entries: u32) -> Configuration {
    let [high, low] = bytes(number);
    let outside = |group: &usize| {
        let [high, low] = bytes(*group);
        Ipv4Addr::new(203, high, low, 1)
    };
    let hosts = |group: &usize| {
        let [high, low] = bytes(*group);
        [0, 255].map(|last| Ipv4Addr::new(10, high, low, last).into())
    };
    let own = |first: u8| (Ipv4Addr::new(first, 255, high, low.wrapping_add(1)).into(), 8);
    let inside = Interface { addresses: vec![own(10)], mtu: 1500, ..Interface::default() };
    let mut addresses = vec![own(203)];
    addresses.extend(groups.iter().map(|group| (outside(group).into(), 8)));
    let uplink = Interface { addresses, mtu: 1500, ..Interface::default() };
    let gateway = Ipv4Addr::new(203, 254, 0, 1).into();
    let default = Route::by(Prefix::new([0, 0, 0, 0].into(), 0), OUTSIDE, Some(gateway));
    let router = Router::new(vec![inside, uplink], [default]);
    let rule = |group: &usize| {
        let [first, _] = hosts(group);
        let matches = Match { source: vec![Prefix::new(first, 24)], ..Match::default() };
        let address = outside(group).into();
        NatRule::new(
            matches,
            Target::Pool(vec![Range { first: address, last: address, ports: PortChoice::Preserve }]),
        )
    };
    let policy = Policy { default: Outcome::Accept, ..Policy::default() };
    let mut settings = Settings::of(Preset::Linux, entries);
    // What a box does not know is not picked up in mid-stream.
    settings.tcp.loose = false;
    let forwarding = Forwarding::Routed(Box::new(router));
    let mut configuration = Configuration::new(settings, policy, forwarding)
        .with_nat(Nat { source: groups.iter().map(rule).collect(), destination: vec![] });
    let group = |group: &usize| {
        let [first, last] = hosts(group);
        groups::Group {
            addresses: vec![(OUTSIDE, outside(group).into())],
            hosts: vec![(first, last)],
            ..groups::Group::default()
        }
    };
    configuration.groups = Groups::new(groups.iter().map(group).collect(), Takeover::default());
    configuration
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCALE: Scale = Scale { boxes: 6, groups: 3, connections: 40 };
    const ALL: usize = 6 * 3 * 40;
    const LAG: Duration = Duration::from_millis(1);

    fn boxes() -> Boxes {
        let mut boxes = Boxes::new(SCALE, LAG).unwrap();
        boxes.open_all().unwrap();
        boxes.settle().unwrap();
        assert_eq!(boxes.go_on(), Fates { survived: ALL, ..Fates::default() });
        assert!(boxes.are_apart());
        boxes
    }

    #[test]
    fn the_groups_of_a_box_that_dies_go_to_different_ones_with_all_connections() {
        let mut boxes = boxes();
        boxes.kill(2).unwrap();
        assert_eq!(boxes.go_on().survived, ALL);
        assert_eq!(boxes.busiest(), 4.0 / 3.0);
        boxes.settle().unwrap();
        // The next one may have what that was active for: what only they had is lost.
        boxes.kill(3).unwrap();
        let fates = boxes.go_on();
        assert_eq!(fates.survived + fates.lost, ALL);
        assert_eq!(fates.lost, 40, "one group had its part in both");
    }

    #[test]
    fn what_nobody_has_read_dies_with_its_box() {
        let mut boxes = Boxes::new(SCALE, Duration::from_secs(1)).unwrap();
        boxes.open_all().unwrap();
        boxes.kill(0).unwrap();
        assert_eq!(boxes.go_on().survived, ALL - 3 * 40);
    }

    #[test]
    fn boxes_that_are_restarted_one_by_one_lose_nothing() {
        let mut boxes = boxes();
        for number in 0..SCALE.boxes {
            boxes.restart(number).unwrap();
            assert_eq!(boxes.go_on().survived, ALL, "after box {number}");
        }
        assert_eq!(boxes.busiest(), 1.0);
    }
}
