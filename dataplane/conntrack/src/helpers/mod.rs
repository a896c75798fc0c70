//! Helpers: what reads protocols that announce further connections, Linux's `nf_conntrack_helper`.
//!
//! Nothing is read unless the configuration assigns a helper. The first packet of a connection, as it came in, decides; the
//! helper is that connection's to its end. Each helper is a file with its [`Descriptor`], and a line of [`HelperId::descriptor`].

mod amanda;
mod announce;
mod announced_ports;
mod assembly;
mod datagram;
mod delimiter;
mod edits;
mod found;
mod ftp;
mod h323;
mod help;
mod irc;
mod line_stage;
mod message_reading;
mod message_stage;
mod messages;
mod newlines;
mod payload;
mod pptp;
mod reading;
mod rtsp;
mod sane;
mod shift;
mod sip;
mod slots;
mod stage;
mod stream;
mod talk;
mod text;
mod tftp;
mod turn_stage;
mod turns;

pub use crate::helper_event::HelperEvent;
pub(crate) use announced_ports::AnnouncedPorts;
pub(crate) use help::HelpTable;
pub use shift::Seqadj;
pub(crate) use sip::Dialog;
pub(crate) use slots::Slot;

use crate::expectations::{Expectation, SourceMask};
use crate::facts::Facts;
use crate::family::Family;
pub use crate::ids::HelperId;
use crate::policy;
use crate::settings::Preset;
use crate::shard::Shard;
use crate::tuple::Direction;
use crate::verdict::DropReason;
use delimiter::Delimiter;
use found::{Form, Found, InDatagram, Line, Match, Memory};
use message_reading::{Reading, Refused};
use messages::Measure;
use reading::Part;
use text::Text;
use turns::{HEAD_BYTES, Turn};

/// What is fixed about a helper.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// Linux's name of it.
    pub name: &'static str,
    /// The IP protocols of the connections that it reads.
    pub protocols: &'static [u8],
    /// The servers' ports, where the configuration does not say others.
    pub ports: &'static [u16],
    /// What it expects, by class.
    pub classes: &'static [ExpectationClass],
    /// How it reads them.
    pub(crate) reads: Reads,
}

/// A kind of connection that a helper expects: Linux's `nf_conntrack_expect_policy`.
#[derive(Clone, Copy, Debug)]
pub struct ExpectationClass {
    /// Its name, where there are several; else nothing.
    pub name: &'static str,
    /// Its IP protocol.
    pub protocol: u8,
    /// Expectations of it that one connection may have at a time.
    pub max_expectations: u8,
    /// How much is known of who comes.
    pub source: SourceMask,
    /// How much where the helper is loose.
    pub loose_source: SourceMask,
    /// How long each of them is waited for, in seconds.
    pub timeout_s: u32,
    /// The helper that reads what comes of it, if any does.
    pub read_by: Option<HelperId>,
}

impl ExpectationClass {
    /// That of a helper which has no other.
    const fn only(protocol: u8, max_expectations: u8, timeout_s: u32) -> Self {
        let (source, loose_source) = (SourceMask::AnyPort, SourceMask::AnyPort);
        Self { name: "", protocol, max_expectations, source, loose_source, timeout_s, read_by: None }
    }
}

/// What a helper reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reads {
    /// The two streams of a connection, line by line or message by message.
    Stream(StreamReader),
    /// The two streams of a connection, by the begin of each turn.
    Turns(TurnReader),
    /// Datagrams, each by itself.
    Datagrams(DatagramReader),
    /// Messages, each whole, in datagrams or over a stream.
    Messages(MessageReader),
}

impl Reads {
    /// Whether Linux has a helper that reads so.
    const fn is_known_to_linux(&self) -> bool {
        match self {
            Self::Stream(reader) => reader.linux.is_some(),
            Self::Datagrams(reader) => reader.inspect_as_linux.is_some(),
            Self::Turns(_) | Self::Messages(_) => true,
        }
    }

    /// How long a connection lives that something of this direction was read of, in seconds; 0 is as long as any.
    const fn master_timeout_s(&self, direction: Direction) -> u32 {
        match self {
            Self::Stream(_) | Self::Turns(_) => 0,
            Self::Datagrams(reader) => reader.master_timeout_s[direction as usize],
            Self::Messages(reader) => reader.master_timeout_s,
        }
    }
}

/// How a helper reads streams. What is said of lines holds for messages, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamReader {
    /// Where a line ends.
    pub(crate) delimiter: Delimiter,
    /// What it finds in a line.
    pub(crate) inspect: fn(&Line<'_>, &mut Memory) -> Found,
    /// How Linux reads them; `None` where it has no such helper.
    pub(crate) linux: Option<LinuxReader>,
    /// Whether a line that begins so may come to announce a connection.
    pub(crate) may_announce: fn(&[u8], Direction) -> bool,
    /// An address in the form that it had.
    pub(crate) rewrite: fn(Form, Family, u128, u16) -> Text,
}

impl StreamReader {
    /// How Linux reads them, if that is how they are to be read.
    pub(crate) fn in_linux(&self, preset: Preset) -> Option<&LinuxReader> {
        self.linux.as_ref().filter(|_| preset == Preset::Linux)
    }
}

/// How Linux reads them: by the segment, each by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinuxReader {
    /// What it finds in a segment.
    pub(crate) inspect: fn(&[u8], Direction, Family) -> Match,
    /// Which of them it reads.
    pub(crate) segments: Segments,
    /// Whether what an end is called outside is the end's own address, too.
    pub(crate) knows_outside: bool,
}

/// Segments that Linux reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segments {
    /// All.
    All,
    /// Those that begin a line for certain.
    AtLineStarts,
}

/// How a helper reads turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnReader {
    /// The port that a turn announces, as two bytes at the end of its head.
    pub(crate) inspect: fn(&Turn) -> Result<Option<u16>, HelperEvent>,
    /// Whether what a turn begins with, of so many bytes, asks for what may announce one.
    pub(crate) is_asked: fn(&[u8; HEAD_BYTES], u32) -> bool,
}

/// How a helper reads datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DatagramReader {
    /// What it finds in the payload of one.
    pub(crate) inspect: fn(&[u8], Direction) -> InDatagram,
    /// What Linux finds in it; `None` where it has no such helper.
    pub(crate) inspect_as_linux: Option<fn(&[u8], Direction) -> InDatagram>,
    /// What is announced in the form that it had.
    pub(crate) rewrite: fn(Form, Family, u128, u16) -> Text,
    /// How long a connection lives that a datagram of each direction was read of, in seconds; 0 is as long as any.
    pub(crate) master_timeout_s: [u32; 2],
}

/// How a helper reads messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageReader {
    /// Tells how long one of a stream is.
    pub(crate) measure: Measure,
    /// Reads one.
    pub(crate) read: fn(&mut Shard, &mut Reading<'_>) -> Result<(), Refused>,
    /// Reads a segment as Linux does; `None` where that is read message by message, too.
    pub(crate) read_as_linux: Option<ReadAsLinux>,
    /// How long a connection lives that brings one, in seconds; 0 is as long as any.
    pub(crate) master_timeout_s: u32,
    /// Whether one that is rewritten may become longer.
    pub(crate) may_grow: bool,
}

/// Reads a segment.
pub(crate) type ReadAsLinux = fn(&mut Shard, &Part, &MessageReader, &[u8]) -> Result<(), DropReason>;

impl HelperId {
    /// What is fixed about it.
    pub const fn descriptor(self) -> &'static Descriptor {
        match self {
            Self::Ftp => &ftp::DESCRIPTOR,
            Self::Tftp => &tftp::DESCRIPTOR,
            Self::Irc => &irc::DESCRIPTOR,
            Self::Amanda => &amanda::DESCRIPTOR,
            Self::Sip => &sip::DESCRIPTOR,
            Self::Rtsp => &rtsp::DESCRIPTOR,
            Self::Sane => &sane::DESCRIPTOR,
            Self::Pptp => &pptp::DESCRIPTOR,
            Self::Talk => &talk::DESCRIPTOR,
            Self::Ntalk => &talk::NTALK_DESCRIPTOR,
            Self::Ras => &h323::RAS,
            Self::Q931 => &h323::Q931,
            Self::H245 => &h323::H245,
        }
    }

    /// Linux's name of it, as configuration, listings and metrics say it.
    pub const fn name(self) -> &'static str {
        self.descriptor().name
    }

    /// The helper of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|helper| helper.name() == name)
    }
}

/// Which connections a helper reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The helper.
    pub helper: HelperId,
    /// What the first packet of such a connection looks like as it comes in: before its destination is translated and before it
    /// has a way.
    pub on: policy::Match,
    /// Whether what it announces may have another address than the connection's own.
    pub loose: bool,
}

/// The helper that reads a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Assigned {
    pub(crate) helper: HelperId,
    pub(crate) loose: bool,
}

impl Assigned {
    /// The helper of a connection that was expected, if what expected it reads it, too.
    pub(crate) fn of_child(expectation: &Expectation) -> Option<Self> {
        let helper = expectation.helper()?;
        let class = helper.descriptor().classes.get(usize::from(expectation.class))?;
        class.read_by.map(|helper| Self { helper, loose: false })
    }
}

/// Words of a bit for each port.
const PORT_WORDS: usize = 1 << 10;

/// All assignments, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helpers {
    assignments: Vec<Assignment>,
    /// A bit for each destination port that some assignment is about, so that other connections pay next to nothing.
    ports: Box<[u64; PORT_WORDS]>,
    /// The helpers that are switched off, by number.
    is_off: [bool; HelperId::ALL.len()],
}

impl Default for Helpers {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl Helpers {
    /// Those of a list, of which the first that applies decides.
    pub fn new(assignments: Vec<Assignment>) -> Self {
        let mut ports = Box::new([0; PORT_WORDS]);
        for Assignment { on, .. } in &assignments {
            if on.destination_ports.is_empty() {
                ports.fill(u64::MAX);
            }
            for port in on.destination_ports.iter().cloned().flatten() {
                ports[usize::from(port / 64)] |= 1 << (port % 64);
            }
        }
        Self { assignments, ports, is_off: [false; HelperId::ALL.len()] }
    }

    /// Whether connections may get a helper.
    pub fn assigns(&self, helper: HelperId) -> bool {
        self.assignments.iter().any(|assignment| assignment.helper == helper)
    }

    /// Switches a helper on or off. One that is off reads nothing, also of the connections that have it.
    pub const fn switch(&mut self, helper: HelperId, is_on: bool) {
        self.is_off[helper as usize] = !is_on;
    }

    /// Whether a helper is switched on.
    pub const fn is_on(&self, helper: HelperId) -> bool {
        !self.is_off[helper as usize]
    }

    /// The list.
    pub fn assignments(&self) -> &[Assignment] {
        &self.assignments
    }

    /// The helper of the connection that a packet with these facts opens, if it gets one.
    #[inline]
    pub(crate) fn assign(&self, facts: &Facts) -> Option<Assigned> {
        let port = facts.destination_port;
        let is_any = self.ports[usize::from(port / 64)] >> (port % 64) & 1 != 0;
        if is_any { self.find(facts) } else { None }
    }

    #[inline(never)]
    fn find(&self, facts: &Facts) -> Option<Assigned> {
        let applies = |one: &&Assignment| {
            self.is_on(one.helper)
                && one.helper.descriptor().protocols.contains(&facts.protocol)
                && one.on.applies(facts)
        };
        let Assignment { helper, loose, .. } = *self.assignments.iter().find(applies)?;
        Some(Assigned { helper, loose })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_tell_helpers_apart() {
        for (number, helper) in HelperId::ALL.into_iter().enumerate() {
            assert_eq!(helper as usize, number);
            assert_eq!(HelperId::named(helper.name()), Some(helper));
        }
        assert_eq!(HelperId::named("gopher"), None);
    }
}
