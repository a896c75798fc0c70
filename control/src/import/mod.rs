//! `sluice import`: from the rules of a Linux box to a configuration, and to a list of what could not be carried over.
//!
//! Readers ([`iptables`], [`nft`]) turn what tools write into one [`model`]. `host` is what the box says of its interfaces. `flatten` makes
//! lists of chains that jump to one another, `paths` puts those together as packets meet them, `sections` turns lists into rules, and `interfaces` into keys of those.
//! `draft` takes out what `sluice check` would refuse, and `write` makes text of the rest. A rule is carried over exactly, or it is
//! in the report.

mod address_sets;
mod draft;
mod flatten;
mod host;
mod interfaces;
mod iptables;
mod model;
mod nft;
mod paths;
mod report;
mod rules;
mod scope;
mod sections;
mod set;
mod sysctl;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::config::{self, Config, Conntrack, Forwarding, Preset, Route};
use address_sets::AddressSets;
use host::{Links, Ports};
use model::{Field, Match, Table};
use report::{Origin, Report};
use scope::Scope;
use sections::{Item, Sections};

pub use report::{Effect, Leftover};

/// A file: what it is called, and its text.
pub type File = (String, String);

/// What is known of the Linux box.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// What iptables-save has written.
    pub iptables: Vec<File>,
    /// What ip6tables-save has written.
    pub ip6tables: Vec<File>,
    /// What `nft -j list ruleset` has written.
    pub nft: Vec<File>,
    /// What `ip -j addr` has written.
    pub addresses: Vec<File>,
    /// What `ip -j route` and `ip -6 -j route` have written.
    pub routes: Vec<File>,
    /// What `sysctl -a` has written.
    pub sysctl: Vec<File>,
    /// The interfaces that become ports, each with the name that it gets, if that is another.
    pub interfaces: Vec<(String, Option<String>)>,
}

/// What has come of it.
#[derive(Debug)]
pub struct Imported {
    /// The configuration.
    pub yaml: String,
    /// What is not as it was.
    pub leftovers: Vec<Leftover>,
}

/// Makes a configuration of a Linux box's rules.
///
/// # Errors
/// Why nothing can be made of them: no interface is known, a file is no JSON, chains are too long or go round in a circle.
pub fn import(sources: &Sources) -> Result<Imported, String> {
    let mut report = Report::default();
    let mut files = 0..;
    let (mut tables, mut sets) = (Vec::new(), AddressSets::default());
    for (list, is_v4) in [(&sources.iptables, true), (&sources.ip6tables, false)] {
        for ((name, text), number) in list.iter().zip(&mut files) {
            let source = iptables::Source { number, name, text, is_v4 };
            tables.extend(iptables::read(&source, &mut report));
        }
    }
    for ((name, text), number) in sources.nft.iter().zip(&mut files) {
        tables.extend(nft::read(number, name, text, &mut report, &mut sets)?);
    }
    let mut links = Links::default();
    for ((name, text), number) in sources.addresses.iter().zip(&mut files) {
        links = host::read_links(number, name, text)?;
    }
    let mut ports = host::ports(&sources.interfaces, &links, &named(&tables), &mut report)?;
    let mut routes = Vec::new();
    for ((name, text), number) in sources.routes.iter().zip(&mut files) {
        routes.extend(host::read_routes(number, name, text, &ports, &mut report)?);
    }
    let mut conntrack = Conntrack { preset: Preset::Linux, ..Conntrack::default() };
    for ((name, text), number) in sources.sysctl.iter().zip(&mut files) {
        sysctl::read(number, name, text, &mut conntrack, &mut ports, &mut report);
    }
    let mut reader = paths::Reader { tables: &tables, ports: &ports, report: &mut report };
    let (arriving, leaving) = (reader.arriving()?, reader.leaving()?);
    interfaces::filter_reverse_paths(&arriving, &mut ports, &mut report);
    interfaces::clamp_mss(&leaving, &mut ports, &mut report);
    let mut draft = draft(&tables, &ports, &mut report, &mut sets)?;
    draft.config.sets = sets.into_config();
    draft.config.conntrack = conntrack;
    draft.routes = best(routes, &mut report);
    draft.settle(&mut report)?;
    let yaml = write::write(&draft);
    match config::parse("sluice.yaml", yaml.as_bytes()) {
        Ok(config) if config == draft.config() => Ok(Imported { yaml, leftovers: report.into_leftovers() }),
        Ok(_) => {
            Err("what was written reads as something else; this is a fault of `sluice import`".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The sections of the configuration that rules come to.
fn draft(
    tables: &[Table],
    ports: &Ports,
    report: &mut Report,
    sets: &mut AddressSets,
) -> Result<draft::Draft, String> {
    let mut config = Config::new(ports.interfaces());
    config.forwarding = Some(Forwarding::Routed);
    families(tables, report);
    let mut reader = paths::Reader { tables, ports, report };
    let (input, output, forward) = (reader.input()?, reader.output()?, reader.forward()?);
    let (destinations, sources) = (reader.destinations()?, reader.sources()?);
    let tracking = reader.tracking()?;

    let mut sections = Sections { ports, report, sets, proxied: Vec::new(), names: BTreeSet::new() };
    let (from_ports, to_ports) =
        (Scope::default().with(Field::In, ports.all()), Scope::default().with(Field::Out, ports.all()));
    let passing = from_ports.clone().with(Field::Out, ports.all());
    let mut policy = sections.policy(input, &from_ports, false);
    policy.extend(sections.policy(output, &to_ports, false));
    policy.extend(sections.policy(forward, &passing, true));
    sections::report_shared_limits(&policy, sections.report);
    let tracking = sections.tracking(tracking);
    Ok(draft::Draft {
        config,
        routes: Vec::new(),
        untracked: tracking.untracked,
        zones: tracking.zones,
        helpers: tracking.helpers,
        destination: sections.nat(destinations, &Scope::default(), false),
        source: sections.nat(sources, &to_ports, true),
        policy,
    })
}

/// Says so if nothing is known of a family: what is of it does not pass.
fn families(tables: &[Table], report: &mut Report) {
    for (is_missing, family) in [
        (tables.iter().all(|table| !table.families.0), "IPv4"),
        (tables.iter().all(|table| !table.families.1), "IPv6"),
    ] {
        if is_missing {
            let place = family.to_owned();
            let origin = Origin { order: (usize::MAX, 0), place, text: String::new(), note: String::new() };
            let why = "no rules were given, and no packet passes";
            report.left(&Rc::new(origin), Effect::Fewer, why);
        }
    }
}

/// The interfaces that rules name.
fn named(tables: &[Table]) -> Vec<String> {
    let rules = tables.iter().flat_map(|table| &table.chains).flat_map(|chain| &chain.rules);
    let names = rules.flat_map(|rule| &rule.matches).flat_map(|one| match one {
        Match::Interface { names, .. } => names.as_slice(),
        _ => &[],
    });
    let names: BTreeSet<&String> = names.filter(|name| *name != "lo" && !name.ends_with('+')).collect();
    names.into_iter().cloned().collect()
}

/// Of routes to the same network, that of the lowest metric.
fn best(routes: Vec<(Route, u32, Rc<Origin>)>, report: &mut Report) -> Vec<Item<Route>> {
    let mut kept: BTreeMap<ipnet::IpNet, (Route, u32, Rc<Origin>)> = BTreeMap::new();
    for route in routes {
        let other = match kept.remove(&route.0.prefix().0) {
            Some(other) if other.1 <= route.1 => {
                kept.insert(other.0.prefix().0, other);
                route
            }
            other => {
                kept.insert(route.0.prefix().0, route);
                match other {
                    Some(other) => other,
                    None => continue,
                }
            }
        };
        report.left(&other.2, Effect::Other, "another route to the same network has a lower metric");
    }
    kept.into_values().map(|(route, _, origin)| (route, Some(origin))).collect()
}
