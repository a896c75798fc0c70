//! Three boxes that share four groups, by the files of `deploy/three-boxes`, each with a redis-server and a keepalived.

use crate::box_under_test::{BoxUnderTest, text, wait_for};
use crate::boxes::{Instance, keepalived, plug};
use crate::namespaces::{Host, Namespace, PEERS, Spaces, Streams, ip};
use crate::redis::Redis;

const FILES: [&str; 3] = [
    include_str!("../../../deploy/three-boxes/a.yaml"),
    include_str!("../../../deploy/three-boxes/b.yaml"),
    include_str!("../../../deploy/three-boxes/c.yaml"),
];

/// The box that is preferred for each group, and the one that stands by.
const GROUPS: [(usize, usize); 4] = [(0, 1), (1, 2), (2, 0), (0, 2)];

const SERVER: &str = "203.0.113.254";
const SERVER_V6: &str = "2001:db8:f::fe";

/// A client of each group, the boxes, a server, and the switches between them.
struct Site {
    daemons: [BoxUnderTest; 3],
    redis: [Redis; 3],
    spaces: Spaces<9>,
}

impl Site {
    /// Boxes that all stand by. `None` where there are no namespaces.
    fn start(test: &str) -> Option<Site> {
        let hosts = ["client1", "client2", "client3", "client4", "a", "b", "c", "server", "switch"];
        let spaces = Spaces::new(test, hosts)?;
        let [client1, client2, client3, client4, a, b, c, server, switch] = spaces.namespaces();
        for bridge in ["inside", "outside", "ha0"] {
            assert!(ip(&format!("-n {switch} link add {bridge} type bridge")));
            assert!(ip(&format!("-n {switch} link set {bridge} up")));
        }
        for (client, number) in [client1, client2, client3, client4].into_iter().zip(1..) {
            plug(switch, "inside", (client, "eth0"));
            assert!(ip(&format!("-n {client} address add 10.0.{number}.9/16 dev eth0")));
            assert!(ip(&format!("-n {client} route add default via 10.0.{number}.1")));
            assert!(ip(&format!("-n {client} address add 2001:db8:a:{number}::9/64 dev eth0 nodad")));
            assert!(ip(&format!("-n {client} route add default via 2001:db8:a:{number}::1")));
            client.tell("ethtool", "-K eth0 tso off gso off");
        }
        plug(switch, "outside", (server, "eth0"));
        assert!(ip(&format!("-n {server} address add {SERVER}/24 dev eth0")));
        assert!(ip(&format!("-n {server} address add {SERVER_V6}/64 dev eth0 nodad")));
        for group in 1..=4 {
            assert!(ip(&format!("-n {server} route add 2001:db8:a:{group}::/64 via 2001:db8:f::{group}")));
        }
        server.tell("ethtool", "-K eth0 tso off gso off");
        let redis = [Redis::new(), Redis::new(), Redis::new()];
        let start = |own: usize| {
            let at = [a, b, c][own];
            at.tell("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
            assert!(ip(&format!("-n {at} link set lo up")));
            ["inside", "outside", "ha0"].iter().for_each(|bridge| plug(switch, bridge, (at, bridge)));
            assert!(ip(&format!("-n {at} address add 10.99.0.{}/24 dev ha0", own + 1)));
            BoxUnderTest::start_inside(at, &config(own, &redis))
        };
        Some(Site { daemons: [0, 1, 2].map(start), redis, spaces })
    }

    /// Has a keepalived decide about the groups of each box.
    fn decide(&self) -> [Host; 3] {
        let spaces = self.spaces.namespaces();
        [0, 1, 2].map(|own| {
            let groups = GROUPS.iter().zip(1..).filter_map(|((prefer, standby), number)| {
                let priority = if own == *prefer { 254 } else { 250 };
                let group = format!("g{number}");
                let track_file = self.redis[own].path(&group);
                let instance = Instance { group, router: 10 + number, priority, track_file };
                [*prefer, *standby].contains(&own).then_some(instance)
            });
            keepalived(&self.daemons[own], spaces[4 + own], "ha0", &groups.collect::<Vec<_>>())
        })
    }

    /// The boxes that are active for each group.
    fn active(&self) -> [Vec<usize>; 4] {
        let said = self.daemons.each_ref().map(|daemon| text(&daemon.ask("ha status").stdout));
        [1, 2, 3, 4].map(|group| {
            let line = format!("group g{group} active:");
            (0..3).filter(|own| said[*own].contains(&line)).collect()
        })
    }

    /// Waits until each group has one active box, and which.
    fn come_to(&self, boxes: [usize; 4]) {
        wait_for(&format!("the active boxes to be {boxes:?}"), || self.active() == boxes.map(|it| vec![it]));
    }

    /// Waits until each box stands by for so many connections.
    fn stand_by_for(&self, counts: [usize; 3]) {
        let known = || self.daemons.each_ref().map(|daemon| daemon.tell("conntrack -C -p tcp --standby"));
        let counts = counts.map(|count| format!("{count}\n"));
        wait_for(&format!("connections to be known: {counts:?}"), || known() == counts);
    }
}

/// A box's file, but that kernel NICs stand in for devices.
fn config(own: usize, redis: &[Redis; 3]) -> String {
    let mut text = FILES[own].to_owned();
    for (number, interface) in ["inside", "outside"].iter().enumerate() {
        let device = format!("vdev:net_af_packet{number},iface={interface}");
        text = text.replace(&format!("pci:0000:01:00.{number}"), &device);
    }
    text = text.replace("/run/redis-sluice/redis.sock", &redis[own].socket().display().to_string());
    for (peer, redis) in redis.iter().enumerate() {
        let url = format!("unix://{}", redis.socket().display());
        text = text.replace(&format!("redis://10.99.0.{}:6380", peer + 1), &url);
    }
    text = text.replace("/run/sluice-track", &redis[own].path("").display().to_string());
    text + "system: { cores: { control: 0, workers: [0] }, memory: { hugepages: 512M } }\n\
            conntrack: { max-entries: 1K, tcp: { loose: false } }\n"
}

#[test]
fn the_groups_of_a_box_that_dies_go_to_two_others() {
    let Some(mut site) = Site::start("three") else { return };
    let _deciders = site.decide();
    site.come_to(GROUPS.map(|(prefer, _)| prefer));
    let spaces = site.spaces.namespaces();
    let server = spaces[7];
    let _server = server.serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    let mut streams = [0, 1, 2, 3].map(|at| {
        let client: Namespace<'_> = spaces[at];
        wait_for("the way through", || {
            client.run("ping", &format!("-n -c 1 -W 1 {SERVER}")).status.success()
        });
        let mut streams = Streams::open(client, SERVER, 8080, at + 1);
        streams.go_on();
        streams
    });
    // What is not translated is of the group whose hosts have it.
    let mut untranslated = [0, 1, 2, 3].map(|at| {
        let mut streams = Streams::open(spaces[at], SERVER_V6, 8080, 1);
        streams.go_on();
        streams
    });
    // Each knows those of its groups alone: g3 at a, g1 at b, g2 and g4 at c.
    site.stand_by_for([3 + 1, 1 + 1, 2 + 4 + 2]);
    // As often as it has been elected until here.
    let g2 = |site: &Site| {
        let b = site.daemons[1].tell("ha status");
        b.lines().find(|line| line.starts_with("group g2 active: ")).map(str::to_owned)
    };
    let before = g2(&site);
    assert!(before.is_some());
    site.daemons[0].signal("KILL");
    site.come_to([1, 1, 2, 2]);
    streams.iter_mut().chain(&mut untranslated).for_each(Streams::go_on);
    assert_eq!(g2(&site), before, "it has not moved");
    site.daemons[0].wait();
    streams.into_iter().chain(untranslated).for_each(Streams::close);
}

#[test]
fn boxes_are_upgraded_one_by_one_and_no_connection_is_lost() {
    let Some(mut site) = Site::start("rolling") else { return };
    let prefer = GROUPS.map(|(prefer, _)| prefer);
    GROUPS.iter().zip(1..).for_each(|((prefer, _), number)| {
        site.daemons[*prefer].tell(&format!("ha promote g{number}"));
    });
    site.come_to(prefer);
    let names = site.spaces.namespaces();
    let _server = names[7].serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    let mut streams = [0, 1, 2, 3].map(|at| {
        let client = names[at];
        wait_for("the way through", || {
            client.run("ping", &format!("-n -c 1 -W 1 {SERVER}")).status.success()
        });
        let mut streams = Streams::open(client, SERVER, 8080, 2);
        streams.go_on();
        streams
    });
    site.stand_by_for([2, 2, 4]);
    for own in 0..3 {
        // What it is active for goes to the others as it stops.
        site.daemons[own].signal("TERM");
        assert!(site.daemons[own].wait().success());
        let others = GROUPS.map(|(prefer, standby)| if prefer == own { standby } else { prefer });
        wait_for("the others to be active", || {
            let active = site.active();
            others.iter().zip(active).all(|(other, active)| active == [*other])
        });
        streams.iter_mut().for_each(Streams::go_on);
        site.daemons[own] = BoxUnderTest::start_inside(names[4 + own], &config(own, &site.redis));
        // It is told of all before it is given its groups back.
        let synced = || {
            let status = site.daemons[own].tell("ha status --json");
            let status: serde_json::Value = serde_json::from_str(&status).unwrap();
            status["peers"].as_array().unwrap().iter().all(|peer| peer["synced"] == true)
        };
        wait_for("the box to know all", synced);
        GROUPS.iter().zip(1..).filter(|((prefer, _), _)| *prefer == own).for_each(
            |((_, standby), number)| {
                site.daemons[*standby].tell(&format!("ha demote g{number}"));
            },
        );
        site.come_to(prefer);
        streams.iter_mut().for_each(Streams::go_on);
    }
    streams.into_iter().for_each(Streams::close);
}
