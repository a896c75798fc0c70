//! The same packets in every format that a capture may have, and in every size.

use super::scratch::{OPEN, Packet, S, START, Scratch, pcap, udp, udp_answer};

/// A capture's numbers in its byte order.
type Bytes = fn(u32) -> [u8; 4];

/// The classic format.
fn classic(bytes: Bytes, nanoseconds: bool, link: u32, packets: &[Packet]) -> Vec<u8> {
    let (magic, unit) = if nanoseconds { (0xa1b2_3c4d, 1) } else { (0xa1b2_c3d4, 1000) };
    let version = if bytes(1)[0] == 1 { 4 << 16 | 2 } else { 2 << 16 | 4 };
    let mut file: Vec<u8> = [magic, version, 0, 0, 65_535, link].into_iter().flat_map(bytes).collect();
    for (time, frame) in packets {
        let len = frame.len() as u32;
        let header = [(time / S) as u32, (time % S / unit) as u32, len, len];
        file.extend(header.into_iter().flat_map(bytes));
        file.extend(frame);
    }
    file
}

/// pcapng with stamps of 1/10^9 seconds, a block that means nothing here, and the packets of two interfaces.
fn pcapng(bytes: Bytes, packets: &[Packet]) -> Vec<u8> {
    let block = |kind: u32, words: &[u32], rest: &[u8]| {
        let mut body: Vec<u8> = words.iter().copied().flat_map(bytes).chain(rest.iter().copied()).collect();
        body.resize(body.len().next_multiple_of(4), 0);
        let len = bytes(body.len() as u32 + 12);
        [&bytes(kind)[..], &len, &body, &len].concat()
    };
    let halves = |pair: [u16; 2]| match bytes(1) {
        [1, ..] => u32::from(pair[1]) << 16 | u32::from(pair[0]),
        _ => u32::from(pair[0]) << 16 | u32::from(pair[1]),
    };
    let mut file = block(0x0a0d_0d0a, &[0x1a2b_3c4d, halves([1, 0]), u32::MAX, u32::MAX], &[]);
    // Option 9: the resolution of stamps.
    let interface = block(1, &[halves([1, 0]), 65_535, halves([9, 1])], &[9, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([&interface[..], &interface, &block(5, &[0, 0, 0], &[])].concat());
    for (place, (time, frame)) in packets.iter().enumerate() {
        let len = frame.len() as u32;
        file.extend(block(6, &[place as u32 % 2, (time >> 32) as u32, *time as u32, len, len], frame));
    }
    file
}

fn packets() -> Vec<Packet> {
    (0..5).map(|place| (START + u64::from(place) * S, udp(place + 1, 100 + usize::from(place)))).collect()
}

fn whole_microseconds(packets: &[Packet]) -> Vec<Packet> {
    packets.iter().map(|(time, frame)| (time / 1000 * 1000, frame.clone())).collect()
}

#[test]
fn ethernet_in_every_format() {
    let exact = packets();
    let rounded = whole_microseconds(&exact);
    let cases = [
        (classic(u32::to_le_bytes, false, 1, &exact), &rounded),
        (classic(u32::to_be_bytes, false, 1, &exact), &rounded),
        (classic(u32::to_le_bytes, true, 1, &exact), &exact),
        (classic(u32::to_be_bytes, true, 1, &exact), &exact),
        (pcapng(u32::to_le_bytes, &exact), &exact),
        (pcapng(u32::to_be_bytes, &exact), &exact),
    ];
    for (file, expected) in cases {
        let replayed = Scratch::new(OPEN).input("inside", &file).replay();
        replayed.adds_up(expected, &[]);
        assert_eq!(replayed.stdout.lines().count(), expected.len());
    }
}

#[test]
fn other_link_types_get_an_ethernet_header() {
    let cooked = [0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 7, 0, 0, 8, 0];
    let cooked2 = [8, 0, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 7, 0, 0];
    let headers: [(u32, &[u8]); 9] = [
        (101, &[]),
        (12, &[]),
        (14, &[]),
        (228, &[]),
        (0, &[2, 0, 0, 0]),
        (108, &[0, 0, 0, 2]),
        (113, &cooked),
        (276, &cooked2),
        (1, &[9; 12]),
    ];
    let exact = packets();
    for (link, header) in headers {
        // Ethernet itself has its type between the addresses and the packet.
        let cut = if link == 1 { 12 } else { 14 };
        let in_link = |(time, frame): &Packet| (*time, [header, &frame[cut..]].concat());
        let file = classic(u32::to_le_bytes, true, link, &exact.iter().map(in_link).collect::<Vec<_>>());
        let replayed = Scratch::new(OPEN).input("inside", &file).replay();
        assert_eq!(replayed.outside.len(), exact.len(), "link type {link}");
        for ((time, frame), (expected_time, expected)) in replayed.outside.iter().zip(&exact) {
            assert_eq!((time, &frame[12..]), (expected_time, &expected[12..]), "link type {link}");
        }
    }
}

#[test]
fn frames_of_all_sizes_survive() {
    // One segment of an mbuf, one byte more, several, the most that net_pcap chains, one byte more, and the most there is.
    let headers = 14 + 20 + 8;
    for lengths in [&[2048, 2049, 9000, 16_128][..], &[60, 2049, 16_129, 65_400]] {
        let packet =
            |(place, len): (usize, &usize)| (START + place as u64, udp(place as u16 + 1, len - headers));
        let inside: Vec<Packet> = lengths.iter().cycle().take(150).enumerate().map(packet).collect();
        let replayed = Scratch::new(OPEN).input("inside", &pcap(&inside)).replay();
        replayed.adds_up(&inside, &[]);
        assert_eq!(replayed.outside.len(), inside.len());
    }
}

#[test]
fn one_capture_of_both_directions_is_taken_apart() {
    let both = [udp(7, 0), udp_answer(7), udp(8, 0), udp_answer(9), udp(7, 0), udp(9, 0)];
    // All at one time: their order is the file's.
    let both: Vec<Packet> = both.into_iter().map(|frame| (START, frame)).collect();
    for (client, server) in [("inside", "outside"), ("outside", "inside")] {
        let scratch =
            Scratch::new(OPEN).input("inside", &pcap(&both)).with(format!("--client-side={client}"));
        let replayed = scratch.replay();
        replayed.adds_up_split(&both);
        assert_eq!(replayed.traced("interface"), [client, server, client, client, client, server]);
        assert_eq!(replayed.traced("record"), [1, 2, 3, 4, 5, 6]);
        let states = ["NEW", "ESTABLISHED", "NEW", "NEW", "ESTABLISHED", "ESTABLISHED"];
        assert_eq!(replayed.traced("state"), states);
    }
}
