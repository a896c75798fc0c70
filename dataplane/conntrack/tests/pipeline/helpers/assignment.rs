//! Which connections get a helper.

use super::*;
use crate::common::expecting::{tuple, wanted};
use sluice_conntrack::entry::Status;
use sluice_conntrack::expectations::{Unexpected, Wanted};
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::settings::Preset;

fn helper_of(it: &Middlebox) -> Option<&'static str> {
    let EntrySnapshot { helper, status, .. } = it.entry();
    assert_eq!(helper.is_some(), status.contains(Status::HELPER));
    helper
}

/// What the first packet of a connection gets for a helper.
fn assigned<const N: usize>(assignments: [Assignment; N], first: &Packet) -> Option<&'static str> {
    let mut it = with_helpers(Middlebox::of(Preset::Classic), assignments);
    it.inside(first);
    it.check();
    helper_of(&it)
}

#[test]
fn ports_alone_assign_nothing() {
    for pair in Pair::both(40_000, 21) {
        assert_eq!(assigned([], &pair.tcp("S", 1000, 0)), None);
    }
}

#[test]
fn a_rule_assigns_a_helper_on_any_port_to_connections_of_its_protocol() {
    for port in [21, 2121, 65_535] {
        for pair in Pair::both(40_000, port) {
            let syn = pair.tcp("S", 1000, 0);
            assert_eq!(assigned([ftp_on(&[21, 2121, 65_535])], &syn), Some("ftp"));
            assert_eq!(assigned([ftp_on(&[2122])], &syn), None);
            let everywhere = Assignment { on: Match::default(), ..ftp_on(&[]) };
            assert_eq!(assigned([everywhere], &pair.udp(10)), None);
        }
    }
}

#[test]
fn a_rule_sees_the_destination_before_it_is_translated() {
    let server = "10.0.0.5".parse().unwrap();
    let target = Target::Pool(vec![Range { first: server, last: server, ports: PortChoice::Among(21..=21) }]);
    let nat = Nat { source: vec![], destination: vec![NatRule::new(Match::default(), target)] };
    for (port, expected) in [(2121, Some("ftp")), (21, None)] {
        let mut it = with_helpers(Middlebox::routed(nat.clone()), [ftp_on(&[port])]);
        it.outside(&Pair::at("198.51.100.9:40000", "203.0.113.1:2121").tcp("S", 1000, 0));
        assert_eq!(helper_of(&it), expected);
    }
}

#[test]
fn a_helper_is_its_connections_for_life() {
    let mut it = with_helpers(Middlebox::of(Preset::Classic), [ftp_on(&[21])]);
    let (old, new) = (Pair::v4(40_000, 21), Pair::v4(40_001, 21));
    it.inside(&old.tcp("S", 1000, 0));
    it.reload(accept_all());
    it.outside(&old.inverse().tcp("SA", 5000, 1001));
    assert_eq!(helper_of(&it), Some("ftp"), "switched off, it goes on with what it reads");
    it.inside(&new.tcp("S", 1000, 0));
    let helper_of_new = |it: &Middlebox| it.entries()[1].1.helper;
    assert_eq!(helper_of_new(&it), None);
    let mut it = with_helpers(it, [ftp_on(&[21])]);
    it.outside(&new.inverse().tcp("SA", 5000, 1001));
    assert_eq!(helper_of_new(&it), None, "switched on, it begins with new connections");
    it.check();
}

#[test]
fn what_an_operator_has_expected_is_as_if_the_masters_helper_had() {
    let mut it = with_helpers(Middlebox::of(Preset::Classic), [ftp_on(&[21])]);
    let [control, web] = [21, 80].map(|port| Pair::v4(40_000, port));
    for master in [control, web] {
        it.inside(&master.tcp("S", 1000, 0));
    }
    let child = |port| Wanted { helper: None, ..wanted(Pair::v4(20, port)) };
    for port in [5001, 5002] {
        it.shard.expect_for_operator(&tuple(control), &child(port)).unwrap().unwrap();
    }
    for port in [5003, 5004] {
        it.shard.expect_for_operator(&tuple(web), &child(port)).unwrap().unwrap();
    }
    let mut expected = vec![];
    it.shard.list_expectations(0, u32::MAX, |_, one| {
        let expectation = one.expectation;
        expected.push((expectation.tuple.selector.dport(), expectation.helper()));
    });
    expected.sort_by_key(|(port, _)| *port);
    let ftp = Some(HelperId::Ftp);
    assert_eq!(expected, [(5002, ftp), (5003, None), (5004, None)], "FTP has one at a time");
    let clash = it.shard.expect_for_operator(&tuple(web), &child(5002));
    assert_eq!(clash, Some(Err(Unexpected::Clash)));
    for nobody in [control.inverse(), Pair::v4(40_001, 21)] {
        assert_eq!(it.shard.expect_for_operator(&tuple(nobody), &child(5005)), None);
    }
    it.check();
}
