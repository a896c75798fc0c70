//! Several shards: each packet is one shard's, and every other hands it off untouched.

use crate::common::received::Received;
use crate::common::{INSIDE, OUTSIDE, Packet, Pair, ROOM, SEED, accept_all, configuration};
use sluice_conntrack::exchange::{Answered, Message};
use sluice_conntrack::nat::{Mapping, Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Policy};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::{Action, Handoff};
use sluice_conntrack::{
    Capacity, DropReason, Handed, Installation, Instant, PortId, Shard, ShardId, State, Steering, Tuple,
    Verdict,
};

pub fn received(port: PortId, packet: &Packet) -> Received {
    Received::new(port, packet.frame())
}

fn shards(count: u16, max_entries: u32) -> Vec<Shard> {
    let settings = Settings::of(Preset::Linux, max_entries);
    let shard = |own| {
        let capacity = Capacity { entries: ROOM, seed: [1, 2, 3, 4], pages: sluice_memory::Pages::Ordinary };
        let configuration = Box::new(configuration(settings.clone(), accept_all()));
        let steering = Steering::new(ShardId(own), count).unwrap();
        Shard::new(capacity, configuration, Instant::default()).unwrap().with_steering(steering).unwrap()
    };
    (0..count).map(shard).collect()
}

pub fn verdict(shard: &mut Shard, frame: Received) -> Verdict {
    let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
    shard.process(Instant::default(), &mut [frame], &mut verdicts);
    verdicts[0]
}

/// Shows a frame to all shards; gives the verdict of the one that keeps it, and which that is.
fn owner(shards: &mut [Shard], port: PortId, packet: &Packet) -> (ShardId, Verdict) {
    let verdicts: Vec<_> = shards.iter_mut().map(|shard| verdict(shard, received(port, packet))).collect();
    let kept: Vec<_> =
        (0..).zip(&verdicts).filter(|(_, v)| !matches!(v.action, Action::Handoff(..))).collect();
    let [(own, verdict)] = kept[..] else { panic!("one shard keeps it: {verdicts:?}") };
    for (_, other) in (0..).zip(&verdicts).filter(|(number, _)| *number != own) {
        assert_eq!(*other, Verdict::ended(Action::Handoff(ShardId(own), Handoff::Steering)));
    }
    (ShardId(own), *verdict)
}

#[test]
fn a_connection_is_one_shards_both_ways() {
    let mut shards = shards(4, ROOM);
    let mut owned = [0; 4];
    for sport in 1000..1100 {
        for pair in Pair::both(sport, 53) {
            let (first, query) = owner(&mut shards, INSIDE, &pair.udp(7));
            let (second, answer) = owner(&mut shards, OUTSIDE, &pair.inverse().udp(7));
            assert_eq!((query.state, answer.state), (Some(State::New), Some(State::Established)));
            assert_eq!(first, second);
            owned[usize::from(first.0)] += 1;
        }
    }
    assert!(owned.iter().all(|owned| *owned > 0), "{owned:?}");
    for (shard, owned) in shards.iter().zip(owned) {
        let counters = shard.counters();
        assert_eq!(shard.len(), owned);
        assert_eq!(counters.packets.iter().sum::<u64>(), 2 * u64::from(owned), "its own packets alone count");
        assert_eq!(counters.found + counters.missed, 2 * u64::from(owned));
    }
}

#[test]
fn an_error_goes_to_the_connection_it_quotes() {
    let mut shards = shards(4, ROOM);
    for sport in 1000..1032 {
        for pair in Pair::both(sport, 53) {
            let packet = pair.udp(7);
            let (first, _) = owner(&mut shards, INSIDE, &packet);
            let error = packet.unreachable(pair.destination.ip());
            let (second, error) = owner(&mut shards, OUTSIDE, &error);
            assert_eq!((first, error.state), (second, Some(State::Related)));
        }
    }
}

#[test]
fn what_was_handed_over_stays() {
    let mut shards = shards(2, ROOM);
    let packet = Pair::v4(1000, 53).udp(7);
    for shard in &mut shards {
        let handed = Some(Handed { from: ShardId(0), by: Handoff::Steering, hops: 1 });
        let verdict = verdict(shard, Received { handed, ..received(INSIDE, &packet) });
        assert_eq!(verdict.state, Some(State::New));
    }
}

#[test]
fn a_nic_s_hash_is_believed_for_plain_packets_alone() {
    let mut shards = shards(2, ROOM);
    let pair = Pair::v4(1000, 53);
    let steering = *shards[0].steering();
    let tuple = Tuple::new(pair.source.ip(), pair.destination.ip(), 17, 1000, 53);
    let other = ShardId(1 - steering.owner(&tuple).0);
    let rss_hash = Some(u32::from(other.0));
    let mut keeps = |packet: &Packet| {
        let frame = Received { rss_hash, ..received(INSIDE, packet) };
        !matches!(verdict(&mut shards[usize::from(other.0)], frame).action, Action::Handoff(..))
    };
    assert!(keeps(&pair.udp(7)));
    assert!(!keeps(&pair.udp(7).vlan(5)), "a NIC may not look behind a tag");
}

#[test]
fn a_limit_is_shared_out() {
    let mut shards = shards(2, 9);
    for sport in 1000..1100 {
        owner(&mut shards, INSIDE, &Pair::v4(sport, 53).udp(7));
    }
    assert_eq!(shards.iter().map(Shard::len).collect::<Vec<_>>(), [5, 4]);
}

/// Two shards with room for so many entries, of which the second has a policy of its own. They map clients' ports alike for
/// all servers.
fn mapping_shards(room: u32, policy: Policy) -> [Shard; 2] {
    let pool =
        Range { first: [203, 0, 113, 9].into(), last: [203, 0, 113, 9].into(), ports: PortChoice::Preserve };
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    let rule =
        NatRule { mapping: Mapping::EndpointIndependent, ..NatRule::new(out, Target::Pool(vec![pool])) };
    let nat = Nat { source: vec![rule], destination: vec![] };
    let settings = Settings::of(Preset::Linux, 2 * room);
    [(0, accept_all()), (1, policy)].map(|(own, policy)| {
        let capacity = Capacity { entries: room, seed: SEED, pages: sluice_memory::Pages::Ordinary };
        let configuration = configuration(settings.clone(), policy).with_nat(nat.clone());
        let steering = Steering::new(ShardId(own), 2).unwrap();
        Shard::new(capacity, configuration, Instant::default()).unwrap().with_steering(steering).unwrap()
    })
}

/// Clients' ports and their servers, all different.
fn pairs() -> impl Iterator<Item = Pair> {
    (1024..20_000)
        .map(|sport| Pair::of([192, 168, 1, 6].into(), sport, [198, 51, 100, sport as u8].into(), 53))
}

/// Whether the first shard gives the connection of a packet to the second.
fn delegates(owner: &mut Shard, packet: &Packet) -> bool {
    let action = verdict(owner, received(INSIDE, packet)).action;
    action == Action::Handoff(ShardId(1), Handoff::Delegation(0))
}

/// A packet that the first shard has handed to the second.
fn handed(packet: &Packet, by: Handoff) -> Received {
    Received { handed: Some(Handed { from: ShardId(0), by, hops: 1 }), ..received(INSIDE, packet) }
}

/// Lets the first shard hear what the second has to say.
fn tell(owner: &mut Shard, home: &mut Shard) {
    while let Some(message) = home.next_message(ShardId(0)) {
        assert_eq!(owner.receive(ShardId(1), message), None);
    }
}

/// A client's port is mapped by the shard of that port, which may have no use for the connection that another gives it.
#[test]
fn a_delegation_that_comes_to_nothing_leaves_no_signpost() {
    let [mut owner, mut home] = mapping_shards(20_000, Policy::default());
    // All that time nobody takes what the shard of the port has to say.
    for packet in pairs().map(|pair| pair.udp(7)) {
        if delegates(&mut owner, &packet) {
            let verdict = verdict(&mut home, handed(&packet, Handoff::Delegation(0)));
            assert_eq!(verdict.action, Action::Drop(DropReason::Policy));
        }
    }
    assert!(owner.signposts() > 4000, "many connections are delegated");
    tell(&mut owner, &mut home);
    assert_eq!(owner.signposts(), 0);
}

#[test]
fn a_delegated_connection_that_is_bound_in_vain_leaves_no_signpost() {
    let [mut owner, mut home] = mapping_shards(ROOM, accept_all());
    let mut given_up = 0;
    let packets: Vec<Packet> =
        pairs().map(|pair| pair.udp(7)).filter(|packet| delegates(&mut owner, packet)).take(100).collect();
    let counted = owner.rule_counters().policy[0].packets;
    for packet in &packets {
        let mut frame = handed(packet, Handoff::Delegation(0));
        let mut verdict = verdict(&mut home, frame.clone());
        let mut tries = 0;
        while let Action::Hold(_) = verdict.action {
            let claim = loop {
                match home.next_message(ShardId(0)).unwrap() {
                    Message::Claim { claim, .. } => break claim,
                    other => assert_eq!(owner.receive(ShardId(1), other), None),
                }
            };
            let answered = Answered { entry: claim, granted: false };
            assert_eq!(home.receive(ShardId(0), Message::Refused(claim)), Some(answered));
            tries += 1;
            verdict = home.bind_again(Instant::default(), &mut frame, &verdict, tries);
        }
        given_up += u32::from(verdict.action == Action::Drop(DropReason::NatExhausted));
    }
    assert!(given_up > 20, "many claims are refused again and again");
    assert_eq!(
        home.rule_counters().policy[0].packets,
        100,
        "each packet counts once, where it is decided about"
    );
    let counter = home.rule_counters().source[0];
    assert_eq!(counter.bound + u64::from(given_up), 100, "and each connection, if it is bound in the end");
    assert_eq!(counted, u64::from(owner.len()));
    home.delete(|_| true);
    tell(&mut owner, &mut home);
    assert_eq!(owner.signposts(), 0);
}

/// Connections that are the second shard's by their clients' ports, of which the first has no room for another signpost: who
/// begins one anew in the place of one that is closed is dropped, and that one stays.
#[test]
fn a_packet_that_cannot_be_delegated_ends_nothing() {
    let [mut scout, _] = mapping_shards(20_000, accept_all());
    let syn = |pair: Pair| pair.tcp("S", 1000, 0);
    let mut away = pairs().filter(|pair| delegates(&mut scout, &syn(*pair)));
    let [mut owner, _] = mapping_shards(16, accept_all());
    let untranslated = configuration(Settings::of(Preset::Linux, 16), accept_all());
    let mut other = Installation::new(untranslated);
    owner.configure(&mut other);
    let pair = away.next().unwrap();
    let back = pair.inverse();
    for (port, packet) in [
        (INSIDE, syn(pair)),
        (OUTSIDE, back.tcp("SA", 5000, 1001)),
        (INSIDE, pair.tcp("FA", 1001, 5001)),
        (OUTSIDE, back.tcp("FA", 5001, 1002)),
        (INSIDE, pair.tcp("A", 1002, 5002)),
    ] {
        assert_eq!(verdict(&mut owner, received(port, &packet)).drop_reason(), None);
    }
    owner.configure(&mut other);
    let full = Action::Drop(DropReason::HoldFull);
    assert!(away.any(|pair| verdict(&mut owner, received(INSIDE, &syn(pair))).action == full));
    let state = |owner: &Shard| {
        let mut states = vec![];
        owner.list(0, u32::MAX, |_, entry| states.push(entry.state));
        states
    };
    assert_eq!(state(&owner), [Some("TIME_WAIT")]);
    assert_eq!(verdict(&mut owner, received(INSIDE, &pair.tcp("S", 90_000, 0))).action, full);
    assert_eq!(state(&owner), [Some("TIME_WAIT")]);
}
