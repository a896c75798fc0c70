//! What a source rule has to give: blocks of ports, each of one address.

use super::ports::SPACES;
use super::rules::{MAX_ADDRESSES, NatRule, PortChoice, Range};
use crate::PortId;
use crate::forward::Forwarding;
use crate::tuple::Family;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// Ports of an address: those for TCP, for UDP, and for all other protocols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortBlock {
    /// The address.
    pub address: IpAddr,
    /// The ports of each space.
    pub ports: [RangeInclusive<u16>; SPACES],
}

impl PortBlock {
    /// All ports of an address.
    pub const fn whole(address: IpAddr) -> Self {
        Self { address, ports: [0..=u16::MAX, 0..=u16::MAX, 0..=u16::MAX] }
    }

    /// Where clients keep their ports or get others of the same class, these are the ports above 1023, which clients
    /// have; identifiers of ICMP have no classes.
    fn of(address: IpAddr, ports: &PortChoice) -> Option<Self> {
        let ports = match ports {
            PortChoice::Preserve => [1024..=u16::MAX, 1024..=u16::MAX, 0..=u16::MAX],
            PortChoice::Among(range) => [range.clone(), range.clone(), range.clone()],
            PortChoice::Shift { .. } => return None,
        };
        Some(Self { address, ports })
    }

    /// How many ports there are in each space.
    pub fn sizes(&self) -> [u32; SPACES] {
        self.ports.each_ref().map(|ports| u32::from(ports.end() - ports.start()) + 1)
    }

    /// Those of a source rule; none where it keeps ports, as 1:1 networks do. Not more than are counted.
    pub fn all_of(rule: &NatRule, forwarding: &Forwarding) -> Vec<Self> {
        let shared = rule.target.shared(&masquerades(rule, forwarding));
        let of_range = |range: &Range| {
            let ports = range.ports.clone();
            range.addresses().filter_map(move |address| PortBlock::of(address, &ports))
        };
        shared.iter().flat_map(of_range).take(MAX_ADDRESSES).collect()
    }
}

/// The box's own addresses that a rule which masquerades can mean: of several in one network it is the first.
pub(crate) fn masquerades(rule: &NatRule, forwarding: &Forwarding) -> Vec<IpAddr> {
    let Forwarding::Routed(router) = forwarding else { return Vec::new() };
    let matches = &rule.matches;
    let serves = |own: &IpAddr| {
        let family = Family::of(*own);
        matches.family.is_none_or(|wanted| wanted == family)
            && (matches.source.is_empty() || matches.source.iter().any(|prefix| prefix.family() == family))
    };
    let speaks = |own: &IpAddr| !matches!(own, IpAddr::V6(own) if own.is_unicast_link_local());
    let ports = match matches.egress.as_slice() {
        [] => router.ports().collect(),
        ports => ports.to_vec(),
    };
    let chosen = |port: PortId| {
        router.addresses(port).filter(move |own| router.source_towards(port, *own) == Some(*own))
    };
    let mut own: Vec<IpAddr> = ports.into_iter().flat_map(chosen).collect();
    own.retain(|own| serves(own) && speaks(own));
    own.sort_unstable();
    own.dedup();
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PortId;
    use crate::forward::{Interface, Router};
    use crate::nat::Target;
    use crate::policy::Match;

    fn forwarding() -> Forwarding {
        let interface = |addresses: &[(&str, u8)]| Interface {
            addresses: addresses.iter().map(|(own, length)| (own.parse().unwrap(), *length)).collect(),
            ..Interface::default()
        };
        let inside = interface(&[("10.0.0.1", 24), ("fd00::1", 64)]);
        let outside = interface(&[("203.0.113.1", 24), ("2001:db8::1", 64), ("fe80::1", 64)]);
        let router = Router::new(vec![inside, outside], []);
        Forwarding::Routed(Box::new(router))
    }

    fn addresses(matches: Match) -> Vec<String> {
        let rule = NatRule::new(matches, Target::Masquerade(PortChoice::Preserve));
        PortBlock::all_of(&rule, &forwarding()).iter().map(|block| block.address.to_string()).collect()
    }

    #[test]
    fn masquerading_gives_the_addresses_of_the_port_it_leaves_by() {
        let outside = || Match { egress: vec![PortId(1)], ..Match::default() };
        assert_eq!(addresses(outside()), ["203.0.113.1", "2001:db8::1"]);
        assert_eq!(addresses(Match { family: Some(Family::V4), ..outside() }), ["203.0.113.1"]);
        let source = vec![crate::policy::Prefix::new([10, 0, 0, 0].into(), 8)];
        assert_eq!(addresses(Match { source, ..Match::default() }), ["10.0.0.1", "203.0.113.1"]);
    }

    #[test]
    fn of_several_addresses_in_a_network_masquerading_gives_the_first() {
        let addresses = ["203.0.113.9", "203.0.113.1", "198.51.100.1", "203.0.113.5"];
        let addresses = addresses.map(|own| (own.parse().unwrap(), 24)).to_vec();
        let router = Router::new(vec![Interface { addresses, ..Interface::default() }], []);
        let rule = NatRule::new(Match::default(), Target::Masquerade(PortChoice::Preserve));
        let blocks = PortBlock::all_of(&rule, &Forwarding::Routed(Box::new(router)));
        let own: Vec<_> = blocks.iter().map(|block| block.address.to_string()).collect();
        assert_eq!(own, ["198.51.100.1", "203.0.113.9"]);
    }

    #[test]
    fn pools_give_their_ports_on_each_address() {
        let ranges = |ports| {
            let (first, last) = ([203, 0, 113, 8].into(), [203, 0, 113, 9].into());
            Target::Pool(vec![Range { first, last, ports }])
        };
        let of = |target| PortBlock::all_of(&NatRule::new(Match::default(), target), &forwarding());
        let blocks = |ports| of(ranges(ports));
        assert_eq!(blocks(PortChoice::Preserve).len(), 2);
        assert_eq!(blocks(PortChoice::Preserve)[0].sizes(), [64_512, 64_512, 65_536]);
        assert_eq!(blocks(PortChoice::Among(2000..=2009))[1].sizes(), [10; SPACES]);
        assert!(of(Target::NoNat).is_empty());
    }
}
