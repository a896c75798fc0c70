//! The ports from the control thread's side: their links and losses, which it watches, and what their devices have counted.

use std::time::Instant;

use dpdk::Link;
use sluice_engine::report::Stats;
use sluice_engine::{HostCounters, PortCounters};
use tracing::{info, warn};

use super::alarms::Alarm;
use super::dataplane::NamedPort;
use super::host::HostPort;
use crate::metrics::PortSample;
use crate::socket::protocol::{PortDescription, PortStatistics};

/// The links as they were last seen, in the order of the ports.
#[derive(Default)]
pub struct LinkStates(Vec<Option<Link>>);

impl LinkStates {
    /// Looks at each link and logs those that have changed; the first time all that are known.
    pub fn watch(&mut self, ports: &[NamedPort]) {
        self.0.resize(ports.len(), None);
        for (seen, port) in self.0.iter_mut().zip(ports) {
            let link = port.link();
            if link == *seen {
                continue;
            }
            *seen = link;
            match link {
                Some(link) if link.up => info!("port {}: the link is up{}", port.name, at_speed(link)),
                _ => warn!("port {}: the link is down", port.name),
            }
        }
    }
}

fn at_speed(link: Link) -> String {
    link.speed_mbps.map(|mbps| format!(" at {mbps} Mbit/s")).unwrap_or_default()
}

/// Ways for a port to lose packets: what the log says, what that comes of, and how many.
type Loss = (&'static str, &'static str, fn(&PortStatistics) -> u64);

const LOSSES: [Loss; 5] = [
    ("receive queue full", "more comes than the workers take", |port| port.rx_missed),
    ("receive errors", "packets arrive broken", |port| port.rx_errors),
    ("mempool empty", "packets are held somewhere", |port| port.rx_nombuf),
    ("transmit queue full", "more leaves than the device takes", |port| port.tx_full),
    ("transmit errors", "the device takes packets and cannot send them", |port| port.tx_errors),
];

/// The alarms of each port, in the order of the ports, and how many packets each had lost when it was last looked at.
#[derive(Default)]
pub struct LossAlarms(Vec<[(Alarm, u64); LOSSES.len()]>);

impl LossAlarms {
    /// Looks at what each port has lost, and logs the onsets.
    pub fn watch(&mut self, ports: &[PortStatistics], now: Instant) {
        self.0.resize_with(ports.len(), Default::default);
        for (alarms, port) in self.0.iter_mut().zip(ports) {
            for ((alarm, seen), (what, why, lost)) in alarms.iter_mut().zip(LOSSES) {
                let lost = lost(port);
                let more = lost.saturating_sub(std::mem::replace(seen, lost));
                alarm.log(more, now, &format!("port {}: {what}", port.name), why, "packets lost");
            }
        }
    }
}

/// What each port is.
pub fn describe(ports: &[NamedPort]) -> Vec<PortDescription> {
    let describe = |port: &NamedPort| {
        let (info, link) = (port.port.info(), port.link());
        PortDescription {
            name: port.name.clone(),
            up: link.is_some_and(|link| link.up),
            speed_mbps: link.and_then(|link| link.speed_mbps),
            mac: info.mac.map(|byte| format!("{byte:02x}")).join(":"),
            mtu: port.port.mtu(),
            rx_queues: port.rx_queues,
            tx_queues: port.tx_queues,
            device: info.name.clone(),
            driver: info.driver.clone(),
            host: port.host.as_ref().map(HostPort::place),
        }
    };
    ports.iter().map(describe).collect()
}

/// What each port has counted: the device, and the workers.
pub fn statistics(ports: &[NamedPort], counted: &[PortCounters]) -> Vec<PortStatistics> {
    let statistics = |(port, counters): (&NamedPort, &PortCounters)| {
        let device = port.stats();
        PortStatistics {
            name: port.name.clone(),
            rx_packets: counters.rx_packets,
            rx_bytes: counters.rx_bytes,
            rx_missed: device.rx_missed,
            rx_errors: device.rx_errors,
            rx_nombuf: device.rx_nombuf,
            tx_packets: counters.tx_packets,
            tx_bytes: counters.tx_bytes,
            tx_full: counters.tx_full,
            tx_errors: device.tx_errors,
        }
    };
    ports.iter().zip(counted).map(statistics).collect()
}

/// The same and the links, to be published.
pub fn samples<'a>(ports: &'a [NamedPort], counted: &Stats) -> Vec<PortSample<'a>> {
    let counted = counted.ports.iter().zip(&counted.hosts);
    let sample = |(port, (counters, host)): (&'a NamedPort, (&PortCounters, &HostCounters))| PortSample {
        name: &port.name,
        counters: *counters,
        device: port.stats(),
        link: port.link(),
        host: port.host.as_ref().map(|side| (*host, side.refused())),
    };
    ports.iter().zip(counted).map(sample).collect()
}
