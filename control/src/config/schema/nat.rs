//! The section `nat`: rules that say which connections are translated, and to what.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::matches::{match_keys, matches_of, rule};
use super::policy::{Family, MAX_RULES, Rule, Status, sensible_name};
use crate::config::values::{
    AddressRange, Addresses, IcmpType, List, Mark, PortRange, Prefix, Protocol, Redirect, Yes,
};

/// Address translation. A connection's first packet walks each list once and the first rule that matches decides for
/// its whole life: the destination as the packet comes in, the source once the policy has let it pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a mapping (source, destination, renumber)"
)]
pub struct Nat {
    /// Rules that translate the source. They see the packet as the policy does, with the interface it leaves by. Each
    /// has one of the targets `masquerade`, `to`, `prefix` and `keep`.
    #[garde(length(max = MAX_RULES), dive)]
    pub source: Vec<NatRule>,

    /// Rules that translate the destination. They see the packet as it came in, before it is routed. Each has
    /// one of the targets `to`, `redirect`, `prefix` and `keep`.
    #[garde(length(max = MAX_RULES), dive)]
    #[schemars(example = serde_json::json!([
        {"in": "outside", "protocol": "tcp", "destination-port": 80, "to": "10.0.0.5:8080"},
        {"in": "outside", "protocol": "tcp", "destination-port": 443, "to": ["10.0.0.5:8443", "10.0.0.6:8443"]},
        {"in": "outside", "protocol": "udp", "destination-port": "5000-5099", "to": "10.0.0.5", "shift-to": 6000},
        {"in": "inside", "protocol": "udp", "destination-port": 53, "redirect": 5353},
        {"in": "outside", "destination": "198.51.100.0/24", "prefix": "10.8.0.0/24"},
    ]))]
    pub destination: Vec<NatRule>,

    /// Give IPv4 packets whose source is translated, and that may be fragmented, new identifications: those of hosts
    /// behind one address can be equal, and then parts of their packets be put together.
    #[garde(skip)]
    pub renumber: bool,
}

match_keys! {
    rule! {
        /// One rule: it applies to connections that every given match fits. A list matches if any of its values does.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
        #[serde(
            rename_all = "kebab-case",
            deny_unknown_fields,
            default,
            expecting = "a rule (matches and what to translate to)"
        )]
        pub struct NatRule {
            /// Name for counters, metrics and the log; letters, digits, `-`, `_` and `.`.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(custom(sensible_name))]
            #[schemars(example = &"guests")]
            pub name: Option<String>,

            /// Target: the address of the interface the connection leaves by.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = true)]
            pub masquerade: Option<Yes>,

            /// Target: the box itself, at the same port (`true`) or at this one.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = 5353)]
            pub redirect: Option<Redirect>,

            /// Target: one of these addresses, chosen by the client's; ranges, prefixes, and ports behind a colon.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = &"203.0.113.10-203.0.113.20")]
            pub to: Option<List<AddressRange>>,

            /// Target: the same host in this network, 1:1; as long as the rule's `source` (or `destination`).
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = "198.51.100.0/24")]
            pub prefix: Option<Prefix>,

            /// Target: no translation, whatever later rules say.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = true)]
            pub keep: Option<Yes>,

            /// Ports to choose from; ICMP's identifiers count as such. Left out: its own, or the next free in its class.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = "1024-65535")]
            pub ports: Option<PortRange>,

            /// What the first port of `destination-port` becomes; the others follow.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = 6000)]
            pub shift_to: Option<u16>,

            /// Draw the port at random, even where the connection's own is free.
            #[serde(skip_serializing_if = "is_false")]
            #[garde(skip)]
            #[schemars(example = true)]
            pub random: bool,

            /// Give a client the same address of several towards all servers.
            #[serde(skip_serializing_if = "is_false")]
            #[garde(skip)]
            #[schemars(example = true)]
            pub persistent: bool,

            /// A port for each connection (address-and-port-dependent), or one for all of a client's port.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = Mapping::EndpointIndependent)]
            pub mapping: Option<Mapping>,

            /// Who reaches a mapped port: its servers, or all that the policy accepts as new with status dnat.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = Filtering::EndpointIndependent)]
            pub filtering: Option<Filtering>,

            /// ICMP errors of these hosts have their own public addresses, not that of the connection.
            #[serde(skip_serializing_if = "is_false")]
            #[garde(skip)]
            #[schemars(example = true)]
            pub errors: bool,

            /// Masquerade what goes back over the interface it came by, so that answers do, too.
            #[serde(skip_serializing_if = "is_false")]
            #[garde(skip)]
            #[schemars(example = true)]
            pub hairpin: bool,
        }
    }
}

match_keys! { matches_of! { NatRule } }

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
pub(super) fn is_false(value: &bool) -> bool {
    !value
}

/// How long a translation of a source holds (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mapping {
    /// For one connection, as in Linux.
    AddressAndPortDependent,
    /// For all connections that a client has from one port at a time.
    EndpointIndependent,
}

/// Whose packets to a mapped port go to its client (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Filtering {
    /// Those of the servers that it speaks to, as in Linux.
    AddressAndPortDependent,
    /// Everybody's, of TCP, UDP, UDP-Lite and SCTP, as long as the client has any connection from there.
    EndpointIndependent,
}
