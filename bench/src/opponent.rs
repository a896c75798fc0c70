//! What OVS-DPDK makes of the benchmark's captures, with every packet tracked and every connection
//! committed.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::connection::OUTSIDE_ADDRESS;
use crate::figures::rate_of_growth;
use crate::interrupt::sleep;
use crate::ovs::Ovs;
use crate::traffic::Captures;

/// Tracks and commits everything. Ports 1 (inside) and 2 (outside) are each other's way out; 3 plays the handshakes.
const FLOWS: &str = "\
table=0,ip,ct_state=-trk,actions=ct(table=1)
table=1,ip,ct_state=+trk+new,in_port=1,actions=ct(commit),output:2
table=1,ip,ct_state=+trk+est,in_port=1,actions=output:2
table=1,ip,ct_state=+trk+new,in_port=2,actions=ct(commit),output:1
table=1,ip,ct_state=+trk+est,in_port=2,actions=output:1
table=1,ip,ct_state=+trk+new,in_port=3,actions=ct(commit)
table=1,ip,ct_state=+trk+est,in_port=3,actions=drop
";

/// The same with the sources of all connections from inside translated.
fn snat_flows() -> String {
    let translate = format!("ct(commit,nat(src={OUTSIDE_ADDRESS}))");
    format!(
        "\
table=0,ip,ct_state=-trk,actions=ct(nat,table=1)
table=1,ip,ct_state=+trk+new,in_port=1,actions={translate},output:2
table=1,ip,ct_state=+trk+est,in_port=1,actions=output:2
table=1,ip,ct_state=+trk+est,in_port=2,actions=output:1
table=1,ip,ct_state=+trk+new,in_port=3,actions={translate}
table=1,ip,ct_state=+trk+est,in_port=3,actions=drop
"
    )
}

/// The flows of a switch that tracks everything, and translates sources or not.
pub fn flows(snat: bool) -> String {
    if snat { snat_flows() } else { FLOWS.into() }
}

/// How long a capture that is played once may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// From the first packets until caches and megaflows are what they will be.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);
/// Time between two looks at the size of the table.
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_millis(1);

/// A port while it is there.
struct Port {
    name: &'static str,
    number: u16,
    device: String,
}

impl Port {
    fn replaying(name: &'static str, number: u16, capture: &Path, for_ever: bool) -> Self {
        let infinite = if for_ever { ",infinite_rx=1" } else { "" };
        Port { name, number, device: format!("net_pcap_{name},rx_pcap={}{infinite}", capture.display()) }
    }

    fn add(&self, ovs: &Ovs) -> anyhow::Result<()> {
        ovs.add_port(self.name, self.number, &self.device)
    }

    fn remove(&self, ovs: &Ovs) -> anyhow::Result<()> {
        ovs.remove_port(self.name)
    }
}

/// Packets a second that leave on the other port, all of them of established connections: opens
/// `connections` by their handshakes, then replays both directions for ever and counts for `duration`.
pub fn established(
    ovs: &mut Ovs,
    flows: &str,
    captures: &Captures,
    connections: u32,
    duration: Duration,
) -> anyhow::Result<f64> {
    ovs.set_flows(flows)?;
    ovs.flush_connections()?;
    ovs.limit_connections(connections.into())?;
    play_once(ovs, &Port::replaying("setup", 3, &captures.setup, false), u64::from(connections) * 3)?;
    let opened = ovs.connections()?;
    ensure!(opened == u64::from(connections), "OVS has {opened} connections of {connections}");

    let inside = Port::replaying("inside", 1, &captures.established_inside, true);
    let outside = Port::replaying("outside", 2, &captures.established_outside, true);
    inside.add(ovs)?;
    outside.add(ovs)?;
    sleep(WARM_UP)?;
    let (before, begin) = (Passed::now(ovs)?, Instant::now());
    sleep(duration)?;
    let (after, elapsed) = (Passed::now(ovs)?, begin.elapsed());
    inside.remove(ovs)?;
    outside.remove(ovs)?;
    let received = after.received - before.received;
    let forwarded = after.forwarded - before.forwarded;
    // A few handshakes fall victim to the first upcalls, no more.
    ensure!(forwarded * 100 >= received * 99, "OVS has forwarded only {forwarded} packets of {received}");
    Ok(forwarded as f64 / elapsed.as_secs_f64())
}

/// Connections a second that come into the table from a capture of `connections` first packets. The limit
/// of the table is the gate: no connection while the port begins, then all of them in one pass.
pub fn new_connections(
    ovs: &mut Ovs,
    flows: &str,
    captures: &Captures,
    connections: u32,
) -> anyhow::Result<f64> {
    ovs.set_flows(flows)?;
    ovs.flush_connections()?;
    ovs.limit_connections(0)?;
    let outside = Port { name: "outside", number: 2, device: "net_null_outside,no-rx=1".into() };
    let inside = Port::replaying("inside", 1, &captures.new_inside, true);
    outside.add(ovs)?;
    inside.add(ovs)?;
    sleep(WARM_UP)?;

    let connections = u64::from(connections);
    let mut samples = Vec::new();
    let begin = Instant::now();
    ovs.limit_connections(connections)?;
    while samples.last().is_none_or(|&(_, count)| count < connections) {
        ensure!(begin.elapsed() < PATIENCE, "OVS has not taken {connections} connections in {PATIENCE:?}");
        samples.push((begin.elapsed().as_secs_f64(), ovs.connections()?));
        sleep(SAMPLE_EVERY)?;
    }
    inside.remove(ovs)?;
    outside.remove(ovs)?;
    ovs.flush_connections()?;
    rate_of_growth(&samples, connections)
}

/// Packets of both ports since they are there.
struct Passed {
    received: u64,
    forwarded: u64,
}

impl Passed {
    fn now(ovs: &mut Ovs) -> anyhow::Result<Self> {
        let (inside, outside) = (ovs.packets("inside")?, ovs.packets("outside")?);
        Ok(Passed { received: inside.0 + outside.0, forwarded: inside.1 + outside.1 })
    }
}

/// Plays a capture to its end.
fn play_once(ovs: &mut Ovs, port: &Port, packets: u64) -> anyhow::Result<()> {
    port.add(ovs)?;
    let begin = Instant::now();
    while ovs.packets(port.name)?.0 < packets {
        ensure!(begin.elapsed() < PATIENCE, "OVS has not played {packets} packets in {PATIENCE:?}");
        sleep(Duration::from_millis(50))?;
    }
    port.remove(ovs)
}
