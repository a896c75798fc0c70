//! The end of masqueraded connections whose address the box has lost: their answers would go to somebody else.

use super::mapping::inside;
use crate::entry::Status;
use crate::forward::{Forwarding, Router};
use crate::shard::Shard;
use crate::table::End;
use crate::tuple::{Direction, address};

/// The router of a box that is one.
const fn router(forwarding: &Forwarding) -> Option<&Router> {
    match forwarding {
        Forwarding::Wire { .. } => None,
        Forwarding::Routed(router) => Some(router),
    }
}

impl Shard {
    /// Has the table swept if the box has lost an address that it had when it forwarded by `old`.
    pub(crate) fn sweep_after(&mut self, old: &Forwarding) {
        let now = router(&self.configuration.forwarding);
        let is_lost = |own| now.is_none_or(|router| !router.is_own(own));
        if self.translated > 0 && router(old).is_some_and(|old| old.own().iter().copied().any(is_lost)) {
            self.sweep = Some(0);
        }
    }

    /// Goes on with the sweep, at most `budget` places. False when there is more to do.
    pub(crate) fn go_on_sweeping(&mut self, budget: u32) -> bool {
        for _ in 0..budget {
            let Some(place) = self.sweep.and_then(|place| self.entries.next_place(place)) else {
                self.sweep = None;
                return true;
            };
            self.sweep = Some(place + 1);
            if self.has_lost_address(place) {
                self.remove(place, End::Deleted);
            }
        }
        self.sweep.is_none()
    }

    /// Whether a connection lives at a place that is masqueraded as an address which is not the box's, or came in by one.
    fn has_lost_address(&self, place: u32) -> bool {
        let entry = self.entries.at(place);
        if !entry.is_used()
            || !(entry.status.meets(Status::MASQUERADED) || entry.status.meets(Status::ENTERED))
        {
            return false;
        }
        let reply = self.entries.tuple(place, Direction::Reply);
        let masqueraded = entry.status.has(Status::MASQUERADED).then_some(reply.dst);
        let entered = entry.status.has(Status::ENTERED).then(|| self.mappings.get(&inside(&reply))).flatten();
        let given = masqueraded.into_iter().chain(entered.and_then(|mapped| mapped.own_address()));
        let router = router(&self.configuration.forwarding);
        let is_lost = |own| router.is_none_or(|router| !router.is_own(address(reply.family(), own)));
        given.into_iter().any(is_lost)
    }
}
