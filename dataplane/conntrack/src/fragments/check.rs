//! What must hold between two fragments, whatever came in: for tests and fuzzers.

use super::datagrams::{Datagram, Stage};
use super::directory::Item;
use super::slots::buffers;
use super::{Fragments, NONE};
use crate::frame::Frame;

impl<P: Frame> Fragments<P> {
    /// Looks at every datagram, at all of its fragments, and at every source. Gives the number of datagrams that are whole.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) fn check(&self) -> Result<usize, String> {
        let live = || (0..).zip(self.datagrams.iter()).filter(|(_, datagram)| datagram.stage != Stage::Free);
        let is_waiting = |datagram: &Datagram| datagram.stage != Stage::Whole;
        let waiting = || live().filter(|(_, datagram)| is_waiting(datagram));
        let (mut fragments, mut taken) = (0, 0);
        for (number, datagram) in live() {
            self.check_chain(datagram)?;
            (fragments, taken) = (fragments + u32::from(datagram.fragments), taken + datagram.buffers);
            let found = self.datagrams.find(&datagram.key, datagram.hash());
            if is_waiting(datagram) && found != Some(number) {
                return Err(format!("{datagram:?} is not found by its key, but {found:?}"));
            }
        }
        for (_, Datagram { source, .. }) in waiting() {
            let it = self.sources.at(*source);
            let own = || waiting().filter(|(_, other)| other.source == *source);
            let held: u32 = own().map(|(_, datagram)| datagram.buffers).sum();
            if (it.datagrams as usize, it.buffers) != (own().count(), held) {
                return Err(format!("{it:?} has {} datagrams, in {held} buffers", own().count()));
            }
        }
        for (what, count, expected) in [
            ("fragments", self.slots.len(), fragments),
            ("packets in their slots", self.slots.iter().flatten().count() as u32, fragments),
            ("buffers", self.buffers, taken),
            ("buffers within the room", self.buffers.min(self.room), taken),
            ("timers", self.wheel.check(&self.datagrams)? as u32, waiting().count() as u32),
        ] {
            if count != expected {
                return Err(format!("{count} {what}, not {expected}"));
            }
        }
        Ok(live().count() - waiting().count())
    }

    /// The fragments of a datagram are in order, and as many as that counts.
    fn check_chain(&self, datagram: &Datagram) -> Result<(), String> {
        let (mut fragments, mut taken, mut end) = (0, 0, 0);
        let (mut previous, mut next) = (NONE, datagram.first);
        while next != NONE {
            let slot = self.slots.at(next);
            let Some(packet) = &slot.packet else {
                return Err(format!("{datagram:?} has a slot that is free"));
            };
            if slot.previous != previous || slot.start < end || slot.end <= slot.start {
                return Err(format!("{datagram:?} is not in order"));
            }
            (fragments, taken, end) = (fragments + 1, taken + u32::from(buffers(packet)), slot.end);
            (previous, next) = (next, slot.next);
        }
        if (datagram.fragments, datagram.buffers, datagram.last) != (fragments, taken, previous) {
            return Err(format!("{datagram:?} has {fragments} fragments in {taken} buffers"));
        }
        Ok(())
    }
}
