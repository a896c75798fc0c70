//! Fragments between the box's own network stack and its links: put together for it, and for what it sends, as for anybody else.

use super::*;
use crate::common::router_with_hosts;
use sluice_conntrack::ids::StackId;
use sluice_conntrack::{Configuration, Forwarding};

/// The host sides of the ports.
const INNER: PortId = INSIDE.host_side();
const OUTER: PortId = OUTSIDE.host_side();

fn hosted(shards: u16, nat: Nat) -> Cluster {
    let forwarding = Forwarding::Routed(Box::new(router_with_hosts([Some(StackId(0)); 2])));
    let settings = Settings::of(Preset::Linux, ROOM);
    let configuration = Configuration::new(settings, accept_all(), forwarding).with_nat(nat);
    Cluster::of(shards, ROOM, &configuration, ChaCha8Rng::seed_from_u64(u64::from(shards)))
}

#[test]
fn fragments_to_the_box_and_from_it_leave_as_they_came() {
    for shards in [1, 2, 4] {
        for (port, from, to, egress) in [
            (INSIDE, "10.0.0.9:4000", "10.0.0.1:500", INNER),
            (INSIDE, "[fd00::9]:4000", "[fd00::1]:500", INNER),
            (INNER, "10.0.0.1:500", "10.0.0.9:4000", INSIDE),
            (INNER, "[fd00::1]:500", "[fd00::9]:4000", INSIDE),
            // To groups of the link.
            (OUTSIDE, "203.0.113.9:4000", "224.0.0.251:5353", OUTER),
            (OUTSIDE, "[fe80::9]:4000", "[ff02::fb]:5353", OUTER),
            (OUTER, "203.0.113.1:4000", "224.0.0.251:5353", OUTSIDE),
            (OUTER, "[fe80::1]:4000", "[ff02::fb]:5353", OUTSIDE),
        ] {
            let mut cluster = hosted(shards, Nat::default());
            let frames = Pair::at(from, to).udp(1000).fragments(7, &[0, 400, 800]);
            frames.iter().rev().for_each(|frame| cluster.receive(port, frame.clone()));
            while !cluster.is_at_rest() {
                cluster.step();
            }
            let left: Vec<_> = frames.into_iter().map(|frame| (egress, frame)).collect();
            assert_eq!(cluster.outside.sent, left, "{from} to {to} by {shards} shards");
            cluster.check();
        }
    }
}

#[test]
fn fragments_to_groups_of_no_link_are_dropped_together() {
    for (from, to) in [("203.0.113.9:4000", "239.1.1.1:5353"), ("[2001:db8:2::9]:4000", "[ff05::fb]:5353")] {
        let mut cluster = hosted(2, Nat::default());
        let frames = Pair::at(from, to).udp(1000).fragments(7, &[0, 400, 800]);
        assert!(pass(&mut cluster, OUTSIDE, frames).is_none());
        assert_eq!(cluster.outside.drops, [DropReason::Multicast; 3], "{from} to {to}");
    }
}

#[test]
fn fragments_from_the_box_are_translated_and_so_are_those_of_the_answer() {
    for shards in [1, 2, 4] {
        let mut cluster = hosted(shards, masquerade());
        let sent = Pair::at("10.0.0.1:4000", "198.51.100.2:53");
        let frames = sent.udp(1000).fragments(7, &[0, 400, 800]);
        let there = pass(&mut cluster, INNER, frames).expect("it leaves");
        assert_eq!((there.egress, &there.offsets[..]), (OUTSIDE, &[0, 400, 800][..]));
        assert!(there.pair.source.ip() != sent.source.ip() && is_sound(&there, 1000));
        let answer = there.pair.inverse().udp(1000).fragments(9, &[0, 800]);
        let back = pass(&mut cluster, OUTSIDE, answer).expect("it comes back");
        assert_eq!((back.pair, &back.offsets[..]), (sent.inverse(), &[0, 800][..]));
        assert!([INNER, OUTER].contains(&back.egress) && is_sound(&back, 1000));
        cluster.check();
    }
}
