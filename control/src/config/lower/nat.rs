//! From the section `nat` to the rules that the tracking crate takes.

use sluice_conntrack::nat;

use super::policy::matches;
use crate::config::path::{Path, Problem};
use crate::config::schema::{Config, Filtering, Mapping, NatRule};
use crate::config::values::{PortRange, Redirect};

/// The rules of address translation. Fails only for a configuration that [`check`](crate::config::check) refuses.
pub fn nat(config: &Config) -> Result<nat::Nat, Problem> {
    let list = |name: &str, rules: &[NatRule]| {
        let section = Path::root().join("nat").join(name);
        let rules = rules.iter().enumerate();
        rules.map(|(index, rule)| nat_rule(config, rule, &section.join(index))).collect::<Result<_, _>>()
    };
    Ok(nat::Nat {
        source: list("source", &config.nat.source)?,
        destination: list("destination", &config.nat.destination)?,
    })
}

fn nat_rule(config: &Config, rule: &NatRule, path: &Path) -> Result<nat::NatRule, Problem> {
    let no_target = || Problem::at(path.clone(), format!("`{path}` has no target"));
    Ok(nat::NatRule {
        name: rule.name.clone(),
        matches: matches(config, &rule.matches(), path)?,
        target: target(rule).ok_or_else(no_target)?,
        random: rule.random,
        persistent: rule.persistent,
        mapping: match rule.mapping {
            None | Some(Mapping::AddressAndPortDependent) => nat::Mapping::AddressAndPortDependent,
            Some(Mapping::EndpointIndependent) => nat::Mapping::EndpointIndependent,
        },
        filtering: match rule.filtering {
            None | Some(Filtering::AddressAndPortDependent) => nat::Filtering::AddressAndPortDependent,
            Some(Filtering::EndpointIndependent) => nat::Filtering::EndpointIndependent,
        },
        errors: rule.errors,
        hairpin: rule.hairpin,
    })
}

fn target(rule: &NatRule) -> Option<nat::Target> {
    if rule.keep.is_some() {
        return Some(nat::Target::NoNat);
    }
    if let Some(network) = &rule.prefix {
        return Some(nat::Target::Prefix(network.into()));
    }
    if let Some(redirect) = rule.redirect {
        return Some(nat::Target::Masquerade(match redirect {
            Redirect::SamePort => ports(rule),
            Redirect::Ports(range) => among(range),
        }));
    }
    if rule.masquerade.is_some() {
        return Some(nat::Target::Masquerade(ports(rule)));
    }
    let ranges = rule.to.as_ref()?.iter().map(|range| nat::Range {
        first: range.first,
        last: range.last,
        ports: range.ports.map_or_else(|| ports(rule), among),
    });
    Some(nat::Target::Pool(ranges.collect()))
}

/// The ports that the rule gives to all its addresses.
fn ports(rule: &NatRule) -> nat::PortChoice {
    let first = rule.destination_port.as_ref().and_then(|ports| ports.iter().next());
    match (rule.shift_to, first, rule.ports) {
        (Some(to), Some(PortRange { first, .. }), _) => nat::PortChoice::Shift { from: *first, to },
        (_, _, Some(range)) => among(range),
        _ => nat::PortChoice::Preserve,
    }
}

fn among(range: PortRange) -> nat::PortChoice {
    nat::PortChoice::Among(range.first..=range.last)
}

#[cfg(test)]
mod tests {
    use sluice_conntrack::PortId;
    use sluice_conntrack::nat::{Filtering, Mapping, NatRule, PortChoice, Range, Target};
    use sluice_conntrack::policy::{Match, Prefix};

    fn only(list: &str, rule: &str) -> NatRule {
        let interface = |number: u8, address: &str| {
            format!("{{device: 'vdev:net_null{number}', addresses: [{address}]}}")
        };
        let (inside, outside) = (interface(0, "10.0.0.1/8"), interface(1, "203.0.113.1/24"));
        let text = format!(
            "version: 1\ninterfaces: {{inside: {inside}, outside: {outside}}}\nnat: {{{list}: [{{{rule}}}]}}"
        );
        let config = crate::config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
        let mut nat = super::nat(&config).unwrap();
        assert_eq!(nat.source.len() + nat.destination.len(), 1);
        nat.source.pop().or(nat.destination.pop()).unwrap()
    }

    fn pool(first: &str, last: &str, ports: PortChoice) -> Target {
        Target::Pool(vec![Range { first: first.parse().unwrap(), last: last.parse().unwrap(), ports }])
    }

    #[test]
    fn masquerade_is_the_boxs_own_address() {
        let rule = only("source", "out: outside, source: 10.0.0.0/8, masquerade: true");
        let source = vec![Prefix::new([10, 0, 0, 0].into(), 8)];
        let matches = Match { egress: vec![PortId(1)], source, ..Match::default() };
        assert_eq!(rule, NatRule::new(matches, Target::Masquerade(PortChoice::Preserve)));
    }

    #[test]
    fn what_else_a_source_rule_says_is_kept() {
        let rule = only(
            "source",
            "name: guests, out: outside, to: 203.0.113.10-203.0.113.20, ports: 1024-65535, random: true, \
             persistent: true, mapping: endpoint-independent, filtering: endpoint-independent",
        );
        assert_eq!(rule.name.as_deref(), Some("guests"));
        assert!(rule.random && rule.persistent && !rule.hairpin);
        assert_eq!(rule.mapping, Mapping::EndpointIndependent);
        assert_eq!(rule.filtering, Filtering::EndpointIndependent);
        assert_eq!(rule.target, pool("203.0.113.10", "203.0.113.20", PortChoice::Among(1024..=65535)));
    }

    #[test]
    fn targets_of_destination_rules() {
        let of =
            |rule: &str| only("destination", &format!("protocol: udp, destination-port: 5000-5099, {rule}"));
        assert_eq!(
            of("to: '10.0.0.5:8080'").target,
            pool("10.0.0.5", "10.0.0.5", PortChoice::Among(8080..=8080))
        );
        let shift = PortChoice::Shift { from: 5000, to: 6000 };
        assert_eq!(of("to: 10.0.0.5, shift-to: 6000").target, pool("10.0.0.5", "10.0.0.5", shift));
        assert_eq!(of("in: inside, redirect: 53").target, Target::Masquerade(PortChoice::Among(53..=53)));
        assert_eq!(of("in: inside, redirect: true").target, Target::Masquerade(PortChoice::Preserve));
        assert_eq!(of("keep: true").target, Target::NoNat);
        assert!(of("to: 10.0.0.5, hairpin: true").hairpin);
    }

    #[test]
    fn a_prefix_may_be_that_of_errors_too() {
        let rule = "source: 10.8.0.0/24, prefix: 198.51.100.0/24";
        assert!(!only("source", rule).errors);
        assert!(only("source", &format!("{rule}, errors: true")).errors);
    }

    #[test]
    fn a_prefix_stays_one() {
        let rule = only("destination", "destination: 198.51.100.0/24, prefix: 10.8.0.0/24");
        assert_eq!(rule.target, Target::Prefix(Prefix::new([10, 8, 0, 0].into(), 24)));
    }
}
