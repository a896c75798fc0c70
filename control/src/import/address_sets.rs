//! Addresses that become named sets: those that have a name on the Linux box, and those that are many.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::set::NumberSet;
use crate::config::{AddressSet, Addresses, Elements, List, Prefix};

/// Prefixes in a rule, at most.
const MAX_IN_RULE: usize = 16;

/// The sets, by what is in them.
#[derive(Clone, Debug, Default)]
pub(super) struct AddressSets {
    /// What the Linux box calls addresses of a family.
    named: BTreeMap<(bool, NumberSet), String>,
    /// Those that rules look for addresses in.
    used: BTreeMap<String, (bool, NumberSet)>,
}

impl AddressSets {
    /// Takes note of a name.
    pub(super) fn name(&mut self, name: String, is_v4: bool, addresses: NumberSet) {
        if !addresses.is_empty() {
            self.named.entry((is_v4, addresses)).or_insert(name);
        }
    }

    /// Addresses of a family as a rule has them; what there is without a name is called by what it is in the rule.
    pub(super) fn addresses(&mut self, set: &NumberSet, is_v4: bool, called: &str) -> Vec<Addresses> {
        let prefixes = prefixes(set, is_v4);
        let key = (is_v4, set.clone());
        let named = self.named.get(&key).filter(|_| prefixes.len() > 1);
        let Some(name) = named.map(String::as_str).or((prefixes.len() > MAX_IN_RULE).then_some(called))
        else {
            return prefixes.into_iter().map(Addresses::Prefix).collect();
        };
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let name = names.find(|name| self.used.get(name).is_none_or(|used| *used == key)).unwrap_or_default();
        self.used.insert(name.clone(), key);
        vec![Addresses::Set(name)]
    }

    /// Those that rules look for addresses in, as the configuration has them.
    pub(super) fn into_config(self) -> BTreeMap<String, AddressSet> {
        let set = |(name, (is_v4, set)): (String, (bool, NumberSet))| {
            let prefixes = prefixes(&set, is_v4);
            let elements = Elements::from_iter(prefixes.iter().map(|prefix| prefix.0));
            let set = AddressSet {
                prefixes: Some(List::from(prefixes)),
                elements: Arc::new(elements),
                ..AddressSet::default()
            };
            (name, set)
        };
        self.used.into_iter().map(set).collect()
    }
}

fn prefixes(set: &NumberSet, is_v4: bool) -> Vec<Prefix> {
    set.ranges().iter().flat_map(|range| of_range(*range, is_v4)).collect()
}

/// The fewest prefixes that a range of addresses comes to.
fn of_range((first, last): (u128, u128), is_v4: bool) -> Vec<Prefix> {
    let v4 = |number: u128| Ipv4Addr::from_bits(u32::try_from(number).unwrap_or(u32::MAX));
    match is_v4 {
        true => Ipv4Subnets::new(v4(first), v4(last), 0).map(|net| Prefix(IpNet::V4(net))).collect(),
        false => Ipv6Subnets::new(Ipv6Addr::from_bits(first), Ipv6Addr::from_bits(last), 0)
            .map(|net| Prefix(IpNet::V6(net)))
            .collect(),
    }
}
