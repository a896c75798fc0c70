//! What the numbers of a verdict are called in the file, and where that stands.

use std::fmt;

use serde::Serialize;
use sluice_conntrack::PortId;
use sluice_conntrack::ids::RuleId;

use crate::config::{Config, DEFAULT_RULE, LOCAL, Path, Source};

/// A rule: its name, or its list and index, and `FILE:LINE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// The name.
    #[serde(rename = "rule")]
    pub name: String,
    /// The place, where it stands in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{} ({place})", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// All names of a configuration.
#[derive(Clone, Debug)]
pub struct Names {
    /// The interfaces, by the numbers of their ports.
    pub interfaces: Vec<String>,
    /// The rules of the policy.
    pub rules: Vec<Named>,
    /// The policy's default.
    pub default: Named,
    /// The rules that translate destinations.
    pub destination: Vec<Named>,
    /// The rules that translate sources.
    pub source: Vec<Named>,
    /// The rules that exempt packets from tracking.
    pub untracked: Vec<Named>,
    /// The rules that give zones.
    pub zones: Vec<Named>,
}

impl Names {
    /// Those of a configuration, which was read from there.
    pub fn of(config: &Config, source: &Source) -> Names {
        let list = |section: Path, default: &str, names: Vec<Option<&String>>| -> Vec<Named> {
            let paths: Vec<Path> = (0..names.len()).map(|index| section.join(index)).collect();
            let places = source.places(&paths);
            let name = |(index, name): (usize, Option<&String>)| {
                name.cloned().unwrap_or_else(|| default.replace("{}", &index.to_string()))
            };
            let names = names.into_iter().enumerate().map(name);
            names.zip(places).map(|(name, place)| Named { name, place }).collect()
        };
        let root = Path::root();
        let rules = |section: Path, rules: &[crate::config::Rule]| {
            let default = format!("{section}[{{}}]");
            list(section, &default, rules.iter().map(|rule| rule.name.as_ref()).collect())
        };
        let nat = |side: &str, rules: &[crate::config::NatRule]| {
            let names = rules.iter().map(|rule| rule.name.as_ref()).collect();
            list(root.join("nat").join(side), &format!("{side}-{{}}"), names)
        };
        let policy = root.join("policy");
        let default = source.places(&[policy.join("default")]).pop().flatten();
        Names {
            interfaces: config.interfaces.keys().cloned().collect(),
            rules: rules(policy.join("rules"), &config.policy.rules),
            default: Named { name: DEFAULT_RULE.to_owned(), place: default },
            destination: nat("destination", &config.nat.destination),
            source: nat("source", &config.nat.source),
            untracked: rules(root.join("untracked"), &config.untracked),
            zones: rules(root.join("zones"), &config.zones),
        }
    }

    /// The name of a port's interface; `local` is the box itself.
    pub fn interface(&self, port: PortId) -> &str {
        match port.is_local() {
            true => LOCAL,
            false => self.interfaces.get(usize::from(port.0)).map_or("?", String::as_str),
        }
    }

    /// The rule of the policy that decided.
    pub fn rule(&self, rule: Option<RuleId>) -> &Named {
        rule.and_then(|RuleId(number)| self.rules.get(usize::from(number))).unwrap_or(&self.default)
    }
}
