//! What a helper is given to read, and what it finds.

use super::messages::Framing;
use super::pptp::calls::Message;
use crate::helper_event::HelperEvent;
use crate::tuple::Direction;
use std::net::IpAddr;
use std::ops::Range;
use zerocopy::FromZeros;

/// A line of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line<'a> {
    /// Its bytes, the newline included unless it was cut off for being too long.
    pub(crate) bytes: &'a [u8],
    /// Who has sent it: in the original direction the client.
    pub(crate) direction: Direction,
    /// Whether it is the first of its direction.
    pub(crate) is_first: bool,
    /// Whether what was in front of it has passed unread.
    pub(crate) is_resumed: bool,
}

/// What a helper remembers of a connection, as it likes. Zero at birth.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(C)]
pub(crate) struct HelperMemory {
    pub(crate) note: u32,
    /// Of messages, by direction.
    pub(crate) framings: [Framing; 2],
}

/// How an address stands in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Address and port as six numbers with commas between (RFC 959).
    Numbers,
    /// Protocol, address and port, with delimiters around each (RFC 2428).
    Extended,
    /// The same without protocol and address.
    ExtendedPort,
    /// Address and port with a space between, the address as one number (DCC).
    Decimal,
    /// The same with the address as it is usually written.
    Plain,
    /// The port alone.
    Port,
    /// The port and, behind it, the address, as in a `sockaddr_in`.
    Endpoint,
    /// Two ports with this byte between, the second so much higher than the first: both are meant.
    Ports {
        /// What stands between.
        delimiter: u8,
        /// How much higher.
        distance: u16,
    },
    /// The port alone, and the next one is meant, too.
    FirstPort,
    /// The address alone.
    Address,
}

impl Form {
    /// How much higher the second port is that is meant; `None` where there is none.
    pub(crate) const fn distance(self) -> Option<u16> {
        match self {
            Self::Ports { distance, .. } => Some(distance),
            Self::FirstPort => Some(1),
            _ => None,
        }
    }
}

/// A connection that is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announced {
    /// The address that it will go to; `None` is that of whoever announces it.
    pub(crate) address: Option<IpAddr>,
    /// The port that it will go to.
    pub(crate) port: u16,
    /// Where both stand, in bytes from the start of what was read.
    pub(crate) range: Range<usize>,
    /// How they stand there.
    pub(crate) form: Form,
}

/// What a part of a line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mention {
    /// A connection is announced.
    Announced(Announced),
    /// An address, which may be one of the connection's own.
    Address(IpAddr, Range<usize>),
    /// A port that the other end has announced, as it is known here.
    Port(u16, Form, Range<usize>),
    /// A port, alone, which may be the one that it is sent from.
    OwnPort(u16, Range<usize>),
}

impl Mention {
    /// Where it stands.
    pub(crate) const fn range(&self) -> &Range<usize> {
        match self {
            Self::Announced(announced) => &announced.range,
            Self::Address(_, range) | Self::Port(_, _, range) | Self::OwnPort(_, range) => range,
        }
    }
}

/// What one line mentions, at most.
const MAX_MENTIONS: usize = 8;

/// All of it, in their order in the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mentions([Option<Mention>; MAX_MENTIONS]);

impl Mentions {
    /// Adds one. False where there is no room for it.
    pub(crate) fn push(&mut self, mention: Mention) -> bool {
        let Some(free) = self.0.iter().position(Option::is_none) else { return false };
        let behind = |other: &Option<Mention>| {
            other.as_ref().is_some_and(|other| other.range().start > mention.range().start)
        };
        let index = self.0[..free].iter().position(behind).unwrap_or(free);
        self.0[free] = Some(mention);
        self.0[index..=free].rotate_right(1);
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mention> {
        self.0.iter().flatten()
    }
}

/// What a helper finds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and the packet path allocates nothing"
)]
pub(crate) enum Found {
    /// Nothing that it has to do with.
    Nothing,
    /// A connection is announced.
    Announced(Announced),
    /// Calls of PPTP are spoken of.
    Call(Message),
    /// Addresses and ports are mentioned.
    Mentioned(Mentions),
    /// So many bytes follow that are no lines.
    Body(u32),
    /// It has to be off from here on.
    Off(HelperEvent),
}

/// Connections that one datagram announces, at most.
const MAX_ANNOUNCED: usize = 4;

/// All of them, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announcements([Option<Announced>; MAX_ANNOUNCED]);

impl Announcements {
    /// Adds one. False where there is no room for it.
    pub(crate) fn push(&mut self, announced: Announced) -> bool {
        let free = self.0.iter_mut().find(|slot| slot.is_none());
        free.map(|slot| *slot = Some(announced)).is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Announced> {
        self.0.iter().flatten()
    }
}

/// What a helper finds in a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and the packet path allocates nothing"
)]
pub(crate) enum InDatagram {
    /// Nothing that it has to do with.
    Nothing,
    /// A request, which the server answers from another port.
    Request,
    /// The server's end has announced the client's, and is to come to it at the port that it was asked at itself.
    Invitation,
    /// Connections are announced.
    Announced(Announcements),
    /// Addresses and ports are mentioned.
    Mentioned(Mentions),
    /// The helper has to be off from here on.
    Off(HelperEvent),
}

/// What Linux makes of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// It passes.
    None,
    /// It begins like an announcement and does not go on like one: it is dropped.
    Partial,
    /// A connection is announced.
    Full(Announced),
}
