//! A router between two networks: neighbours, next hops, and what the box says itself, as Linux hosts see it.

use crate::box_under_test::{BoxUnderTest, text, wait_for};
use crate::cores;
use crate::namespaces::{Namespace, PEERS, Row, Streams, ip};

/// The box on both sides, and the largest packet of the far side.
const INTERFACES: &str = "
  inside: { device: 'vdev:net_af_packet0,iface=inside', addresses: [10.0.0.1/24, 'fd00:1::1/64'] }
  outside: { device: 'vdev:net_af_packet1,iface=outside', addresses: [203.0.113.1/24, '2001:db8:2::1/64'], mtu: 1400 }";

const POLICY: &str = "
policy:
  default: reject
  rules: [{ state: [established, related], action: accept }, { in: inside, state: new, action: accept }]";

fn start(row: &Row, workers: &str) -> BoxUnderTest {
    start_with(row, workers, INTERFACES)
}

fn start_with(row: &Row, workers: &str, interfaces: &str) -> BoxUnderTest {
    let [client, middle, server] = row.namespaces();
    // The box answers neighbour discovery, not the kernel that lends it the cables.
    middle.tell("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
    // Its metrics are served there.
    assert!(ip(&format!("-n {middle} link set lo up")));
    for (host, v4, v6) in [(client, "10.0.0.1", "fd00:1::1"), (server, "203.0.113.1", "2001:db8:2::1")] {
        assert!(ip(&format!("-n {host} route add default via {v4}")));
        assert!(ip(&format!("-n {host} -6 route add default via {v6}")));
    }
    let config = format!(
        "version: 1
system: {{ cores: {{ control: 0, workers: [{workers}] }}, memory: {{ hugepages: 512M }} }}
interfaces: {interfaces}
conntrack: {{ max-entries: 1K }}
{POLICY}
"
    );
    BoxUnderTest::start_inside(middle, &config)
}

#[test]
fn hosts_see_a_router() {
    hosts_see("routed", "0");
}

/// One worker has the inside, the other the outside: each sends through the other's queue, and hears from it who lives
/// there.
#[test]
fn hosts_see_a_router_of_two_workers() {
    if cores::are_there() {
        hosts_see("routed2", "0, 1");
    }
}

fn hosts_see(test: &str, workers: &str) {
    let row = Row::new(test, &["10.0.0.2/24", "fd00:1::2/64"], &["203.0.113.2/24", "2001:db8:2::2/64"]);
    let Some(row) = row else { return };
    let daemon = start(&row, workers);
    let [client, _, server] = row.namespaces();
    let says = |from: Namespace<'_>, arguments: &str, answer: &str| {
        let ping = || text(&from.run("ping", &format!("-n -c 1 -W 2 {arguments}")).stdout);
        wait_for(&format!("ping {arguments}: {answer}"), || ping().contains(answer));
    };
    // Through the box, which takes one from the TTL.
    says(client, "203.0.113.2", "ttl=63");
    says(client, "2001:db8:2::2", "ttl=63");
    // To the box, on either side of it.
    says(client, "10.0.0.1", "from 10.0.0.1");
    says(client, "203.0.113.1", "from 203.0.113.1");
    says(client, "2001:db8:2::1", "from 2001:db8:2::1");
    // As far as the box, which is what traceroute sees first.
    says(client, "-t 1 203.0.113.2", "From 10.0.0.1 icmp_seq=1 Time to live exceeded");
    says(client, "-t 1 2001:db8:2::2", "From fd00:1::1 icmp_seq=1 Time exceeded: Hop limit");
    // More than the far side takes, where there is no route, and where the policy says no.
    says(client, "-M do -s 1400 203.0.113.2", "(mtu = 1400)");
    says(client, "-M do -s 1400 2001:db8:2::2", "mtu=1400");
    // In fragments, where it may be cut. The answer comes if the server, too, knows what its link takes: the box's end of the cable has the
    // MTU of its port, and what is larger the kernel drops there.
    server.tell("ip", "link set eth0 mtu 1400");
    says(client, "-M dont -s 1380 203.0.113.2", "1388 bytes from 203.0.113.2");
    says(client, "192.0.2.1", "From 10.0.0.1 icmp_seq=1 Destination Net Unreachable");
    says(client, "3fff::1", "From fd00:1::1 icmp_seq=1 Destination unreachable: No route");
    says(server, "10.0.0.2", "From 203.0.113.1 icmp_seq=1 Packet filtered");
    // Nobody has these addresses, which is sure when they have been asked for three times.
    says(client, "-W 30 203.0.113.77", "From 10.0.0.1 icmp_seq=1 Destination Host Unreachable");
    let nobody = "From fd00:1::1 icmp_seq=1 Destination unreachable: Address unreachable";
    says(client, "-W 30 2001:db8:2::77", nobody);
    // In fragments, to the box itself. Then all packets are accounted for.
    says(client, "-s 5000 fd00:1::1", "from fd00:1::1");
    says(client, "-s 5000 2001:db8:2::1", "from 2001:db8:2::1");
    daemon.accounts_for_all_packets(row.namespaces()[1]);
    // What the box has learnt of them, once for all workers.
    let neighbours = daemon.tell("neighbours");
    let states = ["REACHABLE", "STALE", "PROBE"];
    for known in ["10.0.0.2 dev inside lladdr ", "2001:db8:2::2 dev outside lladdr "] {
        let lines: Vec<&str> = neighbours.lines().filter(|line| line.starts_with(known)).collect();
        assert!(lines.len() == 1 && states.iter().any(|state| lines[0].ends_with(state)), "{neighbours}");
    }
    assert_eq!(daemon.tell("routes get 203.0.113.2"), "203.0.113.2 dev outside src 203.0.113.1\n");
    assert_eq!(daemon.tell("routes get fd00:1::1"), "local fd00:1::1 dev inside src fd00:1::1\n");
    assert_eq!(daemon.tell("routes get 192.0.2.1"), "unreachable 192.0.2.1\n");
    assert_eq!(
        daemon.tell("routes").lines().next(),
        Some("10.0.0.0/24 dev inside proto kernel src 10.0.0.1")
    );
}

/// Of both families, by a reverse path filter inside.
#[test]
fn spoofed_sources_do_not_pass() {
    let row = Row::new("spoofed", &["10.0.0.2/24", "fd00:1::2/64"], &["203.0.113.2/24", "2001:db8:2::2/64"]);
    let Some(row) = row else { return };
    let interfaces = INTERFACES.replacen("addresses:", "rp-filter: strict, addresses:", 1);
    let daemon = start_with(&row, "0", &interfaces);
    let [client, _, _] = row.namespaces();
    let dropped = || {
        let told = daemon.tell("drops");
        let line = told.lines().find(|line| line.split_whitespace().next() == Some("rp-filter"));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0_u64)
    };
    for (own, server) in [("192.0.2.9", "203.0.113.2"), ("3fff::9", "2001:db8:2::2")] {
        let hears = |rest: &str| client.run("ping", &format!("-n -c 1 -W 1 {rest}{server}")).status.success();
        wait_for("an honest host", || hears(""));
        let before = dropped();
        client.tell("ip", &format!("address add {own} dev lo"));
        // The kernel may take a while to let programs have the address.
        wait_for("the drop", || {
            assert!(!hears(&format!("-I {own} ")));
            dropped() > before
        });
        assert!(daemon.tell(&format!("conntrack -L -s {own}")).is_empty());
    }
}

/// The link outside takes no larger packets than the box says, and nobody hears of those that are lost there: both ends learn from the
/// handshake alone what fits.
#[test]
fn segments_fit_a_narrow_link_that_says_nothing() {
    let row = Row::new("mss", &["10.0.0.2/24", "fd00:1::2/64"], &["203.0.113.2/24", "2001:db8:2::2/64"]);
    let Some(row) = row else { return };
    let daemon = start_with(&row, "0", &INTERFACES.replacen("mtu: 1400", "mtu: 1400, mss: pmtu", 1));
    let [client, _, server] = row.namespaces();
    let _server = server.serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    // 40 or 60 bytes of headers, and 12 of time stamps.
    for (from, to, mss) in [("10.0.0.2", "203.0.113.2", 1348), ("[fd00:1::2]", "[2001:db8:2::2]", 1328)] {
        let mut streams = Streams::open(client, to.trim_matches(['[', ']']), 8080, 2);
        streams.go_on();
        for (host, other) in [(client, to), (server, from)] {
            let told = host.tell("ss", &format!("-Htin state established dst {other}"));
            assert_eq!(told.matches(&format!(" mss:{mss} ")).count(), 2, "{told}");
        }
        streams.close();
    }
    let drops = daemon.tell("drops");
    assert!(!drops.contains("too-big"), "{drops}");
}
