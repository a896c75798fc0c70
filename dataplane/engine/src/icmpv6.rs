//! ICMPv6 messages of the box's own on one link, as whole frames (RFC 4443, RFC 8200).

use std::net::Ipv6Addr;

use arrayvec::ArrayVec;
use sluice_conntrack::forward::MacAddress;
use sluice_conntrack::tuple::protocol;
use sluice_conntrack::wire::{checksum::Sum, ethernet, field};

/// An address, and the MAC address that goes with it.
pub(crate) type Node = (Ipv6Addr, MacAddress);

/// The frame of a message, whose checksum is written here; `hop_by_hop` is the header of that name, or nothing.
pub(crate) fn frame<const N: usize>(
    from: Node,
    to: Node,
    hop_limit: u8,
    hop_by_hop: &[u8],
    message: &mut [u8],
) -> ArrayVec<u8, N> {
    let addresses = [from.0.octets(), to.0.octets()];
    let addresses = addresses.as_flattened();
    let length = message.len() as u32;
    let sum = Sum::default().pseudo_header(addresses, protocol::ICMPV6, length).bytes(message);
    message[field::icmp::CHECKSUM].copy_from_slice(&sum.checksum().to_be_bytes());

    let [high, low] = ((hop_by_hop.len() + message.len()) as u16).to_be_bytes();
    let next_header = if hop_by_hop.is_empty() { protocol::ICMPV6 } else { 0 };
    let mut bytes = ArrayVec::new();
    bytes.extend(to.1.into_iter().chain(from.1).chain(ethernet::IPV6.to_be_bytes()));
    bytes.extend([0x60, 0, 0, 0, high, low, next_header, hop_limit].iter().chain(addresses).copied());
    bytes.extend(hop_by_hop.iter().chain(&*message).copied());
    bytes
}

/// The group address of a multicast address on Ethernet (RFC 2464 section 7).
pub(crate) fn multicast_mac(group: Ipv6Addr) -> MacAddress {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}
