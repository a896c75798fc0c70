//! What must hold between two fragments, whatever came in: for tests and fuzzers.

use super::datagrams::{Datagram, Stage};
use super::directory::Item;
use super::slots::{Slots, buffers};
use super::{Fragments, NONE};
use crate::frame::Frame;

/// Looks at every datagram, at all of its fragments, and at every source. Gives the number of datagrams that are whole.
///
/// # Errors
/// What does not hold.
pub(crate) fn check<P: Frame>(held: &Fragments<P>) -> Result<usize, String> {
    let live =
        || (0..).zip(held.store.datagrams.iter()).filter(|(_, datagram)| datagram.stage != Stage::Free);
    let is_waiting = |datagram: &Datagram| datagram.stage != Stage::Whole;
    let waiting = || live().filter(|(_, datagram)| is_waiting(datagram));
    let listed = || waiting().filter(|(_, datagram)| datagram.is_listed());
    let (mut fragments, mut taken) = (0, 0);
    for (number, datagram) in live() {
        check_chain(&held.store.slots, datagram)?;
        (fragments, taken) = (fragments + u32::from(datagram.fragments), taken + datagram.buffers);
        let found = held.store.datagrams.find(&datagram.key, datagram.hash());
        let is_to_be_found = is_waiting(datagram) && datagram.is_listed();
        if is_to_be_found && found != Some(number) {
            return Err(format!("{datagram:?} is not found by its key, but {found:?}"));
        }
        if is_waiting(datagram) && !datagram.is_listed() && (number, datagram.fragments) != (held.latest, 1) {
            return Err(format!("{datagram:?} is not listed"));
        }
    }
    for (_, Datagram { source, .. }) in listed() {
        let it = held.store.sources.at(*source);
        let own = || listed().filter(|(_, other)| other.source == *source);
        let weight: u32 = own().map(|(_, datagram)| datagram.buffers).sum();
        if (it.datagrams as usize, it.buffers) != (own().count(), weight) {
            return Err(format!("{it:?} has {} datagrams, in {weight} buffers", own().count()));
        }
    }
    for (what, count, expected) in [
        ("fragments", held.store.slots.len(), fragments),
        ("packets in their slots", held.store.slots.iter().flatten().count() as u32, fragments),
        ("buffers", held.store.buffers, taken),
        ("buffers within the room", held.store.buffers.min(held.store.room), taken),
        ("timers", held.store.wheel.check(&held.store.datagrams)? as u32, listed().count() as u32),
    ] {
        if count != expected {
            return Err(format!("{count} {what}, not {expected}"));
        }
    }
    Ok(live().count() - waiting().count())
}

/// The fragments of a datagram are in order, and as many as that counts.
fn check_chain<P: Frame>(slots: &Slots<P>, datagram: &Datagram) -> Result<(), String> {
    let (mut fragments, mut taken, mut end) = (0, 0, 0);
    let (mut previous, mut next) = (NONE, datagram.first);
    while next != NONE {
        let slot = slots.at(next);
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
