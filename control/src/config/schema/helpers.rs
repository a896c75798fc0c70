//! The section `helpers`: which helpers read which connections.

use std::borrow::Cow;
use std::fmt;

use garde::Validate;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sluice_conntrack::helpers::HelperId;

use super::matches::{match_keys, matches_of, rule};
use super::nat::is_false;
use super::policy::{Family, MAX_RULES, Rule, Status};
use crate::config::path::Step;
use crate::config::values::{Addresses, Helper, IcmpType, List, Mark, PortRange, Protocol};

match_keys! {
    rule! {
        /// A helper, and the connections that it reads: those whose first packet, as it came in, every given match fits.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
        #[serde(
            rename_all = "kebab-case",
            deny_unknown_fields,
            default,
            expecting = "a mapping (ports, matches, loose)"
        )]
        pub struct HelperRule {
            /// The helper. In a mapping by name the key says it.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = Helper(HelperId::Ftp))]
            pub name: Option<Helper>,

            /// The servers' ports. Left out: those that are assigned to the protocol.
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(skip)]
            #[schemars(example = 21)]
            pub ports: Option<List<PortRange>>,

            /// Expect connections of other addresses than those of the connection itself, too, if it announces them.
            #[serde(skip_serializing_if = "is_false")]
            #[garde(skip)]
            #[schemars(example = true)]
            pub loose: bool,
        }
    }
}

match_keys! { matches_of! { HelperRule } }

/// Which helpers read which connections: a list, of which the first that fits decides, or a mapping by the helpers' names.
#[derive(Clone, Debug, PartialEq)]
pub enum Helpers {
    /// The list.
    List(Vec<HelperRule>),
    /// The mapping, in the order written.
    ByName(Vec<(Helper, HelperRule)>),
}

impl Default for Helpers {
    fn default() -> Helpers {
        Helpers::List(Vec::new())
    }
}

impl Helpers {
    /// Each with its place in the section, and the helper that is named there.
    pub fn iter(&self) -> Box<dyn Iterator<Item = (Step, Option<HelperId>, &HelperRule)> + '_> {
        match self {
            Helpers::List(rules) => Box::new(
                rules
                    .iter()
                    .enumerate()
                    .map(|(index, rule)| (Step::from(index), rule.name.map(|name| name.0), rule)),
            ),
            Helpers::ByName(rules) => {
                Box::new(rules.iter().map(|(name, rule)| (Step::from(name.0.name()), Some(name.0), rule)))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Helpers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Helpers, D::Error> {
        from.deserialize_any(HelpersVisitor)
    }
}

struct HelpersVisitor;

impl<'de> Visitor<'de> for HelpersVisitor {
    type Value = Helpers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of helpers, or a mapping by their names")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, rules: A) -> Result<Helpers, A::Error> {
        let rules = Vec::deserialize(SeqAccessDeserializer::new(rules))?;
        match rules.len() > MAX_RULES {
            true => Err(A::Error::custom(format_args!("more helpers than {MAX_RULES}"))),
            false => Ok(Helpers::List(rules)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Helpers, A::Error> {
        let mut rules = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            let helper =
                HelperId::named(&key).ok_or_else(|| A::Error::unknown_field(&key, Helper::names()))?;
            rules.push((Helper(helper), map.next_value()?));
        }
        Ok(Helpers::ByName(rules))
    }
}

impl Serialize for Helpers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Helpers::List(rules) => to.collect_seq(rules),
            Helpers::ByName(rules) => to.collect_map(rules.iter().map(|(name, rule)| (name, rule))),
        }
    }
}

impl JsonSchema for Helpers {
    fn schema_name() -> Cow<'static, str> {
        "Helpers".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut in_list = generator.subschema_for::<HelperRule>();
        let mut by_name = in_list.clone();
        in_list.insert("required".to_owned(), serde_json::json!(["name"]));
        by_name.insert("not".to_owned(), serde_json::json!({ "required": ["name"] }));
        json_schema!({
            "type": ["array", "object"],
            "items": in_list,
            "propertyNames": { "enum": Helper::names() },
            "additionalProperties": by_name,
        })
    }
}
