//! The files of a journal: `MICROSECONDS.journal`, by the time at which each begins, and `MICROSECONDS.index` beside those that are
//! complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::format::{Block, MAGIC, read_block};
use crate::export::record::Micros;

const SEGMENT: &str = "journal";
const INDEX: &str = "index";

/// A segment, by its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// When it begins.
    pub start_us: Micros,
    /// Its file.
    pub path: PathBuf,
}

impl Segment {
    /// That which begins then in a directory.
    pub fn at(directory: &Path, start_us: Micros) -> Segment {
        // So many digits that files have the order of their times.
        Segment { start_us, path: directory.join(format!("{start_us:018}.{SEGMENT}")) }
    }

    /// The file of its index.
    pub fn index(&self) -> PathBuf {
        self.path.with_extension(INDEX)
    }

    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        length(&self.path) + length(&self.index())
    }

    /// Removes its files.
    ///
    /// # Errors
    /// The directory may not be written.
    pub fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        match fs::remove_file(self.index()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The segments in a directory, the oldest first.
///
/// # Errors
/// The directory cannot be read.
pub fn list(directory: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let start = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let Some(start_us) = start.filter(|_| path.extension().is_some_and(|it| it == SEGMENT)) {
            segments.push(Segment { start_us, path });
        }
    }
    segments.sort_by_key(|segment| segment.start_us);
    Ok(segments)
}

/// What a segment is made of.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// A block.
    Block(Block),
    /// So many bytes that are none: up to the next block, or to the end.
    Damage(usize),
}

/// What a segment's bytes are made of, from the front, and where each part begins.
pub fn parts(bytes: &[u8]) -> impl Iterator<Item = (usize, Part)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let begin = at;
        let rest = bytes.get(begin..).filter(|rest| !rest.is_empty())?;
        let (part, length) = match read_block(rest) {
            Some(block) => {
                let length = block.length;
                (Part::Block(block), length)
            }
            None => {
                let length = next_block(rest);
                (Part::Damage(length), length)
            }
        };
        at += length;
        Some((begin, part))
    })
}

/// Where the next block begins behind damage, or where the bytes end.
fn next_block(bytes: &[u8]) -> usize {
    let is_block = |at: &usize| bytes[*at..].starts_with(&MAGIC) && read_block(&bytes[*at..]).is_some();
    (1..bytes.len()).find(is_block).unwrap_or(bytes.len())
}
