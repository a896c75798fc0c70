//! Helpers: what reads protocols that announce further connections, Linux's `nf_conntrack_helper`.
//!
//! Nothing is read unless the configuration assigns a helper. The first packet of a connection, as it came in, decides; the
//! helper is that connection's to its end. Each helper is a file with its [`Descriptor`], and a line of [`Descriptor::of`].

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
mod quiet;
mod readers;
mod reading;
mod reads;
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
mod told;
mod turn_stage;
mod turns;

pub use crate::helper_event::HelperEvent;
pub(crate) use announced_ports::AnnouncedPorts;
pub(crate) use help::HelpTable;
pub(crate) use message_reading::MessageReader;
pub(crate) use readers::{DatagramReader, LinuxReader, Segments, StreamReader, TurnReader};
pub(crate) use reads::Reads;
pub use shift::Seqadj;
pub(crate) use shift::{Change, MAX_CHANGES};
pub(crate) use sip::Dialog;
pub(crate) use slots::Slot;
pub(crate) use text::Text;

use crate::expectations::{Expectation, SourceMask};
use crate::facts::Facts;
pub use crate::ids::HelperId;
use crate::policy;

/// What is fixed about a helper.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// The IP protocols of the connections that it reads.
    pub protocols: &'static [u8],
    /// The servers' ports, where the configuration does not say others.
    pub ports: &'static [u16],
    /// What it expects, by class.
    pub classes: &'static [ExpectationClass],
    /// How it reads them.
    pub(crate) reads: Reads,
}

impl Descriptor {
    /// That of a helper.
    pub const fn of(helper: HelperId) -> &'static Self {
        match helper {
            HelperId::Ftp => &ftp::DESCRIPTOR,
            HelperId::Tftp => &tftp::DESCRIPTOR,
            HelperId::Irc => &irc::DESCRIPTOR,
            HelperId::Amanda => &amanda::DESCRIPTOR,
            HelperId::Sip => &sip::DESCRIPTOR,
            HelperId::Rtsp => &rtsp::DESCRIPTOR,
            HelperId::Sane => &sane::DESCRIPTOR,
            HelperId::Pptp => &pptp::DESCRIPTOR,
            HelperId::Talk => &talk::DESCRIPTOR,
            HelperId::Ntalk => &talk::NTALK_DESCRIPTOR,
            HelperId::Ras => &h323::RAS,
            HelperId::Q931 => &h323::Q931,
            HelperId::H245 => &h323::H245,
        }
    }
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
        let class = Descriptor::of(helper).classes.get(usize::from(expectation.class))?;
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

    /// Whether connections may get a helper: because one of the list is about it, or because they are expected by one that may.
    pub fn assigns(&self, helper: HelperId) -> bool {
        let mut may_get = [false; HelperId::ALL.len()];
        let mut next: Vec<HelperId> = self.assignments.iter().map(|assignment| assignment.helper).collect();
        while let Some(helper) = next.pop() {
            if !std::mem::replace(&mut may_get[helper as usize], true) {
                next.extend(Descriptor::of(helper).classes.iter().filter_map(|class| class.read_by));
            }
        }
        may_get[helper as usize]
    }

    /// Switches a helper on or off. One that is off reads nothing, also of the connections that have it.
    pub const fn switch(&mut self, helper: HelperId, is_on: bool) {
        self.is_off[helper as usize] = !is_on;
    }

    /// The same, of which those are switched off that are in others.
    pub(crate) fn switched_as(self, others: &Self) -> Self {
        Self { is_off: others.is_off, ..self }
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
                && Descriptor::of(one.helper).protocols.contains(&facts.protocol)
                && one.on.applies(facts)
        };
        let Assignment { helper, loose, .. } = *self.assignments.iter().find(applies)?;
        Some(Assigned { helper, loose })
    }
}
