//! Configurations that follow one another while connections are open: each port stays that of whoever has it.

use super::*;

fn from(host: u8) -> Pair {
    Pair::of([10, 0, 0, host].into(), 40000, [198, 51, 100, 2].into(), 80)
}

fn configure(it: &mut Middlebox, nat: Nat) {
    let configuration = routed(Settings::of(Preset::Linux, ROOM), accept_all(), nat);
    it.configure(configuration);
}

/// A source rule for an address with so many ports from 5555 on, and how long its translations hold.
fn ports(address: &str, count: u16, mapping: Mapping, filtering: Filtering) -> Nat {
    let target = pool(address, address, PortChoice::Among(5555..=5554 + count));
    let mut nat = source(target);
    nat.source[0] = NatRule { mapping, filtering, ..nat.source[0].clone() };
    nat
}

fn mapped(address: &str, count: u16) -> Nat {
    ports(address, count, Mapping::EndpointIndependent, Filtering::AddressAndPortDependent)
}

const POOL: &str = "203.0.113.10";
/// Far enough from that to be counted apart.
const OTHER_POOL: &str = "203.0.113.210";

#[test]
fn a_mapped_port_stays_its_clients_when_its_address_goes_and_comes_back() {
    for swept in [false, true] {
        let mut it = Middlebox::routed(mapped(POOL, 2));
        let first = source_port(&it.goes_out(&from(2).udp(1)));
        for nat in [Nat::default(), mapped(OTHER_POOL, 2), mapped(POOL, 2)] {
            configure(&mut it, nat);
            if swept {
                it.pass(ms(1));
            }
            it.check();
        }
        let second = source_port(&it.goes_out(&from(3).udp(1)));
        assert_ne!(first, second);
        it.finds_no_port(&from(4).udp(1));
        it.crosses(
            INSIDE,
            &from(2).udp(1),
            &Pair { source: ([203, 0, 113, 10], first).into(), ..from(2) }.udp(1),
        );
        it.pass(ms(1));
        assert_eq!(it.ports_in_use(POOL), 2);
        it.check();
        it.pass(secs(31));
        assert_eq!(it.ports_in_use(POOL), 0);
    }
}

#[test]
fn a_port_that_only_a_stranger_still_uses_stays_its_clients() {
    let open = || ports(POOL, 1, Mapping::EndpointIndependent, Filtering::EndpointIndependent);
    let mut it = Middlebox::routed(open());
    it.goes_out(&from(2).udp(1));
    it.pass(secs(20));
    let stranger = Pair::at("192.0.2.77:777", "203.0.113.10:5555");
    it.crosses(OUTSIDE, &stranger.udp(1), &Pair { destination: from(2).source, ..stranger }.udp(1));
    it.pass(secs(20));
    configure(&mut it, Nat::default());
    configure(&mut it, open());
    it.pass(ms(1));
    assert_eq!((it.shard.len(), it.ports_in_use(POOL)), (1, 1));
    it.finds_no_port(&from(3).udp(1));
    it.check();
}

#[test]
fn ports_of_an_address_that_comes_back_are_counted_while_connections_come_and_go() {
    let nat = || source(pool(POOL, POOL, PortChoice::Among(5000..=5999)));
    let mut it = Middlebox::routed(nat());
    let client =
        |n: u16| Pair::of([10, 0, (n >> 8) as u8, n as u8].into(), 40000, [198, 51, 100, 2].into(), 80);
    for n in 2..202 {
        it.goes_out(&client(n).udp(1));
    }
    configure(&mut it, Nat::default());
    it.pass(ms(1));
    configure(&mut it, nat());
    let mut next = 300;
    while !it.shard.expire(it.now, 7) {
        // One goes on either side of the sweep, and others take their slots.
        let gone = next - 298;
        it.shard.delete(|entry| entry.original.source() == client(gone).source.ip());
        it.shard.delete(|entry| entry.original.source() == client(203 - gone).source.ip());
        for _ in 0..3 {
            it.goes_out(&client(next).udp(1));
            next += 1;
        }
        it.check();
    }
    assert!(next > 330, "there were some steps");
    assert_eq!(it.ports_in_use(POOL), it.shard.len());
    it.check();
    // A reload in the midst of a sweep begins it again.
    configure(&mut it, source(to(OTHER_POOL)));
    configure(&mut it, nat());
    assert!(!it.shard.expire(it.now, 50));
    configure(&mut it, nat());
    it.pass(ms(1));
    assert_eq!(it.ports_in_use(POOL), it.shard.len());
    it.check();
}

#[test]
fn a_reload_of_anything_else_leaves_ports_in_use() {
    let dependent = Mapping::AddressAndPortDependent;
    let independent = Mapping::EndpointIndependent;
    let filters = [Filtering::AddressAndPortDependent, Filtering::EndpointIndependent];
    let mut it = Middlebox::routed(ports(POOL, 100, independent, filters[1]));
    for host in 2..12 {
        it.goes_out(&from(host).udp(1));
    }
    for (count, mapping, filtering) in
        [(1, independent, filters[0]), (100, dependent, filters[0]), (3, independent, filters[1])]
    {
        configure(&mut it, ports(POOL, count, mapping, filtering));
        assert_eq!(it.ports_in_use(POOL), 10);
        assert!(it.shard.expire(it.now, 0), "what is known already is not counted again");
        it.check();
    }
    configure(&mut it, masquerade());
    assert_eq!(it.ports_in_use(POOL), 10, "it lies near the box's own address");
}

#[test]
fn a_mapping_that_the_rules_no_longer_make_serves_no_new_connection() {
    let mut it = Middlebox::routed(mapped(POOL, 10));
    let elsewhere = |host: u8| Pair { destination: ([198, 51, 100, 3], 80).into(), ..from(host) };
    let seen = it.goes_out(&from(2).udp(1));
    assert_eq!(source_port(&it.goes_out(&elsewhere(2).udp(1))), source_port(&seen));
    for nat in
        [mapped(OTHER_POOL, 10), ports(OTHER_POOL, 1, Mapping::EndpointIndependent, Filtering::default())]
    {
        configure(&mut it, nat);
        it.shard.delete(|entry| entry.original.destination() == elsewhere(2).destination.ip());
        assert_eq!(source_address(&it.goes_out(&elsewhere(2).udp(1))), OTHER_POOL);
        assert_eq!(it.goes_out(&from(2).udp(1)), seen, "what is open stays as it is");
        it.check();
    }
    // The old connection is over: what the client begins now has one port again.
    it.pass(secs(31));
    configure(&mut it, mapped(OTHER_POOL, 10));
    let first = it.goes_out(&from(2).udp(1));
    assert_eq!(source_port(&it.goes_out(&elsewhere(2).udp(1))), source_port(&first));
    it.check();
}

#[test]
fn a_lost_address_is_given_to_nobody_while_the_table_is_swept() {
    let nat = || mapping_masquerade(Filtering::AddressAndPortDependent);
    let mut it = Middlebox::of_configuration(with_outside(&["203.0.113.1"], "203.0.113.254", nat()));
    let towards =
        |host: u8, server: u8| Pair { destination: ([198, 51, 100, server], 80).into(), ..from(host) };
    for host in 2..62 {
        it.goes_out(&towards(host, 2).udp(1));
    }
    // What comes finds room where the sweep has been.
    it.shard.delete(|entry| (2..12).any(|host| entry.original.source() == from(host).source.ip()));
    it.configure(with_outside(&["198.18.0.1"], "198.18.0.254", nat()));
    assert!(!it.shard.expire(it.now, 30));
    for host in 52..62 {
        assert_eq!(source_address(&it.goes_out(&towards(host, 3).udp(1))), "198.18.0.1");
    }
    it.pass(ms(1));
    assert_eq!(it.shard.len(), 10);
    assert!(it.entries().iter().all(|(_, entry)| entry.reply.destination().to_string() == "198.18.0.1"));
    it.check();
}

#[test]
fn a_backend_that_is_gone_keeps_its_connections() {
    let public = || Match { ingress: vec![OUTSIDE], ..towards("203.0.113.80") };
    let backends = |last: &str| destination(public(), pool("10.0.0.5", last, PortChoice::Among(8080..=8080)));
    let mut it = Middlebox::routed(backends("10.0.0.8"));
    let client = |n: u8| Pair::of([192, 0, 2, n].into(), 1000, [203, 0, 113, 80].into(), 80);
    let passes = |it: &mut Middlebox, n: u8, flags: &str| {
        let (verdict, frame) = it.pass_one(OUTSIDE, &client(n).tcp(flags, 1, 0));
        assert_eq!(verdict.action, Action::Forward(INSIDE));
        frame[33]
    };
    let served: Vec<u8> = (0..40).map(|n| passes(&mut it, n, "S")).collect();
    assert!((5..=8).all(|host| served.contains(&host)));
    configure(&mut it, backends("10.0.0.5"));
    let again: Vec<u8> = (0..40).map(|n| passes(&mut it, n, "S")).collect();
    assert_eq!(again, served);
    assert_eq!(passes(&mut it, 99, "S"), 5);
    configure(&mut it, Nat::default());
    let answer = Pair::of([10, 0, 0, served[3]].into(), 8080, client(3).source.ip(), 1000).tcp("SA", 5, 2);
    it.crosses(INSIDE, &answer, &client(3).inverse().tcp("SA", 5, 2));
    it.check();
}
