//! What an entry expects already, as a helper looks at it again: what may be said of it, and what is to be ended.

use super::expectation::{Expectation, Wanted};
use crate::ids::EntryId;
use crate::nat::announced;
use crate::shard::Shard;
use crate::time::Tick;
use crate::tuple::Direction;

impl Shard {
    /// What a master of this number wants, as an expectation that nobody has made.
    fn as_wanted(&self, master: u32, wanted: &Wanted) -> Expectation {
        let original = self.table.entries.tuple(master, Direction::Original);
        Expectation::new(wanted, original, EntryId::default(), 0, Tick::at(self.now))
    }

    /// Whether a packet of what a master wants could be one that another expects.
    pub(crate) fn is_expected_by_others(&self, master: u32, wanted: &Wanted) -> bool {
        let expectation = self.as_wanted(master, wanted);
        let rival = self.expectations.overlapping(&expectation, Tick::at(self.now));
        rival.is_some_and(|slot| !self.expectations.is_again(slot, master, &expectation))
    }

    /// Whether another master expects the very same, of the same class and for the same helper.
    pub(crate) fn is_expected_alike_by_others(&self, master: u32, wanted: &Wanted) -> bool {
        let expectation = self.as_wanted(master, wanted);
        let rival = self.expectations.overlapping(&expectation, Tick::at(self.now));
        let is_others = |slot: &u32| !self.expectations.is_again(*slot, master, &expectation);
        rival.filter(is_others).map(|slot| self.expectations.at(slot)).is_some_and(|rival| {
            rival.is_alike(&expectation) && rival.class == wanted.class && rival.helper() == wanted.helper
        })
    }

    /// The first of two ports at this distance that can be announced, of those that [`Self::find_port_to_announce`] finds: even if the
    /// wanted one is even, else odd. That one is this shard's, and the other goes with it.
    pub(crate) fn find_pair_to_announce(&self, master: u32, wanted: &Wanted, distance: u16) -> Option<u16> {
        let parity = wanted.tuple.selector.dport() % 2;
        let mut ports =
            announced::ports_to_announce(&self.nat, &self.configuration.nat, self.steering(), &wanted.tuple);
        ports.find(|port| {
            let next = port.checked_add(distance).map(|next| wanted.at_port(next));
            port % 2 == parity
                && !self.is_expected_by_others(master, &wanted.at_port(*port))
                && next.is_some_and(|next| {
                    announced::is_unused(&self.nat, &next.tuple) && !self.is_expected_by_others(master, &next)
                })
        })
    }

    /// What an entry expects of which `is_it` holds.
    pub(crate) fn expectation_of(
        &self,
        master: u32,
        is_it: impl Fn(&Expectation) -> bool,
    ) -> Option<Expectation> {
        let slots = self.expectations.of_master(self.newest_expectation(master));
        let mut open = slots.filter(|slot| self.expectations.own(self.expectations.id(*slot)).is_some());
        open.find(|slot| is_it(self.expectations.at(*slot))).map(|slot| *self.expectations.at(slot))
    }

    /// Ends all that an entry expects of which `is_it` holds.
    pub(crate) fn end_expectations_if(&mut self, master: u32, is_it: impl Fn(&Expectation) -> bool) {
        let mut next = self.expectations.of_master(self.newest_expectation(master)).next();
        while let Some(slot) = next {
            next = self.expectations.of_master(slot).nth(1);
            if is_it(self.expectations.at(slot)) {
                self.end_expectation(slot);
            }
        }
    }
}
