//! Two boxes that hear each other on some ways or on none: which one is active, and what comes of both having been.

use crate::box_under_test::wait_for;
use crate::boxes::{Pair, pings, port_to};
use crate::namespaces::{Streams, ip};

#[test]
fn two_boxes_that_were_both_active_come_to_one_when_they_hear_each_other() {
    let Some(pair) = Pair::start("split") else { return };
    let [client, ..] = pair.spaces.namespaces();
    let [a, b] = &pair.daemons;
    a.tell("ha promote g1");
    wait_for("the way through", || pings(client, "203.0.113.9"));
    let (_server, mut streams) = pair.open_streams(3);
    pair.knows(1, 3);

    pair.redis.iter().for_each(|redis| redis.signal("STOP"));
    b.ask("ha promote g1");
    wait_for("both to be active", || pair.is(0, "active") && pair.is(1, "active"));
    pair.redis.iter().for_each(|redis| redis.signal("CONT"));
    wait_for("the first one to step back", || pair.is(0, "waiting"));
    assert!(pair.is(1, "active"));
    pair.leads_to(1);
    streams.go_on();
    pair.knows(0, 3);
    streams.close();
    let [_, at_a, ..] = pair.spaces.namespaces();
    let stepped_back = || a.metrics_in(at_a).contains("sluice_ha_depositions_total{group=\"g1\"} 1\n");
    wait_for("the metrics", stepped_back);
}

#[test]
fn a_redis_that_is_stopped_costs_no_packet() {
    let Some(pair) = Pair::start("stopped") else { return };
    let [client, ..] = pair.spaces.namespaces();
    let a = &pair.daemons[0];
    a.tell("ha promote g1");
    wait_for("the way through", || pings(client, "203.0.113.9"));
    pair.redis[0].signal("STOP");
    wait_for("the box to notice", || a.tell("ha status").contains(" DOWN\n"));
    // Streams that are as fast as they can be fill queues, which then lose packets: the pings come before them.
    let pings = client.tell("ping", "-n -q -c 100 -i 0.02 203.0.113.9");
    assert!(pings.contains(" 0% packet loss"), "{pings}");
    let (_server, mut streams) = pair.open_streams(3);
    streams.go_on();
    let mut more = Streams::open(client, "203.0.113.9", 8080, 5);
    more.go_on();
    assert!(pair.is(0, "active") && pair.is(1, "standby"));
    pair.redis[0].signal("CONT");
    pair.knows(1, 8);
    wait_for("no lag", || {
        let status = pair.daemons[1].tell("ha status --json");
        let peer = &serde_json::from_str::<serde_json::Value>(&status).unwrap()["peers"][0];
        peer["synced"] == true && peer["lag_us"].as_u64().is_some_and(|lag_us| lag_us < 10_000)
    });
    streams.close();
    more.close();
}

#[test]
fn boxes_that_vrrp_does_not_reach_are_not_both_active() {
    let Some(pair) = Pair::start("unheard") else { return };
    let [_, _, at_b, ..] = pair.spaces.namespaces();
    let _deciders = pair.decide();
    wait_for("the preferred box to be active", || pair.is(0, "active") && pair.is(1, "standby"));
    let (_server, mut streams) = pair.open_streams(3);
    // Frames of VRRP get lost; the link is up.
    at_b.tell("nft", "add table ip deaf");
    at_b.tell("nft", "add chain ip deaf input { type filter hook input priority 0 ; }");
    at_b.tell("nft", "add rule ip deaf input ip protocol vrrp drop");
    wait_for("both to be promoted", || pair.is(0, "waiting") || pair.is(1, "waiting"));
    // On a host so busy that neither hears the other in time, both are for as long as that takes.
    wait_for("one to be active alone", || pair.is(0, "active") != pair.is(1, "active"));
    streams.go_on();
    at_b.tell("nft", "delete table ip deaf");
    wait_for("the preferred box to be active", || pair.is(0, "active") && pair.is(1, "standby"));
    pair.leads_to(0);
    streams.go_on();
    streams.close();
}

#[test]
fn a_stream_that_went_on_while_the_active_box_was_cut_off_goes_on_through_it_when_it_is_back() {
    let Some(pair) = Pair::start("cut") else { return };
    let [_, at_a, _, _, switch] = pair.spaces.namespaces();
    let _deciders = pair.decide();
    let is_one = || pair.is(0, "active") && pair.is(1, "standby");
    wait_for("the preferred box to be active", is_one);
    // Several would fill queues, and one of them starve.
    let (_server, mut stream) = pair.open_streams(1);
    pair.knows(1, 1);
    // Its links have their carrier, and the box does not know that nobody hears it.
    let plug_in = |is_in: bool| {
        for bridge in ["inside", "outside"] {
            let to = if is_in { format!("master {bridge}") } else { "nomaster".to_owned() };
            assert!(ip(&format!("-n {switch} link set {} {to}", port_to(at_a, bridge))));
        }
        assert!(ip(&format!("-n {at_a} link set ha {}", if is_in { "up" } else { "down" })));
    };
    plug_in(false);
    wait_for("the other one to take over", || pair.is(1, "active"));
    pair.leads_to(1);
    stream.go_on();
    assert!(pair.is(0, "active"));
    plug_in(true);
    wait_for("the preferred box alone to be active", is_one);
    pair.leads_to(0);
    stream.go_on();
    stream.close();
}
