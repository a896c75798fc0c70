//! One JSON object a line; a key is there when the entry has what it names.

use super::{EntrySnapshot, EventKind, Keys, Traffic, family_name, protocol_name};
use crate::entry::Status;
use crate::helpers::Seqadj;
use crate::tuple::{Direction, Tuple};
use std::fmt;

const STATUS_NAMES: &[(Status, &str)] = &[
    (Status::SEEN_REPLY, "SEEN_REPLY"),
    (Status::ASSURED, "ASSURED"),
    (Status::CONFIRMED, "CONFIRMED"),
    (Status::SRC_NAT, "SRC_NAT"),
    (Status::DST_NAT, "DST_NAT"),
];

/// The same with what has happened to it.
pub(super) fn write_event(entry: &EntrySnapshot, kind: EventKind, out: &mut impl fmt::Write) -> fmt::Result {
    write!(out, "{{\"event\":\"{}\",\"entry\":", kind.name())?;
    write(entry, out)?;
    out.write_char('}')
}

// All strings here come from fixed sets or are numbers and addresses: none needs escaping.
pub(super) fn write(entry: &EntrySnapshot, out: &mut impl fmt::Write) -> fmt::Result {
    let number = entry.original.protocol();
    write!(out, "{{\"family\":\"{}\",", family_name(entry.original.family()))?;
    if let Some(name) = protocol_name(number) {
        write!(out, "\"protocol\":\"{name}\",")?;
    }
    write!(out, "\"number\":{number},\"timeout\":{},", entry.remaining_s)?;
    if let Some(state) = entry.state {
        write!(out, "\"state\":\"{state}\",")?;
    }
    for (name, direction) in [("original", Direction::Original), ("reply", Direction::Reply)] {
        write!(out, "\"{name}\":{{")?;
        write_tuple(entry.tuple(direction), out)?;
        if let Some(traffic) = entry.traffic {
            let Traffic { packets, bytes } = traffic[direction as usize];
            write!(out, ",\"packets\":{packets},\"bytes\":{bytes}")?;
        }
        if let Some(seqadj) = entry.seqadj {
            let Seqadj { correction_pos, offset_before, offset_after } = seqadj[direction as usize];
            write!(out, ",\"seqadj\":{{\"correction_pos\":{correction_pos},")?;
            write!(out, "\"offset_before\":{offset_before},\"offset_after\":{offset_after}}}")?;
        }
        out.write_str("},")?;
    }
    out.write_str("\"status\":[")?;
    let names = STATUS_NAMES.iter().filter(|(bit, _)| entry.status.contains(*bit));
    for (i, (_, name)) in names.enumerate() {
        let comma = if i == 0 { "" } else { "," };
        write!(out, "{comma}\"{name}\"")?;
    }
    write!(out, "],\"mark\":{},\"zone\":{}", entry.mark, entry.zone())?;
    if let Some(age_s) = entry.shown_age_s() {
        write!(out, ",\"age\":{age_s}")?;
    }
    if let Some(helper) = entry.helper {
        write!(out, ",\"helper\":\"{helper}\"")?;
    }
    if let Some(master) = &entry.master {
        out.write_str(",\"master\":{")?;
        write_tuple(master, out)?;
        out.write_char('}')?;
    }
    write!(out, ",\"use\":{}}}", entry.uses)
}

pub(super) fn write_tuple(tuple: &Tuple, out: &mut impl fmt::Write) -> fmt::Result {
    write!(out, "\"src\":\"{}\",\"dst\":\"{}\"", tuple.source(), tuple.destination())?;
    let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
    match Keys::of(tuple.protocol()) {
        Keys::Ports => write!(out, ",\"sport\":{sport},\"dport\":{dport}"),
        Keys::Query => {
            let [kind, code] = dport.to_be_bytes();
            write!(out, ",\"type\":{kind},\"code\":{code},\"id\":{sport}")
        }
        Keys::Calls => write!(out, ",\"srckey\":{sport},\"dstkey\":{dport}"),
        Keys::None => Ok(()),
    }
}
