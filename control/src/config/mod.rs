//! The configuration: one YAML file, one schema.
//!
//! `schema*` are the serde types, `values*` their scalars with units, `load` turns text into a [`Config`],
//! `explain` puts serde's messages in the reader's words, `spans` remembers where each key stands, `rules*` say
//! what a type cannot, `lower*` turn the types into the tracking crate's own, `error` shows what was found,
//! and `reference` writes the reference file and the JSON schema from the same types.

mod error;
mod explain;
mod load;
mod lower;
mod lower_nat;
mod lower_routes;
mod path;
mod reference;
mod rules;
mod rules_nat;
mod rules_pools;
mod rules_routes;
mod schema;
mod schema_conntrack;
mod schema_nat;
mod schema_policy;
mod spans;
mod values;
mod values_match;
mod values_nat;
mod values_net;

pub use error::{ConfigError, Finding};
pub use load::{parse, read, to_yaml};
pub use path::{Path, Problem, Step};
pub use reference::{json_schema, reference_yaml};
pub use rules::{DEFAULT_RULE, check};
pub use schema::{
    Config, Control, Cores, Forwarding, Idle, Interface, Memory, Metrics, Neighbour, Route, System,
};
pub use schema_conntrack::{
    Conntrack, GreTimeouts, Preset, SctpTimeouts, Tcp, TcpTimeouts, Timeouts, UdpTimeouts,
};
pub use schema_nat::{Mapping, Nat, NatRule};
pub use schema_policy::{Action, DefaultAction, Direction, Family, Policy, Rule, State, Status};
pub use values::{Count, List, Seconds, Size};
pub use values_match::{IcmpType, Mark, TcpFlags};
pub use values_nat::{AddressRange, Redirect, Yes};
pub use values_net::{Device, InterfaceAddress, MacAddress, PortRange, Prefix, Protocol};
