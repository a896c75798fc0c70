//! Admitting a connection: what happens between the first packet that passes the policy and an entry in the table.

use crate::entry::Status;
use crate::facts::Facts;
use crate::forward::Egress;
use crate::headers::Packet;
use crate::index::Hash;
use crate::nat::Bound;
use crate::settings::Preset;
use crate::shard::Shard;
use crate::table::Key;
use crate::unconfirmed::Unconfirmed;
use crate::verdict::{Action, DropReason, Rejection, State, Verdict};

/// Entries that make room for one connection, at most.
const MAX_EVICTIONS: u32 = 4;

impl Shard {
    /// Binds the source of a connection whose first packet passes, and puts it into the table. Where that fails the verdict becomes
    /// another. The facts are those that the policy saw.
    #[inline(never)]
    pub(crate) fn admit(
        &mut self,
        key: &Key,
        packet: Packet<'_>,
        unconfirmed: &mut Unconfirmed,
        facts: &Facts,
        egress: &Egress,
        verdict: &mut Verdict,
    ) {
        let hold_full = Action::Drop(DropReason::HoldFull);
        match self.bind_source(unconfirmed, facts, egress) {
            Bound::Found => {}
            Bound::Exhausted => {
                self.rule_counters.count_exhausted(unconfirmed.bound_by);
                return verdict.refuse(self.no_room(DropReason::NatExhausted));
            }
            Bound::Elsewhere(shard) => {
                let Some(handoff) = self.delegate(&packet.headers.tuple, shard) else {
                    return verdict.refuse(hold_full);
                };
                self.make_way(unconfirmed);
                *verdict = handoff;
                return;
            }
        }
        if self.has_groups()
            && let Some(action) = self.refuse_by_role(packet, unconfirmed)
        {
            return verdict.refuse(action);
        }
        let claims = self.exchange.needs_signpost(&unconfirmed.reply);
        if claims && !self.exchange.may_claim(&unconfirmed.reply) {
            return verdict.refuse(hold_full);
        }
        let Some(index) = self.confirm(key, unconfirmed) else {
            *verdict = self.table_full();
            return;
        };
        verdict.entry = Some(self.table.entries.id(index));
        if let Action::Forward(egress) = verdict.action
            && claims
        {
            self.claim(index, unconfirmed);
            verdict.action = Action::Hold(egress);
        } else if unconfirmed.helper.is_none() {
            // Where there is a helper, that may refuse the packet yet.
            self.rule_counters.count_bound(unconfirmed.bound_by);
        }
    }

    /// Translates the destination of a connection where its master, a rule or a mapping says so.
    pub(crate) fn bind_destination(&mut self, unconfirmed: &mut Unconfirmed, facts: &mut Facts) -> Bound {
        let refusals = unconfirmed.attempt.refusals;
        let binding = self.nat.binding(&self.configuration, &self.table, &self.exchange, self.now, refusals);
        binding.bind_destination(unconfirmed, facts)
    }

    /// Binds the source of a connection.
    #[inline]
    fn bind_source(&mut self, unconfirmed: &mut Unconfirmed, facts: &Facts, egress: &Egress) -> Bound {
        let configuration = &*self.configuration;
        let has_rules =
            configuration.nat.may_change_source() || unconfirmed.hairpin || unconfirmed.child.is_some();
        // As long as nothing is translated, a tuple that no entry has is free in both directions.
        let may_clash = self.table.translated() > 0 || self.exchange.signposts() > 0;
        if !has_rules && !may_clash && !facts.has_status(Status::DST_NAT) {
            return Bound::Found;
        }
        let refusals = unconfirmed.attempt.refusals;
        let mut binding = self.nat.binding(configuration, &self.table, &self.exchange, self.now, refusals);
        let bound = binding.bind_source(unconfirmed, facts, egress);
        if let Some(rule) = unconfirmed.bound_by.source() {
            self.nat.note_bound(rule, unconfirmed);
        }
        bound
    }

    /// Puts a connection whose first packet has passed into the table, if need be in the place of another.
    pub(crate) fn confirm(&mut self, key: &Key, unconfirmed: &mut Unconfirmed) -> Option<u32> {
        let uses_mapping = unconfirmed.mapped.is_some() || unconfirmed.eif;
        if uses_mapping {
            self.nat.join_mapping(unconfirmed);
        }
        let index = match unconfirmed.takes_slot() {
            true => self.find_room_of_others(key, unconfirmed),
            false => self.find_room(key, unconfirmed),
        };
        if index.is_none() {
            self.nat.leave_mapping(&[unconfirmed.original, unconfirmed.reply], unconfirmed.status());
            self.counters.insert_failures += 1;
        }
        index
    }

    /// Inserts it, and evicts another for it where that is needed; `None` where there is no room. A table above a limit that was
    /// lowered shrinks with each new connection, but one that takes the place of another, which is gone already,
    /// makes it no larger.
    #[inline]
    fn find_room(&mut self, key: &Key, unconfirmed: &Unconfirmed) -> Option<u32> {
        let is_foreign = unconfirmed.is_foreign;
        let limit = self.limit_of(is_foreign);
        if self.len_of(is_foreign) >= limit && !self.evict_down_to(limit, key, unconfirmed) {
            return None;
        }
        self.begin(key.hash, unconfirmed).or_else(|| self.insert_in_crowd(key, unconfirmed))
    }

    /// Evicts others of a table that has as many as it may have, or more; false where none can be.
    #[inline(never)]
    fn evict_down_to(&mut self, limit: u32, key: &Key, unconfirmed: &Unconfirmed) -> bool {
        let is_foreign = unconfirmed.is_foreign;
        if !self.evict(key.hash, is_foreign) {
            return unconfirmed.takes_slot();
        }
        let mut more = MAX_EVICTIONS - 1;
        while self.len_of(is_foreign) >= limit && more > 0 && self.evict(key.hash, is_foreign) {
            more -= 1;
        }
        true
    }

    /// Whether another connection of this box makes one give way.
    pub(crate) fn is_full(&self) -> bool {
        self.len_of(false) >= self.limit_of(false)
    }

    /// How many entries there are, of this box or of peers.
    const fn len_of(&self, is_foreign: bool) -> u32 {
        let foreign = self.foreign.len();
        if is_foreign { foreign } else { self.len() - foreign }
    }

    /// How many there may be.
    fn limit_of(&self, is_foreign: bool) -> u32 {
        let (limit, quota) = (self.limit(), self.foreign.quota());
        if is_foreign { quota.min(limit) } else { limit.saturating_sub(quota) }
    }

    /// Inserts it where its neighbourhood is full, or that of its reply tuple: one of those there makes room.
    #[cold]
    fn insert_in_crowd(&mut self, key: &Key, unconfirmed: &Unconfirmed) -> Option<u32> {
        let reply_hash = unconfirmed.reply_hash;
        for hash in [Some(key.hash), reply_hash].into_iter().flatten() {
            if self.table.index.is_full(hash) && !self.evict_neighbour(hash, unconfirmed.is_foreign) {
                return None;
            }
        }
        self.begin(key.hash, unconfirmed)
    }

    /// Inserts it in the place of others, which end for it: not before it is sure that there is room.
    #[cold]
    #[inline(never)]
    fn find_room_of_others(&mut self, key: &Key, unconfirmed: &Unconfirmed) -> Option<u32> {
        let index = &self.table.index;
        let ends = |entry| [unconfirmed.replaces, unconfirmed.takes_over].contains(&Some(entry));
        let has_room = |hash: Hash| {
            !index.is_full(hash)
                || self.evictable(hash, unconfirmed.is_foreign).is_some()
                || index.neighbours(hash).any(ends)
        };
        if !has_room(key.hash) || !unconfirmed.reply_hash.is_none_or(has_room) {
            return None;
        }
        self.make_way(unconfirmed);
        self.find_room(key, unconfirmed)
    }

    /// Ends the entries whose slots and tuples a connection takes.
    #[inline]
    pub(crate) fn make_way(&mut self, unconfirmed: &Unconfirmed) {
        let Unconfirmed { replaces, takes_over, .. } = *unconfirmed;
        if let Some(old) = replaces {
            self.end_for_another(old);
        }
        if let Some(old) = takes_over {
            self.end_for_another(old);
        }
    }

    /// The refusal of a connection that finds no room. Linux ends such a packet before it has a state.
    pub(crate) fn table_full(&self) -> Verdict {
        let state = match self.configuration.settings.preset {
            Preset::Classic => Some(State::Invalid),
            Preset::Linux => None,
        };
        Verdict { state, ..Verdict::ended(self.no_room(DropReason::TableFull)) }
    }

    /// What becomes of the first packet of a connection that finds no room.
    pub(crate) fn no_room(&self, reason: DropReason) -> Action {
        if self.configuration.settings.reject_when_full {
            Action::Reject(reason, Rejection::Prohibited)
        } else {
            Action::Drop(reason)
        }
    }
}
