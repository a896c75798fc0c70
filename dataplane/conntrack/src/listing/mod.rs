//! Listings: one entry or event a line, in the layouts of conntrack(8) 1.4.7 (`text.rs`, `save.rs`, `xml.rs`) and of the kernel's
//! files in /proc/net (`text.rs`), or as JSON (`json.rs`).

mod expectation;
mod json;
mod moment;
mod save;
mod text;
mod xml;

#[cfg(test)]
mod tests;

pub use expectation::ExpectationSnapshot;
pub use moment::Moment;

use crate::entry::{Cold, Counter, Entry, Status};
use crate::helpers::Seqadj;
use crate::ids::Zone;
use crate::settings::{Preset, Settings};
use crate::time::{Instant, Tick};
use crate::tracker::gre;
use crate::tracker::sctp::{self, SctpState, TagPair};
use crate::tracker::tcp::TcpState;
use crate::tuple::{Direction, Family, Tuple, protocol};
use std::fmt;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `conntrack -L`.
    Conntrack,
    /// `conntrack -L -o extended`: the family in front.
    Extended,
    /// `conntrack -L -o save`: the options of a command that makes the entry.
    Save,
    /// `conntrack -L -o xml`: an element; what is around all of them, [`XML_BEGIN`] and [`XML_END`], is the caller's.
    Xml,
    /// /proc/net/ip_conntrack of Linux 2.4: no family, no counters, no mark.
    IpConntrack,
    /// /proc/net/nf_conntrack of Linux 6.18.
    NfConntrack,
    /// One JSON object; a key is there when the entry has what it names.
    Json,
}

impl Layout {
    /// The kernel's file that a preset's listing looks like.
    pub const fn proc(preset: Preset) -> Self {
        match preset {
            Preset::Classic => Self::IpConntrack,
            Preset::Linux => Self::NfConntrack,
        }
    }
}

/// The lines in front of and behind the entries of an XML listing.
pub const XML_BEGIN: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<conntrack>";
/// See [`XML_BEGIN`].
pub const XML_END: &str = "</conntrack>";

/// What conntrack(8)'s layouts show besides, where they are asked to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// `-o id`: a number that the entry keeps for life. XML has it always.
    pub id: Option<u32>,
    /// `-o ktimestamp`: when it began.
    pub start: Option<Moment>,
    /// The same of its end.
    pub stop: Option<Moment>,
    /// `-o timestamp`: when an event happened.
    pub at: Option<Moment>,
}

/// What has happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It is in the table.
    New,
    /// It was answered or has become assured, its tracker's state or its mark has changed, or an operator has changed its timeout.
    Update,
    /// It has ended.
    Destroy,
}

impl EventKind {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Update => "update",
            Self::Destroy => "destroy",
        }
    }
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes, IP headers included.
    pub bytes: u64,
}

impl Traffic {
    const fn of(counter: &Counter) -> Self {
        Self { packets: counter.packets(), bytes: counter.bytes() }
    }
}

/// An entry as it was at one moment, for whoever wants to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntrySnapshot {
    /// Original tuple.
    pub original: Tuple,
    /// Reply tuple.
    pub reply: Tuple,
    /// State, where the protocol has states.
    pub state: Option<&'static str>,
    /// Whole seconds to its end.
    pub remaining_s: u32,
    /// Status bits.
    pub status: Status,
    /// What has passed in the original and the reply direction; `None` without accounting.
    pub traffic: Option<[Traffic; 2]>,
    /// Timeouts of a GRE entry, which the kernel's own listing shows.
    pub gre_timeouts: Option<gre::GreTimeouts>,
    /// Verification tags of an SCTP association.
    pub tags: Option<TagPair>,
    /// Connection mark.
    pub mark: u32,
    /// Whole seconds since its birth.
    pub age_s: u32,
    /// Whether listings show that: `conntrack.timestamp`.
    pub shows_age: bool,
    /// Name of the helper that reads it.
    pub helper: Option<&'static str>,
    /// How the sequence numbers of the original and the reply direction are shifted; `None` where they are not.
    pub seqadj: Option<[Seqadj; 2]>,
    /// Original tuple of the entry that expected it.
    pub master: Option<Tuple>,
    /// How many hold the entry: the table, and each entry that names it as master.
    pub uses: u32,
    /// Whether it is a peer's, which the box stands by for.
    pub is_standby: bool,
}

impl EntrySnapshot {
    /// What `entry` with these tuples, the original and the reply one, is at `now`: an entry that has no helper and was
    /// not expected.
    #[inline]
    pub fn of(
        entry: &Entry,
        cold: &Cold,
        [original, reply]: [Tuple; 2],
        settings: &Settings,
        now: Instant,
    ) -> Self {
        let remaining_ms = entry.deadline.since_ms(Tick::at(now)).max(0);
        let [original_counter, reply_counter] = &entry.counters;
        let traffic = || [Traffic::of(original_counter), Traffic::of(reply_counter)];
        // One that was installed may be older than the clock.
        let age_s = (now.as_secs() as u32).wrapping_sub(cold.born_s);
        Self {
            original,
            reply,
            state: state_name(original.protocol(), entry.state),
            remaining_s: remaining_ms as u32 / 1000,
            status: entry.status,
            traffic: settings.accounting.then(traffic),
            gre_timeouts: (original.protocol() == protocol::GRE).then(|| gre::timeouts(entry)),
            tags: (original.protocol() == protocol::SCTP).then(|| sctp::tags(entry)),
            mark: entry.mark,
            age_s,
            shows_age: settings.timestamp,
            helper: None,
            seqadj: None,
            master: None,
            uses: 1,
            is_standby: false,
        }
    }

    /// The connection's zone.
    pub const fn zone(&self) -> Zone {
        self.original.selector.zone()
    }

    /// Its age, where listings show it.
    pub fn shown_age_s(&self) -> Option<u32> {
        self.shows_age.then_some(self.age_s)
    }

    /// Writes one line, without the newline.
    pub fn write(&self, layout: Layout, out: &mut impl fmt::Write) -> fmt::Result {
        self.write_with(layout, &Extras::default(), out)
    }

    /// The same with what is asked for besides.
    pub fn write_with(&self, layout: Layout, extras: &Extras, out: &mut impl fmt::Write) -> fmt::Result {
        match layout {
            Layout::Conntrack => text::write(self, &text::CONNTRACK, extras, out),
            Layout::Extended => text::write(self, &text::EXTENDED, extras, out),
            Layout::IpConntrack => text::write(self, &text::IP_CONNTRACK, extras, out),
            Layout::NfConntrack => text::write(self, &text::NF_CONNTRACK, extras, out),
            Layout::Save => save::write(self, out),
            Layout::Xml => xml::write(self, None, extras, out),
            Layout::Json => json::write(self, out),
        }
    }

    /// Writes one line about an event, as `conntrack -E` does; the layouts of files have no other way to show one.
    pub fn write_event(
        &self,
        kind: EventKind,
        layout: Layout,
        extras: &Extras,
        out: &mut impl fmt::Write,
    ) -> fmt::Result {
        match layout {
            Layout::Xml => xml::write(self, Some(kind), extras, out),
            Layout::Save => save::write(self, out),
            Layout::Extended => text::write_event(self, kind, &text::EXTENDED, extras, out),
            Layout::Conntrack | Layout::IpConntrack | Layout::NfConntrack => {
                text::write_event(self, kind, &text::CONNTRACK, extras, out)
            }
            Layout::Json => json::write_event(self, kind, out),
        }
    }

    const fn tuple(&self, direction: Direction) -> &Tuple {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }
}

/// What listings show of a protocol's tuples besides addresses. conntrack(8) has ports for DCCP, which a tuple has not:
/// they are 0.
enum Keys {
    None,
    Ports,
    Query,
    Calls,
}

impl Keys {
    const fn of(number: u8) -> Self {
        match number {
            protocol::DCCP => Self::Ports,
            _ if protocol::has_ports(number) => Self::Ports,
            _ if protocol::is_icmp(number) => Self::Query,
            protocol::GRE => Self::Calls,
            _ => Self::None,
        }
    }
}

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

const fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        protocol::ICMP => "icmp",
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::DCCP => "dccp",
        protocol::GRE => "gre",
        protocol::ICMPV6 => "icmpv6",
        protocol::SCTP => "sctp",
        protocol::UDPLITE => "udplite",
        _ => return None,
    })
}

fn state_name(number: u8, state: u8) -> Option<&'static str> {
    match number {
        protocol::TCP => TcpState::ALL.get(usize::from(state)).map(|state| state.name()),
        protocol::SCTP => SctpState::ALL.get(usize::from(state)).map(|state| state.name()),
        _ => None,
    }
}
