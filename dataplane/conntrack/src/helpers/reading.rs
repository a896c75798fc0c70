//! What a helper reads: a packet as one of its connection.

use super::slots::Slot;
use super::{Assigned, HelperId, LinuxReader, StreamReader};
use crate::settings::Preset;
use crate::shard::Shard;
use crate::tuple::Direction;

/// Whose packet announces something.
#[derive(Clone, Copy)]
pub(crate) struct Announcer {
    /// The connection's entry.
    pub(super) index: u32,
    pub(super) direction: Direction,
    pub(super) helper: HelperId,
    pub(super) loose: bool,
    /// Whether the connection is translated, and with it what it announces.
    pub(super) is_translated: bool,
    /// Whether it is read as Linux does, and whether what its sender is called outside is its own address, too.
    pub(super) is_linux: bool,
    pub(super) knows_outside: bool,
}

/// A segment that a helper reads.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(super) announcer: Announcer,
    /// What is kept of its connection.
    pub(super) slot: Slot,
    /// The sequence number that its payload begins with.
    pub(super) seq: u32,
    /// By how many bytes it may grow; `None` where it must not be edited.
    pub(super) room: Option<i32>,
}

/// A segment that is read line by line.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    pub(super) part: Part,
    pub(super) reader: &'static StreamReader,
    /// How Linux reads it, if that is how it is to be read.
    pub(super) linux: Option<&'static LinuxReader>,
}

impl Shard {
    /// Whose packet one of the entry at `index` is, which has this helper. The preset says whether it is read as Linux does.
    pub(super) fn announcer(
        &self,
        index: u32,
        direction: Direction,
        Assigned { helper, loose }: Assigned,
    ) -> Announcer {
        let is_translated = self.table.entries.at(index).is_translated();
        let is_linux = self.configuration.settings.preset == Preset::Linux;
        let knows_outside = !is_linux;
        Announcer { index, direction, helper, loose, is_translated, is_linux, knows_outside }
    }
}
