//! The next hops of routes. A route may have several of equal cost (RFC 2992): each connection takes one of them, by the same
//! symmetric hash that steers it, so that its packets stay in their order, and those of both directions take the same where
//! the routes there and back have the same next hops.

use super::{FibEntry, Via};
use crate::steer;
use crate::tuple::Tuple;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The next hops of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextHops {
    /// One, as most have.
    One(Via),
    /// Several, in the router's list of such: the first, and how many.
    Several(u32, u16),
}

/// What prefixes lead to, each once, by the number that the FIB has for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Destinations {
    all: Vec<FibEntry>,
    /// The next hops of those that have several.
    shared: Vec<Via>,
}

/// Destinations as they are gathered.
#[derive(Default)]
pub(super) struct Gathering {
    destinations: Destinations,
    by_hops: BTreeMap<Arc<[Via]>, u32>,
}

impl Destinations {
    /// The one of a number.
    #[inline(always)]
    pub(super) fn get(&self, number: u32) -> Option<&FibEntry> {
        self.all.get(number as usize)
    }

    /// Next hops one by one, those of more weight more often.
    pub(super) fn hops<'a>(&'a self, next_hops: &'a NextHops) -> &'a [Via] {
        match next_hops {
            NextHops::One(via) => std::slice::from_ref(via),
            NextHops::Several(first, count) => {
                let first = *first as usize;
                self.shared.get(first..first + usize::from(*count)).unwrap_or_default()
            }
        }
    }

    /// The next hop of a connection.
    #[inline(always)]
    pub(super) fn choose<'a>(&'a self, next_hops: &'a NextHops, tuple: &Tuple) -> &'a Via {
        match next_hops {
            NextHops::One(via) => via,
            NextHops::Several(first, count) => self.choose_among(*first, *count, tuple),
        }
    }

    /// By the high bits of the hash: the low ones say which shard the connection is of.
    #[cold]
    #[inline(never)]
    fn choose_among(&self, first: u32, count: u16, tuple: &Tuple) -> &Via {
        let hash = u32::from(steer::symmetric_hash(tuple));
        let index = first + ((hash * u32::from(count)) >> u16::BITS);
        &self.shared[index as usize]
    }
}

impl Gathering {
    /// The number of next hops; `None` of none.
    pub(super) fn hops(&mut self, hops: &Arc<[Via]>) -> Option<u32> {
        if let Some(known) = self.by_hops.get(hops) {
            return Some(*known);
        }
        let next_hops = match &**hops {
            [] => return None,
            [via] => NextHops::One(*via),
            several => {
                let first = u32::try_from(self.destinations.shared.len()).ok()?;
                let several = &several[..several.len().min(usize::from(u16::MAX))];
                self.destinations.shared.extend(several);
                NextHops::Several(first, several.len() as u16)
            }
        };
        let number = self.add(Ok(next_hops));
        self.by_hops.insert(Arc::clone(hops), number);
        Some(number)
    }

    /// The number of one next hop.
    pub(super) fn hop(&mut self, via: Via) -> Option<u32> {
        self.hops(&Arc::from([via]))
    }

    /// The number of what a prefix leads to.
    pub(super) fn add(&mut self, entry: FibEntry) -> u32 {
        self.destinations.all.push(entry);
        self.destinations.all.len() as u32 - 1
    }

    /// All of them.
    pub(super) fn into_destinations(self) -> Destinations {
        self.destinations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortId;
    use crate::forward::tests::{BOX_MAC, INSIDE, OUTSIDE, send, shard_of, udp};
    use crate::forward::{Interface, Route, RouteType, Router};
    use crate::policy::{Outcome, Prefix};
    use crate::shard::Shard;
    use crate::verdict::{Action, DropReason, Rejection};
    use std::net::IpAddr;

    /// The port to the second of two providers.
    const OTHER: PortId = PortId(2);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn via(port: PortId, gateway: &str) -> Via {
        Via { port, gateway: Some(ip(gateway)) }
    }

    fn shard(routes: &[(&str, u8, RouteType)]) -> Shard {
        let interface = |own: [&str; 2]| Interface {
            addresses: vec![(ip(own[0]), 24), (ip(own[1]), 64)],
            mtu: 1500,
            ..Interface::default()
        };
        let interfaces =
            [["10.0.0.1", "fd00:1::1"], ["203.0.113.1", "2001:db8:2::1"], ["192.0.2.1", "2001:db8:3::1"]];
        let route = |(to, length, kind): &(&str, u8, RouteType)| Route {
            to: Prefix::new(ip(to), *length),
            kind: kind.clone(),
        };
        let routes: Vec<Route> = routes.iter().map(route).collect();
        let router = Router::new(interfaces.map(interface).to_vec(), routes);
        let mut shard = shard_of(router, vec![], Outcome::Accept);
        shard.join_link(INSIDE, BOX_MAC);
        shard
    }

    /// Where a datagram leaves, and to whom.
    fn way(shard: &mut Shard, ingress: PortId, from: &str, to: &str) -> Via {
        let (verdict, _) = send(shard, ingress, udp(from, to));
        match verdict.action {
            Action::Forward(port) => Via { port, gateway: verdict.next_hop },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn connections_are_spread_over_next_hops_of_equal_cost_and_each_keeps_its_own() {
        for (network, gateways) in [
            ("198.51.{}.2", ["203.0.113.254", "192.0.2.254"]),
            ("3fff:{}::2", ["2001:db8:2::fe", "2001:db8:3::fe"]),
        ] {
            let hops = [via(OUTSIDE, gateways[0]), via(OTHER, gateways[1]), via(OTHER, gateways[1])];
            let default = if network.contains(':') { "::" } else { "0.0.0.0" };
            let mut shard = shard(&[(default, 0, RouteType::Unicast(Arc::from(hops)))]);
            let client = if network.contains(':') { "fd00:1::2" } else { "10.0.0.2" };
            let mut taken = [0; 2];
            for n in 0..99 {
                let server = network.replace("{}", &n.to_string());
                let first = way(&mut shard, INSIDE, client, &server);
                assert_eq!(way(&mut shard, INSIDE, client, &server), first);
                taken[usize::from(first == hops[1])] += 1;
            }
            assert!(taken[0] > 15 && taken[1] > taken[0], "the heavier has more: {taken:?}");
        }
    }

    #[test]
    fn both_directions_take_the_same_of_equal_next_hops() {
        let hops: Arc<[Via]> = (1..=7).map(|n| via(OUTSIDE, &format!("203.0.113.{}", 200 + n))).collect();
        let all = RouteType::Unicast(hops);
        let mut shard = shard(&[("198.51.0.0", 16, all.clone()), ("100.64.0.0", 10, all)]);
        for n in 0..50 {
            let (near, far) = (format!("100.64.{n}.7"), format!("198.51.100.{n}"));
            let there = way(&mut shard, OTHER, &near, &far);
            assert_eq!(way(&mut shard, OTHER, &far, &near), there, "{near} and {far}");
        }
    }

    #[test]
    fn routes_may_lead_nowhere() {
        let mut shard = shard(&[
            ("198.51.0.0", 16, RouteType::Blackhole),
            ("198.51.100.0", 24, RouteType::Unreachable),
            ("198.51.101.0", 24, RouteType::Prohibit),
            ("198.51.102.0", 24, RouteType::Unicast(Arc::from([via(PortId(9), "10.0.0.9")]))),
        ]);
        let no_route = DropReason::NoRoute;
        for (to, action) in [
            ("198.51.1.1", Action::Drop(no_route)),
            ("198.51.100.1", Action::Reject(no_route, Rejection::HostUnreachable)),
            ("198.51.101.1", Action::Reject(no_route, Rejection::Prohibited)),
            ("198.51.102.1", Action::Drop(no_route)),
            ("192.0.3.1", Action::Reject(no_route, Rejection::NoRoute)),
        ] {
            assert_eq!(send(&mut shard, INSIDE, udp("10.0.0.2", to)).0.action, action, "{to}");
        }
        assert!(shard.is_empty());
    }
}
