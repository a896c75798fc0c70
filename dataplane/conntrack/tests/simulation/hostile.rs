//! What else happens: forged and damaged packets, errors, other protocols, reloads, deletions, leaps of time.

use crate::common::frame::Segment;
use crate::common::*;
use crate::world::World;
use rand::{Rng, RngExt};
use sluice_conntrack::policy::{Match, Policy, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{PortId, State};

/// Now and then, something; reloads among it.
pub fn interfere(world: &mut World) {
    if world.chance(1) {
        reload(world);
    }
    disturb(world);
}

/// Now and then, something.
pub fn disturb(world: &mut World) {
    if !world.chance(20) {
        let budget = world.rng.random_range(1..50);
        world.it.shard.expire(world.it.now, budget);
        return;
    }
    let port = PortId(world.rng.random_range(0..2));
    match world.rng.random_range(0..95) {
        0..30 => {
            let frame = forged(world).frame();
            world.inject(port, frame);
        }
        30..60 => {
            let frame = damaged(world);
            world.inject(port, frame);
        }
        60..80 => {
            let packet = forged(world);
            let router =
                if packet.source.is_ipv4() { Pair::v4(0, 0) } else { Pair::v6(0, 0) }.destination.ip();
            let kind = world.rng.random_range(0..140);
            world.inject(port, packet.error(router, kind, 0).frame());
        }
        80..90 => {
            let mut frame = vec![0; world.rng.random_range(0..200)];
            world.rng.fill_bytes(&mut frame);
            world.inject(port, frame);
        }
        90..93 => {
            let sport = world.rng.random_range(1024..1174);
            world.it.shard.delete(|entry| entry.original.selector.sport() == sport);
        }
        93 => world.it.now = world.it.now.after(ms(world.rng.random_range(0..200_000))),
        _ => {
            world.it.shard.delete(|entry| entry.state.is_none());
        }
    }
}

/// A packet that claims to be of some conversation.
fn forged(world: &mut World) -> Packet {
    let rng = &mut world.rng;
    let pair = Pair::both(rng.random_range(1024..1174), 80)[rng.random_range(0..2)];
    let pair = if rng.random_bool(0.5) { pair } else { pair.inverse() };
    match rng.random_range(0..6) {
        0..3 => pair.segment(&Segment {
            flags: rng.random(),
            seq: rng.next_u32(),
            ack: rng.next_u32(),
            window: rng.random(),
            options: (0..rng.random_range(0..12)).map(|_| rng.random_range(0..9)).collect(),
            payload_len: rng.random_range(0..100),
        }),
        3 => pair.udp(rng.random_range(0..100)),
        4 => pair.icmp(rng.random(), rng.random_range(0..2), rng.random(), &[0; 16]),
        _ => {
            let mut l4 = vec![0; rng.random_range(0..60)];
            rng.fill_bytes(&mut l4);
            pair.packet([33, 47, 50, 132, 136, 200][rng.random_range(0..6)], l4, None)
        }
    }
}

/// A frame that went by, with a few bytes changed or cut off.
fn damaged(world: &mut World) -> Vec<u8> {
    let mut frame = world.overheard().to_vec();
    let rng = &mut world.rng;
    for _ in 0..rng.random_range(0..4) {
        let at = rng.random_range(0..frame.len().max(1));
        if let Some(byte) = frame.get_mut(at) {
            *byte = rng.random();
        }
    }
    if rng.random_bool(0.2) {
        frame.truncate(rng.random_range(0..=frame.len()));
    }
    frame
}

fn reload(world: &mut World) {
    let rng = &mut world.rng;
    let room = world.it.shard.configuration().settings.max_entries.max(8);
    let preset = [Preset::Classic, Preset::Linux][rng.random_range(0..2)];
    let mut settings = Settings::of(preset, rng.random_range(room / 2..=room * 2).min(400));
    settings.checksum = rng.random_bool(0.5);
    settings.accounting = rng.random_bool(0.8);
    settings.tcp.loose = rng.random_bool(0.8);
    settings.tcp.be_liberal = rng.random_bool(0.2);
    settings.tcp.window_tracking = rng.random_bool(0.8);
    settings.timeouts.udp_unreplied_ms = rng.random_range(0..60_000);
    let of_ports = |rng: &mut dyn Rng| Match {
        source_ports: vec![1024..=1024 + (rng.next_u32() % 150) as u16],
        ..Match::default()
    };
    let policy = match rng.random_range(0..4) {
        0 => accept_all(),
        1 => firewall(),
        2 => Policy {
            untracked: vec![of_ports(rng)],
            zones: vec![(of_ports(rng), rng.random_range(0..3))],
            ..accept_all()
        },
        _ => rules([
            (of_ports(rng), RuleAction::Mark(rng.random_range(0..3))),
            (Match { mark: Some((1, 1)), ..Match::default() }, RuleAction::Drop),
            (states([State::Invalid]), RuleAction::Log),
            (of_ports(rng), RuleAction::Reject),
            (Match::default(), RuleAction::Accept),
        ]),
    };
    world.it.configure(configuration(settings, policy));
}
