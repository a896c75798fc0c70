//! Options of IPv4 (RFC 791 section 3.1) and of IPv6's hop-by-hop header (RFC 8200 section 4.3): they pass as they came, where
//! Linux fills them in, follows them or drops the packet (docs/differences.md).

use crate::common::*;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::{Action, Rejection};
use sluice_conntrack::{DropReason, State};

/// A packet with each of these options begins a connection and leaves as it came: by a wire to the byte, by a router with a TTL
/// less by one.
fn pass_as_they_came(packet: &Packet, all_options: &[&[u8]]) {
    for options in all_options {
        let boxes = [
            (Middlebox::with(Settings::of(Preset::Linux, ROOM), accept_all()), packet.ttl),
            (Middlebox::routed(Nat::default()), packet.ttl - 1),
        ];
        for (mut it, ttl) in boxes {
            let mut frames = [(INSIDE, packet.frame_with_options(options))];
            let verdict = it.burst(&mut frames)[0];
            assert_eq!((verdict.state, verdict.action), (Some(State::New), Action::Forward(OUTSIDE)));
            let left = Packet { ttl, ..packet.clone() }.frame_with_options(options);
            assert_eq!(frames[0].1, left, "options {options:?}");
            assert_eq!(it.shard.len(), 1);
            it.check();
        }
    }
}

#[test]
fn options_for_ipv4_routers_pass_as_they_came() {
    let packet = Pair::at("10.0.0.2:40000", "198.51.100.2:53").udp(20);
    pass_as_they_came(
        &packet,
        &[
            &[7, 7, 4, 0, 0, 0, 0, 0],       // record route, with room for an address
            &[68, 8, 5, 0, 0, 0, 0, 0],      // timestamp, with room for one
            &[131, 7, 4, 192, 0, 2, 9, 0],   // loose source route, not used up
            &[137, 7, 4, 192, 0, 2, 9, 0],   // strict source route
            &[148, 4, 0, 0],                 // router alert (RFC 2113)
            &[7, 2, 0, 0],                   // record route without a pointer
            &[7, 200, 4, 0],                 // record route that is longer than the header
            &[68, 8, 1, 0, 0, 0, 0, 0],      // timestamp whose pointer is within its own head
            &[131, 7, 4, 192, 0, 2, 9, 131], // two source routes, the second cut off
        ],
    );
}

/// Linux goes on to the next address of the route where `accept_source_route` is on.
#[test]
fn a_source_route_ends_at_the_box_that_it_names() {
    let mut it = Middlebox::routed(Nat::default());
    let packet = Pair::at("10.0.0.2:40000", "10.0.0.1:53").udp(20);
    let mut frames = [(INSIDE, packet.frame_with_options(&[131, 7, 4, 198, 51, 100, 2, 0]))];
    let refused = Action::Reject(DropReason::Local, Rejection::PortUnreachable);
    assert_eq!(it.burst(&mut frames)[0].action, refused);
}

#[test]
fn hop_by_hop_options_that_say_discard_pass_as_they_came() {
    let packet = Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:53").udp(20);
    // The two highest bits of the type: skip, discard, discard and tell, discard and tell if that was no multicast.
    pass_as_they_came(
        &packet,
        &[&[0x1e, 4, 0, 0, 0, 0], &[0x5e, 4, 0, 0, 0, 0], &[0x9e, 4, 0, 0, 0, 0], &[0xde, 4, 0, 0, 0, 0]],
    );
}

#[test]
fn the_box_itself_takes_hop_by_hop_options_that_say_discard() {
    let mut it = Middlebox::routed(Nat::default());
    let mut frames = [(
        INSIDE,
        Pair::at("[fd00::2]:0", "[fd00::1]:0").echo(7, 1).frame_with_options(&[0x9e, 4, 0, 0, 0, 0]),
    )];
    let verdict = it.burst(&mut frames)[0];
    assert_eq!((verdict.state, verdict.action), (Some(State::New), Action::Deliver));
}
