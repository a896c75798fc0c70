//! Two boxes whose groups BIRD or FRR announces to the router above, by the file of `deploy/two-boxes`: what comes back goes to the one that is
//! active, over routes and not by ARP.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::box_under_test::{text, wait_for};
use crate::boxes::{Pair, pings};
use crate::namespaces::{Host, Namespace, ip};

const BIRD: &str = include_str!("../../../deploy/two-boxes/bird.conf");

/// The router above, which hears both boxes.
const ABOVE: &str = "router id 10.98.0.9;
    protocol device {}
    protocol direct { ipv4; }
    protocol bfd { interface \"up*\" { interval 50 ms; multiplier 3; }; }
    protocol kernel { ipv4 { import none; export where source = RTS_BGP; }; }
    template bgp boxes {
        local as 65000; bfd on; connect delay time 1; error wait time 1, 2;
        ipv4 { import all; export none; gateway recursive; };
    }
    protocol bgp a from boxes { neighbor 10.98.1.1 as 65001; }
    protocol bgp b from boxes { neighbor 10.98.2.1 as 65001; }\n";

/// BIRD in a namespace, whose files are beside those of a box.
fn bird(pair: &Pair, files: (usize, &str), at: Namespace<'_>, config: &str) -> Host {
    let (daemon, name) = files;
    let path = |end: &str| pair.daemons[daemon].path(&format!("{name}.{end}")).display().to_string();
    fs::write(path("conf"), config).unwrap();
    let arguments = format!("-f -c {} -s {} -P {}", path("conf"), path("ctl"), path("pid"));
    Host(at.command("bird", &arguments).spawn().unwrap())
}

#[test]
fn what_comes_back_goes_to_the_box_that_is_active() {
    let Some(mut pair) = Pair::start_with("announced", "  announce: { table: 84 }\n") else { return };
    let [client, a, b, server, _] = pair.spaces.namespaces();
    for (number, at) in [(1, a), (2, b)] {
        assert!(ip(&format!("link add up{number} netns {at} type veth peer name up{number} netns {server}")));
        for (space, last) in [(at, 1), (server, 2)] {
            assert!(ip(&format!("-n {space} address add 10.98.{number}.{last}/30 dev up{number}")));
            assert!(ip(&format!("-n {space} link set up{number} up")));
        }
    }
    let other = BIRD.replace("10.98.1.", "10.98.2.").replace("203.0.113.2;", "203.0.113.3;");
    let near_a = bird(&pair, (0, "bird"), a, BIRD);
    let near_b = bird(&pair, (1, "bird"), b, &other);
    let _above = bird(&pair, (0, "above"), server, ABOVE);

    pair.daemons[0].tell("ha promote g1");
    let leads = |via: &str| {
        let route = || server.tell("ip", "route get 203.0.113.17").contains(via);
        wait_for(&format!("the route {via}"), route);
    };
    leads("via 203.0.113.2 dev eth0");
    wait_for("the way through", || pings(client, "203.0.113.9"));
    let written = a.tell("ip", "route show table 84");
    assert!(written.contains("blackhole 203.0.113.16/28 proto 84 metric 10"), "{written}");
    let stands_by = || b.tell("ip", "route show table 84").contains("203.0.113.16/28 proto 84 metric 1000");
    wait_for("the other box to stand by", stands_by);
    let (_server, mut streams) = pair.open_streams(3);
    pair.knows(1, 3);

    pair.daemons[0].tell("ha demote g1");
    leads("via 203.0.113.3 dev eth0");
    streams.go_on();

    // A box that dies with all that is on it: BFD notices.
    pair.knows(0, 3);
    pair.daemons[1].signal("KILL");
    drop(near_b);
    wait_for("the first box to be active", || {
        pair.daemons[0].ask("ha promote g1");
        pair.is(0, "active")
    });
    leads("via 203.0.113.2 dev eth0");
    streams.go_on();
    streams.close();
    pair.daemons[1].wait();

    // One that is stopped takes its routes along.
    pair.daemons[0].signal("TERM");
    pair.daemons[0].wait();
    let [_, a, ..] = pair.spaces.namespaces();
    assert_eq!(a.tell("ip", "route show table 84"), "");
    drop(near_a);
}

#[test]
fn frr_follows_a_box_that_changes_its_role() {
    let Some(pair) = Pair::start_with("frr", "  announce: { table: 84 }\n") else { return };
    let [_, a, ..] = pair.spaces.namespaces();
    // It runs as a user of its own.
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    fs::write(path("zebra.conf"), "ip import-table 84\n").unwrap();
    let [config, pid, api] = ["zebra.conf", "zebra.pid", "zebra.api"].map(path);
    let arguments = format!("-f {config} -i {pid} -z {api} --vty_socket {}", directory.path().display());
    let _zebra = Host(a.command("/usr/lib/frr/zebra", &arguments).spawn().unwrap());
    let has = |metric: u32| {
        let shown = Command::new("vtysh")
            .arg("--vty_socket")
            .arg(directory.path())
            .args(["-d", "zebra", "-c", "show ip route"])
            .output()
            .unwrap();
        let shown = text(&shown.stdout);
        ["203.0.113.1/32", "203.0.113.16/28"].iter().all(|to| shown.contains(&format!("{to} [15/{metric}]")))
    };
    wait_for("routes of a box that stands by", || has(1000));
    for _ in 0..2 {
        pair.daemons[0].tell("ha promote g1 --force");
        wait_for("routes of an active box", || has(10));
        pair.daemons[0].tell("ha demote g1");
        wait_for("routes of a box that stands by again", || has(1000));
    }
}
