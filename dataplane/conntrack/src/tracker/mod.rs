//! Protocol trackers: what a packet does to the entry it belongs to.
//!
//! One file per protocol. Each has `open`, which judges the first packet and fills a blank entry, and
//! `update`, which judges a further one. Both see only packets whose headers and checksum are good.

pub mod generic;
pub mod gre;
pub mod icmp;
pub mod sctp;
pub mod tcp;
pub mod udp;

use crate::entry::Entry;
use crate::headers::Packet;
use crate::settings::Settings;
use crate::time::Tick;
use crate::tuple::{Direction, Selector, protocol};
use crate::verdict::InvalidReason;

/// What a tracker may know besides the packet and the entry.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The settings in force.
    pub settings: &'a Settings,
    /// The time.
    pub now: Tick,
}

/// What a tracker makes of a further packet of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// Belongs to the connection: it is counted, and the entry lives this much longer.
    Refresh {
        /// Milliseconds from now to the entry's new deadline.
        timeout_ms: u32,
    },
    /// The same, and from now on the entry is [assured](crate::entry::Status::ASSURED).
    Assured {
        /// Milliseconds from now to the entry's new deadline.
        timeout_ms: u32,
    },
    /// Passes, but is not counted and changes nothing.
    Ignore,
    /// A SYN, with or without ACK, which may be edited as it leaves. Otherwise as [`Update::Refresh`], or as
    /// [`Update::Ignore`] where it has no timeout.
    Syn {
        /// Milliseconds from now to the entry's new deadline.
        timeout_ms: Option<u32>,
    },
    /// Does not fit, and has changed nothing.
    Invalid(InvalidReason),
    /// The last one, which changes nothing else: if it passes, the entry ends with it.
    End,
    /// Opens a new connection, which takes the place of this one if the packet passes.
    Reopen,
}

/// Fills `entry`, whose selector is set and whose tracker bytes are zero, from the first packet of a
/// connection. Returns the entry's first timeout in milliseconds, or why the packet is INVALID.
#[inline]
pub fn open(context: Context<'_>, packet: Packet<'_>, entry: &mut Entry) -> Result<u32, InvalidReason> {
    match packet.headers.protocol {
        protocol::TCP => tcp::open(context, packet, entry),
        protocol::UDP | protocol::UDPLITE => udp::open(context, entry),
        protocol::ICMP | protocol::ICMPV6 => icmp::open(context, packet),
        protocol::SCTP => sctp::open(context, packet, entry),
        protocol::GRE => gre::open(context, entry),
        _ => generic::open(context),
    }
}

/// Fills `entry`, whose selector and state are set and whose tracker bytes are zero, of a connection of which no packet was
/// seen. Of SCTP the verification tags are known. False where a packet with this tuple in this state never makes an entry.
#[cold]
pub fn begin_unseen(context: Context<'_>, entry: &mut Entry, tags: sctp::TagPair) -> bool {
    let protocol = entry.protocol();
    match protocol {
        protocol::TCP => tcp::begin_unseen(entry),
        protocol::UDP | protocol::UDPLITE => udp::begin(context, entry),
        protocol::SCTP => sctp::begin_unseen(entry, tags),
        protocol::GRE => gre::begin(context, entry),
        _ => {}
    }
    may_be_unseen(entry.selector, entry.state, tags)
}

/// Whether a packet with an original tuple like this makes an entry that can be in `state`, with these tags of SCTP.
fn may_be_unseen(original: Selector, state: u8, tags: sctp::TagPair) -> bool {
    match original.protocol() {
        protocol::TCP => state != 0 && usize::from(state) < tcp::TcpState::ALL.len(),
        protocol::SCTP => state != 0 && usize::from(state) < sctp::SctpState::ALL.len() && !tags.contains(&0),
        protocol::ICMP | protocol::ICMPV6 => state == 0 && icmp::is_query(original),
        _ => state == 0,
    }
}

/// What a tracker tells of a connection to another box, besides its state. TCP's scales and traits of both ends, SCTP's tags, little
/// endian; zeros of all others.
pub type Told = [u8; 8];

/// What the tracker of an entry tells of it.
pub fn told(entry: &Entry) -> Told {
    match entry.protocol() {
        protocol::TCP => tcp::told(entry),
        protocol::SCTP => {
            let [original, reply] = sctp::tags(entry).map(u32::to_le_bytes);
            let mut told = Told::default();
            told[..4].copy_from_slice(&original);
            told[4..].copy_from_slice(&reply);
            told
        }
        _ => Told::default(),
    }
}

/// The tags that are told of an association.
fn told_tags([a, b, c, d, e, f, g, h]: Told) -> sctp::TagPair {
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// Whether a connection with an original tuple like this can be in `state`, of which that is told.
pub fn may_be_told(original: Selector, state: u8, told: &Told) -> bool {
    may_be_unseen(original, state, told_tags(*told))
        && match original.protocol() {
            protocol::TCP => tcp::may_be_told(told),
            protocol::SCTP => true,
            _ => *told == Told::default(),
        }
}

/// Fills `entry`, whose selector and state are set and whose tracker bytes are zero, of a connection that another box tells of and that
/// began `age_ms` ago.
pub fn begin_told(context: Context<'_>, entry: &mut Entry, told: &Told, age_ms: u32) {
    let birth = Context { now: context.now.before_ms(age_ms), ..context };
    begin_unseen(birth, entry, told_tags(*told));
    if entry.protocol() == protocol::TCP {
        tcp::begin_told(entry, told);
    }
}

/// Whether a connection is closed, though its entry stays for what may still be on its way. Only of TCP that can be told.
pub(crate) const fn is_closed(entry: &Entry) -> bool {
    entry.protocol() == protocol::TCP && tcp::is_closed(entry)
}

/// Whether a packet that an ICMP error quotes, sent in `direction`, can be one that the error is about; `quoted` is what there
/// is of its L4 header and payload. Only of TCP that can be told.
#[cold]
pub fn is_in_flight(entry: &Entry, direction: Direction, quoted: &[u8]) -> bool {
    match entry.protocol() {
        protocol::TCP => tcp::is_in_flight(entry, direction, quoted),
        _ => true,
    }
}

/// Judges what most further packets of an answered connection are, those of TCP or UDP that fit what was seen before, and
/// gives the entry's new timeout in milliseconds. `None`, and nothing is changed, of one that takes [`update`]. `l4` is header
/// and payload.
#[inline(always)]
pub(crate) fn follow(
    context: Context<'_>,
    protocol: u8,
    l4: &[u8],
    entry: &mut Entry,
    direction: Direction,
) -> Option<u32> {
    match protocol {
        protocol::TCP => tcp::follow(context.settings, l4, l4.len() as u32, entry, direction),
        protocol::UDP => udp::follow(context, entry),
        _ => None,
    }
}

/// Judges a further packet of `entry` that goes in `direction`.
#[inline(always)]
pub fn update(context: Context<'_>, packet: Packet<'_>, entry: &mut Entry, direction: Direction) -> Update {
    match packet.headers.protocol {
        protocol::TCP => tcp::update(context, packet, entry, direction),
        protocol::UDP => udp::update(context, entry),
        _ => update_rarer(context, packet, entry, direction),
    }
}

#[inline(never)]
fn update_rarer(context: Context<'_>, packet: Packet<'_>, entry: &mut Entry, direction: Direction) -> Update {
    match packet.headers.protocol {
        protocol::UDPLITE => udp::update(context, entry),
        protocol::ICMP | protocol::ICMPV6 => icmp::update(context, packet, direction),
        protocol::SCTP => sctp::update(context, packet, entry, direction),
        protocol::GRE => gre::update(entry),
        _ => generic::update(context),
    }
}
