//! Two boxes on the same links, one of which answers for the addresses of both at a time.

use std::fs;
use std::path::PathBuf;

use crate::box_under_test::{BoxUnderTest, sluice, text, wait_for};
use crate::namespaces::{Host, Namespace, PEERS, Spaces, Streams, ip};
use crate::redis::Redis;

/// The link-layer addresses of the boxes inside.
const MACS: [&str; 2] = ["02:00:00:00:0a:01", "02:00:00:00:0b:01"];

/// Client, both boxes, each with a redis-server, and server, and the switches between them.
pub struct Pair {
    pub daemons: [BoxUnderTest; 2],
    pub redis: [Redis; 2],
    pub spaces: Spaces<5>,
}

impl Pair {
    /// Boxes `a` and `b`, which both are on standby. `None` where there are no namespaces.
    pub fn start(test: &str) -> Option<Pair> {
        Pair::start_with(test, "")
    }

    /// The same with this at the end of their section `ha`.
    pub fn start_with(test: &str, rest: &str) -> Option<Pair> {
        Pair::start_changed(test, |config| config + rest)
    }

    /// The same by configurations that were changed.
    pub fn start_changed(test: &str, change: impl Fn(String) -> String) -> Option<Pair> {
        let spaces = Spaces::new(test, ["client", "a", "b", "server", "switch"])?;
        let [client, a, b, server, switch] = spaces.namespaces();
        for (bridge, host, v4, v6) in [
            ("inside", client, ["10.0.0.9/24", "10.0.0.1"], ["fd00:a::9/64", "fd00:a::1"]),
            ("outside", server, ["203.0.113.9/24", "203.0.113.1"], ["fd00:f::9/64", "fd00:f::1"]),
        ] {
            assert!(ip(&format!("-n {switch} link add {bridge} type bridge")));
            assert!(ip(&format!("-n {switch} link set {bridge} up")));
            plug(switch, bridge, (host, "eth0"));
            for [address, gateway] in [v4, v6] {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                assert!(ip(&format!("-n {host} address add {address} dev eth0{nodad}")));
                assert!(ip(&format!("-n {host} route add default via {gateway}")));
            }
            host.tell("ethtool", "-K eth0 tso off gso off");
            plug(switch, bridge, (a, bridge));
            plug(switch, bridge, (b, bridge));
        }
        // What the boxes say to each other.
        assert!(ip(&format!("link add ha netns {a} type veth peer name ha netns {b}")));
        for (at, number) in [(a, 1), (b, 2)] {
            at.tell("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
            assert!(ip(&format!("-n {at} link set lo up")));
            assert!(ip(&format!("-n {at} link set ha up")));
            assert!(ip(&format!("-n {at} address add 10.99.0.{number}/24 dev ha")));
        }
        let redis = [a, b].map(|at| Redis::inside(at, 6380));
        let start = |(name, at, number): (&str, Namespace<'_>, u8)| {
            assert!(ip(&format!("-n {at} link set inside address {}", MACS[usize::from(number) - 1])));
            let track = format!("  track-file: {}\n", redis[usize::from(number) - 1].path("track").display());
            let config = config(name, &redis[usize::from(number) - 1]) + &track;
            BoxUnderTest::start_inside(at, &change(config))
        };
        let daemons = [("a", a, 1), ("b", b, 2)].map(start);
        Some(Pair { daemons, redis, spaces })
    }

    /// What a box is for the group.
    pub fn is(&self, daemon: usize, state: &str) -> bool {
        let said = self.daemons[daemon].ask("ha status");
        text(&said.stdout).contains(&format!("group g1 {state}:"))
    }

    /// So many streams of the client to a server outside, which have begun to speak. The server is there as long as what is first.
    pub fn open_streams(&self, count: usize) -> (Host, Streams) {
        let [_, _, _, server, _] = self.spaces.namespaces();
        let host = server.serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
        (host, self.open_streams_to("203.0.113.9", count))
    }

    /// So many more, to the same server by this address.
    pub fn open_streams_to(&self, address: &str, count: usize) -> Streams {
        let [client, ..] = self.spaces.namespaces();
        let mut streams = Streams::open(client, address, 8080, count);
        streams.go_on();
        streams
    }

    /// Waits until a box that stands by knows so many connections of the other one.
    pub fn knows(&self, daemon: usize, count: usize) {
        let known = || self.daemons[daemon].tell("conntrack -C -p tcp --standby");
        wait_for("the standby to know the connections", || known() == format!("{count}\n"));
    }

    /// Waits until keepalived may read that a box is as good as this number says.
    pub fn tracks(&self, daemon: usize, number: &str) {
        let file = self.redis[daemon].path("track");
        wait_for("the tracked file", || fs::read_to_string(&file).is_ok_and(|text| text.trim() == number));
    }

    /// Has a keepalived decide at each box; the first one is preferred.
    pub fn decide(&self) -> [Host; 2] {
        let [_, a, b, ..] = self.spaces.namespaces();
        [(0, a, 254), (1, b, 250)].map(|(own, at, priority)| {
            self.tracks(own, "0");
            let track_file = self.redis[own].path("track");
            let instance = Instance { group: "g1".to_owned(), router: 11, priority, track_file };
            keepalived(&self.daemons[own], at, "ha", &[instance])
        })
    }

    /// Waits until the client has this box as its router.
    pub fn leads_to(&self, daemon: usize) {
        let [client, ..] = self.spaces.namespaces();
        let neighbour = || client.tell("ip", "neighbour show 10.0.0.1");
        wait_for("gratuitous ARP", || neighbour().contains(MACS[daemon]));
    }
}

/// What the switch calls its end of a host's cable to one of its bridges.
pub fn port_to(host: Namespace<'_>, bridge: &str) -> String {
    let number =
        format!("{host}").bytes().rev().take(2).fold(String::new(), |name, byte| name + &format!("{byte:x}"));
    format!("{}{number}", &bridge[..3])
}

/// Joins a host to a switch by a cable.
pub fn plug(switch: Namespace<'_>, bridge: &str, (host, interface): (Namespace<'_>, &str)) {
    let port = port_to(host, bridge);
    assert!(ip(&format!("link add {port} netns {switch} type veth peer name {interface} netns {host}")));
    assert!(ip(&format!("-n {switch} link set {port} master {bridge}")));
    assert!(ip(&format!("-n {switch} link set {port} up")));
    assert!(ip(&format!("-n {host} link set {interface} up")));
}

/// Sources are translated to addresses of the group, and nothing passes in mid-stream that the box does not know.
fn config(name: &str, own: &Redis) -> String {
    let own = format!("unix://{}", own.socket().display());
    let (number, peer) = match name {
        "a" => (2, "b: { url: 'redis://10.99.0.2:6380' }"),
        _ => (3, "a: { url: 'redis://10.99.0.1:6380' }"),
    };
    format!(
        "version: 1
system: {{ cores: {{ control: 0, workers: [0] }}, memory: {{ hugepages: 512M }} }}
interfaces:
  inside: {{ device: 'vdev:net_af_packet0,iface=inside', addresses: [10.0.0.{number}/24, 'fd00:a::{number}/64'] }}
  outside: {{ device: 'vdev:net_af_packet1,iface=outside', addresses: [203.0.113.{number}/24, 'fd00:f::{number}/64'] }}
conntrack: {{ max-entries: 1K, tcp: {{ loose: false }} }}
nat: {{ source: [{{ out: outside, source: 10.0.0.0/24, to: 203.0.113.16-203.0.113.31 }}] }}
policy:
  default: drop
  rules:
    - {{ state: [established, related], action: accept }}
    - {{ in: inside, state: new, action: accept }}
ha:
  cluster: test
  box: {name}
  engine: {{ url: '{own}' }}
  peers: {{ {peer} }}
  groups:
    - name: g1
      prefer: a
      standby: b
      addresses: {{ inside: [10.0.0.1/24, 'fd00:a::1/64'], outside: [203.0.113.1/24, 'fd00:f::1/64'] }}
      nat: [203.0.113.16/28]
"
    )
}

pub fn pings(from: Namespace<'_>, to: &str) -> bool {
    from.run("ping", &format!("-n -c 1 -W 1 {to}")).status.success()
}

#[test]
fn traffic_follows_the_box_that_is_promoted() {
    let Some(pair) = Pair::start("promote") else { return };
    let [client, ..] = pair.spaces.namespaces();
    let [a, b] = &pair.daemons;
    pair.tracks(0, "0");
    pair.tracks(1, "0");
    assert!(pair.is(0, "standby") && pair.is(1, "standby"));
    assert!(!pings(client, "203.0.113.9") && !pings(client, "10.0.0.1"), "nobody answers");
    wait_for("the box's own address", || pings(client, "10.0.0.2"));

    assert!(a.tell("ha promote g1").contains("group g1 active: a preferred, b stands by, 1 takeovers"));
    wait_for("the way through", || pings(client, "203.0.113.9"));
    wait_for("the group's address", || pings(client, "10.0.0.1"));
    pair.leads_to(0);
    let (_server, mut streams) = pair.open_streams(3);
    pair.knows(1, 3);

    let refused = b.ask("ha promote g1");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("another box says that it is active for group `g1`"));
    assert!(pair.is(0, "active") && pair.is(1, "waiting"));
    assert!(a.tell("ha demote g1").contains("group g1 standby"));
    wait_for("the other box to take over", || pair.is(1, "active"));
    pair.leads_to(1);
    streams.go_on();
    let metrics = |at: usize| pair.daemons[at].metrics_in(pair.spaces.namespaces()[at + 1]);
    wait_for("the metrics of a", || metrics(0).contains("sluice_ha_role{group=\"g1\"} 0"));
    wait_for("the metrics of b", || metrics(1).contains("sluice_ha_role{group=\"g1\"} 1"));
    assert!(metrics(1).contains("sluice_ha_takeovers_total{group=\"g1\"} 1"));
    streams.close();

    for (what, said) in [
        ("ha promote g2", "there is no group `g2`; the groups are: g1"),
        ("ha demote g0", "there is no group `g0`"),
    ] {
        let refused = a.ask(what);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(said), "{}", text(&refused.stderr));
    }
    assert!(a.ask("ha demote g1").status.success(), "it is on standby already");
}

/// What a keepalived decides about: a group by its virtual router and the box's priority, as far as the box may take it by a file.
pub struct Instance {
    pub group: String,
    pub router: u8,
    pub priority: u8,
    pub track_file: PathBuf,
}

/// A keepalived that decides about groups by what a box says of itself, and tells it, as that of `deploy/two-boxes`.
pub fn keepalived(daemon: &BoxUnderTest, at: Namespace<'_>, interface: &str, groups: &[Instance]) -> Host {
    let path = |end: &str| daemon.path(end).display().to_string();
    let program = sluice().get_program().to_string_lossy().into_owned();
    let track_files = groups.iter().map(|it| format!(" --track-file {}", it.track_file.display()));
    let notify = format!(
        "{program} ha notify --socket {}{}",
        daemon.socket().display(),
        track_files.collect::<String>()
    );
    let config = format!(
        "global_defs {{
             script_user root
             enable_script_security
             vrrp_priority -20
             vrrp_notify_fifo {}
             vrrp_notify_fifo_script \"{notify}\"
         }}
         ",
        path("fifo")
    );
    let instance = |it: &Instance| {
        let Instance { group, router, priority, track_file } = it;
        format!(
            "track_file {group} {{
                 file {}
                 weight -127
             }}
             vrrp_instance {group} {{
                 version 3
                 state BACKUP
                 interface {interface}
                 virtual_router_id {router}
                 priority {priority}
                 advert_int 0.1
                 dont_track_primary
                 virtual_ipaddress {{ 169.254.11.{router}/32 }}
                 track_file {{ {group} }}
             }}\n",
            track_file.display()
        )
    };
    let instances: String = groups.iter().map(instance).collect();
    fs::write(path("keepalived.conf"), config + &instances).unwrap();
    let arguments =
        format!("-n -l -P -f {} -p {} -r {}", path("keepalived.conf"), path("pid"), path("vrrp-pid"));
    let mut command = at.command("keepalived", &arguments);
    Host(command.stdout(fs::File::create(path("keepalived.log")).unwrap()).spawn().unwrap())
}

#[test]
fn the_other_box_takes_over_when_one_is_killed() {
    let Some(mut pair) = Pair::start("killed") else { return };
    let _deciders = pair.decide();
    wait_for("the preferred box to be active", || pair.is(0, "active") && pair.is(1, "standby"));
    let (_server, mut streams) = pair.open_streams(3);
    let mut untranslated = pair.open_streams_to("fd00:f::9", 2);
    pair.leads_to(0);
    pair.knows(1, 5);
    pair.daemons[0].signal("KILL");
    pair.tracks(0, "2");
    wait_for("the other box to be active", || pair.is(1, "active"));
    pair.leads_to(1);
    streams.go_on();
    untranslated.go_on();
    streams.close();
    untranslated.close();
    pair.daemons[0].wait();
}
