//! Neighbours: which station on a link has which address (RFC 826 for IPv4, RFC 4861 for IPv6).
//!
//! A packet to a station that is not known yet waits while the station is asked for, three times a second apart. A
//! station that is known is asked again once what it said is half a minute old and packets still go there; one that
//! nobody sends to is forgotten. Both tables, of stations and of waiting packets, are bounded.

mod arp;
mod message;
mod ndp;
#[cfg(test)]
mod tests;
mod told;

pub(crate) use message::{Heard, Message, Speaker, link_local, read};
pub(crate) use told::Told;

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::Duration;

use ahash::RandomState;
use arrayvec::ArrayVec;
use sluice_conntrack::forward::{MacAddress, Neighbour, Router};
use sluice_conntrack::{Instant, PortId};

/// Stations that are remembered, at most: enough for the links of a router, and a scan of a /8 fills no more.
const MAX_STATIONS: usize = 4096;
/// Packets that wait for one station, at most; RFC 4861 section 7.2.2 wants a small number.
const MAX_WAITING: usize = 3;
/// How often a station is asked for before it is given up (RFC 4861 section 10).
const TRIES: u8 = 3;
/// How long what a station said is good without asking (RFC 4861 section 10).
const REACHABLE: Duration = Duration::from_secs(30);
/// How long a station that nobody sends to is remembered.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// How long a question waits for its answer, and how often the table is looked through.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is known about one station, and the packets that wait for it.
#[derive(Debug)]
struct Station<P> {
    mac: Option<MacAddress>,
    /// Set by the operator: never asked for, never forgotten.
    fixed: bool,
    /// When it last spoke, or when it was first asked for.
    heard: Instant,
    /// Questions since.
    tries: u8,
    /// Whether packets have gone there since.
    used: bool,
    waiting: ArrayVec<P, MAX_WAITING>,
}

/// What becomes of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hop<P> {
    /// It goes to this station.
    Known(P, MacAddress),
    /// It waits. If this is the first to wait, the station is to be asked for.
    Waits {
        /// Whether to ask.
        ask: bool,
    },
    /// There is no room for it to wait.
    Dropped(P),
}

/// The stations of all links. `P` is a packet.
#[derive(Debug)]
pub(crate) struct Neighbours<P> {
    stations: HashMap<(PortId, IpAddr), Station<P>, RandomState>,
    looked_through: Instant,
}

impl<P> Neighbours<P> {
    /// No stations yet.
    pub(crate) fn new() -> Self {
        // Half empty at most, so that the map never has to grow.
        let stations = HashMap::with_capacity_and_hasher(2 * MAX_STATIONS, random_state());
        Self { stations, looked_through: Instant::default() }
    }

    /// Takes over the stations that the operator knows, in place of those of an earlier configuration. `release` gets each
    /// packet that has waited for one of them, and where it goes.
    pub(crate) fn configure(&mut self, router: &Router, mut release: impl FnMut(PortId, P, MacAddress)) {
        self.stations.retain(|_, station| !station.fixed);
        for Neighbour { port, address, mac } in router.neighbours.iter().take(MAX_STATIONS) {
            let station = Station { fixed: true, mac: Some(*mac), ..Station::asked(Instant::default()) };
            let before = self.stations.insert((*port, *address), station);
            for packet in before.into_iter().flat_map(|station| station.waiting) {
                release(*port, packet, *mac);
            }
        }
    }

    /// Finds the station that a packet goes to.
    pub(crate) fn resolve(&mut self, now: Instant, port: PortId, address: IpAddr, packet: P) -> Hop<P> {
        if let Some(station) = self.stations.get_mut(&(port, address)) {
            station.used = true;
            return match station.mac {
                Some(mac) => Hop::Known(packet, mac),
                None => match station.waiting.try_push(packet) {
                    Ok(()) => Hop::Waits { ask: false },
                    Err(error) => Hop::Dropped(error.element()),
                },
            };
        }
        if self.stations.len() >= MAX_STATIONS {
            return Hop::Dropped(packet);
        }
        let mut station = Station::asked(now);
        station.waiting.push(packet);
        self.stations.insert((port, address), station);
        Hop::Waits { ask: true }
    }

    /// Takes note of what a station says about itself; gives the packets that waited for it. One that nobody has
    /// asked for is remembered only if it `speaks_to_us`.
    pub(crate) fn heard(
        &mut self,
        now: Instant,
        port: PortId,
        address: IpAddr,
        mac: MacAddress,
        speaks_to_us: bool,
    ) -> ArrayVec<P, MAX_WAITING> {
        let room = speaks_to_us && self.stations.len() < MAX_STATIONS;
        let station = match self.stations.get_mut(&(port, address)) {
            Some(station) => station,
            None if room => self.stations.entry((port, address)).or_insert_with(|| Station::asked(now)),
            None => return ArrayVec::new(),
        };
        if station.fixed {
            return ArrayVec::new();
        }
        let waiting = std::mem::take(&mut station.waiting);
        *station = Station { mac: Some(mac), tries: 0, ..Station::asked(now) };
        waiting
    }

    /// Looks through the table once a second: calls `ask` for each station to be asked for, forgets those that did not
    /// answer or that nobody needs. Gives the number of packets that waited in vain.
    pub(crate) fn look_through(&mut self, now: Instant, mut ask: impl FnMut(PortId, IpAddr)) -> u64 {
        if now.since(self.looked_through) < INTERVAL {
            return 0;
        }
        self.looked_through = now;
        let mut lost = 0;
        self.stations.retain(|(port, address), station| {
            let age = now.since(station.heard);
            let stays = match station.mac {
                _ if station.fixed => return true,
                None => station.tries < TRIES,
                Some(_) if age < REACHABLE => return true,
                Some(_) if !station.used => return age < FORGOTTEN,
                Some(_) => station.tries < TRIES,
            };
            if stays {
                // The first question for an unknown station was asked as its first packet came.
                station.tries += 1;
                ask(*port, *address);
            } else {
                lost += station.waiting.len() as u64;
            }
            stays
        });
        lost
    }
}

/// A hasher whose key nobody outside knows.
pub(crate) fn random_state() -> RandomState {
    let random = std::hash::RandomState::new();
    let [a, b, c, d] = [0, 1, 2, 3].map(|number: u8| random.hash_one(number));
    RandomState::with_seeds(a, b, c, d)
}

impl<P> Station<P> {
    /// A station that is asked for now.
    fn asked(now: Instant) -> Self {
        Self { mac: None, fixed: false, heard: now, tries: 1, used: false, waiting: ArrayVec::new() }
    }
}
