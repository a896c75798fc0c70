//! The ports from the control thread's side: their links and losses, which it watches, and what their devices have counted.

use std::time::Instant;

use dpdk::Link;
use sluice_engine::report::Stats;
use sluice_engine::{AddressConflicts, HostCounters, PortCounters, Vlan};
use tracing::{info, warn};

use super::alarms::Alarm;
use super::host::HostPort;
use super::named_port::{NamedPort, PortKind};
use super::totals::counted;
use crate::metrics::PortSample;
use crate::socket::protocol::{Balance, PortDescription, PortStatistics};

/// The links as they were last seen, in the order of the ports.
#[derive(Default)]
pub struct LinkStates(Vec<Option<Link>>);

impl LinkStates {
    /// Looks at each link and logs those that have changed; the first time all that are known.
    pub fn watch(&mut self, ports: &[NamedPort]) {
        self.0.resize(ports.len(), None);
        for (seen, port) in self.0.iter_mut().zip(ports) {
            let link = port.link(ports);
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
type Loss = (&'static str, &'static str, fn(&PortSample<'_>) -> u64);

const LOSSES: [Loss; 7] = [
    ("receive queue full", "more comes than the workers take", |port| port.device.rx_missed),
    ("receive errors", "packets arrive broken", |port| port.device.rx_errors),
    ("mempool empty", "packets are held somewhere", |port| port.device.rx_nombuf),
    ("transmit queue full", "more leaves than the device takes", |port| port.counters.tx_full),
    ("transmit errors", "the device takes packets and cannot send them", |port| port.device.tx_errors),
    ("host-full", "more comes for the box itself than its host side takes", |port| {
        port.host.map_or(0, |host| host.0.tx_full)
    }),
    ("host side: mempool empty", "packets are held somewhere", |port| {
        port.host.map_or(0, |host| host.0.rx_nombuf)
    }),
];

/// The alarms of each port, in the order of the ports, and how many packets each had lost when it was last looked at.
#[derive(Default)]
struct LossAlarms(Vec<[(Alarm, u64); LOSSES.len()]>);

impl LossAlarms {
    /// Looks at what each port has lost, and logs the onsets.
    fn watch(&mut self, ports: &[PortSample<'_>], now: Instant) {
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

/// The alarms of addresses that others have besides, in the order of the ports, and how often these had spoken when that was last
/// looked at.
#[derive(Default)]
struct ConflictAlarms(Vec<(Alarm, u64)>);

impl ConflictAlarms {
    /// Looks at who has spoken on each port, and logs the onsets.
    fn watch(&mut self, ports: &[PortSample<'_>], now: Instant) {
        self.0.resize_with(ports.len(), Default::default);
        for ((alarm, seen), port) in self.0.iter_mut().zip(ports) {
            let more =
                port.conflicts.messages.saturating_sub(std::mem::replace(seen, port.conflicts.messages));
            let Some((address, mac)) = port.conflicts.last else { continue };
            let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
            // The words of BSD's arp.
            let what = format!("arp: {mac} is using my IP address {address} on {}!", port.name);
            alarm.log(more, now, &what, "give one of the two another address", "messages");
        }
    }
}

/// The alarms of all ports.
#[derive(Default)]
pub struct PortAlarms {
    losses: LossAlarms,
    conflicts: ConflictAlarms,
}

impl PortAlarms {
    /// Looks at what each port has lost, and at who has spoken there.
    pub fn watch(&mut self, ports: &[PortSample<'_>], now: Instant) {
        self.losses.watch(ports, now);
        self.conflicts.watch(ports, now);
    }
}

/// What each port is.
pub fn describe(ports: &[NamedPort]) -> Vec<PortDescription> {
    let describe = |port: &NamedPort| {
        let link = port.link(ports);
        let parent = |vlan: &Vlan| ports.get(usize::from(vlan.parent.0)).map(|parent| parent.name.clone());
        let (device, driver, rx_queues, tx_queues) = match &port.kind {
            PortKind::Device { port, rx_queues, tx_queues } => {
                (port.info().name.clone(), port.info().driver.clone(), *rx_queues, *tx_queues)
            }
            PortKind::Vlan { vlan, .. } => {
                (parent(vlan).unwrap_or_default(), format!("vlan {}", vlan.id), 0, 0)
            }
        };
        PortDescription {
            name: port.name.clone(),
            up: link.is_some_and(|link| link.up),
            speed_mbps: link.and_then(|link| link.speed_mbps),
            mac: port.mac().map(|byte| format!("{byte:02x}")).join(":"),
            mtu: port.mtu(),
            rx_queues,
            tx_queues,
            device,
            driver,
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

/// Where the packets of all ports have gone, of which the workers have counted this. What passes a VLAN passes the device that carries it, and
/// counts once.
pub fn balance(ports: &[NamedPort], stats: &Stats) -> Balance {
    let devices = || {
        let with_counters = ports.iter().zip(&stats.ports);
        with_counters
            .filter(|(port, _)| matches!(port.kind, PortKind::Device { .. }))
            .map(|(_, counters)| counters)
    };
    let received = devices().map(|port| port.rx_packets).sum::<u64>();
    let sent = devices().map(|port| port.tx_packets).sum::<u64>();
    let counters = &stats.counters;
    let came = [
        received + stats.hosts.iter().map(|host| host.rx_packets).sum::<u64>(),
        counters.answers,
        stats.ports.iter().map(|port| port.link_messages).sum(),
        counters.fragments_created,
    ];
    let went = [
        sent + stats.hosts.iter().map(|host| host.tx_packets).sum::<u64>(),
        counters.drops.iter().sum(),
        counters.delivered,
        stats.held,
        counters.fragmented,
    ];
    Balance {
        came: counted(["received", "answers", "link-messages", "fragments-created"], &came),
        went: counted(["sent", "dropped", "delivered", "held", "fragmented"], &went),
    }
}

/// The same and the links, to be published.
pub fn samples<'a>(ports: &'a [NamedPort], counted: &Stats) -> Vec<PortSample<'a>> {
    let counted = counted.ports.iter().zip(&counted.hosts).zip(&counted.conflicts);
    type Counted<'b> = ((&'b PortCounters, &'b HostCounters), &'b AddressConflicts);
    let sample = |(port, ((counters, host), conflicts)): (&'a NamedPort, Counted<'_>)| PortSample {
        name: &port.name,
        conflicts: *conflicts,
        counters: *counters,
        device: port.stats(),
        link: port.link(ports),
        host: port.host.as_ref().map(|side| (*host, side.refused())),
    };
    ports.iter().zip(counted).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A log that can be read.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What `work` logs.
    fn logged(work: impl FnOnce()) -> String {
        let written = Written::default();
        let writer = written.clone();
        let subscriber =
            tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, work);
        let bytes = written.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    fn sample() -> PortSample<'static> {
        PortSample {
            name: "inside",
            counters: PortCounters::default(),
            device: dpdk::PortStats::default(),
            link: None,
            host: None,
            conflicts: AddressConflicts::default(),
        }
    }

    #[test]
    fn a_host_side_that_is_late_or_without_memory_is_logged_at_its_onset() {
        let (mut alarms, now) = (LossAlarms::default(), Instant::now());
        let of_host = |tx_full, rx_nombuf| {
            let counters = HostCounters { tx_full, rx_nombuf, ..HostCounters::default() };
            [PortSample { host: Some((counters, 0)), ..sample() }]
        };
        assert_eq!(logged(|| alarms.watch(&[sample()], now)), "");
        let said = logged(|| (1..4).for_each(|n| alarms.watch(&of_host(n, 0), now)));
        assert_eq!(
            said.matches("port inside: host-full: 1 packets lost within a second; ").count(),
            1,
            "{said}"
        );
        let said = logged(|| (1..4).for_each(|n| alarms.watch(&of_host(3, n), now)));
        assert_eq!(said.matches("port inside: host side: mempool empty: 1 ").count(), 1, "{said}");
    }

    #[test]
    fn an_address_that_somebody_has_besides_is_logged_at_its_onset() {
        let (mut alarms, now) = (ConflictAlarms::default(), Instant::now());
        let conflicts =
            |messages| AddressConflicts { messages, last: Some(([10, 0, 0, 1].into(), [2, 0, 0, 0, 0, 9])) };
        let said = logged(|| {
            (1..4).for_each(|n| alarms.watch(&[PortSample { conflicts: conflicts(n), ..sample() }], now));
        });
        let what =
            "arp: 02:00:00:00:00:09 is using my IP address 10.0.0.1 on inside!: 1 messages within a second";
        assert_eq!(said.matches(what).count(), 1, "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
