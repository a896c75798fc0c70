//! From the section `helpers` to the assignments that a shard goes by.

use sluice_conntrack::helpers::{Assignment, Descriptor, HelperId, Helpers};

use super::policy::matches;
use crate::config::path::{Path, Problem, Step};
use crate::config::schema::{Config, HelperRule, Rule};
use crate::config::values::{List, PortRange, Protocol};

/// The assignments. Fails only for a configuration that [`check`](crate::config::check) refuses.
pub(super) fn helpers(config: &Config) -> Result<Helpers, Problem> {
    let section = Path::root().join("helpers");
    let assignment = |(step, helper, rule): (Step, Option<HelperId>, &HelperRule)| {
        let path = section.join(step);
        let helper =
            helper.ok_or_else(|| Problem::at(path.clone(), format!("`{path}` lacks the key `name`")))?;
        let descriptor = Descriptor::of(helper);
        let assigned = || {
            let ports = descriptor.ports.iter().map(|port| PortRange { first: *port, last: *port });
            List::from(ports.collect::<Vec<_>>())
        };
        let protocols = || {
            let protocols = descriptor.protocols.iter().map(|protocol| Protocol(*protocol));
            List::from(protocols.collect::<Vec<_>>())
        };
        let on = Rule {
            protocol: Some(rule.protocol.clone().unwrap_or_else(protocols)),
            destination_port: Some(rule.ports.clone().unwrap_or_else(assigned)),
            ..rule.matches()
        };
        Ok(Assignment { helper, on: matches(config, &on, &path)?, loose: rule.loose })
    };
    Ok(Helpers::new(config.helpers.iter().map(assignment).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;
    use sluice_conntrack::PortId;
    use sluice_conntrack::helpers::HelperId;
    use sluice_conntrack::policy::{Match, Prefix};

    fn lowered(text: &str) -> Vec<Assignment> {
        helpers(&config(text)).unwrap().assignments().to_vec()
    }

    fn ftp(ports: &[u16]) -> Match {
        let destination_ports = ports.iter().map(|port| *port..=*port).collect();
        Match { protocols: vec![6], destination_ports, ..Match::default() }
    }

    #[test]
    fn nothing_is_read_unless_it_is_listed() {
        for text in ["", "helpers: []", "helpers: {}"] {
            assert_eq!(lowered(text), []);
        }
    }

    #[test]
    fn a_mapping_and_a_list_say_the_same() {
        let assignment = |ports: &[u16]| Assignment { helper: HelperId::Ftp, on: ftp(ports), loose: false };
        assert_eq!(lowered("helpers: {ftp: {}}"), [assignment(&[21])]);
        assert_eq!(lowered("helpers: {ftp: {ports: [21, 2121]}}"), [assignment(&[21, 2121])]);
        assert_eq!(lowered("helpers: [{name: ftp}]"), [assignment(&[21])]);
        let several = "helpers: [{name: ftp, ports: 2121}, {name: ftp, protocol: tcp}]";
        assert_eq!(lowered(several), [assignment(&[2121]), assignment(&[21])]);
    }

    #[test]
    fn matches_are_those_of_the_first_packet() {
        let [assignment] = &lowered(
            "helpers: [{name: ftp, in: inside, source: 10.0.0.0/8, destination: 198.51.100.7, zone: 3, loose: true}]",
        )[..] else {
            panic!("one assignment")
        };
        assert!(assignment.loose);
        let on = Match {
            ingress: vec![PortId(0)],
            source: vec![Prefix::new([10, 0, 0, 0].into(), 8)],
            destination: vec![Prefix::new([198, 51, 100, 7].into(), 32)],
            zone: Some(3),
            ..ftp(&[21])
        };
        assert_eq!(assignment.on, on);
    }
}
