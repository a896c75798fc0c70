//! The arena of entries: a fixed number of places, taken and given back in constant time.
//!
//! IPv4 addresses fit into the entry. IPv6 addresses lie in a second arena under the same number, so that
//! both are fetched at once. That arena takes memory only where it is written: IPv4 takes places from the low
//! end, IPv6 from the high end, and a box without IPv6 never pays for it. So lie the reply tuples of translated entries.

use crate::entry::{Entry, EntryId, Status};
use crate::nat::{Deltas, Translation};
use crate::tuple::{Direction, Family, Selector, Tuple};
use sluice_memory::{Arena, Pages};
use std::hint::select_unpredictable;
use std::io;

/// No entry: the end of a list.
pub const NONE: u32 = u32::MAX;

/// In the index, with the number of an entry: the entry is translated. So its translation can be fetched together with it.
pub const TRANSLATED: u32 = 1 << 31;

/// All entries of a shard.
#[derive(Debug)]
pub struct Entries {
    arena: Arena<Entry>,
    /// Source and destination address of IPv6 entries, by the number of the entry.
    wide: Arena<[u128; 2]>,
    /// Translations, by the number of the entry.
    translations: Arena<Translation>,
    /// Reply source and destination address of translated IPv6 entries, by the number of the entry.
    wide_replies: Arena<[u128; 2]>,
    /// Whether any entry was ever translated, or is expected to be.
    translates: bool,
    /// First of the places given back at the low and the high end.
    free: [u32; 2],
    /// Places from `low` up to `high` have never been taken.
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
        let places = capacity as usize;
        Ok(Self {
            arena: Arena::new(places, pages)?,
            wide: Arena::sparse(places)?,
            translations: Arena::sparse(places)?,
            wide_replies: Arena::sparse(places)?,
            translates: false,
            free: [NONE; 2],
            low: 0,
            high: capacity,
            len: 0,
        })
    }

    /// The same with memory for IPv4 translations taken now, on pages like those of the entries: with ordinary ones every
    /// packet would wait for a page walk more.
    ///
    /// # Errors
    /// When the host has not enough memory.
    pub fn with_translations(mut self) -> io::Result<Self> {
        self.translations = Arena::new(self.arena.len(), self.arena.pages())?;
        self.translates = true;
        Ok(self)
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

    /// Bytes of memory behind the entries: the whole arena, and what IPv6 and translations have touched at most.
    pub fn memory_bytes(&self) -> usize {
        let wide = (self.capacity() - self.high) as usize * size_of::<[u128; 2]>();
        let translated = if self.translates { self.translations.mapped_bytes() + wide } else { 0 };
        self.arena.mapped_bytes() + wide + translated
    }

    /// Takes a place for `entry`, whose original tuple is `tuple`; gives its number, or `None` when all are taken.
    pub fn insert(&mut self, tuple: &Tuple, mut entry: Entry) -> Option<u32> {
        let index = self.take(tuple.family())?;
        let place = &mut self.arena[index as usize];
        entry.generation = place.generation.wrapping_add(1);
        entry.status.set(Status::CONFIRMED);
        entry.selector = tuple.selector;
        match tuple.family() {
            Family::V4 => entry.addresses = [tuple.src as u32, tuple.dst as u32],
            Family::V6 => self.wide[index as usize] = [tuple.src, tuple.dst],
        }
        *place = entry;
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
        self.free[end] = self.arena[index as usize].links.next;
        index
    }

    /// Gives a place back. It must be in use.
    pub fn remove(&mut self, index: u32) {
        let end = usize::from(index >= self.low);
        let place = &mut self.arena[index as usize];
        place.status = Status::default();
        place.links.next = self.free[end];
        self.free[end] = index;
        self.len -= 1;
    }

    /// Ends the entry at `index`, and keeps its place until [`Entries::remove_left`]: meanwhile it is part of a list.
    pub fn leave(&mut self, index: u32, next: u32) {
        let place = &mut self.arena[index as usize];
        place.status.clear(Status::CONFIRMED);
        place.links.next = next;
        self.len -= 1;
    }

    /// Gives the place of an entry back that has left.
    pub fn remove_left(&mut self, index: u32) {
        self.len += 1;
        self.remove(index);
    }

    /// The original tuple of the entry at `index`.
    #[inline]
    pub fn tuple(&self, index: u32) -> Tuple {
        let entry = &self.arena[index as usize];
        let [src, dst] = match entry.selector.family() {
            Family::V4 => entry.addresses.map(u128::from),
            Family::V6 => self.wide[index as usize],
        };
        Tuple { src, dst, selector: entry.selector }
    }

    /// The reply tuple of the entry at `index`.
    #[inline]
    pub fn reply(&self, index: u32) -> Tuple {
        let original = self.tuple(index);
        if !self.arena[index as usize].is_translated() {
            return original.invert();
        }
        let translation = &self.translations[index as usize];
        let [src, dst] = match original.family() {
            Family::V4 => translation.addresses(),
            Family::V6 => self.wide_replies[index as usize],
        };
        Tuple { src, dst, selector: translation.selector(original.selector) }
    }

    /// Gives the entry at `index`, whose status says that it is translated, its reply tuple.
    pub fn translate(&mut self, index: u32, reply: &Tuple) {
        let original = self.tuple(index);
        self.translates = true;
        self.translations[index as usize] = Translation::new(&original, reply);
        if reply.family() == Family::V6 {
            self.wide_replies[index as usize] = [reply.src, reply.dst];
        }
    }

    /// What a packet of `direction` becomes on its way through the translated entry at `index`: a packet of this tuple,
    /// with checksums changed by so much.
    #[inline]
    pub fn translated(&self, index: u32, direction: Direction) -> (Tuple, Deltas) {
        let opposite = match direction {
            Direction::Original => self.reply(index),
            Direction::Reply => self.tuple(index),
        };
        (opposite.invert(), self.translations[index as usize].deltas(direction))
    }

    /// The direction in which a packet of `tuple`, whose inverse has the selector `inverse`, belongs to the entry of
    /// `number`, as the index has it or has had it; `None` if it does not, if no connection lives there, or one that is
    /// translated where the number says another, or the other way round.
    #[inline]
    pub fn direction(&self, number: u32, tuple: &Tuple, inverse: Selector) -> Option<Direction> {
        if number & TRANSLATED != 0 {
            return self.direction_translated(number & !TRANSLATED, tuple);
        }
        let index = number;
        let entry = self.arena.get(index as usize)?;
        let [src, dst] = match tuple.family() {
            Family::V4 => entry.addresses.map(u128::from),
            Family::V6 => self.wide[index as usize],
        };
        // Directions come in no order that a branch could learn: both are compared.
        let original = (entry.selector == tuple.selector) & (src == tuple.src) & (dst == tuple.dst);
        let reply = (entry.selector == inverse) & (src == tuple.dst) & (dst == tuple.src);
        let direction = select_unpredictable(original, Direction::Original, Direction::Reply);
        let is_plain = entry.is_used() & !entry.is_translated();
        ((original | reply) & is_plain).then_some(direction)
    }

    #[inline]
    fn direction_translated(&self, index: u32, tuple: &Tuple) -> Option<Direction> {
        let entry = self.arena.get(index as usize)?;
        let translation = self.translations.get(index as usize)?;
        let ([src, dst], [reply_src, reply_dst]) = match tuple.family() {
            Family::V4 => (entry.addresses.map(u128::from), translation.addresses()),
            Family::V6 => (self.wide[index as usize], self.wide_replies[index as usize]),
        };
        let original = (entry.selector == tuple.selector) & (src == tuple.src) & (dst == tuple.dst);
        let selector = translation.selector(entry.selector);
        let reply = (selector == tuple.selector) & (reply_src == tuple.src) & (reply_dst == tuple.dst);
        let direction = select_unpredictable(original, Direction::Original, Direction::Reply);
        let is_translated = entry.is_used() & entry.is_translated();
        ((original | reply) & is_translated).then_some(direction)
    }

    /// Fetches the entry of `number`, as the index has it, ahead of its use.
    #[inline]
    pub fn prefetch(&self, number: u32, family: Family) {
        let index = (number & !TRANSLATED) as usize;
        self.arena.prefetch(index);
        if family == Family::V6 {
            self.wide.prefetch(index);
        }
        if number & TRANSLATED != 0 {
            self.translations.prefetch(index);
            if family == Family::V6 {
                self.wide_replies.prefetch(index);
            }
        }
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

    /// The name of the entry at `index`.
    pub fn id(&self, index: u32) -> EntryId {
        EntryId { index, generation: self.at(index).generation() }
    }

    /// The entry of that name, if it still lives.
    pub fn get(&self, id: EntryId) -> Option<&Entry> {
        self.arena
            .get(id.index as usize)
            .filter(|entry| entry.is_used() && entry.generation() == id.generation)
    }

    /// The number of the first place from `index` on that has ever been taken.
    pub fn next_place(&self, index: u32) -> Option<u32> {
        let index = if index >= self.low { index.max(self.high) } else { index };
        (index < self.capacity()).then_some(index)
    }

    /// The number of the first entry in use from `index` on, however far that is.
    pub fn next_used(&self, index: u32) -> Option<u32> {
        let mut place = self.next_place(index)?;
        while !self.at(place).is_used() {
            place = self.next_place(place + 1)?;
        }
        Some(place)
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

    #[test]
    fn both_families_share_all_places() {
        let mut entries = Entries::new(4, Pages::Ordinary).unwrap();
        let taken: Vec<_> = [(1, false), (2, true), (3, false), (4, false)]
            .map(|(n, v6)| entries.insert(&tuple(n, v6), Entry::new_zeroed()).unwrap())
            .into();
        assert_eq!(taken, [0, 3, 1, 2]);
        assert!(entries.insert(&tuple(5, true), Entry::new_zeroed()).is_none());
        for (index, (n, v6)) in taken.iter().zip([(1, false), (2, true), (3, false), (4, false)]) {
            assert_eq!(entries.tuple(*index), tuple(n, v6));
        }
        entries.remove(1);
        assert_eq!(entries.insert(&tuple(6, true), Entry::new_zeroed()), Some(1), "any free place will do");
        assert_eq!(entries.tuple(1), tuple(6, true));
        assert_eq!(entries.len(), 4);
    }

    #[test]
    fn a_name_dies_with_its_entry() {
        let mut entries = Entries::new(1, Pages::Ordinary).unwrap();
        let index = entries.insert(&tuple(1, false), Entry::new_zeroed()).unwrap();
        let id = entries.id(index);
        assert!(entries.get(id).is_some());
        entries.remove(index);
        assert!(entries.get(id).is_none());
        assert_eq!(entries.insert(&tuple(1, false), Entry::new_zeroed()), Some(index));
        assert!(entries.get(id).is_none());
        assert!(entries.get(EntryId { index: 77, generation: 0 }).is_none());
    }

    #[test]
    fn a_packet_finds_its_direction() {
        let mut entries = Entries::new(2, Pages::Ordinary).unwrap();
        for v6 in [false, true] {
            let t = tuple(9, v6);
            let index = entries.insert(&t, Entry::new_zeroed()).unwrap();
            let inverse = t.invert();
            assert_eq!(entries.direction(index, &t, inverse.selector), Some(Direction::Original));
            assert_eq!(entries.direction(index, &inverse, t.selector), Some(Direction::Reply));
            let other = tuple(10, v6);
            assert_eq!(entries.direction(index, &other, other.selector.invert()), None);
            entries.remove(index);
            assert_eq!(entries.direction(index, &t, inverse.selector), None);
        }
    }

    #[test]
    fn an_old_number_does_not_find_who_lives_there_now_by_a_tuple_of_somebody_else() {
        let mut entries = Entries::new(1, Pages::Ordinary).unwrap();
        for v6 in [false, true] {
            let (original, public) = (tuple(9, v6), tuple(10, v6));
            let reply = public.invert();
            let mut entry = Entry::new_zeroed();
            entry.status.set(Status::SRC_NAT);
            let index = entries.insert(&original, entry).unwrap();
            entries.translate(index, &reply);
            let number = index | TRANSLATED;
            let direction = |number, tuple: &Tuple| entries.direction(number, tuple, tuple.selector.invert());
            assert_eq!(direction(number, &original), Some(Direction::Original));
            assert_eq!(direction(number, &reply), Some(Direction::Reply));
            assert_eq!(direction(number, &original.invert()), None);
            assert_eq!(direction(index, &original.invert()), None, "the number of an untranslated one");
            entries.remove(index);
            entries.insert(&original, Entry::new_zeroed()).unwrap();
            assert_eq!(entries.direction(number, &reply, reply.selector.invert()), None);
            entries.remove(index);
        }
    }

    #[test]
    fn walking_skips_what_is_free() {
        let mut entries = Entries::new(8, Pages::Ordinary).unwrap();
        for n in 0..3 {
            entries.insert(&tuple(n, false), Entry::new_zeroed());
            entries.insert(&tuple(n, true), Entry::new_zeroed());
        }
        entries.remove(1);
        let walk: Vec<_> =
            std::iter::successors(entries.next_used(0), |i| entries.next_used(i + 1)).collect();
        assert_eq!(walk, [0, 2, 5, 6, 7]);
    }
}
