//! A rule set of netfilter, whichever tool wrote it down: tables of chains of rules, each with matches and one action.

use std::rc::Rc;

use super::report::{Effect, Origin};
use super::set::NumberSet;
use crate::config::{
    AddressRange, Connections, Limit, Mark, MssLimit, PortRange, Prefix, Redirect, RpFilter, Status,
    Synproxy, TcpFlags,
};

/// The largest IPv4 address.
pub(super) const MAX_V4: u128 = u32::MAX as u128;
/// The largest port; of ICMP, the largest `type << 8 | code`.
pub(super) const MAX_PORT: u128 = u16::MAX as u128;
/// The largest number of a protocol.
pub(super) const MAX_PROTOCOL: u128 = u8::MAX as u128;
/// States by their index: new, established, related, invalid, untracked.
pub(super) const MAX_STATE: u128 = 4;

/// A place in the kernel where chains begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// What comes in, before it is routed.
    Prerouting,
    /// What is for the box itself.
    Input,
    /// What passes.
    Forward,
    /// What the box sends.
    Output,
    /// What leaves.
    Postrouting,
}

impl Hook {
    /// The hook of this name, in either case.
    pub(super) fn named(name: &str) -> Option<Hook> {
        const HOOKS: [(&str, Hook); 5] = [
            ("prerouting", Hook::Prerouting),
            ("input", Hook::Input),
            ("forward", Hook::Forward),
            ("output", Hook::Output),
            ("postrouting", Hook::Postrouting),
        ];
        HOOKS.iter().find(|(word, _)| word.eq_ignore_ascii_case(name)).map(|(_, hook)| *hook)
    }
}

/// How a chain that begins at a hook does so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Base {
    /// Where.
    pub hook: Hook,
    /// Whether it sees first packets alone, to translate them.
    pub is_nat: bool,
    /// Chains of lower numbers come first.
    pub priority: i64,
    /// Whether packets pass that no rule decides about.
    pub accepts: bool,
}

/// A chain.
#[derive(Debug)]
pub(super) struct Chain {
    /// Its name.
    pub name: String,
    /// Where it begins; `None` if it is jumped to.
    pub base: Option<Base>,
    /// Where it is declared.
    pub origin: Rc<Origin>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// A table: chains jump to those of their own table.
#[derive(Debug)]
pub(super) struct Table {
    /// Whether it sees packets of IPv4, and of IPv6.
    pub families: (bool, bool),
    /// Its chains.
    pub chains: Vec<Chain>,
}

impl Table {
    /// The chain of this name.
    pub(super) fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }
}

/// A rule: what all of its matches fit, its action is done to. What a tool writes as one line may be several of these.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Where it stands.
    pub origin: Rc<Origin>,
    /// What it looks at.
    pub matches: Vec<Match>,
    /// What it does.
    pub action: Action,
    /// Its comment.
    pub comment: Option<String>,
}

/// What a set of numbers is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    /// Interfaces it came in by, by their index; that behind the last is the box itself.
    In,
    /// Interfaces it leaves by, likewise.
    Out,
    /// 0 is IPv4, 1 is IPv6.
    Family,
    /// Source addresses, of a family that is known.
    Source,
    /// Destination addresses, likewise.
    Destination,
    /// IP protocols.
    Protocol,
    /// Source ports.
    SourcePort,
    /// Destination ports.
    DestinationPort,
    /// `type << 8 | code` of ICMP or ICMPv6, as the protocol says.
    Icmp,
    /// States by their index.
    State,
    /// 0 is original, 1 is reply.
    Direction,
}

/// Kinds of addresses, as the box sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressKind {
    /// Its own.
    Local,
    /// Broadcast in one of its networks.
    Broadcast,
    /// Multicast.
    Multicast,
}

/// One thing that a rule looks at.
#[derive(Clone, Debug)]
pub(super) enum Match {
    /// The interface, by names that may end in `+`; or, negated, any other.
    Interface {
        /// `In` or `Out`.
        field: Field,
        /// The kernel's names.
        names: Vec<String>,
        /// Whether any but these match.
        negated: bool,
    },
    /// A set of numbers.
    Set(Field, NumberSet),
    /// The kind of an address.
    Address {
        /// `Source` or `Destination`.
        field: Field,
        /// Any of these kinds.
        kinds: Vec<AddressKind>,
        /// Whether any but these match.
        negated: bool,
    },
    /// TCP flags.
    TcpFlags(TcpFlags),
    /// The connection's mark.
    Mark(Mark),
    /// Status of the connection, any of these.
    Status(Vec<Status>),
    /// The helper that expected the connection.
    Helper(String),
    /// So many packets.
    Limit(Limit),
    /// So many connections.
    Connections(Connections),
    /// Packets whose source the reverse path filter does not let pass.
    NoReversePath(RpFilter),
    /// A limit that cannot be said, in words.
    UnknownLimit(String),
    /// Sluice looks at it otherwise, in words.
    Differs(String),
    /// What Sluice does not look at, in words.
    Unknown(String),
    /// Sluice looks at more packets than these, in words.
    Wider(String),
}

/// How a sender is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rejection {
    /// TCP with a reset, all else with ICMP prohibited: as Sluice does it.
    Same,
    /// In another way.
    Other,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// The packet passes this chain and those it was jumped to from.
    Accept,
    /// It does not pass.
    Drop,
    /// It does not pass, and its sender is told.
    Reject(Rejection),
    /// The chain is left.
    Return,
    /// Another chain, and back.
    Jump(String),
    /// Another chain, and not back to this one.
    Goto(String),
    /// The connection gets a mark.
    Mark(u32),
    /// A line in the log, with what it begins with.
    Log(Option<String>),
    /// The connection is translated.
    Translate(Translation),
    /// The packet is not tracked.
    Untracked,
    /// The packet is tracked in this zone.
    Zone(u16),
    /// The connection is read by this helper.
    Helper(String),
    /// SYNs are answered with SYN cookies, in which servers offer this.
    Synproxy(Synproxy),
    /// SYNs offer no larger segments.
    ClampMss(MssLimit),
    /// Nothing: the rule counts.
    Count,
    /// What Sluice does not do, in words, and what comes of not doing it.
    Unknown(String, Effect),
}

/// What a connection becomes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Translation {
    /// To what.
    pub target: NatTarget,
    /// Ports to choose from.
    pub ports: Option<PortRange>,
    /// Whether the port is drawn at random.
    pub random: bool,
    /// Whether a client keeps one address.
    pub persistent: bool,
}

/// The kinds of translation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NatTarget {
    /// Source: to one of these.
    Source(AddressRange),
    /// Source: to the address of the interface.
    Masquerade,
    /// Destination: to one of these.
    Destination(AddressRange),
    /// Destination: to the box itself.
    Redirect(Redirect),
    /// Either, by the hook: the same host of this network.
    Network(Prefix),
}
