//! Admitting a connection: what happens between the first packet that passes the policy and an entry in the table.

use crate::entry::Status;
use crate::facts::Facts;
use crate::forward::Egress;
use crate::headers::Headers;
use crate::nat::Bound;
use crate::settings::Preset;
use crate::shard::Shard;
use crate::table::{End, Key};
use crate::tuple::Tuple;
use crate::verdict::{Action, DropReason, Rejection, State, Verdict};

impl Shard {
    /// Binds the source of a connection whose first packet passes, and puts it into the table. Gives the verdict, which is
    /// another where that fails. The facts are those that the policy saw.
    #[inline(never)]
    pub(crate) fn admit(
        &mut self,
        key: &Key,
        headers: &Headers,
        facts: &Facts,
        egress: Egress,
        verdict: Verdict,
    ) -> Verdict {
        let tuple = &headers.tuple;
        let refused = |action: Action| Verdict { action, gateway: None, ..verdict };
        let hold_full = Action::Drop(DropReason::HoldFull);
        match self.bind_source(tuple, facts, egress) {
            Bound::Found => {}
            Bound::Exhausted => return refused(self.no_room(DropReason::NatExhausted)),
            Bound::Elsewhere(shard) => {
                self.make_way();
                let Some(handoff) = self.delegate(tuple, shard) else { return refused(hold_full) };
                self.discount_for_rule(verdict.rule, headers);
                return handoff;
            }
        }
        let claims = self.needs_signpost(&self.newcomer.reply);
        if claims && !self.may_claim() {
            self.unbind_source(tuple);
            return refused(hold_full);
        }
        let Some(index) = self.confirm(key, tuple) else {
            self.unbind_source(tuple);
            return self.table_full();
        };
        if self.newcomer.delegated {
            self.entries.at_mut(index).status.set(Status::DELEGATED);
        }
        let verdict = Verdict { entry: Some(self.entries.id(index)), ..verdict };
        match verdict.action {
            Action::Forward(egress) if claims => {
                self.claim(index, self.newcomer.reply);
                Verdict { action: Action::Hold(egress), ..verdict }
            }
            _ => verdict,
        }
    }

    /// Puts the entry of a packet that has passed into the table, if need be in the place of another.
    fn confirm(&mut self, key: &Key, tuple: &Tuple) -> Option<u32> {
        self.make_way();
        let reply_hash = self.newcomer.translated(tuple);
        if self.len() >= self.limit() {
            let victim = self.evictable(key.hash)?;
            self.remove(victim, End::Evicted);
        }
        let index = self.insert(key.hash, tuple, reply_hash);
        let index = index.or_else(|| {
            // Its neighbourhood is full, or that of its reply tuple: one of those there makes room.
            for hash in [Some(key.hash), reply_hash].into_iter().flatten() {
                if self.index.is_full(hash) {
                    let victim = self.evictable(hash)?;
                    self.remove(victim, End::Evicted);
                }
            }
            self.insert(key.hash, tuple, reply_hash)
        });
        if index.is_none() {
            self.counters.insert_failures += 1;
        }
        index
    }

    /// Ends the entry whose place the newcomer takes.
    pub(crate) fn make_way(&mut self) {
        if let Some(old) = self.newcomer.replaces.take() {
            self.remove(old, End::Closed);
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
    pub(crate) const fn no_room(&self, reason: DropReason) -> Action {
        if self.configuration.settings.reject_when_full {
            Action::Reject(reason, Rejection::Prohibited)
        } else {
            Action::Drop(reason)
        }
    }
}
