//! The arena of entries: a fixed number of slots, taken and given back in constant time.
//!
//! IPv4 addresses fit into the entry. IPv6 addresses lie in a second arena under the same number, so that
//! both are fetched at once. That arena takes memory only where it is written: IPv4 takes slots from the low
//! end, IPv6 from the high end, and a box without IPv6 never pays for it.

use crate::entry::{Cold, Entry, Status};
use crate::ids::EntryId;
use crate::time::Tick;
use crate::tuple::{Direction, Family, Tuple};
use crate::wheel::{Timer, Timers};
use sluice_memory::{Arena, Pages};
use std::hint::select_unpredictable;
use std::io;

/// No entry: the end of a list.
pub const NONE: u32 = u32::MAX;

/// Source and destination address of an IPv6 entry's original and reply tuple: a cache line.
type Wide = [[u128; 2]; 2];

/// All entries of a shard.
#[derive(Debug)]
pub struct Entries {
    arena: Arena<Entry>,
    /// By the number of the entry, as all that follows.
    cold: Arena<Cold>,
    wide: Arena<Wide>,
    /// First of the slots given back at the low and the high end.
    free: [u32; 2],
    /// Slots from `low` up to `high` have never been taken.
    low: u32,
    high: u32,
    len: u32,
}

impl Entries {
    /// Room for `capacity` entries.
    ///
    /// # Errors
    /// When the host has not enough memory.
    pub fn new(capacity: u32, pages: Pages) -> io::Result<Self> {
        let slots = capacity as usize;
        Ok(Self {
            arena: Arena::new(slots, pages)?,
            cold: Arena::new(slots, pages)?,
            wide: Arena::sparse(slots)?,
            free: [NONE; 2],
            low: 0,
            high: capacity,
            len: 0,
        })
    }

    /// Bytes of the arenas that are touched at once: the entries, and their cold halves.
    pub const fn arena_bytes(capacity: u32) -> [usize; 2] {
        [capacity as usize * size_of::<Entry>(), capacity as usize * size_of::<Cold>()]
    }

    /// How many entries there are.
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many there can be.
    pub fn capacity(&self) -> u32 {
        self.arena.len() as u32
    }

    /// The pages that the entries lie on.
    pub const fn pages(&self) -> Pages {
        self.arena.pages()
    }

    /// Bytes of memory behind the entries and their cold halves, and what IPv6 has touched at most.
    pub fn memory_bytes(&self) -> usize {
        let wide = (self.capacity() - self.high) as usize * size_of::<Wide>();
        self.arena.mapped_bytes() + self.cold.mapped_bytes() + wide
    }

    /// Takes a slot for `entry`, whose tuples are `original` and `reply` and whose status is `status`; gives its number, or `None` when all are taken.
    #[inline]
    pub fn insert(
        &mut self,
        original: &Tuple,
        reply: &Tuple,
        entry: &Entry,
        status: Status,
        born_s: u32,
    ) -> Option<u32> {
        let index = self.take(original.family())?;
        let slot = &mut self.arena[index as usize];
        let generation = slot.generation.wrapping_add(1);
        *slot = Entry {
            generation,
            selector: original.selector,
            reply_ports: reply.selector.ports(),
            status: status.union(Status::CONFIRMED),
            ..*entry
        };
        let addresses = [original, reply].map(|tuple| [tuple.src, tuple.dst]);
        match original.family() {
            Family::V4 => slot.addresses = addresses.map(|pair| pair.map(|address| address as u32)),
            Family::V6 => self.wide[index as usize] = addresses,
        }
        self.cold[index as usize].born_s = born_s;
        self.len += 1;
        Some(index)
    }

    fn take(&mut self, family: Family) -> Option<u32> {
        let (own, other) = match family {
            Family::V4 => (0, 1),
            Family::V6 => (1, 0),
        };
        if self.free[own] != NONE {
            return Some(self.pop(own));
        }
        if self.low < self.high {
            return Some(match family {
                Family::V4 => {
                    self.low += 1;
                    self.low - 1
                }
                Family::V6 => {
                    self.high -= 1;
                    self.high
                }
            });
        }
        (self.free[other] != NONE).then(|| self.pop(other))
    }

    fn pop(&mut self, end: usize) -> u32 {
        let index = self.free[end];
        self.free[end] = self.cold[index as usize].timer.next;
        index
    }

    /// Gives a slot back. It must be in use.
    pub fn remove(&mut self, index: u32) {
        let end = usize::from(index >= self.low);
        self.arena[index as usize].status = Status::default();
        self.cold[index as usize].timer.next = self.free[end];
        self.free[end] = index;
        self.len -= 1;
    }

    /// The tuple of one direction of the entry at `index`.
    #[inline]
    pub fn tuple(&self, index: u32, direction: Direction) -> Tuple {
        self.tuple_in(self.at(index).selector.family(), index, direction)
    }

    /// The same of an entry whose family is known.
    #[inline(always)]
    pub(crate) fn tuple_in(&self, family: Family, index: u32, direction: Direction) -> Tuple {
        let entry = &self.arena[index as usize];
        let [src, dst] = match family {
            Family::V4 => entry.addresses[direction as usize].map(u128::from),
            Family::V6 => self.wide[index as usize][direction as usize],
        };
        Tuple { src, dst, selector: entry.selector(direction) }
    }

    /// The original and the reply tuple of the entry at `index`.
    #[inline]
    pub fn tuples(&self, index: u32) -> [Tuple; 2] {
        let family = self.at(index).selector.family();
        [self.tuple_in(family, index, Direction::Original), self.tuple_in(family, index, Direction::Reply)]
    }

    /// The direction in which a packet of `tuple` belongs to the entry at `index`; `None` if it does not, or no connection
    /// lives there.
    #[inline(always)]
    pub fn direction(&self, index: u32, tuple: &Tuple) -> Option<Direction> {
        let entry = self.arena.get(index as usize)?;
        let [original, reply] = match tuple.family() {
            Family::V4 => entry.addresses.map(|pair| pair == [tuple.src as u32, tuple.dst as u32]),
            Family::V6 => self.wide[index as usize].map(|pair| pair == [tuple.src, tuple.dst]),
        };
        // Directions come in no order that a branch could learn: both are compared.
        let original = original & (entry.selector == tuple.selector);
        let reply = reply & (entry.selector(Direction::Reply) == tuple.selector);
        let direction = select_unpredictable(original, Direction::Original, Direction::Reply);
        ((original | reply) & entry.is_used()).then_some(direction)
    }

    /// Fetches the entry at `index` ahead of its use.
    #[inline]
    pub fn prefetch(&self, index: u32, family: Family) {
        self.arena.prefetch(index as usize);
        if family == Family::V6 {
            self.wide.prefetch(index as usize);
        }
    }

    /// Fetches what is read of an entry that ends.
    #[inline]
    pub(crate) fn prefetch_ending(&self, index: u32) {
        self.arena.prefetch(index as usize);
        self.cold.prefetch(index as usize);
    }

    /// The entry at `index`.
    #[inline]
    pub fn at(&self, index: u32) -> &Entry {
        &self.arena[index as usize]
    }

    /// The entry at `index`, to be changed.
    #[inline]
    pub fn at_mut(&mut self, index: u32) -> &mut Entry {
        &mut self.arena[index as usize]
    }

    /// What is kept apart of the entry at `index`.
    #[inline]
    pub fn cold(&self, index: u32) -> &Cold {
        &self.cold[index as usize]
    }

    /// Has the entry at `index` be born in another second.
    pub fn set_born(&mut self, index: u32, born_s: u32) {
        self.cold[index as usize].born_s = born_s;
    }

    /// The name of the entry at `index`.
    pub fn id(&self, index: u32) -> EntryId {
        EntryId { index, generation: self.at(index).generation }
    }

    /// The entry of that name, if it still lives.
    pub fn get(&self, id: EntryId) -> Option<&Entry> {
        self.arena.get(id.index as usize).filter(|entry| entry.is_used() && entry.generation == id.generation)
    }

    /// The number of the first slot from `index` on that has ever been taken.
    pub fn next_index(&self, index: u32) -> Option<u32> {
        let index = if index >= self.low { index.max(self.high) } else { index };
        (index < self.capacity()).then_some(index)
    }

    /// So many of the slots that have ever been taken, or all of these, as far from one another as they can be; `phase` says where they
    /// begin.
    pub fn spread(&self, most: u32, phase: u32) -> impl Iterator<Item = u32> {
        let (low, taken) = (u64::from(self.low), u64::from(self.low + self.capacity() - self.high));
        let count = u64::from(most).min(taken);
        let slot = move |number: u64| (number * taken / count + u64::from(phase)) % taken;
        let gap = self.high - self.low;
        (0..count).map(move |number| slot(number) as u32 + if slot(number) < low { 0 } else { gap })
    }

    /// The number of the first entry in use from `index` on, however far that is.
    pub fn next_used(&self, index: u32) -> Option<u32> {
        let mut slot = self.next_index(index)?;
        while !self.at(slot).is_used() {
            slot = self.next_index(slot + 1)?;
        }
        Some(slot)
    }
}

impl Timers for Entries {
    #[inline]
    fn deadline(&self, index: u32) -> Tick {
        self.at(index).deadline
    }

    #[inline]
    fn deadline_mut(&mut self, index: u32) -> &mut Tick {
        &mut self.at_mut(index).deadline
    }

    #[inline]
    fn timer(&self, index: u32) -> &Timer {
        &self.cold[index as usize].timer
    }

    #[inline]
    fn timer_mut(&mut self, index: u32) -> &mut Timer {
        &mut self.cold[index as usize].timer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn tuple(number: u16, v6: bool) -> Tuple {
        let host = if v6 { "fd00::1" } else { "10.0.0.1" };
        let peer = if v6 { "2001:db8::1" } else { "198.51.100.1" };
        Tuple::new(host.parse().unwrap(), peer.parse().unwrap(), 17, number, 53)
    }

    fn insert(entries: &mut Entries, tuple: &Tuple) -> Option<u32> {
        entries.insert(tuple, &tuple.invert(), &Entry::new_zeroed(), Status::default(), 0)
    }

    #[test]
    fn both_families_share_all_slots() {
        let mut entries = Entries::new(4, Pages::Ordinary).unwrap();
        let taken: Vec<_> = [(1, false), (2, true), (3, false), (4, false)]
            .map(|(n, v6)| insert(&mut entries, &tuple(n, v6)).unwrap())
            .into();
        assert_eq!(taken, [0, 3, 1, 2]);
        assert!(insert(&mut entries, &tuple(5, true)).is_none());
        for (index, (n, v6)) in taken.iter().zip([(1, false), (2, true), (3, false), (4, false)]) {
            assert_eq!(entries.tuple(*index, Direction::Original), tuple(n, v6));
        }
        entries.remove(1);
        assert_eq!(insert(&mut entries, &tuple(6, true)), Some(1), "any free slot will do");
        assert_eq!(entries.tuple(1, Direction::Original), tuple(6, true));
        assert_eq!(entries.len(), 4);
    }

    #[test]
    fn a_name_dies_with_its_entry() {
        let mut entries = Entries::new(1, Pages::Ordinary).unwrap();
        let index = insert(&mut entries, &tuple(1, false)).unwrap();
        let id = entries.id(index);
        assert!(entries.get(id).is_some());
        entries.remove(index);
        assert!(entries.get(id).is_none());
        assert_eq!(insert(&mut entries, &tuple(1, false)), Some(index));
        assert!(entries.get(id).is_none());
        assert!(entries.get(EntryId { index: 77, generation: 0 }).is_none());
    }

    #[test]
    fn a_packet_finds_its_direction() {
        let mut entries = Entries::new(2, Pages::Ordinary).unwrap();
        for v6 in [false, true] {
            let t = tuple(9, v6);
            let index = insert(&mut entries, &t).unwrap();
            let inverse = t.invert();
            assert_eq!(entries.direction(index, &t), Some(Direction::Original));
            assert_eq!(entries.direction(index, &inverse), Some(Direction::Reply));
            assert_eq!(entries.direction(index, &tuple(10, v6)), None);
            entries.remove(index);
            assert_eq!(entries.direction(index, &t), None);
        }
    }

    #[test]
    fn a_translated_entry_has_two_tuples_of_its_own() {
        let mut entries = Entries::new(1, Pages::Ordinary).unwrap();
        for v6 in [false, true] {
            let (original, reply) = (tuple(9, v6), tuple(10, v6).invert());
            let index =
                entries.insert(&original, &reply, &Entry::new_zeroed(), Status::default(), 0).unwrap();
            assert_eq!(entries.direction(index, &original), Some(Direction::Original));
            assert_eq!(entries.direction(index, &reply), Some(Direction::Reply));
            assert_eq!(entries.direction(index, &original.invert()), None);
            let tuples = [Direction::Original, Direction::Reply].map(|one| entries.tuple(index, one));
            assert_eq!(tuples, [original, reply]);
            entries.remove(index);
            insert(&mut entries, &original).unwrap();
            assert_eq!(entries.direction(index, &reply), None, "somebody else lives there now");
            entries.remove(index);
        }
    }

    #[test]
    fn what_is_spread_is_in_slots_that_were_taken() {
        let mut entries = Entries::new(100, Pages::Ordinary).unwrap();
        assert_eq!(entries.spread(5, 3).count(), 0, "nothing is there");
        for number in 0..20 {
            assert!(insert(&mut entries, &tuple(number, number % 2 == 1)).is_some());
        }
        let mut all: Vec<u32> = entries.spread(100, 7).collect();
        all.sort_unstable();
        assert_eq!(all, (0..10).chain(90..100).collect::<Vec<_>>());
        assert_eq!(entries.spread(4, 1).collect::<Vec<_>>(), [1, 6, 91, 96]);
    }

    #[test]
    fn walking_skips_what_is_free() {
        let mut entries = Entries::new(8, Pages::Ordinary).unwrap();
        for n in 0..3 {
            insert(&mut entries, &tuple(n, false));
            insert(&mut entries, &tuple(n, true));
        }
        entries.remove(1);
        let walk: Vec<_> =
            std::iter::successors(entries.next_used(0), |i| entries.next_used(i + 1)).collect();
        assert_eq!(walk, [0, 2, 5, 6, 7]);
    }
}
