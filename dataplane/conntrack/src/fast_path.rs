//! The fast path: what most packets take, those of TCP and UDP that belong to an established connection, and fit it.
//!
//! A usual packet ([`crate::wire::usual`]) is recognised in the first pass, and little is kept of it. What becomes of it is decided in
//! one go, if its connection remembers what the policy and routes have said about one before ([`crate::flows`]), that it leaves, and its
//! tracker finds nothing unusual about it. Nothing but the look-up is done before that is known: any other packet goes on by the
//! slow path. What a helper is to read of a packet that leaves, and what it rewrites, is the same on both.

use crate::claim::delegated_in;
use crate::configuration::Configuration;
use crate::entry::Status;
use crate::frame::Frame;
use crate::ids::{EntryId, Zone};
use crate::nat::edit;
use crate::pipeline::Slot;
use crate::shard::Shard;
use crate::table::{Found, Key};
use crate::time::Tick;
use crate::tracker::{self, Context};
use crate::tuple::{Direction, Family, Tuple, address, protocol};
use crate::verdict::{Action, Handoff, State, Verdict};
use crate::wire::ethernet;
use crate::wire::usual::Usual;
use std::net::IpAddr;

#[cfg(test)]
mod tests;

impl Shard {
    /// Recognises a packet that may take the fast path, and fetches its bucket; recognises a fragment, too, which waits for its
    /// datagram. False of one that has to be parsed.
    #[inline(always)]
    pub(crate) fn recognise<F: Frame>(&self, frame: &F, slot: &mut Slot) -> bool {
        if self.configuration.policy.looks_ahead() {
            return self.recognise_by_rules(frame, slot);
        }
        self.recognise_in_zone(frame, slot, |shard, _| Some(shard.zone_ahead(frame)))
    }

    /// The same where rules say in which zone it is, or that it is not tracked.
    #[inline(never)]
    fn recognise_by_rules<F: Frame>(&self, frame: &F, slot: &mut Slot) -> bool {
        self.recognise_in_zone(frame, slot, |shard, usual| {
            let (zone, is_exempt) = shard.look_ahead(frame, || usual.headers(frame.head()));
            (!is_exempt).then_some(zone)
        })
    }

    #[inline(always)]
    fn recognise_in_zone<F: Frame>(
        &self,
        frame: &F,
        slot: &mut Slot,
        zone: impl FnOnce(&Self, &Usual) -> Option<Zone>,
    ) -> bool {
        // One copy for each family, here and below: with its constants known it is half as long.
        let recognised = match Usual::family_of(frame.head()) {
            Some(Family::V4) => self.recognise_in(Family::V4, frame, slot, zone),
            Some(Family::V6) => self.recognise_in(Family::V6, frame, slot, zone),
            None => None,
        };
        recognised.is_some()
            || self.recognise_fragment(frame).map(|action| *slot = Slot::Ended(action)).is_some()
    }

    #[inline(always)]
    fn recognise_in<F: Frame>(
        &self,
        family: Family,
        frame: &F,
        slot: &mut Slot,
        zone: impl FnOnce(&Self, &Usual) -> Option<Zone>,
    ) -> Option<()> {
        let mut usual = Usual::of(family, frame)?;
        if delegated_in(frame).is_some()
            || !self.configuration.forwarding.is_for_box(frame, ethernet::HEADER_BYTES as u16, &self.macs)
        {
            return None;
        }
        usual.selector = usual.selector.with_zone(zone(self, &usual)?);
        if !self.steering().is_single()
            && let Some(owner) = self.steering().elsewhere_of_usual(frame, &usual.tuple(frame.head()))
        {
            *slot = Slot::Ended(Action::Handoff(owner, Handoff::Steering));
            return Some(());
        }
        if self.configuration.settings.checksum && !usual.is_undamaged(frame) {
            return None;
        }
        let key = self.table.key(&usual.tuple(frame.head()));
        self.table.index.prefetch(key.hash);
        *slot = Slot::Usual(usual, key);
        Some(())
    }

    /// Decides about a usual packet. Where it has to take the slow path, no more is done than to look its entry up: that is what
    /// comes back.
    #[inline(always)]
    pub(crate) fn take_fast_path<F: Frame>(
        &mut self,
        frame: &mut F,
        usual: &Usual,
        key: &Key,
        verdict: &mut Verdict,
    ) -> Result<(), Found> {
        match usual.family() {
            Family::V4 => self.take_fast_path_of_ipv4(frame, usual, key, verdict),
            Family::V6 => self.take_fast_path_of_ipv6(frame, usual, key, verdict),
        }
    }

    // Each has the registers to itself.

    #[inline(never)]
    fn take_fast_path_of_ipv4<F: Frame>(
        &mut self,
        frame: &mut F,
        usual: &Usual,
        key: &Key,
        verdict: &mut Verdict,
    ) -> Result<(), Found> {
        self.take_fast_path_in(Family::V4, frame, usual, key, verdict)
    }

    #[inline(never)]
    fn take_fast_path_of_ipv6<F: Frame>(
        &mut self,
        frame: &mut F,
        usual: &Usual,
        key: &Key,
        verdict: &mut Verdict,
    ) -> Result<(), Found> {
        self.take_fast_path_in(Family::V6, frame, usual, key, verdict)
    }

    #[inline(always)]
    fn take_fast_path_in<F: Frame>(
        &mut self,
        family: Family,
        frame: &mut F,
        usual: &Usual,
        key: &Key,
        verdict: &mut Verdict,
    ) -> Result<(), Found> {
        let usual = &usual.of_family(family);
        let now = Tick::at(self.now);
        let found = match self.table.entries.direction(key.candidate, &usual.tuple(frame.head())) {
            Some(direction) => Some((key.candidate, direction)),
            None => self.search_usual(usual, frame.head(), key),
        };
        let found = self.count_look_up(found, now);
        let Some((index, direction)) = found else { return Err(None) };
        self.pass_established(frame, usual, (index, direction), now, verdict).ok_or(found)
    }

    #[inline(never)]
    fn search_usual(&self, usual: &Usual, head: &[u8], key: &Key) -> Found {
        let tuple = usual.tuple(head);
        self.table.index.find(key.hash, |index| self.table.entries.direction(index, &tuple))
    }

    /// Passes a packet of an established connection, if nothing about it is unusual.
    #[inline(always)]
    fn pass_established<F: Frame>(
        &mut self,
        frame: &mut F,
        usual: &Usual,
        (index, direction): (u32, Direction),
        now: Tick,
        verdict: &mut Verdict,
    ) -> Option<()> {
        let Configuration { settings, .. } = &*self.configuration;
        let entry = self.table.entries.at_mut(index);
        let status = entry.status;
        if status.intersection(Status::APART.union(Status::SEEN_REPLY)) != Status::SEEN_REPLY {
            return None;
        }
        let flow = self.flows.get(entry.judged.get(self.generation, direction, frame.port())?)?;
        let route = flow.route.as_ref().filter(|route| route.takes(usual, frame))?;
        let context = Context { settings, now };
        let l4 = usual.l4(frame.head()).unwrap_or_default();
        let timeout_ms = tracker::follow(context, usual.selector.protocol(), l4, entry, direction)?;

        if settings.accounting {
            entry.counter(direction).add(usual.l3_len);
        }
        let id = EntryId { index, generation: entry.generation };
        *verdict = flow.verdict;
        (verdict.direction, verdict.entry) = (Some(direction), Some(id));
        self.rule_counters.count(verdict.rule, usual.l3_len);
        self.counters.packets[State::Established as usize] += 1;
        let (is_hop, is_on_link) = (route.is_hop, route.is_on_link);
        self.refresh(index, now.after_ms(timeout_ms));
        if is_on_link {
            verdict.next_hop = Some(self.destination_of_usual(frame, usual, (index, direction)));
        }
        if status.contains(Status::HELPER) {
            self.help_usual(frame, usual, (index, direction), is_hop, verdict);
        } else {
            self.rewrite_usual(frame, usual, (index, direction), status, is_hop);
        }
        Some(())
    }

    /// Has a helper read a usual packet that leaves.
    #[inline(never)]
    fn help_usual<F: Frame>(
        &mut self,
        frame: &mut F,
        usual: &Usual,
        (index, direction): (u32, Direction),
        is_hop: bool,
        verdict: &mut Verdict,
    ) {
        let l4 = usual.l4(frame.head()).filter(|_| usual.selector.protocol() == protocol::TCP);
        if l4.is_some_and(|l4| self.read_quiet(l4, index, direction)) {
            let status = self.table.entries.at(index).status;
            self.rewrite_usual(frame, usual, (index, direction), status, is_hop);
        } else {
            self.read_usual(frame, usual, (index, direction), verdict);
        }
    }

    /// The same of one of which something may come: it may leave with other text, or not at all.
    #[inline(never)]
    fn read_usual<F: Frame>(
        &mut self,
        frame: &mut F,
        usual: &Usual,
        found: (u32, Direction),
        verdict: &mut Verdict,
    ) {
        let Action::Forward(egress) = verdict.action else { return };
        let mut headers = usual.headers(frame.head());
        if let Err(reason) = self.help_and_translate(frame, &mut headers, found, egress) {
            verdict.refuse(Action::Drop(reason));
            self.count_drops(reason, 1);
        }
        verdict.action = self.configuration.forwarding.finish(frame, &headers, verdict.action);
    }

    /// Rewrites what a usual packet that leaves has in its headers.
    #[inline(always)]
    fn rewrite_usual<F: Frame>(
        &mut self,
        frame: &mut F,
        usual: &Usual,
        (index, direction): (u32, Direction),
        status: Status,
        is_hop: bool,
    ) {
        if status.intersects(Status::TRANSLATED) {
            self.translate_usual(frame, usual, (index, direction), is_hop);
        } else if is_hop {
            usual.pass_on(frame.head_mut());
        }
    }

    /// Translates a usual packet that leaves, and takes one from its TTL if it is passed on by a router.
    #[inline(always)]
    fn translate_usual<F: Frame>(
        &mut self,
        frame: &mut F,
        usual: &Usual,
        (index, direction): (u32, Direction),
        is_hop: bool,
    ) {
        let (from, to) = (usual.tuple(frame.head()), self.translated_usual(usual, index, direction));
        edit::rewrite_usual(frame.head_mut(), usual, &from, &to, is_hop);
        if self.configuration.renumbers && to.src != from.src {
            self.nat.rewrite_ip_id(frame, &usual.headers(frame.head()), &self.exchange.steering);
        }
    }

    /// The destination of a usual packet that was not edited yet, once it is translated.
    #[inline(always)]
    fn destination_of_usual<F: Frame>(
        &self,
        frame: &F,
        usual: &Usual,
        (index, direction): (u32, Direction),
    ) -> IpAddr {
        let destination = if self.table.entries.at(index).is_translated() {
            self.translated_usual(usual, index, direction).dst
        } else {
            usual.tuple(frame.head()).dst
        };
        address(usual.family(), destination)
    }

    /// The tuple that a usual packet of a translated entry becomes one of.
    #[inline(always)]
    fn translated_usual(&self, usual: &Usual, index: u32, direction: Direction) -> Tuple {
        let Tuple { src, dst, selector } =
            self.table.entries.tuple_in(usual.family(), index, direction.invert());
        // All else in it is as in the packet's own.
        let selector = usual.selector.with_ports(selector.ports().rotate_left(16));
        Tuple { src: dst, dst: src, selector }
    }
}
