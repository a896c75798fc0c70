//! Who may speak to a mapped port: with endpoint-independent filtering everybody whom the policy lets pass.

use super::*;
use sluice_conntrack::policy::{Policy, RuleAction};

/// A client inside, its port outside, a server and a stranger, in both families.
const HOSTS: [[&str; 4]; 2] = [
    ["10.0.0.2:4000", "203.0.113.10:5555", "198.51.100.2:80", "192.0.2.77:777"],
    ["[fd00::2]:4000", "[2001:db8:2::a]:5555", "[2001:db8:9::2]:80", "[2001:db8:77::7]:777"],
];

/// One port for each family, which is its client's alone.
fn mapped(filtering: Filtering) -> Nat {
    let rule = |address| NatRule {
        mapping: Mapping::EndpointIndependent,
        filtering,
        ..NatRule::new(
            Match { ingress: vec![INSIDE], ..outwards() },
            pool(address, address, PortChoice::Among(5555..=5555)),
        )
    };
    Nat { source: vec![rule("203.0.113.10"), rule("2001:db8:2::a")], destination: vec![] }
}

fn open() -> Nat {
    mapped(Filtering::EndpointIndependent)
}

/// A datagram of UDP-Lite.
fn lite(pair: Pair) -> Packet {
    let ports = [pair.source.port().to_be_bytes(), pair.destination.port().to_be_bytes()].concat();
    pair.packet(136, [ports.as_slice(), &[0, 8, 0, 0], &[0; 20]].concat(), Some(6))
}

/// Makes a packet between two endpoints.
type Make = fn(Pair) -> Packet;

/// How connections of each protocol begin and are answered.
fn beginnings() -> [[Make; 2]; 3] {
    [
        [|pair| pair.udp(30), |pair| pair.udp(40)],
        [|pair| pair.tcp("S", 1, 0), |pair| pair.tcp("SA", 9, 2)],
        [lite, lite],
    ]
}

/// What a packet from outside meets that belongs to no client.
#[track_caller]
fn goes_nowhere(it: &mut Middlebox, packet: &Packet) {
    let (verdict, _) = it.pass_one(OUTSIDE, packet);
    assert_ne!(verdict.action, Action::Forward(INSIDE), "{verdict:?}");
}

#[test]
fn a_stranger_reaches_a_mapped_port_and_is_answered() {
    for [client, seen, server, stranger] in HOSTS {
        for [first, answer] in beginnings() {
            let mut it = Middlebox::routed(open());
            it.crosses(INSIDE, &first(Pair::at(client, server)), &first(Pair::at(seen, server)));
            let (comes, becomes) = (Pair::at(stranger, seen), Pair::at(stranger, client));
            let verdict = it.crosses(OUTSIDE, &first(comes), &first(becomes));
            assert_eq!(verdict.state, Some(State::New));
            let back = (answer(becomes.inverse()), answer(comes.inverse()));
            assert_eq!(it.crosses(INSIDE, &back.0, &back.1).state, Some(State::Established));
            let is_translated =
                |bit| it.entries().iter().filter(|(_, entry)| entry.status.contains(bit)).count();
            assert_eq!((is_translated(Status::SRC_NAT), is_translated(Status::DST_NAT)), (1, 1));
            // An error about the answer finds the client.
            let error = back.1.unreachable(comes.source.ip());
            it.crosses(OUTSIDE, &error, &back.0.unreachable(comes.source.ip()));
            it.check();
        }
    }
}

#[test]
fn only_the_mapped_port_of_its_protocol_is_open() {
    for [client, seen, server, stranger] in HOSTS {
        let mut it = Middlebox::routed(open());
        let comes = Pair::at(stranger, seen);
        goes_nowhere(&mut it, &comes.udp(1));
        it.goes_out(&Pair::at(client, server).udp(1));
        let (mut above, mut beside) = (comes, comes);
        above.destination.set_port(5556);
        beside.destination.set_ip(if comes.source.is_ipv4() {
            [203, 0, 113, 11].into()
        } else {
            stranger.parse::<SocketAddr>().unwrap().ip()
        });
        for packet in [above.udp(2), beside.udp(3), comes.tcp("S", 1, 0), comes.echo(5555, 1)] {
            goes_nowhere(&mut it, &packet);
        }
        it.check();

        let mut it = Middlebox::routed(mapped(Filtering::AddressAndPortDependent));
        it.goes_out(&Pair::at(client, server).udp(1));
        goes_nowhere(&mut it, &comes.udp(1));
    }
}

#[test]
fn an_identifier_is_open_to_nobody_else() {
    for [client, seen, server, stranger] in HOSTS {
        let mut it = Middlebox::routed(open());
        it.crosses(INSIDE, &Pair::at(client, server).echo(7, 1), &Pair::at(seen, server).echo(5555, 1));
        goes_nowhere(&mut it, &Pair::at(stranger, seen).echo(5555, 1));
        it.check();
    }
}

#[test]
fn the_policy_decides_about_strangers() {
    let [client, seen, server, stranger] = HOSTS[0];
    let comes = Pair::at(stranger, seen).udp(1);
    let mut it = Middlebox::routed_with(firewall(), open());
    it.goes_out(&Pair::at(client, server).udp(1));
    let (verdict, _) = it.pass_one(OUTSIDE, &comes);
    assert_eq!((verdict.action, verdict.state), (Action::Drop(DropReason::Policy), Some(State::New)));
    assert_eq!(it.entries().len(), 1);
    it.check();

    let dnat = Match { status: Some(Status::DST_NAT), ..states([State::New]) };
    let mut policy: Policy = firewall();
    policy.rules.extend(rules([(dnat, RuleAction::Accept)]).rules);
    let mut it = Middlebox::routed_with(policy, open());
    it.goes_out(&Pair::at(client, server).udp(1));
    it.crosses(OUTSIDE, &comes, &Pair::at(stranger, client).udp(1));
    it.check();
}

#[test]
fn a_mapping_lasts_as_long_as_any_connection_of_its_client() {
    let [client, seen, server, stranger] = HOSTS[0];
    let other = Pair::at("10.0.0.3:4000", "198.51.100.9:80");
    let (comes, becomes) = (Pair::at(stranger, seen), Pair::at(stranger, client));
    let mut it = Middlebox::routed(open());
    it.goes_out(&Pair::at(client, server).udp(1));
    it.pass(secs(20));
    it.crosses(OUTSIDE, &comes.udp(1), &becomes.udp(1));
    // The stranger's connection alone is left, and the port still the client's.
    it.pass(secs(20));
    assert_eq!(it.entries().len(), 1);
    assert_eq!(it.ports_in_use("203.0.113.10"), 1);
    it.check();
    it.finds_no_port(&other.udp(1));
    let second = Pair::at("192.0.2.78:777", seen);
    it.crosses(OUTSIDE, &second.udp(1), &Pair { destination: becomes.destination, ..second }.udp(1));
    let elsewhere = "198.51.100.3:80";
    it.crosses(INSIDE, &Pair::at(client, elsewhere).udp(1), &Pair::at(seen, elsewhere).udp(1));
    // All are over.
    it.pass(secs(40));
    assert!(it.shard.is_empty());
    assert_eq!(it.ports_in_use("203.0.113.10"), 0);
    goes_nowhere(&mut it, &comes.udp(2));
    it.pass(secs(40));
    // The port is another's.
    it.goes_out(&other.udp(1));
    it.crosses(OUTSIDE, &comes.udp(3), &Pair { destination: other.source, ..becomes }.udp(3));
    it.check();
}

#[test]
fn a_destination_rule_goes_first() {
    let [client, seen, server, stranger] = HOSTS[0];
    let mut nat = open();
    nat.destination.push(NatRule::new(towards("203.0.113.10"), to("10.0.0.5:8080")));
    let mut it = Middlebox::routed(nat);
    it.goes_out(&Pair::at(client, server).udp(1));
    it.crosses(OUTSIDE, &Pair::at(stranger, seen).udp(1), &Pair::at(stranger, "10.0.0.5:8080").udp(1));
    it.check();
}

#[test]
fn clients_reach_one_another_by_their_mapped_ports() {
    let [client, seen, server, _] = HOSTS[0];
    let other = "10.0.0.3:4000";
    let mut nat = open();
    nat.source.push(NatRule::new(
        Match { egress: vec![INSIDE], status: Some(Status::DST_NAT), ..Match::default() },
        Target::Masquerade(PortChoice::Preserve),
    ));
    let mut it = Middlebox::routed(nat);
    it.goes_out(&Pair::at(client, server).udp(1));
    let (comes, becomes) = (Pair::at(other, seen), Pair::at("10.0.0.1:4000", client));
    it.leaves(INSIDE, &comes.udp(1), INSIDE, &becomes.udp(1));
    it.leaves(INSIDE, &becomes.inverse().udp(2), INSIDE, &comes.inverse().udp(2));
    it.check();
}

#[test]
fn a_strangers_connection_ends_with_the_address_it_came_to() {
    let masquerade = || mapping_masquerade(Filtering::EndpointIndependent);
    let mut it = Middlebox::of_configuration(with_outside(&["203.0.113.1"], "203.0.113.254", masquerade()));
    let client = Pair::at("10.0.0.2:4000", "198.51.100.2:80");
    it.goes_out(&client.udp(1));
    let stranger = Pair::at("192.0.2.77:777", "203.0.113.1:4000");
    it.crosses(OUTSIDE, &stranger.udp(1), &Pair { destination: client.source, ..stranger }.udp(1));
    it.configure(with_outside(&["198.18.0.1"], "198.18.0.254", masquerade()));
    it.pass(ms(1));
    assert!(it.shard.is_empty());
    it.check();
    assert_eq!(source_address(&it.goes_out(&client.udp(1))), "198.18.0.1");
}
