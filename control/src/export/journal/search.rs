//! Who had an address and port at a time.
//!
//! What lives at a time is in the journal within [`LOOK_BACK`] before it: its begin, or the last roll call. So that is read, and as
//! much behind it, which may tell the end; of each segment that is complete, only the blocks that its index names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sluice_conntrack::Tuple;

use super::LOOK_BACK;
use super::format::{Block, Gap, HEADER, Item, MAX_PAYLOAD, Why, read_block};
use super::index::{GAPS, hash, look_up};
use super::segment::{self, Part, Segment};
use crate::export::record::{Micros, Translation, What};

/// By how much what two records say of a begin may differ: each knows the connection's age in whole seconds.
const SLACK_US: Micros = 2_000_000;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The address and port that the outside knew.
    pub public: SocketAddr,
    /// Of which protocol; of any if that is left out.
    pub protocol: Option<u8>,
    /// When.
    pub at_us: Micros,
}

/// A connection that had them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its original and its reply tuple.
    pub tuples: [Tuple; 2],
    /// When it began.
    pub began_us: Micros,
    /// When it was last seen alive.
    pub seen_us: Micros,
    /// When it ended, if that is known.
    pub ended_us: Option<Micros>,
    /// Whether it had them then for sure: its end may be missing, since there is a gap between the last sight of it and that time.
    pub is_sure: bool,
}

/// What is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it.
    pub offset: u64,
}

/// What the journal says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The connections, the oldest first.
    pub owners: Vec<Owner>,
    /// The gaps that lie over that time, or so little before it that a connection of theirs may have lived then.
    pub gaps: Vec<Gap>,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

/// Asks the journal of a directory.
///
/// # Errors
/// The directory or a segment in it cannot be read.
pub fn who_owned(directory: &Path, question: &Question) -> io::Result<Answer> {
    let segments = segment::list(directory)?;
    let mut found =
        Found { question, sights: Vec::new(), gaps: Vec::new(), damage: Vec::new(), end_us: None };
    let reach_us = LOOK_BACK.as_micros() as u64;
    let from_us = question.at_us.saturating_sub(reach_us);
    let to_us = question.at_us.saturating_add(reach_us);
    for (number, segment) in segments.iter().enumerate() {
        let next_us = segments.get(number + 1).map(|next| next.start_us);
        if segment.start_us <= to_us && next_us.is_none_or(|next_us| next_us >= from_us) {
            found.read(segment, next_us)?;
        }
    }
    match segments.first().filter(|first| first.start_us <= question.at_us) {
        Some(_) => {
            let end_us = found.end_us.filter(|end_us| *end_us < question.at_us);
            found.gaps.extend(end_us.map(|from_us| Gap {
                why: Why::Stopped,
                from_us,
                to_us: question.at_us,
                lost: 0,
            }));
        }
        // Nobody wrote it yet, or it is removed.
        None => {
            let to_us = segments.first().map_or(question.at_us, |first| first.start_us);
            found.gaps.push(Gap { why: Why::Stopped, from_us: 0, to_us, lost: 0 });
        }
    }
    Ok(found.answer(from_us))
}

/// What has been found so far.
struct Found<'a> {
    question: &'a Question,
    sights: Vec<Translation>,
    gaps: Vec<Gap>,
    damage: Vec<Damage>,
    /// The end of the journal, if that has been read.
    end_us: Option<Micros>,
}

impl Found<'_> {
    /// Reads a segment, behind which the next begins at a time.
    fn read(&mut self, segment: &Segment, next_us: Option<Micros>) -> io::Result<()> {
        // How far the last one goes, no index says.
        match next_us.and_then(|_| indexed(segment, hash(self.question.public))) {
            Some((file, blocks)) => {
                for offset in blocks {
                    match block_at(&file, offset) {
                        Some(block) => self.take(&block),
                        None => {
                            self.damage.push(Damage { file: segment.path.clone(), offset: offset.into() });
                            let to_us = next_us.unwrap_or(self.question.at_us);
                            self.gaps.push(Gap {
                                why: Why::Damaged,
                                from_us: segment.start_us,
                                to_us,
                                lost: 0,
                            });
                        }
                    }
                }
            }
            None => self.read_all(segment, next_us)?,
        }
        Ok(())
    }

    /// Reads all blocks of a segment. What is damaged is a gap from the last record in front of it to the first behind it.
    fn read_all(&mut self, segment: &Segment, next_us: Option<Micros>) -> io::Result<()> {
        let bytes = fs::read(&segment.path)?;
        let (mut last_us, mut damaged) = (segment.start_us, None);
        for (offset, part) in segment::parts(&bytes) {
            match part {
                Part::Damage(_) => damaged = Some(offset),
                Part::Block(block) => {
                    self.damaged(segment, damaged.take(), last_us, block.base_us);
                    last_us = last_us.max(block.last_us);
                    self.take(&block);
                }
            }
        }
        match next_us {
            Some(next_us) => self.damaged(segment, damaged, last_us, next_us),
            // What is torn at the end of the last one is just being written, or was when the daemon ended.
            None => self.end_us = Some(last_us),
        }
        Ok(())
    }

    fn damaged(&mut self, segment: &Segment, offset: Option<usize>, from_us: Micros, to_us: Micros) {
        if let Some(offset) = offset {
            self.damage.push(Damage { file: segment.path.clone(), offset: offset as u64 });
            self.gaps.push(Gap { why: Why::Damaged, from_us, to_us, lost: 0 });
        }
    }

    fn take(&mut self, block: &Block) {
        for item in &block.items {
            match item {
                Item::Gap(gap) => self.gaps.push(*gap),
                Item::Translation(sight) => {
                    let fits =
                        self.question.protocol.is_none_or(|protocol| protocol == sight.original.protocol());
                    if fits && sight.public().any(|public| public == self.question.public) {
                        self.sights.push(*sight);
                    }
                }
            }
        }
    }

    fn answer(mut self, from_us: Micros) -> Answer {
        let at_us = self.question.at_us;
        self.gaps.retain(|gap| gap.from_us <= at_us && gap.to_us >= from_us);
        self.gaps.sort_by_key(|gap| (gap.from_us, gap.to_us));
        self.gaps.dedup();
        self.sights.sort_by_key(|sight| sight.at_us);
        let mut lives = BTreeMap::<[Tuple; 2], Vec<Life>>::new();
        for sight in &self.sights {
            let tuples = [sight.original, sight.reply];
            follow(lives.entry(tuples).or_default(), sight);
        }
        let all = lives.iter().flat_map(|(tuples, lives)| lives.iter().map(|life| (*tuples, life)));
        let mut owners: Vec<Owner> =
            all.filter_map(|(tuples, life)| life.owner(tuples, at_us, &self.gaps)).collect();
        owners.sort_by_key(|owner| (owner.began_us, owner.tuples));
        Answer { owners, gaps: self.gaps, damage: self.damage }
    }
}

/// A complete segment, and the blocks of it that matter. `None` where it has no index that can be read.
fn indexed(segment: &Segment, wanted: u32) -> Option<(File, BTreeSet<u32>)> {
    let index = File::open(segment.index()).ok()?;
    let blocks = look_up(&index, GAPS)?.into_iter().chain(look_up(&index, wanted)?).collect();
    Some((File::open(&segment.path).ok()?, blocks))
}

fn block_at(file: &File, offset: u32) -> Option<Block> {
    let mut bytes = Vec::with_capacity(HEADER + MAX_PAYLOAD);
    let mut rest = [0; 8192];
    // A block, or less where the file ends.
    while bytes.len() < HEADER + MAX_PAYLOAD {
        let read = file.read_at(&mut rest, u64::from(offset) + bytes.len() as u64).ok()?;
        if read == 0 {
            break;
        }
        bytes.extend_from_slice(&rest[..read]);
    }
    read_block(&bytes)
}

/// A connection of two tuples, of which several may follow each other.
#[derive(Clone, Copy, Debug)]
struct Life {
    began_us: Micros,
    is_begin_exact: bool,
    seen_us: Micros,
    ended_us: Option<Micros>,
    /// When another began: it had ended by then.
    bound_us: Option<Micros>,
}

/// Takes a sight of one of these, the last one or a new one.
fn follow(lives: &mut Vec<Life>, sight: &Translation) {
    let Translation { what, at_us, began_us, .. } = *sight;
    let is_begin = what == What::Begin;
    let ended_us = (what == What::End).then_some(at_us);
    if let Some(last) = lives.last_mut().filter(|last| last.ended_us.is_none()) {
        if !is_begin && began_us.abs_diff(last.began_us) <= SLACK_US {
            last.seen_us = at_us;
            last.ended_us = ended_us;
            return;
        }
        if began_us >= last.began_us {
            last.bound_us = Some(began_us);
        }
    }
    lives.push(Life { began_us, is_begin_exact: is_begin, seen_us: at_us, ended_us, bound_us: None });
}

impl Life {
    /// What it is to be called if it may have been there at a time.
    fn owner(&self, tuples: [Tuple; 2], at_us: Micros, gaps: &[Gap]) -> Option<Owner> {
        let Life { began_us, is_begin_exact, seen_us, ended_us, bound_us } = *self;
        let slack_us = if is_begin_exact { 0 } else { SLACK_US / 2 };
        if began_us > at_us + slack_us || ended_us.or(bound_us).is_some_and(|ended_us| ended_us < at_us) {
            return None;
        }
        let is_missed = |gap: &Gap| gap.to_us >= seen_us && gap.from_us <= at_us;
        let is_sure = seen_us >= at_us || !gaps.iter().any(is_missed) && bound_us.is_none();
        Some(Owner { tuples, began_us, seen_us, ended_us, is_sure })
    }
}
