//! Messages as frames: ARP (RFC 826) for IPv4, neighbour discovery (RFC 4861) for IPv6.

use std::net::IpAddr;

use sluice_conntrack::headers::Headers;
use sluice_conntrack::{Frame, wire};

use super::message::{Bytes, Message, Speaker};
use super::{arp, ndp};

/// The message in a frame; `None` if there is none, or not a sound one.
pub(crate) fn read<F: Frame>(frame: &F) -> Option<Message> {
    let headers: Headers = wire::parse(frame).ok()?;
    match headers.family() {
        None => arp::read(frame.head()),
        Some(_) => ndp::read(frame, &headers),
    }
}

/// The frame that carries a message to the neighbour `to`, or, without one, to all that it may concern.
/// `None` where addresses are not of one family.
pub(crate) fn write(message: Message, to: Option<Speaker>) -> Option<Bytes> {
    match message {
        Message::Solicitation { from: Some(from), target } => match (from.address, target) {
            (IpAddr::V4(own), IpAddr::V4(target)) => Some(arp::request(own, from.mac, target)),
            (IpAddr::V6(own), IpAddr::V6(target)) => Some(ndp::solicitation(own, from.mac, target)),
            _ => None,
        },
        Message::Solicitation { from: None, .. } => None,
        Message::Advertisement { from: own, .. } => match (own.address, to.map(|to| (to.address, to.mac))) {
            (IpAddr::V4(address), Some((IpAddr::V4(to), mac))) => Some(arp::reply(address, own.mac, to, mac)),
            (IpAddr::V6(address), Some((IpAddr::V6(to), mac))) => {
                Some(ndp::advertisement(address, own.mac, Some((to, mac))))
            }
            (IpAddr::V4(address), None) => Some(arp::request(address, own.mac, address)),
            (IpAddr::V6(address), None) => Some(ndp::advertisement(address, own.mac, None)),
            _ => None,
        },
    }
}
