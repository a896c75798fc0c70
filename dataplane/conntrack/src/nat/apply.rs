//! Applying a translation to the packets of an entry.
//!
//! Rules, routes and the policy see a packet's destination after it was translated and its source before, as in Linux. The
//! packet itself is rewritten as it leaves: what ends here is answered as it came.

use super::bind::Newcomer;
use super::edit::{ErrorEdit, rewrite, rewrite_error};
use crate::frame::Frame;
use crate::headers::{Headers, Kind, Packet};
use crate::shard::Shard;
use crate::tuple::{Direction, Tuple, protocol};
use crate::wire::{gre, icmp};

/// What is to become of a packet's addresses and ports.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Edit {
    /// A packet of the connection becomes one of this tuple.
    Packet(Tuple),
    /// An ICMP error about the connection is translated outside and inside.
    Error(ErrorEdit),
}

/// Where a packet goes once its destination is translated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Destination {
    /// The address.
    pub(crate) address: u128,
    /// The port; `None` where it is the packet's own.
    pub(crate) port: Option<u16>,
}

impl Destination {
    const fn of(to: &Tuple) -> Self {
        Self { address: to.dst, port: Some(to.selector.dport()) }
    }
}

impl Edit {
    /// Where the packet goes; `None` where that stays.
    pub(crate) fn destination(&self) -> Option<Destination> {
        match self {
            Self::Packet(to) => Some(Destination::of(to)),
            Self::Error(edit) => edit.dst.map(|address| Destination { address, port: None }),
        }
    }

    /// Whether it can be done to a packet.
    #[inline]
    pub(crate) fn is_possible(&self, packet: Packet<'_>) -> bool {
        match self {
            Self::Packet(to) if packet.headers.protocol == protocol::GRE => {
                to.dst == packet.headers.tuple.dst || gre::is_known(packet.l4())
            }
            Self::Packet(..) => true,
            Self::Error(_) => icmp::is_translatable(packet),
        }
    }

    /// Does it.
    #[inline]
    pub(crate) fn apply<F: Frame>(&self, frame: &mut F, headers: &Headers) {
        match self {
            Self::Packet(to) => rewrite(frame, headers, to),
            Self::Error(edit) => rewrite_error(frame, headers, edit),
        }
    }
}

impl Newcomer {
    /// Where its first packet, of tuple `original`, goes; `None` where that stays.
    pub(crate) fn destination(&self, original: &Tuple) -> Option<Destination> {
        let to = self.reply.invert();
        let stays = to.dst == original.dst && to.selector.dport() == original.selector.dport();
        (!stays).then(|| Destination::of(&to))
    }
}

impl Shard {
    /// What is to become of a packet of a translated entry, or of an error about one, in this direction.
    #[inline]
    pub(crate) fn edit(&self, headers: &Headers, index: u32, direction: Direction) -> Edit {
        match headers.kind {
            Kind::Error => Edit::Error(self.error_edit(index, direction)),
            _ => self.packet_edit(index, direction),
        }
    }

    /// What becomes of the packets of a translated entry in one direction.
    #[inline]
    pub(crate) fn packet_edit(&self, index: u32, direction: Direction) -> Edit {
        Edit::Packet(self.entries.tuple(index, direction.invert()).invert())
    }

    /// The translation of an error that goes in `direction`, about a packet that went the other way. Whoever sent it, its
    /// source becomes what the connection's would: no address inside is seen outside.
    #[cold]
    fn error_edit(&self, index: u32, direction: Direction) -> ErrorEdit {
        let own = self.entries.tuple(index, direction);
        let opposite = self.entries.tuple(index, direction.invert());
        let to = opposite.invert();
        ErrorEdit {
            src: (to.src != own.src).then_some(to.src),
            dst: (to.dst != own.dst).then_some(to.dst),
            quoted: opposite,
        }
    }
}
