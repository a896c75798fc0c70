//! ARP for IPv4 over Ethernet (RFC 826).

use std::net::{IpAddr, Ipv4Addr};

use sluice_conntrack::forward::{MacAddress, is_group};
use sluice_conntrack::wire::{bytes, ethernet, field};

use super::message::{Bytes, Message, Speaker};

/// Hardware type Ethernet, protocol type IPv4, and the lengths of their addresses.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const BROADCAST: MacAddress = [0xff; 6];

/// Reads a message behind an untagged Ethernet header.
pub(super) fn read(frame: &[u8]) -> Option<Message> {
    let (ethernet, packet) = frame.split_at_checked(ethernet::HEADER_BYTES)?;
    let is_arp = ethernet[field::ethernet::ETHERTYPE] == ethernet::ARP.to_be_bytes();
    if !is_arp || packet.get(field::arp::ADDRESS_KINDS)? != ETHERNET_IPV4 {
        return None;
    }
    let mac: MacAddress = bytes::get(packet, field::arp::SENDER_MAC)?;
    let address = |field| bytes::get::<4>(packet, field).map(Ipv4Addr::from);
    let (sender, target) = (address(field::arp::SENDER)?, address(field::arp::TARGET)?);
    if is_group(&mac) || sender.is_multicast() || sender.is_broadcast() {
        return None;
    }
    let sender = Speaker { address: IpAddr::V4(sender), mac };
    match u16::from_be_bytes(bytes::get(packet, field::arp::OPERATION)?) {
        REQUEST => Some(Message::Solicitation { from: Some(sender), target: target.into() }),
        REPLY if !sender.address.is_unspecified() => {
            Some(Message::Advertisement { from: sender, overrides: true })
        }
        _ => None,
    }
}

/// Asks all for the host that has `target`.
pub(super) fn request(own: Ipv4Addr, own_mac: MacAddress, target: Ipv4Addr) -> Bytes {
    write(REQUEST, BROADCAST, (own_mac, own), ([0; 6], target))
}

/// Tells the host `to` that `own` is here.
pub(super) fn reply(own: Ipv4Addr, own_mac: MacAddress, to: Ipv4Addr, to_mac: MacAddress) -> Bytes {
    write(REPLY, to_mac, (own_mac, own), (to_mac, to))
}

fn write(
    operation: u16,
    destination: MacAddress,
    sender: (MacAddress, Ipv4Addr),
    target: (MacAddress, Ipv4Addr),
) -> Bytes {
    let mut bytes = Bytes::new();
    bytes.extend(destination.into_iter().chain(sender.0).chain(ethernet::ARP.to_be_bytes()));
    bytes.extend(ETHERNET_IPV4.into_iter().chain(operation.to_be_bytes()));
    for (mac, address) in [sender, target] {
        bytes.extend(mac.into_iter().chain(address.octets()));
    }
    bytes
}
