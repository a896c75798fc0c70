//! Routes to the addresses of groups, in a routing table of the kernel that no packet goes by: routing daemons (BIRD, FRR) take them from
//! there and announce them. Their metric says what the box is for the group: while it is active it is preferred, and one that stands by and
//! knows all connections is there for when the other is not.
//!
//! A thread writes them, in the network namespace of the routing daemon.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use rtnetlink::packet_route::route::{RouteMessage, RouteProtocol, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};
use tracing::{info, warn};

use super::RunError;
use super::host::{enter, netlink::with_kernel};
use super::track_file::Known;
use crate::config::{Announce, Config, Group};
use crate::socket::protocol::{GroupState, GroupStatus};

/// The metric of routes to what the box is active for, and to what it stands by for.
const METRICS: [u32; 2] = [10, 1000];

/// Who has made the routes, as `ip route` shows it.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(84);

/// What routes there are to be, and their metrics.
type Routes = BTreeMap<IpNet, u32>;

/// The routes, as the control thread sees them. When it is dropped, they go.
pub struct GroupRoutes {
    /// Those to each group.
    prefixes: Vec<Vec<IpNet>>,
    /// What the thread was told last.
    told: Option<Routes>,
    tell: Option<Sender<Routes>>,
    thread: Option<JoinHandle<()>>,
}

impl GroupRoutes {
    /// Those of a configuration, if it wants any. There are none yet.
    ///
    /// # Errors
    /// The network namespace cannot be entered, or there is no thread.
    pub fn start(config: &Config) -> Result<Option<GroupRoutes>, RunError> {
        let Some((ha, announce)) = config.ha.as_ref().and_then(|ha| Some((ha, ha.announce.clone()?))) else {
            return Ok(None);
        };
        let prefixes: Vec<Vec<IpNet>> = ha.groups.iter().map(prefixes).collect();
        let all = prefixes.iter().flatten().copied().collect();
        let (tell, told) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let run = move || {
            let entered = announce.namespace.as_deref().map_or(Ok(()), enter);
            let is_there = entered.is_ok();
            let _ = ready.send(entered);
            if is_there {
                write(&announce, all, &told);
            }
        };
        let failed = |why: std::io::Error| RunError::Other(format!("ha.announce: {why}"));
        let thread = thread::Builder::new().name("control-routes".to_owned()).spawn(run).map_err(failed)?;
        is_ready.recv().unwrap_or(Ok(())).map_err(failed)?;
        Ok(Some(GroupRoutes { prefixes, told: None, tell: Some(tell), thread: Some(thread) }))
    }

    /// Has the routes be as follows from what the box is for each group, and knows of its connections.
    pub fn follow(&mut self, groups: &[GroupStatus], known: &[Known]) {
        let mut wanted = Routes::new();
        for ((prefixes, group), known) in self.prefixes.iter().zip(groups).zip(known) {
            if let Some(metric) = metric(group.state, *known) {
                wanted.extend(prefixes.iter().map(|prefix| (*prefix, metric)));
            }
        }
        if self.told.as_ref() == Some(&wanted) {
            return;
        }
        // A thread that has ended has said why.
        let _ = self.tell.as_ref().map(|tell| tell.send(wanted.clone()));
        self.told = Some(wanted);
    }
}

impl Drop for GroupRoutes {
    fn drop(&mut self) {
        drop(self.tell.take());
        // One that has panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The metric of routes to a group; `None` where there are to be none.
fn metric(state: GroupState, known: Known) -> Option<u32> {
    let [active, standby] = METRICS;
    match (state, known) {
        (GroupState::Active | GroupState::Standalone, _) => Some(active),
        (GroupState::Standby | GroupState::Waiting, Known::All) => Some(standby),
        (GroupState::Standby | GroupState::Waiting, Known::Nothing | Known::NotAll) => None,
    }
}

/// The prefixes of a group's addresses.
fn prefixes(group: &Group) -> Vec<IpNet> {
    let single = group.addresses.values().flat_map(|list| list.iter()).map(|own| IpNet::from(own.0.addr()));
    let pools = group.nat.iter().flat_map(|range| -> Vec<IpNet> {
        match (range.first, range.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
            }
            _ => Vec::new(),
        }
    });
    single.chain(pools).collect()
}

/// Writes what is told until nobody tells any more; then it all goes.
fn write(announce: &Announce, all: Vec<IpNet>, told: &Receiver<Routes>) {
    // What a daemon that was killed has left.
    let mut before: Vec<(IpNet, u32)> =
        all.into_iter().flat_map(|prefix| METRICS.map(|metric| (prefix, metric))).collect();
    let mut is_over = false;
    while !is_over {
        let wanted = told.recv().unwrap_or_else(|_| {
            is_over = true;
            Routes::new()
        });
        let table = announce.table;
        let done = with_kernel(async |kernel| {
            // First what goes: FRR knows one route to a prefix of a table, and drops the new one with an old one that goes later.
            for (prefix, metric) in
                before.iter().filter(|(prefix, metric)| wanted.get(prefix) != Some(metric))
            {
                // It may not have been there.
                let _ = kernel.route().del(message(table, *prefix, *metric)).execute().await;
            }
            for (prefix, metric) in &wanted {
                if let Err(why) = add(kernel, message(table, *prefix, *metric)).await {
                    warn!("ha: route to {prefix} in table {table}: {why}");
                }
            }
        });
        match done {
            Ok(()) => info!("ha: table {table}: {} routes to groups", wanted.len()),
            Err(why) => warn!("ha: table {table}: the kernel cannot be spoken to: {why}"),
        }
        before = wanted.into_iter().collect();
    }
}

async fn add(kernel: &Handle, route: RouteMessage) -> Result<(), rtnetlink::Error> {
    kernel.route().add(route).replace().execute().await
}

/// A route that leads nowhere: what it is for stands in other tables.
fn message(table: u32, prefix: IpNet, metric: u32) -> RouteMessage {
    let route = RouteMessageBuilder::<IpAddr>::new().table_id(table).protocol(PROTOCOL).priority(metric);
    let route = route.kind(RouteType::BlackHole).destination_prefix(prefix.addr(), prefix.prefix_len());
    route.map(RouteMessageBuilder::build).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_prefixes_and_addresses_are_hosts() {
        let text = "version: 1\ninterfaces: {x: {device: 'vdev:net_null0', addresses: [192.0.2.2/24]}}\n\
             ha: {cluster: c, box: a, engine: {url: 'unix:///a'}, peers: {b: {url: 'unix:///b'}}, announce: {table: 84},
               groups: [{name: g, prefer: a, standby: b, addresses: {x: [192.0.2.1/24, '2001:db8::1/64']}, nat: [198.51.100.15-198.51.100.32]}]}";
        let config = crate::config::parse("test", text.as_bytes()).unwrap();
        let found: Vec<String> =
            prefixes(&config.ha.unwrap().groups[0]).iter().map(ToString::to_string).collect();
        let expected =
            ["192.0.2.1/32", "2001:db8::1/128", "198.51.100.15/32", "198.51.100.16/28", "198.51.100.32/32"];
        assert_eq!(found, expected);
    }

    #[test]
    fn who_does_not_know_all_is_not_there_for_others() {
        use GroupState::{Active, Standby, Waiting};
        for (state, known, expected) in [
            (Active, Known::All, Some(10)),
            (Standby, Known::All, Some(1000)),
            (Standby, Known::NotAll, None),
            (Standby, Known::Nothing, None),
            (Waiting, Known::All, Some(1000)),
        ] {
            assert_eq!(metric(state, known), expected, "{state:?} {known:?}");
        }
    }
}
