//! Which expectations a command is about: conntrack(8)'s options for the table `expect`.

use std::net::IpAddr;

use clap::Args;
use serde::{Deserialize, Serialize};
use sluice_conntrack::listing::ExpectationSnapshot;

use super::Filter;
use super::filter_values::Network;
use crate::config::Protocol;

/// conntrack(8)'s options for expectations: one is shown if it fits all that are given.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ExpectationFilter {
    /// Source address or network of what is expected
    #[arg(long, value_name = "IP[/LENGTH]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuple_src: Option<Network>,

    /// Destination address or network of what is expected
    #[arg(long, value_name = "IP[/LENGTH]")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuple_dst: Option<Network>,

    /// Source port of what is expected
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuple_port_src: Option<u16>,

    /// Destination port of what is expected
    #[arg(long, value_name = "PORT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuple_port_dst: Option<u16>,

    /// Bits of the source address that count: 255.255.255.255, or 0.0.0.0 where it may be any
    #[arg(long, value_name = "MASK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_src: Option<IpAddr>,

    /// Bits of the destination address that count
    #[arg(long, value_name = "MASK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_dst: Option<IpAddr>,

    /// Bits of the source port that count: 65535, or 0 where it may be any
    #[arg(long, value_name = "MASK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_port_src: Option<u16>,

    /// Bits of the destination port that count
    #[arg(long, value_name = "MASK")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_port_dst: Option<u16>,

    /// Of the filters of entries: protocol, family and zone, and the addresses and ports of the master.
    #[arg(skip)]
    #[serde(skip_serializing_if = "Filter::is_empty")]
    pub master: Filter,
}

impl ExpectationFilter {
    /// Whether an expectation fits.
    pub fn matches(&self, shown: &ExpectationSnapshot) -> bool {
        let (expected, master) = (&shown.expectation.tuple, &shown.expectation.master);
        let mask = shown.mask();
        let within = |network: Network, address: IpAddr| network.0.contains(&address);
        let Filter { proto, family, zone, src, dst, sport, dport, .. } = &self.master;
        self.tuple_src.is_none_or(|network| within(network, expected.source()))
            && self.tuple_dst.is_none_or(|network| within(network, expected.destination()))
            && self.tuple_port_src.is_none_or(|port| expected.selector.sport() == port)
            && self.tuple_port_dst.is_none_or(|port| expected.selector.dport() == port)
            && self.mask_src.is_none_or(|bits| mask.source() == bits)
            && self.mask_dst.is_none_or(|bits| mask.destination() == bits)
            && self.mask_port_src.is_none_or(|bits| mask.selector.sport() == bits)
            && self.mask_port_dst.is_none_or(|bits| mask.selector.dport() == bits)
            && proto.is_none_or(|Protocol(number)| expected.protocol() == number)
            && family.is_none_or(|family| family.is(expected.family()))
            && zone.is_none_or(|zone| expected.selector.zone() == zone)
            && src.is_none_or(|network| within(network, master.source()))
            && dst.is_none_or(|network| within(network, master.destination()))
            && sport.is_none_or(|port| master.selector.sport() == port)
            && dport.is_none_or(|port| master.selector.dport() == port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::Tuple;
    use sluice_conntrack::expectations::{Expectation, SourceMask};

    /// What an FTP server is expected to open to its client.
    fn shown(client: &str, server: &str, source: SourceMask) -> ExpectationSnapshot {
        let (client, server) = (client.parse().unwrap(), server.parse().unwrap());
        let mut expectation = Expectation::default();
        expectation.tuple = Tuple::new(server, client, 6, 0, 5001);
        expectation.master = Tuple::new(client, server, 6, 40_000, 21);
        expectation.source = source;
        ExpectationSnapshot { expectation, remaining_ms: 300_000 }
    }

    #[test]
    fn each_part_tells_expectations_apart() {
        let one = shown("10.0.0.5", "192.0.2.1", SourceMask::AnyPort);
        let other = shown("2001:db8::5", "2001:db8:1::1", SourceMask::Any);
        for filter in [
            r#"{"tuple-src":"192.0.2.0/24"}"#,
            r#"{"tuple-dst":"10.0.0.5"}"#,
            r#"{"mask-src":"255.255.255.255"}"#,
            r#"{"mask-dst":"255.255.255.255"}"#,
            r#"{"master":{"src":"10.0.0.0/8"}}"#,
            r#"{"master":{"dst":"192.0.2.1"}}"#,
            r#"{"master":{"family":"ipv4"}}"#,
        ] {
            let filter: ExpectationFilter = serde_json::from_str(filter).unwrap();
            assert!(filter.matches(&one) && !filter.matches(&other), "{filter:?}");
        }
        for filter in [
            "{}",
            r#"{"tuple-port-src":0,"tuple-port-dst":5001,"mask-port-src":0,"mask-port-dst":65535}"#,
            r#"{"master":{"proto":"tcp"}}"#,
            r#"{"master":{"sport":40000,"dport":21}}"#,
            r#"{"master":{"zone":0}}"#,
        ] {
            let filter: ExpectationFilter = serde_json::from_str(filter).unwrap();
            assert!(filter.matches(&one) && filter.matches(&other), "{filter:?}");
        }
        for filter in [
            r#"{"master":{"proto":"udp"}}"#,
            r#"{"master":{"zone":7}}"#,
            r#"{"master":{"dport":80}}"#,
            r#"{"tuple-port-src":20}"#,
            r#"{"tuple-port-dst":5002}"#,
            r#"{"mask-port-src":65535}"#,
            r#"{"mask-port-dst":0}"#,
        ] {
            let filter: ExpectationFilter = serde_json::from_str(filter).unwrap();
            assert!(!filter.matches(&one), "{filter:?}");
        }
    }
}
