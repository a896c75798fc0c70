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

/// The fragments of a datagram are apart from one another and, where it says so, in order, and as many as it counts.
fn check_chain<P: Frame>(slots: &Slots<P>, datagram: &Datagram) -> Result<(), String> {
    let chain: Vec<_> = slots.chain(datagram.first).collect();
    if chain.iter().any(|(_, slot)| slot.packet.is_none()) {
        return Err(format!("{datagram:?} has a slot that is free"));
    }
    let spans: Vec<_> = chain.iter().map(|(_, slot)| (slot.start, slot.end)).collect();
    let mut sorted = spans.clone();
    sorted.sort_unstable();
    let is_apart = sorted.iter().all(|(start, end)| start < end) && sorted.is_sorted_by(|a, b| a.1 <= b.0);
    if !is_apart || datagram.is_in_order && spans != sorted {
        return Err(format!("{datagram:?} is not in order"));
    }
    let taken: u32 =
        chain.iter().filter_map(|(_, slot)| Some(u32::from(buffers(slot.packet.as_ref()?)))).sum();
    let last = chain.last().map_or(NONE, |(slot, _)| *slot);
    if (usize::from(datagram.fragments), datagram.buffers, datagram.last) != (chain.len(), taken, last) {
        return Err(format!("{datagram:?} has {} fragments in {taken} buffers", chain.len()));
    }
    Ok(())
}
