//! The stage behind parsing: which fragments wait for the rest of their datagram, and where.

use super::{Fragments, Piece, piece, plain};
use crate::claim::delegated_in;
use crate::family::Family;
use crate::forward::Forwarding;
use crate::frame::Frame;
use crate::headers::{Fragment, Headers, PacketKind};
use crate::settings::FragmentLimits;
use crate::shard::Shard;
use crate::tuple::address;
use crate::verdict::{Action, FragmentOffsets, Handoff, InvalidReason, Rejection};
use crate::wire::{self, ethernet};

impl Shard {
    /// Has a fragment held by the owner of its addresses, or makes it INVALID where no datagram can be made of it: rules and
    /// connections are for the datagram. True where fragments pass untracked.
    ///
    /// # Errors
    /// What becomes of one that is good.
    #[cold]
    #[inline(never)]
    pub(crate) fn steer_fragment<F: Frame>(&self, frame: &F, headers: &mut Headers) -> Result<bool, Action> {
        if self.configuration.settings.fragments.untracked {
            return Ok(true);
        }
        let Some(offsets) = piece::find(frame, headers) else {
            headers.kind = PacketKind::Invalid(InvalidReason::Fragment);
            return Ok(false);
        };
        Err(self.have_held(frame, headers, offsets))
    }

    /// What becomes of a plain fragment, which is recognised without being parsed. `None` of any other packet.
    #[inline(never)]
    pub(crate) fn recognise_fragment<F: Frame>(&self, frame: &F) -> Option<Action> {
        let configuration = &*self.configuration;
        if frame.reassembled().is_some()
            || configuration.settings.fragments.untracked
            || delegated_in(frame).is_some()
        {
            return None;
        }
        let offsets = plain::recognise(frame)?;
        if !configuration.forwarding.is_for_box(frame, ethernet::HEADER_BYTES as u16, &self.macs) {
            return None;
        }
        if self.steering().is_single() {
            return Some(Action::Reassemble(offsets));
        }
        Some(self.have_held(frame, &plain::headers(frame, offsets), offsets))
    }

    fn have_held<F: Frame>(&self, frame: &F, headers: &Headers, offsets: FragmentOffsets) -> Action {
        match self.steering().elsewhere(frame, headers) {
            Some(owner) => Action::Handoff(owner, Handoff::Fragment),
            None => Action::Reassemble(offsets),
        }
    }

    /// Reads a fragment that is to be held.
    #[inline(always)]
    pub(crate) fn read_fragment<F: Frame>(&self, frame: &F, offsets: FragmentOffsets) -> Option<Piece> {
        Piece::read(frame, offsets, self.configuration.zone_of(frame.port()))
    }

    /// Room for as much as this shard may hold.
    pub(crate) fn room_for_fragments<P: Frame>(&self) -> Fragments<P> {
        Fragments::new(self.fragment_limits().memory_bytes, self.table.index.secret(), self.now)
    }

    /// The limits in force here: of what is bounded for the box its share.
    pub(crate) fn fragment_limits(&self) -> FragmentLimits {
        let (limits, steering) = (self.configuration.settings.fragments, self.steering());
        FragmentLimits {
            memory_bytes: steering.share(limits.memory_bytes),
            datagrams: steering.share(limits.datagrams),
            ..limits
        }
    }

    /// What the sender of a fragment is told where the rest of its datagram does not come in time.
    pub(crate) fn overdue_rejection<F: Frame>(&self, frame: &F) -> Option<Rejection> {
        let headers = wire::parse(frame).ok()?;
        let Forwarding::Routed(router) = &self.configuration.forwarding else { return None };
        let is_told = match headers.family()? {
            Family::V4 => {
                let (_, destination) = wire::addresses(frame.head(), &headers);
                router.is_own(address(Family::V4, destination))
            }
            Family::V6 => true,
        };
        (is_told && headers.fragment == Fragment::First).then_some(Rejection::ReassemblyTimeExceeded)
    }

    /// Whether the box is a router.
    pub(crate) fn is_routed(&self) -> bool {
        matches!(self.configuration.forwarding, Forwarding::Routed(_))
    }

    /// Notes how many fragments are held.
    pub(crate) const fn count_fragments_held(&mut self, held: u32) {
        self.counters.fragments_held = held as u64;
    }

    /// Counts a datagram that is whole.
    pub(crate) const fn count_reassembled(&mut self) {
        self.counters.reassembled += 1;
    }

    /// Counts a fragment that the box makes.
    pub(crate) const fn count_created(&mut self) {
        self.counters.fragments_created += 1;
    }

    /// Counts packets that leave in fragments which the box makes.
    pub(crate) const fn count_fragmented(&mut self, packets: usize) {
        self.counters.fragmented += packets as u64;
    }
}
