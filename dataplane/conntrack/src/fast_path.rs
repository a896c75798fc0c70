//! The fast path: what most packets take, those of TCP and UDP that belong to an established connection, an assured one, and fit it.
//!
//! A usual packet ([`crate::wire::usual`]) is recognised in the first pass, and little is kept of it. What becomes of it is decided in
//! one go, if the policy has judged its connection before and lets it pass, it has a route, and its tracker finds nothing unusual
//! about it. Nothing but the look-up is done before that is known: any other packet goes on by the slow path.

use crate::claim::delegated_in;
use crate::entry::Status;
use crate::forward::{Egress, Forwarding, RouteResult, peer};
use crate::frame::Frame;
use crate::ids::{PortId, RuleId};
use crate::nat::edit;
use crate::pipeline::Slot;
use crate::policy::{Decision, Outcome};
use crate::shard::Shard;
use crate::table::{Found, Key};
use crate::time::Tick;
use crate::tracker::{self, Context};
use crate::tuple::{Direction, Family, Tuple};
use crate::verdict::{Action, Handoff, State, Verdict};
use crate::wire::ethernet;
use crate::wire::usual::Usual;

#[cfg(test)]
mod tests;

impl Shard {
    /// Recognises a packet that may take the fast path, and fetches its bucket; recognises a fragment, too, which waits for its
    /// datagram. False of one that has to be parsed.
    #[inline(always)]
    pub(crate) fn recognise<F: Frame>(&self, frame: &F, slot: &mut Slot) -> bool {
        // One copy for each family, here and below: with its constants known it is half as long.
        let recognised = match Usual::family_of(frame.head()) {
            Some(Family::V4) => self.recognise_in(Family::V4, frame),
            Some(Family::V6) => self.recognise_in(Family::V6, frame),
            None => None,
        };
        match recognised {
            Some(recognised) => {
                *slot = recognised;
                true
            }
            None => self.recognise_fragment(frame).map(|action| *slot = Slot::Ended(action)).is_some(),
        }
    }

    #[inline(always)]
    fn recognise_in<F: Frame>(&self, family: Family, frame: &F) -> Option<Slot> {
        let mut usual = Usual::of(family, frame)?;
        if delegated_in(frame).is_some()
            || !self.configuration.forwarding.is_for_box(frame, ethernet::HEADER_BYTES as u16, &self.macs)
        {
            return None;
        }
        let (zone, is_exempt) = self.look_ahead(frame, || usual.headers(frame.head()));
        if is_exempt {
            return None;
        }
        usual.selector = usual.selector.with_zone(zone);
        let tuple = usual.tuple(frame.head());
        if let Some(owner) = self.steering().elsewhere_of_usual(frame, &tuple) {
            return Some(Slot::Ended(Action::Handoff(owner, Handoff::Steering)));
        }
        if self.configuration.settings.checksum && !usual.is_undamaged(frame) {
            return None;
        }
        let key = self.table.key(&tuple);
        self.table.index.prefetch(key.hash);
        Some(Slot::Usual(usual, key))
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
            Family::V4 => self.take_fast_path_in(Family::V4, frame, usual, key, verdict),
            Family::V6 => self.take_fast_path_in(Family::V6, frame, usual, key, verdict),
        }
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
        let entry = self.table.entries.at(index);
        const OPEN: Status = Status::SEEN_REPLY.union(Status::ASSURED);
        if entry.status.intersection(Status::SLOW.union(OPEN)) != OPEN {
            return None;
        }
        let judged =
            entry.judged.get(self.generation, direction, frame.port()).and_then(Decision::from_u16)?;
        let (Outcome::Accept, rule) = self.configuration.policy.outcome(judged) else { return None };
        match &self.configuration.forwarding {
            Forwarding::Wire { peers } => {
                let egress = Egress::by(peer(peers, frame.port()));
                self.pass_to(egress, frame, usual, (index, direction), now)?;
                *verdict = self.verdict_established(egress, (index, direction), rule);
            }
            Forwarding::Routed(_) => {
                let headers = usual.headers(frame.head());
                let translated = self.table.entries.at(index).is_translated();
                let translated = translated.then(|| self.translated_usual(usual, index, direction).dst);
                let routed = self.configuration.forwarding.route(frame, &headers, translated, &self.macs);
                let RouteResult::Open(egress) = routed else { return None };
                self.pass_to(egress, frame, usual, (index, direction), now)?;
                let action = self.configuration.forwarding.finish(frame, &headers, egress.action());
                *verdict = Verdict { action, ..self.verdict_established(egress, (index, direction), rule) };
            }
        }
        self.rule_counters.count(rule, usual.l3_len);
        self.counters.packets[State::Established as usize] += 1;
        Some(())
    }

    #[inline(always)]
    fn verdict_established(
        &self,
        egress: Egress,
        (index, direction): (u32, Direction),
        rule: Option<RuleId>,
    ) -> Verdict {
        Verdict {
            action: egress.action(),
            next_hop: egress.next_hop,
            state: Some(State::Established),
            direction: Some(direction),
            invalid: None,
            rule,
            entry: Some(self.table.entries.id(index)),
        }
    }

    /// Brings the entry of a packet that leaves up to date, and translates the packet. `None` where it does not leave, or is
    /// unusual to its tracker.
    #[inline(always)]
    fn pass_to<F: Frame>(
        &mut self,
        egress: Egress,
        frame: &mut F,
        usual: &Usual,
        (index, direction): (u32, Direction),
        now: Tick,
    ) -> Option<()> {
        if egress.port == PortId::LOCAL {
            return None;
        }
        let context = Context { settings: &self.configuration.settings, now };
        let entry = self.table.entries.at_mut(index);
        let (is_translated, protocol) = (entry.is_translated(), usual.selector.protocol());
        let timeout_ms = tracker::follow(context, protocol, usual.l4(frame.head()), entry, direction)?;
        self.account(index, direction, usual.l3_len);
        self.refresh(index, now.after_ms(timeout_ms));
        if is_translated {
            let (from, to) = (usual.tuple(frame.head()), self.translated_usual(usual, index, direction));
            edit::rewrite_at(frame.head_mut(), [ethernet::HEADER_BYTES, usual.l4_offset()], &from, &to);
            if self.configuration.renumbers && to.src != from.src {
                self.nat.rewrite_ip_id(frame, &usual.headers(frame.head()), &self.exchange.steering);
            }
        }
        Some(())
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
