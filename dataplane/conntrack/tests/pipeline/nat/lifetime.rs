//! What a translation outlives and what ends it: rules that change, a table that is full, an address that goes.

use super::*;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Configuration, Forwarding, Instant};

const GATEWAY: &str = "203.0.113.254";

fn from(host: u8) -> Pair {
    Pair::of([10, 0, 0, host].into(), 40000, [198, 51, 100, 2].into(), 80)
}

fn configure(it: &mut Middlebox, nat: Nat) {
    let configuration = routed(Settings::of(Preset::Linux, ROOM), accept_all(), nat);
    it.configure(configuration);
}

#[test]
fn rules_that_change_leave_connections_alone() {
    let mut it = Middlebox::routed(Nat::default());
    it.crosses(INSIDE, &from(2).udp(1), &from(2).udp(1));
    configure(&mut it, masquerade());
    it.crosses(INSIDE, &from(2).udp(1), &from(2).udp(1));
    let seen = Pair::at("203.0.113.1:40000", "198.51.100.2:80");
    it.crosses(INSIDE, &from(3).udp(1), &seen.udp(1));
    configure(&mut it, source(to("203.0.113.10")));
    it.crosses(INSIDE, &from(3).udp(1), &seen.udp(1));
    configure(&mut it, Nat::default());
    it.crosses(INSIDE, &from(3).udp(1), &seen.udp(1));
    it.crosses(OUTSIDE, &seen.inverse().udp(1), &from(3).inverse().udp(1));
    it.crosses(INSIDE, &from(4).udp(1), &from(4).udp(1));
    assert!(it.shard.expire(it.now, 0), "no address was lost, so there is nothing to look for");
    it.check();
}

#[test]
fn ports_stay_in_use_over_a_reload() {
    let one_port = || source(pool("203.0.113.10", "203.0.113.10", PortChoice::Among(5555..=5555)));
    let mut it = Middlebox::routed(one_port());
    it.goes_out(&from(2).udp(1));
    configure(&mut it, one_port());
    assert_eq!(it.ports_in_use("203.0.113.10"), 1);
    it.finds_no_port(&from(3).udp(1));
    it.pass(secs(31));
    assert_eq!(it.ports_in_use("203.0.113.10"), 0);
    it.goes_out(&from(3).udp(1));
}

#[test]
fn a_dead_connection_does_not_keep_its_port_until_the_wheel_comes_to_it() {
    let mut it =
        Middlebox::routed(source(pool("203.0.113.10", "203.0.113.10", PortChoice::Among(5555..=5555))));
    it.goes_out(&from(2).udp(1));
    it.now = it.now.after(secs(31));
    it.goes_out(&from(3).udp(1));
    assert_eq!(it.shard.len(), 1);
    let counters = it.shard.counters();
    let expired: u64 = counters.expired.as_flattened().iter().sum();
    assert_eq!((expired, counters.closed), (1, 0), "it has expired, whoever takes its place");
    it.check();
}

#[test]
fn masqueraded_connections_end_with_the_address_and_others_stay() {
    let nat = || Nat {
        source: vec![
            NatRule::new(
                Match { source: vec![Prefix::new("10.0.0.9".parse().unwrap(), 32)], ..outwards() },
                to("203.0.113.1"),
            ),
            NatRule::new(outwards(), Target::Masquerade(PortChoice::Preserve)),
        ],
        destination: vec![],
    };
    let first = with_outside(&["203.0.113.1", "192.0.2.1"], GATEWAY, nat());
    let mut it = Middlebox::of_configuration(first);
    let near = |host| Pair::of([10, 0, 0, host].into(), 40000, [192, 0, 2, 77].into(), 80);
    for host in 2..9 {
        assert_eq!(source_address(&it.goes_out(&from(host).udp(1))), "203.0.113.1");
        assert_eq!(source_address(&it.goes_out(&near(host).udp(1))), "192.0.2.1");
    }
    assert_eq!(source_address(&it.goes_out(&from(9).udp(1))), "203.0.113.1");
    let plain = Pair::at("198.51.100.2:5", "10.0.0.9:6").udp(1);
    it.crosses(OUTSIDE, &plain, &plain);

    it.configure(with_outside(&["203.0.113.2", "192.0.2.1"], GATEWAY, nat()));
    assert_eq!(it.shard.len(), 16, "a reload itself touches no entry");
    let mut loops = 0;
    while !it.shard.expire(it.now, 3) {
        loops += 1;
        assert!(loops < 10, "sixteen entries by three");
        it.check();
    }
    assert!(loops > 3);
    assert_eq!(it.shard.len(), 9);
    for (_, entry) in it.entries() {
        assert!(!entry.status.contains(Status::MASQUERADED) || entry.reply.dst == 0xc000_0201);
    }
    it.check();
    assert_eq!(source_address(&it.goes_out(&from(2).udp(1))), "203.0.113.2", "the client's next packet");
    // The address is gone from the other port as well, or becomes that of a wire: all end.
    let wire = Configuration::new(Settings::of(Preset::Linux, ROOM), accept_all(), Forwarding::wire());
    it.configure(wire);
    it.pass(secs(0));
    assert!(it.entries().iter().all(|(_, entry)| !entry.status.contains(Status::MASQUERADED)));
    it.check();
}

/// The default route moves to another provider: the connection ends with the packet that would leave there, and begins anew.
#[test]
fn a_masqueraded_connection_follows_its_route_by_beginning_anew() {
    let wan = |port: u8, via: &str| {
        let interface = |own: &str| Interface {
            addresses: vec![(own.parse().unwrap(), 24)],
            mtu: 1500,
            ..Interface::default()
        };
        let own = ["10.0.0.1", "203.0.113.1", "192.0.2.1"].map(interface).to_vec();
        let to = Prefix::new("0.0.0.0".parse().unwrap(), 0);
        let route = Route::by(to, PortId(port), Some(via.parse().unwrap()));
        let router = Forwarding::Routed(Box::new(Router::new(own, [route])));
        let from_inside = Match { ingress: vec![INSIDE], ..Match::default() };
        let rule = NatRule::new(from_inside, Target::Masquerade(PortChoice::Preserve));
        let nat = Nat { source: vec![rule], destination: vec![] };
        Configuration::new(Settings::of(Preset::Linux, ROOM), accept_all(), router).with_nat(nat)
    };
    let mut it = Middlebox::of_configuration(wan(1, "203.0.113.254"));
    let packet = from(2).udp(1);
    let address = |it: &mut Middlebox| {
        let (verdict, frame) = it.pass_one(INSIDE, &packet);
        verdict.drop_reason().map_or_else(|| source_address(&frame), |reason| reason.label().to_owned())
    };
    assert_eq!(address(&mut it), "203.0.113.1");
    it.configure(wan(1, "203.0.113.253"));
    assert_eq!(address(&mut it), "203.0.113.1", "another router behind the same interface");
    it.configure(wan(2, "192.0.2.254"));
    assert_eq!(address(&mut it), "nat-route-changed");
    assert_eq!(it.shard.len(), 0);
    assert_eq!(address(&mut it), "192.0.2.1");
    it.check();
}

#[test]
fn an_address_that_moves_to_another_port_ends_nothing() {
    let mut it = Middlebox::of_configuration(with_outside(&["203.0.113.1"], GATEWAY, masquerade()));
    it.goes_out(&from(2).udp(1));
    it.configure(with_outside(&["192.0.2.1", "203.0.113.1"], GATEWAY, masquerade()));
    it.pass(secs(0));
    assert_eq!(it.shard.len(), 1);
}

#[test]
fn a_full_table_evicts_and_refuses_and_stays_whole() {
    let settings = Settings::of(Preset::Linux, 20);
    let mut it = Middlebox::starting(Instant::from_ns(0), 20, routed(settings, accept_all(), masquerade()));
    for n in 0..400_u16 {
        let pair = Pair::of([10, 0, 0, 2].into(), 2000 + n, [198, 51, 100, (n % 200) as u8].into(), 80);
        let (verdict, _) = it.pass_one(INSIDE, &pair.udp(1));
        assert!(matches!(verdict.action, Action::Forward(_) | Action::Drop(DropReason::TableFull)));
        it.check();
    }
    assert!(it.shard.len() <= 20);
    assert_eq!(it.ports_in_use("203.0.113.1"), it.shard.len());
    it.pass(secs(31));
    assert_eq!(it.ports_in_use("203.0.113.1"), 0);
}
