//! From the rules of `policy`, `untracked` and `zones` to those that a shard goes by.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use sluice_conntrack::connection_counts::ConnectionLimit;
use sluice_conntrack::entry::Status;
use sluice_conntrack::limits::{self, LimitBy};
use sluice_conntrack::policy::{AddressSet, InSets};
use sluice_conntrack::synproxy;
use sluice_conntrack::tuple::Family;
use sluice_conntrack::{Direction, State, policy};

use crate::config::path::{Path, Problem};
use crate::config::rules::{no_interface, no_set};
use crate::config::schema::{self, Config, DefaultAction, Rule};
use crate::config::values::{Addresses, IcmpType, List, Protocol};

/// The rules. Fails only for a configuration that [`check`](crate::config::check) refuses.
pub(super) fn policy(config: &Config) -> Result<policy::Policy, Problem> {
    let section = Path::root().join("untracked");
    let untracked = config.untracked.iter().enumerate();
    let untracked = untracked.map(|(index, rule)| matches(config, rule, &section.join(index)));
    let section = Path::root().join("zones");
    let zones = config.zones.iter().enumerate().map(|(index, rule)| {
        // Here `zone` is what the rule gives, not what it looks at.
        let matches = matches(config, &Rule { zone: None, ..rule.clone() }, &section.join(index))?;
        Ok((matches, rule.zone.unwrap_or_default()))
    });
    let section = Path::root().join("policy").join("rules");
    let rules = config.policy.rules.iter().enumerate();
    let rules = rules.map(|(index, rule)| policy_rule(config, rule, &section.join(index)));
    Ok(policy::Policy {
        untracked: untracked.collect::<Result<_, _>>()?,
        zones: zones.collect::<Result<_, _>>()?,
        rules: rules.collect::<Result<_, _>>()?,
        default: match config.policy.default {
            DefaultAction::Accept => policy::Outcome::Accept,
            DefaultAction::Drop => policy::Outcome::Drop,
            DefaultAction::Reject => policy::Outcome::Reject,
        },
    })
}

fn policy_rule(config: &Config, rule: &Rule, path: &Path) -> Result<policy::Rule, Problem> {
    use policy::RuleAction;
    let action = match rule.action {
        Some(schema::Action::Accept) => RuleAction::Accept,
        Some(schema::Action::Drop) => RuleAction::Drop,
        Some(schema::Action::Reject) => RuleAction::Reject,
        Some(schema::Action::Mark(mark)) => RuleAction::Mark(mark),
        Some(schema::Action::Log) => RuleAction::Log,
        Some(schema::Action::Synproxy(schema::Synproxy { mss, wscale, sack_perm })) => {
            RuleAction::Synproxy(synproxy::Synproxy { mss, wscale, sack_perm })
        }
        None => return Err(Problem::at(path.clone(), format!("`{path}` lacks the key `action`"))),
    };
    Ok(policy::Rule { name: rule.name.clone(), matches: matches(config, rule, path)?, action })
}

/// What a rule looks at.
pub(super) fn matches(config: &Config, rule: &Rule, path: &Path) -> Result<policy::Match, Problem> {
    let ports = |key: &str, names: &Option<List<String>>| {
        let port =
            |name: &String| config.port(name).ok_or_else(|| no_interface(name, config, path.join(key)));
        values(names).map(port).collect::<Result<Vec<_>, _>>()
    };
    let (source, in_source) = addresses(config, &rule.source, &path.join("source"))?;
    let (destination, in_destination) = addresses(config, &rule.destination, &path.join("destination"))?;
    let sets = InSets { source: in_source, destination: in_destination };
    let sets = (sets != InSets::default()).then(|| Box::new(sets));
    Ok(policy::Match {
        states: rule.state.as_ref().map(|states| states.iter().map(state).collect()),
        ingress: ports("in", &rule.in_)?,
        egress: ports("out", &rule.out)?,
        family: rule.family.map(|family| match family {
            schema::Family::Ipv4 => Family::V4,
            schema::Family::Ipv6 => Family::V6,
        }),
        source,
        destination,
        sets,
        protocols: values(&rule.protocol).map(|protocol| protocol.0).collect(),
        source_ports: values(&rule.source_port).map(|range| range.first..=range.last).collect(),
        destination_ports: values(&rule.destination_port).map(|range| range.first..=range.last).collect(),
        icmp_types: values(&rule.icmp_type).flat_map(|kind| icmp_types(*kind, rule)).collect(),
        tcp_flags: rule.tcp_flags.map(|flags| policy::TcpFlags {
            mask: flags.mask,
            value: flags.set,
            invert: flags.negated,
        }),
        mark: rule.mark.map(|mark| (mark.value & mark.mask, mark.mask)),
        zone: rule.zone,
        direction: rule.direction.map(|direction| match direction {
            schema::Direction::Original => Direction::Original,
            schema::Direction::Reply => Direction::Reply,
        }),
        helpers: values(&rule.helper).map(|helper| helper.0).collect(),
        status: rule.status.as_ref().map(|all| all.iter().map(status).collect()),
        limit: rule.limit.map(|limit| lower_limit(&limit, rule)),
        connections: rule.connections.map(|connections| lower_connections(&connections, rule)),
    })
}

/// The addresses of a list: prefixes, or sets where there is one among them, of which what else is listed is one more.
fn addresses(
    config: &Config,
    list: &Option<List<Addresses>>,
    path: &Path,
) -> Result<(Vec<policy::Prefix>, Vec<Arc<AddressSet>>), Problem> {
    let prefixes: Vec<policy::Prefix> =
        values(list).filter_map(Addresses::prefix).map(policy::Prefix::from).collect();
    let mut sets = Vec::new();
    for addresses in values(list) {
        if let Addresses::Set(name) = addresses {
            let set = config.sets.get(name).ok_or_else(|| no_set(name, config, path.clone()))?;
            sets.push(set.elements.lowered());
        }
    }
    if sets.is_empty() {
        return Ok((prefixes, sets));
    }
    sets.extend((!prefixes.is_empty()).then(|| Arc::new(AddressSet::new(prefixes))));
    Ok((Vec::new(), sets))
}

/// A limit, which goes by what its rule says: where that is the same after a reload, so is the limit.
fn lower_limit(limit: &schema::Limit, rule: &Rule) -> limits::Limit {
    limits::Limit {
        id: id(rule),
        interval_us: limit.rate.interval().as_micros() as u64,
        burst: limit.burst,
        by: limit_by(limit.by, limit.ipv4_prefix, limit.ipv6_prefix),
        over: limit.over,
    }
}

/// The same of connections. What is open goes on being counted where another number may be open after a reload, or something else is done.
fn lower_connections(connections: &schema::Connections, rule: &Rule) -> ConnectionLimit {
    let counts = schema::Connections { most: 0, over: false, ..*connections };
    let counting = Rule { connections: Some(counts), limit: None, name: None, action: None, ..rule.clone() };
    ConnectionLimit {
        id: id(&counting),
        most: connections.most,
        by: limit_by(connections.by, connections.ipv4_prefix, connections.ipv6_prefix),
        over: connections.over,
    }
}

fn id(rule: &Rule) -> u64 {
    let mut id = DefaultHasher::new();
    format!("{rule:?}").hash(&mut id);
    id.finish()
}

fn limit_by(by: Option<schema::LimitBy>, v4: u8, v6: u8) -> LimitBy {
    let bits = limits::Bits { v4, v6 };
    match by {
        None => LimitBy::Rule,
        Some(schema::LimitBy::Source) => LimitBy::Source(bits),
        Some(schema::LimitBy::Destination) => LimitBy::Destination(bits),
    }
}

fn values<T>(list: &Option<List<T>>) -> impl Iterator<Item = &T> {
    list.iter().flat_map(List::iter)
}

fn state(state: &schema::State) -> State {
    match state {
        schema::State::New => State::New,
        schema::State::Established => State::Established,
        schema::State::Related => State::Related,
        schema::State::Invalid => State::Invalid,
        schema::State::Untracked => State::Untracked,
    }
}

fn status(status: &schema::Status) -> Status {
    match status {
        schema::Status::SeenReply => Status::SEEN_REPLY,
        schema::Status::Assured => Status::ASSURED,
        schema::Status::Confirmed => Status::CONFIRMED,
        schema::Status::Snat => Status::SRC_NAT,
        schema::Status::Dnat => Status::DST_NAT,
    }
}

/// A type of the protocols that the rule names; without one, a name means both families and a number ICMP.
fn icmp_types(kind: IcmpType, rule: &Rule) -> Vec<policy::IcmpType> {
    let named = matches!(kind, IcmpType::Named(_));
    let wanted = |protocol: Protocol| match &rule.protocol {
        Some(list) => list.iter().any(|listed| *listed == protocol),
        None => named || protocol == Protocol::ICMP,
    };
    let in_family = |protocol: Protocol, kind: Option<(u8, Option<u8>)>| {
        let (kind, code) = kind.filter(|_| wanted(protocol))?;
        Some(policy::IcmpType { protocol: protocol.0, kind, code })
    };
    let both = [in_family(Protocol::ICMP, kind.icmp()), in_family(Protocol::ICMPV6, kind.icmpv6())];
    both.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use sluice_conntrack::PortId;

    use super::super::tests::config;
    use super::*;

    fn only_match(rule: &str) -> policy::Match {
        let config = config(&format!("policy: {{rules: [{{action: accept, {rule}}}]}}"));
        super::policy(&config).unwrap().rules.remove(0).matches
    }

    #[test]
    fn family_and_status_are_matched() {
        let lowered = only_match("family: ipv6, status: [assured, seen-reply]");
        assert_eq!(lowered.family, Some(Family::V6));
        assert_eq!(lowered.status, Some([Status::ASSURED, Status::SEEN_REPLY].into_iter().collect()));
    }

    #[test]
    fn matches_become_plain_data() {
        let lowered = only_match("state: [new, related], in: outside, out: [inside, outside]");
        assert_eq!(lowered.states, Some([State::New, State::Related].into_iter().collect()));
        assert_eq!((lowered.ingress, lowered.egress), (vec![PortId(1)], vec![PortId(0), PortId(1)]));

        let lowered = only_match("protocol: tcp, destination-port: [22, 8000-8080], tcp-flags: '!syn'");
        assert_eq!((lowered.protocols, lowered.destination_ports), (vec![6], vec![22..=22, 8000..=8080]));
        assert_eq!(lowered.tcp_flags, Some(policy::TcpFlags { mask: 0x17, value: 0x02, invert: true }));

        let lowered = only_match("source: 10.0.0.0/8, mark: 0xff/0xf0, zone: 3, direction: reply");
        assert_eq!(lowered.source, [policy::Prefix::new([10, 0, 0, 0].into(), 8)]);
        assert_eq!((lowered.mark, lowered.zone), (Some((0xf0, 0xf0)), Some(3)));
        assert_eq!(lowered.direction, Some(Direction::Reply));
    }

    #[test]
    fn icmp_types_have_the_numbers_of_their_family() {
        let numbers = |rule: &str| {
            let types = only_match(rule).icmp_types;
            types.iter().map(|t| (t.protocol, t.kind, t.code)).collect::<Vec<_>>()
        };
        assert_eq!(numbers("icmp-type: echo-request"), [(1, 8, None), (58, 128, None)]);
        assert_eq!(numbers("icmp-type: echo-request, protocol: icmpv6"), [(58, 128, None)]);
        assert_eq!(
            numbers("icmp-type: [port-unreachable, 3/4], protocol: icmp"),
            [(1, 3, Some(3)), (1, 3, Some(4))]
        );
        assert_eq!(numbers("icmp-type: 8"), [(1, 8, None)]);
    }
}
