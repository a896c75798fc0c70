//! The sweep: what a new configuration asks of the entries that are there, a few slots at a time.
//!
//! Masqueraded connections end whose address the box has lost: their answers would go to somebody else. Those that use
//! ports of addresses which the configuration brings are counted there ([`Pools`]).

use crate::entry::Status;
use crate::events::End;
use crate::forward::{Forwarding, Router};
use crate::ids::PortId;
use crate::nat::{Pools, inside};
use crate::shard::Shard;
use crate::tuple::{Direction, address};

/// The router of a box that is one.
const fn router(forwarding: &Forwarding) -> Option<&Router> {
    match forwarding {
        Forwarding::Wire { .. } => None,
        Forwarding::Routed(router) => Some(router),
    }
}

impl Shard {
    /// Has the table swept if there are pools that do not know its entries, or if the box has lost an address that it had
    /// when it forwarded by `old`.
    pub(crate) fn sweep_after(&mut self, old: &Forwarding) {
        if self.table.translated() == 0 {
            return self.nat.end_sweep();
        }
        let now = router(&self.configuration.forwarding);
        let is_lost = |own| now.is_none_or(|router| !router.is_own(own));
        let has_lost = router(old).is_some_and(|old| old.own().iter().copied().any(is_lost));
        if has_lost || self.nat.pools().is_partial() {
            self.nat.sweep = Some(0);
        }
    }

    /// Goes on with the sweep, at most `budget` slots. False when there is more to do.
    pub(crate) fn go_on_sweeping(&mut self, budget: u32) -> bool {
        for _ in 0..budget {
            let Some(index) = self.nat.sweep.and_then(|index| self.table.entries.next_index(index)) else {
                self.nat.end_sweep();
                return true;
            };
            self.nat.sweep = Some(index + 1);
            let entry = self.table.entries.at(index);
            let status = entry.status;
            if entry.is_used() && entry.is_translated() {
                let tuples = self.table.entries.tuples(index);
                let take_late = |pools: &mut Pools, reply: &_, _| pools.take_late(reply);
                self.nat.count_ports(index, tuples.each_ref(), status, take_late);
            }
            if self.has_lost_address(index, &self.configuration.forwarding) {
                self.counters.addresses_lost += 1;
                self.end(index, End::Deleted);
            }
        }
        self.nat.sweep.is_none()
    }

    /// Whether a connection is masqueraded as an address that a box which forwards so does not have at a port.
    pub(crate) fn is_masqueraded_elsewhere(&self, index: u32, port: PortId, forwarding: &Forwarding) -> bool {
        let entry = self.table.entries.at(index);
        if !entry.status.contains(Status::MASQUERADED) {
            return false;
        }
        let reply = self.table.entries.tuple(index, Direction::Reply);
        let given = address(reply.family(), reply.dst);
        router(forwarding).is_none_or(|router| router.addresses(port).all(|own| own != given))
    }

    /// Whether a connection lives in a slot that is masqueraded as an address which a box that forwards so does not have, or came in
    /// by one.
    pub(crate) fn has_lost_address(&self, index: u32, forwarding: &Forwarding) -> bool {
        let entry = self.table.entries.at(index);
        if !entry.is_used()
            || !(entry.status.intersects(Status::MASQUERADED) || entry.status.intersects(Status::EIF))
        {
            return false;
        }
        let reply = self.table.entries.tuple(index, Direction::Reply);
        let masqueraded = entry.status.contains(Status::MASQUERADED).then_some(reply.dst);
        let mapped =
            entry.status.contains(Status::EIF).then(|| self.nat.mappings().get(&inside(&reply))).flatten();
        let given = masqueraded.into_iter().chain(mapped.and_then(|mapped| mapped.own_address()));
        let router = router(forwarding);
        let is_lost = |own| router.is_none_or(|router| !router.is_own(address(reply.family(), own)));
        given.into_iter().any(is_lost)
    }
}
