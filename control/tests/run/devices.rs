//! Devices that lose packets behind DPDK's back, on interfaces of the kernel.

use crate::box_under_test::{BoxUnderTest, wait_for};
use crate::namespaces::{Host, Namespace, ROUTER, Row, ip};

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

/// A packet socket takes the frames of every interface from when it is made until it is bound to one: those of a device that is
/// being attached include those of its neighbours.
#[test]
fn a_port_receives_nothing_from_before_it_was_started() {
    let Some(row) = Row::routed("early") else { return };
    let [client, middle, server] = row.namespaces();
    let mac = |port: &str| middle.tell("cat", &format!("/sys/class/net/{port}/address")).trim().to_owned();
    for (host, router, port) in [(client, "10.0.0.1", "inside"), (server, "10.1.0.1", "outside")] {
        assert!(ip(&format!("-n {host} neighbour add {router} lladdr {} dev eth0", mac(port))));
    }
    let script = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); [s.sendto(b'x', ('10.2.0.2', 9)) for _ in iter(int, 1)]";
    let send = |from: Namespace<'_>| Host(from.command("python3", "-c").arg(script).spawn().unwrap());
    let _senders = [client, server].map(send);
    let config = ROUTER.replace("workers: [0]", "workers: [0, 1]") + "policy: { default: accept }\n";
    for _ in 0..3 {
        let daemon = BoxUnderTest::start_inside(middle, &config);
        wait_for("packets of both hosts", || {
            ["inside", "outside"].iter().all(|port| counted(&daemon, port, "rx_packets") > 100)
        });
        let drops = daemon.tell("drops");
        assert!(!drops.contains("other-host"), "{drops}");
    }
}
