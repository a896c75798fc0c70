//! A daemon's answers for a reader's eyes.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::config::{HelperRule, Host};
use crate::socket::protocol::{
    Counted, Cuts, ExportStatus, GroupStatus, HaStatus, HelperStatistics, NatRuleStatistics, Neighbour,
    PeerStatus, PoolStatistics, PortDescription, Response, RunningConfiguration, SetSummary, Statistics,
    StreamStatus, Timeout, TrialStatus, WitnessStatus,
};

/// An answer for a reader's eyes.
pub(super) fn text_of(answer: &Response) -> String {
    match answer {
        Response::Statistics(statistics) => statistics_text(statistics),
        Response::Drops { drops, invalid } => {
            let drops = counted_text("drops by reason", drops, "no packet was dropped");
            drops + "\n" + &counted_text("INVALID packets by reason", invalid, "no packet was INVALID")
        }
        Response::Ports { ports } => ports_text(ports),
        Response::Neighbours { neighbours } => neighbours.iter().map(neighbour_line).collect(),
        Response::Routes { routes, .. } => routes.iter().map(|route| format!("{route}\n")).collect(),
        Response::Route(route) => format!("{route}\n"),
        Response::NatRules { rules } => nat_rules_text(rules),
        Response::Pools { pools } => pools_text(pools),
        Response::Helpers { helpers, rules } => helpers_text(helpers, rules),
        Response::Groups { groups } => groups_text(groups),
        Response::HaStatus(status) => ha_text(status),
        Response::ExportStatus(status) => export_text(status),
        Response::Reloaded { revision, cuts } => {
            format!("configuration {revision} is in force\n{}", cuts_line(cuts.as_ref()))
        }
        Response::OnTrial { revision, seconds, cuts } => format!(
            "configuration {revision} is in force for {seconds} s; what was before comes back then, unless `sluice confirm` comes first\n{}",
            cuts_line(cuts.as_ref())
        ),
        Response::Applied { revision, file, cuts, .. } => {
            let file = file.display();
            format!("configuration {revision} is in force, and is in {file}\n{}", cuts_line(cuts.as_ref()))
        }
        Response::Sets { sets } => sets_text(sets),
        Response::Set { prefixes, .. } => prefixes.iter().map(|prefix| format!("{prefix}\n")).collect(),
        Response::SetChanged { set, added, deleted, prefixes } => {
            format!("set {set}: {added} added, {deleted} deleted, {prefixes} prefixes\n")
        }
        Response::LogLevel { level } => format!("{}\n", level.name()),
        Response::Configuration(running) => configuration_text(running),
        Response::Timeouts { timeouts } => timeouts.iter().map(timeout_line).collect(),
        Response::Count { .. }
        | Response::Entries { .. }
        | Response::Connection { .. }
        | Response::Events { .. }
        | Response::Trace(_)
        | Response::Capture(_)
        | Response::Saved { .. }
        | Response::Loaded { .. }
        | Response::Sources(_)
        | Response::EntryCreated
        | Response::EntryExists
        | Response::ExpectationCreated
        | Response::ExpectationsDeleted { .. }
        | Response::Shards { .. }
        | Response::Considered(_)
        | Response::Cuts(_)
        | Response::Error { .. } => String::new(),
    }
}

fn sets_text(sets: &[SetSummary]) -> String {
    if sets.is_empty() {
        return "no set\n".to_owned();
    }
    let mut text = String::from("set                        ipv4       ipv6    memory KiB  file\n");
    for SetSummary { set, ipv4, ipv6, memory_bytes, file } in sets {
        let file = file.as_ref().map_or_else(|| "-".to_owned(), |file| file.display().to_string());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{set:<20} {ipv4:>10} {ipv6:>10} {:>13}  {file}", memory_bytes.div_ceil(1024));
    }
    text
}

/// The text, and in front of it, as comments, which it is.
fn configuration_text(
    RunningConfiguration { revision, status, trial, text, .. }: &RunningConfiguration,
) -> String {
    let trial = trial.as_ref().map_or_else(String::new, |trial| format!("# {}\n", trial_text(trial)));
    let (file, hash, since) = (status.file.display(), &status.sha256, &status.since);
    format!("# configuration {revision} of {file}, in force since {since}\n# sha256 {hash}\n{trial}{text}")
}

/// What becomes of a configuration on trial.
fn trial_text(TrialStatus { left_s, before }: &TrialStatus) -> String {
    let (file, since) = (before.file.display(), &before.since);
    format!(
        "ON TRIAL: in {left_s} s {file} comes back as it was since {since}, unless `sluice confirm` comes first"
    )
}

fn cuts_line(cuts: Option<&Cuts>) -> String {
    cuts.map_or_else(String::new, |cuts| format!("{cuts}\n"))
}

fn groups_text(groups: &[GroupStatus]) -> String {
    let line = |it: &GroupStatus| {
        let standby = it.standby.as_deref().unwrap_or("nobody");
        let GroupStatus { name, prefer, takeovers, .. } = it;
        format!(
            "group {name} {}: {prefer} preferred, {standby} stands by, {takeovers} takeovers\n",
            it.state.name()
        )
    };
    groups.iter().map(line).collect()
}

fn export_text(status: &ExportStatus) -> String {
    if status.sinks.is_empty() {
        return "nobody is told of connections (export)\n".to_owned();
    }
    let mut text = format!("{:<10} {:>14} {:>10}  {}\n", "sink", "written", "lost", "to");
    for it in &status.sinks {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<10} {:>14} {:>10}  {}", it.sink, it.written, it.lost, it.to);
    }
    if let Some(journal) = &status.journal {
        let since = i64::try_from(journal.oldest_s).ok().and_then(|it| Timestamp::from_second(it).ok());
        let mib = journal.bytes.div_ceil(1 << 20);
        let _ = writeln!(text, "the journal takes {mib} MiB and begins at {}", since.unwrap_or_default());
    }
    text
}

fn timeout_line(timeout: &Timeout) -> String {
    format!("{} = {}\n", timeout.name, timeout.seconds)
}

fn ha_text(status: &HaStatus) -> String {
    let HaStatus { cluster, name, engine, streams, dirty_entries, ends_lost, standby_entries, .. } = status;
    let up = if engine.up { "up" } else { "DOWN" };
    let mut text = format!("box {name} of cluster {cluster}\nredis {} {up}\n", engine.url);
    for StreamStatus { group, term, sequence, records_sent, bulks_sent } in streams {
        let _ = writeln!(
            text,
            "tells of {group} by term {term}: {records_sent} records and {bulks_sent} times all in {sequence} stream entries"
        );
    }
    let _ = writeln!(text, "{dirty_entries} connections wait to be told of, {ends_lost} ends lost");
    let _ = writeln!(text, "stands by for {standby_entries} connections");
    text += &groups_text(&status.groups);
    status.peers.iter().for_each(|peer| text += &peer_text(peer));
    if let Some(WitnessStatus { url, up, leases }) = &status.witness {
        let held: Vec<_> =
            leases.iter().filter(|lease| lease.held).map(|lease| lease.group.as_str()).collect();
        let held = if held.is_empty() { "none".to_owned() } else { held.join(", ") };
        let _ =
            writeln!(text, "witness {url} {}: leases of this box: {held}", if *up { "up" } else { "DOWN" });
    }
    text
}

fn peer_text(peer: &PeerStatus) -> String {
    let state = match (peer.up, peer.synced) {
        (false, _) => "DOWN",
        (true, false) => "syncing",
        (true, true) => "synced",
    };
    let lag = peer.lag_us.map_or_else(|| "-".to_owned(), |us| format!("{}.{:03} ms", us / 1000, us % 1000));
    let PeerStatus { name, group, url, term, .. } = peer;
    let mut text = format!("peer {name} {url} tells of {group}, {state}: lag {lag}, term {term}\n");
    let _ = writeln!(
        text,
        "  {}{} records installed, {} gaps, {} bulks",
        peer.role.map_or_else(String::new, |role| format!("it is {}; ", role.name())),
        peer.records_installed,
        peer.gaps,
        peer.bulks
    );
    for failures in peer.failures.iter().filter(|failures| failures.count > 0) {
        let _ = writeln!(text, "  not installed: {:<16} {:>12}", failures.reason, failures.count);
    }
    text
}

/// What was counted at all, under a title.
fn counted_text(title: &str, counted: &[Counted], none: &str) -> String {
    let seen: Vec<&Counted> = counted.iter().filter(|counted| counted.packets > 0).collect();
    if seen.is_empty() {
        return format!("{none}\n");
    }
    let lines = seen.iter().map(|Counted { name, packets }| format!("  {name:<20} {packets:>12}\n"));
    format!("{title}\n{}", lines.collect::<String>())
}

/// What stands in for a configuration that was refused is never in force unseen.
const FALLBACK: &str = "FALLBACK: the configuration file was wrong at the start, and the last good configuration is in force;\n\
    `sluice check FILE` says what is wrong, `sluice reload` puts the mended file in force\n";

fn statistics_text(statistics: &Statistics) -> String {
    let Statistics {
        version,
        uptime_s,
        revision,
        configuration,
        trial,
        fallback,
        entries,
        entries_limit,
        packets,
        balance,
        ports,
        rules,
        // What they do a second is shown by `sluice top`.
        workers: _,
        mbufs: _,
    } = statistics;
    let [came, went] = balance.sums();
    let share = *entries as f64 * 100.0 / (*entries_limit).max(1) as f64;
    let mut text = format!(
        "sluice {version}, up {}\nconfiguration {revision} of {}, in force since {}, sha256 {}\n{}{}entries {entries} of {entries_limit} ({share:.1} %)\n\n",
        duration_text(*uptime_s),
        configuration.file.display(),
        configuration.since,
        configuration.sha256,
        trial.as_ref().map_or_else(String::new, |trial| trial_text(trial) + "\n"),
        if *fallback { FALLBACK } else { "" }
    );
    text += &counted_text("packets by state", packets, "no packets");
    for (title, side, sum) in [("came", &balance.came, came), ("went", &balance.went, went)] {
        text += &format!(
            "\n{}",
            counted_text(&format!("packets that {title}: {sum}"), side, &format!("no packet {title}"))
        );
    }
    text += "\nport            rx packets     rx bytes  rx missed  rx errors  rx nombuf   tx packets     tx bytes    tx full  tx errors\n";
    for port in ports {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<15} {:>10} {:>12} {:>10} {:>10} {:>10} {:>12} {:>12} {:>10} {:>10}",
            port.name,
            port.rx_packets,
            port.rx_bytes,
            port.rx_missed,
            port.rx_errors,
            port.rx_nombuf,
            port.tx_packets,
            port.tx_bytes,
            port.tx_full,
            port.tx_errors
        );
    }
    text += "\nrule                                packets        bytes\n";
    for rule in rules {
        let _ = writeln!(text, "{:<30} {:>12} {:>12}", rule.rule, rule.packets, rule.bytes);
    }
    text
}

fn ports_text(ports: &[PortDescription]) -> String {
    let mut text = String::from(
        "port            link       speed  mac                 mtu  rx queues  tx queues  device\n",
    );
    for port in ports {
        let PortDescription { name, mac, mtu, rx_queues, tx_queues, device, driver, .. } = port;
        let link = if port.up { "up" } else { "down" };
        let host = match &port.host {
            None => String::new(),
            Some(Host { namespace: None }) => ", host".to_owned(),
            Some(Host { namespace: Some(namespace) }) => format!(", host in namespace {namespace}"),
        };
        let speed = port.speed_mbps.map_or_else(|| "-".to_owned(), speed_text);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name:<15} {link:<4} {speed:>11}  {mac} {mtu:>5} {rx_queues:>10} {tx_queues:>10}  {device} ({driver}){host}"
        );
    }
    text
}

/// As `ip neighbour` shows it.
fn neighbour_line(neighbour: &Neighbour) -> String {
    let Neighbour { address, dev, lladdr, state } = neighbour;
    let lladdr = lladdr.as_ref().map(|mac| format!(" lladdr {mac}")).unwrap_or_default();
    format!("{address} dev {dev}{lladdr} {}\n", state.to_uppercase())
}

fn helpers_text(helpers: &[HelperStatistics], rules: &[HelperRule]) -> String {
    if helpers.is_empty() {
        return "no helper\n".to_owned();
    }
    let mut text = String::from(
        "helper          connections       in all  expected     promised          met      expired      refused  turned off\n",
    );
    for one in helpers {
        let name = if one.on { one.helper.clone() } else { format!("{} (off)", one.helper) };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{name:<15} {:>11} {:>12} {:>9} {:>12} {:>12} {:>12} {:>12} {:>11}",
            one.connections,
            one.assigned,
            one.expectations,
            one.promised,
            one.met,
            one.expired,
            one.refused,
            one.turned_off
        );
    }
    text += "\nrules\n";
    for rule in rules {
        let name = rule.name.map(|name| name.to_string()).unwrap_or_default();
        let rest = HelperRule { name: None, ..rule.clone() };
        // Rules are plain data, so they are always valid JSON.
        let _ = writeln!(text, "  {name:<13} {}", serde_json::to_string(&rest).unwrap_or_default());
    }
    text
}

/// `25 Gbit/s`, `2.5 Gbit/s`, `100 Mbit/s`.
fn speed_text(mbps: u32) -> String {
    match mbps {
        ..1000 => format!("{mbps} Mbit/s"),
        _ => format!("{} Gbit/s", f64::from(mbps) / 1000.0),
    }
}

/// The two largest units: `3d 4h`, `5m 6s`, `7s`.
fn duration_text(seconds: u64) -> String {
    let parts = [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')];
    let split = parts.iter().scan(seconds, |rest, (size, unit)| {
        let count = *rest / size;
        *rest %= size;
        Some((count, unit))
    });
    let shown: Vec<String> = split
        .skip_while(|(count, unit)| *count == 0 && **unit != 's')
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    shown.join(" ")
}

/// The rules for a reader's eyes.
fn nat_rules_text(rules: &[NatRuleStatistics]) -> String {
    if rules.is_empty() {
        return "no NAT rule\n".to_owned();
    }
    let mut text = String::from("rule                 side               bound\n");
    for NatRuleStatistics { rule, side, bound } in rules {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{rule:<20} {:<11} {bound:>12}", side.as_str());
    }
    text
}

fn pools_text(pools: &[PoolStatistics]) -> String {
    if pools.is_empty() {
        return "no SNAT rule\n".to_owned();
    }
    let mut text = String::from(
        "pool                 addresses             tcp             udp           other        bound  exhausted\n",
    );
    for PoolStatistics { pool, addresses, ports, used, bound, exhausted } in pools {
        // Writing to a String cannot fail.
        let addresses = if *addresses == 0 { "-".to_owned() } else { addresses.to_string() };
        let _ = write!(text, "{pool:<20} {addresses:>9}");
        for ((_, used), (_, ports)) in used.named().into_iter().zip(ports.named()) {
            let share = if ports == 0 { "-".to_owned() } else { format!("{used}/{ports}") };
            let _ = write!(text, " {share:>15}");
        }
        let _ = writeln!(text, " {bound:>12} {exhausted:>10}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Helper;
    use crate::socket::protocol::{Balance, ConfigurationStatus, NatSide, PortStatistics, RuleStatistics};
    use crate::socket::protocol::{NextHop, Route, RouteKind};
    use sluice_conntrack::helpers::HelperId;

    fn counted(name: &str, packets: u64) -> Counted {
        Counted { name: name.to_owned(), packets }
    }

    #[test]
    fn durations_have_two_units() {
        let texts = [0, 7, 306, 3_600, 86_400 * 3 + 3_600 * 4 + 5].map(duration_text);
        assert_eq!(texts, ["0s", "7s", "5m 6s", "1h 0m", "3d 4h"]);
    }

    #[test]
    fn a_line_shows_a_port() {
        let inside = PortDescription {
            name: "inside".to_owned(),
            up: true,
            speed_mbps: Some(25_000),
            mac: "02:00:00:00:00:01".to_owned(),
            mtu: 1500,
            rx_queues: 2,
            tx_queues: 2,
            device: "0000:3b:00.0".to_owned(),
            driver: "net_ice".to_owned(),
            host: None,
        };
        let outside =
            PortDescription { name: "outside".to_owned(), up: false, speed_mbps: None, ..inside.clone() };
        let with = |namespace: Option<&str>| {
            let host = Some(Host { namespace: namespace.map(str::to_owned) });
            PortDescription { host, ..outside.clone() }
        };
        let hosts = [with(None), with(Some("routing"))].map(|port| ports_text(&[port]));
        assert!(
            hosts[0].ends_with("(net_ice), host\n")
                && hosts[1].ends_with("(net_ice), host in namespace routing\n")
        );
        let text = text_of(&Response::Ports { ports: vec![inside, outside] });
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows,
            [
                "port            link       speed  mac                 mtu  rx queues  tx queues  device",
                "inside          up     25 Gbit/s  02:00:00:00:00:01  1500          2          2  0000:3b:00.0 (net_ice)",
                "outside         down           -  02:00:00:00:00:01  1500          2          2  0000:3b:00.0 (net_ice)",
            ]
        );
        assert_eq!([100, 1000, 2500].map(speed_text), ["100 Mbit/s", "1 Gbit/s", "2.5 Gbit/s"]);
    }

    #[test]
    fn neighbours_and_routes_look_as_in_iproute2() {
        let neighbour = |lladdr: Option<&str>, state: &str| Neighbour {
            address: "10.0.0.2".parse().unwrap(),
            dev: "inside".to_owned(),
            lladdr: lladdr.map(str::to_owned),
            state: state.to_owned(),
        };
        let neighbours =
            vec![neighbour(Some("02:00:00:00:00:02"), "reachable"), neighbour(None, "incomplete")];
        assert_eq!(
            text_of(&Response::Neighbours { neighbours }),
            "10.0.0.2 dev inside lladdr 02:00:00:00:00:02 REACHABLE\n10.0.0.2 dev inside INCOMPLETE\n"
        );
        let out = Route {
            kind: RouteKind::Unicast,
            to: "::/0".to_owned(),
            via: "fe80::1".parse().ok(),
            dev: Some("outside".to_owned()),
            proto: Some("static".to_owned()),
            src: "2001:db8::1".parse().ok(),
            metric: None,
            nexthops: vec![],
        };
        let nowhere = Route {
            kind: RouteKind::Unreachable,
            to: "192.0.2.1".to_owned(),
            via: None,
            dev: None,
            proto: None,
            src: None,
            metric: None,
            nexthops: vec![],
        };
        let hop = |last: u8, weight| NextHop {
            via: Some([203, 0, 113, last].into()),
            dev: "outside".to_owned(),
            weight,
        };
        let several = Route {
            kind: RouteKind::Unicast,
            to: "198.51.100.0/24".to_owned(),
            proto: Some("bird".to_owned()),
            metric: Some(32),
            nexthops: vec![hop(2, 1), hop(3, 2)],
            ..nowhere.clone()
        };
        assert_eq!(
            text_of(&Response::Routes { routes: vec![out, nowhere, several], next: None }),
            "default via fe80::1 dev outside proto static src 2001:db8::1\n\
             unreachable 192.0.2.1\n\
             198.51.100.0/24 proto bird metric 32\n\
             \tnexthop via 203.0.113.2 dev outside weight 1\n\
             \tnexthop via 203.0.113.3 dev outside weight 2\n"
        );
    }

    #[test]
    fn only_what_happened_is_shown() {
        let answer = Response::Drops {
            drops: vec![counted("policy", 12), counted("tx-full", 0)],
            invalid: vec![counted("tcp-window", 0)],
        };
        let expected = "drops by reason\n  policy                         12\n\nno packet was INVALID\n";
        assert_eq!(text_of(&answer), expected);
    }

    #[test]
    fn statistics_are_readable_at_a_glance() {
        let statistics = Statistics {
            version: "0.1.0".to_owned(),
            uptime_s: 65,
            revision: 2,
            configuration: ConfigurationStatus {
                file: "/etc/sluice/sluice.yaml".into(),
                sha256: "ba78".to_owned(),
                since: "2026-11-30T09:30:00Z".to_owned(),
            },
            trial: None,
            fallback: false,
            entries: 5,
            entries_limit: 1000,
            packets: vec![counted("NEW", 5), counted("RELATED", 0)],
            balance: Balance {
                came: vec![counted("received", 9), counted("answers", 2), counted("link-messages", 0)],
                went: vec![counted("sent", 8), counted("dropped", 3)],
            },
            ports: vec![PortStatistics {
                name: "inside".to_owned(),
                rx_packets: 9,
                tx_errors: 3,
                ..PortStatistics::default()
            }],
            rules: vec![RuleStatistics { rule: "web".to_owned(), packets: 7, bytes: 700 }],
            ..Statistics::default()
        };
        let told = |statistics| Response::Statistics(Box::new(statistics));
        let fallback = told(Statistics { fallback: true, ..statistics.clone() });
        assert!(text_of(&fallback).contains("sha256 ba78\nFALLBACK: the configuration file was wrong"));
        let trial = TrialStatus { left_s: 42, before: statistics.configuration.clone() };
        let on_trial = told(Statistics { trial: Some(trial), ..statistics.clone() });
        let said = "\nON TRIAL: in 42 s /etc/sluice/sluice.yaml comes back as it was since 2026-11-30T09:30:00Z, unless";
        assert!(text_of(&on_trial).contains(said), "{}", text_of(&on_trial));
        let text = text_of(&told(statistics));
        let head = "sluice 0.1.0, up 1m 5s\nconfiguration 2 of /etc/sluice/sluice.yaml, in force since \
                    2026-11-30T09:30:00Z, sha256 ba78\nentries 5 of 1000 (0.5 %)\n\n";
        assert!(text.starts_with(head), "{text}");
        assert!(text.contains("NEW") && !text.contains("RELATED"));
        let balance = "\npackets that came: 11\n  received                        9\n  answers                         2\n\n\
                       packets that went: 11\n  sent                            8\n  dropped                         3\n\n";
        assert!(text.contains(balance), "{text}");
        let port = text.lines().find(|line| line.starts_with("inside")).unwrap();
        assert_eq!(
            port.split_whitespace().collect::<Vec<_>>(),
            ["inside", "9", "0", "0", "0", "0", "0", "0", "0", "3"]
        );
        let rule = text.lines().last().unwrap();
        assert_eq!(rule.split_whitespace().collect::<Vec<_>>(), ["web", "7", "700"]);
    }

    #[test]
    fn a_line_shows_a_rule() {
        let guests = PoolStatistics {
            pool: "guests".to_owned(),
            addresses: 1,
            ports: [64_512, 64_512, 65_536].into(),
            used: [1201, 7, 0].into(),
            bound: 1300,
            exhausted: 2,
        };
        let twin = PoolStatistics { pool: "twin".to_owned(), bound: 4, ..PoolStatistics::default() };
        let text = pools_text(&[guests, twin]);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["pool", "addresses", "tcp", "udp", "other", "bound", "exhausted"]);
        assert_eq!(rows[1], ["guests", "1", "1201/64512", "7/64512", "0/65536", "1300", "2"]);
        assert_eq!(rows[2], ["twin", "-", "-", "-", "-", "4", "0"]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert!(widths.iter().all(|width| *width == widths[0]), "columns stand below each other");
    }

    #[test]
    fn helpers_stand_in_columns_above_their_rules() {
        let ftp = HelperStatistics {
            helper: "ftp".to_owned(),
            on: false,
            promised: 7,
            met: 6,
            ..Default::default()
        };
        let rule = HelperRule { name: Some(Helper(HelperId::Ftp)), loose: true, ..HelperRule::default() };
        let text = helpers_text(&[ftp], &[rule]);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(rows[0].len(), rows[1].len(), "{text}");
        assert_eq!(
            rows[1].split_whitespace().collect::<Vec<_>>(),
            ["ftp", "(off)", "0", "0", "0", "7", "6", "0", "0", "0"]
        );
        assert_eq!(rows[2..], ["", "rules", "  ftp           {\"loose\":true}"]);
        assert_eq!(helpers_text(&[], &[]), "no helper\n");
    }

    #[test]
    fn nat_rules_stand_in_columns() {
        let web = NatRuleStatistics { rule: "web".to_owned(), side: NatSide::Destination, bound: 17 };
        let text = nat_rules_text(&[web]);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows, [["rule", "side", "bound"], ["web", "destination", "17"]]);
        let widths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(widths[0], widths[1]);
        assert_eq!(nat_rules_text(&[]), "no NAT rule\n");
    }
}
