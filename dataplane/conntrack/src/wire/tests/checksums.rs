//! Checksums above IP: what is verified, and over which bytes.

use super::*;

/// Whether the checksum of an IP packet's L4 part is good.
fn verified(packet: &[u8]) -> bool {
    let frame = ethernet(packet);
    verify_checksum(&frame, &parse(&frame).unwrap())
}

/// The packet with the right checksum at `offset` of its L4 part, which covers `covered` of its bytes.
fn with_checksum(mut packet: Vec<u8>, offset: usize, covered: usize, length: usize) -> Vec<u8> {
    let headers = parsed(&packet);
    let l4 = usize::from(headers.l4_offset) - 14;
    let (addresses, l4_end) =
        if packet[0] >> 4 == 4 { (12..20, l4 + covered) } else { (8..40, l4 + covered) };
    let sum = checksum::Sum::default().pseudo_header(&packet[addresses], headers.protocol, length as u32);
    let sum = sum.bytes(&packet[l4..l4_end]).checksum();
    packet[l4 + offset..l4 + offset + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

#[test]
fn udp_without_a_checksum_is_good() {
    assert!(verified(&ipv4(CLIENT, SERVER, protocol::UDP, &UDP)));
    assert!(verified(&ipv6(CLIENT6, SERVER6, protocol::UDP, &UDP)));
    let bad = [&UDP[..6], &[0x12, 0x34], &UDP[8..]].concat();
    assert!(!verified(&ipv4(CLIENT, SERVER, protocol::UDP, &bad)));
}

#[test]
fn udp_is_good_by_its_own_length_or_by_its_packets() {
    let short = ipv4(CLIENT, SERVER, protocol::UDP, &[&UDP[..], b"options"].concat());
    assert!(verified(&with_checksum(short.clone(), 6, 12, 12)));
    assert!(verified(&with_checksum(short.clone(), 6, 19, 19)));
    assert!(!verified(&with_checksum(short, 6, 18, 19)));
}

#[test]
fn udplite_covers_what_it_says() {
    let mut l4 = UDP;
    l4[5] = 8;
    let mut packet = with_checksum(ipv4(CLIENT, SERVER, protocol::UDPLITE, &l4), 6, 8, 12);
    assert!(verified(&packet));
    packet[31] ^= 1;
    assert!(verified(&packet), "not covered");
    packet[21] ^= 1;
    assert!(!verified(&packet), "covered");
}

#[test]
fn a_packet_that_is_not_yet_at_its_destination_has_a_bad_checksum() {
    let routing: Vec<u8> =
        [&[17, 2, 0, 1, 0, 0, 0, 0][..], &ROUTER6.octets(), &[0x9c, 0x41, 0, 53, 0, 9, 0, 0, b'x']].concat();
    let mut packet = ipv6(CLIENT6, ROUTER6, 43, &routing);
    packet = with_checksum(packet, 6, 9, 9);
    packet[24..40].copy_from_slice(&SERVER6.octets());
    assert_eq!(parsed(&packet).kind, PacketKind::Tracked);
    assert!(!verified(&packet));
}

#[test]
fn the_device_is_believed() {
    let bad = [&UDP[..6], &[0x12, 0x34], &UDP[8..]].concat();
    let said = |packet: &[u8], l4| {
        let frame = Segments { l4, ..ethernet(packet) };
        verify_checksum(&frame, &parse(&frame).unwrap())
    };
    let bad = ipv4(CLIENT, SERVER, protocol::UDP, &bad);
    assert!(said(&bad, Checksum::Good));
    assert!(!said(&with_checksum(bad, 6, 0, 0), Checksum::Bad));
    let none = ipv4(CLIENT, SERVER, protocol::UDP, &UDP);
    assert!(said(&none, Checksum::Bad), "no checksum cannot be bad");
    let echo = ipv4(CLIENT, SERVER, protocol::ICMP, &icmp(8, 0, &[0, 77, 0, 1]));
    assert!(!said(&echo, Checksum::Good), "no device checks ICMP");
}

#[test]
fn sctp_has_a_crc() {
    // A SHUTDOWN COMPLETE of another implementation's making.
    let l4 = *b"\x13\x88\x17\x70\x00\x00\x22\x22\x87\x3c\x81\xd2\x0e\x00\x00\x04";
    let packet = ipv4(CLIENT, SERVER, protocol::SCTP, &l4);
    assert!(verified(&packet));
    for offset in 20..packet.len() {
        let mut damaged = packet.clone();
        damaged[offset] ^= 0x10;
        assert!(!verified(&damaged), "{offset}");
    }
}

/// A SYN-ACK.
const TCP: [u8; 20] = [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x12, 0xff, 0xff, 0, 0, 0, 0];

/// The packet as a host sends it that leaves the checksum at `offset` to its device.
fn with_partial_checksum(mut packet: Vec<u8>, offset: usize) -> Vec<u8> {
    let headers = parsed(&packet);
    let addresses = if packet[0] >> 4 == 4 { 12..20 } else { 8..40 };
    let sum = checksum::Sum::default().pseudo_header(&packet[addresses], headers.protocol, headers.l4_len);
    let offset = usize::from(headers.l4_offset) - 14 + offset;
    packet[offset..offset + 2].copy_from_slice(&(!sum.checksum()).to_be_bytes());
    packet
}

#[test]
fn checksums_left_to_a_device_are_completed() {
    for (number, offset, l4) in [(protocol::TCP, 16, &TCP[..]), (protocol::UDP, 6, &UDP[..])] {
        for packet in [ipv4(CLIENT, SERVER, number, l4), ipv6(CLIENT6, SERVER6, number, l4)] {
            let mut frame = ethernet(&with_partial_checksum(packet.clone(), offset));
            assert!(!verify_checksum(&frame, &parse(&frame).unwrap()));
            assert!(complete_checksum(&mut frame));
            assert!(verify_checksum(&frame, &parse(&frame).unwrap()));
            let completed = frame.clone();
            assert!(!complete_checksum(&mut frame), "it is complete");
            assert_eq!(frame.segments, completed.segments);
        }
    }
}

#[test]
fn an_sctp_crc_left_to_a_device_is_completed() {
    let whole = *b"\x13\x88\x17\x70\x00\x00\x22\x22\x87\x3c\x81\xd2\x0e\x00\x00\x04";
    let partial = [&whole[..8], &[0; 4], &whole[12..]].concat();
    for packet in
        [ipv4(CLIENT, SERVER, protocol::SCTP, &partial), ipv6(CLIENT6, SERVER6, protocol::SCTP, &partial)]
    {
        let mut frame = ethernet(&packet);
        assert!(!verify_checksum(&frame, &parse(&frame).unwrap()));
        assert!(complete_checksum(&mut frame));
        assert!(frame.segments.concat().ends_with(&whole));
        assert!(verify_checksum(&frame, &parse(&frame).unwrap()));
        assert!(!complete_checksum(&mut frame), "it is complete");
    }
    // One that is wrong is not left to a device, and what is cut off in its header has none.
    let wrong = [&whole[..8], &[0, 0, 0, 1], &whole[12..]].concat();
    for l4 in [&wrong[..], &partial[..11]] {
        assert!(!complete_checksum(&mut ethernet(&ipv4(CLIENT, SERVER, protocol::SCTP, l4))));
    }
}

#[test]
fn a_checksum_that_is_wrong_stays_so() {
    let mut packet = with_partial_checksum(ipv4(CLIENT, SERVER, protocol::TCP, &TCP), 16);
    packet[37] ^= 1;
    let mut frame = ethernet(&packet);
    assert!(!complete_checksum(&mut frame));
    assert!(!verify_checksum(&frame, &parse(&frame).unwrap()));
}

#[test]
fn bytes_are_undamaged_if_their_16_bit_words_come_to_all_ones() {
    const EDGES: [u16; 7] = [0, 1, 0x7fff, 0x8000, 0xfffd, 0xfffe, 0xffff];
    for number in 0..EDGES.len().pow(5) {
        let words: [u16; 5] =
            std::array::from_fn(|at| EDGES[number / EDGES.len().pow(at as u32) % EDGES.len()]);
        let total: u32 = words.iter().copied().map(u32::from).sum();
        let is_valid = (total & 0xffff) + (total >> 16) == 0xffff;
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert_eq!(checksum::Sum::default().bytes(&bytes).is_valid(), is_valid, "{words:x?}");
    }
}
