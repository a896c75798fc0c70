//! What rules of the policy do.

use std::fmt;

use schemars::{JsonSchema, Schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "kebab-case", transform = name_synproxy)]
pub enum Action {
    /// The packet passes.
    Accept,
    /// It does not, and nobody is told.
    Drop,
    /// It does not, and its sender is told: a TCP reset, or ICMP unreachable.
    Reject,
    /// Set the connection's mark, and go on with the next rule.
    Mark(u32),
    /// Write a line to the log, rate-limited, and go on with the next rule.
    Log,
    /// Of TCP that is NEW: answer the SYN with a SYN cookie, and let the connection begin when that comes back; of all else go on.
    Synproxy(Synproxy),
}

/// What clients are offered in the name of servers that are asked later, as nft has it: what those would offer themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(
    rename_all = "kebab-case",
    deny_unknown_fields,
    expecting = "what clients are offered (mss, wscale, sack-perm)"
)]
pub struct Synproxy {
    /// The maximum segment size in bytes over IPv4, if the interface's MTU has room for it; over IPv6 it is 20 less.
    #[serde(default = "usual_mss")]
    #[schemars(range(min = 88))]
    pub mss: u16,

    /// The window scale, as servers have it (`ss -ti` shows theirs behind `wscale:`). Left out: windows are not scaled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 14))]
    pub wscale: Option<u8>,

    /// Whether selective acknowledgements (SACK) are permitted.
    #[serde(default)]
    pub sack_perm: bool,
}

impl Synproxy {
    /// What most servers offer: Linux's, on Ethernet.
    const USUAL: Synproxy = Synproxy { mss: 1460, wscale: Some(7), sack_perm: true };
}

fn usual_mss() -> u16 {
    Synproxy::USUAL.mss
}

/// `synproxy` alone is a word, too.
fn name_synproxy(schema: &mut Schema) {
    if let Some(ways) = schema.get_mut("oneOf").and_then(|ways| ways.as_array_mut()) {
        let described = "The same, with what most servers offer: `{mss: 1460, wscale: 7, sack-perm: true}`.";
        ways.push(serde_json::json!({"description": described, "type": "string", "const": "synproxy"}));
    }
}

impl Action {
    /// The actions that are one word, each with what it stands for.
    const WORDS: [(&'static str, Action); 5] = [
        ("accept", Action::Accept),
        ("drop", Action::Drop),
        ("reject", Action::Reject),
        ("log", Action::Log),
        ("synproxy", Action::Synproxy(Synproxy::USUAL)),
    ];

    /// What it is called.
    pub fn word(&self) -> &'static str {
        match self {
            Action::Accept => "accept",
            Action::Drop => "drop",
            Action::Reject => "reject",
            Action::Mark(_) => "mark",
            Action::Log => "log",
            Action::Synproxy(_) => "synproxy",
        }
    }
}

impl<'de> Deserialize<'de> for Action {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Action, D::Error> {
        from.deserialize_any(ActionVisitor)
    }
}

struct ActionVisitor;

impl<'de> Visitor<'de> for ActionVisitor {
    type Value = Action;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("accept, drop, reject, log, synproxy or { mark: NUMBER }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Action, E> {
        let known = Action::WORDS.iter().find(|(word, _)| *word == text);
        match (known, text) {
            (Some((_, action)), _) => Ok(*action),
            (None, "mark") => Err(E::custom("`mark` lacks the mark to set, expected { mark: NUMBER }")),
            (None, _) => {
                Err(E::unknown_variant(text, &["accept", "drop", "reject", "log", "synproxy", "mark"]))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Action, A::Error> {
        let mut action = None;
        while let Some(key) = map.next_key::<String>()? {
            action = Some(match key.as_str() {
                "mark" => Action::Mark(map.next_value()?),
                "synproxy" => Action::Synproxy(map.next_value()?),
                other => return Err(A::Error::unknown_field(other, &["mark", "synproxy"])),
            });
        }
        action.ok_or_else(|| A::Error::missing_field("mark"))
    }
}

impl Serialize for Action {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if Action::WORDS.iter().any(|(_, action)| action == self) {
            return to.serialize_str(self.word());
        }
        let mut map = to.serialize_map(Some(1))?;
        match self {
            Action::Mark(mark) => map.serialize_entry(self.word(), mark)?,
            Action::Synproxy(synproxy) => map.serialize_entry(self.word(), synproxy)?,
            Action::Accept | Action::Drop | Action::Reject | Action::Log => {}
        }
        map.end()
    }
}
