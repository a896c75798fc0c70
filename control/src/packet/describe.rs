//! From a frame to the words that say it.

use std::net::IpAddr;

use etherparse::{
    IpNumber, LaxPacketHeaders, LaxPayloadSlice, NetHeaders, TcpHeader, TransportHeader, err::LenError,
};

use super::words::with_port;
use crate::config::{IcmpType, Protocol};

/// A frame in words, as [`parse`](super::parse) reads them; what it does not show of itself is left out. What is no IP packet is
/// said to be that.
pub fn describe(frame: &[u8]) -> String {
    match LaxPacketHeaders::from_ethernet(frame) {
        Ok(headers) => packet(&headers).unwrap_or_else(|| "no IP packet".to_owned()),
        Err(LenError { .. }) => "no Ethernet frame".to_owned(),
    }
}

fn packet(headers: &LaxPacketHeaders<'_>) -> Option<String> {
    let (source, destination, number, fragment) = match headers.net.as_ref()? {
        NetHeaders::Ipv4(header, _) => {
            let (from, to) = (IpAddr::from(header.source), IpAddr::from(header.destination));
            let offset = u32::from(header.fragment_offset.value()) * 8;
            (from, to, header.protocol, (offset > 0 || header.more_fragments).then_some(offset))
        }
        NetHeaders::Ipv6(header, extensions) => {
            let (from, to) = (IpAddr::from(header.source), IpAddr::from(header.destination));
            let fragment = extensions.fragment.as_ref().filter(|fragment| fragment.is_fragmenting_payload());
            let offset = fragment.map(|fragment| u32::from(fragment.fragment_offset.value()) * 8);
            let number = extensions.next_header(header.next_header).unwrap_or(IpNumber(59));
            (from, to, number, offset)
        }
        NetHeaders::Arp(_) => return None,
    };
    let name = Protocol(number.0).to_string();
    let between = |sport, dport| format!("{} -> {}", with_port(source, sport), with_port(destination, dport));
    let bytes = payload(&headers.payload);
    let length = if bytes.is_empty() { String::new() } else { format!(" length={}", bytes.len()) };
    let mut text = match &headers.transport {
        Some(TransportHeader::Tcp(header)) => {
            format!(
                "{name} {} {}{length}",
                between(header.source_port, header.destination_port),
                flags(header)
            )
        }
        Some(TransportHeader::Udp(header)) => {
            format!("{name} {}{length}", between(header.source_port, header.destination_port))
        }
        Some(TransportHeader::Icmpv4(header)) => {
            let header = header.to_bytes();
            format!("{name} {source} -> {destination}{}", icmp(false, &header, bytes))
        }
        Some(TransportHeader::Icmpv6(header)) => {
            let header = header.to_bytes();
            format!("{name} {source} -> {destination}{}", icmp(true, &header, bytes))
        }
        None => format!("{name} {source} -> {destination}{length}"),
    };
    if let Some(offset) = fragment {
        text.push_str(&format!(", fragment from byte {offset} on"));
    }
    Some(text)
}

const fn payload<'a>(payload: &LaxPayloadSlice<'a>) -> &'a [u8] {
    match payload {
        LaxPayloadSlice::Ip(ip) => ip.payload,
        LaxPayloadSlice::Udp { payload, .. }
        | LaxPayloadSlice::Tcp { payload, .. }
        | LaxPayloadSlice::Icmpv4 { payload, .. }
        | LaxPayloadSlice::Icmpv6 { payload, .. } => payload,
        _ => &[],
    }
}

fn flags(header: &TcpHeader) -> String {
    let all = [
        (header.syn, "syn"),
        (header.fin, "fin"),
        (header.rst, "rst"),
        (header.psh, "psh"),
        (header.ack, "ack"),
        (header.urg, "urg"),
        (header.ece, "ece"),
        (header.cwr, "cwr"),
    ];
    let set: Vec<&str> = all.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
    if set.is_empty() { "none".to_owned() } else { set.join(" ") }
}

/// Type, numbers and quote of a message whose header begins with these bytes.
fn icmp(is_ipv6: bool, header: &[u8], bytes: &[u8]) -> String {
    let [kind, code, _, _, a, b, c, d, ..] = *header else { return String::new() };
    let name = IcmpType::name_of(is_ipv6, kind, code);
    let mut text = format!(" {}", name.map_or_else(|| format!("{kind}/{code}"), str::to_owned));
    let quoted = LaxPacketHeaders::from_ip(bytes).ok().and_then(|headers| packet(&headers));
    let is_error = if is_ipv6 { kind < 128 } else { matches!(kind, 3 | 4 | 5 | 11 | 12) };
    match (is_error, u16::from_be_bytes([c, d])) {
        (false, seq) => text.push_str(&format!(" id={} seq={seq}", u16::from_be_bytes([a, b]))),
        (true, mtu)
            if name.is_some_and(|name| ["fragmentation-needed", "packet-too-big"].contains(&name)) =>
        {
            text.push_str(&format!(" mtu={mtu}"));
        }
        (true, _) => {}
    }
    match quoted.filter(|_| is_error) {
        Some(quoted) => format!("{text} about {quoted}"),
        None => text,
    }
}
