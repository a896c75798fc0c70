//! Admitting a connection: what happens between the first packet that passes the policy and an entry in the table.

use crate::facts::Facts;
use crate::forward::Egress;
use crate::headers::Headers;
use crate::lifecycle::End;
use crate::nat::Bound;
use crate::settings::Preset;
use crate::shard::Shard;
use crate::table::Key;
use crate::unconfirmed::Unconfirmed;
use crate::verdict::{Action, DropReason, Rejection, State, Verdict};

/// Entries that make room for one connection, at most.
const MAX_EVICTIONS: u32 = 4;

impl Shard {
    /// Binds the source of a connection whose first packet passes, and puts it into the table. Gives the verdict, which is
    /// another where that fails. The facts are those that the policy saw.
    #[inline(never)]
    pub(crate) fn admit(
        &mut self,
        key: &Key,
        headers: &Headers,
        unconfirmed: &mut Unconfirmed,
        facts: &Facts,
        egress: Egress,
        verdict: Verdict,
    ) -> Verdict {
        let refused = |action: Action| Verdict { action, gateway: None, ..verdict };
        let hold_full = Action::Drop(DropReason::HoldFull);
        match self.bind_source(unconfirmed, facts, egress) {
            Bound::Found => {}
            Bound::Exhausted => return refused(self.no_room(DropReason::NatExhausted)),
            Bound::Elsewhere(shard) => {
                self.make_way(unconfirmed);
                let Some(handoff) = self.delegate(&headers.tuple, shard) else { return refused(hold_full) };
                // What was decided about before was counted then, perhaps by other rules than these.
                if !unconfirmed.attempt.again {
                    self.discount_for_rule(verdict.rule, headers);
                }
                return handoff;
            }
        }
        let reply = unconfirmed.reply;
        let claims = self.exchange.needs_signpost(&reply);
        if claims && !self.exchange.may_claim(&reply) {
            self.unbind_source(unconfirmed);
            return refused(hold_full);
        }
        let is_counted = !unconfirmed.attempt.again;
        let Some(index) = self.confirm(key, unconfirmed) else {
            if is_counted {
                self.discount_for_rule(verdict.rule, headers);
            }
            return self.table_full();
        };
        let verdict = Verdict { entry: Some(self.table.entries.id(index)), ..verdict };
        match verdict.action {
            Action::Forward(egress) if claims => {
                self.claim(index, reply);
                Verdict { action: Action::Hold(egress), ..verdict }
            }
            _ => verdict,
        }
    }

    /// Puts a connection whose first packet has passed into the table, if need be in the place of another.
    pub(crate) fn confirm(&mut self, key: &Key, unconfirmed: &Unconfirmed) -> Option<u32> {
        self.make_way(unconfirmed);
        let index = self.find_room(key, unconfirmed);
        if index.is_none() {
            self.unbind_source(unconfirmed);
            self.counters.insert_failures += 1;
        }
        index
    }

    /// Inserts it, and evicts another for it where that is needed; `None` where there is no room. A table above a limit that was
    /// lowered shrinks with each new connection.
    #[inline]
    fn find_room(&mut self, key: &Key, unconfirmed: &Unconfirmed) -> Option<u32> {
        let limit = self.limit();
        if self.len() >= limit && !self.evict(key.hash) {
            return None;
        }
        let mut more = MAX_EVICTIONS - 1;
        while self.len() >= limit && more > 0 && self.evict(key.hash) {
            more -= 1;
        }
        self.begin(key.hash, unconfirmed).or_else(|| self.insert_in_crowd(key, unconfirmed))
    }

    /// Inserts it where its neighbourhood is full, or that of its reply tuple: one of those there makes room.
    #[cold]
    fn insert_in_crowd(&mut self, key: &Key, unconfirmed: &Unconfirmed) -> Option<u32> {
        let reply_hash = unconfirmed.reply_hash;
        for hash in [Some(key.hash), reply_hash].into_iter().flatten() {
            if self.table.index.is_full(hash) && !self.evict(hash) {
                return None;
            }
        }
        self.begin(key.hash, unconfirmed)
    }

    /// Ends the entries whose places and tuples a connection takes.
    pub(crate) fn make_way(&mut self, unconfirmed: &Unconfirmed) {
        let old = [unconfirmed.replaces, unconfirmed.takes_over];
        old.into_iter().flatten().for_each(|old| self.end(old, End::Closed));
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
    pub(crate) const fn no_room(&self, reason: DropReason) -> Action {
        if self.configuration.settings.reject_when_full {
            Action::Reject(reason, Rejection::Prohibited)
        } else {
            Action::Drop(reason)
        }
    }
}
