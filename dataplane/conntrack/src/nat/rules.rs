//! NAT rules: which connections are translated, and to what.
//!
//! Plain data that the control plane lowers its YAML to. A connection's first packet walks each list once, and the first
//! rule that applies decides for its whole life; so rules that change leave entries alone.

use crate::ids::PortId;
use crate::policy::{Match, Prefix};
use crate::tuple::{Family, address, number};
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// The NAT section of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Translate the source, behind the policy. They see the packet as the policy does, its egress port included.
    pub source: Vec<NatRule>,
    /// Translate the destination, before the packet is routed. They see the packet as it came.
    pub destination: Vec<NatRule>,
}

impl Nat {
    /// The addresses that connections are translated to or from at a port, as seen from its link: those of source rules
    /// for what leaves there, and single addresses and 1:1 networks of destination rules for what comes in there.
    pub(crate) fn addresses_at(&self, port: PortId) -> Vec<(PortId, IpAddr, IpAddr)> {
        let is_at = |ports: &[PortId]| ports.is_empty() || ports.contains(&port);
        let whole = |prefix: &Prefix| {
            let family = prefix.family();
            (port, address(family, prefix.first()), address(family, prefix.last()))
        };
        let mut addresses = Vec::new();
        for rule in self.source.iter().filter(|rule| is_at(&rule.matches.egress)) {
            addresses.extend(rule.target.ranges().iter().map(|range| (port, range.first, range.last)));
            addresses.extend(rule.target.network().map(whole));
        }
        for rule in self.destination.iter().filter(|rule| is_at(&rule.matches.ingress)) {
            let is_network = rule.target.network().is_some();
            let published = rule.matches.destination.iter();
            let published = published.filter(|prefix| is_network || prefix.first() == prefix.last());
            if rule.target.translates() {
                addresses.extend(published.map(whole));
            }
        }
        addresses
    }
}

/// Most addresses whose ports are counted: as many as a /18 has.
pub const MAX_ADDRESSES: usize = 1 << 14;

/// One rule. It applies to connections whose family its target has addresses of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatRule {
    /// Its name in listings and metrics, if it has one.
    pub name: Option<String>,
    /// When it applies.
    pub matches: Match,
    /// What the address and port become.
    pub target: Target,
    /// Whether the port is drawn at random even where the connection's own is free.
    pub random: bool,
    /// Whether a client gets the same address of several towards all servers. Source rules only.
    pub persistent: bool,
    /// How long a translation holds. Source rules only.
    pub mapping: Mapping,
    /// Who may begin connections to a port that is mapped. Rules with [`Mapping::EndpointIndependent`] only.
    pub filtering: Filtering,
    /// Whether ICMP errors of hosts that it translates one to one have their own public addresses as source, be they about
    /// others' connections (RFC 5508 section 4.2). Source rules with [`Target::Prefix`] only.
    pub errors: bool,
    /// Whether connections that go back over the port they came by are masqueraded as well, so that the answers come
    /// this way, too. Destination rules only.
    pub hairpin: bool,
}

impl NatRule {
    /// A rule with nothing asked for but its target.
    pub fn new(matches: Match, target: Target) -> Self {
        Self {
            name: None,
            matches,
            target,
            random: false,
            persistent: false,
            mapping: Mapping::default(),
            filtering: Filtering::default(),
            errors: false,
            hairpin: false,
        }
    }
}

/// What an address and port become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The connection is not translated, whatever rules behind this one say.
    NoNat,
    /// One of these, chosen by a hash of the client's address; each address of a range counts as one.
    Pool(Vec<Range>),
    /// The box's own address: of the egress port for a source rule (masquerade), of the ingress port for a destination
    /// rule (redirect).
    Masquerade(PortChoice),
    /// The address with the same host bits in this network, port kept.
    Prefix(Prefix),
}

/// All that the rest of NAT asks about a target.
impl Target {
    /// Whether it changes anything.
    pub const fn translates(&self) -> bool {
        !matches!(self, Self::NoNat)
    }

    /// The addresses that it chooses from.
    pub(super) fn ranges(&self) -> &[Range] {
        match self {
            Self::Pool(ranges) => ranges,
            Self::NoNat | Self::Masquerade(_) | Self::Prefix(_) => &[],
        }
    }

    /// The ports of the box's own address, where it becomes that.
    pub(super) const fn own_ports(&self) -> Option<&PortChoice> {
        match self {
            Self::Masquerade(ports) => Some(ports),
            Self::NoNat | Self::Pool(_) | Self::Prefix(_) => None,
        }
    }

    /// The network that an address gets its place in, where hosts are translated one to one.
    pub(super) const fn network(&self) -> Option<&Prefix> {
        match self {
            Self::Prefix(network) => Some(network),
            Self::NoNat | Self::Pool(_) | Self::Masquerade(_) => None,
        }
    }

    /// The addresses that serve many at a time, by their ports; `own` are those of the box that it can mean.
    pub(super) fn shared(&self, own: &[IpAddr]) -> Vec<Range> {
        let ports = self.own_ports().into_iter();
        let own = ports.flat_map(|ports| own.iter().map(|own| Range::of(*own, ports.clone())));
        own.chain(self.ranges().iter().cloned()).collect()
    }
}

/// Addresses from the first to the last, both of one family, and their ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first address.
    pub first: IpAddr,
    /// The last address, not below the first.
    pub last: IpAddr,
    /// The ports of each.
    pub ports: PortChoice,
}

impl Range {
    /// A single address.
    pub const fn of(address: IpAddr, ports: PortChoice) -> Self {
        Self { first: address, last: address, ports }
    }

    /// All its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let family = Family::of(self.first);
        (number(self.first)..=number(self.last)).map(move |address| crate::tuple::address(family, address))
    }
}

/// The ports that a connection can get. An ICMP identifier counts as a port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PortChoice {
    /// Its own if that is free, else another one of the same class: below 512, below 1024, above.
    #[default]
    Preserve,
    /// One of these: its own if that is among them and free.
    Among(RangeInclusive<u16>),
    /// As far from `to` as its own is from `from`.
    Shift {
        /// A port of the connection, by its rule.
        from: u16,
        /// What that becomes.
        to: u16,
    },
}

/// How long a translation of a source holds (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mapping {
    /// For one connection, as in Linux: towards another server a client's port can become another.
    #[default]
    AddressAndPortDependent,
    /// For all connections that a client has from one port at a time.
    EndpointIndependent,
}

/// Whose packets to a mapped address and port go to its client (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filtering {
    /// Those of the servers that the client speaks to, as in Linux.
    #[default]
    AddressAndPortDependent,
    /// Everybody's, if the policy lets them pass. Not those of ICMP.
    EndpointIndependent,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_says_what_it_makes_addresses_of() {
        let [own, other] = [1, 2].map(|host| IpAddr::from([203, 0, 113, host]));
        let range = Range::of(other, PortChoice::Among(6000..=6009));
        let pool = Target::Pool(vec![range.clone()]);
        assert_eq!((pool.shared(&[own]), pool.own_ports()), (vec![range], None));
        let masquerade = Target::Masquerade(PortChoice::Preserve);
        assert_eq!(masquerade.shared(&[own]), [Range::of(own, PortChoice::Preserve)]);
        let network = Prefix::new([198, 51, 100, 0].into(), 24);
        let one_to_one = Target::Prefix(network);
        assert_eq!((one_to_one.network(), one_to_one.shared(&[own])), (Some(&network), vec![]));
        let translate = [&pool, &masquerade, &one_to_one, &Target::NoNat].map(Target::translates);
        assert_eq!(translate, [true, true, true, false]);
    }
}
