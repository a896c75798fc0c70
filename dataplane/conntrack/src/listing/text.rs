//! The text layouts. They differ in little, so one function writes them all from a [`Style`].

use super::{EntrySnapshot, EventKind, Extras, Keys, Moment, Traffic, family_name, protocol_name};
use crate::entry::Status;
use crate::tuple::{Direction, Tuple, protocol};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// What tells the text layouts apart.
pub(super) struct Style {
    /// The family stands in front.
    family: bool,
    /// As the kernel prints it: IPv6 addresses in full, the zone always, a GRE entry's timeouts, but no
    /// helper, and DCCP is unknown.
    kernel: bool,
    /// Counters, mark, zone and age are shown.
    details: bool,
    /// Holders of the entry besides [`EntrySnapshot::uses`]: Linux counts whoever reads the file.
    readers: u32,
}

pub(super) const CONNTRACK: Style = Style { family: false, kernel: false, details: true, readers: 0 };
pub(super) const EXTENDED: Style = Style { family: true, ..CONNTRACK };
pub(super) const IP_CONNTRACK: Style = Style { family: false, kernel: true, details: false, readers: 0 };
pub(super) const NF_CONNTRACK: Style = Style { family: true, kernel: true, details: true, readers: 1 };

impl Style {
    const fn knows(&self, number: u8) -> bool {
        !(self.kernel && number == protocol::DCCP)
    }
}

/// What is shown on an occasion, a listing or an event: as in the kernel's messages, all of an entry that is listed, and of one
/// that changes or ends what is not as it always is.
struct Occasion {
    /// What stands in front of an event.
    title: &'static str,
    /// Counters and age.
    whole: bool,
    /// A timeout that has passed.
    no_timeout: bool,
    /// A mark that there is none of.
    no_mark: bool,
    /// Who holds the entry.
    uses: bool,
}

const LISTED: Occasion = Occasion { title: "", whole: true, no_timeout: true, no_mark: true, uses: true };
const NEW: Occasion =
    Occasion { title: "    [NEW] ", whole: false, no_timeout: true, no_mark: false, uses: false };
const UPDATED: Occasion = Occasion { title: " [UPDATE] ", ..NEW };
const DESTROYED: Occasion = Occasion { title: "[DESTROY] ", whole: true, no_timeout: false, ..NEW };

/// Writes one line about an entry, without the newline.
pub(super) fn write(
    entry: &EntrySnapshot,
    style: &Style,
    extras: &Extras,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    write_on(&LISTED, entry, style, extras, out)
}

/// Writes one line about an event, without the newline.
pub(super) fn write_event(
    entry: &EntrySnapshot,
    kind: EventKind,
    style: &Style,
    extras: &Extras,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let occasion = match kind {
        EventKind::New => &NEW,
        EventKind::Update => &UPDATED,
        EventKind::Destroy => &DESTROYED,
    };
    if let Some(at) = extras.at {
        write_time(at, out)?;
    }
    let mut line = String::new();
    write_on(occasion, entry, style, extras, &mut line)?;
    out.write_str(line.trim_end())
}

/// Writes when something happened, as conntrack(8) does in front of it.
pub(super) fn write_time(at: Moment, out: &mut impl fmt::Write) -> fmt::Result {
    write!(out, "[{}.{:06}]\t", at.unix_ns / 1_000_000_000, at.unix_ns / 1000 % 1_000_000)
}

fn write_on(
    occasion: &Occasion,
    entry: &EntrySnapshot,
    style: &Style,
    extras: &Extras,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    out.write_str(occasion.title)?;
    let (family, number) = (entry.original.family(), entry.original.protocol());
    if style.family {
        write!(out, "{:<8} {} ", family_name(family), family as u8)?;
    }
    let name = protocol_name(number).filter(|_| style.knows(number)).unwrap_or("unknown");
    write!(out, "{name:<8} {number} ")?;
    if occasion.no_timeout || entry.remaining_s != 0 {
        write!(out, "{} ", entry.remaining_s)?;
    }
    if let Some(state) = entry.state {
        write!(out, "{state} ")?;
    }
    if let Some(timeouts) = entry.gre_timeouts.filter(|_| style.kernel) {
        let (unreplied, stream) = (timeouts.unreplied_ms / 1000, timeouts.stream_ms / 1000);
        write!(out, "timeout={unreplied}, stream_timeout={stream} ")?;
    }
    let counters = style.details && occasion.whole;
    write_direction(entry, Direction::Original, style, counters, out)?;
    if !entry.status.contains(Status::SEEN_REPLY) {
        out.write_str("[UNREPLIED] ")?;
    }
    write_direction(entry, Direction::Reply, style, counters, out)?;
    if entry.status.contains(Status::ASSURED) {
        out.write_str("[ASSURED] ")?;
    }
    if style.details {
        write_details(entry, style, occasion, extras, out)?;
    }
    let id = extras.id;
    match (occasion.uses, id) {
        (true, None) => write!(out, "use={}", entry.uses + style.readers),
        (true, Some(id)) => write!(out, "use={} id={id}", entry.uses + style.readers),
        (false, Some(id)) => write!(out, "id={id}"),
        (false, None) => Ok(()),
    }
}

fn write_direction(
    entry: &EntrySnapshot,
    direction: Direction,
    style: &Style,
    counters: bool,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    write_tuple("", entry.tuple(direction), style, out)?;
    if let Some(traffic) = entry.traffic.filter(|_| counters) {
        let Traffic { packets, bytes } = traffic[direction as usize];
        write!(out, " packets={packets} bytes={bytes}")?;
    }
    out.write_char(' ')
}

/// Writes a tuple without what follows it; the names of its addresses begin with `prefix`.
pub(super) fn write_tuple(
    prefix: &str,
    tuple: &Tuple,
    style: &Style,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    write!(out, "{prefix}src=")?;
    write_address(tuple.source(), style, out)?;
    write!(out, " {prefix}dst=")?;
    write_address(tuple.destination(), style, out)?;
    let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
    match Keys::of(tuple.protocol()) {
        Keys::Ports if style.knows(tuple.protocol()) => write!(out, " sport={sport} dport={dport}"),
        Keys::Query => {
            let [kind, code] = dport.to_be_bytes();
            write!(out, " type={kind} code={code} id={sport}")
        }
        Keys::Calls => write!(out, " srckey=0x{sport:x} dstkey=0x{dport:x}"),
        Keys::Ports | Keys::None => Ok(()),
    }
}

fn write_details(
    entry: &EntrySnapshot,
    style: &Style,
    occasion: &Occasion,
    extras: &Extras,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    if occasion.no_mark || entry.mark != 0 {
        write!(out, "mark={} ", entry.mark)?;
    }
    if style.kernel || entry.zone() != 0 {
        write!(out, "zone={} ", entry.zone())?;
    }
    if let Some(age_s) = entry.shown_age_s().filter(|_| occasion.whole) {
        write!(out, "delta-time={age_s} ")?;
    }
    for (name, moment) in [("start", extras.start), ("stop", extras.stop)] {
        if let Some(moment) = moment {
            write!(out, "[{name}={moment}] ")?;
        }
    }
    match entry.helper.filter(|_| !style.kernel) {
        Some(helper) => write!(out, "helper={helper} "),
        None => Ok(()),
    }
}

fn write_address(address: IpAddr, style: &Style, out: &mut impl fmt::Write) -> fmt::Result {
    match address {
        IpAddr::V6(v6) if style.kernel => write_unabbreviated(v6, out),
        _ => write!(out, "{address}"),
    }
}

fn write_unabbreviated(address: Ipv6Addr, out: &mut impl fmt::Write) -> fmt::Result {
    let [first, rest @ ..] = address.segments();
    write!(out, "{first:04x}")?;
    rest.iter().try_for_each(|segment| write!(out, ":{segment:04x}"))
}
