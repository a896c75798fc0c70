//! The configuration of a box: everything that a reload replaces.

use crate::compiled_policy::CompiledPolicy;
use crate::forward::{Forwarding, MAX_PORTS, Router};
use crate::groups::Groups;
use crate::helpers::{HelperId, Helpers};
use crate::ids::{GroupId, PortId, Zone};
use crate::mss_clamp::MssClamp;
use crate::nat::{CompiledRules, Nat, masquerades};
use crate::policy::Policy;
use crate::settings::{Settings, Timeouts};
use crate::tuple::{Family, Tuple, address, number};
use std::net::IpAddr;

/// What is asked about connections that peers tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Nothing.
    #[default]
    None,
    /// Whether the policy would let them begin here.
    Policy,
}

/// Everything that a reload replaces. All shards of a box share it, so nothing is written into it once it is in force: what a
/// shard keeps by it is the shard's own ([`Installation`](crate::Installation)).
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Settings of tracking.
    pub settings: Settings,
    /// The rules.
    pub policy: CompiledPolicy,
    /// Where packets leave.
    pub forwarding: Forwarding,
    /// Which connections are translated.
    pub nat: CompiledRules,
    /// Whether IPv4 packets whose source is translated get identifications of the box's own (RFC 7857 section 11).
    pub renumbers: bool,
    /// What maximum segment size SYNs may offer.
    pub mss_clamp: MssClamp,
    /// Which connections helpers read.
    pub helpers: Helpers,
    /// The groups of addresses that another box may answer for instead.
    pub groups: Groups,
    /// What is asked about connections that peers tell of.
    pub verify: Verify,
    /// The zone of each port.
    pub zones: [Zone; MAX_PORTS],
}

impl Configuration {
    /// A configuration whose ports are all in zone 0, without NAT.
    pub fn new(settings: Settings, policy: Policy, forwarding: Forwarding) -> Self {
        Self {
            settings,
            policy: policy.into(),
            forwarding,
            nat: CompiledRules::default(),
            renumbers: false,
            mss_clamp: MssClamp::default(),
            helpers: Helpers::default(),
            groups: Groups::default(),
            verify: Verify::default(),
            zones: [0; MAX_PORTS],
        }
    }

    /// The zone of a port.
    #[inline(always)]
    pub(crate) const fn zone_of(&self, PortId(port): PortId) -> Zone {
        self.zones[port as usize % MAX_PORTS]
    }

    /// The group of a connection: that of the addresses that it is translated to, or made to or from, or of its hosts; else the first one with addresses
    /// at the port that its client is behind. `None` for one of the box's own, and where there are no groups.
    pub fn group_of(&self, tuples: &[Tuple; 2]) -> Option<GroupId> {
        let Forwarding::Routed(router) = &self.forwarding else { return self.groups.all().first() };
        if self.groups.all().is_empty() {
            return None;
        }
        self.groups.of_addresses(tuples).or_else(|| {
            let [original, _] = tuples;
            let [client, server] = [original.src, original.dst].map(|it| address(original.family(), it));
            let port = if router.is_own(server) { None } else { router.port_towards(client) };
            self.groups.at_port(port?).first()
        })
    }

    /// The addresses of a group that hosts on the links of the ports are to hear of, so many at most.
    pub fn announced(&self, group: GroupId, most: usize) -> Vec<(PortId, IpAddr)> {
        let (Forwarding::Routed(router), Some(group)) = (&self.forwarding, self.groups.get(group)) else {
            return Vec::new();
        };
        let range = |(first, last): &(IpAddr, IpAddr)| {
            let family = Family::of(*first);
            (number(*first)..=number(*last)).map(move |number| address(family, number))
        };
        let pools = group.pools.iter().flat_map(range);
        let at_ports =
            |own| router.ports().filter(move |port| router.answers(*port, own)).map(move |port| (port, own));
        group.addresses.iter().copied().chain(pools.take(most).flat_map(at_ports)).take(most).collect()
    }

    /// The same with NAT by these rules.
    #[must_use]
    pub fn with_nat(mut self, nat: Nat) -> Self {
        if let Forwarding::Routed(router) = &mut self.forwarding {
            let ports = router.ports();
            router.set_translated(ports.flat_map(|port| nat.addresses_at(port)).collect());
        }
        self.nat = CompiledRules::new(nat, |rule| masquerades(rule, &self.forwarding));
        self
    }

    /// The same with another router, for these rules of NAT.
    #[must_use]
    pub fn with_router(&self, router: Router, nat: Nat) -> Self {
        let other = Self { forwarding: Forwarding::Routed(Box::new(router)), ..self.clone() };
        other.with_nat(nat)
    }

    /// The same with rules whose sets have other addresses: of policy, helpers and NAT.
    #[must_use]
    pub fn with_rules(&self, policy: Policy, helpers: Helpers, nat: Nat) -> Self {
        let helpers = helpers.switched_as(&self.helpers);
        Self { policy: policy.into(), helpers, ..self.clone() }.with_nat(nat)
    }

    /// The same with other timeouts.
    #[must_use]
    pub fn with_timeouts(&self, timeouts: Timeouts) -> Self {
        let mut other = self.clone();
        other.settings.timeouts = timeouts;
        other
    }

    /// The same with a helper switched on or off.
    #[must_use]
    pub fn with_helper_switched(&self, helper: HelperId, is_on: bool) -> Self {
        let mut other = self.clone();
        other.helpers.switch(helper, is_on);
        other
    }

    /// The addresses that sources can be translated to with a port of their own choice.
    pub fn source_addresses(&self) -> Vec<IpAddr> {
        let own = match &self.forwarding {
            Forwarding::Routed(router) => router.own(),
            Forwarding::Wire { .. } => &[],
        };
        self.nat.source_addresses(own)
    }
}
