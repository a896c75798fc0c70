//! Prometheus metrics. A worker's counters are its own; the control thread publishes copies of them once a second.
//!
//! Packets add up: those that ports and host sides have received, `sluice_answers_total`, `sluice_link_messages_total` and
//! `sluice_fragments_created_total` are together as many as those sent, `sluice_packet_drops_total`,
//! `sluice_packets_delivered_total`, `sluice_packets_fragmented_total` and `sluice_packets_held`.
//!
//! What a shard counts declares its metric itself ([`Counters`]); any other metric is one line in [`METRICS`] and one in
//! [`publish`]. Labels are closed sets, never an address.
//!
//! Of metrics-exporter-prometheus the recorder and its text format are used, which know labels, escapes and types. Counting
//! stays with the workers, whose counters cost a packet one addition and no atomic one; and its listener has no bounds, so
//! the page is served by [`http`].

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use dpdk::{Link, PortStats};
use metrics::{Label, counter, describe_counter, describe_gauge, gauge, set_global_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;
use sluice_conntrack::DropReason;
use sluice_conntrack::counters::{Counters, Sample as CounterSample};
use sluice_engine::report::Stats;
use sluice_engine::{AddressConflicts, HostCounters, NeighbourCounters, NeighbourState, PortCounters};

use crate::config::AddressSet;
use crate::http;
use crate::socket::protocol::{
    HaStatus, InstallFailures, JournalStatus, LeaseStatus, PeerStatus, PortCounts, SinkStatus, StreamStatus,
    WitnessStatus,
};

/// Name and help text of each metric; a name that ends in `_total` is a counter, any other a gauge.
#[rustfmt::skip]
const METRICS: &[(&str, &str)] = &[
    ("sluice_build_info", "The program that runs, as a label; always 1."),
    ("sluice_config_revision", "Number of the configuration in force, counted from the start."),
    ("sluice_config_last_apply_success", "Whether the last configuration was put in force."),
    ("sluice_config_last_apply_timestamp_seconds", "When a configuration was last put in force, Unix time."),
    ("sluice_config_fallback", "Whether the file was wrong at the start and the last good configuration is in force instead."),
    ("sluice_followed_routes", "Routes of the kernel's in force (routes.follow)."),
    ("sluice_followed_routes_swaps_total", "Times that changed routes of the kernel's were put in force, many changes at a time."),
    ("sluice_set_prefixes", "Prefixes in a named set of addresses, as it is in force; 0 once there is no such set."),
    ("sluice_conntrack_entries_limit", "Maximum number of entries (conntrack.max-entries)."),
    ("sluice_conntrack_signposts", "Signposts: tuples owned by other shards whose packets are steered to this one."),
    ("sluice_neighbours", "Neighbours (ARP and neighbour discovery) by state; each worker knows its own."),
    ("sluice_neighbour_evictions_total", "Neighbours that gave way to others because there were too many, by state."),
    ("sluice_nat_rule_connections_total", "Connections that a rule of NAT has bound, by its name and by what it translates."),
    ("sluice_nat_pool_ports", "Size of an SNAT port pool, by protocol."),
    ("sluice_nat_pool_ports_used", "Ports of an SNAT port pool in use; each worker counts for itself."),
    ("sluice_nat_allocation_failures_total", "Connections that an SNAT port pool had no port for, by reason."),
    ("sluice_packets_total", "Packets received (rx) and sent (tx) by a port; those of a VLAN by the port that carries it, too."),
    ("sluice_link_messages_total", "Messages of the box to the link of a port: ARP, neighbour discovery, MLD, and queries of MLD that its host got, too."),
    ("sluice_packets_held", "Packets that wait: fragments for the rest of their datagram, others for another shard or a neighbour."),
    ("sluice_bytes_total", "Bytes of the frames received (rx) and sent (tx) by a port."),
    ("sluice_port_up", "Whether a port's link is up."),
    ("sluice_port_speed_bytes", "Speed of a port's link in bytes a second, where the device knows it."),
    ("sluice_port_rx_missed_total", "Packets dropped by a device because its receive queues were full."),
    ("sluice_port_rx_errors_total", "Packets that arrived broken at a device, which dropped them."),
    ("sluice_port_rx_nombuf_total", "Packets dropped by a device because the mempool was empty."),
    ("sluice_port_tx_full_total", "Packets dropped because a device's transmit queue was full."),
    ("sluice_port_tx_errors_total", "Packets, among those sent, that a device took and could not send."),
    ("sluice_address_conflicts_total", "ARP and neighbour discovery messages of others who have an address of the box's, too, by port."),
    ("sluice_host_packets_total", "Packets that the box itself sent (rx) and got (tx) through the host side of a port."),
    ("sluice_host_bytes_total", "Bytes of the frames that the box itself sent (rx) and got (tx) through the host side of a port."),
    ("sluice_host_full_total", "Packets for the box itself that its host side did not take fast enough."),
    ("sluice_host_nombuf_total", "Packets of the box itself dropped because the mempool was empty."),
    ("sluice_host_paced_total", "Rounds in which a worker left packets of the box itself waiting, as these had had their share."),
    ("sluice_host_errors_total", "Packets, among those the box got, that its interface behind a port refused: it is down or gone."),
    ("sluice_policy_rule_packets_total", "Packets decided by a policy rule, by its name; `default` is the policy's default."),
    ("sluice_policy_rule_bytes_total", "Bytes of the packets decided by a policy rule."),
    ("sluice_shard_handoff_packets_total", "Packets received by a worker and handed off to the shard that owns them."),
    ("sluice_shard_handoff_drops_total", "Packets dropped because the handoff ring to the shard that owns them was full."),
    ("sluice_shard_busy_ratio", "Share of the last second that a worker spent in polls that received packets."),
    ("sluice_mempool_available", "Free mbufs of the mempools."),
    ("sluice_mempool_size", "Size of the mempools in mbufs."),
    ("sluice_ha_role", "Whether the box is active for a group (1) or on standby (0)."),
    ("sluice_ha_takeovers_total", "Times that the box became active for a group."),
    ("sluice_ha_depositions_total", "Times that it stepped back because another box was active by a higher term."),
    ("sluice_ha_engine_up", "Whether the box's own Redis takes what the box tells."),
    ("sluice_ha_term", "The term that the box tells by: higher each time that its stream begins anew."),
    ("sluice_ha_records_sent_total", "Records of connections written for peers."),
    ("sluice_ha_bulks_sent_total", "Times that a peer was told of all connections."),
    ("sluice_ha_peer_up", "Whether a peer's Redis answers."),
    ("sluice_ha_synced", "Whether the box knows all that a peer has told."),
    ("sluice_ha_lag_seconds", "How old the last record of a peer was when the workers had it, or is by now where none comes any more."),
    ("sluice_ha_records_installed_total", "Records of a peer that were installed."),
    ("sluice_ha_install_failures_total", "Records of a peer that were not installed, by reason; of `damaged`, whole stream entries."),
    ("sluice_ha_gaps_total", "Times that entries of a peer's stream were missing, or that it began anew."),
    ("sluice_ha_witness_up", "Whether the witness answers (ha.witness)."),
    ("sluice_ha_lease", "Whether the witness' lease of a group is this box's."),
    ("sluice_ha_bulks_total", "Times that a peer has told of all its connections."),
    ("sluice_log_events_total", "Records that were written, by sink: `log`, those of log rules; `journal`, `syslog`, `ipfix`, those of connections."),
    ("sluice_log_events_dropped_total", "Records that were not written, by sink: those of log rules beyond the rate limit, events that an exporter lost."),
    ("sluice_journal_bytes", "Bytes of the NAT journal's files."),
    ("sluice_journal_oldest_timestamp_seconds", "When the oldest segment of the NAT journal begins, Unix time."),
];

/// Those that shards count, and all others.
fn all_metrics() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    METRICS.iter().chain(Counters::METRICS)
}

/// What is published at one moment.
pub struct Sample<'a> {
    /// What each worker has counted, by the number of its shard.
    pub shards: &'a [Stats],
    /// Most entries allowed.
    pub entries_limit: u64,
    /// Share of its time that each worker was busy since the last sample.
    pub busy_ratios: &'a [f64],
    /// The ports.
    pub ports: &'a [PortSample<'a>],
    /// Free mbufs, and all there are.
    pub mbufs: (u32, u32),
    /// Log records written.
    pub logged: u64,
    /// Log records not written.
    pub unlogged: u64,
}

/// What a port has counted.
pub struct PortSample<'a> {
    /// Name of the interface.
    pub name: &'a str,
    /// The workers' side.
    pub counters: PortCounters,
    /// The device's side.
    pub device: PortStats,
    /// Its link, where the device knows.
    pub link: Option<Link>,
    /// Who else has an address of the box's there.
    pub conflicts: AddressConflicts,
    /// Its host side: what the workers have counted there, and the packets that the kernel refused.
    pub host: Option<(HostCounters, u64)>,
}

/// Serves metrics at `listen` from now on, on a thread of its own; gives the address that they are served at.
///
/// # Errors
/// The address is taken, or is not this machine's: in words for the user.
pub fn serve(listen: SocketAddr) -> Result<SocketAddr, String> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    set_global_recorder(recorder).map_err(|error| error.to_string())?;
    let address = http::serve(listen, move || page.render())
        .map_err(|error| format!("metrics.listen {listen}: {error}"))?;
    for (name, help) in all_metrics() {
        match is_counter(name) {
            true => describe_counter!(*name, *help),
            false => describe_gauge!(*name, *help),
        }
    }
    gauge!("sluice_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1);
    Ok(address)
}

/// A configuration is in force, the `revision`th; as a `fallback` where that of the file was refused.
pub fn applied(revision: u64, fallback: bool) {
    gauge!("sluice_config_revision").set(revision as f64);
    gauge!("sluice_config_fallback").set(u32::from(fallback));
    gauge!("sluice_config_last_apply_success").set(u32::from(!fallback));
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    gauge!("sluice_config_last_apply_timestamp_seconds").set(since_epoch.as_secs_f64());
}

/// So many routes of the kernel's have come in force, with what has changed since the last time.
pub fn rerouted(routes: usize) {
    gauge!("sluice_followed_routes").set(routes as f64);
    counter!("sluice_followed_routes_swaps_total").increment(1);
}

/// How many prefixes named sets have.
pub fn sets(sets: &BTreeMap<String, AddressSet>) {
    for (name, set) in sets {
        gauge!("sluice_set_prefixes", "set" => name.clone()).set(set.elements.list().len() as f64);
    }
}

/// There are no such sets any more.
pub fn forget_sets<'a>(names: impl Iterator<Item = &'a String>) {
    names.for_each(|name| gauge!("sluice_set_prefixes", "set" => name.clone()).set(0));
}

/// A configuration was refused.
pub fn refused() {
    gauge!("sluice_config_last_apply_success").set(0);
}

/// The box as one of its cluster.
pub fn cluster(status: &HaStatus) {
    gauge!("sluice_ha_engine_up").set(u32::from(status.engine.up));
    for StreamStatus { group, term, records_sent, bulks_sent, .. } in &status.streams {
        let group = || vec![Label::new("group", group.clone())];
        gauge!("sluice_ha_term", group()).set(f64::from(*term));
        counter!("sluice_ha_records_sent_total", group()).absolute(*records_sent);
        counter!("sluice_ha_bulks_sent_total", group()).absolute(*bulks_sent);
    }
    status.peers.iter().for_each(peer);
    if let Some(WitnessStatus { up, leases, .. }) = &status.witness {
        gauge!("sluice_ha_witness_up").set(u32::from(*up));
        for LeaseStatus { group, held } in leases {
            gauge!("sluice_ha_lease", vec![Label::new("group", group.clone())]).set(u32::from(*held));
        }
    }
}

fn peer(status: &PeerStatus) {
    let PeerStatus { name, group, .. } = status;
    let peer = || vec![Label::new("peer", name.clone()), Label::new("group", group.clone())];
    gauge!("sluice_ha_peer_up", peer()).set(u32::from(status.up));
    gauge!("sluice_ha_synced", peer()).set(u32::from(status.synced));
    if let Some(lag_us) = status.lag_us {
        gauge!("sluice_ha_lag_seconds", peer()).set(lag_us as f64 / 1e6);
    }
    counter!("sluice_ha_records_installed_total", peer()).absolute(status.records_installed);
    counter!("sluice_ha_gaps_total", peer()).absolute(status.gaps);
    counter!("sluice_ha_bulks_total", peer()).absolute(status.bulks);
    for InstallFailures { reason, count } in &status.failures {
        let labels = [peer(), vec![Label::new("reason", reason.clone())]].concat();
        counter!("sluice_ha_install_failures_total", labels).absolute(*count);
    }
}

/// Who is told of connections: those of a kind together.
pub fn exported(sinks: &[SinkStatus]) {
    for SinkStatus { sink, .. } in sinks {
        let of_kind = || sinks.iter().filter(|it| it.sink == *sink);
        let label = || vec![Label::new("sink", sink.clone())];
        counter!("sluice_log_events_total", label()).absolute(of_kind().map(|it| it.written).sum());
        counter!("sluice_log_events_dropped_total", label()).absolute(of_kind().map(|it| it.lost).sum());
    }
}

/// The NAT journal.
pub fn journal(journal: &JournalStatus) {
    gauge!("sluice_journal_bytes").set(journal.bytes as f64);
    gauge!("sluice_journal_oldest_timestamp_seconds").set(journal.oldest_s as f64);
}

/// A rule of this name has decided so much more.
pub fn rule(name: &str, packets: u64, bytes: u64) {
    let label = || vec![Label::new("rule", name.to_owned())];
    counter!("sluice_policy_rule_packets_total", label()).increment(packets);
    counter!("sluice_policy_rule_bytes_total", label()).increment(bytes);
}

/// A rule of NAT has bound so many connections more.
pub fn nat_rule(name: &str, side: &'static str, connections: u64) {
    let labels = vec![Label::new("rule", name.to_owned()), Label::new("side", side)];
    counter!("sluice_nat_rule_connections_total", labels).increment(connections);
}

/// An SNAT rule has so many ports to give, and so many are used.
pub fn pool(name: &str, ports: PortCounts, used: PortCounts) {
    for (metric, ports) in [("sluice_nat_pool_ports", ports), ("sluice_nat_pool_ports_used", used)] {
        for (proto, ports) in ports.named() {
            let labels = vec![Label::new("pool", name.to_owned()), Label::new("proto", proto)];
            gauge!(metric, labels).set(ports as f64);
        }
    }
}

/// An SNAT rule has failed so many connections more.
pub fn pool_failures(name: &str, reason: DropReason, connections: u64) {
    let labels = vec![Label::new("pool", name.to_owned()), Label::new("reason", reason.label())];
    counter!("sluice_nat_allocation_failures_total", labels).increment(connections);
}

/// The box is active for a group or not, and has become so that often.
pub fn group(name: &str, is_active: bool, takeovers: u64, depositions: u64) {
    let label = || vec![Label::new("group", name.to_owned())];
    gauge!("sluice_ha_role", label()).set(u32::from(is_active));
    counter!("sluice_ha_takeovers_total", label()).absolute(takeovers);
    counter!("sluice_ha_depositions_total", label()).absolute(depositions);
}

/// Publishes a sample.
pub fn publish(sample: &Sample<'_>) {
    for ((number, stats), busy_ratio) in sample.shards.iter().enumerate().zip(sample.busy_ratios) {
        publish_shard(number, stats, *busy_ratio);
    }
    gauge!("sluice_conntrack_entries_limit").set(sample.entries_limit as f64);
    sample.ports.iter().for_each(publish_port);
    let pool = || vec![Label::new("pool", "packets")];
    gauge!("sluice_mempool_available", pool()).set(f64::from(sample.mbufs.0));
    gauge!("sluice_mempool_size", pool()).set(f64::from(sample.mbufs.1));
    let sink = || vec![Label::new("sink", "log")];
    counter!("sluice_log_events_total", sink()).absolute(sample.logged);
    counter!("sluice_log_events_dropped_total", sink()).absolute(sample.unlogged);
}

fn publish_shard(number: usize, stats: &Stats, busy_ratio: f64) {
    let shard = || Label::new("shard", number.to_string());
    stats.counters.samples(|CounterSample { metric, labels, value }| {
        let labels = labels.into_iter().flatten().map(|(key, value)| Label::new(key, value));
        publish_number(metric, [shard()].into_iter().chain(labels).collect(), value);
    });
    publish_number("sluice_conntrack_signposts", vec![shard()], u64::from(stats.signposts));
    let NeighbourCounters { entries, evictions, waiting: _ } = stats.neighbours;
    for ((state, entries), evictions) in NeighbourState::ALL.iter().zip(entries).zip(evictions) {
        let labels = || vec![shard(), Label::new("state", state.label())];
        publish_number("sluice_neighbours", labels(), u64::from(entries));
        publish_number("sluice_neighbour_evictions_total", labels(), evictions);
    }
    gauge!("sluice_shard_busy_ratio", vec![shard()]).set(busy_ratio);
    publish_number("sluice_packets_held", vec![shard()], stats.held);
    publish_number("sluice_shard_handoff_packets_total", vec![shard()], stats.handed_off);
    let handoff_drops = stats.counters.drops[DropReason::HandoffFull as usize];
    publish_number("sluice_shard_handoff_drops_total", vec![shard()], handoff_drops);
}

/// A counter or a gauge, as its name says.
fn publish_number(metric: &'static str, labels: Vec<Label>, value: u64) {
    match is_counter(metric) {
        true => counter!(metric, labels).absolute(value),
        false => gauge!(metric, labels).set(value as f64),
    }
}

fn is_counter(metric: &str) -> bool {
    metric.ends_with("_total")
}

fn publish_port(sample: &PortSample<'_>) {
    let PortSample { name, counters, device, link, conflicts, host } = sample;
    let port = || Label::new("port", (*name).to_owned());
    let way = |direction: &'static str| vec![port(), Label::new("direction", direction)];
    counter!("sluice_packets_total", way("rx")).absolute(counters.rx_packets);
    counter!("sluice_packets_total", way("tx")).absolute(counters.tx_packets);
    counter!("sluice_link_messages_total", vec![port()]).absolute(counters.link_messages);
    counter!("sluice_bytes_total", way("rx")).absolute(counters.rx_bytes);
    counter!("sluice_bytes_total", way("tx")).absolute(counters.tx_bytes);
    gauge!("sluice_port_up", vec![port()]).set(u32::from(link.is_some_and(|link| link.up)));
    if let Some(mbps) = link.and_then(|link| link.speed_mbps) {
        gauge!("sluice_port_speed_bytes", vec![port()]).set(f64::from(mbps) * 1e6 / 8.0);
    }
    counter!("sluice_port_rx_missed_total", vec![port()]).absolute(device.rx_missed);
    counter!("sluice_port_rx_errors_total", vec![port()]).absolute(device.rx_errors);
    counter!("sluice_port_rx_nombuf_total", vec![port()]).absolute(device.rx_nombuf);
    counter!("sluice_port_tx_full_total", vec![port()]).absolute(counters.tx_full);
    counter!("sluice_address_conflicts_total", vec![port()]).absolute(conflicts.messages);
    counter!("sluice_port_tx_errors_total", vec![port()]).absolute(device.tx_errors);
    if let Some((counters, refused)) = host {
        counter!("sluice_host_packets_total", way("rx")).absolute(counters.rx_packets);
        counter!("sluice_host_packets_total", way("tx")).absolute(counters.tx_packets);
        counter!("sluice_host_bytes_total", way("rx")).absolute(counters.rx_bytes);
        counter!("sluice_host_bytes_total", way("tx")).absolute(counters.tx_bytes);
        counter!("sluice_host_full_total", vec![port()]).absolute(counters.tx_full);
        counter!("sluice_host_nombuf_total", vec![port()]).absolute(counters.rx_nombuf);
        counter!("sluice_host_paced_total", vec![port()]).absolute(counters.rx_paced);
        counter!("sluice_host_errors_total", vec![port()]).absolute(*refused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_as_prometheus_wants_them() {
        for (name, help) in all_metrics() {
            let plain = name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(plain && name.starts_with("sluice_"), "{name}");
            assert!(help.ends_with('.') && help.len() > 8, "{name}: {help}");
            let scaled = ["ms", "us", "milliseconds", "kb"];
            assert!(!name.split('_').any(|word| scaled.contains(&word)), "{name}: only base units");
        }
    }
}
