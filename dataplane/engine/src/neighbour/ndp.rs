//! Neighbour discovery for IPv6 (RFC 4861): solicitations and advertisements.

use std::net::Ipv6Addr;

use sluice_conntrack::Frame;
use sluice_conntrack::forward::{MacAddress, is_group, solicited_node};
use sluice_conntrack::headers::Headers;
use sluice_conntrack::tuple::protocol;
use sluice_conntrack::wire::icmp::{NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION};
use sluice_conntrack::wire::{self, bytes, field};

use super::message::{Bytes, Message, Speaker};
use crate::icmpv6::{self, Node, multicast_mac};

/// Bytes of a message without options.
const MESSAGE_BYTES: usize = field::ndp::TARGET.end;
/// Bytes of the option with a link-layer address, and of the kind and length before that (RFC 4861 section 4.6.1).
const OPTION_BYTES: usize = 8;
const OPTION_HEADER_BYTES: usize = 2;
const SOURCE_OPTION: u8 = 1;
const TARGET_OPTION: u8 = 2;
/// Router, solicited, override.
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// No router has passed the message on (RFC 4861 section 7.1).
const HOP_LIMIT: u8 = 255;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Reads a message, as far as it is valid by RFC 4861 section 7.1.
pub(super) fn read<F: Frame>(frame: &F, headers: &Headers) -> Option<Message> {
    let l4 = frame.head().get(usize::from(headers.l4_offset)..)?;
    let l4 = l4.get(..headers.l4_len as usize)?;
    let (message, mut options) = l4.split_first_chunk::<MESSAGE_BYTES>()?;
    let valid =
        headers.protocol == protocol::ICMPV6 && headers.ttl == HOP_LIMIT && message[field::icmp::CODE] == 0;
    if !valid || !wire::verify_checksum(frame, headers) {
        return None;
    }
    let target = Ipv6Addr::from(bytes::get::<16>(message, field::ndp::TARGET)?);
    let wanted =
        if message[field::icmp::TYPE] == NEIGHBOUR_SOLICITATION { SOURCE_OPTION } else { TARGET_OPTION };
    let mut mac = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * 8;
        let option = options.get(..length).filter(|option| !option.is_empty())?;
        if kind == wanted && units == 1 {
            mac = option[OPTION_HEADER_BYTES..].first_chunk::<6>().copied().filter(|mac| !is_group(mac));
        }
        options = &options[length..];
    }
    let (source, _) = wire::addresses(frame.head(), headers);
    let source = Ipv6Addr::from(source);
    if target.is_multicast() {
        return None;
    }
    match message[field::icmp::TYPE] {
        NEIGHBOUR_SOLICITATION => {
            let from = mac.map(|mac| Speaker { address: source.into(), mac });
            Some(Message::Solicitation {
                from: from.filter(|_| !source.is_unspecified()),
                target: target.into(),
            })
        }
        // An advertisement without the option says only that the host is still there.
        NEIGHBOUR_ADVERTISEMENT => Some(Message::Advertisement {
            from: Speaker { address: target.into(), mac: mac? },
            overrides: message[field::ndp::FLAGS] & OVERRIDE != 0,
        }),
        _ => None,
    }
}

/// Asks for the host that has `target`, at the multicast address of those whose addresses end alike (RFC 4291
/// section 2.7.1).
pub(super) fn solicitation(own: Ipv6Addr, own_mac: MacAddress, target: Ipv6Addr) -> Bytes {
    let group = solicited_node(target);
    write(NEIGHBOUR_SOLICITATION, 0, (own, own_mac), (group, multicast_mac(group)), (target, SOURCE_OPTION))
}

/// Tells a host, or all hosts, that `own` is here.
pub(super) fn advertisement(own: Ipv6Addr, own_mac: MacAddress, to: Option<(Ipv6Addr, MacAddress)>) -> Bytes {
    let (flags, to) = match to {
        Some(to) => (ROUTER | SOLICITED | OVERRIDE, to),
        None => (ROUTER | OVERRIDE, (ALL_NODES, multicast_mac(ALL_NODES))),
    };
    write(NEIGHBOUR_ADVERTISEMENT, flags, (own, own_mac), to, (own, TARGET_OPTION))
}

fn write(kind: u8, flags: u8, from: Node, to: Node, (target, option): (Ipv6Addr, u8)) -> Bytes {
    let mut message = [0; MESSAGE_BYTES + OPTION_BYTES];
    message[field::icmp::TYPE] = kind;
    message[field::ndp::FLAGS] = flags;
    message[field::ndp::TARGET].copy_from_slice(&target.octets());
    let (head, mac) = message[MESSAGE_BYTES..].split_at_mut(OPTION_HEADER_BYTES);
    head.copy_from_slice(&[option, 1]);
    mac.copy_from_slice(&from.1);
    icmpv6::frame(from, to, HOP_LIMIT, &[], &mut message)
}
