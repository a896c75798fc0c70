//! What bounds tracking from below: the table alone, looked up and written to in passes as the shard does it, and nothing else.
//!
//! Tuples come as numbers, so that nothing is parsed, verified, judged or edited; a packet hashes its tuple, finds its entry and counts in it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sluice_conntrack::entries::{Entries, NONE};
use sluice_conntrack::entry::{Entry, Status};
use sluice_conntrack::index::{Hash, Index};
use sluice_conntrack::tuple::Family;
use sluice_conntrack::{Direction, Tuple};
use sluice_memory::Pages;
use zerocopy::FromZeros;

use crate::driver::BURST;

/// Packets whose entries are fetched at once, ahead of those that are written to.
const AHEAD: usize = 8;

/// Bytes that a packet counts as.
const PACKET_BYTES: u32 = 46;

/// A table of connections.
pub struct BareTable {
    index: Index,
    entries: Entries,
}

impl BareTable {
    /// One with these connections, and with room for no more.
    pub fn new(originals: &[Tuple]) -> anyhow::Result<Self> {
        let capacity = u32::try_from(originals.len()).context("too many connections")?;
        let mut it = Self {
            index: Index::new(capacity, [1, 2, 3, 4], Pages::Huge2M)?,
            entries: Entries::new(capacity, Pages::Huge2M)?,
        };
        let blank = Entry::new_zeroed();
        for original in originals {
            let reply = original.invert();
            let entry = it.entries.insert(original, &reply, &blank, Status::default(), 0);
            let entry = entry.context("no room for an entry")?;
            ensure!(it.index.insert(it.index.hash(original, reply.selector), entry), "no room in the index");
        }
        Ok(it)
    }

    /// Looks these tuples up, burst by burst, and counts a packet of each; gives the time that took.
    pub fn count(&mut self, tuples: &[Tuple]) -> anyhow::Result<Duration> {
        let mut keys = [(Hash::default(), NONE); BURST];
        let mut missing = 0;
        let begin = Instant::now();
        for burst in tuples.chunks(BURST) {
            for (tuple, key) in burst.iter().zip(&mut keys) {
                *key = (self.index.hash(tuple, tuple.selector.invert()), NONE);
                self.index.prefetch(key.0);
            }
            self.fetch(&mut keys[..burst.len().min(AHEAD)]);
            for first in (0..burst.len()).step_by(AHEAD) {
                let next = (first + AHEAD).min(burst.len());
                self.fetch(&mut keys[next..(next + AHEAD).min(burst.len())]);
                for (tuple, (hash, candidate)) in burst[first..next].iter().zip(&keys[first..next]) {
                    match self.find(tuple, *hash, *candidate) {
                        Some((entry, direction)) => {
                            self.entries.at_mut(entry).counter(direction).add(PACKET_BYTES);
                        }
                        None => missing += 1,
                    }
                }
            }
        }
        let time = begin.elapsed();
        ensure!(missing == 0, "{missing} connections are not in the table");
        Ok(time)
    }

    fn fetch(&self, keys: &mut [(Hash, u32)]) {
        for (hash, candidate) in keys {
            *candidate = self.index.candidate(*hash);
            self.entries.prefetch(*candidate, Family::V4);
        }
    }

    fn find(&self, tuple: &Tuple, hash: Hash, candidate: u32) -> Option<(u32, Direction)> {
        match self.entries.direction(candidate, tuple) {
            Some(direction) => Some((candidate, direction)),
            None => self.index.find(hash, |entry| self.entries.direction(entry, tuple)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_counts_in_its_connection() {
        let tuple = |port| Tuple::new([10, 0, 0, 1].into(), [198, 51, 100, 2].into(), 17, port, 53);
        let originals: Vec<_> = (0..100).map(tuple).collect();
        let mut table = BareTable::new(&originals).unwrap();
        let packets: Vec<_> = originals.iter().flat_map(|it| [*it, it.invert(), *it]).collect();
        table.count(&packets).unwrap();
        for entry in 0..100 {
            let counted = [Direction::Original, Direction::Reply]
                .map(|direction| table.entries.at_mut(entry).counter(direction).packets());
            assert_eq!(counted, [2, 1]);
        }
        assert!(table.count(&[tuple(200)]).is_err());
    }
}
