//! Rules: what they match and what they do, shared by `policy` and `untracked`.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sluice_conntrack::helpers::HelperId;

use super::action::Action;
use super::limit::{Connections, Limit};
use super::matches::{match_keys, rule};
use crate::config::values::{
    Addresses, Helper, IcmpType, List, Mark, PortRange, Protocol, TcpFlags, is_name,
};

/// Most rules in one section: a rule set is walked once per connection, and a longer one is a mistake.
pub(crate) const MAX_RULES: usize = 10_000;

/// What `out:` calls the box itself.
pub(crate) const LOCAL: &str = "local";

/// What the policy's default goes by where rules are listed by name.
pub const DEFAULT_RULE: &str = "default";

/// What may pass: ordered rules, the first match decides, the default where none matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping (default, rules)")]
pub struct Policy {
    /// What happens to a packet that no rule matches.
    #[garde(skip)]
    pub default: DefaultAction,

    /// The rules, in order. `accept`, `drop`, `reject` and `synproxy` decide; `mark` and `log` do their work and go on.
    #[garde(length(max = MAX_RULES), dive)]
    pub rules: Vec<Rule>,
}

/// What happens to a packet that no rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DefaultAction {
    /// It passes.
    Accept,
    /// It does not, and nobody is told.
    #[default]
    Drop,
    /// It does not, and its sender is told.
    Reject,
}

match_keys! {
    rule! {
        /// One rule: it matches a packet that every given key matches. A list matches if any of its values does.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
        #[serde(
            rename_all = "kebab-case",
            deny_unknown_fields,
            default,
            expecting = "a rule (matches and an action)"
        )]
        pub struct Rule {
            /// States: new, established, related, invalid, untracked.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = State::New)]
            pub state: Option<List<State>>,

            /// TCP flags that are set. `syn` is the opening segment (ACK, RST and FIN clear), `!syn` any other.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = "!syn")]
            pub tcp_flags: Option<TcpFlags>,

            /// Helpers that expected the connection, by what another one announced.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = Helper(HelperId::Ftp))]
            pub helper: Option<List<Helper>>,

            /// The packet's direction within its connection.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = Direction::Original)]
            pub direction: Option<Direction>,

            /// How many packets the rule is for: those within a rate or, with `over`, beyond it; of all, or of each source or destination. It is asked before `connections`.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = serde_json::json!({"rate": "10/s", "burst": 5, "by": "source"}))]
            pub limit: Option<Limit>,

            /// Which new connections the rule is for: those that with all open ones are so many or, with `over`, more; with `state: new`.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = serde_json::json!({"most": 20, "by": "source"}))]
            pub connections: Option<Connections>,

            /// Name for counters, metrics and the log; letters, digits, `-`, `_` and `.`.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(custom(sensible_name))]
            #[schemars(example = &"web")]
            pub name: Option<String>,

            /// What to do: accept, drop, reject, synproxy (with what clients are offered), log, or `mark:` with the mark to set.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = Action::Accept)]
            pub action: Option<Action>,
        }
    }
}

pub(super) fn sensible_name(name: &Option<String>, _: &()) -> garde::Result {
    match name {
        Some(name) if !is_name(name, 63) => Err(garde::Error::new(format!(
            "`{name}` cannot be a name; use 1 to 63 letters, digits, `-`, `_` and `.`, a letter or digit first"
        ))),
        _ => Ok(()),
    }
}

/// What connection tracking makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It would open a connection.
    New,
    /// It belongs to a connection that has been answered, or is the answer.
    Established,
    /// It belongs to another connection: an ICMP error about it, or what a helper expected.
    Related,
    /// It cannot be made sense of.
    Invalid,
    /// It is not tracked.
    Untracked,
}

/// Address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// What is known about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It has been answered.
    SeenReply,
    /// It is never evicted under pressure.
    Assured,
    /// It is in the table: its first packet has passed.
    Confirmed,
    /// Its source is translated.
    Snat,
    /// Its destination is translated.
    Dnat,
}

/// A packet's direction within its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// As the first packet went.
    Original,
    /// The other way.
    Reply,
}
