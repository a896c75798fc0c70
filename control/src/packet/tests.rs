//! Words become packets, and packets words.

use sluice_conntrack::headers::PacketKind;
use sluice_conntrack::{PortId, wire};

use super::*;

fn built(text: &str) -> Vec<u8> {
    match parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}")).content {
        Content::Packet(packet) => frame(&packet, Numbers::default()),
        Content::Frame(frame) => frame,
    }
}

#[test]
fn what_is_said_is_sent_and_can_be_said_again() {
    for text in [
        "tcp 10.0.0.2:40000 -> 192.0.2.1:80 syn",
        "tcp [2001:db8::2]:40000 -> [2001:db8::9]:443 psh ack length=100",
        "tcp 10.0.0.2:40000 -> 192.0.2.1:80 none",
        "udp 10.0.0.2:5353 -> 192.0.2.1:53 length=512",
        "udp [2001:db8::2]:5353 -> [2001:db8::9]:53",
        "icmp 10.0.0.2 -> 192.0.2.1 echo-request id=7 seq=2",
        "icmpv6 2001:db8::2 -> 2001:db8::9 echo-reply id=1 seq=1",
        "icmp 198.51.100.9 -> 203.0.113.1 port-unreachable about udp 203.0.113.1:40000 -> 8.8.8.8:53",
        "icmp 198.51.100.9 -> 203.0.113.1 fragmentation-needed mtu=1400 about tcp 203.0.113.1:1 -> 8.8.8.8:2 ack",
        "icmpv6 2001:db8::9 -> 2001:db8::2 packet-too-big mtu=1280 about udp [2001:db8::2]:1 -> [2001:db8::9]:2",
        "esp 198.51.100.9 -> 203.0.113.1 length=64",
        "gre 198.51.100.9 -> 203.0.113.1 length=4",
        "ospf 10.0.0.2 -> 224.0.0.5",
    ] {
        let words = text.replace(" none", "");
        let said = describe(&built(&words));
        let expected = if text.ends_with("none") { format!("{words} ack") } else { text.to_owned() };
        assert_eq!(said, expected);
    }
}

#[test]
fn lengths_and_checksums_are_right() {
    for text in [
        "tcp 10.0.0.2:40000 -> 192.0.2.1:80 syn mss=1460",
        "tcp [2001:db8::2]:40000 -> [2001:db8::9]:443 length=1400",
        "udp 10.0.0.2:5353 -> 192.0.2.1:53 length=33",
        "icmp 10.0.0.2 -> 192.0.2.1",
        "icmpv6 2001:db8::2 -> 2001:db8::9",
    ] {
        let frame = (PortId(0), built(text));
        let headers = wire::parse(&frame).unwrap_or_else(|reason| panic!("{text}: {reason:?}"));
        assert_eq!(headers.kind, PacketKind::Tracked, "{text}");
        assert!(wire::verify_checksum(&frame, &headers), "{text}");
        assert_eq!(headers.l3_len as usize, frame.1.len() - 14, "{text}");
    }
}

#[test]
fn a_packet_comes_in_fragments_that_are_small_enough() {
    for (text, header_bytes) in [
        ("udp 10.0.0.2:1 -> 192.0.2.1:2 length=3000", 20),
        ("udp [2001:db8::2]:1 -> [2001:db8::9]:2 length=3000", 48),
    ] {
        let pieces = fragments(built(text), Some(1280));
        assert_eq!(pieces.len(), 3, "{text}");
        assert!(pieces.iter().all(|piece| piece.len() <= 14 + 1280), "{text}");
        let carried: usize = pieces.iter().map(|piece| piece.len() - 14 - header_bytes).sum();
        assert_eq!(carried, 8 + 3000, "{text}");
        assert!(describe(&pieces[1]).ends_with("on"), "{}", describe(&pieces[1]));
        assert_eq!(fragments(built(text), Some(9000)), [built(text)]);
        assert_eq!(fragments(built(text), None), [built(text)]);
    }
}

#[test]
fn the_interface_stands_in_front_or_behind() {
    for text in ["in lan udp 10.0.0.2:1 -> 192.0.2.1:2", "udp 10.0.0.2:1 -> 192.0.2.1:2 in lan ttl=1"] {
        let (name, at) = parse(text).unwrap().ingress.unwrap();
        assert_eq!((name.as_str(), &text[at]), ("lan", "lan"));
    }
    assert_eq!(parse("udp 10.0.0.2 -> 192.0.2.1:2").unwrap().ingress, None);
}

#[test]
fn bytes_are_a_datagram_or_a_frame() {
    let frame = built("in lan udp 10.0.0.2:1 -> 192.0.2.1:2");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(built(&format!("in lan hex {}", hex(&frame))), frame);
    assert_eq!(built(&format!("hex {}", hex(&frame[14..]))), frame);
    let spaced: Vec<String> = frame.chunks(2).map(hex).collect();
    assert_eq!(built(&format!("hex {}", spaced.join(" "))), frame);
}

#[test]
fn what_is_wrong_is_said_of_the_word() {
    for (text, word, message, help) in [
        ("tpc 10.0.0.2:1 -> 192.0.2.1:80", "tpc", "not a protocol", "did you mean `tcp`?"),
        ("tcp 10.0.0.2:1 192.0.2.1:80", "192.0.2.1:80", "`->`", ""),
        ("tcp 10.0.0.2:1 -> 192.0.2.1", "192.0.2.1", "no port", "192.0.2.1:80"),
        ("tcp 10.0.0.256 -> 192.0.2.1:80", "10.0.0.256", "is not the source", "such as"),
        ("tcp 10.0.0.2:1 -> 192.0.2.1:80 sny", "sny", "not known", "did you mean `syn`?"),
        ("tcp 10.0.0.2:1 -> 192.0.2.1:80 ttl=300", "300", "0 to 255", ""),
        ("udp 10.0.0.2:1 -> 192.0.2.1:80 windw=3", "windw=3", "not a number of such", "ttl"),
        ("udp 10.0.0.2:1 -> [2001:db8::1]:80", "10.0.0.2:1 -> [2001:db8::1]:80", "family", ""),
        ("icmp 10.0.0.2:1 -> 192.0.2.1", "10.0.0.2:1", "no ports", ""),
        ("icmp 10.0.0.2 -> 192.0.2.1 port-unreachable", "port-unreachable", "quotes", "about"),
        ("icmp 10.0.0.2 -> 192.0.2.1 packet-too-big", "packet-too-big", "has no type", ""),
        ("icmp 2001:db8::1 -> 2001:db8::2", "icmp", "icmpv6", ""),
        ("sctp 10.0.0.2 -> 192.0.2.1:80", "sctp", "no words", "hex"),
        ("udp 10.0.0.2:1 -> 192.0.2.1:80 length=900 fragment=20", "fragment=20", "less than 56", ""),
        ("tcp 10.0.0.2:1 ->", ">", "the destination is missing", ""),
        ("", "", "begins with its protocol", ""),
        ("in", "n", "name of an interface", ""),
        ("hex 45g0", "g", "not a hexadecimal digit", ""),
        ("hex 450", " 450", "3 hexadecimal digits", ""),
    ] {
        let wrong = parse(text).expect_err(text);
        assert_eq!(&text[wrong.at.clone()], word, "{text}: {wrong:?}");
        assert!(wrong.message.contains(message), "{text}: {wrong:?}");
        assert!(wrong.help.as_deref().unwrap_or_default().contains(help), "{text}: {wrong:?}");
    }
}
