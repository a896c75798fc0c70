//! Fragments in all relations and orders, against a model that knows bytes only; timeouts.

mod keys;
mod limits;
mod segments;

use super::store::SHARE_OF_SOURCE;
use super::*;
use crate::family::Family;
use crate::ids::{PortId, Zone};
use crate::settings::FRAGMENT_BUFFER_BYTES;
use crate::wire::{self, ipv4};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::net::{Ipv4Addr, Ipv6Addr};

type Packet = (PortId, Vec<u8>);

/// A fragment from `source`: the units of eight bytes from `start` on, up to `end`.
#[derive(Clone, Copy, Debug)]
struct Cut {
    family: Family,
    source: u32,
    identification: u16,
    start: u16,
    end: u16,
    is_last: bool,
    ecn: u8,
}

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

impl Cut {
    const fn of(family: Family, start: u16, end: u16, is_last: bool) -> Self {
        Self { family, source: 0x0a00_0001, identification: 7, start, end, is_last, ecn: 0 }
    }

    fn packet(self, fill: u8) -> Packet {
        let bytes = vec![fill; usize::from(self.end - self.start) * 8];
        let [a, b] = self.identification.to_be_bytes();
        let l3 = match self.family {
            Family::V4 => {
                let length = (20 + bytes.len() as u16).to_be_bytes();
                let field = (self.start | u16::from(!self.is_last) << 13).to_be_bytes();
                let mut header = [&[0x45, self.ecn][..], &length, &[a, b], &field, &[64, 47, 0, 0]].concat();
                header.extend(Ipv4Addr::from(self.source).octets());
                header.extend([198, 51, 100, 2]);
                ipv4::write_checksum(&mut header);
                [header, bytes].concat()
            }
            Family::V6 => {
                let length = (8 + bytes.len() as u16).to_be_bytes();
                let field = (self.start << 3 | u16::from(!self.is_last)).to_be_bytes();
                let mut header = [&[0x60, self.ecn << 4, 0, 0][..], &length, &[44, 64]].concat();
                header.extend(Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(self.source) << 64 | 1).octets());
                header.extend(Ipv6Addr::from(0x2001_0db8_u128 << 96 | 9).octets());
                [header, [&[47, 0][..], &field, &[0, 0, a, b]].concat(), bytes].concat()
            }
        };
        let ethertype: [u8; 2] = if self.family == Family::V4 { [8, 0] } else { [0x86, 0xdd] };
        (PortId(0), [&[2; 12][..], &ethertype, &l3].concat())
    }
}

/// Reads a good fragment.
fn read(packet: &Packet, zone: Zone) -> Piece {
    let offsets = piece::find(packet, &wire::parse(packet).unwrap()).unwrap();
    Piece::read(packet, offsets, zone).unwrap()
}

/// What fragments there are, and what has become of others.
struct World {
    fragments: Fragments<Packet>,
    limits: FragmentLimits,
    now: Instant,
    drops: Vec<DropReason>,
    /// Fragments that have left, as those of whole datagrams.
    left: Vec<Vec<Packet>>,
    came: usize,
}

impl World {
    fn new(limits: FragmentLimits) -> Self {
        let now = Instant::from_ns(0);
        let fragments = Fragments::new(limits.memory_bytes, RandomState::with_seeds(1, 2, 3, 4), now);
        Self { fragments, limits, now, drops: Vec::new(), left: Vec::new(), came: 0 }
    }

    fn add(&mut self, cut: Cut) -> Result<bool, DropReason> {
        self.add_packet(cut.packet(0x55))
    }

    fn add_packet(&mut self, packet: Packet) -> Result<bool, DropReason> {
        let piece = read(&packet, 0);
        let drops = &mut self.drops;
        let added =
            self.fragments.add(self.now, &self.limits, piece, packet, &mut |_, reason| drops.push(reason));
        self.came += 1;
        if let Ok(Some(id)) = added {
            let mut chain = self.fragments.open(id);
            let fragments = std::iter::from_fn(|| self.fragments.take(&mut chain));
            self.left.push(fragments.map(|(packet, _)| packet).collect());
        }
        self.check();
        added.map(|whole| whole.is_some())
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        let drops = &mut self.drops;
        assert!(self.fragments.expire(self.now, u32::MAX, &mut |_, reason| drops.push(reason)));
        self.check();
    }

    /// What must hold between two fragments: each that came is held, has left or was dropped, within the limits.
    fn check(&self) {
        assert_eq!(check(&self.fragments), Ok(0));
        let left: usize = self.left.iter().map(Vec::len).sum();
        assert_eq!(self.fragments.len() as usize + left + self.drops.len(), self.came);
        let most = self.limits.memory_bytes / FRAGMENT_BUFFER_BYTES;
        assert!(self.fragments.store.buffers <= most);
        let is_listed = |datagram: &&Datagram| datagram.stage != Stage::Free && datagram.is_listed();
        for datagram in self.fragments.store.datagrams.iter().filter(is_listed) {
            let source = self.fragments.store.sources.at(datagram.source);
            assert!(source.datagrams <= self.limits.datagrams);
            assert!(source.buffers <= most / SHARE_OF_SOURCE);
        }
    }
}

/// Units of the datagram that is cut in all ways.
const UNITS: u16 = 4;

fn all_cuts(family: Family) -> Vec<Cut> {
    let cut = |start, end| Cut::of(family, start, end, end == UNITS);
    (0..UNITS).flat_map(|start| (start + 1..=UNITS).map(move |end| cut(start, end))).collect()
}

/// What is to become of fragments of a datagram of so many units that come in this order: whether they make it, and which are dropped
/// for what.
fn model(cuts: &[Cut], units: u16) -> (bool, Vec<DropReason>) {
    let (mut known, mut drops, mut dead) = (Vec::<(u16, u16)>::new(), Vec::new(), false);
    for Cut { start, end, .. } in cuts.iter().copied() {
        let shares = |(from, to): &(u16, u16)| start < *to && *from < end;
        if dead {
            drops.push(DropReason::FragmentOverlap);
        } else if known.iter().any(|(from, to)| *from <= start && end <= *to) {
            drops.push(DropReason::FragmentDuplicate);
        } else if known.iter().any(shares) {
            drops.extend(vec![DropReason::FragmentOverlap; known.len() + 1]);
            known.clear();
            dead = true;
        } else {
            known.push((start, end));
            if known.iter().map(|(from, to)| to - from).sum::<u16>() == units {
                return (true, drops);
            }
        }
    }
    (false, drops)
}

#[test]
fn two_and_three_fragments_in_every_relation_and_order() {
    for family in FAMILIES {
        let cuts = all_cuts(family);
        for a in &cuts {
            for b in &cuts {
                for c in cuts.iter().map(Some).chain([None]) {
                    let sequence: Vec<Cut> = [Some(a), Some(b), c].into_iter().flatten().copied().collect();
                    let mut world =
                        World::new(FragmentLimits { memory_bytes: 1 << 15, ..FragmentLimits::default() });
                    let whole = (0..).zip(&sequence).map(|(fill, cut)| world.add_packet(cut.packet(fill)));
                    // What comes behind a whole datagram begins another.
                    let taken =
                        1 + whole.take_while(|added| *added != Ok(true)).count().min(sequence.len() - 1);
                    let (is_whole, drops) = model(&sequence[..taken], UNITS);
                    assert_eq!(!world.left.is_empty(), is_whole, "{sequence:?}");
                    assert_eq!(world.drops, drops, "{sequence:?}");
                    for left in &world.left {
                        let mut came: Vec<(u16, Packet)> =
                            (0..).zip(&sequence).map(|(fill, cut)| (cut.start, cut.packet(fill))).collect();
                        came.truncate(taken);
                        came.retain(|(_, packet)| left.contains(packet));
                        came.sort_by_key(|(start, _)| *start);
                        assert!(came.iter().map(|(_, packet)| packet).eq(left), "in order, as they came");
                    }
                }
            }
        }
    }
}

#[test]
fn many_fragments_in_any_order_relate_as_few_do() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let lengths = FAMILIES.into_iter().flat_map(|family| [30, 70, 600, 8000].map(|units| (family, units)));
    for (family, units) in lengths.flat_map(|it| [it; 50]) {
        let mut ends: Vec<u16> = (0..100).map(|_| random.random_range(1..units)).chain([units]).collect();
        ends.sort_unstable();
        ends.dedup();
        let cut = |start, end| Cut::of(family, start, end, end == units);
        let starts = [0].into_iter().chain(ends.iter().copied());
        let mut cuts: Vec<Cut> = starts.zip(&ends).map(|(start, end)| cut(start, *end)).collect();
        cuts.shuffle(&mut random);
        // One more, which is all of another, a part of it, or of two.
        let other = cuts[random.random_range(0..cuts.len())];
        let start = random.random_range(other.start..other.end);
        let end = random.random_range(start + 1..=(other.end + 1).min(units));
        cuts.insert(random.random_range(0..cuts.len()), cut(start, end));
        let mut world = World::new(FragmentLimits { memory_bytes: 1 << 20, ..FragmentLimits::default() });
        let taken =
            1 + cuts.iter().take_while(|cut| world.add(**cut) != Ok(true)).count().min(cuts.len() - 1);
        assert_eq!((!world.left.is_empty(), world.drops), model(&cuts[..taken], units), "{cuts:?}");
        for left in &world.left {
            let reach = left.iter().map(|packet| read(packet, 0)).fold(0, |reach, piece| {
                assert_eq!(piece.start, reach, "{cuts:?}");
                piece.end
            });
            assert_eq!(reach, 8 * u32::from(units));
        }
    }
}

#[test]
fn a_dead_datagram_stays_dead_until_its_time_is_over() {
    for (family, timeout) in [(Family::V4, 30), (Family::V6, 60)] {
        let mut world = World::new(FragmentLimits::default());
        assert_eq!(world.add(Cut::of(family, 0, 2, false)), Ok(false));
        assert_eq!(world.add(Cut::of(family, 1, 3, false)), Err(DropReason::FragmentOverlap));
        world.pass(Duration::from_secs(timeout) - Duration::from_millis(1));
        assert_eq!(world.add(Cut::of(family, 0, 2, false)), Err(DropReason::FragmentOverlap));
        world.pass(Duration::from_millis(1));
        assert_eq!(world.add(Cut::of(family, 0, 2, false)), Ok(false));
        assert_eq!(world.add(Cut::of(family, 2, 3, true)), Ok(true));
    }
}

#[test]
fn what_does_not_come_in_time_is_dropped() {
    for (family, timeout) in [(Family::V4, 30), (Family::V6, 60)] {
        let mut world = World::new(FragmentLimits::default());
        world.add(Cut::of(family, 0, 2, false)).unwrap();
        world.pass(Duration::from_secs(timeout) - Duration::from_millis(1));
        assert!(world.drops.is_empty());
        // The wheel comes to it a little later; whoever looks at it sees at once that it is over.
        world.now = world.now.after(Duration::from_millis(1));
        assert_eq!(world.add(Cut::of(family, 2, 3, true)), Ok(false));
        assert_eq!(world.drops, [DropReason::FragmentTimeout]);
        for pause in [timeout + 1, 365 * 24 * 3600] {
            world.pass(Duration::from_secs(pause));
            assert_eq!(world.fragments.len(), 0);
            world.add(Cut::of(family, 0, 2, false)).unwrap();
        }
    }
}

#[test]
fn lengths_that_contradict_one_another_end_a_datagram() {
    let dies = |family: Family, cuts: &[(u16, u16, bool)]| {
        let mut world = World::new(FragmentLimits::default());
        let added = cuts.iter().map(|(start, end, last)| world.add(Cut::of(family, *start, *end, *last)));
        let last = added.last().unwrap();
        assert_eq!(world.fragments.len(), 0, "{cuts:?}");
        last
    };
    for family in FAMILIES {
        for cuts in [
            &[(0, 1, false), (1, 1, false)][..],
            &[(0, 1, false), (1, 1, true)],
            &[(2, 3, true), (0, 2, true)],
            &[(2, 3, true), (3, 4, false)],
            &[(2, 3, true), (2, 4, true)],
            &[(2, 4, false), (2, 3, true)],
            &[(0, 1, false), (0x1fff, 0x2001, true)],
        ] {
            assert_eq!(dies(family, cuts), Err(DropReason::FragmentLength), "{family:?} {cuts:?}");
        }
        let mut world = World::new(FragmentLimits::default());
        for (start, ecn) in [(0, 1), (1, 2), (2, 3)] {
            world.add(Cut { ecn, ..Cut::of(family, start, start + 1, start == 2) }).unwrap();
        }
        assert_eq!(world.left.len(), 1, "ECN-capable packets, one of which has seen congestion");
        world.add(Cut { ecn: 0, ..Cut::of(family, 0, 1, false) }).unwrap();
        let marked = Cut { ecn: 3, ..Cut::of(family, 1, 2, true) };
        assert_eq!(world.add(marked), Err(DropReason::FragmentEcn));
    }
}

#[test]
fn odd_fragments_of_ipv4_are_trimmed() {
    let mut packet = Cut::of(Family::V4, 0, 2, false).packet(1);
    packet.1[17] -= 3;
    let header = &mut packet.1[14..34];
    ipv4::write_checksum(header);
    let mut world = World::new(FragmentLimits::default());
    world.add_packet(packet).unwrap();
    assert_eq!(world.add(Cut::of(Family::V4, 1, 2, true)), Ok(true));
    let trimmed = &world.left[0][0];
    assert_eq!(wire::parse(trimmed).unwrap().l3_len, 28);
}

#[test]
fn as_many_fragments_as_may_be_come_in_any_order() {
    const COUNT: u16 = 128;
    let inwards = |number: u16| if number.is_multiple_of(2) { number / 2 } else { COUNT - 1 - number / 2 };
    let orders: [&dyn Fn(u16) -> u16; 6] = [
        &|number| number,
        &|number| COUNT - 1 - number,
        &inwards,
        &|number| inwards(COUNT - 1 - number),
        &|number| number * 37 % COUNT,
        &|number| (number % 2 * 64 + number / 2 * 3) % COUNT,
    ];
    for (order, position) in orders.iter().enumerate() {
        let mut world = World::new(FragmentLimits::default());
        let cut = |start| Cut::of(Family::V4, start, start + 1, start + 1 == COUNT);
        let whole: Vec<bool> =
            (0..COUNT).filter_map(|number| world.add(cut(position(number))).ok()).collect();
        assert_eq!(whole.iter().position(|whole| *whole), Some(usize::from(COUNT) - 1), "order {order}");
        assert!(
            world.left[0]
                .iter()
                .eq((0..COUNT).map(|start| cut(start).packet(0x55)).collect::<Vec<_>>().iter())
        );
    }
}
