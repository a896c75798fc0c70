//! Expectations from outside: a connection announces another, and packets come that are it or not.

mod child;
mod events;
mod limits;

use crate::common::expecting::{tuple, wanted};
use crate::common::*;
use sluice_conntrack::expectations::{ExpectationId, Limits, SourceMask, Unexpected, Wanted};
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::listing::ExpectationSnapshot;
use sluice_conntrack::policy::Match;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, State};

/// The client's control connection, and what comes back for it from the server's port for data.
fn control(client: u8) -> Pair {
    Pair::at(&format!("10.0.0.{client}:40000"), "198.51.100.2:21")
}

fn data(sport: u16, dport: u16) -> Pair {
    Pair::at(&format!("198.51.100.2:{sport}"), &format!("10.0.0.2:{dport}"))
}

/// A box with a firewall and the client's established control connection.
fn with_master() -> Middlebox {
    open(Middlebox::with(Settings::of(Preset::Linux, ROOM), firewall()), control(2))
}

fn open(mut it: Middlebox, master: Pair) -> Middlebox {
    for (port, packet) in [
        (INSIDE, master.tcp("S", 1000, 0)),
        (OUTSIDE, master.inverse().tcp("SA", 5000, 1001)),
        (INSIDE, master.tcp("A", 1001, 5001)),
    ] {
        it.burst(&mut [(port, packet.frame())]);
    }
    it
}

fn try_to_expect(
    it: &mut Middlebox,
    master: Pair,
    wanted: &Wanted,
    limits: Limits,
) -> Result<ExpectationId, Unexpected> {
    it.shard.expect_for(&tuple(master), wanted, limits).expect("the master is there")
}

fn expect(it: &mut Middlebox, wanted: &Wanted) -> ExpectationId {
    try_to_expect(it, control(2), wanted, Limits::default()).unwrap()
}

fn expected(it: &Middlebox) -> Vec<ExpectationSnapshot> {
    let mut all = vec![];
    let mut next = Some(0);
    while let Some(cursor) = next {
        next = it.shard.list_expectations(cursor, u32::MAX, |_, one| all.push(one));
    }
    assert_eq!(it.shard.counters().expectations, all.len() as u64);
    all
}

/// The states of SYNs from outside, one after the other.
fn states_of<const N: usize>(it: &mut Middlebox, pairs: [Pair; N]) -> [State; N] {
    pairs.map(|pair| state(it.outside(&pair.tcp("S", 70_000, 0))))
}
