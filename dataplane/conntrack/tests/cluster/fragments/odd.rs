//! Fragments whose headers do not agree, that belong to nobody, or that cannot leave.

use super::*;

/// What stands before the fragment header is each fragment's own, and stays.
#[test]
fn headers_before_the_fragment_header_may_differ() {
    const PAYLOAD_LENGTH: usize = 18;
    const NEXT_HEADER: usize = 20;
    const FRAGMENT_HEADER: usize = 54;
    // Hop-by-hop options that say nothing.
    let options = [44, 0, 1, 4, 0, 0, 0, 0];
    for with_options in [&[0][..], &[1], &[0, 2], &[0, 1, 2]] {
        let mut frames = Pair::v6(4000, 53).udp(1000).fragments(7, &[0, 400, 800]);
        for index in with_options {
            let frame = &mut frames[*index];
            frame[NEXT_HEADER] = 0;
            let length = u16::from_be_bytes([frame[PAYLOAD_LENGTH], frame[PAYLOAD_LENGTH + 1]]) + 8;
            frame[PAYLOAD_LENGTH..NEXT_HEADER].copy_from_slice(&length.to_be_bytes());
            frame.splice(FRAGMENT_HEADER..FRAGMENT_HEADER, options);
        }
        let mut world = World::new(2, 1);
        let mut came = frames.clone();
        // A next header that says something else is the first fragment's where it belongs.
        let at = FRAGMENT_HEADER + if with_options.contains(&2) { 8 } else { 0 };
        came[2][at] = 50;
        world.pass(INSIDE, came);
        let sent: Vec<_> = world.cluster.outside.sent.iter().map(|(_, frame)| frame.clone()).collect();
        assert_eq!(sent, frames, "options in {with_options:?}");
    }
}

/// Where identifications come again before their time is over, the checksum tells what does not belong together (RFC 4963).
#[test]
fn an_identification_that_comes_again_joins_no_strangers() {
    for shards in [1, 2, 4] {
        for pair in Pair::both(4000, 53) {
            let configuration = configuration(Settings::of(Preset::Linux, ROOM), firewall());
            let mut cluster = Cluster::of(shards, ROOM, &configuration, ChaCha8Rng::seed_from_u64(1));
            // Of the first datagram the end is lost, of the second the beginning comes late.
            let first = pair.datagram(&[1; 1000]).fragments(7, &[0, 400]);
            let second = pair.datagram(&[2; 1000]).fragments(7, &[0, 400]);
            for frame in [&first[0], &second[1], &second[0]] {
                cluster.receive(INSIDE, frame.clone());
                for _ in 0..MANY_STEPS {
                    cluster.step();
                }
            }
            assert!(cluster.outside.sent.is_empty());
            assert_eq!(invalid(&cluster, InvalidReason::BadChecksum), 1);
            assert_eq!(cluster.outside.drops, [DropReason::Policy; 2], "each fragment of the datagram");
            let (entries, held) = cluster.shards().fold((0, 0), |(entries, held), shard| {
                (entries + shard.len(), held + shard.counters().fragments_held)
            });
            assert_eq!((entries, held), (0, 1));
        }
    }
}

/// Limits that a reload lowers hold for all that is there as soon as something comes; a timeout holds for what comes from then on.
#[test]
fn what_is_held_obeys_the_limits_that_a_reload_brings() {
    let settings = Settings::of(Preset::Linux, ROOM);
    let mut cluster =
        Cluster::of(1, ROOM, &configuration(settings.clone(), accept_all()), ChaCha8Rng::seed_from_u64(1));
    let come = |cluster: &mut Cluster, source: u8, numbers: std::ops::Range<u16>| {
        for number in numbers {
            let pair = Pair::of([192, 168, 1, source].into(), 4000, [198, 51, 100, 2].into(), 53);
            cluster.receive(INSIDE, pair.udp(1000).fragments(number, &[0, 400]).remove(0));
        }
        for _ in 0..MANY_STEPS {
            cluster.step();
        }
    };
    for source in 1..9 {
        come(&mut cluster, source, 0..8);
    }
    let held = |cluster: &Cluster| cluster.shards().map(|shard| shard.counters().fragments_held).sum::<u64>();
    assert_eq!(held(&cluster), 64);
    let mut lowered = settings;
    lowered.fragments.memory_bytes = 32 << 11;
    lowered.fragments.datagrams = 4;
    lowered.fragments.timeout_ms = 1000;
    cluster.configure(&configuration(lowered, accept_all()));
    for _ in 0..MANY_STEPS {
        cluster.step();
    }
    assert_eq!(held(&cluster), 64, "nothing has come");
    come(&mut cluster, 1, 100..101);
    assert_eq!(held(&cluster), 32, "the memory, in fragments");
    assert_eq!(cluster.outside.drops, [DropReason::FragmentLimit; 33]);
    cluster.now = cluster.now.after(secs(2));
    for _ in 0..MANY_STEPS {
        cluster.step();
    }
    assert_eq!(held(&cluster), 31, "the others have the time that they came with");
    cluster.now = cluster.now.after(secs(29));
    cluster.expire();
    assert_eq!(held(&cluster), 0);
    assert_eq!(cluster.outside.drops[33..], [DropReason::FragmentTimeout; 32]);
}

/// The mempools were made for what may be held when the box started: a reload that allows more does not take it from packets that
/// pass.
#[test]
fn a_reload_takes_no_more_of_the_mempool_than_the_start_has_allowed() {
    const AT_START: u32 = 32;
    for shards in [1, 2, 4] {
        let mut settings = Settings::of(Preset::Linux, ROOM);
        settings.fragments.memory_bytes = AT_START << 11;
        let mut cluster = Cluster::of(
            shards,
            ROOM,
            &configuration(settings.clone(), accept_all()),
            ChaCha8Rng::seed_from_u64(1),
        );
        settings.fragments.memory_bytes = 16 << 20;
        cluster.configure(&configuration(settings, accept_all()));
        for server in 1..4 {
            for source in 1..100 {
                let pair = Pair::of([192, 168, 1, source].into(), 4000, [198, 51, 100, server].into(), 53);
                cluster.receive(INSIDE, pair.udp(1000).fragments(7, &[0, 400]).remove(0));
            }
            for _ in 0..MANY_STEPS {
                cluster.step();
            }
        }
        let held: u64 = cluster.shards().map(|shard| shard.counters().fragments_held).sum();
        assert_eq!(held, u64::from(AT_START), "{shards} shards");
    }
}

/// Who sent a datagram that no neighbour takes is told so once, about the first fragment as it came.
#[test]
fn a_translated_datagram_that_no_neighbour_takes_is_quoted_as_it_came() {
    for shards in [1, 2, 4] {
        for (from, to) in [("10.1.0.9:4000", "198.51.100.2:53"), ("[fd00::9]:4000", "[2001:db8:9::2]:53")] {
            let configuration = routed(Settings::of(Preset::Linux, ROOM), accept_all(), masquerade());
            let mut cluster = Cluster::of(shards, ROOM, &configuration, ChaCha8Rng::seed_from_u64(1));
            cluster.outside.is_silent = true;
            let frames = Pair::at(from, to).udp(1000).fragments(7, &[0, 400, 800]);
            frames.iter().rev().for_each(|frame| cluster.receive(INSIDE, frame.clone()));
            while !cluster.is_at_rest() {
                cluster.step();
            }
            let [(port, answer)] = &cluster.outside.answers[..] else {
                panic!("{} answers", cluster.outside.answers.len())
            };
            // The type, the code and what is quoted, behind the headers of IP and ICMP; the TTL or hop limit has changed, and
            // the checksum with it.
            let (icmp, told, changed): (usize, [u8; 2], &[usize]) =
                if answer[12] == 8 { (34, [3, 1], &[8, 10, 11]) } else { (54, [1, 3], &[7]) };
            assert_eq!((*port, &answer[icmp..icmp + 2]), (INSIDE, &told[..]));
            let quote = &answer[icmp + 8..];
            let differing: Vec<usize> =
                (0..quote.len()).filter(|at| quote[*at] != frames[0][14 + at]).collect();
            assert!(differing.iter().all(|at| changed.contains(at)), "{from}: {differing:?}");
            assert!(quote.len() >= 28);
        }
    }
}

/// What a datagram says of its length must be so when it is whole.
#[test]
fn a_datagram_that_lacks_what_its_header_says_is_invalid() {
    const LENGTH: std::ops::Range<usize> = 4..6;
    for shards in [1, 2, 4] {
        for pair in Pair::both(4000, 53) {
            let configuration = configuration(Settings::of(Preset::Linux, ROOM), firewall());
            let mut cluster = Cluster::of(shards, ROOM, &configuration, ChaCha8Rng::seed_from_u64(1));
            let mut packet = pair.udp(1000);
            packet.l4[LENGTH].copy_from_slice(&2000_u16.to_be_bytes());
            packet.fragments(7, &[0, 400]).into_iter().for_each(|frame| cluster.receive(INSIDE, frame));
            while !cluster.is_at_rest() {
                cluster.step();
            }
            assert_eq!(invalid(&cluster, InvalidReason::BadLength), 1);
            assert_eq!(cluster.outside.drops, [DropReason::Policy; 2]);
        }
    }
}
