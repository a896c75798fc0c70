//! The section `export`: who else is told of connections that begin and end.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{Endpoint, Facility, Seconds, Size};

/// What is told of connections, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    default,
    expecting = "a mapping (journal, syslog, ipfix)"
)]
pub struct Export {
    /// The NAT journal: who had which address and port when, on the box's own disk. `sluice nat who-owned` asks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal: Option<Journal>,

    /// Who gets a message of syslog (RFC 5424) of each begin and each end.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!([{"to": "udp://192.0.2.5:514"}]))]
    pub syslog: Vec<Syslog>,

    /// Who gets flow records and events of NAT by IPFIX (RFC 7011, RFC 8158).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = serde_json::json!([{"to": "udp://192.0.2.6:4739"}]))]
    pub ipfix: Vec<Ipfix>,
}

/// The NAT journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a mapping (directory, size, keep)")]
pub struct Journal {
    /// Where it is written. The directory is made where there is none, and is for nothing else.
    #[schemars(example = &"/var/lib/sluice/journal")]
    pub directory: PathBuf,

    /// How much it takes on the disk, at most: the oldest gives way. A connection takes some 90 bytes, of IPv6 some 180.
    #[serde(default = "default_size")]
    pub size: Size,

    /// For how long it is kept, at most.
    #[serde(default = "default_keep")]
    pub keep: Seconds,
}

/// Which connections somebody is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// None.
    None,
    /// Those whose addresses are translated.
    #[default]
    Translated,
    /// All.
    All,
}

/// A receiver of syslog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a mapping (to, facility, of, log-rules)"
)]
pub struct Syslog {
    /// Where it is: udp://ADDRESS:PORT, tcp://ADDRESS:PORT (RFC 6587, with the length of each message) or unix:///PATH.
    #[schemars(example = &"udp://192.0.2.5:514")]
    pub to: Endpoint,

    /// The facility of messages.
    #[serde(default = "default_facility")]
    pub facility: Facility,

    /// Of which connections it is told: `translated` ones, `all` or `none`.
    #[serde(default)]
    pub of: Told,

    /// Whether it is told what rules with `action: log` say of packets, too.
    #[serde(default)]
    pub log_rules: bool,
}

fn default_facility() -> Facility {
    Facility::DAEMON
}

/// A collector of IPFIX.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a mapping (to, domain, flows, active-timeout, nat-events)"
)]
pub struct Ipfix {
    /// Where it is: udp://ADDRESS:PORT or tcp://ADDRESS:PORT.
    #[schemars(example = &"udp://192.0.2.6:4739")]
    pub to: Endpoint,

    /// Number of the observation domain, which tells this box from others.
    #[serde(default)]
    pub domain: u32,

    /// Of which connections a flow record is sent when they end, and while they go on, with what has passed both ways: `all` or `translated` ones, or `none`.
    #[serde(default)]
    pub flows: Flows,

    /// After how long a flow that goes on is told of, and how often from then on, with what has passed since: 10s at least; 0 for never.
    #[serde(default = "default_active_timeout")]
    #[schemars(example = &"5m")]
    pub active_timeout: Seconds,

    /// Whether begins and ends of translated connections are sent as events of NAT.
    #[serde(default = "yes")]
    pub nat_events: bool,
}

/// Which connections are flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Flows {
    /// None.
    None,
    /// Those whose addresses are translated.
    Translated,
    /// All.
    #[default]
    All,
}

fn yes() -> bool {
    true
}

fn default_active_timeout() -> Seconds {
    Seconds(30 * 60)
}

fn default_size() -> Size {
    Size(10 << 30)
}

fn default_keep() -> Seconds {
    Seconds(30 * 86_400)
}

impl Ipfix {
    /// Whether it is told of flows that go on.
    pub fn tells_of_going_on(&self) -> bool {
        self.flows != Flows::None && self.active_timeout > Seconds(0)
    }
}

impl Export {
    /// The least time after which somebody is told of a flow that goes on, in seconds.
    pub fn active_timeout(&self) -> Option<u32> {
        self.ipfix.iter().filter(|ipfix| ipfix.tells_of_going_on()).map(|ipfix| ipfix.active_timeout.0).min()
    }

    /// Whether somebody is told of connections that are not translated.
    pub fn wants_untranslated(&self) -> bool {
        self.syslog.iter().any(|syslog| syslog.of == Told::All)
            || self.ipfix.iter().any(|ipfix| ipfix.flows == Flows::All)
    }

    /// Whether anybody is told of anything.
    pub fn is_empty(&self) -> bool {
        *self == Export::default()
    }
}
