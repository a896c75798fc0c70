//! A router on a stick: VLANs on one cable to a switch, beside a network without a tag and another port, as Linux hosts see them.

use crate::box_under_test::{BoxUnderTest, wait_for};
use crate::cores;
use crate::namespaces::{Host, Namespace, PEERS, Spaces, Streams, ip};

/// Takes frames between a cable, where they have tags, and access ports.
const SWITCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/switch.py");

/// Addresses of one family: the box's end and the other one of each network.
struct Plan {
    trunk: [&'static str; 2],
    guests: [&'static str; 2],
    wan: [&'static str; 2],
    inside: [&'static str; 2],
    length: u8,
}

const FAMILIES: [Plan; 2] = [
    Plan {
        trunk: ["10.1.0.1", "10.1.0.2"],
        guests: ["10.20.0.1", "10.20.0.2"],
        wan: ["203.0.113.1", "203.0.113.2"],
        inside: ["10.0.0.1", "10.0.0.2"],
        length: 24,
    },
    Plan {
        trunk: ["fd00:1::1", "fd00:1::2"],
        guests: ["fd00:20::1", "fd00:20::2"],
        wan: ["2001:db8::1", "2001:db8::2"],
        inside: ["fd00::1", "fd00::2"],
        length: 64,
    },
];

const POLICY: &str = "
nat: { source: [{ out: wan, masquerade: true }] }
policy:
  default: drop
  rules:
    - { state: [established, related], action: accept }
    - { out: [wan, local], state: new, action: accept }
    - { in: [inside, trunk, local], out: guests, state: new, action: accept }
";

/// The hosts: a switch with the trunk's other end, where it is a host as well; a guest and a server at access ports of it; a host
/// behind another port of the box; the box, and its own network stack.
fn lay(test: &str) -> Option<(Spaces<6>, Host)> {
    let spaces = Spaces::new(test, ["box", "switch", "guest", "server", "inside", "host"])?;
    let [middle, switch, guest, server, inside, _] = spaces.namespaces();
    let set = |arguments: String| assert!(ip(&arguments), "ip {arguments}");
    set(format!("link add trunk netns {middle} type veth peer name eth0 netns {switch}"));
    set(format!("link add inside netns {middle} type veth peer name eth0 netns {inside}"));
    for (id, host) in [(20, guest), (30, server), (40, guest)] {
        set(format!("link add vlan{id} netns {switch} type veth peer name vlan{id} netns {host}"));
        set(format!("-n {switch} link set vlan{id} up"));
        // What the switch copies has to be whole.
        host.tell("ethtool", &format!("-K vlan{id} tx off tso off gso off"));
    }
    // The box answers neighbour discovery, not the kernel that lends it the cables.
    middle.tell("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
    for (host, device) in [(middle, "trunk"), (middle, "inside"), (switch, "eth0"), (inside, "eth0")] {
        set(format!("-n {host} link set {device} up"));
        // Frames of many segments would be cut off.
        host.tell("ethtool", &format!("-K {device} tso off gso off"));
    }
    for plan in &FAMILIES {
        let nodad = if plan.length == 64 { " nodad" } else { "" };
        for (host, device, [gateway, own]) in [
            (switch, "eth0", plan.trunk),
            (guest, "vlan20", plan.guests),
            (server, "vlan30", plan.wan),
            (inside, "eth0", plan.inside),
        ] {
            set(format!("-n {host} link set {device} up"));
            set(format!("-n {host} address add {own}/{} dev {device}{nodad}", plan.length));
            // The server knows no way to the others: it is to see the box's address.
            if host != server {
                set(format!("-n {host} route add default via {gateway}"));
            }
        }
    }
    let copies = switch.start("python3", &format!("{SWITCH} eth0 20=vlan20 30=vlan30 40=vlan40"));
    Some((spaces, copies))
}

fn start(spaces: &Spaces<6>, workers: &str) -> BoxUnderTest {
    let [middle, .., host] = spaces.namespaces();
    let addresses = |of: fn(&Plan) -> [&'static str; 2]| {
        FAMILIES.each_ref().map(|plan| format!("'{}/{}'", of(plan)[0], plan.length)).join(", ")
    };
    let config = format!(
        "version: 1
system: {{ cores: {{ control: 0, workers: [{workers}] }}, memory: {{ hugepages: 512M }} }}
interfaces:
  trunk: {{ device: 'vdev:net_af_packet0,iface=trunk', addresses: [{}] }}
  guests: {{ device: 'vlan:trunk.20', addresses: [{}], host: {{ namespace: {host} }} }}
  wan: {{ device: 'vlan:trunk.30', addresses: [{}], mtu: 1400 }}
  inside: {{ device: 'vdev:net_af_packet1,iface=inside', addresses: [{}] }}
conntrack: {{ max-entries: 1K }}
{POLICY}",
        addresses(|plan| plan.trunk),
        addresses(|plan| plan.guests),
        addresses(|plan| plan.wan),
        addresses(|plan| plan.inside),
    );
    BoxUnderTest::start_inside(middle, &config)
}

#[test]
fn a_router_on_a_stick() {
    routes_between_vlans("stick", "0");
}

/// Each of two workers has one port, whose VLANs it sends by.
#[test]
fn a_router_on_a_stick_of_two_workers() {
    if cores::are_there() {
        routes_between_vlans("stick2", "0, 1");
    }
}

fn routes_between_vlans(test: &str, workers: &str) {
    let Some((spaces, _switch)) = lay(test) else { return };
    let daemon = start(&spaces, workers);
    let [_, switch, guest, server, inside, host] = spaces.namespaces();
    let says = |from: Namespace<'_>, arguments: &str, answer: &str| {
        let ping = || {
            let output = from.run("ping", &format!("-n -c 1 -W 2 {arguments}"));
            String::from_utf8(output.stdout).unwrap()
        };
        wait_for(&format!("ping {arguments}: {answer}"), || ping().contains(answer));
    };
    for plan in &FAMILIES {
        let [trunk, guests, wan, inside_host] = [plan.trunk, plan.guests, plan.wan, plan.inside];
        // From one VLAN into another on the same cable, with the address of the box there: the server knows no other.
        says(guest, wan[1], "ttl=63");
        // Without a tag on the same cable, and by another port.
        says(switch, guests[1], "ttl=63");
        says(inside, guests[1], "ttl=63");
        says(inside, wan[1], "ttl=63");
        // To the box: itself, and its own network stack, which speaks there, too.
        says(server, wan[0], &format!("from {}", wan[0]));
        says(switch, trunk[0], &format!("from {}", trunk[0]));
        says(guest, guests[0], &format!("from {}", guests[0]));
        says(host, guests[1], &format!("from {}", guests[1]));
        // As far as the box, and more than the VLAN takes.
        let exceeded = if plan.length == 64 { "Time exceeded: Hop limit" } else { "Time to live exceeded" };
        says(guest, &format!("-t 1 {}", wan[1]), &format!("From {} icmp_seq=1 {exceeded}", guests[0]));
        let too_big = if plan.length == 64 { "mtu=1400" } else { "(mtu = 1400)" };
        says(guest, &format!("-M do -s 1400 {}", wan[1]), too_big);
        // No policy lets these pass, which are each a VLAN's.
        for (from, to) in [(guest, inside_host[1]), (guest, trunk[1])] {
            assert!(!from.run("ping", &format!("-n -c 1 -W 1 {to}")).status.success());
        }
        assert_eq!(
            daemon.tell(&format!("routes get {}", guests[1])),
            format!("{} dev guests src {}\n", guests[1], guests[0])
        );
        let neighbours = daemon.tell("neighbours");
        for known in [format!("{} dev guests lladdr ", guests[1]), format!("{} dev wan lladdr ", wan[1])] {
            assert_eq!(neighbours.lines().filter(|line| line.starts_with(&known)).count(), 1, "{neighbours}");
        }
    }
    let _server = server.serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    let mut streams = Streams::open(guest, FAMILIES[0].wan[1], 8080, 8);
    streams.go_on();
    let listed = daemon.tell("conntrack -L -p tcp --dport 8080 -u ASSURED");
    assert!(listed.contains("src=10.20.0.2 dst=203.0.113.2"), "{listed}");
    assert!(listed.contains("src=203.0.113.2 dst=203.0.113.1"), "{listed}");
    streams.close();
    let ports = daemon.tell("ports");
    assert!(
        ports.lines().any(|line| line.starts_with("guests ")
            && line.ends_with(
                "trunk (vlan 20), host in namespace {host}".replace("{host}", &host.to_string()).as_str()
            )),
        "{ports}"
    );
    daemon.balances();
    let stats = daemon.tell("stats");
    let received = |port: &str| {
        let line = stats.lines().find(|line| line.split_whitespace().next() == Some(port));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0_u64)
    };
    assert!(received("guests") > 8 && received("wan") > 8, "{stats}");
    assert!(received("trunk") >= received("guests") + received("wan"), "{stats}");
    // A VLAN on the cable that is none of the box's.
    let dropped = || {
        let told = daemon.tell("drops");
        told.lines().any(|line| line.split_whitespace().next() == Some("unknown-vlan"))
    };
    guest.tell("ip", "link set vlan40 up");
    guest.tell("ip", "address add 10.40.0.2/24 dev vlan40");
    wait_for("a drop", || {
        guest.run("ping", "-n -c 1 -W 1 10.40.0.1");
        dropped()
    });
}
