//! The section `routes`: where packets go.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use ipnet::{Ipv4Net, Ipv6Net};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::path::Path;
use crate::config::values::{Destinations, Prefix};

/// Routes: a list of them, or a mapping that says whose are followed beside those of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Routes {
    /// Whose routes are followed.
    pub follow: Option<Follow>,
    /// Those of the file.
    pub list: Vec<Route>,
}

/// Whose routes the box follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Follow {
    /// Those of the network stacks behind its host sides.
    Host,
}

/// The same as a mapping.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a mapping (follow, static)")]
struct Following {
    follow: Follow,
    #[serde(default, rename = "static", skip_serializing_if = "Vec::is_empty")]
    list: Vec<Route>,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, expecting = "a route (to, via, dev)")]
pub struct Route {
    /// Destinations that take this route; `default` is all of the next router's family, IPv4 without one.
    #[schemars(example = &"default")]
    pub to: Destinations,

    /// The next router; left out where the destinations are on the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "203.0.113.254")]
    pub via: Option<IpAddr>,

    /// The interface packets leave by.
    #[schemars(example = &"outside")]
    pub dev: String,
}

impl Route {
    /// Destinations that take this route.
    pub fn prefix(&self) -> Prefix {
        match self.to {
            Destinations::Prefix(prefix) => prefix,
            Destinations::Default if self.via.is_some_and(|via| via.is_ipv6()) => {
                Prefix(Ipv6Net::default().into())
            }
            Destinations::Default => Prefix(Ipv4Net::default().into()),
        }
    }
}

impl Routes {
    /// Where the routes of the file stand in it.
    pub fn path(&self) -> Path {
        let section = Path::root().join("routes");
        if self.follow.is_some() { section.join("static") } else { section }
    }
}

impl<'de> Deserialize<'de> for Routes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Routes, D::Error> {
        from.deserialize_any(RoutesVisitor)
    }
}

struct RoutesVisitor;

impl<'de> Visitor<'de> for RoutesVisitor {
    type Value = Routes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of routes, or a mapping (follow, static)")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, routes: A) -> Result<Routes, A::Error> {
        let list = Vec::deserialize(SeqAccessDeserializer::new(routes))?;
        Ok(Routes { follow: None, list })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Routes, A::Error> {
        let Following { follow, list } = Following::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Routes { follow: Some(follow), list })
    }
}

impl Serialize for Routes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.follow {
            None => to.collect_seq(&self.list),
            Some(follow) => Following { follow, list: self.list.clone() }.serialize(to),
        }
    }
}

impl JsonSchema for Routes {
    fn schema_name() -> Cow<'static, str> {
        "Routes".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let route = generator.subschema_for::<Route>();
        json_schema!({
            "type": ["array", "object"],
            "items": route,
            "properties": {
                "follow": { "enum": ["host"] },
                "static": { "type": "array", "items": route },
            },
            "required": ["follow"],
            "additionalProperties": false,
        })
    }
}
