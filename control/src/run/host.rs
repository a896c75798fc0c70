//! The box's own network stack behind its ports: for each port that has a host side a TAP, with the port's name, MAC address,
//! addresses and routes, and a thread of the control core that moves frames between it and the workers.
//!
//! The thread lives in the network namespace of its TAP. It naps between its rounds rather than waiting for frames: a worker
//! that had to wake it would make a system call.

pub(super) mod netlink;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use dpdk::Tap;
use ipnet::IpNet;
use nix::sched::{CloneFlags, setns};
use sluice_conntrack::forward::{MacAddress, link_local};
use sluice_engine::host::HostEnd;
use tracing::{info, warn};

use self::netlink::apply;
use super::RunError;
use crate::config::{Config, Host, InterfaceAddress};

/// Where named network namespaces are (ip-netns(8)).
const NAMESPACES: &str = "/run/netns";

/// How long the thread sleeps while frames come, and once none has come for a while.
const NAP: Duration = Duration::from_micros(50);
const LONG_NAP: Duration = Duration::from_micros(500);

/// Empty rounds before it sleeps for longer: a tenth of a second.
const ROUNDS_AWAKE: u32 = 1000;

/// What the host is told of a port: what `ip address` and `ip route` show there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostNetwork {
    addresses: Vec<IpNet>,
    routes: Vec<HostRoute>,
}

/// A route of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct HostRoute {
    to: IpNet,
    via: Option<IpAddr>,
}

impl HostNetwork {
    /// That of an interface of a configuration, whose MAC address is this.
    pub fn new(config: &Config, name: &str, mac: MacAddress) -> HostNetwork {
        let Some(interface) = config.interfaces.get(name) else { return HostNetwork::default() };
        let mut addresses: Vec<IpNet> =
            interface.addresses.iter().map(|InterfaceAddress(own)| *own).collect();
        if addresses.iter().any(|own| own.addr().is_ipv6()) {
            addresses.extend(IpNet::new(link_local(mac).into(), 64));
        }
        addresses.dedup();
        let routes = config.routes.list.iter().filter(|route| route.dev == name);
        let routes = routes.map(|route| HostRoute { to: route.prefix().0.trunc(), via: route.via });
        HostNetwork { addresses, routes: routes.collect() }
    }
}

/// What a TAP is to be, and where.
#[derive(Debug)]
struct Seat {
    name: String,
    mac: MacAddress,
    mtu: u16,
    namespace: Option<String>,
}

/// A running host side.
#[derive(Debug)]
pub struct HostPort {
    seat: Arc<Seat>,
    /// The number of its TAP among the kernel's interfaces.
    index: u32,
    tell: Sender<HostNetwork>,
    refused: Arc<AtomicU64>,
}

impl HostPort {
    /// Makes the TAP of a port, and starts its thread.
    ///
    /// # Errors
    /// The namespace is not there; the kernel refuses the TAP, or what it is to be.
    pub fn start(config: &Config, name: &str, mac: MacAddress, end: HostEnd) -> Result<HostPort, RunError> {
        let failed = |why: String| RunError::Other(format!("interface {name}: host: {why}"));
        let Some(interface) = config.interfaces.get(name) else {
            return Err(failed("there is no such interface".to_owned()));
        };
        let namespace = interface.host.clone().and_then(|host| host.namespace);
        let seat = Arc::new(Seat { name: name.to_owned(), mac, mtu: interface.mtu, namespace });
        let network = HostNetwork::new(config, name, mac);
        let (tell, told) = mpsc::channel();
        let (started, start) = mpsc::sync_channel(1);
        let refused = Arc::<AtomicU64>::default();
        let (its_seat, count) = (Arc::clone(&seat), Arc::clone(&refused));
        let run = move || match its_seat.take(&network) {
            Ok(tap) => {
                // Whoever waits for that is there.
                let _ = started.send(Ok(tap.index()));
                serve(&its_seat, tap, end, network, &told, &count);
            }
            Err(why) => {
                let _ = started.send(Err(why));
            }
        };
        let builder = thread::Builder::new().name(format!("host-{name}"));
        builder.spawn(run).map_err(|why| failed(why.to_string()))?;
        let index = start.recv().map_err(|why| failed(why.to_string()))?.map_err(failed)?;
        Ok(HostPort { seat, index, tell, refused })
    }

    /// Has the host take over what a configuration says of the port.
    pub fn configure(&self, config: &Config) {
        // A thread that has ended has said why.
        let _ = self.tell.send(HostNetwork::new(config, &self.seat.name, self.seat.mac));
    }

    /// Packets that the host's interface has refused, because it is down or gone.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The number of its interface in the kernel.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Where it is.
    pub fn place(&self) -> Host {
        Host { namespace: self.seat.namespace.clone() }
    }
}

impl Seat {
    /// Takes the calling thread to the namespace of the TAP for good, makes that and sets it up.
    fn take(&self, network: &HostNetwork) -> Result<Tap, String> {
        if let Some(namespace) = &self.namespace {
            enter(namespace).map_err(|why| format!("the network namespace {namespace}: {why}"))?;
        }
        let tap = Tap::new(&self.name).map_err(|why| format!("a TAP named {}: {why}", self.name))?;
        netlink::set_up(tap.index(), self.mac, self.mtu).map_err(|why| format!("its TAP: {why}"))?;
        self.apply(&tap, &HostNetwork::default(), network);
        match &self.namespace {
            Some(namespace) => info!("port {}: host side in the network namespace {namespace}", self.name),
            None => info!("port {}: host side", self.name),
        }
        Ok(tap)
    }

    /// Gives the TAP other addresses and routes than it had; what the kernel refuses is logged.
    fn apply(&self, tap: &Tap, before: &HostNetwork, network: &HostNetwork) {
        if let Err(why) = apply(tap.index(), before, network, |what| {
            warn!("port {}: host side: {what}", self.name);
        }) {
            warn!("port {}: host side: {why}", self.name);
        }
    }
}

/// Takes the calling thread into a network namespace.
pub(super) fn enter(namespace: &str) -> io::Result<()> {
    let file = File::open(format!("{NAMESPACES}/{namespace}"))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}

/// Moves frames until the workers are gone.
fn serve(
    seat: &Seat,
    mut tap: Tap,
    mut end: HostEnd,
    mut network: HostNetwork,
    told: &Receiver<HostNetwork>,
    refused: &AtomicU64,
) {
    let mut empty_rounds = 0_u32;
    while !end.is_abandoned() {
        let exchanged = end.exchange(&mut tap);
        refused.fetch_add(exchanged.refused, Ordering::Relaxed);
        empty_rounds = if exchanged.frames > 0 { 0 } else { empty_rounds.saturating_add(1) };
        if let Some(wanted) = told.try_iter().last() {
            seat.apply(&tap, &network, &wanted);
            network = wanted;
        }
        if empty_rounds > 0 {
            thread::sleep(if empty_rounds < ROUNDS_AWAKE { NAP } else { LONG_NAP });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_host_has_what_the_file_says_of_its_interface() {
        let text = "{version: 1, interfaces: {
            inside: {device: 'vdev:net_null0', addresses: [10.0.0.1/8], host: true},
            outside: {device: 'vdev:net_null1', addresses: [203.0.113.1/24, '2001:db8::1/64'], host: {namespace: box}}},
            routes: [{to: 0.0.0.0/0, via: 203.0.113.254, dev: outside}, {to: 172.16.0.0/12, dev: inside}]}";
        let config = config::parse("test", text.as_bytes()).unwrap();
        let net = |text: &str| text.parse::<IpNet>().unwrap();
        let mac = [2, 0, 0, 0, 0, 1];
        let outside = HostNetwork {
            addresses: vec![net("203.0.113.1/24"), net("2001:db8::1/64"), net("fe80::ff:fe00:1/64")],
            routes: vec![HostRoute { to: net("0.0.0.0/0"), via: "203.0.113.254".parse().ok() }],
        };
        assert_eq!(HostNetwork::new(&config, "outside", mac), outside);
        let inside = HostNetwork {
            addresses: vec![net("10.0.0.1/8")],
            routes: vec![HostRoute { to: net("172.16.0.0/12"), via: None }],
        };
        assert_eq!(HostNetwork::new(&config, "inside", mac), inside);
    }
}
