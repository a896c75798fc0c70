//! Packets that wait until another shard knows their connection: the first packet of each claim under way, and those that
//! came behind it.
//!
//! A slab of fixed size. The packets of an entry are a chain, in the order they came; the chains are linked in buckets by the
//! number of their entry, which the table gives out, so that nobody outside chooses a bucket.

use crate::exchange::{MAX_CLAIMS, Shares};
use crate::ids::{EntryId, ShardId};
use crate::verdict::Verdict;

/// Packets that are held, at most: the first of each claim, and as many behind them.
const MAX_HELD: usize = 2 * MAX_CLAIMS;

/// The end of a chain.
const NONE: u16 = u16::MAX;

/// A packet that waits.
#[derive(Debug)]
pub(crate) struct Waiting<P> {
    pub(crate) packet: P,
    /// Of the first packet of a connection: what becomes of it when its claim is granted, and how many were refused.
    pub(crate) first: Option<(Verdict, u8)>,
}

/// The packets that waited for one entry, in order.
#[derive(Debug)]
pub(crate) struct Chain(u16);

/// A slot in the slab, free where nothing waits in it.
#[derive(Debug)]
struct Slot<P> {
    waiting: Option<Waiting<P>>,
    entry: EntryId,
    /// The shard whose answer it waits for.
    answers: ShardId,
    /// The next of the chain, or of the free slots.
    next: u16,
    /// Where it is the first of its chain: the last, and the first of the next chain in its bucket.
    last: u16,
    next_chain: u16,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Held<P> {
    slots: Box<[Slot<P>]>,
    free: u16,
    /// The first of the first chain in each bucket.
    buckets: Box<[u16; MAX_HELD]>,
    /// Room for packets behind the first, by who is to answer.
    behind: Shares,
    len: usize,
}

impl<P> Held<P> {
    /// Nothing yet, in a box of so many shards.
    pub(crate) fn new(shards: u16) -> Self {
        let slot = |number: usize| Slot {
            waiting: None,
            entry: EntryId { index: 0, generation: 0 },
            answers: ShardId(0),
            next: if number + 1 < MAX_HELD { number as u16 + 1 } else { NONE },
            last: NONE,
            next_chain: NONE,
        };
        Self {
            slots: (0..MAX_HELD).map(slot).collect(),
            free: 0,
            buckets: Box::new([NONE; MAX_HELD]),
            behind: Shares::new(MAX_HELD - MAX_CLAIMS, shards),
            len: 0,
        }
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// All that are held, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &P> {
        self.slots.iter().filter_map(|slot| Some(&slot.waiting.as_ref()?.packet))
    }

    /// Holds a packet of an entry whose claim a shard is to answer; gives it back where there is no room.
    pub(crate) fn push(&mut self, entry: EntryId, answers: ShardId, waiting: Waiting<P>) -> Result<(), P> {
        let is_behind = waiting.first.is_none();
        if self.free == NONE || is_behind && !self.behind.take(answers) {
            return Err(waiting.packet);
        }
        let number = self.free;
        let bucket = bucket(entry);
        let chain = self.chain(entry);
        let next_chain = self.buckets[bucket];
        let slot = &mut self.slots[usize::from(number)];
        self.free = slot.next;
        *slot = Slot { waiting: Some(waiting), entry, answers, next: NONE, last: number, next_chain };
        match chain {
            Some((first, _)) => {
                let last = std::mem::replace(&mut self.slots[usize::from(first)].last, number);
                self.slots[usize::from(last)].next = number;
            }
            None => self.buckets[bucket] = number,
        }
        self.len += 1;
        Ok(())
    }

    /// Takes out what waits for an entry.
    pub(crate) fn take(&mut self, entry: EntryId) -> Chain {
        let Some((first, before)) = self.chain(entry) else { return Chain(NONE) };
        let next_chain = self.slots[usize::from(first)].next_chain;
        match before {
            Some(before) => self.slots[usize::from(before)].next_chain = next_chain,
            None => self.buckets[bucket(entry)] = next_chain,
        }
        Chain(first)
    }

    /// The next packet of what was taken out.
    pub(crate) fn next(&mut self, chain: &mut Chain) -> Option<Waiting<P>> {
        let slot = self.slots.get_mut(usize::from(chain.0))?;
        let waiting = slot.waiting.take()?;
        if waiting.first.is_none() {
            self.behind.give_back(slot.answers);
        }
        let next = std::mem::replace(&mut slot.next, self.free);
        self.free = std::mem::replace(&mut chain.0, next);
        self.len -= 1;
        Some(waiting)
    }

    /// The first of an entry's chain, and that of the chain before in its bucket.
    fn chain(&self, entry: EntryId) -> Option<(u16, Option<u16>)> {
        let (mut first, mut before) = (self.buckets[bucket(entry)], None);
        while let Some(slot) = self.slots.get(usize::from(first)) {
            if slot.entry == entry {
                return Some((first, before));
            }
            before = Some(first);
            first = slot.next_chain;
        }
        None
    }
}

const fn bucket(entry: EntryId) -> usize {
    entry.index as usize % MAX_HELD
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::DropReason;

    const OTHER: ShardId = ShardId(1);

    const fn entry(index: u32) -> EntryId {
        EntryId { index, generation: 1 }
    }

    fn first(packet: u32) -> Waiting<u32> {
        Waiting { packet, first: Some((Verdict::dropped(DropReason::HoldFull), 0)) }
    }

    const fn behind(packet: u32) -> Waiting<u32> {
        Waiting { packet, first: None }
    }

    fn take(held: &mut Held<u32>, index: u32) -> Vec<u32> {
        let mut chain = held.take(entry(index));
        std::iter::from_fn(|| held.next(&mut chain)).map(|waiting| waiting.packet).collect()
    }

    #[test]
    fn each_entry_has_its_packets_in_order() {
        let mut held = Held::new(2);
        // The last of them share a bucket.
        let entries = [1, 2, 3, 3 + MAX_HELD as u32, 3 + 2 * MAX_HELD as u32];
        for (number, index) in entries.into_iter().enumerate() {
            held.push(entry(index), OTHER, first(10 * number as u32)).unwrap();
        }
        for packet in 1..4 {
            for (number, index) in entries.into_iter().enumerate() {
                held.push(entry(index), OTHER, behind(10 * number as u32 + packet)).unwrap();
            }
        }
        for number in [3, 0, 4, 2, 1] {
            let packets: Vec<u32> = (0..4).map(|packet| 10 * number as u32 + packet).collect();
            assert_eq!(take(&mut held, entries[number]), packets);
            assert!(take(&mut held, entries[number]).is_empty());
        }
        assert_eq!(held.len(), 0);
    }

    #[test]
    fn what_is_held_while_others_are_taken_out_waits_for_the_next_time() {
        let mut held = Held::new(2);
        held.push(entry(1), OTHER, first(1)).unwrap();
        held.push(entry(1), OTHER, behind(2)).unwrap();
        let mut chain = held.take(entry(1));
        assert_eq!(held.next(&mut chain).unwrap().packet, 1);
        held.push(entry(1), OTHER, behind(3)).unwrap();
        assert_eq!(held.next(&mut chain).unwrap().packet, 2);
        assert!(held.next(&mut chain).is_none());
        assert_eq!(take(&mut held, 1), [3]);
    }

    #[test]
    fn the_first_of_each_claim_finds_room_whatever_comes_behind_others() {
        let mut held = Held::new(4);
        for _ in 0..2 {
            let mut fill = |answers| {
                let packets = (0..).take_while(|_| held.push(entry(0), ShardId(answers), behind(0)).is_ok());
                packets.count()
            };
            assert_eq!([fill(1), fill(2), fill(3)], [MAX_CLAIMS / 2, MAX_CLAIMS / 4, MAX_CLAIMS / 8]);
            for index in 1..=MAX_CLAIMS as u32 {
                held.push(entry(index), OTHER, first(index)).unwrap();
            }
            assert_eq!(take(&mut held, 0).len(), MAX_CLAIMS * 7 / 8);
            for index in (1..=MAX_CLAIMS as u32).rev() {
                assert_eq!(take(&mut held, index), [index]);
            }
        }
    }

    #[test]
    fn a_full_slab_gives_back_what_it_cannot_hold() {
        let mut held = Held::new(2);
        for index in 0..MAX_HELD as u32 {
            held.push(entry(index), OTHER, first(index)).unwrap();
        }
        assert_eq!(held.push(entry(7), OTHER, first(99)), Err(99));
        assert_eq!(take(&mut held, 7), [7]);
        assert_eq!(held.push(entry(7), OTHER, first(99)), Ok(()));
        assert_eq!(held.len(), MAX_HELD);
    }
}
