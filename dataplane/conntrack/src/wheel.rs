//! The timer wheel: which timers may have expired.
//!
//! Three levels over the 32-bit millisecond clock: slots of 256 ms, of 65 s, and of 4.6 h, each 256 of the level below.
//! A slot is a list through the [`Timer`]s, which lie where their owner keeps them: what they are the timers of, the wheel
//! does not know ([`Timers`]). Re-arming is lazy: a packet that puts a deadline off writes the deadline and nothing else;
//! when the slot comes up, the timer is linked where its deadline then belongs. Only a deadline that moves before the slot
//! that a timer is linked to moves the timer. Work is handed out one timer at a time, so that the caller decides how much of it
//! one loop does.
//!
//! A level has room for two rounds. While one passes, the slot above that is the next one is spread over it whenever
//! there is nothing else to do: with millions of entries, that slot would else keep all that is due waiting for seconds.

use crate::time::Tick;
use zerocopy::{FromBytes, Immutable, KnownLayout};

const LEVELS: usize = 3;
const SLOTS: usize = 512;

/// No timer: the end of a list.
const NONE: u32 = u32::MAX;

/// In [`Timer::previous`]: the rest of the number is a slot, not a timer.
const SLOT: u32 = 1 << 31;

/// Most timers that a wheel can hold: above, a timer's number could not be told from a slot's.
pub const MAX_TIMERS: u32 = SLOT;

/// The links of one timer on a wheel.
#[derive(Clone, Copy, Debug, Default, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Timer {
    /// The next timer on its slot, or `u32::MAX`. Its owner may use it while the timer is disarmed.
    pub next: u32,
    /// The timer before, or the slot whose first one this is.
    previous: u32,
    /// The slot it is linked to.
    slot: u32,
}

/// The owner of what has timers: each has a number below [`MAX_TIMERS`], a deadline, and a [`Timer`].
pub trait Timers {
    /// The deadline of a number that is in use.
    fn deadline(&self, index: u32) -> Tick;

    /// The same, to be put off or brought forward by [`Wheel::refresh`].
    fn deadline_mut(&mut self, index: u32) -> &mut Tick;

    /// Its timer.
    fn timer(&self, index: u32) -> &Timer;

    /// The same, to be changed by the wheel.
    fn timer_mut(&mut self, index: u32) -> &mut Timer;
}

/// The wheel on which the timers of one owner are.
#[derive(Debug)]
pub struct Wheel {
    /// First timer of each slot, levels one after the other.
    first: [u32; LEVELS * SLOTS],
    /// Timers on each level, so that idle time is crossed in strides.
    linked: [u32; LEVELS],
    /// The wheel's own time, in slots of level 0 (milliseconds / 256): that slot is worked on as soon as it is past.
    clock: u32,
}

/// Slots of 256 ms: how far a tick is shifted to get its slot of level 0.
const SLOT_BITS: u32 = 8;

/// The clock wraps where ticks do.
const CLOCK_MASK: u32 = u32::MAX >> SLOT_BITS;

const fn slot_time(tick: Tick) -> u32 {
    tick.as_u32() >> SLOT_BITS
}

impl Wheel {
    /// An empty wheel at `now`.
    pub const fn new(now: Tick) -> Self {
        Self { first: [NONE; LEVELS * SLOTS], linked: [0; LEVELS], clock: slot_time(now) }
    }

    /// Links a timer, which is linked nowhere, to the slot of its deadline.
    #[inline]
    pub fn arm(&mut self, timers: &mut impl Timers, index: u32) {
        let due = slot_time(timers.deadline(index));
        // A deadline in the past, which looks far ahead in modular time, is due at once.
        if due.wrapping_sub(self.clock) & CLOCK_MASK >= 0x80_0000 {
            return self.link(timers, index, (self.clock as usize) % SLOTS);
        }
        let rounds_ahead =
            |shift: u32| (due >> shift).wrapping_sub(self.clock >> shift) & (CLOCK_MASK >> shift);
        let level = match (rounds_ahead(8), rounds_ahead(16)) {
            (0 | 1, _) => 0,
            (_, 0 | 1) => 1,
            _ => 2,
        };
        let slot = level * SLOTS + (due >> (8 * level)) as usize % SLOTS;
        self.link(timers, index, slot);
    }

    fn link(&mut self, timers: &mut impl Timers, index: u32, slot: usize) {
        let next = self.first[slot];
        *timers.timer_mut(index) = Timer { next, previous: SLOT | slot as u32, slot: slot as u32 };
        if next != NONE {
            timers.timer_mut(next).previous = index;
        }
        self.first[slot] = index;
        self.linked[slot / SLOTS] += 1;
    }

    /// Takes a timer off its slot.
    pub fn disarm(&mut self, timers: &mut impl Timers, index: u32) {
        let Timer { next, previous, slot } = *timers.timer(index);
        self.linked[slot as usize / SLOTS] -= 1;
        if previous & SLOT != 0 {
            self.first[(previous & !SLOT) as usize] = next;
        } else {
            timers.timer_mut(previous).next = next;
        }
        if next != NONE {
            timers.timer_mut(next).previous = previous;
        }
    }

    /// Gives a timer a new deadline, and moves it only if it is linked to a slot that would come up too late.
    #[inline(always)]
    pub fn refresh(&mut self, timers: &mut impl Timers, index: u32, deadline: Tick) {
        let old = std::mem::replace(timers.deadline_mut(index), deadline);
        if deadline.since_ms(old) < 0 {
            self.reschedule(timers, index);
        }
    }

    /// Moves a timer if it is linked to a slot that comes up behind its deadline.
    #[inline(never)]
    fn reschedule(&mut self, timers: &mut impl Timers, index: u32) {
        let due = slot_time(timers.deadline(index)).wrapping_sub(self.clock) & CLOCK_MASK;
        if self.slots_until(timers.timer(index).slot as usize) > due {
            self.disarm(timers, index);
            self.arm(timers, index);
        }
    }

    /// Slots of level 0 until a slot comes up.
    fn slots_until(&self, slot: usize) -> u32 {
        let (level, number) = (slot / SLOTS, (slot % SLOTS) as u32);
        let shift = 8 * level as u32;
        let current = self.clock >> shift;
        // The clock has 256 slots of the highest level.
        let all = if level + 1 < LEVELS { SLOTS as u32 } else { 0x100 };
        let steps = number.wrapping_sub(current) % all;
        // A higher level's current slot has been emptied already, or is being: it comes up after all others.
        let steps = if level > 0 && steps == 0 { all } else { steps };
        (((current + steps) << shift).wrapping_sub(self.clock)) & CLOCK_MASK
    }

    /// The next timer whose slot has come up by `now`, or else one to be spread ahead of its time, taken off the wheel:
    /// the caller lets it expire or arms it again. `None` when there is no more to do until later, or when `budget`, which pays
    /// for each slot and each timer, is used up.
    pub fn next_due(&mut self, timers: &mut impl Timers, now: Tick, budget: &mut u32) -> Option<u32> {
        while *budget > 0 {
            // A slot's time is over, and all its deadlines are past, when the clock has left it.
            let ahead = match slot_time(now).wrapping_sub(self.clock) & CLOCK_MASK {
                0 | 0x80_0000.. => {
                    let index = self.first_to_spread()?;
                    *budget -= 1;
                    self.disarm(timers, index);
                    return Some(index);
                }
                ahead => ahead,
            };
            *budget -= 1;
            if let Some(index) = self.first_due() {
                self.disarm(timers, index);
                return Some(index);
            }
            self.clock = (self.clock + ahead.min(self.stride())) & CLOCK_MASK;
        }
        None
    }

    /// Slots that can be skipped at once because no timer is linked to their slots.
    fn stride(&self) -> u32 {
        let to_next = |slots: u32| slots - self.clock % slots;
        match self.linked {
            [0, 0, _] => to_next(0x1_0000),
            [0, _, _] => to_next(0x100),
            _ => 1,
        }
    }

    /// Whether all that is due at `now` has been handed out.
    pub fn is_done(&self, now: Tick) -> bool {
        self.clock == slot_time(now)
    }

    /// Walks all slots: each timer must be linked to one that comes up by its deadline. Gives how many are linked.
    pub(crate) fn check(&self, timers: &impl Timers) -> Result<usize, String> {
        let mut count = 0;
        for slot in 0..LEVELS * SLOTS {
            let mut previous = SLOT | slot as u32;
            let mut index = self.first[slot];
            while index != NONE {
                let timer = timers.timer(index);
                let ahead = slot_time(timers.deadline(index)).wrapping_sub(self.clock) & CLOCK_MASK;
                let coming = self.current_slots().contains(&Some(slot)) || self.slots_until(slot) <= ahead;
                if timer.previous != previous || timer.slot as usize != slot {
                    return Err(format!("timer {index} is not linked to slot {slot}"));
                }
                if !coming {
                    return Err(format!(
                        "timer {index} is linked to slot {slot}, which comes up after its time"
                    ));
                }
                (previous, index) = (index, timer.next);
                count += 1;
            }
        }
        Ok(count)
    }

    /// The first timer on the current slots: those of higher levels that begin now are spread over the lower
    /// ones first.
    fn first_due(&self) -> Option<u32> {
        self.current_slots().into_iter().flatten().map(|slot| self.first[slot]).find(|index| *index != NONE)
    }

    /// The first timer on the higher levels' next slots.
    fn first_to_spread(&self) -> Option<u32> {
        let clock = self.clock as usize;
        let far = 2 * SLOTS + ((clock >> 16) + 1) % 256;
        let middle = SLOTS + ((clock >> 8) + 1) % SLOTS;
        [middle, far].into_iter().map(|slot| self.first[slot]).find(|index| *index != NONE)
    }

    fn current_slots(&self) -> [Option<usize>; LEVELS] {
        let clock = self.clock as usize;
        let far = clock.is_multiple_of(0x1_0000).then_some(2 * SLOTS + (clock >> 16) % SLOTS);
        let middle = clock.is_multiple_of(0x100).then_some(SLOTS + (clock >> 8) % SLOTS);
        [far, middle, Some(clock % SLOTS)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thing that has a timer: its deadline, and whether it has not expired.
    #[derive(Default)]
    struct Thing {
        deadline: Tick,
        lives: bool,
        timer: Timer,
    }

    impl Timers for Vec<Thing> {
        fn deadline(&self, index: u32) -> Tick {
            self[index as usize].deadline
        }

        fn deadline_mut(&mut self, index: u32) -> &mut Tick {
            &mut self[index as usize].deadline
        }

        fn timer(&self, index: u32) -> &Timer {
            &self[index as usize].timer
        }

        fn timer_mut(&mut self, index: u32) -> &mut Timer {
            &mut self[index as usize].timer
        }
    }

    struct World {
        things: Vec<Thing>,
        wheel: Wheel,
        now_ms: u32,
    }

    impl World {
        fn at(now_ms: u32) -> Self {
            Self { things: Vec::new(), wheel: Wheel::new(Tick::from_u32(now_ms)), now_ms }
        }

        fn now(&self) -> Tick {
            Tick::from_u32(self.now_ms)
        }

        fn add(&mut self, timeout_ms: u32) -> u32 {
            let deadline = self.now().after_ms(timeout_ms);
            let index = self.things.len() as u32;
            self.things.push(Thing { deadline, lives: true, timer: Timer::default() });
            self.wheel.arm(&mut self.things, index);
            index
        }

        /// Lets time pass and ends what is due, as a shard does; gives the numbers of those that ended.
        fn pass(&mut self, ms: u32) -> Vec<u32> {
            self.now_ms = self.now_ms.wrapping_add(ms);
            let mut ended = Vec::new();
            let mut budget = u32::MAX;
            while let Some(index) =
                self.wheel.next_due(&mut self.things, Tick::from_u32(self.now_ms), &mut budget)
            {
                if self.things.deadline(index).is_due(self.now()) {
                    self.things[index as usize].lives = false;
                    ended.push(index);
                } else {
                    self.wheel.arm(&mut self.things, index);
                }
            }
            ended
        }
    }

    #[test]
    fn timers_expire_within_a_second_of_their_time_wherever_the_clock_stands() {
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
        world.wheel.refresh(&mut world.things, index, deadline);
        assert_eq!(world.pass(431_999_000), []);
        assert_eq!(world.pass(2000), [index]);
    }

    #[test]
    fn bringing_a_deadline_forward_moves_the_timer() {
        let mut world = World::at(0);
        let index = world.add(432_000_000);
        assert_eq!(world.pass(1_000_000), []);
        let deadline = world.now().after_ms(10_000);
        world.wheel.refresh(&mut world.things, index, deadline);
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
            while let Some(index) = world.wheel.next_due(&mut world.things, now, &mut budget) {
                world.things[index as usize].lives = false;
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
        // Due shortly after the slot of 65.536 s begins that all others are linked to, too.
        let due_ms = 2 * 65_536 + 300;
        let index = world.add(due_ms);
        for _ in 0..900 {
            world.add(150_000);
        }
        while world.things[index as usize].lives {
            world.now_ms += 100;
            let (now, mut budget) = (world.now(), 2);
            while let Some(next) = world.wheel.next_due(&mut world.things, now, &mut budget) {
                if world.things.deadline(next).is_due(now) {
                    world.things[next as usize].lives = false;
                } else {
                    world.wheel.arm(&mut world.things, next);
                }
            }
            assert!(world.now_ms < due_ms + 1000, "the others came first");
        }
        assert_eq!(world.wheel.check(&world.things), Ok(900));
    }

    /// A time of any magnitude up to twelve days.
    fn random_ms(next: &mut impl FnMut(u32) -> u32) -> u32 {
        let shift = 2 + next(29);
        next(u32::MAX) >> shift
    }

    #[test]
    fn any_history_ends_every_timer_in_its_second() {
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
                    world.wheel.refresh(&mut world.things, index, deadline);
                }
                2 if !live.is_empty() => {
                    let index = live.swap_remove(next(live.len() as u32) as usize);
                    world.wheel.disarm(&mut world.things, index);
                }
                _ => {
                    let ended = world.pass(random_ms(&mut next) >> 10);
                    live.retain(|index| !ended.contains(index));
                }
            }
            let now = world.now();
            assert_eq!(world.wheel.check(&world.things), Ok(live.len()));
            assert!(live.iter().all(|i| now.since_ms(world.things.deadline(*i)) < 1000));
        }
    }
}
