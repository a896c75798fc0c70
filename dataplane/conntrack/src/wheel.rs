//! The timer wheel: which entries may have come to their end.
//!
//! Three levels over the 32-bit millisecond clock: slots of 256 ms, of 65 s, and of 4.6 h, each 256 of the level below.
//! A slot is a list through the entries' [`Cold`] halves. Re-arming is lazy: a packet that puts a deadline off writes the
//! deadline and nothing else; when the slot comes up, the entry is hung where its deadline then belongs. Only
//! a deadline that moves before the slot an entry hangs on moves the entry. Work is handed out one entry at a time, so that
//! the caller decides how much of it one loop does.
//!
//! A level has room for two rounds. While one passes, the slot above that is the next one is spread over it whenever
//! there is nothing else to do: with millions of entries, that slot would else keep all that is due waiting for seconds.

use crate::entries::{Entries, NONE};
use crate::entry::{Cold, Links};
use crate::time::Tick;

const LEVELS: usize = 3;
const SLOTS: usize = 512;

/// In [`Links::previous`]: the rest of the number is a slot, not an entry.
const SLOT: u32 = 1 << 31;

/// Most entries that a wheel can hold: above, an entry's number could not be told from a slot's.
pub const MAX_ENTRIES: u32 = SLOT;

/// The timers of a shard.
#[derive(Debug)]
pub struct Wheel {
    /// First entry of each slot, levels one after the other.
    first: [u32; LEVELS * SLOTS],
    /// Entries on each level, so that idle time is crossed in strides.
    hung: [u32; LEVELS],
    /// The level-0 slot that is worked on as soon as its time is over: milliseconds / 256.
    turn: u32,
}

/// Slots of 256 ms: how far a tick is shifted to get its level-0 turn.
const TURN_BITS: u32 = 8;

/// Turns wrap where ticks do.
const TURN_MASK: u32 = u32::MAX >> TURN_BITS;

const fn turn_of(tick: Tick) -> u32 {
    tick.as_u32() >> TURN_BITS
}

impl Wheel {
    /// An empty wheel at `now`.
    pub const fn new(now: Tick) -> Self {
        Self { first: [NONE; LEVELS * SLOTS], hung: [0; LEVELS], turn: turn_of(now) }
    }

    /// Hangs an entry, which hangs nowhere, on the slot of its deadline.
    pub fn arm(&mut self, entries: &mut Entries, index: u32) {
        let due = turn_of(entries.at(index).deadline);
        // A deadline in the past, which looks far ahead in modular time, is due at once.
        if due.wrapping_sub(self.turn) & TURN_MASK >= 0x80_0000 {
            return self.hang(entries, index, (self.turn as usize) % SLOTS);
        }
        let rounds_ahead =
            |shift: u32| (due >> shift).wrapping_sub(self.turn >> shift) & (TURN_MASK >> shift);
        let level = match (rounds_ahead(8), rounds_ahead(16)) {
            (0 | 1, _) => 0,
            (_, 0 | 1) => 1,
            _ => 2,
        };
        let slot = level * SLOTS + (due >> (8 * level)) as usize % SLOTS;
        self.hang(entries, index, slot);
    }

    fn hang(&mut self, entries: &mut Entries, index: u32, slot: usize) {
        let next = self.first[slot];
        let cold = entries.cold_mut(index);
        cold.links = Links { next, previous: SLOT | slot as u32 };
        cold.slot = slot as u32;
        if next != NONE {
            entries.cold_mut(next).links.previous = index;
        }
        self.first[slot] = index;
        self.hung[slot / SLOTS] += 1;
    }

    /// Takes an entry off its slot.
    pub fn disarm(&mut self, entries: &mut Entries, index: u32) {
        let Cold { links, slot, .. } = *entries.cold(index);
        self.hung[slot as usize / SLOTS] -= 1;
        if links.previous & SLOT != 0 {
            self.first[(links.previous & !SLOT) as usize] = links.next;
        } else {
            entries.cold_mut(links.previous).links.next = links.next;
        }
        if links.next != NONE {
            entries.cold_mut(links.next).links.previous = links.previous;
        }
    }

    /// Gives an entry a new deadline, and moves it only if it hangs on a slot that would come up too late.
    #[inline(always)]
    pub fn refresh(&mut self, entries: &mut Entries, index: u32, deadline: Tick) {
        let entry = entries.at_mut(index);
        let earlier = deadline.since_ms(entry.deadline) < 0;
        entry.deadline = deadline;
        if earlier {
            self.hasten(entries, index);
        }
    }

    /// Moves an entry if it hangs on a slot that comes up behind its deadline.
    #[inline(never)]
    fn hasten(&mut self, entries: &mut Entries, index: u32) {
        let due = turn_of(entries.at(index).deadline).wrapping_sub(self.turn) & TURN_MASK;
        if self.turns_until(entries.cold(index).slot as usize) > due {
            self.disarm(entries, index);
            self.arm(entries, index);
        }
    }

    /// Turns until a slot comes up.
    fn turns_until(&self, slot: usize) -> u32 {
        let (level, number) = (slot / SLOTS, (slot % SLOTS) as u32);
        let shift = 8 * level as u32;
        let current = self.turn >> shift;
        // The clock has 256 slots of the highest level.
        let all = if level + 1 < LEVELS { SLOTS as u32 } else { 0x100 };
        let steps = number.wrapping_sub(current) % all;
        // A higher level's current slot has been emptied already, or is being: it comes up after all others.
        let steps = if level > 0 && steps == 0 { all } else { steps };
        (((current + steps) << shift).wrapping_sub(self.turn)) & TURN_MASK
    }

    /// The next entry whose slot has come up by `now`, or else one to be spread ahead of its time, taken off the wheel:
    /// the caller ends it or arms it again. `None` when there is no more to do until later, or when `budget`, which pays
    /// for each slot and each entry, is used up.
    pub fn next_due(&mut self, entries: &mut Entries, now: Tick, budget: &mut u32) -> Option<u32> {
        while *budget > 0 {
            // A slot's time is over, and all its deadlines are past, when the clock has left it.
            let ahead = match turn_of(now).wrapping_sub(self.turn) & TURN_MASK {
                0 | 0x80_0000.. => {
                    let index = self.first_to_spread()?;
                    *budget -= 1;
                    self.disarm(entries, index);
                    return Some(index);
                }
                ahead => ahead,
            };
            *budget -= 1;
            if let Some(index) = self.first_due() {
                self.disarm(entries, index);
                return Some(index);
            }
            self.turn = (self.turn + ahead.min(self.stride())) & TURN_MASK;
        }
        None
    }

    /// Turns that can be skipped at once because no entry hangs on their slots.
    fn stride(&self) -> u32 {
        let to_next = |turns: u32| turns - self.turn % turns;
        match self.hung {
            [0, 0, _] => to_next(0x1_0000),
            [0, _, _] => to_next(0x100),
            _ => 1,
        }
    }

    /// Whether all that is due at `now` has been handed out.
    pub fn is_done(&self, now: Tick) -> bool {
        self.turn == turn_of(now)
    }

    /// Walks all slots: each entry must hang on one that comes up by its deadline. Gives how many hang.
    pub(crate) fn check(&self, entries: &Entries) -> Result<usize, String> {
        let mut count = 0;
        for slot in 0..LEVELS * SLOTS {
            let mut previous = SLOT | slot as u32;
            let mut index = self.first[slot];
            while index != NONE {
                let (entry, cold) = (entries.at(index), entries.cold(index));
                let ahead = turn_of(entry.deadline).wrapping_sub(self.turn) & TURN_MASK;
                let coming = self.slots_of_turn().contains(&Some(slot)) || self.turns_until(slot) <= ahead;
                if !entry.is_used() || cold.links.previous != previous || cold.slot as usize != slot {
                    return Err(format!("entry {index} does not hang on slot {slot}"));
                }
                if !coming {
                    return Err(format!("entry {index} hangs on slot {slot}, which comes up after its time"));
                }
                (previous, index) = (index, cold.links.next);
                count += 1;
            }
        }
        Ok(count)
    }

    /// The first entry on the slots of this turn: those of higher levels that begin now are spread over the lower
    /// ones first.
    fn first_due(&self) -> Option<u32> {
        self.slots_of_turn().into_iter().flatten().map(|slot| self.first[slot]).find(|index| *index != NONE)
    }

    /// The first entry on the higher levels' next slots.
    fn first_to_spread(&self) -> Option<u32> {
        let turn = self.turn as usize;
        let far = 2 * SLOTS + ((turn >> 16) + 1) % 256;
        let middle = SLOTS + ((turn >> 8) + 1) % SLOTS;
        [middle, far].into_iter().map(|slot| self.first[slot]).find(|index| *index != NONE)
    }

    fn slots_of_turn(&self) -> [Option<usize>; LEVELS] {
        let turn = self.turn as usize;
        let far = turn.is_multiple_of(0x1_0000).then_some(2 * SLOTS + (turn >> 16) % SLOTS);
        let middle = turn.is_multiple_of(0x100).then_some(SLOTS + (turn >> 8) % SLOTS);
        [far, middle, Some(turn % SLOTS)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Entry;
    use crate::tuple::Tuple;
    use sluice_memory::Pages;
    use zerocopy::FromZeros;

    struct World {
        entries: Entries,
        wheel: Wheel,
        now_ms: u32,
    }

    impl World {
        fn at(now_ms: u32) -> Self {
            let entries = Entries::new(1000, Pages::Ordinary).unwrap();
            Self { entries, wheel: Wheel::new(Tick::from_u32(now_ms)), now_ms }
        }

        fn now(&self) -> Tick {
            Tick::from_u32(self.now_ms)
        }

        fn add(&mut self, timeout_ms: u32) -> u32 {
            let tuple = Tuple::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, 1, 2);
            let entry = Entry { deadline: self.now().after_ms(timeout_ms), ..Entry::new_zeroed() };
            let index = self.entries.insert(&tuple, &tuple.invert(), entry, 0).unwrap();
            self.wheel.arm(&mut self.entries, index);
            index
        }

        /// Lets time pass and ends what is due, as a shard does; gives the numbers of those that ended.
        fn pass(&mut self, ms: u32) -> Vec<u32> {
            self.now_ms = self.now_ms.wrapping_add(ms);
            let mut ended = Vec::new();
            let mut budget = u32::MAX;
            while let Some(index) =
                self.wheel.next_due(&mut self.entries, Tick::from_u32(self.now_ms), &mut budget)
            {
                if self.entries.at(index).deadline.is_due(self.now()) {
                    self.entries.remove(index);
                    ended.push(index);
                } else {
                    self.wheel.arm(&mut self.entries, index);
                }
            }
            ended
        }
    }

    #[test]
    fn entries_end_within_a_second_of_their_time_wherever_the_clock_stands() {
        let timeouts_ms =
            [1, 255, 256, 10_000, 65_535, 65_536, 120_000, 16_777_216, 432_000_000, 1_728_000_000];
        for start in [0, 255, 65_000, 16_777_000, u32::MAX - 5000, 1 << 31] {
            for timeout_ms in timeouts_ms {
                let mut world = World::at(start);
                let index = world.add(timeout_ms);
                assert_eq!(world.pass(timeout_ms - 1), [], "too early: {timeout_ms} ms from {start}");
                assert_eq!(world.pass(1000), [index], "too late: {timeout_ms} ms from {start}");
            }
        }
    }

    #[test]
    fn putting_a_deadline_off_is_seen_when_the_slot_comes_up() {
        let mut world = World::at(77);
        let index = world.add(1000);
        let deadline = world.now().after_ms(432_000_000);
        world.wheel.refresh(&mut world.entries, index, deadline);
        assert_eq!(world.pass(431_999_000), []);
        assert_eq!(world.pass(2000), [index]);
    }

    #[test]
    fn bringing_a_deadline_forward_moves_the_entry() {
        let mut world = World::at(0);
        let index = world.add(432_000_000);
        assert_eq!(world.pass(1_000_000), []);
        let deadline = world.now().after_ms(10_000);
        world.wheel.refresh(&mut world.entries, index, deadline);
        assert_eq!(world.pass(9_999), []);
        assert_eq!(world.pass(1000), [index]);
    }

    #[test]
    fn a_budget_splits_the_work_and_loses_none() {
        let mut world = World::at(0);
        for _ in 0..1000 {
            world.add(5000);
        }
        world.now_ms = 6000;
        let (mut ended, mut rounds) = (0, 0);
        while !world.wheel.is_done(world.now()) {
            let mut budget = 64;
            let now = world.now();
            while let Some(index) = world.wheel.next_due(&mut world.entries, now, &mut budget) {
                world.entries.remove(index);
                ended += 1;
            }
            rounds += 1;
        }
        assert_eq!(ended, 1000);
        assert!(rounds >= 1000 / 64);
    }

    #[test]
    fn a_crowded_slot_holds_nothing_up() {
        let mut world = World::at(0);
        // Due shortly after the slot of 65.536 s begins that all others hang on, too.
        let due_ms = 2 * 65_536 + 300;
        let index = world.add(due_ms);
        for _ in 0..900 {
            world.add(150_000);
        }
        while world.entries.at(index).is_used() {
            world.now_ms += 100;
            let (now, mut budget) = (world.now(), 2);
            while let Some(next) = world.wheel.next_due(&mut world.entries, now, &mut budget) {
                if world.entries.at(next).deadline.is_due(now) {
                    world.entries.remove(next);
                } else {
                    world.wheel.arm(&mut world.entries, next);
                }
            }
            assert!(world.now_ms < due_ms + 1000, "the others came first");
        }
        assert_eq!(world.entries.len(), 900);
    }

    /// A time of any magnitude up to twelve days.
    fn random_ms(next: &mut impl FnMut(u32) -> u32) -> u32 {
        let shift = 2 + next(29);
        next(u32::MAX) >> shift
    }

    #[test]
    fn any_history_ends_every_entry_in_its_second() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = |below: u32| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 33) as u32 % below
        };
        let mut world = World::at(next(u32::MAX));
        let mut live: Vec<u32> = Vec::new();
        for _ in 0..20_000 {
            match next(4) {
                0 if live.len() < 1000 => {
                    let timeout_ms = random_ms(&mut next);
                    live.push(world.add(timeout_ms));
                }
                1 if !live.is_empty() => {
                    let index = live[next(live.len() as u32) as usize];
                    let deadline = world.now().after_ms(random_ms(&mut next));
                    world.wheel.refresh(&mut world.entries, index, deadline);
                }
                2 if !live.is_empty() => {
                    let index = live.swap_remove(next(live.len() as u32) as usize);
                    world.wheel.disarm(&mut world.entries, index);
                    world.entries.remove(index);
                }
                _ => {
                    let ended = world.pass(random_ms(&mut next) >> 10);
                    live.retain(|index| !ended.contains(index));
                }
            }
            let now = world.now();
            assert!(live.iter().all(|i| now.since_ms(world.entries.at(*i).deadline) < 1000));
        }
    }
}
