//! How many packets a rule is for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::Rate;

/// How many packets a rule is for, as nft's `limit`: those within a rate, or those beyond it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a limit, such as { rate: 10/s, burst: 5 }"
)]
pub struct Limit {
    /// How many in the long run: 10/s, 3/m, 100/h, 5/d.
    pub rate: Rate,

    /// How many at once after a silence.
    #[serde(default = "default_burst")]
    pub burst: u32,

    /// Whose packets are counted together: those from one address, or to one. Left out: all that the rule matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<LimitBy>,

    /// Bits of IPv4 addresses that are one, with `by`.
    #[serde(default = "default_ipv4_prefix")]
    pub ipv4_prefix: u8,

    /// Bits of IPv6 addresses that are one, with `by`.
    #[serde(default = "default_ipv6_prefix")]
    pub ipv6_prefix: u8,

    /// Whether the rule is for what goes beyond the rate, and not for what keeps to it.
    #[serde(default)]
    pub over: bool,
}

/// How many connections are open that come to the rule, as iptables' `connlimit` and nft's `ct count`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "a number of connections, such as { most: 20, by: source }"
)]
pub struct Connections {
    /// How many may be open at one time. One of TCP is until both sides have closed it, or it is reset.
    pub most: u32,

    /// Whose connections are counted together: those from one address, or to one. Left out: all that come to the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<LimitBy>,

    /// Bits of IPv4 addresses that are one, with `by`.
    #[serde(default = "default_ipv4_prefix")]
    pub ipv4_prefix: u8,

    /// Bits of IPv6 addresses that are one, with `by`.
    #[serde(default = "default_ipv6_prefix")]
    pub ipv6_prefix: u8,

    /// Whether the rule is for connections beyond that many, and not for those within.
    #[serde(default)]
    pub over: bool,
}

/// Whose packets a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LimitBy {
    /// Those from one address.
    Source,
    /// Those to one address.
    Destination,
}

/// As iptables and nft.
const fn default_burst() -> u32 {
    5
}

const fn default_ipv4_prefix() -> u8 {
    32
}

/// What one subscriber has at least.
const fn default_ipv6_prefix() -> u8 {
    64
}
