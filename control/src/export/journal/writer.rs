//! Appends to a journal, and removes what is too old or too much.
//!
//! What has come is written and synced (`fdatasync`) by [`Writer::flush`]. A crash may tear the last block that was written: the
//! next start cuts it off, gives the segment the index that it lacks, and begins another. Where the disk takes nothing, what was to
//! be written is lost, and the journal says so as soon as it can.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::format::{Gap, Item, NewBlock, Why};
use super::index::NewIndex;
use super::segment::{self, Part, Segment};
use crate::export::record::Micros;

/// For the daemon and its group.
const DIRECTORY_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;

/// A segment goes on for so long at most, so that age is told by segment.
const MAX_SEGMENT: Duration = Duration::from_secs(3600);

/// Bytes of a segment, at most, and at least.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 20;

/// The journal has so many segments when it is full.
const SEGMENTS: u64 = 16;

/// The file by whose lock a journal has one writer.
const LOCK: &str = "lock";

/// How much a journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all files.
    pub bytes: u64,
    /// Age of the oldest record.
    pub age: Duration,
}

/// What a journal has come to since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Records that are on the disk.
    pub written: u64,
    /// Records that the disk did not take.
    pub lost: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// When the oldest segment begins.
    pub oldest_us: Micros,
}

/// A journal that is written.
#[derive(Debug)]
pub struct Writer {
    directory: PathBuf,
    limits: Limits,
    segment_bytes: u64,
    segment: Option<OpenSegment>,
    block: NewBlock,
    /// What is in the block.
    items: Vec<Item>,
    /// What the disk did not take, to be told once it does again.
    untold: Option<Gap>,
    totals: Totals,
    _lock: File,
}

#[derive(Debug)]
struct OpenSegment {
    segment: Segment,
    file: File,
    length: u64,
    index: NewIndex,
}

impl Writer {
    /// Opens the journal of a directory, which is made where there is none. From the last record that is there until `now_us` nobody
    /// wrote: that is a gap.
    ///
    /// # Errors
    /// The directory cannot be made or written, or another writer has it.
    pub fn open(directory: &Path, limits: Limits, now_us: Micros) -> io::Result<Writer> {
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
        let mut options = OpenOptions::new();
        let lock =
            options.write(true).create(true).truncate(false).mode(FILE_MODE).open(directory.join(LOCK))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::other("another daemon writes it"),
            fs::TryLockError::Error(error) => error,
        })?;
        let segment_bytes = (limits.bytes / SEGMENTS).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end());
        let mut writer = Writer {
            directory: directory.to_owned(),
            limits,
            segment_bytes,
            segment: None,
            block: NewBlock::default(),
            items: Vec::new(),
            untold: None,
            totals: Totals::default(),
            _lock: lock,
        };
        let mut last_us = None;
        for segment in segment::list(directory)?.iter().rev() {
            last_us = mend(segment)?;
            if last_us.is_some() {
                break;
            }
        }
        if let Some(from_us) = last_us.filter(|last_us| *last_us < now_us) {
            writer.write(Item::Gap(Gap { why: Why::Stopped, from_us, to_us: now_us, lost: 0 }), now_us);
        }
        writer.flush(now_us);
        match writer.segment {
            Some(_) => Ok(writer),
            None => {
                writer.begin(now_us)?;
                Ok(writer)
            }
        }
    }

    /// Takes a record. It is on the disk behind the next flush.
    pub fn write(&mut self, item: Item, now_us: Micros) {
        if !self.block.push(&item) {
            self.write_block(now_us);
            self.block.push(&item);
        }
        self.items.push(item);
    }

    /// Writes and syncs what has come, or that nothing has, and removes what is too old or too much. What the disk does not take is lost.
    pub fn flush(&mut self, now_us: Micros) {
        if let Some(gap) = self.untold.take() {
            self.write(Item::Gap(Gap { to_us: now_us, ..gap }), now_us);
        }
        self.write_block(now_us);
        if self.untold.is_some() {
            return;
        }
        let synced = self.segment.as_ref().map_or(Ok(()), |open| open.file.sync_data());
        if let Err(error) = synced {
            tracing::warn!("{}: {error}", self.directory.display());
        }
        self.remove_surplus(now_us);
    }

    /// What it has come to.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Ends the journal in order: its last segment is complete.
    pub fn close(mut self, now_us: Micros) {
        self.flush(now_us);
        self.complete();
    }

    fn write_block(&mut self, now_us: Micros) {
        let bytes = self.block.seal(now_us);
        let items = std::mem::take(&mut self.items);
        match self.append(&bytes, &items, now_us) {
            Ok(()) => self.totals.written += items.len() as u64,
            Err(error) => self.lose(&items, &error, now_us),
        }
    }

    /// Appends a block; where that fails, the segment ends in front of it.
    fn append(&mut self, block: &[u8], items: &[Item], now_us: Micros) -> io::Result<()> {
        let length = block.len() as u64;
        let is_over = |open: &OpenSegment| {
            let age_us = now_us.saturating_sub(open.segment.start_us);
            open.length + length > self.segment_bytes || u128::from(age_us) > MAX_SEGMENT.as_micros()
        };
        if self.segment.as_ref().is_some_and(is_over) {
            self.complete();
        }
        if self.segment.is_none() {
            let start_us = items.first().map_or(now_us, Item::at_us);
            self.begin(start_us)?;
        }
        let Some(open) = &mut self.segment else { return Ok(()) };
        if let Err(error) = open.file.write_all(block) {
            // What is torn would hide what comes behind it until it is read over.
            open.file.set_len(open.length)?;
            return Err(error);
        }
        items.iter().for_each(|item| open.index.add(item, open.length as u32));
        open.length += length;
        Ok(())
    }

    fn begin(&mut self, start_us: Micros) -> io::Result<()> {
        // The clock may have been set back: no two segments have one name.
        let mut segment = Segment::at(&self.directory, start_us);
        while segment.path.exists() {
            segment = Segment::at(&self.directory, segment.start_us + 1);
        }
        let file = OpenOptions::new().append(true).create_new(true).mode(FILE_MODE).open(&segment.path)?;
        self.segment = Some(OpenSegment { segment, file, length: 0, index: NewIndex::default() });
        Ok(())
    }

    /// Gives the segment its index, so that the next block begins another.
    fn complete(&mut self) {
        let Some(mut open) = self.segment.take() else { return };
        let written = open.file.sync_data().and_then(|()| write_index(&open.segment, &mut open.index));
        if let Err(error) = written {
            // A search reads all of it then.
            tracing::warn!("{}: {error}", open.segment.index().display());
        }
    }

    fn lose(&mut self, items: &[Item], error: &io::Error, now_us: Micros) {
        let lost = items.iter().filter(|item| matches!(item, Item::Translation(_))).count() as u64;
        let begin_us = |item: &Item| match item {
            Item::Gap(gap) => gap.from_us,
            Item::Translation(translation) => translation.at_us,
        };
        let already = |item: &Item| match item {
            Item::Gap(gap) => gap.lost,
            Item::Translation(_) => 0,
        };
        let from_us = items.iter().map(begin_us).min().unwrap_or(now_us);
        if self.untold.is_none() {
            tracing::warn!("{}: the journal is not written: {error}", self.directory.display());
        }
        let gap = self.untold.get_or_insert(Gap { why: Why::Lost, from_us, to_us: now_us, lost: 0 });
        gap.from_us = gap.from_us.min(from_us);
        gap.lost += lost + items.iter().map(already).sum::<u64>();
        self.totals.lost += lost;
    }

    /// Removes the oldest segments until there is no more than there may be.
    fn remove_surplus(&mut self, now_us: Micros) {
        let Ok(segments) = segment::list(&self.directory) else { return };
        let mut sizes: Vec<u64> = segments.iter().map(Segment::bytes).collect();
        let keep_us = u64::try_from(self.limits.age.as_micros()).unwrap_or(u64::MAX);
        let mut first = 0;
        // The last one is being written.
        while first + 1 < segments.len() {
            // One is as old as its last record, behind which the next begins.
            let is_old = segments[first + 1].start_us < now_us.saturating_sub(keep_us);
            if !is_old && sizes.iter().sum::<u64>() <= self.limits.bytes {
                break;
            }
            if let Err(error) = segments[first].remove() {
                tracing::warn!("{}: {error}", segments[first].path.display());
                break;
            }
            sizes[first] = 0;
            first += 1;
        }
        self.totals.bytes = sizes.iter().sum();
        self.totals.oldest_us = segments.get(first).map_or(now_us, |segment| segment.start_us);
    }
}

fn write_index(segment: &Segment, index: &mut NewIndex) -> io::Result<()> {
    crate::replace::replace(&segment.index(), |file| (&*file).write_all(&index.take_bytes()))
}

/// Cuts what is torn off the last segment, and gives it its index. Gives the time of its last record.
fn mend(segment: &Segment) -> io::Result<Option<Micros>> {
    let bytes = fs::read(&segment.path)?;
    let (mut end, mut last_us, mut index) = (0, None, NewIndex::default());
    for (at, part) in segment::parts(&bytes) {
        if let Part::Block(block) = part {
            block.items.iter().for_each(|item| index.add(item, at as u32));
            end = at + block.length;
            last_us = last_us.max(Some(block.last_us));
        }
    }
    if end < bytes.len() {
        let torn = bytes.len() - end;
        tracing::warn!("{}: {torn} bytes at its end were torn and are cut off", segment.path.display());
        OpenOptions::new().write(true).open(&segment.path)?.set_len(end as u64)?;
    }
    if end == 0 {
        segment.remove()?;
    } else if !segment.index().exists() {
        write_index(segment, &mut index)?;
    }
    Ok(last_us)
}
