//! The ports that a connection can get by a rule. An ICMP identifier counts as a port.

use super::rules::PortChoice;
use crate::tuple::{Tuple, protocol};
use std::ops::RangeInclusive;

/// Ports are a space of their own for TCP, for UDP, and for all other protocols together.
pub const SPACES: usize = 3;

/// The space of a protocol.
pub(super) const fn space(number: u8) -> usize {
    match number {
        protocol::TCP => 0,
        protocol::UDP => 1,
        _ => 2,
    }
}

/// The ports that a connection gets another one from when its own is taken: of its own class (RFC 4787 section 4.2.2), and
/// none between 512 and 600, which old programs take for a sign of trust.
const fn class(port: u16) -> RangeInclusive<u16> {
    match port {
        0..512 => 1..=511,
        512..1024 => 600..=1023,
        1024.. => 1024..=u16::MAX,
    }
}

/// Whether a connection of a protocol can get another port. Without ports, those of many clients look alike.
pub(crate) const fn has_choice(number: u8) -> bool {
    protocol::is_icmp(number) || protocol::has_ports(number)
}

/// Whether a query asks for information about a node, which has what it asks for where others have an identifier (RFC 4620
/// section 4).
pub(super) const fn asks_a_node(query: &Tuple) -> bool {
    const NODE_INFORMATION_QUERY: u16 = 139;
    query.protocol() == protocol::ICMPV6 && query.selector.dport() >> 8 == NODE_INFORMATION_QUERY
}

/// The ports that a connection whose own is `own` can get; `None` where it has none. An ICMP identifier counts as a port
/// without classes.
pub(super) fn choices(original: &Tuple, own: u16, ports: &PortChoice) -> Option<RangeInclusive<u16>> {
    let is_icmp = protocol::is_icmp(original.protocol());
    let has_choice = protocol::has_ports(original.protocol()) || (is_icmp && !asks_a_node(original));
    has_choice.then(|| match ports {
        PortChoice::Preserve if is_icmp => 0..=u16::MAX,
        PortChoice::Preserve => class(own),
        PortChoice::Among(range) => range.clone(),
        PortChoice::Shift { from, to } => {
            let port = to.wrapping_add(own.wrapping_sub(*from));
            port..=port
        }
    })
}

/// One of a range of ports.
pub(super) fn draw_from(range: &RangeInclusive<u16>, random: u64) -> u16 {
    let size = u64::from(range.end() - range.start()) + 1;
    range.start() + (random % size) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::{Family, Selector};

    /// The first tuple of a connection to port 80, or of a query of type 8.
    fn of(number: u8) -> Tuple {
        let dport = if number == protocol::ICMP { 8 << 8 } else { 80 };
        Tuple { selector: Selector::new(Family::V4, number, 0, 0, dport), ..Tuple::default() }
    }

    #[test]
    fn a_port_stays_in_its_class() {
        for (own, range) in [(500, 1..=511), (511, 1..=511), (512, 600..=1023), (1024, 1024..=u16::MAX)] {
            assert_eq!(choices(&of(protocol::UDP), own, &PortChoice::Preserve), Some(range));
        }
        assert_eq!(choices(&of(protocol::ICMP), 7, &PortChoice::Preserve), Some(0..=u16::MAX));
        assert_eq!(choices(&of(protocol::GRE), 0, &PortChoice::Preserve), None);
    }

    #[test]
    fn ports_are_shifted_by_as_much() {
        let shift = PortChoice::Shift { from: 5000, to: 6000 };
        assert_eq!(choices(&of(protocol::TCP), 5042, &shift), Some(6042..=6042));
    }
}
