//! Devices that lose packets behind DPDK's back, on interfaces of the kernel.

use crate::box_under_test::{BoxUnderTest, wait_for};
use crate::namespaces::{Namespace, Row, ip};

const CONFIG: &str = "version: 1
system: { cores: { control: 0, workers: [0] }, memory: { hugepages: 512M } }
interfaces:
  inside: { device: 'vdev:net_af_packet0,iface=inside' }
  outside: { device: 'vdev:net_af_packet1,iface=outside' }
conntrack: { max-entries: 1K }
policy: { default: accept }
";

/// Sends UDP packets to a host whose MAC address need not be known.
fn send(from: Namespace<'_>, packets: usize) {
    let script = format!(
        "import socket; s = socket.socket(type=socket.SOCK_DGRAM); [s.sendto(b'x', ('10.9.0.2', 9)) for _ in range({packets})]"
    );
    assert!(from.command("python3", "-c").arg(script).status().unwrap().success());
}

fn row(test: &str) -> Option<Row> {
    let row = Row::new(test, &["10.9.0.1/24"], &["10.9.0.2/24"])?;
    let [client, ..] = row.namespaces();
    assert!(ip(&format!("-n {client} neighbour add 10.9.0.2 lladdr 02:00:00:00:00:09 dev eth0")));
    Some(row)
}

/// A figure of a port, as `stats` and `ports` tell it.
fn figure(daemon: &BoxUnderTest, command: &str, port: &str, key: &str) -> serde_json::Value {
    let told: serde_json::Value = serde_json::from_str(&daemon.tell(&format!("{command} --json"))).unwrap();
    let ports = told["ports"].as_array().unwrap();
    ports.iter().find(|told| told["name"] == port).unwrap()[key].clone()
}

fn is_up(daemon: &BoxUnderTest, port: &str) -> bool {
    figure(daemon, "ports", port, "up") == true
}

fn counted(daemon: &BoxUnderTest, port: &str, key: &str) -> u64 {
    figure(daemon, "stats", port, key).as_u64().unwrap()
}

#[test]
fn a_device_that_goes_away_is_down_and_its_losses_have_a_name() {
    let Some(row) = row("gone") else { return };
    let [client, middle, _] = row.namespaces();
    let daemon = BoxUnderTest::start_inside(middle, CONFIG);
    assert!(is_up(&daemon, "inside") && is_up(&daemon, "outside"));
    assert!(ip(&format!("-n {middle} link delete outside")));
    wait_for("the link to be down", || !is_up(&daemon, "outside"));
    send(client, 40);
    wait_for("the losses", || counted(&daemon, "outside", "tx_errors") >= 40);
    assert!(is_up(&daemon, "inside"));
    for record in ["outside: the link is down", "outside: transmit errors: "] {
        wait_for(record, || daemon.stderr().contains(&format!("WARN port {record}")));
    }
}

/// One that is made anew by its name is not the one that the driver has.
#[test]
fn a_link_is_down_while_its_interface_is() {
    let Some(row) = row("flaps") else { return };
    let [_, middle, _] = row.namespaces();
    let daemon = BoxUnderTest::start_inside(middle, CONFIG);
    for (way, up) in [("down", false), ("up", true)] {
        assert!(ip(&format!("-n {middle} link set outside {way}")));
        wait_for(way, || is_up(&daemon, "outside") == up);
    }
    assert!(ip(&format!("-n {middle} link delete outside")));
    assert!(ip(&format!("-n {middle} link add outside type veth peer name far")));
    assert!(ip(&format!("-n {middle} link set far up")) && ip(&format!("-n {middle} link set outside up")));
    assert!(!is_up(&daemon, "outside"));
}

/// The ring of net_af_packet has 512 frames; who stands still for longer loses what the kernel has no room for.
#[test]
fn losses_of_the_kernels_ring_are_missed_packets() {
    let Some(row) = row("ring") else { return };
    let [client, middle, _] = row.namespaces();
    let daemon = BoxUnderTest::start_inside(middle, CONFIG);
    daemon.signal("STOP");
    send(client, 2000);
    daemon.signal("CONT");
    let (received, missed) =
        (|| counted(&daemon, "inside", "rx_packets"), || counted(&daemon, "inside", "rx_missed"));
    wait_for("each packet to be counted", || received() + missed() >= 2000);
    assert!(missed() > 0);
    wait_for("the log", || daemon.stderr().contains("WARN port inside: receive queue full: "));
}
