//! How much is held: of a datagram, of a source and in all, and who gives way.

use super::*;

#[test]
fn a_datagram_has_so_many_fragments() {
    for family in FAMILIES {
        let mut world = World::new(FragmentLimits { fragments: 8, ..FragmentLimits::default() });
        for start in (1..9).rev() {
            world.add(Cut::of(family, start, start + 1, start == 8)).unwrap();
        }
        assert_eq!(world.add(Cut::of(family, 0, 1, false)), Err(DropReason::FragmentLimit));
        assert_eq!(world.drops, [DropReason::FragmentLimit; 9]);
    }
}

#[test]
fn the_oldest_of_a_source_gives_way_to_its_next() {
    for family in FAMILIES {
        let mut world = World::new(FragmentLimits { datagrams: 3, ..FragmentLimits::default() });
        let begins = |identification| Cut { identification, ..Cut::of(family, 0, 1, false) };
        let ends = |identification| Cut { identification, ..Cut::of(family, 1, 2, true) };
        for identification in 0..4 {
            world.add(begins(identification)).unwrap();
        }
        assert_eq!(world.drops, [DropReason::FragmentLimit]);
        assert_eq!([1, 2, 3].map(|identification| world.add(ends(identification))), [Ok(true); 3]);
    }
}

#[test]
fn a_source_fills_a_quarter_and_the_heaviest_gives_way() {
    for family in FAMILIES {
        // Sixteen packets.
        let mut world = World::new(FragmentLimits { memory_bytes: 16 << 11, ..FragmentLimits::default() });
        let begins = |source, identification| Cut { source, identification, ..Cut::of(family, 0, 1, false) };
        for identification in 0..9 {
            world.add(begins(1, identification)).unwrap();
        }
        assert_eq!((world.fragments.len(), world.drops.len()), (4, 5), "a quarter of the room");
        for source in 2..14 {
            world.add(begins(source, 0)).unwrap();
        }
        assert_eq!((world.fragments.len(), world.drops.len()), (16, 5));
        for source in 14..17 {
            world.add(begins(source, 0)).unwrap();
        }
        assert_eq!((world.fragments.len(), world.drops.len()), (16, 8), "the heaviest");
        world.add(begins(17, 0)).unwrap();
        let ends = |source, identification| Cut { source, identification, ..Cut::of(family, 1, 2, true) };
        assert_eq!(world.add(ends(17, 0)), Ok(true), "others are as heavy, and held for longer");
        world.pass(Duration::from_secs(61));
        assert_eq!((world.fragments.len(), world.fragments.store.buffers), (0, 0));
        assert!(world.fragments.store.sources.heaviest().is_none());
    }
}
