//! Fragments of several datagrams, in any order, at one or two shards. Each byte says what happens next, and the bytes behind it
//! say how.

use crate::frame::{Packet, Pair, fragment, init};
use crate::middlebox::Middlebox;
use crate::orders::Orders;
use crate::shard::configuration;
use sluice_conntrack::settings::{FRAGMENT_BUFFER_BYTES, FragmentLimits};
use sluice_conntrack::{Configuration, PortId};
use std::time::Duration;

/// Orders: below, a fragment of one of the datagrams comes in.
const WHOLE: u8 = 0x80;
const FRAME: u8 = 0xa0;
const STEP: u8 = 0xb0;
const WAIT: u8 = 0xc0;
const EXPIRE: u8 = 0xd0;
const RELOAD: u8 = 0xe0;
const RINGS: u8 = 0xf0;

/// The longest timeout, and a moment in which the wheel comes to what has expired.
const TIMEOUT: Duration = Duration::from_secs(61);

/// Carries out all orders, and looks at all that is held after each.
pub fn play(bytes: &[u8]) {
    let mut orders = Orders(bytes);
    let datagrams = datagrams();
    let first = configuration_of(&mut orders);
    let shards = 1 + u16::from(orders.byte() & 1);
    let mut middlebox = Middlebox::new(shards, &first);
    while let Some(order) = orders.next() {
        let (port, datagram, identification) = &datagrams[usize::from(order & 0x0f)];
        let own = order >> 4 & 1;
        match order {
            0..WHOLE => {
                let [start, length] = [orders.byte(), orders.byte()];
                let bytes = cut(datagram, *identification, start, length, order >> 5 & 3);
                middlebox.receive(own, *port, bytes);
            }
            WHOLE..FRAME => middlebox.receive(own, *port, datagram.frame()),
            FRAME..STEP => middlebox.receive(order & 1, PortId(order >> 1 & 1), orders.frame()),
            STEP..WAIT => middlebox.step(order),
            WAIT..EXPIRE => middlebox.wait(Duration::from_millis(1 << (order - WAIT))),
            EXPIRE..RELOAD => middlebox.expire(order, u32::from(order - EXPIRE)),
            RELOAD..RINGS => middlebox.configure(order, configuration_of(&mut orders)),
            RINGS.. => middlebox.set_full(order & 1 != 0),
        }
        middlebox.check();
    }
    middlebox.end(TIMEOUT);
}

/// The datagrams, with the ports that they come in by and their identifications.
fn datagrams() -> [(PortId, Packet, u16); 16] {
    let [inside, outside] = [0, 1].map(PortId);
    let udp = |source, destination| Pair::at(source, destination).udp(200);
    let query = udp("10.0.1.1:4000", "192.0.2.9:53");
    let query_v6 = udp("[fd00:1::2]:4000", "[2001:db8:7::9]:53");
    let echo = |source, destination| {
        let pair = Pair::at(source, destination);
        pair.icmp(if pair.source.is_ipv4() { 8 } else { 128 }, 0, [0, 7, 0, 1], &[0x55; 200])
    };
    let unsummed = Packet { checksum_at: None, ..udp("10.0.2.1:4000", "192.0.2.9:53") };
    let request = {
        let mut segment = Pair::at("10.0.2.1:4001", "192.0.2.9:80").tcp("S", 1000, 0);
        segment.l4.extend([0x55; 200]);
        segment
    };
    [
        (inside, query.clone(), 1),
        (inside, query.clone(), 2),
        (inside, query.vlan(5), 1),
        (inside, udp("10.0.2.2:4000", "192.0.2.9:53"), 1),
        (inside, echo("10.0.1.1:0", "192.0.2.9:0"), 1),
        (inside, query_v6.clone(), 1),
        (inside, query_v6, 2),
        (inside, echo("[fd00:1::3]:0", "[2001:db8:7::9]:0"), 1),
        (outside, udp("192.0.2.9:5000", "198.51.100.7:80"), 1),
        (outside, udp("192.0.2.9:53", "203.0.113.1:4000"), 1),
        (outside, udp("[2001:db8:7::9]:53", "[2001:db8::9]:4000"), 1),
        (inside, unsummed, 3),
        (inside, request, 4),
        (inside, Pair::at("10.0.2.1:4002", "192.0.2.9:80").sctp(0, &init(1).repeat(5)), 5),
        (inside, Pair::at("10.0.2.1:0", "192.0.2.9:0").packet(47, vec![0; 200], None), 6),
        (inside, echo("10.0.2.1:0", "10.0.0.1:0"), 7),
    ]
}

/// A fragment: where it starts in units of eight bytes, how many of these it has, whether it is the last of its datagram (0x20),
/// of other bytes (0x40) or of a length that is no whole number of units (0x80). Behind the end of the datagram there are zeros. Of
/// IPv4 it has these bits for ECN.
fn cut(datagram: &Packet, identification: u16, start: u8, length: u8, ecn: u8) -> Vec<u8> {
    let whole = datagram.datagram();
    let (header, body) = whole.split_at(if datagram.source.is_ipv4() { 20 } else { 40 });
    let start = usize::from(start) * 8;
    let end = start + usize::from(length & 0x1f) * 8;
    let mut bytes: Vec<u8> = body.iter().copied().chain(std::iter::repeat(0)).take(end).skip(start).collect();
    if length & 0x80 != 0 {
        bytes.truncate(bytes.len().saturating_sub(3));
    }
    if length & 0x40 != 0 {
        bytes.iter_mut().for_each(|byte| *byte ^= 0xff);
    }
    let mut header = header.to_vec();
    if datagram.source.is_ipv4() {
        header[1] |= ecn;
    }
    let field = start as u16 | u16::from(length & 0x20 == 0);
    let link = datagram.frame()[..14 + 4 * datagram.tags.len()].to_vec();
    [link, fragment(&header, datagram.protocol, identification, field, &bytes)].concat()
}

/// A configuration for each two bytes: what the shards do, and how much they hold.
fn configuration_of(orders: &mut Orders<'_>) -> Configuration {
    let (choice, limits) = (orders.byte(), orders.byte());
    let bit = |number: u8| limits & 1 << number != 0;
    let mut configuration = configuration(choice);
    configuration.settings.fragments = FragmentLimits {
        memory_bytes: FRAGMENT_BUFFER_BYTES * if bit(0) { 8 } else { 64 },
        fragments: if bit(1) { 3 } else { 128 },
        datagrams: if bit(2) { 2 } else { 64 },
        timeout_ms: if bit(3) { 1000 } else { 30_000 },
        timeout_v6_ms: if bit(4) { 1000 } else { 60_000 },
        untracked: false,
    };
    configuration
}
