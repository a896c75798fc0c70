//! The name of a helper.

use std::borrow::Cow;
use std::fmt;
use std::sync::LazyLock;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sluice_conntrack::helpers::HelperId;

/// A helper, by Linux's name of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Helper(pub HelperId);

static NAMES: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| HelperId::ALL.iter().map(|helper| helper.name()).collect());

impl Helper {
    /// The names of all helpers.
    pub fn names() -> &'static [&'static str] {
        &NAMES
    }
}

impl fmt::Display for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for Helper {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Helper, D::Error> {
        from.deserialize_str(HelperVisitor)
    }
}

struct HelperVisitor;

impl Visitor<'_> for HelperVisitor {
    type Value = Helper;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a helper: {}", Helper::names().join(", "))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Helper, E> {
        let named = HelperId::named(text).map(Helper);
        named.ok_or_else(|| E::unknown_variant(text, Helper::names()))
    }
}

impl Serialize for Helper {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0.name())
    }
}

impl JsonSchema for Helper {
    fn schema_name() -> Cow<'static, str> {
        "Helper".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Helper::names() })
    }
}
