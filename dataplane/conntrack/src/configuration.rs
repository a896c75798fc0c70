//! The configuration of a shard: everything that a reload replaces.

use crate::counters::RuleCounter;
use crate::forward::{Forwarding, MAX_PORTS};
use crate::helpers::Helpers;
use crate::ids::{PortId, Zone};
use crate::mss_clamp::MssClamp;
use crate::nat::{CompiledRules, Nat, NatCounter, Pools, masquerades};
use crate::policy::Policy;
use crate::settings::Settings;

/// Everything that a reload replaces.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Settings of tracking.
    pub settings: Settings,
    /// The rules.
    pub policy: Policy,
    /// Where packets leave.
    pub forwarding: Forwarding,
    /// Which connections are translated.
    pub nat: Nat,
    /// The same rules as connections are bound by them.
    pub compiled_nat: CompiledRules,
    /// Whether IPv4 packets whose source is translated get identifications of the box's own (RFC 7857 section 11).
    pub renumbers: bool,
    /// What maximum segment size SYNs may offer.
    pub mss_clamp: MssClamp,
    /// The ports of the addresses that sources are translated to.
    pub pools: Pools,
    /// What each SNAT rule has come to. Begins anew with each configuration.
    pub nat_counters: Vec<NatCounter>,
    /// Which connections helpers read.
    pub helpers: Helpers,
    /// The zone of each port.
    pub zones: [Zone; MAX_PORTS],
    /// What each rule has decided; the last one is the default's. Begins anew with each configuration.
    pub rule_counters: Vec<RuleCounter>,
}

impl Configuration {
    /// A configuration whose ports are all in zone 0, without NAT.
    pub fn new(settings: Settings, policy: Policy, forwarding: Forwarding) -> Self {
        let rule_counters = vec![RuleCounter::default(); policy.rules.len() + 1];
        Self {
            settings,
            policy,
            forwarding,
            nat: Nat::default(),
            compiled_nat: CompiledRules::default(),
            renumbers: false,
            mss_clamp: MssClamp::default(),
            pools: Pools::default(),
            nat_counters: Vec::new(),
            helpers: Helpers::default(),
            zones: [0; MAX_PORTS],
            rule_counters,
        }
    }

    /// The zone of a port.
    #[inline(always)]
    pub(crate) const fn zone_of(&self, PortId(port): PortId) -> Zone {
        self.zones[port as usize % MAX_PORTS]
    }

    /// The same with NAT by these rules.
    #[must_use]
    pub fn with_nat(mut self, nat: Nat) -> Self {
        let own = match &self.forwarding {
            Forwarding::Routed(router) => router.own(),
            Forwarding::Wire { .. } => &[],
        };
        self.pools = Pools::new(nat.source_addresses(own));
        self.compiled_nat = CompiledRules::new(&nat, |rule| masquerades(rule, &self.forwarding));
        self.nat_counters = vec![NatCounter::default(); nat.source.len()];
        if let Forwarding::Routed(router) = &mut self.forwarding {
            let ports = router.ports();
            router.set_translated(ports.flat_map(|port| nat.addresses_at(port)).collect());
        }
        self.nat = nat;
        self
    }
}
