//! What IPv6 has on one link only: link-local addresses (RFC 4291 section 2.5.6), the groups by which a host is looked for
//! (section 2.7.1), and the messages of both; and which addresses are those of many.

use super::MAX_PORTS;
use crate::headers::{Headers, PacketKind};
use crate::icmp_type::{LISTENER_QUERY, NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION};
use crate::ids::PortId;
use crate::policy::Prefix;
use crate::tuple::{Family, address, number, protocol};
use std::net::{IpAddr, Ipv6Addr};

/// A link-layer address.
pub type MacAddress = [u8; 6];

/// The link-layer address of each port. What is sent to another is none of the box's business; a port without one takes
/// everything.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MacAddresses([Option<MacAddress>; MAX_PORTS]);

impl MacAddresses {
    /// That of a port.
    #[inline(always)]
    pub(super) const fn of(&self, PortId(port): PortId) -> Option<MacAddress> {
        self.0[port as usize % MAX_PORTS]
    }

    /// Says what a port has.
    pub(crate) fn set(&mut self, port: PortId, mac: MacAddress) {
        if let Some(known) = self.0.get_mut(usize::from(port.0)) {
            *known = Some(mac);
        }
    }
}

/// Whether a link-layer address is that of many (IEEE 802 section 8.2).
pub const fn is_group(mac: &MacAddress) -> bool {
    mac[0] & 1 == 1
}

/// Groups of addresses that connections are translated to, at most, on one link. Whoever gives away more of a network has
/// it routed to the box.
const MAX_TRANSLATED_GROUPS: usize = 1024;

/// The link-local address that a port makes of its MAC address (RFC 4291 appendix A).
pub fn link_local([a, b, c, d, e, f]: MacAddress) -> Ipv6Addr {
    let identifier = u64::from_be_bytes([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    Ipv6Addr::from(0xfe80 << 112 | u128::from(identifier))
}

/// Whether an address is good on one link only.
pub fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// The group of the hosts whose addresses end as this one does.
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from(0xff02_0000_0000_0000_0000_0001_ff00_0000 | u128::from(address) & 0xff_ffff)
}

/// The directed broadcast address of a network, which one of two addresses or less has not (RFC 3021).
pub(super) fn broadcast(own: IpAddr, length: u8) -> Option<Prefix> {
    let IpAddr::V4(_) = own else { return None };
    let last = Prefix::new(own, length).last();
    (length < 31).then(|| Prefix::new(address(Family::V4, last), u8::MAX))
}

/// Whether an address is that of many (RFC 1112 section 4, RFC 919 section 7, RFC 4291 section 2.7).
pub(crate) const fn is_many(family: Family, address: u128) -> bool {
    match family {
        Family::V4 => address >> 28 == 0xe || address == u32::MAX as u128,
        Family::V6 => address >> 120 == 0xff,
    }
}

/// Whether an address is that of a group of one link: of the local network control block (RFC 5771 section 4), or of link-local
/// scope (RFC 4291 section 2.7).
pub(super) const fn is_of_link_scope(family: Family, address: u128) -> bool {
    match family {
        Family::V4 => address >> 8 == 0xe0_0000,
        Family::V6 => address >> 112 == 0xff02,
    }
}

/// The groups of a port's own addresses, with the lengths of their networks' prefixes, and of those that connections are translated to, ranges from the first to the
/// last, as far as they are of its networks.
pub(super) fn groups(addresses: &[(IpAddr, u8)], translated: &[(IpAddr, IpAddr)]) -> Vec<Ipv6Addr> {
    let own = addresses.iter().map(|(own, _)| *own);
    let networks = addresses.iter().map(|(own, length)| Prefix::new(*own, *length));
    let networks = networks.filter(|network| network.family() == Family::V6);
    let shared = networks.flat_map(|network| {
        let ranges = translated.iter().filter(|(first, _)| first.is_ipv6());
        ranges.flat_map(move |(first, last)| {
            (number(*first).max(network.first())..=number(*last).min(network.last()))
                .take(MAX_TRANSLATED_GROUPS)
        })
    });
    let shared = shared.take(MAX_TRANSLATED_GROUPS).map(|shared| address(Family::V6, shared));
    let v6 = own.chain(shared).filter_map(|address| match address {
        IpAddr::V6(v6) => Some(solicited_node(v6)),
        IpAddr::V4(_) => None,
    });
    let mut groups: Vec<Ipv6Addr> = v6.collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Whether this is a message of neighbour discovery that no router has passed on (RFC 4861 section 3.1), or a query for
/// multicast listeners that none is to pass on (RFC 3810 section 5). Such messages are the link's own business, which no
/// policy judges.
pub(super) fn is_of_the_link(head: &[u8], headers: &Headers) -> bool {
    headers.kind == PacketKind::Untracked
        && headers.protocol == protocol::ICMPV6
        && match head.get(usize::from(headers.l4_offset)) {
            Some(&(NEIGHBOUR_SOLICITATION | NEIGHBOUR_ADVERTISEMENT)) => headers.ttl == u8::MAX,
            Some(&LISTENER_QUERY) => headers.ttl == 1,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn groups_of(addresses: &[(&str, u8)], translated: &[(&str, &str)]) -> Vec<String> {
        let addresses: Vec<_> = addresses.iter().map(|(own, length)| (ip(own), *length)).collect();
        let translated: Vec<_> = translated.iter().map(|(first, last)| (ip(first), ip(last))).collect();
        let groups = groups(&addresses, &translated);
        groups.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_port_makes_its_link_local_address_of_its_mac() {
        assert_eq!(ip("fe80::3656:78ff:fe9a:bcde"), link_local([0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde]));
    }

    #[test]
    fn addresses_that_end_alike_have_one_group() {
        let own = [("10.0.0.1", 24), ("fd00::1", 64), ("fe80::1", 64), ("2001:db8::12:3456", 64)];
        assert_eq!(groups_of(&own, &[]), ["ff02::1:ff00:1", "ff02::1:ff12:3456"]);
        assert!(groups_of(&own[..1], &[("10.0.0.7", "10.0.0.9")]).is_empty());
    }

    #[test]
    fn what_is_given_away_counts_where_its_network_is() {
        let own = [("2001:db8::1", 64)];
        let translated = [("2001:db8::ffff", "2001:db8::1:0"), ("3fff::1", "3fff::2")];
        assert_eq!(groups_of(&own, &translated), ["ff02::1:ff00:1", "ff02::1:ff00:ffff", "ff02::1:ff01:0"]);
        let all = [("2001:db8::", "2001:db8::ffff:ffff:ffff:ffff")];
        assert_eq!(groups_of(&own, &all).len(), MAX_TRANSLATED_GROUPS);
    }
}
