//! The links of a box: to which neighbour a packet goes, and what the box itself says to the neighbours.

use std::net::IpAddr;

use dpdk::{Burst, Mbuf, Mempool};
use sluice_conntrack::forward::{MAX_PORTS, MacAddress, Router, is_group, link_local};
use sluice_conntrack::groups::Roles;
use sluice_conntrack::ids::ShardId;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Configuration, DropReason, Forwarding, Instant, PortId, Shard, Verdict};

use crate::announcements::Announcements;
use crate::frame::{Carried, Received};
use crate::host::HostSide;
use crate::mld::{self, Listeners, Report};
use crate::neighbour::{
    AddressConflicts, Due, Heard, Message, NeighbourCounters, NeighbourSnapshot, Neighbours, Told, Wait,
    random_state, read,
};
use crate::own_addresses::OnLink;
use crate::port::WorkerPort;
use crate::ports::Ports;
use crate::role_change::RoleChange;

/// The longest answer in bytes: an echo reply of the largest MTU, behind any tags.
const LONGEST_ANSWER: usize = 9216 + 64;

/// Addresses that are announced at once on a port.
const MAX_ANNOUNCED: usize = 64;

/// A packet that waits for its next hop.
pub(crate) struct Undelivered {
    ingress: PortId,
    mbuf: Mbuf,
    /// That by which it was forwarded.
    verdict: Verdict,
}

/// All ports, and the neighbours behind them.
pub(crate) struct Links {
    pub(crate) ports: Ports,
    /// Their host sides, where they have one.
    pub(crate) hosts: Vec<Option<HostSide>>,
    /// The neighbours of a routed box that is a host on its links.
    pub(crate) neighbours: Option<Neighbours<Undelivered>>,
    /// The groups that the box is in on its links, of which the first worker tells.
    listeners: Listeners,
    /// What the first worker says of groups that the box has become active for.
    announcements: Announcements,
    /// Who else has an address of the box's.
    pub(crate) conflicts: [AddressConflicts; MAX_PORTS],
    /// What the other workers have heard of them from this one.
    told: Told,
    /// Where the packets come from that the box makes itself.
    pub(crate) pool: Mempool,
    /// Where they are written.
    scratch: Box<[u8]>,
}

impl Links {
    /// Those of one of so many workers.
    pub(crate) fn new(
        ports: Vec<WorkerPort>,
        hosts: Vec<Option<HostSide>>,
        pool: Mempool,
        workers: u16,
    ) -> Self {
        let told = Told::new(workers, random_state());
        let listeners = Listeners::new(ports.len(), random_state());
        Self {
            ports: Ports::new(ports),
            hosts,
            neighbours: None,
            listeners,
            announcements: Announcements::default(),
            conflicts: Default::default(),
            told,
            pool,
            scratch: vec![0; LONGEST_ANSWER].into(),
        }
    }

    /// From now on the box is a host on its links, and sends to so many neighbours of each at most.
    pub(crate) fn join(&mut self, shard: &mut Shard, max_neighbours: u32) {
        for (number, port) in (0..).zip(self.ports.iter()) {
            shard.join_link(PortId(number), port.mac);
        }
        self.neighbours = Some(Neighbours::new(self.ports.len(), max_neighbours));
        self.start(shard.configuration());
        self.listeners.announce();
    }

    /// Takes over what the next configuration says about links. Where groups have changed they are reported, and addresses that are
    /// new at a port are announced there: somebody else may have had them, as in a failover by VRRP.
    pub(crate) fn configure(&mut self, shard: &Shard, next: &Configuration) {
        if let (Some(_), Forwarding::Routed(before), Forwarding::Routed(router)) =
            (&self.neighbours, &shard.configuration().forwarding, &next.forwarding)
        {
            if !router.has_groups_of(before) {
                self.listeners.announce();
            }
            if shard.steering().own() == ShardId(0) {
                for port in router.ports() {
                    let Some(mac) = self.ports.get(port).map(|port| port.mac) else { continue };
                    let on_link = OnLink { port, mac, router, roles: shard.roles() };
                    let is_new = |own: &IpAddr| !before.addresses(port).any(|old| old == *own);
                    let has = |own: &IpAddr| shard.roles().has(*own);
                    let new = router.addresses(port).filter(is_new).filter(has).take(MAX_ANNOUNCED);
                    for bytes in new.filter_map(|own| on_link.announcement(own)) {
                        self.ports.send_message(port, &bytes, self.pool);
                    }
                }
            }
        }
        self.start(next);
    }

    /// The box has become something else for a group: where it is active, its first worker announces the group's addresses.
    pub(crate) fn change_role(&mut self, shard: &Shard, change: &mut RoleChange) {
        if shard.steering().own() == ShardId(0) {
            self.announcements.change_role(shard.now(), change);
        }
    }

    /// Begins to resolve neighbours by a configuration.
    fn start(&mut self, configuration: &Configuration) {
        if let (Some(neighbours), Forwarding::Routed(router)) =
            (&mut self.neighbours, &configuration.forwarding)
        {
            neighbours.configure(router, |egress, Undelivered { mbuf, .. }, mac| {
                self.ports.send_to(egress, mbuf, mac);
            });
        }
    }

    /// Sends a packet through `egress`: as it is on a wire, to its next hop on a routed box.
    pub(crate) fn forward(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        egress: PortId,
        packet: Carried,
        verdict: &Verdict,
    ) {
        let Carried { port: ingress, mut mbuf, .. } = packet;
        if self.ports.get(egress).is_none() {
            return self.deliver(shard, egress, &mbuf);
        }
        let (Some(neighbours), Forwarding::Routed(router)) =
            (&mut self.neighbours, &shard.configuration().forwarding)
        else {
            return self.ports.send(egress, mbuf);
        };
        let Some(next) = verdict.next_hop else {
            return shard.count_drops(DropReason::NoRoute, 1);
        };
        if let Some(mac) = neighbours.resolve(now, egress, next) {
            return self.ports.send_to(egress, mbuf, mac);
        }
        if let Some(group) = group_mac(mbuf.head()) {
            return self.ports.send_to(egress, mbuf, group);
        }
        let is_later_fragment = Received::of(ingress, &mut mbuf).is_later_fragment();
        let packet = Undelivered { ingress, mbuf, verdict: *verdict };
        match neighbours.wait(now, egress, next, packet, is_later_fragment) {
            Wait::Asks => ask(&mut self.ports, (router, shard.roles()), egress, next, self.pool),
            Wait::Waits => {}
            Wait::Dropped(packets) => shard.count_drops(DropReason::NoNeighbour, packets),
        }
    }

    /// Hands a packet for the box to the host behind a port. In the replay of a capture there is none.
    #[cold]
    fn deliver(&mut self, shard: &mut Shard, side: PortId, mbuf: &Mbuf) {
        let lost = match self.host(side) {
            Some(host) => (!host.deliver(mbuf)).then_some(DropReason::HostFull),
            None => Some(DropReason::Local),
        };
        if let Some(reason) = lost {
            shard.count_drops(reason, 1);
        }
    }

    /// The host behind a port's host side.
    fn host(&mut self, side: PortId) -> Option<&mut HostSide> {
        host(&mut self.hosts, side)
    }

    /// Receives what the host sends through a port's host side, a few packets at a time.
    pub(crate) fn receive_from_host(&mut self, side: PortId, burst: &mut Burst) {
        let pool = self.pool;
        if let Some(host) = self.host(side) {
            host.receive(burst, pool);
        }
    }

    /// Sends what a packet that came in by `ingress` and ends here is to be answered with, if anything. Gives what a
    /// neighbour says of itself in it where the other workers are to hear that, too.
    pub(crate) fn answer(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        ingress: PortId,
        mut mbuf: Mbuf,
        verdict: &Verdict,
    ) -> Option<Heard> {
        let frame = Received::of(ingress, &mut mbuf);
        if let (Action::Deliver, Some(neighbours), Some(mac), Forwarding::Routed(router)) = (
            verdict.action,
            &mut self.neighbours,
            self.ports.get(ingress).map(|port| port.mac),
            &shard.configuration().forwarding,
        ) {
            if let Some(query) = mld::read(&frame) {
                if query.group.is_none_or(|asked| router.groups(ingress, mac).any(|group| group == asked)) {
                    self.listeners.receive(now, ingress, query);
                }
                // The host is in groups of its own.
                if let Some(host) = host(&mut self.hosts, ingress.host_side()) {
                    let is_copied = host.deliver(&mbuf);
                    self.ports.count_link_messages(ingress, is_copied.into());
                }
                return None;
            }
            if let Some(message) = read(&frame) {
                let on_link = OnLink { port: ingress, mac, router, roles: shard.roles() };
                if let Message::Solicitation { from, target } = message
                    && let Some(bytes) = on_link.answer(from, target)
                {
                    self.ports.send_message(ingress, &bytes, self.pool);
                }
                if let Some(other) = on_link.conflict(message)
                    && let Some(conflicts) = self.conflicts.get_mut(usize::from(ingress.0))
                {
                    conflicts.note(other);
                }
                let heard = on_link.heard(message)?;
                learn(now, neighbours, &mut self.ports, heard);
                return self.told.is_news(now, ingress, heard.speaker).then_some(heard);
            }
        }
        let length = shard.answer(&frame, verdict, &mut self.scratch);
        if let Some(bytes) = length.and_then(|length| self.scratch.get(..length)) {
            send_answer(&mut self.ports, &mut self.hosts, shard, ingress, bytes, self.pool);
        }
        None
    }

    /// Sends a packet that has become the answer to itself back to where it came from.
    #[cold]
    pub(crate) fn reply(&mut self, shard: &mut Shard, ingress: PortId, mbuf: Mbuf) {
        match self.ports.get(ingress) {
            Some(_) => self.ports.send(ingress, mbuf),
            None => self.deliver(shard, ingress, &mbuf),
        }
    }

    /// Learns what another worker has heard of a neighbour.
    pub(crate) fn learn(&mut self, now: Instant, heard: Heard) {
        if let Some(neighbours) = &mut self.neighbours {
            learn(now, neighbours, &mut self.ports, heard);
        }
    }

    /// Sends what workers without a transmit queue have for this one's; gives the number of packets.
    pub(crate) fn collect(&mut self) -> usize {
        self.ports.iter_mut().map(WorkerPort::collect).sum()
    }

    /// Asks for neighbours again that have been silent for long, and gives up those that do not answer: a bounded part of the
    /// work in each round.
    pub(crate) fn expire(&mut self, now: Instant, shard: &mut Shard) {
        self.report_groups(now, shard);
        self.announcements.send(now, shard, &mut self.ports, self.pool);
        let Some(neighbours) = &mut self.neighbours else { return };
        neighbours.expire(now, |due| match due {
            Due::Ask(egress, address) => {
                if let Forwarding::Routed(router) = &shard.configuration().forwarding {
                    ask(&mut self.ports, (router, shard.roles()), egress, address, self.pool);
                }
            }
            Due::GiveUp(Undelivered { ingress, mut mbuf, verdict }) => {
                shard.count_drops(DropReason::NoNeighbour, 1);
                let frame = &mut Received::of(ingress, &mut mbuf);
                let length = shard.answer_undeliverable(frame, &verdict, &mut self.scratch);
                if let Some(bytes) = length.and_then(|length| self.scratch.get(..length)) {
                    send_answer(&mut self.ports, &mut self.hosts, shard, ingress, bytes, self.pool);
                }
            }
        });
        let lost = neighbours.take_lost();
        if lost > 0 {
            shard.count_drops(DropReason::NoNeighbour, lost);
        }
        self.flush(shard);
    }

    /// Sends the next message of a report that is due, if there is one.
    fn report_groups(&mut self, now: Instant, shard: &Shard) {
        let Some((egress, report, before)) = self.listeners.due(now) else { return };
        let is_silent = report == Report::Unsolicited && shard.steering().own() != ShardId(0);
        let (Forwarding::Routed(router), Some(mac), false) =
            (&shard.configuration().forwarding, self.ports.get(egress).map(|port| port.mac), is_silent)
        else {
            return self.listeners.reported(egress, 0);
        };
        let mut groups = router.groups(egress, mac).skip(before).peekable();
        if groups.peek().is_none() {
            return self.listeners.reported(egress, 0);
        }
        let (bytes, reported) = mld::write(report, (link_local(mac), mac), groups);
        self.ports.send_message(egress, &bytes, self.pool);
        self.listeners.reported(egress, reported);
    }

    /// The numbers of neighbours.
    pub(crate) fn neighbours(&self) -> NeighbourCounters {
        self.neighbours.as_ref().map(Neighbours::counters).unwrap_or_default()
    }

    /// Hands over the neighbours in so many slots of the cache from `from` on; gives the slot behind them, `None` at the end.
    pub(crate) fn list_neighbours(
        &self,
        from: u32,
        slots: u32,
        take: impl FnMut(NeighbourSnapshot),
    ) -> Option<u32> {
        self.neighbours.as_ref()?.list(from, slots, take)
    }

    /// Hands all that waits to the devices.
    pub(crate) fn flush(&mut self, shard: &mut Shard) {
        for port in self.ports.iter_mut() {
            port.flush();
            let unsent = port.take_unsent();
            if unsent > 0 {
                shard.count_drops(DropReason::TxFull, unsent);
            }
        }
    }
}

/// The link-layer address of a frame to many, which the host has chosen by the address of their group.
fn group_mac(head: &[u8]) -> Option<MacAddress> {
    head.first_chunk().copied().filter(is_group)
}

/// The host behind a port's host side, of all that there are.
fn host(hosts: &mut [Option<HostSide>], side: PortId) -> Option<&mut HostSide> {
    hosts.get_mut(usize::from(side.behind()?.0))?.as_mut()
}

/// Sends an answer to where the packet came from: the link of a port, or the host behind it.
fn send_answer(
    ports: &mut Ports,
    hosts: &mut [Option<HostSide>],
    shard: &mut Shard,
    to: PortId,
    bytes: &[u8],
    pool: Mempool,
) {
    let lost = if ports.get(to).is_some() {
        (!ports.send_bytes(to, bytes, pool)).then_some(DropReason::NoBuffer)
    } else if let Some(host) = host(hosts, to) {
        (!host.deliver_bytes(bytes)).then_some(DropReason::HostFull)
    } else {
        Some(DropReason::Local)
    };
    if let Some(reason) = lost {
        shard.count_drops(reason, 1);
    }
}

/// Asks for the neighbour that has an address, where the box can ask there.
fn ask(
    ports: &mut Ports,
    (router, roles): (&Router, Roles<'_>),
    port: PortId,
    target: IpAddr,
    pool: Mempool,
) {
    let Some(mac) = ports.get(port).map(|port| port.mac) else { return };
    if let Some(bytes) = (OnLink { port, mac, router, roles }).question(target) {
        ports.send_message(port, &bytes, pool);
    }
}

/// Takes note of what a neighbour says of itself, and sends what has waited for that.
fn learn(now: Instant, neighbours: &mut Neighbours<Undelivered>, ports: &mut Ports, heard: Heard) {
    neighbours.update(now, heard, |Undelivered { mbuf, .. }| {
        ports.send_to(heard.ingress, mbuf, heard.speaker.mac);
    });
}
