//! A box whose routes, addresses and static neighbours are those of its own network stack (`routes: { follow: host }`): ip(8) and
//! routing daemons there decide where packets go.

use std::fmt::Write as _;
use std::fs;

use crate::box_under_test::wait_for;
use crate::host::{Hosted, pings};
use crate::namespaces::{Host, Namespace, PEERS, Streams};

const FOLLOW: &str = "{ follow: host }";

const OPEN: &str = "policy: { default: accept }\n";

/// A server's networks, and an address in each.
const FAR: &str = "198.51.100.1";
const FAR6: &str = "2001:db8:3::1";

/// The client behind the box.
const CLIENT: &str = "10.0.0.2";

/// Whether a client hears a server, in one try.
fn hears(client: Namespace<'_>, server: &str) -> bool {
    client.run("ping", &format!("-n -c 1 -W 1 {server}")).status.success()
}

#[test]
fn routes_of_the_kernel_come_and_go() {
    let Some(it) = Hosted::with_routes("follow", "0", FOLLOW, OPEN) else { return };
    let [client, _, host] = it.namespaces();
    let is_listed = |line: &str| it.daemon.tell("routes").lines().any(|listed| listed == line);
    let told = |route: &str| host.tell("ip", route);

    told("route add 198.51.100.0/24 via 203.0.113.2");
    told("-6 route add 2001:db8:3::/64 via 2001:db8:2::2");
    wait_for("the routes", || {
        is_listed("198.51.100.0/24 via 203.0.113.2 dev outside proto boot src 203.0.113.1")
            && is_listed(
                "2001:db8:3::/64 via 2001:db8:2::2 dev outside proto boot src 2001:db8:2::1 metric 1024",
            )
    });
    pings(client, FAR);
    pings(client, FAR6);
    let to_far = "198.51.100.1 via 203.0.113.2 dev outside src 203.0.113.1\n";
    assert_eq!(it.daemon.tell("routes get 198.51.100.1"), to_far);

    // A better one, which leads nowhere, and goes again.
    told("route add unreachable 198.51.100.1/32");
    wait_for("the route to nowhere", || is_listed("unreachable 198.51.100.1/32 proto boot"));
    assert!(!hears(client, FAR));
    told("route del unreachable 198.51.100.1/32");
    told("-6 route del 2001:db8:3::/64 via 2001:db8:2::2");
    wait_for("no route", || it.daemon.tell("routes get 2001:db8:3::1") == "unreachable 2001:db8:3::1\n");
    assert!(!hears(client, FAR6));
    pings(client, FAR);

    // Next hops of equal cost, of IPv6 one by one.
    told("route replace 198.51.100.0/24 nexthop via 203.0.113.2 weight 2 nexthop via 203.0.113.3");
    told("-6 route add 2001:db8:3::/64 via 2001:db8:2::2");
    told("-6 route append 2001:db8:3::/64 via 2001:db8:2::3");
    wait_for("several next hops", || {
        let several = ["2 dev outside weight 2", "3 dev outside weight 1"];
        let routes = it.daemon.tell("routes");
        several.iter().all(|hop| routes.contains(&format!("\tnexthop via 203.0.113.{hop}\n")))
            && [2, 3]
                .iter()
                .all(|n| routes.contains(&format!("\tnexthop via 2001:db8:2::{n} dev outside weight 1\n")))
    });
    told("-6 route del 2001:db8:3::/64 via 2001:db8:2::3");
    told("route replace 198.51.100.0/24 via 203.0.113.2");
    pings(client, FAR);
    pings(client, FAR6);

    // Static neighbours, too.
    told("neighbour add 203.0.113.50 lladdr 02:00:00:00:00:50 dev outside nud permanent");
    let neighbour = "203.0.113.50 dev outside lladdr 02:00:00:00:00:50 PERMANENT\n";
    wait_for("the neighbour", || it.daemon.tell("neighbours").contains(neighbour));
    told("neighbour del 203.0.113.50 dev outside");
    wait_for("no neighbour", || !it.daemon.tell("neighbours").contains(neighbour));

    // What goes with an interface that is taken down, the kernel does not tell.
    told("link set outside down");
    wait_for("no routes", || !it.daemon.tell("routes").contains("198.51.100.0/24"));
}

#[test]
fn many_routes_change_at_once() {
    let Some(it) = Hosted::with_routes("follow-many", "0", FOLLOW, OPEN) else { return };
    let [_, _, host] = it.namespaces();
    let leads = |to: &str, via: &str| it.daemon.tell(&format!("routes get {to}")).contains(via);
    wait_for("what there is", || it.metric("sluice_followed_routes_swaps_total") > 0);
    let before = it.metric("sluice_followed_routes_swaps_total");
    for (command, via) in [("add", "via 203.0.113.2"), ("replace", "via 203.0.113.3")] {
        let mut batch = String::new();
        for n in 0..10_000 {
            let [high, low] = u16::to_be_bytes(n);
            writeln!(batch, "route {command} 100.{}.{low}.0/24 {via}", 64 + high).unwrap();
        }
        fs::write(it.daemon.path("batch"), batch).unwrap();
        host.tell("ip", &format!("-batch {}", it.daemon.path("batch").display()));
        wait_for("the last of them", || leads("100.103.15.7", via) && leads("100.64.0.7", via));
    }
    wait_for("the count", || it.metric("sluice_followed_routes") == 10_000);
    let swaps = it.metric("sluice_followed_routes_swaps_total") - before;
    assert!(swaps < 2_000, "{swaps} swaps for 20,000 changes");
    assert_eq!(it.daemon.tell("routes").matches(" via 203.0.113.3 dev outside proto boot ").count(), 10_000);
}

/// As a DHCP client would set and change it.
#[test]
fn masquerade_follows_the_address_of_the_host() {
    let rest = "nat: { source: [{ out: outside, destination: 198.51.100.0/24, masquerade: true }] }\n";
    let Some(it) = Hosted::with_routes("follow-nat", "0", FOLLOW, &format!("{rest}{OPEN}")) else { return };
    let [client, server, host] = it.namespaces();
    // What the server sends once more to an address that is nobody's any more may be tracked, too.
    let is_masqueraded = |own: &str| it.daemon.tell(&format!("conntrack -C -s {CLIENT} -q {own}")) != "0\n";
    let _echo = server.serve(7, "python3", &format!("{PEERS} tcp-server 7"));
    server.tell("ip", "address add 192.0.2.2/24 dev eth0");
    host.tell("ip", "address add 192.0.2.7/24 dev outside");
    host.tell("ip", "route add 198.51.100.0/24 via 192.0.2.2");
    let network = |own: &str| format!("192.0.2.0/24 dev outside proto kernel src {own}\n");
    let is_there = |own: &str| {
        let routes = it.daemon.tell("routes");
        routes.contains(&network(own)) && routes.contains("198.51.100.0/24 via 192.0.2.2 ")
    };
    wait_for("the address", || is_there("192.0.2.7"));
    let mut stream = Streams::open(client, FAR, 7, 1);
    stream.go_on();
    assert!(is_masqueraded("192.0.2.7"));
    // Another lease: what was masqueraded as the old address ends, and the next connection gets the new one.
    host.tell("ip", "address del 192.0.2.7/24 dev outside");
    host.tell("ip", "address add 192.0.2.8/24 dev outside");
    host.tell("ip", "route replace 198.51.100.0/24 via 192.0.2.2");
    wait_for("the old connection to end", || !is_masqueraded("192.0.2.7"));
    wait_for("the new address", || is_there("192.0.2.8"));
    let mut stream = Streams::open(client, FAR, 7, 1);
    stream.go_on();
    assert!(is_masqueraded("192.0.2.8"));
}

/// A routing daemon, by this configuration.
fn bird(it: &Hosted, at: Namespace<'_>, name: &str, config: &str) -> Host {
    let [file, socket, pid] = ["conf", "ctl", "pid"].map(|end| it.daemon.path(&format!("{name}.{end}")));
    fs::write(&file, config).unwrap();
    let arguments = format!("-f -c {} -s {} -P {}", file.display(), socket.display(), pid.display());
    Host(at.command("bird", &arguments).spawn().unwrap())
}

/// The box's own daemon hears of one network by OSPF and of another by BGP, whose other end BFD watches; OSPF version 3 tells of
/// that of IPv6.
#[test]
fn routing_daemons_decide_where_packets_go() {
    let Some(it) = Hosted::with_routes("follow-bird", "0", FOLLOW, OPEN) else { return };
    let [client, server, host] = it.namespaces();
    server.tell("ip", "address add 198.51.101.1/32 dev lo");
    server.tell("ip", "address add 203.0.113.3/24 dev eth0");
    let kernel = |export: &str| {
        format!(
            "protocol device {{}}
             protocol kernel {{ ipv4 {{ import none; export {export}; }}; }}
             protocol kernel {{ ipv6 {{ import none; export {export}; }}; }}
             protocol bfd {{ interface \"*\" {{ interval 300 ms; multiplier 5; }}; }}\n"
        )
    };
    let near = format!(
        "router id 203.0.113.1;
         {}
         protocol ospf v2 {{ ipv4 {{ export none; }}; area 0 {{ interface \"outside\" {{ hello 1; dead 20; }}; }}; }}
         protocol ospf v3 {{ ipv6 {{ export none; }}; area 0 {{ interface \"outside\" {{ hello 1; dead 20; }}; }}; }}
         protocol bgp {{
             local 203.0.113.1 as 65001; neighbor 203.0.113.2 as 65002; bfd on; connect delay time 1; error wait time 1, 2;
             ipv4 {{ import all; export none; }};
         }}\n",
        kernel("all")
    );
    let far = format!(
        "router id 203.0.113.2;
         {}
         protocol ospf v2 {{
             ipv4 {{ export none; }};
             area 0 {{ stubnet 198.51.100.0/24; interface \"eth0\" {{ hello 1; dead 20; }}; }};
         }}
         protocol ospf v3 {{
             ipv6 {{ export none; }};
             area 0 {{ stubnet 2001:db8:3::/64; interface \"eth0\" {{ hello 1; dead 20; }}; }};
         }}
         protocol static {{ ipv4; route 198.51.101.0/24 blackhole; }}
         protocol bgp {{
             local 203.0.113.2 as 65002; neighbor 203.0.113.1 as 65001; bfd on; connect delay time 1; error wait time 1, 2;
             ipv4 {{ import none; export where source = RTS_STATIC; }};
         }}\n",
        kernel("none")
    );
    let _near = bird(&it, host, "near", &near);
    let far = bird(&it, server, "far", &far);
    for to in [FAR, "198.51.101.1", FAR6] {
        wait_for(&format!("a route to {to}"), || {
            it.daemon.tell(&format!("routes get {to}")).contains(" via ")
        });
        pings(client, to);
    }
    let routes = it.daemon.tell("routes");
    assert_eq!(routes.matches(" proto bird ").count(), 3, "{routes}");

    // The other end dies. BFD notices, and a route that stood behind the one of BGP comes in force.
    host.tell("ip", "route add 198.51.101.0/24 via 203.0.113.3 metric 1000");
    drop(far);
    let is_moved = || it.daemon.tell("routes get 198.51.101.1").contains(" via 203.0.113.3 ");
    wait_for("the other route", is_moved);
    pings(client, "198.51.101.1");
}
