//! What few connections have beside their entry, by the entry's number: Linux's `nf_ct_ext`.
//!
//! An entry that has an extension says so in its status, so that packets of all others never look here. The arena takes
//! memory only where an extension is written.

use crate::connection_counts::{Counted, MAX_COUNTED};
use crate::entry::Status;
use crate::expectations::Child;
use crate::helpers::{AnnouncedPorts, Assigned, Dialog, HelperId, Slot};
use crate::ids::EntryId;
use crate::nat::BoundBy;
use crate::synproxy::Proxied;
use sluice_memory::Arena;
use std::io;
use zerocopy::FromZeros;

/// What a connection has beside its entry. All zeros at birth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub(crate) struct Extension {
    /// The generation of the configuration under which another shard was asked for its reply tuple.
    pub(crate) claimed_under: u16,
    /// The rules of that which it was bound by. They count it when the tuple is granted.
    pub(crate) bound_by: BoundBy,
    /// The number of the helper that reads it, plus one; 0 where none does.
    helper: u8,
    /// Whether what that announces may have another address than the connection's own.
    loose: bool,
    /// What its helper keeps of it.
    pub(crate) help: Slot,
    /// What is remembered of its messages of SIP.
    pub(crate) sip: Dialog,
    /// Ports that its messages have announced.
    pub(crate) announced_ports: AnnouncedPorts,
    /// How it began, if that was with a SYN cookie.
    pub(crate) proxied: Proxied,
    /// Whether rules count it, by what is kept apart.
    pub(crate) is_counted: bool,
    /// Whether its helper never reads it.
    pub(crate) is_unread: bool,
    /// The slot of the newest of its expectations, plus one; 0 where it has none.
    newest_expectation: u32,
}

impl Extension {
    /// The helper that reads the connection.
    pub(crate) fn assigned(&self) -> Option<Assigned> {
        let number = usize::from(self.helper).checked_sub(1)?;
        HelperId::ALL.get(number).map(|helper| Assigned { helper: *helper, loose: self.loose })
    }

    /// The slot of the newest of its expectations, or [`NONE`](crate::entries::NONE).
    pub(crate) const fn newest_expectation(&self) -> u32 {
        self.newest_expectation.wrapping_sub(1)
    }

    /// From now on that is this one, or none.
    pub(crate) const fn set_newest_expectation(&mut self, slot: u32) {
        self.newest_expectation = slot.wrapping_add(1);
    }

    /// Gives the connection its helper.
    pub(crate) const fn assign(&mut self, Assigned { helper, loose }: Assigned) {
        self.helper = helper as u8 + 1;
        self.loose = loose;
    }
}

/// The extensions of all entries of a shard.
#[derive(Debug)]
pub(crate) struct Extensions {
    arena: Arena<Extension>,
    /// Of the few that were expected.
    children: Arena<KeptChild>,
    /// Of the few that rules count: the keys, 0 where there is none.
    counted: Arena<[u64; MAX_COUNTED]>,
}

/// What an entry keeps of the expectation that it met.
#[derive(Clone, Copy, Debug, FromZeros)]
struct KeptChild {
    /// The entry's generation.
    generation: u32,
    child: Child,
}

impl Extensions {
    /// Room for the extensions of so many entries.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let entries = entries as usize;
        Ok(Self {
            arena: Arena::sparse(entries)?,
            children: Arena::sparse(entries)?,
            counted: Arena::sparse(entries)?,
        })
    }

    /// The extension of the entry of this number and status, if it has one.
    pub(crate) fn get(&self, index: u32, status: Status) -> Option<&Extension> {
        self.arena.get(index as usize).filter(|_| status.contains(Status::EXTENDED))
    }

    /// What the entry of this number and status keeps of the expectation that it met.
    pub(crate) fn child(&self, index: u32, status: Status) -> Option<&Child> {
        let kept = self.children.get(index as usize).filter(|_| status.contains(Status::EXPECTED));
        kept.map(|kept| &kept.child)
    }

    /// The same of an entry that has ended, as long as no other has taken its slot and met an expectation.
    pub(crate) fn last_child(&self, entry: EntryId) -> Option<&Child> {
        let kept = self.children.get(entry.index as usize)?;
        (entry.generation != 0 && kept.generation == entry.generation).then_some(&kept.child)
    }

    /// Keeps that for an entry.
    pub(crate) fn keep_child(&mut self, entry: EntryId, child: &Child) {
        self.children[entry.index as usize] = KeptChild { generation: entry.generation, child: *child };
    }

    /// What counts the entry of this number, if its extension says that anything does; also of one that has ended, as long as no other
    /// has taken its slot.
    pub(crate) fn counted(&self, index: u32) -> Counted {
        let keys = self.counted.get(index as usize).into_iter().flatten();
        keys.copied().filter(|key| *key != 0).collect()
    }

    /// Keeps that for an entry, whose extension says so from now on.
    pub(crate) fn keep_counted(&mut self, index: u32, status: &mut Status, counted: &Counted) {
        let keys = &mut self.counted[index as usize];
        *keys = [0; MAX_COUNTED];
        keys.iter_mut().zip(counted).for_each(|(key, counted)| *key = *counted);
        self.extend(index, status).is_counted = true;
    }

    /// The extension of an entry, which has one from now on. The entry's end is that of its extension.
    pub(crate) fn extend(&mut self, index: u32, status: &mut Status) -> &mut Extension {
        let extension = &mut self.arena[index as usize];
        if !status.contains(Status::EXTENDED) {
            *extension = Extension::default();
            status.insert(Status::EXTENDED);
        }
        extension
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_that_say_so_have_one() {
        let mut extensions = Extensions::new(4).unwrap();
        let (mut first, second) = (Status::CONFIRMED, Status::CONFIRMED);
        extensions.extend(1, &mut first).claimed_under = 7;
        extensions.extend(1, &mut first);
        assert_eq!(extensions.get(1, first), Some(&Extension { claimed_under: 7, ..Extension::default() }));
        assert_eq!((extensions.get(2, second), extensions.get(9, first)), (None, None));
    }

    #[test]
    fn who_takes_the_place_of_another_entry_begins_without() {
        let mut extensions = Extensions::new(4).unwrap();
        extensions.extend(1, &mut Status::CONFIRMED.clone()).claimed_under = 7;
        let mut next = Status::CONFIRMED;
        assert_eq!(extensions.get(1, next), None);
        assert_eq!(extensions.extend(1, &mut next), &Extension::default());
    }
}
