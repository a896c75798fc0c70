//! `conntrack -o xml`: an entry or an event as an XML element.

use super::{EntrySnapshot, EventKind, Extras, Keys, Traffic, family_name, protocol_name};
use crate::entry::Status;
use crate::tuple::Direction;
use std::fmt;

// All strings here come from fixed sets or are numbers and addresses: none needs escaping.
pub(super) fn write(
    entry: &EntrySnapshot,
    event: Option<EventKind>,
    extras: &Extras,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    out.write_str(match event {
        None => "<flow>",
        Some(EventKind::New) => "<flow type=\"new\">",
        Some(EventKind::Update) => "<flow type=\"update\">",
        Some(EventKind::Destroy) => "<flow type=\"destroy\">",
    })?;
    let is_whole = matches!(event, None | Some(EventKind::Destroy));
    for (name, direction) in [("original", Direction::Original), ("reply", Direction::Reply)] {
        write!(out, "<meta direction=\"{name}\">")?;
        write_tuple(entry, direction, out)?;
        if let Some(traffic) = entry.traffic.filter(|_| is_whole) {
            let Traffic { packets, bytes } = traffic[direction as usize];
            write!(out, "<counters><packets>{packets}</packets><bytes>{bytes}</bytes></counters>")?;
        }
        out.write_str("</meta>")?;
    }
    out.write_str("<meta direction=\"independent\">")?;
    if let Some(state) = entry.state {
        write!(out, "<state>{state}</state>")?;
    }
    if event != Some(EventKind::Destroy) || entry.remaining_s != 0 {
        write!(out, "<timeout>{}</timeout>", entry.remaining_s)?;
    }
    if event.is_none() || entry.mark != 0 {
        write!(out, "<mark>{}</mark>", entry.mark)?;
    }
    if entry.zone() != 0 {
        write!(out, "<zone>{}</zone>", entry.zone())?;
    }
    if event.is_none() {
        write!(out, "<use>{}</use>", entry.uses)?;
    }
    if let Some(id) = extras.id {
        write!(out, "<id>{id}</id>")?;
    }
    if entry.status.contains(Status::ASSURED) {
        out.write_str("<assured/>")?;
    } else if !entry.status.contains(Status::SEEN_REPLY) {
        out.write_str("<unreplied/>")?;
    }
    if extras.start.is_some() || extras.stop.is_some() {
        out.write_str("<timestamp>")?;
        for (name, moment) in [("start", extras.start), ("stop", extras.stop)] {
            if let Some(moment) = moment {
                write!(out, "<{name}>{}</{name}>", moment.unix_ns)?;
            }
        }
        out.write_str("</timestamp>")?;
    }
    if let Some(age_s) = entry.shown_age_s().filter(|_| is_whole) {
        write!(out, "<deltatime>{age_s}</deltatime>")?;
    }
    out.write_str("</meta>")?;
    if let Some(at) = extras.at {
        write!(out, "<when><hour>{}</hour><min>{:02}</min>", at.hour, at.minute)?;
        write!(out, "<sec>{:02}</sec><wday>{}</wday>", at.second, at.weekday + 1)?;
        write!(out, "<day>{}</day><month>{}</month><year>{}</year></when>", at.day, at.month, at.year)?;
    }
    out.write_str("</flow>")
}

fn write_tuple(entry: &EntrySnapshot, direction: Direction, out: &mut impl fmt::Write) -> fmt::Result {
    let tuple = entry.tuple(direction);
    let (family, number) = (tuple.family(), tuple.protocol());
    write!(out, "<layer3 protonum=\"{}\" protoname=\"{}\">", family as u8, family_name(family))?;
    write!(out, "<src>{}</src><dst>{}</dst></layer3>", tuple.source(), tuple.destination())?;
    let name = protocol_name(number).unwrap_or("unknown");
    write!(out, "<layer4 protonum=\"{number}\" protoname=\"{name}\">")?;
    let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
    match Keys::of(number) {
        Keys::Ports => write!(out, "<sport>{sport}</sport><dport>{dport}</dport>")?,
        Keys::Calls => write!(out, "<srckey>0x{sport:x}</srckey><dstkey>0x{dport:x}</dstkey>")?,
        // conntrack(8) leaves out what a query has.
        Keys::Query | Keys::None => {}
    }
    out.write_str("</layer4>")
}
