//! What an operator wants expected, and for whom.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_conntrack::Tuple;
use sluice_conntrack::expectations::{SourceMask, Wanted};

use crate::config::{Protocol, Seconds};

/// A child, and the connection that is its master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NewExpectation {
    /// The protocol of both: one with ports.
    pub proto: Protocol,
    /// The zone of both.
    #[serde(default)]
    pub zone: u16,
    /// The master's original direction.
    pub master: Ends,
    /// The child's, as its first packet comes in.
    pub tuple: Ends,
    /// How much of the child's source counts.
    #[serde(default)]
    pub source: Source,
    /// How long it is waited for, in seconds.
    pub timeout: Seconds,
}

/// The ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ends {
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port.
    #[serde(default)]
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
}

/// How much of a source counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Address and port.
    Exact,
    /// The address.
    #[default]
    AnyPort,
    /// Nothing.
    Any,
}

impl NewExpectation {
    /// The master's original tuple, and what is wanted of it.
    ///
    /// # Errors
    /// Why that cannot be, in words for the user.
    pub fn lower(&self) -> Result<(Tuple, Wanted), String> {
        let Self { proto, master, tuple, source, timeout, .. } = self;
        if !proto.has_ports() {
            return Err(format!("`{proto}` has no ports: expectations are of tcp, udp, udplite or sctp"));
        }
        if timeout.0 == 0 {
            return Err("an expectation with a timeout of 0 expires at once".to_owned());
        }
        let families = [master.src, master.dst, tuple.src, tuple.dst].map(|address| address.is_ipv4());
        if families.iter().any(|is_ipv4| *is_ipv4 != families[0]) {
            return Err("all addresses are to be of one family, IPv4 or IPv6".to_owned());
        }
        // What does not count is 0, as in what a helper expects.
        let (source, tuple) = match source {
            Source::Exact => (SourceMask::Exact, *tuple),
            Source::AnyPort => (SourceMask::AnyPort, Ends { sport: 0, ..*tuple }),
            Source::Any => (SourceMask::Any, Ends { src: any_like(tuple.dst), sport: 0, ..*tuple }),
        };
        let timeout_ms = timeout.0.saturating_mul(1000);
        let tuple = self.tuple_between(&tuple);
        let wanted = Wanted { tuple, source, class: 0, one_shot: true, timeout_ms, nat: None, helper: None };
        Ok((self.tuple_between(master), wanted))
    }

    fn tuple_between(&self, ends: &Ends) -> Tuple {
        let Ends { src, dst, sport, dport } = *ends;
        let tuple = Tuple::new(src, dst, self.proto.0, sport, dport);
        Tuple { selector: tuple.selector.with_zone(self.zone), ..tuple }
    }
}

/// The unspecified address of the family of another.
fn any_like(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => [0; 4].into(),
        IpAddr::V6(_) => [0; 16].into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lowered(change: &str) -> Result<(Tuple, Wanted), String> {
        let mut json: serde_json::Value = serde_json::from_str(
            r#"{"proto":"tcp","master":{"src":"10.0.0.2","dst":"198.51.100.2","sport":40000,"dport":21},
            "tuple":{"src":"198.51.100.2","dst":"10.0.0.2","sport":20,"dport":5001},"timeout":"5m"}"#,
        )
        .unwrap();
        let change: serde_json::Value = serde_json::from_str(change).unwrap();
        json.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::from_value::<NewExpectation>(json).unwrap().lower()
    }

    #[test]
    fn as_much_of_the_source_is_kept_as_counts() {
        for (source, mask, src, sport) in [
            ("exact", SourceMask::Exact, "198.51.100.2", 20),
            ("any-port", SourceMask::AnyPort, "198.51.100.2", 0),
            ("any", SourceMask::Any, "0.0.0.0", 0),
        ] {
            let (master, wanted) = lowered(&format!(r#"{{"source":"{source}","zone":7}}"#)).unwrap();
            assert_eq!((wanted.source, wanted.timeout_ms), (mask, 300_000));
            let expected = &wanted.tuple;
            assert_eq!((expected.source().to_string(), expected.selector.sport()), (src.to_owned(), sport));
            assert_eq!(
                (expected.destination().to_string(), expected.selector.dport()),
                ("10.0.0.2".to_owned(), 5001)
            );
            assert_eq!([master.selector.zone(), expected.selector.zone()], [7, 7]);
        }
    }

    #[test]
    fn what_cannot_be_met_is_refused() {
        for (change, said) in [
            (r#"{"proto":"gre"}"#, "no ports"),
            (r#"{"timeout":"0"}"#, "at once"),
            (r#"{"tuple":{"src":"2001:db8::1","dst":"2001:db8::2","dport":5001}}"#, "one family"),
        ] {
            assert!(lowered(change).unwrap_err().contains(said), "{change}");
        }
    }
}
