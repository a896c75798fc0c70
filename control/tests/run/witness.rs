//! Two boxes and a witness on a third host, a real redis-server: whatever is cut, one box is active at most, and one where somebody may be.

use std::time::{Duration, Instant};

use crate::box_under_test::{text, wait_for};
use crate::boxes::{Pair, pings};
use crate::namespaces::{Namespace, ip};
use crate::redis::Redis;

const WITNESS: &str = "  witness: { url: 'redis://10.97.0.9:6390' }\n";

/// Boxes that reach the witness over a link of their own each, to the server's host.
fn start(test: &str) -> Option<(Pair, Redis)> {
    let pair = Pair::start_with(test, WITNESS)?;
    let [_, a, b, server, _] = pair.spaces.namespaces();
    assert!(ip(&format!("-n {server} link set lo up")));
    assert!(ip(&format!("-n {server} address add 10.97.0.9/32 dev lo")));
    for (number, at) in [(1, a), (2, b)] {
        assert!(ip(&format!("link add wit netns {at} type veth peer name up{number} netns {server}")));
        for (space, interface, last) in [(at, "wit".to_owned(), 1), (server, format!("up{number}"), 2)] {
            assert!(ip(&format!("-n {space} address add 10.98.{number}.{last}/30 dev {interface}")));
            assert!(ip(&format!("-n {space} link set {interface} up")));
        }
        assert!(ip(&format!("-n {at} route add 10.97.0.9 via 10.98.{number}.2")));
    }
    let witness = Redis::inside(server, 6390);
    for daemon in 0..2 {
        wait_for("the witness", || says(&pair, daemon, "witness redis://10.97.0.9:6390 up:"));
    }
    Some((pair, witness))
}

fn says(pair: &Pair, daemon: usize, what: &str) -> bool {
    text(&pair.daemons[daemon].ask("ha status").stdout).contains(what)
}

fn cut(at: Namespace<'_>, link: &str) {
    assert!(ip(&format!("-n {at} link set {link} down")));
}

/// Waits, and both are not active meanwhile.
fn wait_with_one(pair: &Pair, what: &str, holds: impl Fn() -> bool) {
    wait_for(what, || {
        // The one that was active first is asked first: what it says holds at least until the other is asked.
        assert!(!(pair.is(1, "active") && pair.is(0, "active")), "both are active");
        holds()
    });
}

#[test]
fn a_box_that_is_cut_off_from_its_peer_and_the_witness_gives_way_to_the_other() {
    let Some((pair, _witness)) = start("lease") else { return };
    let [client, at_a, at_b, ..] = pair.spaces.namespaces();
    let _ = pair.daemons[0].ask("ha promote g1");
    wait_for("the first box to be active", || {
        pair.is(0, "active") && says(&pair, 0, "leases of this box: g1")
    });
    wait_for("the way through", || pings(client, "203.0.113.9"));
    let (_server, mut streams) = pair.open_streams(3);
    pair.knows(1, 3);

    cut(at_a, "ha");
    cut(at_a, "wit");
    // As keepalived does when it hears nobody.
    assert!(!pair.daemons[1].ask("ha promote g1").status.success());
    wait_with_one(&pair, "the other box to be active", || pair.is(1, "active"));
    assert!(pair.is(0, "waiting") && says(&pair, 0, " DOWN: leases of this box: none"));
    pair.leads_to(1);
    streams.go_on();
    let page = pair.daemons[1].metrics_in(at_b);
    for line in ["sluice_ha_witness_up 1\n", "sluice_ha_lease{group=\"g1\"} 1\n"] {
        wait_for(line, || pair.daemons[1].metrics_in(at_b).contains(line) || page.contains(line));
    }
    streams.close();
}

#[test]
fn who_has_the_lease_stays_active_when_the_boxes_do_not_reach_each_other() {
    let Some((pair, witness)) = start("stays") else { return };
    let [client, at_a, ..] = pair.spaces.namespaces();
    let _ = pair.daemons[0].ask("ha promote g1");
    wait_for("the first box to be active", || {
        pair.is(0, "active") && says(&pair, 0, "leases of this box: g1")
    });
    wait_for("the way through", || pings(client, "203.0.113.9"));
    let (_server, mut streams) = pair.open_streams(3);

    cut(at_a, "ha");
    assert!(!pair.daemons[1].ask("ha promote g1").status.success());
    // Longer than a lease.
    let since = Instant::now();
    wait_with_one(&pair, "the lease to be renewed", || since.elapsed() > Duration::from_secs(5));
    assert!(pair.is(0, "active") && pair.is(1, "waiting"));
    let refused = pair.daemons[1].ask("ha promote g1");
    assert!(text(&refused.stderr).contains("nor is the witness' lease this box's"), "{refused:?}");
    streams.go_on();
    streams.close();
    // Without a third host nobody knows.
    drop(witness);
    wait_for("none to be active", || pair.is(0, "waiting") && pair.is(1, "waiting"));
    pair.daemons[1].tell("ha promote g1 --force");
    assert!(pair.is(1, "active"), "an operator does");
}

#[test]
fn a_dead_daemon_whose_host_answers_is_replaced_without_the_lease() {
    let Some((mut pair, witness)) = start("dead") else { return };
    let _deciders = pair.decide();
    wait_for("the preferred box to be active", || {
        pair.is(0, "active") && says(&pair, 0, "leases of this box: g1")
    });
    drop(witness);
    wait_for("the witness to be gone", || says(&pair, 1, "witness redis://10.97.0.9:6390 DOWN"));
    let (_server, mut streams) = pair.open_streams(3);
    pair.knows(1, 3);
    pair.daemons[0].signal("KILL");
    wait_for("the other box to be active", || pair.is(1, "active"));
    streams.go_on();
    streams.close();
    pair.daemons[0].wait();
}
