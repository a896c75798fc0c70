//! Counters of a shard: plain numbers that nobody else writes, copied out on request.

use crate::tracker::sctp::SctpState;
use crate::tracker::tcp::TcpState;
use crate::tuple::protocol;
use crate::verdict::{DropReason, InvalidReason, State};

/// Protocols as metrics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum ProtocolLabel {
    Tcp,
    Udp,
    UdpLite,
    Icmp,
    Icmpv6,
    Sctp,
    Gre,
    Generic,
}

impl ProtocolLabel {
    /// All labels, in the order of their numbers.
    pub const ALL: [Self; 8] =
        [Self::Tcp, Self::Udp, Self::UdpLite, Self::Icmp, Self::Icmpv6, Self::Sctp, Self::Gre, Self::Generic];

    /// The label of an IP protocol number.
    pub const fn of(number: u8) -> Self {
        match number {
            protocol::TCP => Self::Tcp,
            protocol::UDP => Self::Udp,
            protocol::UDPLITE => Self::UdpLite,
            protocol::ICMP => Self::Icmp,
            protocol::ICMPV6 => Self::Icmpv6,
            protocol::SCTP => Self::Sctp,
            protocol::GRE => Self::Gre,
            _ => Self::Generic,
        }
    }

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpLite => "udplite",
            Self::Icmp => "icmp",
            Self::Icmpv6 => "icmpv6",
            Self::Sctp => "sctp",
            Self::Gre => "gre",
            Self::Generic => "generic",
        }
    }

    /// The metric label of a state by its number, the place in [`ByState`]. A tracker without states has one: none.
    pub fn state(self, number: usize) -> Option<&'static str> {
        match self {
            Self::Tcp => TcpState::ALL.get(number).map(|state| state.name()),
            Self::Sctp => SctpState::ALL.get(number).map(|state| state.name()),
            _ => (number == 0).then_some("NONE"),
        }
    }
}

/// How many states a tracker can have.
pub const STATES: usize = 10;

/// A number for each protocol and tracker state.
pub type ByState = [[u64; STATES]; ProtocolLabel::ALL.len()];

/// What a shard has counted since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Packets by [`State`]; what ended before tracking is in none.
    pub packets: [u64; State::ALL.len()],
    /// Drops by [`DropReason`].
    pub drops: [u64; DropReason::ALL.len()],
    /// INVALID packets by [`InvalidReason`].
    pub invalid: [u64; InvalidReason::ALL.len()],
    /// Look-ups that found an entry.
    pub found: u64,
    /// Look-ups that found none.
    pub missed: u64,
    /// Entries put into the table.
    pub inserts: u64,
    /// Entries refused because the table was full of assured ones.
    pub insert_failures: u64,
    /// Entries evicted for a new one.
    pub early_drops: u64,
    /// Entries deleted by the operator.
    pub deletes: u64,
    /// Entries that a packet ended: a reset, an answer, an error, a connection opened anew.
    pub closed: u64,
    /// Entries that came to their time, by protocol and last state.
    pub expired: ByState,
    /// Entries alive, by protocol and state.
    pub entries: ByState,
    /// Answers written: echo replies, TCP resets, ICMP errors.
    pub answers: u64,
    /// Answers not written because the rate limit was reached.
    pub answers_withheld: u64,
    /// Log records lost because the ring was full or the rate limit reached.
    pub log_lost: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            packets: [0; State::ALL.len()],
            drops: [0; DropReason::ALL.len()],
            invalid: [0; InvalidReason::ALL.len()],
            found: 0,
            missed: 0,
            inserts: 0,
            insert_failures: 0,
            early_drops: 0,
            deletes: 0,
            closed: 0,
            expired: ByState::default(),
            entries: ByState::default(),
            answers: 0,
            answers_withheld: 0,
            log_lost: 0,
        }
    }
}

impl Counters {
    /// Adds what another shard has counted.
    pub fn add(&mut self, other: &Self) {
        // Every field by its name: a new one cannot be forgotten.
        let Self {
            packets,
            drops,
            invalid,
            found,
            missed,
            inserts,
            insert_failures,
            early_drops,
            deletes,
            closed,
            expired,
            entries,
            answers,
            answers_withheld,
            log_lost,
        } = other;
        let add_all = |own: &mut [u64], more: &[u64]| own.iter_mut().zip(more).for_each(|(a, b)| *a += b);
        add_all(&mut self.packets, packets);
        add_all(&mut self.drops, drops);
        add_all(&mut self.invalid, invalid);
        add_all(self.expired.as_flattened_mut(), expired.as_flattened());
        add_all(self.entries.as_flattened_mut(), entries.as_flattened());
        self.found += found;
        self.missed += missed;
        self.inserts += inserts;
        self.insert_failures += insert_failures;
        self.early_drops += early_drops;
        self.deletes += deletes;
        self.closed += closed;
        self.answers += answers;
        self.answers_withheld += answers_withheld;
        self.log_lost += log_lost;
    }
}

/// Packets and bytes that a rule has decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuleCounter {
    /// Packets.
    pub packets: u64,
    /// Bytes of their IP datagrams.
    pub bytes: u64,
}

impl RuleCounter {
    /// Adds what the same rule has decided elsewhere.
    pub const fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}
