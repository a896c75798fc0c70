//! ICMP: its types, and what its errors quote.

use super::*;

#[test]
fn icmp_types_are_told_apart() {
    let echo = icmp(8, 1, &[0, 77, 0, 1]);
    let headers = parsed(&ipv4(CLIENT, SERVER, protocol::ICMP, &echo));
    assert_eq!(headers.kind, PacketKind::Tracked);
    assert_eq!(headers.tuple, Tuple::new(CLIENT.into(), SERVER.into(), protocol::ICMP, 77, 8 << 8 | 1));
    for kind in [6, 7, 9, 10, 19, 30, 37, 40, 42, 255] {
        assert_eq!(
            kind4(protocol::ICMP, &icmp(kind, 0, &[0; 8])),
            PacketKind::Invalid(InvalidReason::IcmpType)
        );
    }
    for kind in [130, 131, 132, 133, 134, 135, 136, 143, 151] {
        assert_eq!(kind6(protocol::ICMPV6, &icmp(kind, 0, &[0; 20])), PacketKind::Untracked);
    }
    for kind in [138, 141, 148] {
        assert_eq!(
            kind6(protocol::ICMPV6, &icmp(kind, 0, &[0; 20])),
            PacketKind::Invalid(InvalidReason::IcmpType)
        );
    }
    assert_eq!(kind6(protocol::ICMP, &echo), PacketKind::Invalid(InvalidReason::IcmpType));
    assert_eq!(kind4(protocol::ICMPV6, &icmp(128, 0, &[0; 4])), PacketKind::Invalid(InvalidReason::IcmpType));
}

/// An ICMPv4 error to the client that quotes these bytes.
fn error4(quote: &[u8]) -> Headers {
    parsed(&ipv4(ROUTER, CLIENT, protocol::ICMP, &icmp(3, 1, &[&[0; 4][..], quote].concat())))
}

#[test]
fn an_error_has_the_tuple_of_an_answer_to_its_quote() {
    let quote = ipv4(CLIENT, SERVER, protocol::TCP, &[0x9c, 0x40, 0, 80, 0, 0, 0, 1]);
    let answer = Tuple::new(SERVER.into(), CLIENT.into(), protocol::TCP, 80, 40000);
    for length in 24..=28 {
        let headers = error4(&quote[..length]);
        assert_eq!((headers.kind, headers.tuple), (PacketKind::Error, answer), "{length}");
        assert_eq!(headers.protocol, protocol::ICMP);
    }
    for length in 0..24 {
        assert_eq!(error4(&quote[..length]).kind, QUOTE, "{length}");
    }
    let echo = ipv4(CLIENT, SERVER, protocol::ICMP, &icmp(8, 0, &[0, 77, 0, 1]));
    assert_eq!(error4(&echo).tuple, Tuple::new(SERVER.into(), CLIENT.into(), protocol::ICMP, 77, 0));
    assert_eq!(error4(&echo[..27]).kind, QUOTE);
}

#[test]
fn a_quote_is_forgiven_what_routers_change() {
    let mut quote = ipv4(CLIENT, SERVER, protocol::UDP, &UDP);
    quote[0] = 0x65;
    quote[8] = 0;
    quote[10] ^= 0xff;
    quote[2..4].fill(0);
    assert_eq!(error4(&quote).kind, PacketKind::Error);
}

#[test]
fn a_quote_that_contradicts_its_error_is_invalid() {
    let good = ipv4(CLIENT, SERVER, protocol::UDP, &UDP);
    let changed = |offset: usize, value: u8| {
        let mut quote = good.clone();
        quote[offset] = value;
        error4(&quote).kind
    };
    assert_eq!(changed(1, 0xb8), PacketKind::Error);
    assert_eq!(changed(0, 0x44), QUOTE, "header length 16");
    assert_eq!(changed(0, 0x4f), QUOTE, "header longer than the quote");
    assert_eq!(changed(7, 1), QUOTE, "later fragment");
    assert_eq!(changed(6, 0x20), PacketKind::Error, "first fragment");
    assert_eq!(changed(15, 9), QUOTE, "not the sender");
    let error = ipv4(CLIENT, SERVER, protocol::ICMP, &icmp(3, 3, &[0; 4]));
    assert_eq!(error4(&error).kind, QUOTE, "error about an error");
    let discovery = ipv4(CLIENT, SERVER, protocol::ICMP, &icmp(9, 0, &[0; 4]));
    assert_eq!(error4(&discovery).kind, QUOTE, "neither asks nor answers");
}

#[test]
fn icmpv6_errors_quote_like_icmpv4_ones() {
    let error = |kind, code, quote: &[u8]| {
        let message = icmp(kind, code, &[&[0; 4][..], quote].concat());
        parsed(&ipv6(ROUTER6, CLIENT6, protocol::ICMPV6, &message))
    };
    let quote = ipv6(CLIENT6, SERVER6, 60, &[&[17, 0, 1, 4, 0, 0, 0, 0][..], &UDP].concat());
    for kind in [1, 2, 3, 4] {
        let headers = error(kind, 0, &quote);
        assert_eq!(headers.kind, PacketKind::Error);
        assert_eq!(headers.tuple, Tuple::new(SERVER6.into(), CLIENT6.into(), protocol::UDP, 80, 40000));
    }
    assert_eq!(error(1, 0, &quote[..52]).kind, PacketKind::Error);
    assert_eq!(error(1, 0, &quote[..51]).kind, QUOTE);
    let to_other = ipv6(ROUTER6, SERVER6, protocol::UDP, &UDP);
    assert_eq!(error(1, 0, &to_other).kind, QUOTE);
    let solicitation = ipv6(CLIENT6, SERVER6, protocol::ICMPV6, &icmp(135, 0, &[0; 4]));
    assert_eq!(error(1, 0, &solicitation).kind, QUOTE);
}

#[test]
fn a_redirect_quotes_in_its_option_and_comes_from_the_link() {
    let quote = ipv6(CLIENT6, SERVER6, protocol::UDP, &UDP);
    let redirect = |source: &str, hop_limit, code, option: u8| {
        let body = [&[0; 36][..], &[option, 9, 0, 0, 0, 0, 0, 0], &quote].concat();
        let mut packet = ipv6(source.parse().unwrap(), CLIENT6, protocol::ICMPV6, &icmp(137, code, &body));
        packet[7] = hop_limit;
        parsed(&packet).kind
    };
    assert_eq!(redirect("fe80::1", 255, 0, 4), PacketKind::Error);
    assert_eq!(redirect("2001:db8::1", 255, 0, 4), QUOTE);
    assert_eq!(redirect("fe80::1", 254, 0, 4), QUOTE);
    assert_eq!(redirect("fe80::1", 255, 1, 4), QUOTE);
    assert_eq!(redirect("fe80::1", 255, 0, 2), QUOTE);
    assert_eq!(kind6(protocol::ICMPV6, &icmp(137, 0, &[0; 20])), QUOTE, "short");
}
