//! Packets that clients watch, by `sluice trace` and `sluice capture`.
//!
//! A few may be watched at one time, each by any number of clients that ask for the same. Workers watch only while somebody asks.

use std::time::SystemTime;

use sluice_engine::command::Unanswered;
use sluice_engine::watch::{PacketReceiver, WATCHES, WatchFilter, WatchedPacket};

use super::host_time::HostTime;
use super::journal::{Journal, JournalPage};
use super::workers::Workers;
use crate::rehearsal::Names;

/// Packets that wait in a worker's rings, at most, and their bytes.
const RINGS: (usize, usize) = (1 << 12, 2 << 20);

/// Packets that are kept for clients, at most.
const KEPT: usize = 1 << 12;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Which packets.
    pub filter: WatchFilter,
    /// Bytes of each that are kept, at most.
    pub snap_bytes: usize,
}

/// Something that is watched.
struct Slot {
    journal: Journal<PacketReceiver>,
    watched: Option<Watched>,
}

/// All that is watched.
pub struct Watches {
    slots: [Slot; WATCHES],
    /// What the numbers in packets' verdicts are called.
    names: Option<Names>,
}

impl Watches {
    /// Nothing yet.
    pub fn new(time: &HostTime) -> Self {
        let slot = || Slot { journal: Journal::new(KEPT, time.clone()), watched: None };
        Self { slots: std::array::from_fn(|_| slot()), names: None }
    }

    /// What `line` makes of the packets that were watched from a number on; without a number none, from when on there are some.
    /// An error in words where too many others watch.
    pub fn page<L, I: IntoIterator<Item = L>>(
        &mut self,
        workers: &mut Workers,
        names: impl FnOnce() -> Names,
        watched: Watched,
        from: Option<u64>,
        mut line: impl FnMut(u16, &WatchedPacket, SystemTime, &Names) -> I,
    ) -> Result<Result<JournalPage<L>, String>, Unanswered> {
        let Some(number) = self.slot_of(&watched) else {
            return Ok(Err(format!(
                "{WATCHES} others trace or capture packets: each of them ends with the last who reads it"
            )));
        };
        let slot = &mut self.slots[number];
        if slot.watched.as_ref() != Some(&watched) {
            let receivers = workers.watch(number, (&watched.filter, watched.snap_bytes), RINGS)?;
            slot.journal.listen(receivers);
            slot.watched = Some(watched);
        }
        let names = self.names.get_or_insert_with(names);
        Ok(Ok(slot.journal.page(from, |worker, packet, at| line(worker, packet, at, names))))
    }

    /// Where this is watched already; else where nothing is, or what nobody reads any more.
    fn slot_of(&self, watched: &Watched) -> Option<usize> {
        let position = |is_it: &dyn Fn(&Slot) -> bool| self.slots.iter().position(is_it);
        position(&|slot| slot.watched.as_ref() == Some(watched))
            .or_else(|| position(&|slot| slot.watched.is_none()))
            .or_else(|| position(&|slot| !slot.journal.is_read()))
    }

    /// Other rules come in force: what was told by the old ones is shown no more.
    pub fn rename(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.journal.forget());
        self.names = None;
    }

    /// Ends what nobody has asked for in long.
    pub fn look_after(&mut self, workers: &mut Workers) {
        for (number, slot) in self.slots.iter_mut().enumerate() {
            if slot.journal.end_unasked() {
                slot.watched = None;
                workers.stop_watching(number);
            }
        }
    }
}
