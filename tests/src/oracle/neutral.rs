//! The oracle's neutral configuration as a file of Sluice's own.

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use sluice::config::Config;
use sluice_conntrack::helpers::HelperId;

/// A match of the oracle, and the key of a rule.
const MATCHES: [(&str, &str); 12] = [
    ("in", "in"),
    ("out", "out"),
    ("family", "family"),
    ("src", "source"),
    ("dst", "destination"),
    ("proto", "protocol"),
    ("sport", "source-port"),
    ("dport", "destination-port"),
    ("state", "state"),
    ("status", "status"),
    ("mark", "mark"),
    ("helper", "helper"),
];

/// A setting of nf_conntrack, and its path in the section `conntrack`.
const SYSCTLS: [(&str, &str); 38] = [
    ("max", "/max-entries"),
    ("expect_max", "/max-expectations"),
    ("acct", "/accounting"),
    ("checksum", "/checksum"),
    ("timestamp", "/timestamp"),
    ("tcp_loose", "/tcp/loose"),
    ("tcp_be_liberal", "/tcp/be-liberal"),
    ("tcp_max_retrans", "/tcp/max-retrans"),
    ("tcp_ignore_invalid_rst", "/tcp/ignore-invalid-rst"),
    ("generic_timeout", "/timeouts/generic"),
    ("icmp_timeout", "/timeouts/icmp"),
    ("icmpv6_timeout", "/timeouts/icmpv6"),
    ("udp_timeout", "/timeouts/udp/unreplied"),
    ("udp_timeout_stream", "/timeouts/udp/stream"),
    ("gre_timeout", "/timeouts/gre/unreplied"),
    ("gre_timeout_stream", "/timeouts/gre/stream"),
    ("tcp_timeout_syn_sent", "/timeouts/tcp/syn-sent"),
    ("tcp_timeout_syn_recv", "/timeouts/tcp/syn-recv"),
    ("tcp_timeout_established", "/timeouts/tcp/established"),
    ("tcp_timeout_fin_wait", "/timeouts/tcp/fin-wait"),
    ("tcp_timeout_close_wait", "/timeouts/tcp/close-wait"),
    ("tcp_timeout_last_ack", "/timeouts/tcp/last-ack"),
    ("tcp_timeout_time_wait", "/timeouts/tcp/time-wait"),
    ("tcp_timeout_close", "/timeouts/tcp/close"),
    ("tcp_timeout_max_retrans", "/timeouts/tcp/max-retrans"),
    ("tcp_timeout_unacknowledged", "/timeouts/tcp/unacknowledged"),
    ("sctp_timeout_closed", "/timeouts/sctp/closed"),
    ("sctp_timeout_cookie_wait", "/timeouts/sctp/cookie-wait"),
    ("sctp_timeout_cookie_echoed", "/timeouts/sctp/cookie-echoed"),
    ("sctp_timeout_established", "/timeouts/sctp/established"),
    ("sctp_timeout_shutdown_sent", "/timeouts/sctp/shutdown-sent"),
    ("sctp_timeout_shutdown_recd", "/timeouts/sctp/shutdown-recd"),
    ("sctp_timeout_shutdown_ack_sent", "/timeouts/sctp/shutdown-ack-sent"),
    ("sctp_timeout_heartbeat_sent", "/timeouts/sctp/heartbeat-sent"),
    ("net.ipv4.ipfrag_time", "/fragments/ipv4-timeout"),
    ("frag6_timeout", "/fragments/ipv6-timeout"),
    // Nothing here answers to these: no events, no log of invalid packets.
    ("events", ""),
    ("log_invalid", ""),
];

/// The file for a configuration of the oracle: the oracle's topology, and preset `linux`.
pub fn to_file(neutral: &Map<String, Value>) -> Result<Config> {
    let list = |key: &str| neutral.get(key).and_then(Value::as_array).into_iter().flatten();
    let rules = |key: &str| list(key).map(rule).collect::<Result<Vec<Value>>>();
    let mtu = |side: &str| neutral.get("mtu").and_then(|mtu| mtu.get(side)).cloned().unwrap_or(json!(1500));
    let mut outside = vec![json!("203.0.113.1/24"), json!("2001:db8:2::1/64")];
    for address in list("outside_addrs").filter_map(Value::as_str) {
        let length = if address.contains(':') { 128 } else { 32 };
        outside.push(json!(format!("{address}/{length}")));
    }
    let inside = vec![json!("10.0.0.1/24"), json!("fd00:1::1/64")];
    // Linux judges packets to the box itself by rules of their own.
    let own = inside.iter().chain(&outside).filter_map(|own| own.as_str()?.split('/').next());
    let input = neutral.get("input").cloned().unwrap_or(json!("drop"));
    let mut policy = vec![json!({ "destination": Vec::from_iter(own), "action": input })];
    for mark in list("marks") {
        let mut mark_rule = rule(mark)?;
        mark_rule["action"] = json!({ "mark": mark["set"] });
        policy.push(mark_rule);
    }
    let named = neutral.get("policy").and_then(Value::as_str).map(named_policy).transpose()?;
    for verdict in named.iter().flatten().chain(list("policy")) {
        let mut verdict_rule = rule(verdict)?;
        verdict_rule["action"] = verdict["verdict"].clone();
        policy.push(verdict_rule);
    }
    // In a capture hosts are on whatever side they spoke from. The kernel's box gets a route to each, of which the
    // protocol says nothing; so these boxes, known by their jumbo frames, are wires.
    let is_capture = [mtu("inside"), mtu("outside")].iter().all(|mtu| *mtu == 9000);
    let (forwarding, routes) = match is_capture {
        true => ("wire", json!([])),
        false => (
            "routed",
            json!([
                { "to": "10.0.0.0/8", "dev": "inside" },
                { "to": "fd00::/8", "dev": "inside" },
                { "to": "0.0.0.0/0", "dev": "outside" },
                { "to": "::/0", "dev": "outside" },
            ]),
        ),
    };
    let file = json!({
        "version": 1,
        "interfaces": {
            "inside": {
                "device": "vdev:net_null0",
                "addresses": inside,
                "mtu": mtu("inside"),
            },
            "outside": { "device": "vdev:net_null1", "addresses": outside, "mtu": mtu("outside") },
        },
        "routes": routes,
        "forwarding": forwarding,
        "conntrack": conntrack(neutral.get("sysctl"))?,
        "untracked": rules("notrack")?,
        "zones": list("zones").map(zone).collect::<Result<Vec<Value>>>()?,
        "helpers": list("helpers").filter_map(helper).collect::<Result<Vec<Value>>>()?,
        "nat": nat(neutral)?,
        "policy": { "default": "drop", "rules": policy },
    });
    serde_json::from_value(file).context("the configuration as a file of Sluice")
}

/// A helper, and the connections that it reads. Those that do not exist read none.
fn helper(neutral: &Value) -> Option<Result<Value>> {
    HelperId::named(neutral.get("name")?.as_str()?)?;
    Some(existing_helper(neutral))
}

fn existing_helper(neutral: &Value) -> Result<Value> {
    let mut helper = rule(neutral)?;
    helper["name"] = neutral["name"].clone();
    if let Some(ports) = helper.as_object_mut().and_then(|keys| keys.remove("destination-port")) {
        helper["ports"] = ports;
    }
    Ok(helper)
}

/// A filter policy by its name.
fn named_policy(name: &str) -> Result<Vec<Value>> {
    let rules = match name {
        "firewall" => json!([
            { "state": ["established", "related", "untracked"], "verdict": "accept" },
            { "state": "new", "in": "inside", "verdict": "accept" },
        ]),
        "valid" => {
            json!([{ "state": ["new", "established", "related", "untracked"], "verdict": "accept" }])
        }
        "open" => json!([{ "verdict": "accept" }]),
        other => bail!("unknown policy {other}"),
    };
    Ok(serde_json::from_value(rules)?)
}

/// The matches of a rule.
fn rule(neutral: &Value) -> Result<Value> {
    let mut rule = json!({});
    for (theirs, ours) in MATCHES {
        let Some(value) = neutral.get(theirs) else { continue };
        rule[ours] = match (theirs, value) {
            ("family", value) => json!(if value == 6 { "ipv6" } else { "ipv4" }),
            (_, value) => value.clone(),
        };
    }
    Ok(rule)
}

/// The section `nat`. Rules apply to the families of their targets here as there.
fn nat(neutral: &Map<String, Value>) -> Result<Value> {
    let (mut source, mut destination) = (Vec::new(), Vec::new());
    for translation in neutral.get("nat").and_then(Value::as_array).into_iter().flatten() {
        let mut nat_rule = rule(translation)?;
        let port = translation.get("port");
        let kind = translation["type"].as_str().unwrap_or_default();
        match kind {
            "masquerade" => nat_rule["masquerade"] = json!(true),
            "snat" | "dnat" => nat_rule["to"] = translation["to"].clone(),
            "redirect" => nat_rule["redirect"] = port.cloned().unwrap_or(json!(true)),
            other => bail!("unknown translation {other}"),
        }
        if let Some(port) = port.filter(|_| kind != "redirect") {
            nat_rule["ports"] = port.clone();
        }
        let is_source = kind == "masquerade" || kind == "snat";
        for flag in translation.get("flags").and_then(Value::as_array).into_iter().flatten() {
            match flag.as_str().unwrap_or_default() {
                "random" | "fully-random" => nat_rule["random"] = json!(true),
                "persistent" if is_source => nat_rule["persistent"] = json!(true),
                // A client always gets the same of several backends.
                "persistent" => {}
                other => bail!("unknown flag {other}"),
            }
        }
        if is_source { source.push(nat_rule) } else { destination.push(nat_rule) }
    }
    // Translation in force without a rule: every connection is looked at, and kept as it is.
    let hooks = neutral.get("nat_hooks").and_then(Value::as_bool).unwrap_or(false);
    if hooks && source.is_empty() && destination.is_empty() {
        source.push(json!({ "keep": true }));
    }
    Ok(json!({ "source": source, "destination": destination }))
}

fn zone(neutral: &Value) -> Result<Value> {
    if neutral.get("dir").is_some() {
        bail!("a zone for one direction only");
    }
    let mut zone = rule(neutral)?;
    zone["zone"] = neutral["zone"].clone();
    Ok(zone)
}

fn conntrack(sysctls: Option<&Value>) -> Result<Value> {
    let mut section = json!({ "preset": "linux", "max-entries": 262_144, "tcp": {}, "fragments": {},
        "timeouts": { "tcp": {}, "udp": {}, "gre": {}, "sctp": {} } });
    for (name, value) in sysctls.and_then(Value::as_object).into_iter().flatten() {
        let path = SYSCTLS.iter().find(|(sysctl, _)| sysctl == name).map(|(_, path)| *path);
        let Some((parent, key)) = path.and_then(|path| path.rsplit_once('/')) else { continue };
        let parent = section.pointer_mut(parent).context("no such section")?;
        let switch = matches!(
            key,
            "accounting" | "checksum" | "timestamp" | "loose" | "be-liberal" | "ignore-invalid-rst"
        );
        parent[key] = if switch { json!(*value != 0) } else { value.clone() };
    }
    Ok(section)
}
