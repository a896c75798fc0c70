//! Seeded worlds of simulated peers around one shard: every invariant is checked after every step, the whole table after
//! every few.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod hostile;
mod peer;
mod sight;
mod translated;
mod world;

use common::*;
use rayon::prelude::*;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{Instant, State};
use world::World;

/// After this the longest timer is over.
const FIVE_DAYS: std::time::Duration = secs(432_001);

fn check(world: &mut World) {
    world.it.check_counters();
    if world.chance(4) {
        world.it.check();
    }
}

#[test]
fn honest_peers_finish_through_a_lossy_line_and_a_firewall_that_drops_what_is_invalid() {
    (0..24_u64).into_par_iter().for_each(|seed| {
        let preset = [Preset::Classic, Preset::Linux][seed as usize % 2];
        let settings = Settings::of(preset, ROOM);
        let start = Instant::from_ns(seed * 1_000_000_007);
        let it = Middlebox::starting(start, ROOM, configuration(settings, firewall()));
        let mut world = World::new(seed, it, [0, 2, 10, 20][seed as usize / 6]);
        for number in 0..200 {
            world.talk(Pair::both(1024 + number, 80)[usize::from(number % 2)], 20_000);
        }
        while world.step() {
            world.it.shard.expire(world.it.now, 100);
            check(&mut world);
        }
        assert_eq!((world.finished(), world.misled), (200, 0), "seed {seed}");
        if world.lossy == 0 {
            let invalid = world.it.shard.counters().packets[State::Invalid as usize];
            assert_eq!(invalid, 0, "seed {seed}: all is in order");
        }
        world.it.pass(FIVE_DAYS);
        assert!(world.it.shard.is_empty(), "seed {seed}");
        world.it.check();
    });
}

#[test]
fn nothing_that_comes_in_breaks_an_invariant() {
    (0..32_u64).into_par_iter().for_each(|seed| {
        let room = [8, 50, 200][seed as usize % 3];
        let start = Instant::from_ns(u64::from(u32::MAX) * 1_000_000 * (seed % 4));
        let first = configuration(Settings::of(Preset::Linux, room), accept_all());
        let mut world = World::new(seed, Middlebox::starting(start, room, first), 5);
        let memory = world.it.shard.memory_bytes() + room as usize * 64;
        for number in 0..400 {
            // Few ports, so that connections follow and cross each other on the same tuples.
            world.talk(Pair::both(1024 + number % 150, 80)[usize::from(number % 2)], 60_000);
        }
        while world.step() {
            hostile::interfere(&mut world);
            check(&mut world);
            assert!(world.it.shard.len() <= room);
            assert!(
                world.it.shard.memory_bytes() <= memory,
                "IPv6 addresses take what they take, and no more"
            );
        }
        world.it.pass(FIVE_DAYS * 4);
        assert!(world.it.shard.is_empty(), "seed {seed}: an entry without a timer");
        world.it.check();
    });
}
