//! From the file's types to the plain data that the tracking crate takes.

use ipnet::IpNet;
use sluice_conntrack::entry::Status;
use sluice_conntrack::forward::MAX_PORTS;
use sluice_conntrack::tracker::sctp::SctpState;
use sluice_conntrack::tracker::tcp::TcpState;
use sluice_conntrack::tuple::Family;
use sluice_conntrack::{Configuration, Direction, PortId, State, policy, settings};

use super::path::{Path, Problem};
use super::rules::{LOCAL, no_interface};
use super::schema::Config;
use super::schema_conntrack::{Conntrack, Preset, Timeouts};
use super::schema_policy::{self as rules, DefaultAction, Rule};
use super::values::{List, Seconds};
use super::values_match::IcmpType;
use super::values_net::{Prefix, Protocol};

/// A timeout in the file, and the same in the settings.
type Timeout = (fn(&mut Timeouts) -> &mut Option<Seconds>, fn(&mut settings::Timeouts) -> &mut u32);

#[rustfmt::skip]
const TIMEOUTS: [Timeout; 26] = [
    (|t| &mut t.tcp.none, |s| &mut s.tcp_ms[TcpState::None as usize]),
    (|t| &mut t.tcp.syn_sent, |s| &mut s.tcp_ms[TcpState::SynSent as usize]),
    (|t| &mut t.tcp.syn_recv, |s| &mut s.tcp_ms[TcpState::SynRecv as usize]),
    (|t| &mut t.tcp.established, |s| &mut s.tcp_ms[TcpState::Established as usize]),
    (|t| &mut t.tcp.fin_wait, |s| &mut s.tcp_ms[TcpState::FinWait as usize]),
    (|t| &mut t.tcp.close_wait, |s| &mut s.tcp_ms[TcpState::CloseWait as usize]),
    (|t| &mut t.tcp.last_ack, |s| &mut s.tcp_ms[TcpState::LastAck as usize]),
    (|t| &mut t.tcp.time_wait, |s| &mut s.tcp_ms[TcpState::TimeWait as usize]),
    (|t| &mut t.tcp.close, |s| &mut s.tcp_ms[TcpState::Close as usize]),
    (|t| &mut t.tcp.syn_sent2, |s| &mut s.tcp_ms[TcpState::SynSent2 as usize]),
    (|t| &mut t.tcp.max_retrans, |s| &mut s.tcp_max_retrans_ms),
    (|t| &mut t.tcp.unacknowledged, |s| &mut s.tcp_unacknowledged_ms),
    (|t| &mut t.udp.unreplied, |s| &mut s.udp_unreplied_ms),
    (|t| &mut t.udp.stream, |s| &mut s.udp_stream_ms),
    (|t| &mut t.icmp, |s| &mut s.icmp_ms),
    (|t| &mut t.icmpv6, |s| &mut s.icmpv6_ms),
    (|t| &mut t.sctp.closed, |s| &mut s.sctp_ms[SctpState::Closed as usize]),
    (|t| &mut t.sctp.cookie_wait, |s| &mut s.sctp_ms[SctpState::CookieWait as usize]),
    (|t| &mut t.sctp.cookie_echoed, |s| &mut s.sctp_ms[SctpState::CookieEchoed as usize]),
    (|t| &mut t.sctp.established, |s| &mut s.sctp_ms[SctpState::Established as usize]),
    (|t| &mut t.sctp.shutdown_sent, |s| &mut s.sctp_ms[SctpState::ShutdownSent as usize]),
    (|t| &mut t.sctp.shutdown_recd, |s| &mut s.sctp_ms[SctpState::ShutdownRecd as usize]),
    (|t| &mut t.sctp.shutdown_ack_sent, |s| &mut s.sctp_ms[SctpState::ShutdownAckSent as usize]),
    (|t| &mut t.sctp.heartbeat_sent, |s| &mut s.sctp_ms[SctpState::HeartbeatSent as usize]),
    (|t| &mut t.gre.unreplied, |s| &mut s.gre_unreplied_ms),
    (|t| &mut t.gre.stream, |s| &mut s.gre_stream_ms),
];
const GENERIC: Timeout = (|t| &mut t.generic, |s| &mut s.generic_ms);

fn all_timeouts() -> impl Iterator<Item = Timeout> {
    TIMEOUTS.into_iter().chain([GENERIC])
}

impl Conntrack {
    /// The settings of tracking: the preset's, with what the file says otherwise.
    pub fn settings(&self) -> settings::Settings {
        let preset = match self.preset {
            Preset::Classic => settings::Preset::Classic,
            Preset::Linux => settings::Preset::Linux,
        };
        let max_entries = u32::try_from(self.max_entries.0).unwrap_or(u32::MAX);
        let mut settings = settings::Settings {
            tcp: settings::TcpOptions {
                loose: self.tcp.loose,
                be_liberal: self.tcp.be_liberal,
                ignore_invalid_rst: self.tcp.ignore_invalid_rst,
                max_retrans: self.tcp.max_retrans,
                window_tracking: self.tcp.window_tracking,
            },
            checksum: self.checksum,
            quote_checksum: self.quote_checksum,
            reject_when_full: self.reject_when_full,
            accounting: self.accounting,
            timestamp: self.timestamp,
            ..settings::Settings::of(preset, max_entries)
        };
        let mut written = self.timeouts.clone();
        for (in_file, in_settings) in all_timeouts() {
            if let Some(Seconds(seconds)) = *in_file(&mut written) {
                *in_settings(&mut settings.timeouts) = seconds.saturating_mul(1000);
            }
        }
        settings
    }
}

impl Config {
    /// The same with everything written out that is otherwise filled in: forwarding, and the preset's timeouts.
    #[must_use]
    pub fn resolved(mut self) -> Config {
        self.forwarding = Some(self.forwarding());
        let mut settings = self.conntrack.settings();
        for (in_file, in_settings) in all_timeouts() {
            let seconds = *in_settings(&mut settings.timeouts) / 1000;
            *in_file(&mut self.conntrack.timeouts) = (seconds > 0).then_some(Seconds(seconds));
        }
        self
    }

    /// The number of an interface: its place among their names in alphabetical order. `local` is the box itself.
    pub fn port(&self, name: &str) -> Option<PortId> {
        if name == LOCAL {
            return Some(PortId::LOCAL);
        }
        let place = self.interfaces.keys().position(|key| key == name)?;
        u8::try_from(place).ok().map(PortId)
    }

    /// All that a shard works by. Fails only for a configuration that [`super::check`] refuses.
    pub fn configuration(&self) -> Result<Configuration, Problem> {
        let mut zones = [0; MAX_PORTS];
        for (zone, interface) in zones.iter_mut().zip(self.interfaces.values()) {
            *zone = interface.zone;
        }
        let settings = self.conntrack.settings();
        let configuration = Configuration::new(settings, self.policy()?, self.lower_forwarding()?);
        Ok(Configuration { zones, renumbers: self.nat.renumber, ..configuration.with_nat(self.nat()?) })
    }

    /// The rules. Fails only for a configuration that [`super::check`] refuses.
    pub fn policy(&self) -> Result<policy::Policy, Problem> {
        let section = Path::root().join("untracked");
        let untracked = self.untracked.iter().enumerate();
        let untracked = untracked.map(|(index, rule)| self.matches(rule, &section.join(index)));
        let section = Path::root().join("zones");
        let zones = self.zones.iter().enumerate().map(|(index, rule)| {
            // Here `zone` is what the rule gives, not what it looks at.
            let matches = self.matches(&Rule { zone: None, ..rule.clone() }, &section.join(index))?;
            Ok((matches, rule.zone.unwrap_or_default()))
        });
        let section = Path::root().join("policy").join("rules");
        let rules = self.policy.rules.iter().enumerate();
        let rules = rules.map(|(index, rule)| self.rule(rule, &section.join(index)));
        Ok(policy::Policy {
            untracked: untracked.collect::<Result<_, _>>()?,
            zones: zones.collect::<Result<_, _>>()?,
            rules: rules.collect::<Result<_, _>>()?,
            default: match self.policy.default {
                DefaultAction::Accept => policy::Outcome::Accept,
                DefaultAction::Drop => policy::Outcome::Drop,
                DefaultAction::Reject => policy::Outcome::Reject,
            },
        })
    }

    fn rule(&self, rule: &Rule, place: &Path) -> Result<policy::Rule, Problem> {
        use policy::RuleAction;
        let action = match rule.action {
            Some(rules::Action::Accept) => RuleAction::Accept,
            Some(rules::Action::Drop) => RuleAction::Drop,
            Some(rules::Action::Reject) => RuleAction::Reject,
            Some(rules::Action::Mark(mark)) => RuleAction::Mark(mark),
            Some(rules::Action::Log) => RuleAction::Log,
            None => return Err(Problem::at(place.clone(), format!("`{place}` lacks the key `action`"))),
        };
        Ok(policy::Rule { name: rule.name.clone(), matches: self.matches(rule, place)?, action })
    }

    pub(super) fn matches(&self, rule: &Rule, place: &Path) -> Result<policy::Match, Problem> {
        let ports = |key: &str, names: &Option<List<String>>| {
            let port =
                |name: &String| self.port(name).ok_or_else(|| no_interface(name, self, place.join(key)));
            values(names).map(port).collect::<Result<Vec<_>, _>>()
        };
        Ok(policy::Match {
            states: rule.state.as_ref().map(|states| states.iter().map(state).collect()),
            ingress: ports("in", &rule.in_)?,
            egress: ports("out", &rule.out)?,
            family: rule.family.map(|family| match family {
                rules::Family::Ipv4 => Family::V4,
                rules::Family::Ipv6 => Family::V6,
            }),
            source: values(&rule.source).map(prefix).collect(),
            destination: values(&rule.destination).map(prefix).collect(),
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
                rules::Direction::Original => Direction::Original,
                rules::Direction::Reply => Direction::Reply,
            }),
            status: rule.status.as_ref().map(|all| all.iter().map(status).collect()),
        })
    }
}

fn values<T>(list: &Option<List<T>>) -> impl Iterator<Item = &T> {
    list.iter().flat_map(List::iter)
}

fn state(state: &rules::State) -> State {
    match state {
        rules::State::New => State::New,
        rules::State::Established => State::Established,
        rules::State::Related => State::Related,
        rules::State::Invalid => State::Invalid,
        rules::State::Untracked => State::Untracked,
    }
}

fn status(status: &rules::Status) -> Status {
    match status {
        rules::Status::SeenReply => Status::SEEN_REPLY,
        rules::Status::Assured => Status::ASSURED,
        rules::Status::Confirmed => Status::CONFIRMED,
        rules::Status::Snat => Status::SRC_NAT,
        rules::Status::Dnat => Status::DST_NAT,
    }
}

pub(super) fn prefix(prefix: &Prefix) -> policy::Prefix {
    let Prefix(net) = prefix;
    match net {
        IpNet::V4(v4) => policy::Prefix::new(v4.addr().into(), v4.prefix_len()),
        IpNet::V6(v6) => policy::Prefix::new(v6.addr().into(), v6.prefix_len()),
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
    use super::*;

    fn config(rest: &str) -> Config {
        let interfaces = "{inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}";
        let text = format!("version: 1\ninterfaces: {interfaces}\n{rest}");
        super::super::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn only_match(rule: &str) -> policy::Match {
        let config = config(&format!("policy: {{rules: [{{action: accept, {rule}}}]}}"));
        config.policy().unwrap().rules.remove(0).matches
    }

    #[test]
    fn an_empty_file_gives_the_presets() {
        for (name, preset) in [("classic", settings::Preset::Classic), ("linux", settings::Preset::Linux)] {
            let config = config(&format!("conntrack: {{preset: {name}, max-entries: 500K}}"));
            assert_eq!(config.conntrack.settings(), settings::Settings::of(preset, 500_000));
        }
        assert_eq!(config("").policy().unwrap(), policy::Policy::default());
    }

    #[test]
    fn each_timeout_lands_in_a_place_of_its_own() {
        let mut file = Timeouts::default();
        for (number, (in_file, _)) in all_timeouts().enumerate() {
            *in_file(&mut file) = Some(Seconds(1000 + number as u32));
        }
        let settings = Conntrack { timeouts: file, ..Conntrack::default() }.settings();
        for (number, (_, in_settings)) in all_timeouts().enumerate() {
            assert_eq!(*in_settings(&mut settings.timeouts.clone()), 1_000_000 + 1000 * number as u32);
        }
    }

    #[test]
    fn a_timeout_keeps_its_name() {
        let config = config("conntrack: {timeouts: {tcp: {close-wait: 7s}, sctp: {established: 9s}}}");
        let timeouts = config.conntrack.settings().timeouts;
        assert_eq!(timeouts.tcp_ms[TcpState::CloseWait as usize], 7_000);
        assert_eq!(timeouts.sctp_ms[SctpState::Established as usize], 9_000);
    }

    #[test]
    fn what_the_rfcs_ask_beyond_linux_is_set_key_by_key() {
        let set = |text: &str| {
            let lowered = config(text).configuration().unwrap();
            (lowered.settings.quote_checksum, lowered.settings.reject_when_full, lowered.renumbers)
        };
        assert_eq!(set(""), (false, false, false));
        assert_eq!(set("conntrack: {quote-checksum: true}"), (true, false, false));
        assert_eq!(set("conntrack: {reject-when-full: true}"), (false, true, false));
        assert_eq!(set("nat: {renumber: true}"), (false, false, true));
    }

    #[test]
    fn zones_come_from_interfaces_and_rules() {
        let mut config = config("zones: [{in: inside, source: 10.1.0.0/16, zone: 7}]");
        config.interfaces.get_mut("outside").unwrap().zone = 3;
        let lowered = config.configuration().unwrap();
        assert_eq!(lowered.zones[..3], [0, 3, 0]);
        let [(matches, zone)] = &lowered.policy.zones[..] else { panic!("one rule") };
        assert_eq!((matches.zone, *zone), (None, 7));
        assert_eq!(matches.ingress, [PortId(0)]);
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

        let lowered = only_match("source: 10.1.2.3/8, mark: 0xff/0xf0, zone: 3, direction: reply");
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
