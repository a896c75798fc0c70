//! The part of the section `ha` that says which box answers for which addresses.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{AddressRange, InterfaceAddress, List, Percent, Seconds};

/// Addresses that belong together: one box answers for them at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a group (name, prefer, standby, addresses, nat, hosts, share, track-file)"
)]
pub struct Group {
    /// Its name, by which `sluice ha promote` and `demote` speak of it.
    #[schemars(example = &"g1")]
    pub name: String,

    /// The box that is active for it while all is well.
    #[schemars(example = &"a")]
    pub prefer: String,

    /// The box that takes its place. Left out: none does, and the preferred one is active from the start on. Else each box begins on standby
    /// and becomes active when it is promoted, as keepalived does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"b")]
    pub standby: Option<String>,

    /// The addresses that the active box has at its interfaces, each with the length of its network's prefix. What is masqueraded there
    /// has the group's address.
    pub addresses: BTreeMap<String, List<InterfaceAddress>>,

    /// The addresses that connections of the group are translated to by `nat`, besides those above.
    #[serde(default)]
    #[schemars(example = &["203.0.113.16/28"])]
    pub nat: Vec<AddressRange>,

    /// Hosts whose connections are the group's where they are not translated to an address of any group: those that have it as their
    /// router. Left out: such a connection is of the first group with an address at the interface where its client is.
    #[serde(default)]
    #[schemars(example = &["10.0.0.0/24"])]
    pub hosts: Vec<AddressRange>,

    /// How much of the table its connections may take while this box is on standby. Left out: what other groups leave of 90 %, in equal
    /// parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"50%")]
    pub share: Option<Percent>,

    /// A file that keepalived tracks for this group alone, as `ha.track-file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/run/sluice-track/g1")]
    pub track_file: Option<PathBuf>,
}

/// What happens when a box becomes active.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields, expecting = "a mapping (resets, adopt)")]
pub struct Takeover {
    /// For so long, a TCP segment of a connection that would be translated and that the box was not told of is answered by a reset: its
    /// ends begin anew at once, instead of waiting for a connection that has another port by now.
    pub resets: Seconds,

    /// Within that time silent connections become this box's own, and are told of. Others do with their next packet.
    pub adopt: Seconds,
}

impl Default for Takeover {
    fn default() -> Takeover {
        Takeover { resets: Seconds(60), adopt: Seconds(60) }
    }
}
