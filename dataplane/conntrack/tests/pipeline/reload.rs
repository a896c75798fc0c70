//! Two shards, of which one may have a new configuration already while a packet is on its way between them.

use crate::common::frame::init;
use crate::common::received::Received;
use crate::common::{INSIDE, OUTSIDE, Packet, Pair, SEED, accept_all, configuration, rules};
use crate::steering::{received, verdict};
use sluice_conntrack::exchange::{Answered, Message};
use sluice_conntrack::ids::{EntryId, Zone};
use sluice_conntrack::nat::{Mapping, Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Policy, Prefix, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::{Action, Handoff};
use sluice_conntrack::{
    Capacity, Configuration, DropReason, Handed, Installation, Instant, Shard, ShardId, Steering, Verdict,
};

const ROOM: u32 = 1000;

const PUBLIC: [u8; 4] = [203, 0, 113, 200];
const SERVER: [u8; 4] = [10, 0, 0, 6];

fn pool(address: [u8; 4]) -> Target {
    Target::Pool(vec![Range { first: address.into(), last: address.into(), ports: PortChoice::Preserve }])
}

/// Everything is in one zone, clients' ports are mapped alike for all servers, and a server inside is published.
fn of(zone: Zone, policy: Policy) -> Configuration {
    let out = Match { egress: vec![OUTSIDE], ..Match::default() };
    let public = Match { destination: vec![Prefix::new(PUBLIC.into(), 32)], ..Match::default() };
    let nat = Nat {
        source: vec![NatRule {
            mapping: Mapping::EndpointIndependent,
            ..NatRule::new(out, pool([203, 0, 113, 9]))
        }],
        destination: vec![NatRule::new(public, pool(SERVER))],
    };
    let configuration = configuration(Settings::of(Preset::Linux, 2 * ROOM), policy).with_nat(nat);
    Configuration { zones: [zone; _], ..configuration }
}

fn shards(zone: Zone, policy: &Policy) -> [Shard; 2] {
    [0, 1].map(|own| {
        let capacity = Capacity { entries: ROOM, seed: SEED, pages: sluice_memory::Pages::Ordinary };
        let steering = Steering::new(ShardId(own), 2).unwrap();
        let shard = Shard::new(capacity, of(zone, policy.clone()), Instant::default()).unwrap();
        shard.with_steering(steering).unwrap()
    })
}

/// First packets of clients inside that the first shard delegates to the second, as that gets them.
fn delegated(owner: &mut Shard) -> Vec<Received> {
    let pairs = (1024..1424)
        .map(|sport| Pair::of([10, 0, 0, 2].into(), sport, [198, 51, 100, (sport / 3) as u8].into(), 53));
    let hand = |packet: Packet| match verdict(owner, received(INSIDE, &packet)).action {
        Action::Handoff(ShardId(1), by @ Handoff::Delegation(_)) => Some(arrived(&packet, by)),
        _ => None,
    };
    pairs.map(|pair| pair.udp(7)).filter_map(hand).collect()
}

/// A packet that the first shard has handed to the second.
fn arrived(packet: &Packet, by: Handoff) -> Received {
    Received { handed: Some(Handed { from: ShardId(0), by, hops: 1 }), ..received(INSIDE, packet) }
}

/// Lets both shards hear what the other has to say; gives the answers to claims at the second.
fn exchange([owner, home]: &mut [Shard; 2]) -> Vec<Answered> {
    let mut answered = Vec::new();
    loop {
        let mut is_silent = true;
        while let Some(message) = home.next_message(ShardId(0)) {
            assert_eq!(owner.receive(ShardId(1), message), None);
            is_silent = false;
        }
        while let Some(message) = owner.next_message(ShardId(1)) {
            answered.extend(home.receive(ShardId(0), message));
            is_silent = false;
        }
        if is_silent {
            return answered;
        }
    }
}

/// Nothing is left of connections that are over.
#[track_caller]
fn ends(shards: &mut [Shard; 2]) {
    for shard in &mut *shards {
        shard.delete(|_| true);
    }
    exchange(shards);
    assert_eq!(shards.each_ref().map(Shard::signposts), [0, 0]);
}

fn configure(shard: &mut Shard, zone: Zone, policy: Policy) {
    shard.configure(&mut Installation::new(of(zone, policy)));
}

#[test]
fn a_delegation_is_declined_in_the_zone_that_it_was_made_in() {
    for old in [0, 3] {
        let [mut owner, mut home] = shards(old, &accept_all());
        let frames = delegated(&mut owner);
        assert!(frames.len() > 50 && owner.signposts() > 50);
        configure(&mut home, 7, Policy::default());
        for (number, frame) in frames.into_iter().enumerate() {
            match number % 2 {
                0 => assert_eq!(verdict(&mut home, frame).action, Action::Drop(DropReason::Policy)),
                _ => home.turn_away(&frame),
            }
        }
        let mut both = [owner, home];
        exchange(&mut both);
        assert_eq!(both[0].signposts(), 0);
    }
}

#[test]
fn a_delegated_connection_begins_and_ends_in_the_zone_that_it_was_delegated_in() {
    for reloads_owner in [false, true] {
        let [mut owner, mut home] = shards(3, &accept_all());
        let frames = delegated(&mut owner);
        configure(if reloads_owner { &mut owner } else { &mut home }, 7, accept_all());
        for frame in frames {
            verdict(&mut home, frame);
        }
        let zones = |shard: &Shard| {
            let mut zones = Vec::new();
            shard.list(0, u32::MAX, |_, entry| zones.push(entry.original.selector.zone()));
            zones
        };
        assert!(!zones(&home).is_empty() && zones(&home).iter().all(|zone| *zone == 3));
        ends(&mut [owner, home]);
    }
}

/// The first packet waits while its claim is refused again and again, and the zone changes meanwhile.
#[test]
fn a_delegated_connection_that_is_bound_in_vain_leaves_its_zone() {
    let [mut owner, mut home] = shards(3, &accept_all());
    let frames = delegated(&mut owner);
    let mut given_up = 0;
    for mut frame in frames.into_iter().take(100) {
        configure(&mut home, 3, accept_all());
        let mut verdict = verdict(&mut home, frame.clone());
        let mut tries = 0;
        while let Action::Hold(_) = verdict.action {
            configure(&mut home, 7, accept_all());
            let claim = loop {
                match home.next_message(ShardId(0)).unwrap() {
                    Message::Claim { claim, .. } => break claim,
                    other => assert_eq!(owner.receive(ShardId(1), other), None),
                }
            };
            home.receive(ShardId(0), Message::Refused(claim));
            tries += 1;
            verdict = home.bind_again(Instant::default(), &mut frame, &verdict, tries);
        }
        given_up += u32::from(verdict.action == Action::Drop(DropReason::NatExhausted));
    }
    assert!(given_up > 20);
    ends(&mut [owner, home]);
}

/// A client outside of the server inside whose packets are the second shard's, and the server's answers the first's.
fn claimant(shards: &[Shard; 2], make: impl Fn(Pair) -> Packet) -> (Pair, Received) {
    let owner = |pair: Pair| {
        let packet = make(pair);
        let tuple = sluice_conntrack::Tuple::new(
            pair.source.ip(),
            pair.destination.ip(),
            packet.protocol,
            pair.source.port(),
            pair.destination.port(),
        );
        shards[0].steering().owner(&tuple)
    };
    let pairs = (1024..).map(|sport| Pair::of([192, 0, 2, 7].into(), sport, PUBLIC.into(), 80));
    let inside = |pair: Pair| Pair { destination: (SERVER, 80).into(), ..pair };
    let fits = |pair: &Pair| owner(*pair) == ShardId(1) && owner(inside(*pair)) == ShardId(0);
    let pair = pairs.into_iter().find(fits).unwrap();
    (pair, received(OUTSIDE, &make(pair)))
}

/// The second shard holds a packet until its claim is granted; what the packet and its verdict are then.
fn hold(shards: &mut [Shard; 2], frame: &mut Received, meanwhile: impl Fn(&mut Shard)) -> Verdict {
    let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
    shards[1].process(Instant::default(), std::slice::from_mut(frame), &mut verdicts);
    let [verdict] = verdicts;
    assert_eq!(verdict.action, Action::Hold(INSIDE));
    meanwhile(&mut shards[1]);
    let answered = exchange(shards);
    assert_eq!(answered, [Answered { entry: verdict.entry.unwrap(), granted: true }]);
    shards[1].release(frame, &verdict)
}

#[test]
fn a_packet_of_sctp_is_translated_as_it_is_released_and_answered_in_its_zone() {
    let mut shards = shards(5, &accept_all());
    let first = |pair: Pair| pair.sctp(0, &init(1));
    let (pair, mut frame) = claimant(&shards, first);
    let verdict = hold(&mut shards, &mut frame, |_| {});
    assert_eq!(verdict.action, Action::Forward(INSIDE));
    let inside = Pair { destination: (SERVER, 80).into(), ..pair };
    assert_eq!(frame.bytes, first(inside).frame());

    let answer = |pair: Pair| pair.inverse().sctp(9, &init(2));
    let mut frame = received(INSIDE, &answer(inside));
    let verdict = crate::steering::verdict(&mut shards[0], frame.clone());
    assert_eq!(verdict.action, Action::Handoff(ShardId(1), Handoff::Signpost(5)));
    frame.handed = Some(Handed { from: ShardId(0), by: Handoff::Signpost(5), hops: 1 });
    let mut verdicts = [verdict];
    shards[1].process(Instant::default(), std::slice::from_mut(&mut frame), &mut verdicts);
    assert_eq!(verdicts[0].action, Action::Forward(OUTSIDE));
    assert_eq!(frame.bytes, answer(pair).frame());
    ends(&mut shards);
}

#[test]
fn a_packet_that_is_held_over_a_reload_is_decided_about_by_the_new_rules() {
    let mut both = shards(0, &accept_all());
    let (_, mut frame) = claimant(&both, |pair| pair.udp(7));
    let verdict = hold(&mut both, &mut frame, |home| configure(home, 0, Policy::default()));
    assert_eq!((verdict.action, verdict.entry), (Action::Drop(DropReason::Policy), None));
    assert!(both[1].is_empty());
    ends(&mut both);

    // The destination is another now, so that nothing needs to be claimed again, or something else.
    let mut both = shards(0, &accept_all());
    let (pair, mut frame) = claimant(&both, |pair| pair.udp(7));
    let wire = || configuration(Settings::of(Preset::Linux, 2 * ROOM), accept_all());
    let verdict = hold(&mut both, &mut frame, |home| home.configure(&mut Installation::new(wire())));
    assert_eq!(verdict.action, Action::Forward(INSIDE));
    assert_eq!(frame.bytes, pair.udp(7).frame());
    exchange(&mut both);
    assert_eq!(both[0].signposts(), 0);
    assert_eq!(both[1].len(), 1);
    ends(&mut both);
}

/// The number of records of a shard.
fn records(shard: &mut Shard) -> usize {
    std::iter::from_fn(|| shard.log().pop()).count()
}

#[test]
fn a_first_packet_is_logged_once_wherever_it_is_decided_about() {
    let logs = rules([(Match::default(), RuleAction::Log), (Match::default(), RuleAction::Accept)]);
    let mut both = shards(0, &logs);
    let frames = delegated(&mut both[0]);
    let own = both[0].len() as usize;
    assert_eq!(records(&mut both[0]), own, "those that it has not given away");
    let count = frames.len();
    let mut held: Vec<(EntryId, Received, Verdict)> = Vec::new();
    for frame in frames {
        let verdict = verdict(&mut both[1], frame.clone());
        if let Action::Hold(_) = verdict.action {
            held.push((verdict.entry.unwrap(), frame, verdict));
        }
    }
    assert_eq!(records(&mut both[1]), count);
    assert!(held.len() > 20);
    // Half of the claims are refused once.
    while let Some(message) = both[1].next_message(ShardId(0)) {
        assert!(matches!(message, Message::Claim { .. }));
    }
    for (number, (entry, mut frame, verdict)) in held.into_iter().enumerate() {
        let answer = if number % 2 == 0 { Message::Granted(entry) } else { Message::Refused(entry) };
        both[1].receive(ShardId(0), answer);
        match number % 2 {
            0 => both[1].release(&mut frame, &verdict),
            _ => both[1].bind_again(Instant::default(), &mut frame, &verdict, 1),
        };
    }
    assert_eq!(records(&mut both[1]), 0);
    assert_eq!(both[1].counters().log_lost, 0);
}
