//! The cache itself: a table of neighbours, and for each port and state the queue in which they wait for their time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ahash::RandomState;
use sluice_conntrack::answer::Pace;
use sluice_conntrack::forward::{MacAddress, Router};
use sluice_conntrack::{Instant, PortId};

use super::message::{Heard, Speaker};
use super::queue::{Link, Queue};
use super::random_state;
use super::state::{MAX_INCOMPLETE, MAX_PERMANENT, MAX_UNUSED, NeighbourCounters, NeighbourSnapshot, State};
use super::waiting::{Fragments, Waiting};

/// How often a neighbour is asked for before it is given up (RFC 4861 section 10).
const TRIES: u8 = 3;
/// How long what a neighbour said is good without asking (RFC 4861 section 10).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long a neighbour that nobody sends to is remembered beyond that.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// How long a question waits for its answer (RFC 4861 section 10).
const INTERVAL: Duration = Duration::from_secs(1);
/// How often neighbours whose time has come are looked for, and how many of a port and a state at once.
const SLICE_INTERVAL: Duration = Duration::from_millis(1);
const SLICE: usize = 4;

/// What is known about one neighbour, and the packets that wait for it.
#[derive(Debug)]
struct Neighbour<P> {
    port: PortId,
    address: IpAddr,
    mac: MacAddress,
    state: State,
    /// Since when it waits in the queue of its state.
    since: Instant,
    /// Questions since it last spoke.
    tries: u8,
    /// Whether packets have gone there since it last spoke.
    used: bool,
    waiting: Waiting<P>,
}

/// What a port's neighbours wait in, and how fast they are asked.
#[derive(Debug)]
struct PortQueues {
    /// By [`State`]. All in one wait for the same time, so that the first is the next whose time has come.
    queues: [Queue; State::ALL.len()],
    /// Questions for neighbours that are not known.
    resolution: Pace,
    /// Questions to neighbours that are.
    probing: Pace,
}

/// What becomes of a packet to a neighbour that is not known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// It waits, and the neighbour is to be asked for.
    Asks,
    /// It waits for an answer to a question that was asked before.
    Waits,
    /// There is no room for it to wait, or no more may be asked for now: so many packets are lost, fragments of its datagram
    /// that have waited among them.
    Dropped(u64),
}

/// What the cache asks of its owner.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due<P> {
    /// To ask for a neighbour.
    Ask(PortId, IpAddr),
    /// To tell whoever sent this packet that it cannot arrive.
    GiveUp(P),
}

/// The neighbours of all ports. `P` is a packet.
#[derive(Debug)]
pub(crate) struct Neighbours<P> {
    by_address: HashMap<(PortId, IpAddr), u32, RandomState>,
    neighbours: Vec<Neighbour<P>>,
    /// Those that wait behind the packets of neighbours.
    fragments: Fragments<P>,
    links: Vec<Link>,
    free: Queue,
    ports: Vec<PortQueues>,
    /// Neighbours of a port that packets go to, at most.
    max_in_use: u32,
    evictions: [u64; State::ALL.len()],
    /// Packets whose neighbour gave way, and that nobody was told of yet.
    lost: u64,
    looked_at: Instant,
}

impl<P> Neighbours<P> {
    /// No neighbours of so many ports yet. Packets go to so many of each at most.
    pub(crate) fn new(ports: usize, max_in_use: u32) -> Self {
        let each = (MAX_INCOMPLETE + MAX_UNUSED + max_in_use) as usize;
        let most = ports * each + MAX_PERMANENT as usize;
        let mut links = vec![Link::LOOSE; most];
        let mut free = Queue::EMPTY;
        (0..most as u32).for_each(|slot| free.push(&mut links, slot));
        let none = || PortQueues {
            queues: [Queue::EMPTY; _],
            resolution: Pace::default(),
            probing: Pace::default(),
        };
        Self {
            // Half empty at most, so that the map never has to grow.
            by_address: HashMap::with_capacity_and_hasher(2 * most, random_state()),
            neighbours: std::iter::repeat_with(Neighbour::none).take(most).collect(),
            fragments: Fragments::new(),
            links,
            free,
            ports: std::iter::repeat_with(none).take(ports).collect(),
            max_in_use,
            evictions: [0; _],
            lost: 0,
            looked_at: Instant::default(),
        }
    }

    /// Takes over the neighbours that the operator knows, in place of those of an earlier configuration. `release` gets each
    /// packet that has waited for one of them, and where it goes.
    pub(crate) fn configure(&mut self, router: &Router, mut release: impl FnMut(PortId, P, MacAddress)) {
        for port in 0..self.ports.len() {
            while let Some(slot) = self.ports[port].queues[State::Permanent as usize].first() {
                self.remove(slot);
            }
        }
        let ports = self.ports.len();
        let known = router.neighbours.iter().filter(|known| usize::from(known.port.0) < ports);
        for known in known.take(MAX_PERMANENT as usize) {
            let before = self.by_address.get(&(known.port, known.address)).copied();
            let waiting = before.map(|slot| self.remove(slot));
            self.insert(Instant::default(), known.port, known.address, State::Permanent, known.mac);
            if let Some(waiting) = waiting {
                waiting.release(&mut self.fragments, |packet| release(known.port, packet, known.mac));
            }
        }
    }

    /// Where a packet to a neighbour goes, if that is known.
    #[inline]
    pub(crate) fn resolve(&mut self, now: Instant, port: PortId, address: IpAddr) -> Option<MacAddress> {
        let slot = *self.by_address.get(&(port, address))?;
        let neighbour = &mut self.neighbours[slot as usize];
        neighbour.used = true;
        match neighbour.state {
            State::Reachable | State::Probe | State::Permanent => Some(neighbour.mac),
            State::Incomplete => None,
            State::Stale => {
                let mac = neighbour.mac;
                neighbour.tries = 0;
                self.enter(now, slot, State::Probe);
                Some(mac)
            }
        }
    }

    /// The MAC address of a neighbour, if it is known; nothing is done for that.
    pub(crate) fn peek(&self, port: PortId, address: IpAddr) -> Option<MacAddress> {
        let slot = *self.by_address.get(&(port, address))?;
        let neighbour = self.neighbours.get(slot as usize)?;
        (neighbour.state != State::Incomplete).then_some(neighbour.mac)
    }

    /// Has a packet wait for a neighbour that is not known. The fragments of a datagram come one behind the other: those behind
    /// the first wait where it does.
    #[cold]
    pub(crate) fn wait(
        &mut self,
        now: Instant,
        port: PortId,
        address: IpAddr,
        packet: P,
        is_later_fragment: bool,
    ) -> Wait {
        if let Some(slot) = self.by_address.get(&(port, address)) {
            let waiting = &mut self.neighbours[*slot as usize].waiting;
            return match waiting.push(&mut self.fragments, packet, is_later_fragment) {
                0 => Wait::Waits,
                lost => Wait::Dropped(lost),
            };
        }
        if is_later_fragment
            || !self.ports.get_mut(usize::from(port.0)).is_some_and(|port| port.resolution.take(now))
        {
            return Wait::Dropped(1);
        }
        let Some(slot) = self.insert(now, port, address, State::Incomplete, MacAddress::default()) else {
            return Wait::Dropped(1);
        };
        // The first question is asked as the first packet comes.
        self.neighbours[slot as usize].tries = 1;
        self.neighbours[slot as usize].waiting.push(&mut self.fragments, packet, false);
        Wait::Asks
    }

    /// Takes note of what a neighbour says of itself; `release` gets the packets that waited for it, in order. One that nobody has
    /// asked for is remembered only if it asked for the box.
    #[cold]
    pub(crate) fn update(&mut self, now: Instant, heard: Heard, release: impl FnMut(P)) {
        let Heard { ingress, speaker: Speaker { address, mac }, to_us, overrides } = heard;
        let Some(slot) = self.by_address.get(&(ingress, address)).copied() else {
            if to_us {
                self.insert(now, ingress, address, State::Stale, mac);
            }
            return;
        };
        let neighbour = &mut self.neighbours[slot as usize];
        let contradicts = neighbour.mac != mac && !overrides;
        let state = match neighbour.state {
            State::Permanent => return,
            // It is asked itself before long (RFC 4861 section 7.2.5).
            State::Reachable if contradicts => State::Probe,
            State::Stale | State::Probe if contradicts => return,
            State::Stale => State::Stale,
            State::Incomplete | State::Reachable | State::Probe => State::Reachable,
        };
        if !contradicts || neighbour.state == State::Incomplete {
            neighbour.mac = mac;
        }
        neighbour.tries = 0;
        neighbour.used = false;
        let waiting = std::mem::replace(&mut neighbour.waiting, Waiting::new());
        self.enter(now, slot, state);
        waiting.release(&mut self.fragments, release);
    }

    /// Looks for neighbours whose time has come, a few at a time: hands over what is to be done about each that is to be
    /// asked or given up, and forgets those that nobody needs.
    pub(crate) fn expire(&mut self, now: Instant, mut handle: impl FnMut(Due<P>)) {
        if now.since(self.looked_at) < SLICE_INTERVAL {
            return;
        }
        self.looked_at = now;
        for port in 0..self.ports.len() {
            for (state, lifetime) in [
                (State::Incomplete, INTERVAL),
                (State::Reachable, REACHABLE),
                (State::Stale, FORGOTTEN),
                (State::Probe, INTERVAL),
            ] {
                for _ in 0..SLICE {
                    let first = self.ports[port].queues[state as usize].first();
                    let is_due = |slot: &u32| now.since(self.neighbours[*slot as usize].since) >= lifetime;
                    let Some(slot) = first.filter(is_due) else { break };
                    if !self.come_to_time(now, slot, &mut handle) {
                        break;
                    }
                }
            }
        }
    }

    /// Does what is due with a neighbour. False where it would be asked, and too many are already.
    fn come_to_time(&mut self, now: Instant, slot: u32, handle: &mut impl FnMut(Due<P>)) -> bool {
        let Neighbour { port, state, used, tries, .. } = self.neighbours[slot as usize];
        let pace = &mut self.ports[usize::from(port.0)];
        match state {
            State::Reachable if !used => self.enter(now, slot, State::Stale),
            State::Incomplete | State::Probe if tries >= TRIES => {
                self.remove(slot).release(&mut self.fragments, |packet| handle(Due::GiveUp(packet)));
            }
            State::Incomplete => {
                if !pace.resolution.take(now) {
                    return false;
                }
                self.ask(now, slot, State::Incomplete, handle);
            }
            State::Reachable | State::Probe => {
                if !pace.probing.take(now) {
                    return false;
                }
                self.ask(now, slot, State::Probe, handle);
            }
            State::Stale => {
                self.remove(slot).release(&mut self.fragments, drop);
            }
            State::Permanent => {}
        }
        true
    }
}

impl<P> Neighbours<P> {
    /// Has a question asked once more, and the neighbour wait for the answer.
    fn ask(&mut self, now: Instant, slot: u32, state: State, handle: &mut impl FnMut(Due<P>)) {
        let neighbour = &mut self.neighbours[slot as usize];
        neighbour.tries += 1;
        let (port, address) = (neighbour.port, neighbour.address);
        self.enter(now, slot, state);
        handle(Due::Ask(port, address));
    }

    /// The numbers of neighbours, and of those that had to give way.
    pub(crate) fn counters(&self) -> NeighbourCounters {
        let entries =
            State::ALL.map(|state| self.ports.iter().map(|port| port.queues[state as usize].len()).sum());
        NeighbourCounters { entries, evictions: self.evictions, waiting: self.fragments.waiting() }
    }

    /// Hands over the neighbours in so many slots from `from` on; gives the slot behind them, `None` at the end.
    pub(crate) fn list(&self, from: u32, slots: u32, mut take: impl FnMut(NeighbourSnapshot)) -> Option<u32> {
        let end = from.saturating_add(slots);
        for (slot, neighbour) in (from..end).zip(self.neighbours.iter().skip(from as usize)) {
            let Neighbour { port, address, mac, state, .. } = *neighbour;
            if self.by_address.get(&(port, address)) == Some(&slot) {
                let mac = (state != State::Incomplete).then_some(mac);
                take(NeighbourSnapshot { port, address, mac, state });
            }
        }
        ((end as usize) < self.neighbours.len()).then_some(end)
    }

    /// Whether each slot is free, or in one queue and found.
    #[cfg(test)]
    pub(super) fn is_consistent(&self) -> bool {
        let all: u32 = self.counters().entries.iter().sum();
        self.by_address.len() == all as usize && self.links.len() == (all + self.free.len()) as usize
    }

    /// Packets whose neighbour gave way since the last time somebody asked.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Puts a new neighbour into the cache. `None` where there is no such port, or too many that the operator has set.
    fn insert(
        &mut self,
        now: Instant,
        port: PortId,
        address: IpAddr,
        state: State,
        mac: MacAddress,
    ) -> Option<u32> {
        self.ports.get(usize::from(port.0))?;
        self.make_room(port, state);
        let slot = self.free.first()?;
        self.free.remove(&mut self.links, slot);
        self.neighbours[slot as usize] =
            Neighbour { port, address, mac, state, since: now, ..Neighbour::none() };
        self.ports[usize::from(port.0)].queues[state as usize].push(&mut self.links, slot);
        self.by_address.insert((port, address), slot);
        Some(slot)
    }

    /// Moves a neighbour to the end of the queue of a state.
    fn enter(&mut self, now: Instant, slot: u32, state: State) {
        let Neighbour { port, state: before, .. } = self.neighbours[slot as usize];
        let number = usize::from(port.0);
        self.ports[number].queues[before as usize].remove(&mut self.links, slot);
        self.make_room(port, state);
        self.ports[number].queues[state as usize].push(&mut self.links, slot);
        let neighbour = &mut self.neighbours[slot as usize];
        (neighbour.state, neighbour.since) = (state, now);
    }

    /// Has the oldest neighbour of a state's kind give way, if there is no room for another.
    fn make_room(&mut self, port: PortId, state: State) {
        let (kind, most) = state.kind(self.max_in_use);
        let queues = &self.ports[usize::from(port.0)].queues;
        if kind.iter().map(|state| queues[*state as usize].len()).sum::<u32>() < most {
            return;
        }
        if let Some(oldest) = kind.iter().find_map(|state| queues[*state as usize].first()) {
            self.evictions[self.neighbours[oldest as usize].state as usize] += 1;
            self.lost += self.remove(oldest).release(&mut self.fragments, drop);
        }
    }

    /// Forgets a neighbour; gives the packets that have waited for it.
    fn remove(&mut self, slot: u32) -> Waiting<P> {
        let Neighbour { port, address, state, waiting, .. } =
            std::mem::replace(&mut self.neighbours[slot as usize], Neighbour::none());
        self.by_address.remove(&(port, address));
        self.ports[usize::from(port.0)].queues[state as usize].remove(&mut self.links, slot);
        self.free.push(&mut self.links, slot);
        waiting
    }
}

impl<P> Neighbour<P> {
    /// What stands in a free slot.
    const fn none() -> Self {
        Self {
            port: PortId(0),
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            mac: [0; 6],
            state: State::Incomplete,
            since: Instant::from_ns(0),
            tries: 0,
            used: false,
            waiting: Waiting::new(),
        }
    }
}
