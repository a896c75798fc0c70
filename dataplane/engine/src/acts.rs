//! What a worker does to entries that it is told: lists of them, which go back as they are then.

use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::{EntryUpdate, Shard, Tuple};

use crate::command::ToInstall;
use crate::report::ListedEntry;

/// Puts the entry of a tuple into the list, which has room for one.
pub(crate) fn get(shard: &Shard, tuple: &Tuple, mut list: Vec<ListedEntry>) -> Vec<ListedEntry> {
    list.clear();
    let room = list.capacity();
    list.extend(shard.get(tuple).into_iter().take(room));
    list
}

/// Deletes those of the list that live; the others leave it.
pub(crate) fn delete(shard: &mut Shard, mut list: Vec<ListedEntry>) -> Vec<ListedEntry> {
    list.retain_mut(|listed| replace(listed, shard.delete_entry(listed.0)));
    list
}

/// Changes those of the list that live; the others leave it.
pub(crate) fn update(
    shard: &mut Shard,
    mut list: Vec<ListedEntry>,
    update: &EntryUpdate,
) -> Vec<ListedEntry> {
    list.retain_mut(|listed| replace(listed, shard.update_entry(listed.0, update)));
    list
}

/// Does what the records of the list say, and notes what became of each.
pub(crate) fn install(shard: &mut Shard, mut list: Vec<ToInstall>) -> Vec<ToInstall> {
    list.iter_mut().for_each(|(installing, became)| *became = Some(shard.install(installing)));
    list
}

/// Lists an entry as it is said to be; false where there is none.
fn replace(listed: &mut ListedEntry, entry: Option<EntrySnapshot>) -> bool {
    entry.map(|entry| listed.1 = entry).is_some()
}
