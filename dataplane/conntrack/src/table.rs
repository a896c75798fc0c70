//! The table: entries, the index that finds them, the wheel that ends them and the gauges that count them, kept in step.
//!
//! It knows nothing of packets, policies and other shards: connections begin and end in [`crate::lifecycle`].

use crate::connection_counts::Counted;
use crate::counters::{ByState, ProtocolLabel};
use crate::entries::{Entries, NONE};
use crate::entry::{Entry, Status};
use crate::expectations::Child;
use crate::extension::{Extension, Extensions};
use crate::ids::EntryId;
use crate::index::{Hash, Index};
use crate::time::Tick;
use crate::tuple::{Direction, Tuple};
use crate::unconfirmed::Unconfirmed;
use crate::wheel::Wheel;
use sluice_memory::Pages;
use std::io;

/// What a tuple is looked up by.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Key {
    /// The hash of the tuple and of its inverse.
    pub(crate) hash: Hash,
    /// The entry that the tuple most probably belongs to: a hint, and any number is good.
    pub(crate) candidate: u32,
}

/// What a look-up has found: an entry, and the direction in which the packet belongs to it.
pub(crate) type Found = Option<(u32, Direction)>;

/// The connections of a shard that are confirmed.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) entries: Entries,
    extensions: Extensions,
    pub(crate) index: Index,
    pub(crate) wheel: Wheel,
    /// The slot from which on the next entry to give way is looked for ([`crate::evict`]).
    pub(crate) hand: u32,
    /// Entries by protocol and state.
    gauges: ByState,
    /// Those of them that are translated.
    translated: u32,
}

/// An entry that the wheel has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Its time is over.
    Expired(u32),
    /// It lives.
    Alive(u32),
}

/// An entry that is no longer in the table.
#[derive(Debug)]
pub(crate) struct Removed {
    /// The slot that it had.
    pub(crate) index: u32,
    /// Its original and its reply tuple.
    pub(crate) tuples: [Tuple; 2],
    /// Its status at the end.
    pub(crate) status: Status,
    /// Its tracker's last state.
    pub(crate) state: u8,
    /// What it had beside its entry, if it had anything.
    pub(crate) extension: Option<Extension>,
}

impl Removed {
    /// Whether its reply tuple was another than the inverse of its original one.
    pub(crate) const fn is_translated(&self) -> bool {
        self.status.intersects(Status::TRANSLATED)
    }
}

impl Table {
    /// An empty table with room for so many entries and for so many of their tuples, at `now`.
    ///
    /// # Errors
    /// When the host has not enough memory.
    pub(crate) fn new(entries: u32, slots: u32, seed: [u64; 4], pages: Pages, now: Tick) -> io::Result<Self> {
        Ok(Self {
            entries: Entries::new(entries, pages)?,
            extensions: Extensions::new(entries)?,
            index: Index::new(slots, seed, pages)?,
            wheel: Wheel::new(now),
            hand: 0,
            gauges: ByState::default(),
            translated: 0,
        })
    }

    /// How many of its entries are translated.
    pub(crate) const fn translated(&self) -> u32 {
        self.translated
    }

    /// How many entries there are by protocol and state.
    pub(crate) const fn gauges(&self) -> &ByState {
        &self.gauges
    }

    /// Bytes of memory for entries and index.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries.memory_bytes() + self.index.memory_bytes()
    }

    /// What to look a tuple up by, without a candidate.
    #[inline(always)]
    pub(crate) fn key(&self, tuple: &Tuple) -> Key {
        Key { hash: self.index.hash(tuple, tuple.selector.invert()), candidate: NONE }
    }

    /// Finds the entry of a tuple without a candidate, be its time over or not.
    #[inline(never)]
    pub(crate) fn search(&self, key: &Key, tuple: &Tuple) -> Found {
        self.index.find(key.hash, |index| self.entries.direction(index, tuple))
    }

    /// Puts a connection in, under the hash of its original tuple and, if it is translated, of its reply tuple; `born_s` is the
    /// second of its birth. `None` when there is no room for it.
    pub(crate) fn insert(&mut self, hash: Hash, unconfirmed: &Unconfirmed, born_s: u32) -> Option<u32> {
        let Unconfirmed { entry, original, reply, .. } = unconfirmed;
        let status = unconfirmed.status();
        let reply_hash = unconfirmed.reply_hash.filter(|_| status.intersects(Status::TRANSLATED));
        let index = self.entries.insert(original, reply, entry, status, born_s)?;
        let has_slot = self.index.insert(hash, index);
        if !has_slot || reply_hash.is_some_and(|reply_hash| !self.index.insert(reply_hash, index)) {
            if has_slot {
                self.index.remove(hash, index);
            }
            self.entries.remove(index);
            return None;
        }
        self.translated += u32::from(reply_hash.is_some());
        if let Some(child) = &unconfirmed.child {
            self.extensions.keep_child(self.entries.id(index), child);
        }
        self.wheel.arm(&mut self.entries, index);
        *self.gauge(original.protocol(), entry.state) += 1;
        Some(index)
    }

    /// What an entry has beside it, if it has anything.
    pub(crate) fn extension(&self, index: u32) -> Option<&Extension> {
        self.extensions.get(index, self.entries.at(index).status)
    }

    /// What an entry has beside it, from now on if not before.
    pub(crate) fn extend(&mut self, index: u32) -> &mut Extension {
        self.extensions.extend(index, &mut self.entries.at_mut(index).status)
    }

    /// What an entry keeps of the expectation that it met, if it was expected.
    pub(crate) fn child(&self, index: u32) -> Option<&Child> {
        self.extensions.child(index, self.entries.at(index).status)
    }

    /// What counts an entry.
    pub(crate) fn counted(&self, index: u32) -> Counted {
        match self.extension(index) {
            Some(extension) if extension.is_counted => self.extensions.counted(index),
            _ => Counted::new(),
        }
    }

    /// The same of an entry that has ended, and was counted, as long as no other has taken its slot.
    pub(crate) fn last_counted(&self, index: u32) -> Counted {
        self.extensions.counted(index)
    }

    /// Keeps what counts an entry.
    pub(crate) fn keep_counted(&mut self, index: u32, counted: &Counted) {
        self.extensions.keep_counted(index, &mut self.entries.at_mut(index).status, counted);
    }

    /// The same of an entry that has ended, as long as no other has taken its slot and met an expectation.
    pub(crate) fn last_child(&self, entry: EntryId) -> Option<&Child> {
        self.extensions.last_child(entry)
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, index: u32) -> Removed {
        self.wheel.disarm(&mut self.entries, index);
        self.remove_disarmed(index)
    }

    /// The next entry that the wheel comes to. It lets go of one that has expired at `now`, which is to be
    /// [taken out](Self::remove_disarmed). `None` when there is none for the time being, or when `budget`, which pays for slots and
    /// entries of the wheel, is used up.
    pub(crate) fn next_due(&mut self, now: Tick, budget: &mut u32) -> Option<Due> {
        let index = self.wheel.next_due(&mut self.entries, now, budget)?;
        if self.entries.at(index).deadline.is_due(now) {
            return Some(Due::Expired(index));
        }
        self.wheel.arm(&mut self.entries, index);
        Some(Due::Alive(index))
    }

    /// Takes an entry out that the wheel has let go of.
    pub(crate) fn remove_disarmed(&mut self, index: u32) -> Removed {
        let tuples = self.entries.tuples(index);
        let [original, reply] = &tuples;
        let Entry { state, status, .. } = *self.entries.at(index);
        let extension = self.extension(index).copied();
        let removed = Removed { index, tuples, status, state, extension };
        *self.gauge(original.protocol(), state) -= 1;
        if removed.is_translated() {
            self.index.remove(self.key(reply).hash, index);
            self.translated -= 1;
        }
        self.index.remove(self.key(original).hash, index);
        self.entries.remove(index);
        removed
    }

    /// Counts an entry that has left the state `from` by that which it has now.
    #[inline]
    pub(crate) fn change_state(&mut self, index: u32, from: u8) {
        let entry = self.entries.at(index);
        let (protocol, state) = (entry.protocol(), entry.state);
        *self.gauge(protocol, from) -= 1;
        *self.gauge(protocol, state) += 1;
    }

    #[inline]
    fn gauge(&mut self, protocol: u8, state: u8) -> &mut u64 {
        &mut self.gauges[ProtocolLabel::of(protocol) as usize][usize::from(state)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u64; 4] = [1, 2, 3, 4];

    fn table(room: u32) -> Table {
        Table::new(room, room * 2, SEED, Pages::Ordinary, Tick::default()).unwrap()
    }

    fn udp(sport: u16) -> Tuple {
        Tuple::new([10, 0, 0, 1].into(), [198, 51, 100, 2].into(), 17, sport, 53)
    }

    /// A connection that ends after so long.
    fn connection(original: Tuple, ms: u32) -> Unconfirmed {
        let mut connection = Unconfirmed::new(original, None);
        connection.entry.deadline = Tick::default().after_ms(ms);
        connection
    }

    fn insert(table: &mut Table, connection: &Unconfirmed) -> Option<u32> {
        table.insert(table.key(&connection.original).hash, connection, 0)
    }

    fn found(table: &Table, tuple: &Tuple) -> Option<(u32, Direction)> {
        table.search(&table.key(tuple), tuple)
    }

    #[test]
    fn an_entry_is_found_by_both_directions_until_it_is_removed() {
        let mut table = table(8);
        let tuple = udp(4000);
        let index = insert(&mut table, &connection(tuple, 1000)).unwrap();
        assert_eq!(found(&table, &tuple), Some((index, Direction::Original)));
        assert_eq!(found(&table, &tuple.invert()), Some((index, Direction::Reply)));
        assert_eq!(table.gauges()[ProtocolLabel::Udp as usize][0], 1);
        let removed = table.remove(index);
        assert_eq!(removed.tuples, [tuple, tuple.invert()]);
        assert_eq!((table.entries.len(), found(&table, &tuple)), (0, None));
        assert_eq!(table.gauges(), &ByState::default());
        assert_eq!((table.index.len(), table.wheel.check(&table.entries)), (0, Ok(0)));
    }

    #[test]
    fn a_translated_entry_is_found_by_its_reply_tuple() {
        let mut table = table(8);
        let mut connection = connection(udp(4000), 1000);
        let reply = Tuple { dst: 0xc0a8_0001, ..connection.reply };
        connection.commit(&reply, table.key(&reply).hash);
        let index = insert(&mut table, &connection).unwrap();
        assert_eq!(found(&table, &reply), Some((index, Direction::Reply)));
        assert_eq!(found(&table, &connection.original.invert()), None);
        assert_eq!((table.translated(), table.index.len()), (1, 2));
        assert!(table.remove(index).is_translated());
        assert_eq!((table.translated(), table.index.len()), (0, 0));
    }

    #[test]
    fn a_full_table_takes_nothing() {
        let mut table = table(2);
        let inserted = [1, 2, 3].map(|sport| insert(&mut table, &connection(udp(sport), 1000)).is_some());
        assert_eq!((inserted, table.entries.len(), table.index.len()), ([true, true, false], 2, 2));
    }

    #[test]
    fn entries_expire_in_their_order() {
        let mut table = table(8);
        for (sport, ms) in [(1, 90_000), (2, 1000), (3, 30_000)] {
            insert(&mut table, &connection(udp(sport), ms)).unwrap();
        }
        let mut expired = |ms| {
            let (now, mut budget) = (Tick::default().after_ms(ms), u32::MAX);
            let mut next = || loop {
                if let Due::Expired(index) = table.next_due(now, &mut budget)? {
                    return Some(table.remove_disarmed(index).tuples[0].selector.sport());
                }
            };
            std::iter::from_fn(&mut next).collect::<Vec<_>>()
        };
        assert_eq!(expired(500), [0; 0]);
        assert_eq!(expired(40_000), [2, 3]);
        assert_eq!(expired(100_000), [1]);
    }
}
