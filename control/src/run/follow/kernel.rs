//! The kernel's routes, kept as its messages tell of them (rtnetlink(7)).
//!
//! A prefix may have several routes: the lowest metric counts, of equal ones the first. IPv6 tells of next hops that come one
//! by one to a route with all of them, and of those that go one by one with that one alone.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use ipnet::IpNet;
use sluice_conntrack::forward::{RouteType, Via};

use crate::config::FollowedRoute;

/// A route as a message has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The destinations that take it.
    pub to: IpNet,
    /// The lowest counts.
    pub metric: u32,
    /// Who has made it.
    pub protocol: u8,
    /// What becomes of packets there; `None` if it leads to where the box has no port.
    pub kind: Option<RouteType>,
}

/// Where a new route stands among those of its prefix and metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// In place of the first.
    Replacing,
    /// In front of them.
    First,
    /// Behind them.
    Last,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct KernelRoute {
    metric: u32,
    protocol: u8,
    kind: RouteType,
}

/// All routes of a network stack.
#[derive(Debug, Default)]
pub struct KernelRoutes {
    /// Those of each prefix in their order.
    routes: BTreeMap<IpNet, Vec<KernelRoute>>,
    /// Next hops, each set of them once.
    next_hops: HashSet<Arc<[Via]>>,
}

impl KernelRoutes {
    /// Takes up a new route.
    pub fn add(&mut self, heard: Heard, position: Position) {
        let Heard { to, metric, protocol, kind } = heard;
        let kind = kind.map(|kind| self.shared(kind));
        let routes = self.routes.entry(to).or_default();
        if position == Position::Replacing {
            if let Some(first) = routes.iter().position(|route| route.metric == metric) {
                routes.remove(first);
            }
        } else if let Some(kind) = &kind {
            // One that is told of again, or one of IPv6 that has got more next hops.
            routes.retain(|route| route.metric != metric || !holds(kind, &route.kind));
        }
        if let Some(kind) = kind {
            let index = routes.partition_point(|route| match position {
                Position::Last => route.metric <= metric,
                Position::First | Position::Replacing => route.metric < metric,
            });
            routes.insert(index, KernelRoute { metric, protocol, kind });
        }
        if routes.is_empty() {
            self.routes.remove(&to);
        }
    }

    /// Gives up a route, or those of its next hops that are told of.
    pub fn remove(&mut self, gone: &Heard) {
        let (Some(kind), Some(routes)) = (&gone.kind, self.routes.get_mut(&gone.to)) else { return };
        let is_it = |route: &KernelRoute| route.metric == gone.metric && holds(&route.kind, kind);
        let Some(index) = routes.iter().position(is_it) else { return };
        let rest: Vec<Via> = match (&routes[index].kind, kind) {
            (RouteType::Unicast(all), RouteType::Unicast(gone)) => {
                all.iter().filter(|via| !gone.contains(via)).copied().collect()
            }
            _ => Vec::new(),
        };
        if rest.is_empty() {
            routes.remove(index);
        } else {
            routes[index].kind = RouteType::Unicast(Arc::from(rest));
        }
        if routes.is_empty() {
            self.routes.remove(&gone.to);
        }
    }

    /// The routes that count, in the order of their prefixes.
    pub fn best(&mut self) -> Vec<FollowedRoute> {
        self.next_hops.retain(|next_hops| Arc::strong_count(next_hops) > 1);
        let best = |(to, routes): (&IpNet, &Vec<KernelRoute>)| {
            let KernelRoute { metric, protocol, kind } = routes.first()?.clone();
            Some(FollowedRoute { to: *to, kind, protocol, metric })
        };
        self.routes.iter().filter_map(best).collect()
    }

    /// The same kind, with next hops that others have, too.
    fn shared(&mut self, kind: RouteType) -> RouteType {
        let RouteType::Unicast(next_hops) = kind else { return kind };
        let known = self.next_hops.get(&next_hops).cloned();
        RouteType::Unicast(known.unwrap_or_else(|| {
            self.next_hops.insert(Arc::clone(&next_hops));
            next_hops
        }))
    }
}

/// Whether a route is of the same kind as another and has all of its next hops.
fn holds(kind: &RouteType, other: &RouteType) -> bool {
    match (kind, other) {
        (RouteType::Unicast(all), RouteType::Unicast(some)) => some.iter().all(|via| all.contains(via)),
        (kind, other) => kind == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::PortId;

    fn unicast(gateways: &[u8]) -> Option<RouteType> {
        let via = |last: &u8| Via { port: PortId(1), gateway: Some([203, 0, 113, *last].into()) };
        Some(RouteType::Unicast(gateways.iter().map(via).collect()))
    }

    fn heard(metric: u32, kind: Option<RouteType>) -> Heard {
        Heard { to: "198.51.100.0/24".parse().unwrap(), metric, protocol: 12, kind }
    }

    /// The best route's metric and kind.
    fn best(routes: &mut KernelRoutes) -> Option<(u32, RouteType)> {
        routes.best().pop().map(|route| (route.metric, route.kind))
    }

    #[test]
    fn the_lowest_metric_counts() {
        let mut routes = KernelRoutes::default();
        for (metric, gateway) in [(20, 1), (10, 2), (30, 3)] {
            routes.add(heard(metric, unicast(&[gateway])), Position::First);
        }
        assert_eq!(best(&mut routes), Some((10, unicast(&[2]).unwrap())));
        routes.remove(&heard(10, unicast(&[2])));
        assert_eq!(best(&mut routes), Some((20, unicast(&[1]).unwrap())));
        routes.remove(&heard(20, unicast(&[9])));
        routes.remove(&heard(7, unicast(&[1])));
        assert_eq!(best(&mut routes), Some((20, unicast(&[1]).unwrap())), "these were others");
        routes.remove(&heard(20, unicast(&[1])));
        routes.remove(&heard(30, unicast(&[3])));
        assert_eq!((best(&mut routes), routes.routes.len()), (None, 0));
    }

    #[test]
    fn a_route_takes_the_place_of_another_or_stands_before_or_behind_it() {
        let mut routes = KernelRoutes::default();
        routes.add(heard(0, unicast(&[1])), Position::First);
        routes.add(heard(0, unicast(&[2])), Position::Last);
        assert_eq!(best(&mut routes), Some((0, unicast(&[1]).unwrap())));
        routes.add(heard(0, unicast(&[3])), Position::First);
        assert_eq!(best(&mut routes), Some((0, unicast(&[3]).unwrap())));
        routes.add(heard(0, Some(RouteType::Blackhole)), Position::Replacing);
        assert_eq!(best(&mut routes), Some((0, RouteType::Blackhole)));
        routes.remove(&heard(0, Some(RouteType::Prohibit)));
        routes.remove(&heard(0, Some(RouteType::Blackhole)));
        assert_eq!(best(&mut routes), Some((0, unicast(&[1]).unwrap())));
        // One by another interface of the host's, none of the box's.
        routes.add(heard(0, None), Position::Replacing);
        assert_eq!(best(&mut routes), Some((0, unicast(&[2]).unwrap())));
        routes.add(heard(5, None), Position::First);
        routes.remove(&heard(0, unicast(&[2])));
        assert_eq!((best(&mut routes), routes.routes.len()), (None, 0));
    }

    #[test]
    fn what_is_told_twice_is_one_route() {
        let mut routes = KernelRoutes::default();
        routes.add(heard(0, unicast(&[1])), Position::First);
        routes.add(heard(0, unicast(&[1])), Position::Last);
        routes.remove(&heard(0, unicast(&[1])));
        assert_eq!(best(&mut routes), None);
    }

    #[test]
    fn next_hops_of_ipv6_come_together_and_go_one_by_one() {
        let mut routes = KernelRoutes::default();
        routes.add(heard(1024, unicast(&[1])), Position::First);
        routes.add(heard(1024, unicast(&[1, 2])), Position::Last);
        routes.add(heard(1024, unicast(&[1, 2, 3])), Position::Last);
        routes.remove(&heard(1024, unicast(&[2])));
        assert_eq!(best(&mut routes), Some((1024, unicast(&[1, 3]).unwrap())));
        routes.remove(&heard(1024, unicast(&[1, 3])));
        assert_eq!(best(&mut routes), None);
        assert_eq!(routes.next_hops.len(), 0);
    }
}
