//! What a shard remembers of connections that were installed from records: whose they are, and how far their windows are known.
//!
//! A connection of a group that is on standby is *foreign* here: a peer has it, ages it and says when it ends, and it makes no room for
//! connections of this box, nor they for it. That follows from the group's role alone, so that a change of it touches no entry. Each bulk
//! gives what it tells of another colour, so that what it did not tell of can go.

use crate::groups::{GroupSet, MAX_GROUPS, Role};
use crate::ids::GroupId;
use crate::time::Instant;
use sluice_memory::Arena;
use std::io;
use zerocopy::FromZeros;

/// Segments of each end that must have fitted before a connection of which windows were not told is held to them.
const FITTING_SEGMENTS: u8 = 16;

/// Of an entry.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
struct Note {
    /// The number behind that of the group that a peer told of it for, until it is this box's own; 0 for none.
    group: u8,
    /// The bulk that it was last told of in, or since.
    colour: u8,
    /// Segments of the original and the reply direction that have fitted.
    fitting: [u8; 2],
}

impl Note {
    const fn group(self) -> Option<GroupId> {
        match self.group.checked_sub(1) {
            Some(group) => Some(GroupId(group)),
            None => None,
        }
    }
}

/// What was told of a group.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// How many connections are noted.
    len: u32,
    /// How many may be.
    quota: u32,
    /// The colour of the latest bulk.
    colour: u8,
}

/// The notes of a shard. They take memory where a connection is installed.
#[derive(Debug)]
pub(crate) struct Foreign {
    notes: Arena<Note>,
    told: [Told; MAX_GROUPS],
    /// The groups that the box is active for.
    active: GroupSet,
    /// How many connections are noted of groups that it is not active for, and how many may be.
    len: u32,
    quota: u32,
    /// The groups of those that the latest bulk may not have told of, and where to go on looking for them.
    pub(crate) fading: GroupSet,
    pub(crate) sweep: Option<u32>,
    /// How many have ended because another shard has an entry of their reply tuple.
    pub(crate) refused: u64,
}

impl Foreign {
    /// Of a shard with room for so many entries.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        let notes = Arena::sparse(entries as usize)?;
        let (active, fading) = (GroupSet::default(), GroupSet::default());
        let told = Default::default();
        Ok(Self { notes, told, active, len: 0, quota: 0, fading, sweep: None, refused: 0 })
    }

    /// How many there are of groups on standby.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// How many there may be of those, which connections of this box leave room for.
    pub(crate) const fn quota(&self) -> u32 {
        self.quota
    }

    /// The groups that the box is active for.
    pub(crate) const fn active(&self) -> GroupSet {
        self.active
    }

    /// Changes what the box is for a group.
    pub(crate) fn set_role(&mut self, group: GroupId, role: Role) {
        let group = GroupSet::of(group);
        self.active = match role {
            Role::Active => self.active.with(group),
            Role::Standby => self.active.without(group),
        };
        self.add_up();
    }

    /// Changes how many connections of a group there may be as long as it is on standby.
    pub(crate) fn set_quota(&mut self, group: GroupId, quota: u32) {
        self.told_mut(group).quota = quota;
        self.add_up();
    }

    fn add_up(&mut self) {
        let groups = (0..).map(GroupId).zip(&self.told);
        let standby = || groups.clone().filter(|(group, _)| !self.active.contains(*group));
        self.len = standby().map(|(_, told)| told.len).sum();
        self.quota = standby().map(|(_, told)| told.quota).sum();
    }

    /// Whether a peer may tell of one more connection of a group.
    pub(crate) fn has_room(&self, group: GroupId) -> bool {
        let told = self.told[usize::from(group.0) % MAX_GROUPS];
        told.len < told.quota
    }

    fn told_mut(&mut self, GroupId(group): GroupId) -> &mut Told {
        &mut self.told[usize::from(group) % MAX_GROUPS]
    }

    /// The group that a peer told of an entry for which was [installed](crate::entry::Status::INSTALLED), unless that is this box's own by
    /// now.
    pub(crate) fn group_of(&self, index: u32) -> Option<GroupId> {
        self.notes[index as usize].group()
    }

    /// Notes an entry that was installed now, as one of a group that a peer told of or as this box's own.
    pub(crate) fn note(&mut self, index: u32, group: Option<GroupId>) {
        self.notes[index as usize] = Note::default();
        if let Some(group) = group {
            self.count(group, 1);
            let colour = self.told_mut(group).colour;
            self.notes[index as usize] = Note { group: group.0 + 1, colour, fitting: [0; 2] };
        }
    }

    fn count(&mut self, group: GroupId, change: i32) {
        let told = self.told_mut(group);
        told.len = told.len.wrapping_add_signed(change);
        if !self.active.contains(group) {
            self.len = self.len.wrapping_add_signed(change);
        }
    }

    /// A peer told of an entry again.
    pub(crate) fn paint(&mut self, index: u32) {
        if let Some(group) = self.group_of(index) {
            self.notes[index as usize].colour = self.told_mut(group).colour;
        }
    }

    /// An entry that was installed has ended, or is this box's from now on.
    pub(crate) fn forget(&mut self, index: u32) {
        if let Some(group) = self.group_of(index) {
            self.count(group, -1);
            self.notes[index as usize].group = 0;
        }
    }

    /// A segment that goes in a direction has fitted. True when enough of both have.
    pub(crate) fn has_fitted(&mut self, index: u32, direction: usize) -> bool {
        let Note { fitting, .. } = &mut self.notes[index as usize];
        fitting[direction] = fitting[direction].saturating_add(1);
        fitting.iter().all(|count| *count >= FITTING_SEGMENTS)
    }

    /// A bulk of a group begins.
    pub(crate) fn begin_bulk(&mut self, group: GroupId) {
        let told = self.told_mut(group);
        told.colour = told.colour.wrapping_add(1);
        self.fading = self.fading.without(GroupSet::of(group));
    }

    /// It has come to its end: those that it did not tell of may go.
    pub(crate) const fn end_bulk(&mut self, group: GroupId) {
        self.fading = self.fading.with(GroupSet::of(group));
        self.sweep = Some(0);
    }

    /// Whether the latest bulk of its group told of a connection, or a peer has since.
    pub(crate) fn is_fresh(&self, index: u32) -> bool {
        let note = self.notes[index as usize];
        note.group().is_some_and(|group| self.told[usize::from(group.0) % MAX_GROUPS].colour == note.colour)
    }
}

/// The walk through the table for connections that are to be adopted and are silent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Adoption {
    /// When it has begun, and the slot to go on from.
    pub(super) walk: Option<(Instant, u32)>,
}

impl Adoption {
    /// Begins it at the first slot.
    pub(crate) const fn begin(&mut self, now: Instant) {
        self.walk = Some((now, 0));
    }

    /// Whether there is nothing to do.
    pub(crate) const fn is_done(&self) -> bool {
        self.walk.is_none()
    }
}
