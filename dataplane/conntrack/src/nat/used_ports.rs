//! The ports of one address that are in use, and walks over ports: sixty-four at a time, so that a free one is found in a few
//! steps wherever it is.

use std::ops::RangeInclusive;
use zerocopy::FromBytes;

/// Ports of a protocol.
const PORTS: usize = 1 << 16;

/// Bits of a word of the maps below.
const BITS: usize = u64::BITS as usize;

/// Ports of a row: of the words that one word of `full` stands for.
const ROW: usize = BITS * BITS;

/// The ports of one address and protocol. Zeros say that none is used.
#[derive(Debug, FromBytes)]
#[repr(C)]
pub(super) struct UsedPorts {
    /// How many connections use each port, as far as that can be counted.
    pub(super) uses: [u16; PORTS],
    /// The ports that are used at all, a bit each.
    used: [u64; PORTS / BITS],
    /// The words of `used` that are all ones, a bit each.
    full: [u64; PORTS / ROW],
    /// How many ports of each row are used.
    counts: [u32; PORTS / ROW],
}

impl UsedPorts {
    /// Bytes of memory; none where it was never written.
    pub(super) fn memory_bytes(&self) -> usize {
        if self.counts.iter().any(|count| *count > 0) { size_of::<Self>() } else { 0 }
    }

    pub(super) fn take(&mut self, port: u16) {
        let port = usize::from(port);
        self.uses[port] = self.uses[port].saturating_add(1);
        if self.uses[port] == 1 {
            self.counts[port / ROW] += 1;
            let word = port / BITS;
            self.used[word] |= 1 << (port % BITS);
            if self.used[word] == u64::MAX {
                self.full[word / BITS] |= 1 << (word % BITS);
            }
        }
    }

    pub(super) fn give_back(&mut self, port: u16) {
        let port = usize::from(port);
        if self.uses[port] == 1 {
            self.counts[port / ROW] -= 1;
            let word = port / BITS;
            self.used[word] &= !(1 << (port % BITS));
            self.full[word / BITS] &= !(1 << (word % BITS));
        }
        self.uses[port] = self.uses[port].saturating_sub(1);
    }

    /// How many of these ports are used: rows are counted already, and only what is cut off at either end is looked at.
    pub(super) fn used(&self, range: &RangeInclusive<u16>) -> u32 {
        let (first, last) = (usize::from(*range.start()), usize::from(*range.end()));
        let in_row = |(row, count): (usize, &u32)| {
            let (low, high) = (first.max(row * ROW), last.min(row * ROW + ROW - 1));
            match (high + 1).saturating_sub(low) {
                0 => 0,
                ROW => *count,
                _ => self.ones(low, high),
            }
        };
        self.counts.iter().enumerate().map(in_row).sum()
    }

    /// The same, bit by bit.
    fn ones(&self, first: usize, last: usize) -> u32 {
        let words = first / BITS..=last / BITS;
        let in_word = |word: usize| {
            let below = first.saturating_sub(word * BITS);
            let above = (BITS - 1).saturating_sub(last - word * BITS);
            (self.used[word] >> below << below << above).count_ones()
        };
        words.map(in_word).sum()
    }
}

/// The first unused port of a range that is wanted: `wanted` gives a word of 64 consecutive ports, a bit each, by the word's
/// number. Without `used`, no port is in use.
pub(super) fn next_free(
    used: Option<&UsedPorts>,
    ports: RangeInclusive<u16>,
    wanted: impl Fn(usize) -> u64,
) -> Option<u16> {
    let (mut port, last) = (usize::from(*ports.start()), usize::from(*ports.end()));
    while port <= last {
        let word = port / BITS;
        let free = used.map_or(u64::MAX, |used| !used.used[word]) & wanted(word);
        let free = free >> (port % BITS);
        if free != 0 {
            port += free.trailing_zeros() as usize;
            return (port <= last).then_some(port as u16);
        }
        port = next_open(used, word + 1) * BITS;
    }
    None
}

/// The first word from `word` on that is not full; a whole row of full ones is one step.
fn next_open(used: Option<&UsedPorts>, word: usize) -> usize {
    let Some(used) = used else { return word };
    let open = used.full.get(word / BITS).map_or(0, |full| !full >> (word % BITS));
    word + if open == 0 { BITS - word % BITS } else { open.trailing_zeros() as usize }
}

/// A range from `start` upwards and around: its two parts, of which the second may be empty.
pub(super) fn around(range: &RangeInclusive<u16>, start: u16) -> [RangeInclusive<u16>; 2] {
    let below = match start.checked_sub(1) {
        Some(below) => *range.start()..=below,
        None => RangeInclusive::new(1, 0),
    };
    [start..=*range.end(), below]
}
