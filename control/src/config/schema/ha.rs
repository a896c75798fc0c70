//! The section `ha`: the other boxes, what they are told of connections, and over which Redis.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::groups::{Group, Takeover};
use crate::config::values::{EngineUrl, Size};

/// High availability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a mapping (cluster, box, replicate, verify, engine, peers, witness, groups, takeover, track-file, announce)"
)]
pub struct Ha {
    /// The name of the cluster, the same on all its boxes.
    #[schemars(example = &"edge")]
    pub cluster: String,

    /// The name of this box, as the others call it among their `peers`.
    #[serde(rename = "box")]
    #[schemars(example = &"a")]
    pub name: String,

    /// Which connections the peers are told of: `assured` ones, `all`, or `none`. Of what is answered once clients ask again, so
    /// that `all` is worth its price only where they do not.
    #[serde(default)]
    #[schemars(example = Replicate::Assured)]
    pub replicate: Replicate,

    /// What is asked about connections that peers tell of: `none`, or `policy`, whether the rules here would let them begin. Then they have
    /// the mark that the rules give, and those that another connection has announced begin anew behind a takeover, unless rules accept them
    /// as new.
    #[serde(default)]
    #[schemars(example = Verify::None)]
    pub verify: Verify,

    /// The box's own Redis (or Valkey), where it writes what it tells. It lies in memory alone and needs no persistence.
    pub engine: Engine,

    /// The Redis of each other box, under its name: there this one reads. Without groups there is one at most, whose connections are kept beside
    /// this box's own, for which the table has half its room then.
    #[serde(default)]
    #[schemars(example = serde_json::json!({"b": {"url": "redis://10.99.0.12:6380"}}))]
    pub peers: BTreeMap<String, Peer>,

    /// A Redis on a third host, by which one of two boxes that do not hear each other is active, and not both: it has a lease of each group for
    /// three seconds. A box that reaches neither its peer nor the witness is not active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({"url": "rediss://10.99.0.30:6380", "ca": "/etc/sluice/ha-ca.pem"}))]
    pub witness: Option<Peer>,

    /// Groups of addresses, each of which one box answers for at a time.
    #[serde(default)]
    #[schemars(example = serde_json::json!([{"name": "g1", "prefer": "a", "standby": "b", "addresses": {"inside": "10.0.0.1/24", "outside": "203.0.113.1/24"}, "nat": ["203.0.113.16/28"]}]))]
    pub groups: Vec<Group>,

    /// What happens when this box becomes active for a group.
    #[serde(default)]
    pub takeover: Takeover,

    /// A file that keepalived tracks (`track_file`): 1 while another box is active for a group whose connections this one does not all know,
    /// for two minutes at most; 0 otherwise. It is about all groups that have no file of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/run/sluice-track/state")]
    pub track_file: Option<PathBuf>,

    /// Where routing daemons find routes to the addresses of groups, to announce them: metric 10 where this box is active, 1000 where it
    /// stands by and knows all connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = serde_json::json!({"table": 84}))]
    pub announce: Option<Announce>,
}

/// Where routing daemons look for routes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping (table, namespace)")]
pub struct Announce {
    /// The number of a routing table of the kernel that no rule leads to. FRR takes those up to 252.
    #[schemars(example = &84)]
    pub table: u32,

    /// The network namespace of the routing daemon; left out: the one that Sluice is started in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"uplink")]
    pub namespace: Option<String>,
}

/// Which connections others are told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Replicate {
    /// None.
    None,
    /// Those that are assured.
    #[default]
    Assured,
    /// All.
    All,
}

/// What is asked about connections that peers tell of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// Nothing.
    #[default]
    None,
    /// Whether the policy would let them begin.
    Policy,
}

/// The box's own Redis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a mapping (url, memory, user, password-file)"
)]
pub struct Engine {
    /// Its socket, `unix:///PATH`, or its address and port, `redis://ADDRESS:PORT`.
    #[schemars(example = &"unix:///run/redis-sluice/redis.sock")]
    pub url: EngineUrl,

    /// How much of what was told of a group it keeps for a peer that comes late, at most. One that comes later still is told of all connections anew.
    #[serde(default = "default_memory")]
    pub memory: Size,

    /// The user of Redis' access control list that the box is there. Left out: the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"writer")]
    pub user: Option<String>,

    /// A file with the password that Redis wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/sluice/ha.password")]
    pub password_file: Option<PathBuf>,
}

fn default_memory() -> Size {
    Size(256 << 20)
}

/// The Redis of another box, or of a witness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a mapping (url, user, password-file, ca, cert, key)"
)]
pub struct Peer {
    /// Its address and port, `rediss://ADDRESS:PORT` over TLS and `redis://ADDRESS:PORT` in the clear, or its socket, `unix:///PATH`.
    #[schemars(example = &"rediss://10.99.0.12:6380")]
    pub url: EngineUrl,

    /// The user of Redis' access control list that the box is there. Left out: the default one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"reader")]
    pub user: Option<String>,

    /// A file with the password that Redis wants.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/sluice/ha-b.password")]
    pub password_file: Option<PathBuf>,

    /// A file of PEM with the certificates of those who may have signed its own, which is for the address in `url`. Needed for TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/sluice/ha-ca.pem")]
    pub ca: Option<PathBuf>,

    /// A file of PEM with the certificate by which this box shows who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/sluice/ha.pem")]
    pub cert: Option<PathBuf>,

    /// A file of PEM with the private key of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/sluice/ha.key")]
    pub key: Option<PathBuf>,
}
