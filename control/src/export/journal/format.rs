//! The bytes of the journal, little-endian.
//!
//! A block is a header of 32 bytes (magic, length of what follows, CRC-32 of all behind this field, number of records, time of the
//! first and the last one, or when it was written if it has none) and records of 36 bytes for IPv4, 84 for IPv6:
//!
//! ```text
//!  0  what was seen; bits: source, destination translated; original, reply tuple of IPv6
//!  1  protocol
//!  2  zone
//!  4  when: microseconds behind the block's first
//!  8  how old the connection was: seconds
//! 12  ports: original source and destination, reply source and destination
//! 20  addresses in the same order, in network byte order
//! ```
//!
//! A gap is 32 bytes: kind, why, when, begin, end, and how many events are known to be lost.

use sluice_conntrack::Tuple;
use sluice_conntrack::tuple::{Family, Selector};

use crate::export::record::{Micros, Translation, What};

/// What blocks begin with.
pub const MAGIC: [u8; 4] = *b"SJB1";

/// Bytes in front of a block's records.
pub const HEADER: usize = 32;

/// Bytes of a block's records, at most.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// Bytes of a record, at most.
const MAX_RECORD: usize = 84;

const BEGIN: u8 = 1;
const ALIVE: u8 = 2;
const END: u8 = 3;
const GAP: u8 = 4;
const KIND: u8 = 0x0f;
const SOURCE: u8 = 1 << 4;
const DESTINATION: u8 = 1 << 5;
const ORIGINAL_V6: u8 = 1 << 6;
const REPLY_V6: u8 = 1 << 7;

/// Why nothing, or not everything, is known of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// Nobody wrote the journal: the daemon did not run, or ran without one.
    Stopped,
    /// More happened than the daemon could take, or the disk.
    Lost,
    /// The journal is damaged there.
    Damaged,
}

impl Why {
    const ALL: [Why; 3] = [Why::Stopped, Why::Lost, Why::Damaged];
}

/// A time of which not everything is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub why: Why,
    /// From then on.
    pub from_us: Micros,
    /// Until then.
    pub to_us: Micros,
    /// Events that are known to be missing; 0 where nobody has counted them.
    pub lost: u64,
}

/// A record of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// What was seen of a connection.
    Translation(Translation),
    /// What was not seen.
    Gap(Gap),
}

impl Item {
    /// When it was written down.
    pub fn at_us(&self) -> Micros {
        match self {
            Item::Translation(translation) => translation.at_us,
            Item::Gap(gap) => gap.to_us,
        }
    }
}

/// A block that is being filled.
#[derive(Debug, Default)]
pub struct NewBlock {
    payload: Vec<u8>,
    count: u32,
    base_us: Micros,
    last_us: Micros,
}

impl NewBlock {
    /// Takes a record; false if that belongs into another block: this one is full, or too far away in time.
    pub fn push(&mut self, item: &Item) -> bool {
        let at_us = item.at_us();
        if self.count == 0 {
            (self.base_us, self.last_us) = (at_us, at_us);
        }
        let offset = at_us.checked_sub(self.base_us).and_then(|offset| u32::try_from(offset).ok());
        let Some(offset) = offset.filter(|_| self.payload.len() + MAX_RECORD <= MAX_PAYLOAD) else {
            return false;
        };
        self.last_us = self.last_us.max(at_us);
        self.count += 1;
        match item {
            Item::Translation(translation) => put_translation(&mut self.payload, translation, offset),
            Item::Gap(gap) => {
                self.payload.extend([GAP, gap.why as u8, 0, 0]);
                self.payload.extend(offset.to_le_bytes());
                [gap.from_us, gap.to_us, gap.lost]
                    .iter()
                    .for_each(|number| self.payload.extend(number.to_le_bytes()));
            }
        }
        true
    }

    /// The bytes of the block, which is empty again; one without records says that the journal was written then.
    pub fn seal(&mut self, now_us: Micros) -> Vec<u8> {
        let times = if self.count == 0 { [now_us; 2] } else { [self.base_us, self.last_us] };
        let mut block = Vec::with_capacity(HEADER + self.payload.len());
        block.extend(MAGIC);
        block.extend((self.payload.len() as u32).to_le_bytes());
        block.extend([0; 4]);
        block.extend(self.count.to_le_bytes());
        times.iter().for_each(|time| block.extend(time.to_le_bytes()));
        block.append(&mut self.payload);
        self.count = 0;
        let sum = crc32fast::hash(&block[12..]);
        block[8..12].copy_from_slice(&sum.to_le_bytes());
        block
    }
}

fn put_translation(out: &mut Vec<u8>, translation: &Translation, offset: u32) {
    let Translation { what, at_us, began_us, original, reply, translated } = translation;
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    let kind = match what {
        What::Begin => BEGIN,
        What::Alive => ALIVE,
        What::End => END,
    };
    let is_v6 = |tuple: &Tuple| tuple.family() == Family::V6;
    out.push(
        kind | bit(translated[0], SOURCE)
            | bit(translated[1], DESTINATION)
            | bit(is_v6(original), ORIGINAL_V6)
            | bit(is_v6(reply), REPLY_V6),
    );
    out.push(original.protocol());
    out.extend(original.selector.zone().to_le_bytes());
    out.extend(offset.to_le_bytes());
    let age_s = at_us.saturating_sub(*began_us) / 1_000_000;
    out.extend(u32::try_from(age_s).unwrap_or(u32::MAX).to_le_bytes());
    for tuple in [original, reply] {
        out.extend(tuple.selector.sport().to_le_bytes());
        out.extend(tuple.selector.dport().to_le_bytes());
    }
    for tuple in [original, reply] {
        for address in [tuple.src, tuple.dst] {
            match is_v6(tuple) {
                true => out.extend(address.to_be_bytes()),
                false => out.extend((address as u32).to_be_bytes()),
            }
        }
    }
}

/// A block as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    /// When its first record was, or when it was written if it has none.
    pub base_us: Micros,
    /// When its last one was.
    pub last_us: Micros,
    /// Its records.
    pub items: Vec<Item>,
    /// Its length in the file.
    pub length: usize,
}

/// The block that these bytes begin with; `None` where there is none that is whole and undamaged.
pub fn read_block(bytes: &[u8]) -> Option<Block> {
    let header = bytes.get(..HEADER)?;
    let short = |at: usize| header[at..].first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let long = |at: usize| header[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let payload_length = short(4)? as usize;
    if header[..4] != MAGIC || payload_length > MAX_PAYLOAD {
        return None;
    }
    let length = HEADER + payload_length;
    let whole = bytes.get(..length)?;
    if crc32fast::hash(&whole[12..]) != short(8)? {
        return None;
    }
    let (count, base_us, last_us) = (short(12)?, long(16)?, long(24)?);
    let mut rest = &whole[HEADER..];
    let mut items = Vec::new();
    while !rest.is_empty() {
        items.push(take_item(&mut rest, base_us)?);
    }
    (items.len() == count as usize).then_some(Block { base_us, last_us, items, length })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*taken)
}

fn take_item(rest: &mut &[u8], base_us: Micros) -> Option<Item> {
    let [flags, second, zone @ ..] = take::<4>(rest)?;
    let at_us = base_us.checked_add(u64::from(u32::from_le_bytes(take(rest)?)))?;
    let what = match flags & KIND {
        BEGIN => What::Begin,
        ALIVE => What::Alive,
        END => What::End,
        GAP => {
            let why = *Why::ALL.get(usize::from(second))?;
            let mut number = || take(rest).map(u64::from_le_bytes);
            return Some(Item::Gap(Gap { why, from_us: number()?, to_us: number()?, lost: number()? }));
        }
        _ => return None,
    };
    let age_s = u32::from_le_bytes(take(rest)?);
    let mut ports = [0; 4];
    for port in &mut ports {
        *port = u16::from_le_bytes(take(rest)?);
    }
    let mut tuple = |is_v6: bool, sport: u16, dport: u16| {
        let mut address = || match is_v6 {
            true => take(rest).map(u128::from_be_bytes),
            false => take(rest).map(|bytes| u128::from(u32::from_be_bytes(bytes))),
        };
        let (src, dst) = (address()?, address()?);
        let family = if is_v6 { Family::V6 } else { Family::V4 };
        let selector = Selector::new(family, second, u16::from_le_bytes(zone), sport, dport);
        Some(Tuple { src, dst, selector })
    };
    let original = tuple(flags & ORIGINAL_V6 != 0, ports[0], ports[1])?;
    let reply = tuple(flags & REPLY_V6 != 0, ports[2], ports[3])?;
    Some(Item::Translation(Translation {
        what,
        at_us,
        began_us: at_us.saturating_sub(u64::from(age_s) * 1_000_000),
        original,
        reply,
        translated: [flags & SOURCE != 0, flags & DESTINATION != 0],
    }))
}
