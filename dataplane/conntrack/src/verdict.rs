//! What is said about a packet: its state, and whether and why it leaves or ends here.

use crate::ids::{EntryId, PortId, RuleId, ShardId, Zone};
use crate::tuple::Direction;
use std::net::IpAddr;
use std::ops::Range;

/// The conntrack state of a packet, in Linux's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum State {
    /// First packet of a connection, or a further one that has seen no answer.
    New,
    /// Belongs to a connection that has seen packets both ways, or is its first answer.
    Established,
    /// Opens a connection that was expected, or is an ICMP error about a known one.
    Related,
    /// Cannot be part of any connection.
    Invalid,
    /// Exempt from tracking.
    Untracked,
}

impl State {
    /// All states, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::New, Self::Established, Self::Related, Self::Invalid, Self::Untracked];

    /// Linux's name in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Established => "ESTABLISHED",
            Self::Related => "RELATED",
            Self::Invalid => "INVALID",
            Self::Untracked => "UNTRACKED",
        }
    }
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[doc = $meaning:literal])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[doc = $meaning])* $variant,)* }

        impl $name {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The metric label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),*).trim_ascii_start(),)* }
            }
        }
    };
}

pub(crate) use reasons;

reasons! {
    /// Why a packet was dropped. The same reasons stand in `sluice drops` and in the label of
    /// `sluice_packet_drops_total`.
    DropReason {
        /// The frame is shorter than its headers say.
        Truncated = "truncated",
        /// The IPv4 or IPv6 header contradicts itself: version, header length, total length.
        IpHeader = "ip-header",
        /// The IPv4 header checksum is wrong.
        IpChecksum = "ip-checksum",
        /// The source address cannot be one here: none, multicast, broadcast, loopback, the box's own, or another link's.
        IpSource = "ip-source",
        /// No route leads back to the source, or none by the interface that the packet came in by (`rp-filter`).
        RpFilter = "rp-filter",
        /// Sent to another host on the link.
        OtherHost = "other-host",
        /// Sent into a VLAN (IEEE 802.1Q) that is no interface of the router's, or with several tags.
        UnknownVlan = "unknown-vlan",
        /// Neither IP nor ARP, which a router does not pass on.
        NotIp = "not-ip",
        /// To many: broadcast or multicast, which is not forwarded.
        Multicast = "multicast",
        /// TTL or hop limit ran out here.
        TtlExceeded = "ttl-exceeded",
        /// Larger than the MTU of the egress port, and must not be fragmented.
        TooBig = "too-big",
        /// No route to the destination.
        NoRoute = "no-route",
        /// The next hop did not answer ARP or neighbour discovery.
        NoNeighbour = "no-neighbour",
        /// Of a group that the box is on standby for (`ha`): another box is active.
        Standby = "standby",
        /// A TCP segment of a connection that nobody knows and that would be translated, soon after the box became active for its
        /// group: its sender is told by a reset.
        Takeover = "takeover",
        /// Addressed to the box itself, which offers nothing there.
        Local = "local",
        /// A rule of the policy, or its default, says drop.
        Policy = "policy",
        /// A rule of the policy says reject; the sender was told, unless the rate limit forbade it.
        Reject = "reject",
        /// A SYN that was answered with a SYN cookie (`synproxy`): nothing is known of it until the cookie comes back.
        SynCookie = "syn-cookie",
        /// A TCP segment of no known connection that brings no good SYN cookie to where one is asked for (`synproxy`), or one that comes
        /// before server and box are agreed.
        BadSynCookie = "bad-syn-cookie",
        /// The table is full of assured entries.
        TableFull = "table-full",
        /// The connection found no address and port to be translated to: those of its rule are all taken, or it has no
        /// ports and its translation would be that of another connection.
        NatExhausted = "nat-exhausted",
        /// Too many first packets wait for other shards to know their connections, or those cannot know any more.
        HoldFull = "hold-full",
        /// Of or about a translated connection, and not to be translated: an ICMP redirect, which would lead the client past
        /// its translation, an ICMP error that quotes too little, GRE of a version unknown.
        NatUnknown = "nat-unknown",
        /// Its masqueraded connection is routed to another interface now and has ended: the next packet begins it anew, with the
        /// address there.
        NatRouteChanged = "nat-route-changed",
        /// A fragment that brings nothing new: all of its bytes are there already.
        FragmentDuplicate = "fragment-duplicate",
        /// A fragment of a datagram two of whose fragments overlap (RFC 5722): none of it passes.
        FragmentOverlap = "fragment-overlap",
        /// A fragment of a datagram whose lengths contradict one another: an empty fragment, two ends, more than 65,535 bytes.
        FragmentLength = "fragment-length",
        /// A fragment of a datagram that says of some of its fragments that they support ECN and of others that they do not
        /// (RFC 3168 section 5.3).
        FragmentEcn = "fragment-ecn",
        /// A fragment of a datagram that did not become whole in time.
        FragmentTimeout = "fragment-timeout",
        /// A fragment too many: of its datagram, of its source, or of all that are held.
        FragmentLimit = "fragment-limit",
        /// It has a part of a text that a helper may have to rewrite, or comes before what precedes it: it is sent again. As in Linux
        /// with its preset: it begins like an announcement and does not go on like one.
        HelperPartial = "helper-partial",
        /// It is a message that a helper cannot read (with Linux's preset).
        HelperMalformed = "helper-malformed",
        /// A helper has a longer text for it than it has room for.
        HelperNoRoom = "helper-no-room",
        /// It announces a connection that is not expected: too many are, or other shards cannot be told.
        ExpectationFull = "expectation-full",
        /// It announces a connection that is not expected: a packet of it could be one that another connection has announced.
        ExpectationClash = "expectation-clash",
        /// To be cut into fragments, for all of which there was no memory: those that there are leave.
        NoBuffer = "no-buffer",
        /// The egress queue was full.
        TxFull = "tx-full",
        /// For the box itself, whose own network stack does not take packets fast enough.
        HostFull = "host-full",
        /// The ring to the shard that the packet belongs to was full.
        HandoffFull = "handoff-full",
        /// Handed from shard to shard again and again, and to none that knows its connection: a fault of the box itself.
        HandoffLoop = "handoff-loop",
    }
}

reasons! {
    /// Why a packet is INVALID: the label of `sluice_conntrack_invalid_packets_total`.
    InvalidReason {
        /// An L4 header that is cut off.
        ShortHeader = "short-header",
        /// A length field that contradicts the packet: TCP data offset, UDP length, UDP-Lite coverage.
        BadLength = "bad-length",
        /// The L4 checksum is wrong.
        BadChecksum = "bad-checksum",
        /// A fragment that no datagram can be made of: a first one that does not hold all headers (RFC 7112, RFC 1858), or an IPv6
        /// one that is not the last and no multiple of eight bytes long.
        Fragment = "fragment",
        /// TCP flags that are no legal combination.
        TcpFlags = "tcp-flags",
        /// A TCP segment that cannot begin a connection.
        TcpNotNew = "tcp-not-new",
        /// A TCP segment that does not fit the state of its connection.
        TcpState = "tcp-state",
        /// TCP sequence number beyond the window.
        TcpWindow = "tcp-window",
        /// TCP acknowledgement of data never sent.
        TcpAck = "tcp-ack",
        /// TCP reset that does not match the expected sequence number (RFC 5961).
        TcpReset = "tcp-reset",
        /// An ICMP type that is neither query, answer nor error.
        IcmpType = "icmp-type",
        /// An ICMP answer nobody asked for.
        IcmpUnsolicited = "icmp-unsolicited",
        /// An ICMP error whose quote belongs to no entry, contradicts the error or, where that is looked at, is damaged.
        IcmpQuote = "icmp-quote",
        /// An SCTP chunk that does not fit the state of its association.
        SctpChunk = "sctp-chunk",
        /// An SCTP verification tag that is not the association's.
        SctpTag = "sctp-tag",
        /// Enhanced GRE (version 1) that does not carry PPP.
        GreProtocol = "gre-protocol",
    }
}

/// How a sender is told that its packet was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// A TCP reset.
    TcpReset,
    /// A SYN/ACK with a SYN cookie.
    SynCookie,
    /// ICMP destination unreachable, administratively prohibited (RFC 1812, RFC 4443).
    Prohibited,
    /// ICMP destination unreachable, port unreachable.
    PortUnreachable,
    /// ICMP destination unreachable, protocol unreachable; ICMPv6 parameter problem, unrecognized next header.
    ProtocolUnreachable,
    /// ICMP destination unreachable, no route.
    NoRoute,
    /// ICMP destination unreachable, host unreachable; ICMPv6 address unreachable.
    HostUnreachable,
    /// ICMP time exceeded in transit.
    TimeExceeded,
    /// ICMP fragment reassembly time exceeded.
    ReassemblyTimeExceeded,
    /// ICMP fragmentation needed, or packet too big, with the MTU of the next hop in bytes.
    TooBig(u16),
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leaves by this port, on a routed box to [`Verdict::next_hop`].
    Forward(PortId),
    /// Leaves by this port, cut into fragments of as many bytes at most: the MTU there. As soon as all other shards have been told
    /// what it announces, if that is anything.
    Fragment(PortId, u16),
    /// Is for the box itself.
    Deliver,
    /// Ends here.
    Drop(DropReason),
    /// Ends here, and its sender is told.
    Reject(DropReason, Rejection),
    /// Belongs to another shard, which decides.
    Handoff(ShardId, Handoff),
    /// Is to leave by this port, and is held until the claim of its entry is answered ([`crate::exchange`]).
    Hold(PortId),
    /// Leaves by this port as soon as all other shards have been told what it announces ([`crate::expectations`]).
    Announce(PortId),
    /// Leaves by this port, and the box acknowledges it to its sender, a server, in the name of its client ([`crate::synproxy`]).
    Acknowledge(PortId),
    /// Belongs to an entry whose claim is not answered yet, and is to come again when it is.
    Wait,
    /// Is a fragment, and is held until its datagram is whole ([`crate::fragments`]).
    Reassemble(FragmentOffsets),
}

/// Where a fragment is in its frame, in bytes from the start of the first segment: so that headers are walked through once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentOffsets {
    /// Where its IP header starts.
    pub l3: u16,
    /// Where that starts which it brings of its datagram, behind the IPv4 header or the IPv6 fragment header.
    pub payload: u16,
}

impl FragmentOffsets {
    /// The bytes of the headers that each fragment has.
    pub(crate) fn header(self) -> Range<usize> {
        self.l3.into()..self.payload.into()
    }
}

/// Why a packet is handed to another shard. What is said about a zone holds there, too: a configuration that gives the packet
/// another may be in force already, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handoff {
    /// It is steered there by its tuple.
    Steering,
    /// It is a fragment, steered there by its addresses.
    Fragment,
    /// A signpost in this zone says so.
    Signpost(Zone),
    /// It came by a signpost, and no connection was found.
    Return,
    /// It begins a connection in this zone that is to be the other's: a signpost to it has been placed.
    Delegation(Zone),
}

impl From<DropReason> for Action {
    fn from(reason: DropReason) -> Self {
        Self::Drop(reason)
    }
}

/// Everything that was decided about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of it.
    pub action: Action,
    /// The neighbour it goes to next: a router, or its destination itself. `None` on a wire, and where it ends in the box.
    pub next_hop: Option<IpAddr>,
    /// Its state; `None` where it ended before tracking.
    pub state: Option<State>,
    /// Its direction, where it belongs to an entry.
    pub direction: Option<Direction>,
    /// Why it is INVALID.
    pub invalid: Option<InvalidReason>,
    /// The rule that decided, if not the policy's default.
    pub rule: Option<RuleId>,
    /// The entry it belongs to.
    pub entry: Option<EntryId>,
}

impl Verdict {
    /// The verdict on a packet that is dropped before tracking.
    pub const fn dropped(reason: DropReason) -> Self {
        Self::ended(Action::Drop(reason))
    }

    /// The verdict on a packet that is not tracked here.
    pub const fn ended(action: Action) -> Self {
        Self { action, next_hop: None, state: None, direction: None, invalid: None, rule: None, entry: None }
    }

    /// Makes it the refusal of a packet that was to pass.
    pub(crate) const fn refuse(&mut self, action: Action) {
        self.action = action;
        self.next_hop = None;
    }

    /// Makes it that on a packet which leaves as soon as all other shards have been told what it announces.
    pub(crate) const fn hold_back(&mut self) {
        if let Action::Forward(egress) = self.action {
            self.action = Action::Announce(egress);
        }
    }

    /// The reason of the drop, if it is one.
    pub const fn drop_reason(&self) -> Option<DropReason> {
        match self.action {
            Action::Forward(_)
            | Action::Fragment(..)
            | Action::Deliver
            | Action::Handoff(..)
            | Action::Hold(_)
            | Action::Announce(_)
            | Action::Acknowledge(_)
            | Action::Wait
            | Action::Reassemble(_) => None,
            Action::Drop(reason) | Action::Reject(reason, _) => Some(reason),
        }
    }
}
