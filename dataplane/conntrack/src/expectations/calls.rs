//! Calls of PPTP: tunnels of GRE whose packets have the id that their receiver gave the call, and nothing of their sender (RFC 2637
//! section 4.1).
//!
//! Both directions of a call are expected, each with the ids of both ends, and the first packet of either begins its connection.
//! What a packet lacks of its tuple is found among what is expected, Linux's `gre_keymap`: so a call stays there, in each shard,
//! until its control connection says that it has ended, or ends itself.
//!
//! Of a translated call the two directions may belong to two shards. The lower one decides about both, so that there is but one
//! connection whichever packet comes first; the other delegates.

use super::child::Child;
use super::claims::Ended;
use super::table::Removed;
use crate::entry::Status;
use crate::events::{End, EventKind};
use crate::headers::{Headers, Packet, PacketKind};
use crate::shard::Shard;
use crate::time::Tick;
use crate::tuple::{Tuple, protocol};
use crate::wire::gre;

impl Shard {
    /// Completes the tuple of a packet of GRE, or of an error about one, by what is known of calls.
    #[cold]
    #[inline(never)]
    pub(crate) fn complete_call(&self, head: &[u8], headers: &mut Headers) {
        if self.expectations.is_empty() {
            return;
        }
        let now = Tick::at(self.now);
        let packet = Packet { headers, head };
        match headers.kind {
            PacketKind::Tracked if gre::is_enhanced(packet.l4()) => {
                headers.tuple = self.expectations.call(&headers.tuple, now).unwrap_or(headers.tuple);
            }
            PacketKind::Error => {
                let quoted = self.expectations.call(&headers.tuple.invert(), now);
                headers.tuple = quoted.map_or(headers.tuple, Tuple::invert);
            }
            _ => {}
        }
    }

    /// The first packet of a call was decided about: neither direction is expected any more, whatever became of it.
    pub(super) fn conclude_call(&mut self, child: &Child) {
        let now = Tick::at(self.now);
        let met = self.expectations.meet_call(child.id.slot, &child.expectation.answer(), now);
        if met[0].is_some() {
            self.count_met(&child.expectation);
        }
        met.iter().flatten().for_each(|expectation| self.tell_expectation(EventKind::Destroy, expectation));
    }

    /// Ends the connection of a call that has ended with the expectation that was removed, wherever that is.
    pub(super) fn end_call_of(&mut self, removed: &Removed) {
        if removed.ended != Ended::Call {
            return;
        }
        let (tuple, answer) = (&removed.expectation.tuple, &removed.expectation.answer());
        let home = self.steering().home_of_call(tuple, answer);
        if home == self.steering().own() {
            self.end_call(tuple);
        } else if home == self.steering().owner(tuple) {
            self.exchange.release(*tuple);
        }
    }

    /// Ends the connection of a call, if this shard has one of this tuple.
    #[cold]
    pub(crate) fn end_call(&mut self, tuple: &Tuple) {
        if tuple.protocol() == protocol::GRE
            && let Some((index, _)) = self.table.search(&self.table.key(tuple), tuple)
            && self.table.entries.at(index).status.contains(Status::EXPECTED)
        {
            self.end(index, End::Closed);
        }
    }
}
