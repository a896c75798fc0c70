//! What tells datagrams apart, and how they are found.

use super::*;

#[test]
fn what_tells_datagrams_apart() {
    let read = |packet: &Packet, zone| read(packet, zone).key;
    for family in FAMILIES {
        let cut = Cut::of(family, 0, 1, false);
        let packet = cut.packet(0);
        assert_ne!(read(&packet, 1), read(&packet, 0));
        assert_ne!(read(&Cut { identification: 8, ..cut }.packet(0), 0), read(&packet, 0));
        let tagged = |vlan| {
            let tag = [&[0x81, 0, 0, vlan], &packet.1[12..]].concat();
            (PortId(0), [&packet.1[..12], &tag].concat())
        };
        assert_ne!(read(&tagged(1), 0), read(&tagged(2), 0));
        let mut other = packet.clone();
        // The protocol, and in IPv6 the next header that its fragment header names.
        other.1[if family == Family::V4 { 23 } else { 54 }] = 50;
        ipv4::write_checksum(other.1.get_mut(14..34).filter(|_| family == Family::V4).unwrap_or(&mut []));
        assert_eq!(read(&other, 0) == read(&packet, 0), family == Family::V6);
    }
}

#[test]
fn families_that_come_in_turn_are_never_mixed() {
    for [one, other] in [FAMILIES, [Family::V6, Family::V4]] {
        let mut world = World::new(FragmentLimits::default());
        assert_eq!(world.add(Cut::of(one, 0, 1, false)), Ok(false));
        assert_eq!(world.add(Cut::of(other, 1, 2, true)), Ok(false));
        assert_eq!(world.add(Cut::of(one, 1, 2, true)), Ok(true));
        assert_eq!(world.add(Cut::of(other, 0, 1, false)), Ok(true));
    }
}

#[test]
fn nothing_is_told_by_addresses_and_identifications_that_are_zero() {
    let zeroed = |cut: Cut| {
        let mut packet = cut.packet(1);
        packet.1[30..34].fill(0);
        ipv4::write_checksum(&mut packet.1[14..34]);
        packet
    };
    let cut = |start, end, is_last| Cut {
        source: 0,
        identification: 0,
        ..Cut::of(Family::V4, start, end, is_last)
    };
    let mut world = World::new(FragmentLimits::default());
    assert_eq!(world.add_packet(zeroed(cut(1, 2, true))), Ok(false));
    assert_eq!(world.add_packet(zeroed(cut(0, 1, false))), Ok(true));
}

/// Whoever has found out which keys crowd in one box has found out nothing about another (CVE-2003-0364 and its kind): the hash has a
/// secret.
#[test]
fn keys_that_crowd_under_one_secret_do_not_under_another() {
    const BUCKETS: u32 = 256;
    let under = |seed| {
        let hasher = RandomState::with_seeds(seed, 2, 3, 4);
        Fragments::<Packet>::new(1 << 15, hasher, Instant::from_ns(0))
    };
    let [known, other] = [1, 99].map(under);
    for family in FAMILIES {
        let keys = (0..u16::MAX).step_by(3).map(|identification| {
            read(&Cut { identification, ..Cut::of(family, 0, 1, false) }.packet(0), 0).key
        });
        let crowd: Vec<_> = keys.filter(|key| known.store.hash(key) % BUCKETS == 0).collect();
        assert!(crowd.len() > 40, "{} of 21845", crowd.len());
        let still = crowd.iter().filter(|key| other.store.hash(key) % BUCKETS == 0).count();
        assert!(still < 8, "{still} of {}", crowd.len());
    }
}
