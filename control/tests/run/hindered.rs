//! Two boxes, when a daemon stands still or a table is full.

use std::thread;
use std::time::Duration;

use crate::box_under_test::wait_for;
use crate::boxes::{Pair, pings};

/// What an operator would see of each box.
fn are(pair: &Pair, states: [&str; 2]) -> bool {
    pair.is(0, states[0]) && pair.is(1, states[1])
}

#[test]
fn a_daemon_that_stands_still_for_a_second_stays_active_and_loses_nothing() {
    let Some(pair) = Pair::start("still") else { return };
    let [client, ..] = pair.spaces.namespaces();
    let _deciders = pair.decide();
    wait_for("the preferred box to be active", || are(&pair, ["active", "standby"]));
    wait_for("the way through", || pings(client, "203.0.113.9"));
    let (_server, mut streams) = pair.open_streams(3);
    pair.knows(1, 3);
    pair.daemons[0].signal("STOP");
    thread::sleep(Duration::from_secs(1));
    pair.daemons[0].signal("CONT");
    streams.go_on();
    assert!(are(&pair, ["active", "standby"]), "keepalived hears the other one, and the daemon has not died");
    pair.knows(1, 3);
    streams.close();
}

#[test]
fn a_standby_whose_share_is_full_says_so_and_the_active_box_goes_on() {
    let Some(pair) =
        Pair::start_changed("full", |config| config.replace("prefer: a", "share: 1%\n      prefer: a"))
    else {
        return;
    };
    let [client, _, at_b, ..] = pair.spaces.namespaces();
    pair.daemons[0].tell("ha promote g1");
    wait_for("the way through", || pings(client, "203.0.113.9"));
    // The share of the group is 1 % of 1,024.
    let (_server, mut streams) = pair.open_streams(40);
    let refused = "sluice_ha_install_failures_total{peer=\"a\",group=\"g1\",reason=\"full\"} ";
    let count = || {
        let page = pair.daemons[1].metrics_in(at_b);
        let line = page.lines().find_map(|line| line.strip_prefix(refused)?.parse::<u64>().ok());
        line.unwrap_or_default()
    };
    wait_for("the refusals to be counted", || count() >= 30);
    let known: usize = pair.daemons[1].tell("conntrack -C --standby").trim().parse().unwrap();
    assert!(known <= 10, "{known}");
    streams.go_on();
    streams.close();
}
