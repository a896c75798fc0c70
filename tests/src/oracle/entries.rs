//! The table in the oracle's words.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use sluice_conntrack::entry::Status;
use sluice_conntrack::expectations::Expectation;
use sluice_conntrack::helpers::Seqadj;
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::listing::{EntrySnapshot, ExpectationSnapshot, Layout};
use sluice_conntrack::time::Tick;
use sluice_conntrack::tuple::protocol;
use sluice_conntrack::{Direction, Tuple, tuple::Family};

use super::router::Router;

const STATUS: [(Status, &str); 4] = [
    (Status::EXPECTED, "EXPECTED"),
    (Status::SEEN_REPLY, "SEEN_REPLY"),
    (Status::ASSURED, "ASSURED"),
    (Status::CONFIRMED, "CONFIRMED"),
];

const PROTOCOLS: [(&str, u8); 6] = [
    ("tcp", protocol::TCP),
    ("udp", protocol::UDP),
    ("icmp", protocol::ICMP),
    ("icmpv6", protocol::ICMPV6),
    ("sctp", protocol::SCTP),
    ("gre", protocol::GRE),
];

/// All entries, and those made since the last look.
pub fn observe(router: &mut Router) -> Value {
    let mut entries = Vec::new();
    let mut lines = Vec::new();
    let mut next = Some(0);
    while let Some(cursor) = next {
        next = router.shard.list(cursor, u32::MAX, |id, shown| {
            entries.push(entry(router, id, &shown));
            let mut line = String::new();
            if shown.write(Layout::NfConntrack, &mut line).is_ok() {
                lines.push(line);
            }
        });
    }
    let mut expected = Vec::new();
    let mut expected_lines = Vec::new();
    let mut next = Some(0);
    while let Some(cursor) = next {
        next = router.shard.list_expectations(cursor, u32::MAX, |_, shown| {
            expected.push(expectation(&shown));
            let mut line = String::new();
            if shown.write(Layout::NfConntrack, &mut line).is_ok() {
                expected_lines.push(line);
            }
        });
    }
    let events = router.born.drain(..).map(|entry| json!(["NEW", entry]));
    json!({ "entries": entries, "expects": expected, "events": Vec::from_iter(events), "proc": lines,
        "proc_expect": expected_lines })
}

/// The entry of that name.
pub fn find(router: &Router, wanted: Option<EntryId>) -> Option<Value> {
    let wanted = wanted?;
    let mut found = None;
    router.shard.list(wanted.index, 1, |id, shown| {
        found = (id == wanted).then(|| entry(router, id, &shown));
    });
    found
}

fn entry(router: &Router, id: EntryId, shown: &EntrySnapshot) -> Value {
    let now = Tick::at(router.now);
    let remaining_ms = router.shard.entry(id).map_or(0, |entry| entry.deadline.since_ms(now).max(0)) as u32;
    let status: Vec<&str> =
        STATUS.iter().filter(|(bit, _)| shown.status.contains(*bit)).map(|(_, name)| *name).collect();
    let mut entry = json!({
        "id": u64::from(id.generation) << 32 | u64::from(id.index),
        "family": shown.original.family() as u8,
        "orig": tuple(&shown.original),
        "reply": tuple(&shown.reply),
        "status": status,
        "timeout": shown.remaining_s,
        "timeout_exact": remaining_ms.div_ceil(1000),
        "mark": shown.mark,
        "zone": shown.zone(),
    });
    if let Some(state) = shown.state {
        entry["state"] = json!(state);
    }
    if let Some(helper) = shown.helper {
        entry["helper"] = json!(helper);
    }
    if let Some(seqadj) = shown.seqadj {
        let of = |direction| {
            let Seqadj { correction_pos, offset_before, offset_after } = seqadj[direction as usize];
            // Linux notes the number of the segment, Sluice that of the text in it.
            let pos = router.segment_with(id, direction, correction_pos).unwrap_or(correction_pos);
            json!({ "pos": pos, "before": offset_before, "after": offset_after })
        };
        entry["seqadj"] = json!({ "orig": of(Direction::Original), "reply": of(Direction::Reply) });
    }
    if let Some(master) = &shown.master {
        entry["master"] = tuple(master);
    }
    if let Some([original, reply]) = shown.traffic {
        entry["acct"] = json!({
            "orig": [original.packets, original.bytes],
            "reply": [reply.packets, reply.bytes],
        });
    }
    entry
}

fn expectation(shown: &ExpectationSnapshot) -> Value {
    let Expectation { tuple: expected, master, class, .. } = &shown.expectation;
    let mut expectation = json!({
        "family": expected.family() as u8,
        "tuple": tuple(expected),
        "mask": tuple(&shown.mask()),
        "master": tuple(master),
        "timeout": shown.remaining_ms / 1000,
        "timeout_exact": shown.remaining_ms.div_ceil(1000),
        "class": class,
        "zone": expected.selector.zone(),
    });
    if let Some(helper) = shown.expectation.helper() {
        expectation["helper"] = json!(helper.name());
    }
    expectation
}

fn tuple(tuple: &Tuple) -> Value {
    let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
    let mut shown = json!({
        "src": tuple.source().to_string(),
        "dst": tuple.destination().to_string(),
        "proto": tuple.protocol(),
    });
    match tuple.protocol() {
        protocol::ICMP | protocol::ICMPV6 => {
            let [kind, code] = dport.to_be_bytes();
            shown["type"] = json!(kind);
            shown["code"] = json!(code);
            shown["id"] = json!(sport);
        }
        protocol::TCP | protocol::UDP | protocol::UDPLITE | protocol::SCTP | protocol::GRE => {
            shown["sport"] = json!(sport);
            shown["dport"] = json!(dport);
        }
        _ => {}
    }
    shown
}

/// The filter of `conntrack -D`.
#[derive(Debug, Default)]
pub struct Filter {
    family: Option<Family>,
    protocol: Option<u8>,
    wanted: Vec<(String, String)>,
}

impl Filter {
    /// The filter of these long options.
    pub fn new(options: &Map<String, Value>) -> Result<Self> {
        let mut filter = Self::default();
        for (key, value) in options {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match key.as_str() {
                "proto" => {
                    let known = PROTOCOLS.iter().find(|(name, _)| *name == text).map(|(_, number)| *number);
                    filter.protocol = known.or_else(|| text.parse().ok());
                }
                "family" => filter.family = Some(if text == "ipv6" { Family::V6 } else { Family::V4 }),
                "src" | "dst" | "sport" | "dport" | "mark" | "zone" | "orig-src" | "orig-dst"
                | "orig-port-src" | "orig-port-dst" | "reply-src" | "reply-dst" | "reply-port-src"
                | "reply-port-dst" => filter.wanted.push((key.clone(), text)),
                other => bail!("unknown option {other}"),
            }
        }
        Ok(filter)
    }

    /// Whether an entry is meant.
    pub fn matches(&self, entry: &EntrySnapshot) -> bool {
        let shown = |key: &str| match key {
            "src" | "orig-src" => entry.original.source().to_string(),
            "dst" | "orig-dst" => entry.original.destination().to_string(),
            "sport" | "orig-port-src" => entry.original.selector.sport().to_string(),
            "dport" | "orig-port-dst" => entry.original.selector.dport().to_string(),
            "reply-src" => entry.reply.source().to_string(),
            "reply-dst" => entry.reply.destination().to_string(),
            "reply-port-src" => entry.reply.selector.sport().to_string(),
            "reply-port-dst" => entry.reply.selector.dport().to_string(),
            "mark" => entry.mark.to_string(),
            _ => entry.zone().to_string(),
        };
        self.family.is_none_or(|family| family == entry.original.family())
            && self.protocol.is_none_or(|number| number == entry.original.protocol())
            && self.wanted.iter().all(|(key, wanted)| shown(key) == *wanted)
    }
}
