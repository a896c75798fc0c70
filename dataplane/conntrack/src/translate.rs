//! What a translation makes of the packets of an entry.
//!
//! Rules, routes and the policy see a packet's destination after it was translated and its source before, as in Linux. The
//! packet itself is rewritten as it leaves: what ends here is answered as it came.

use crate::facts::Facts;
use crate::frame::Frame;
use crate::headers::{Fragment, Headers, Packet, PacketKind};
use crate::ids::{EntryId, PortId};
use crate::nat::edit::{self, ErrorEdit};
use crate::shard::Shard;
use crate::tuple::{Direction, Tuple};
use crate::wire;

impl Shard {
    /// Fetches what the translation of a packet without an entry will most probably look at.
    #[inline(never)]
    pub(crate) fn prefetch_translation(&self, original: &Tuple) {
        self.nat.prefetch(&self.configuration, &self.table, original);
    }

    /// The tuple that packets of one direction of a translated entry become ones of.
    #[inline]
    pub(crate) fn translated(&self, index: u32, direction: Direction) -> Tuple {
        self.table.entries.tuple(index, direction.invert()).invert()
    }

    /// Makes a packet of a connection one of tuple `to`.
    #[inline(always)]
    pub(crate) fn rewrite<F: Frame>(&mut self, frame: &mut F, headers: &Headers, to: &Tuple) {
        edit::rewrite(frame, headers, to);
        if self.configuration.renumbers && to.src != headers.tuple.src {
            self.nat.rewrite_ip_id(frame, headers, &self.exchange.steering);
        }
    }

    /// Makes a packet that was translated what it was before. `None` where its entry has ended, or it is an error about one.
    #[cold]
    pub(crate) fn restore<F: Frame>(&self, frame: &mut F, id: EntryId, direction: Direction) -> Option<()> {
        if self.table.entries.get(id)?.is_translated() {
            let is_of_entry = |headers: &Headers| match headers.kind {
                PacketKind::Tracked => true,
                // A later one has no ports.
                PacketKind::Fragment => headers.fragment == Fragment::First,
                PacketKind::NotIp | PacketKind::Untracked | PacketKind::Error | PacketKind::Invalid(_) => {
                    false
                }
            };
            let headers = wire::parse(frame).ok().filter(is_of_entry)?;
            edit::rewrite(frame, &headers, &self.table.entries.tuple(id.index, direction));
        }
        Some(())
    }

    /// Translates an ICMP error, outside and inside.
    #[cold]
    pub(crate) fn rewrite_error<F: Frame>(&mut self, frame: &mut F, headers: &Headers, edit: &ErrorEdit) {
        edit::rewrite_error(frame, headers, edit);
        if self.configuration.renumbers && edit.src.is_some() {
            self.nat.rewrite_ip_id(frame, headers, &self.exchange.steering);
        }
    }

    /// The translation of an error that goes in `direction`, about a packet that went the other way. Whoever sent it, its
    /// source becomes what the connection's would: no address inside is seen outside.
    #[cold]
    pub(crate) fn error_edit(&self, index: u32, direction: Direction) -> ErrorEdit {
        let own = self.table.entries.tuple(index, direction);
        let to = self.translated(index, direction);
        ErrorEdit {
            src: (to.src != own.src).then_some(to.src),
            dst: (to.dst != own.dst).then_some(to.dst),
            quoted: to.invert(),
        }
    }

    /// The address that the sender of an error has outside by a rule of its own.
    #[cold]
    pub(crate) fn public_sender(&self, error: Packet<'_>, ingress: PortId, egress: PortId) -> Option<u128> {
        let facts = Facts { egress: Some(egress), ..Facts::of_packet(error, ingress) };
        self.configuration.nat.public_sender(&facts)
    }
}
