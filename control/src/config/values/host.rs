//! Where the box's own network stack is, behind an interface.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The host side of an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The network namespace that its TAP is in; `None` for that of the daemon.
    pub namespace: Option<String>,
}

/// The same as a mapping.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a host side (namespace)")]
struct InNamespace {
    namespace: String,
}

impl<'de> Deserialize<'de> for Host {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Host, D::Error> {
        from.deserialize_any(HostVisitor)
    }
}

struct HostVisitor;

impl<'de> Visitor<'de> for HostVisitor {
    type Value = Host;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, or a mapping (namespace)")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Host, E> {
        match value {
            true => Ok(Host::default()),
            false => Err(E::invalid_value(Unexpected::Bool(false), &"true, or no such key")),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Host, A::Error> {
        let InNamespace { namespace } = InNamespace::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Host { namespace: Some(namespace) })
    }
}

impl Serialize for Host {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.namespace {
            None => to.serialize_bool(true),
            Some(namespace) => InNamespace { namespace: namespace.clone() }.serialize(to),
        }
    }
}

impl JsonSchema for Host {
    fn schema_name() -> Cow<'static, str> {
        "Host".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "oneOf": [
            { "const": true },
            {
                "type": "object",
                "properties": { "namespace": { "type": "string" } },
                "required": ["namespace"],
                "additionalProperties": false
            }
        ] })
    }
}
