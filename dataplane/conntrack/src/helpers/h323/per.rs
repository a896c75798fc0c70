//! Aligned PER (ITU-T X.691), read by a described grammar: not to have values of it, but to find the few that matter and where they
//! stand.
//!
//! Nothing is allocated. No described type contains itself, so that the grammar bounds the depth; the steps are counted.

use super::grammar::{Additions, Field, Mark, Size, Type};

/// Types of one message that are read, at most. A Setup of sixteen channels has a thousand.
const MAX_STEPS: u32 = 8192;

/// What one message may say that matters, at most: three addresses for each of twenty channels, and a few more.
const MAX_FINDINGS: usize = 64;

/// Additions that one SEQUENCE may have. The longest of H.225.0 has 40.
const MAX_ADDITIONS: usize = 64;

/// Bits of the longest string that need not begin with a whole byte.
const SHORT_STRING_BITS: usize = 16;

/// Why reading ended before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Here begins what no type describes, as nothing behind it matters.
    Undescribed,
    /// It is no encoding of its type.
    Malformed,
    /// It says more than is kept, or takes more steps than a message may.
    TooMuch,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) mark: Mark,
    pub(super) value: Value,
}

/// A value that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// An address of so many bytes, and the two of a port behind it, from this byte on.
    Endpoint { at: usize, address_bytes: usize },
    /// A number.
    Number(u32),
}

/// All that was found, in order.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    findings: [Finding; MAX_FINDINGS],
    len: usize,
}

impl Findings {
    pub(super) fn as_slice(&self) -> &[Finding] {
        &self.findings[..self.len]
    }

    fn push(&mut self, finding: Finding) -> Result<(), Stop> {
        let free = self.findings.get_mut(self.len).ok_or(Stop::TooMuch)?;
        *free = finding;
        self.len += 1;
        Ok(())
    }
}

/// What a message from the byte `start` on says that its type has marks for.
///
/// # Errors
/// Why it is not to be trusted.
pub(super) fn find(message: &[u8], start: usize, of: &Type) -> Result<Findings, Stop> {
    let nothing = Finding { mark: Mark::TimeToLive, value: Value::Number(0) };
    let mut findings = Findings { findings: [nothing; MAX_FINDINGS], len: 0 };
    let mut reader = Reader { bytes: message, bit: start * 8, steps: MAX_STEPS };
    match reader.read(of, None, &mut findings) {
        Ok(()) | Err(Stop::Undescribed) => Ok(findings),
        Err(stop) => Err(stop),
    }
}

/// Bytes that are read bit by bit.
struct Reader<'a> {
    bytes: &'a [u8],
    /// The next bit, from the first byte's highest on.
    bit: usize,
    /// Steps that may still be taken.
    steps: u32,
}

impl Reader<'_> {
    fn read(&mut self, of: &Type, mark: Option<Mark>, findings: &mut Findings) -> Result<(), Stop> {
        self.steps = self.steps.checked_sub(1).ok_or(Stop::TooMuch)?;
        match *of {
            Type::Null => Ok(()),
            Type::Bits(bits) => self.bits(bits).map(drop),
            Type::Integer(range) => self.integer(range).map(drop),
            Type::Number(range) => {
                let value = self.integer(range)?;
                match mark {
                    Some(mark) => findings.push(Finding { mark, value: Value::Number(value) }),
                    None => Ok(()),
                }
            }
            Type::Octets(size) => {
                let len = self.length(size)?;
                self.string(len, 8, size)
            }
            Type::Characters(bits, size) => {
                let len = self.length(size)?;
                self.string(len, bits as usize, size)
            }
            Type::Containing(inner) => {
                let len = self.length(Size::ANY)?;
                self.open(len, Some(inner), mark, findings)
            }
            Type::Endpoint(address_bytes) => {
                let at = self.octets(address_bytes + size_of::<u16>())?;
                match mark {
                    Some(mark) => {
                        findings.push(Finding { mark, value: Value::Endpoint { at, address_bytes } })
                    }
                    None => Ok(()),
                }
            }
            Type::Sequence(fields, additions) => self.sequence(fields, additions, mark, findings),
            Type::SequenceOf(size, of) => {
                for _ in 0..self.length(size)? {
                    self.read(of, mark, findings)?;
                }
                Ok(())
            }
            Type::Choice(alternatives, additions) => self.choice(alternatives, additions, mark, findings),
            Type::Marked(mark, of) => self.read(of, Some(mark), findings),
            Type::Undescribed => Err(Stop::Undescribed),
        }
    }

    /// A SEQUENCE (X.691 section 19): whether it has additions, which of the optional fields are there, the fields, the additions.
    fn sequence(
        &mut self,
        fields: &[Field],
        additions: Additions,
        mark: Option<Mark>,
        findings: &mut Findings,
    ) -> Result<(), Stop> {
        let is_extended = additions.is_some() && self.bits(1)? == 1;
        let mut flag = self.bit;
        self.skip(fields.iter().filter(|field| matches!(field, Field::Optional(_))).count())?;
        for field in fields {
            let of = match field {
                Field::Required(of) => of,
                Field::Optional(of) => {
                    flag += 1;
                    if !self.is_set(flag - 1) {
                        continue;
                    }
                    of
                }
            };
            self.read(of, mark, findings)?;
        }
        match additions {
            Some(described) if is_extended => self.additions(described, mark, findings),
            _ => Ok(()),
        }
    }

    /// The additions of a SEQUENCE: which of them are there, and each as a string of bytes, so that unknown ones are passed over.
    fn additions(
        &mut self,
        described: &'static [(usize, Type)],
        mark: Option<Mark>,
        findings: &mut Findings,
    ) -> Result<(), Stop> {
        let count = self.small_number()? + 1;
        if count > MAX_ADDITIONS {
            return Err(Stop::TooMuch);
        }
        let flags = self.bit;
        self.skip(count)?;
        for addition in 0..count {
            if !self.is_set(flags + addition) {
                continue;
            }
            let len = self.length(Size::ANY)?;
            self.open(len, find_addition(described, addition), mark, findings)?;
        }
        Ok(())
    }

    /// A CHOICE (X.691 section 23): the number of an alternative, and that; an addition as a string of bytes.
    fn choice(
        &mut self,
        alternatives: &[Type],
        additions: Additions,
        mark: Option<Mark>,
        findings: &mut Findings,
    ) -> Result<(), Stop> {
        match additions {
            Some(described) if self.bits(1)? == 1 => {
                let addition = self.small_number()?;
                let len = self.length(Size::ANY)?;
                self.open(len, find_addition(described, addition), mark, findings)
            }
            _ => {
                let number = self.integer(alternatives.len() as u32 - 1)?;
                let alternative = alternatives.get(number as usize).ok_or(Stop::Malformed)?;
                self.read(alternative, mark, findings)
            }
        }
    }

    /// So many bytes, which have one encoding of this type, and perhaps more behind it.
    fn open(
        &mut self,
        len: usize,
        of: Option<&Type>,
        mark: Option<Mark>,
        findings: &mut Findings,
    ) -> Result<(), Stop> {
        let start = self.octets(len)?;
        let Some(of) = of else { return Ok(()) };
        let mut inner = Reader { bytes: &self.bytes[..start + len], bit: start * 8, steps: self.steps };
        let read = inner.read(of, mark, findings);
        self.steps = inner.steps;
        match read {
            Err(Stop::Undescribed) => Ok(()),
            read => read,
        }
    }

    /// A string of `len` characters: a short one anywhere, a longer one from a whole byte on (X.691 sections 17 and 30).
    fn string(&mut self, len: usize, bits: usize, size: Size) -> Result<(), Stop> {
        let is_long =
            (size.most as usize).saturating_mul(bits) > SHORT_STRING_BITS || size.least != size.most;
        if is_long && len > 0 {
            self.align();
        }
        self.skip(len.checked_mul(bits).ok_or(Stop::Malformed)?)
    }

    /// How many there are of something of a size (X.691 section 11.9). Those of more than 16K, in fragments, are not read.
    fn length(&mut self, size: Size) -> Result<usize, Stop> {
        if size.most < 1 << 16 {
            return Ok(size.least as usize + self.integer(size.most - size.least)? as usize);
        }
        self.align();
        let first = self.bits(8)?;
        match first >> 6 {
            0 | 1 => Ok(first as usize),
            2 => Ok(((first & 0x3f) << 8 | self.bits(8)?) as usize),
            _ => Err(Stop::TooMuch),
        }
    }

    /// A whole number that is at most `range` (X.691 section 11.5): in as few bits as it needs, in whole bytes where those are more
    /// than a byte.
    fn integer(&mut self, range: u32) -> Result<u32, Stop> {
        let bytes = match range {
            0..=0xfe => return self.bits(u32::BITS - range.leading_zeros()),
            0xff => 1,
            0x100..=0xffff => 2,
            _ => {
                let longest = range.ilog2() / 8;
                self.bits(u32::BITS - longest.leading_zeros())? as usize + 1
            }
        };
        self.align();
        self.bits(bytes as u32 * 8)
    }

    /// A number that is usually small (X.691 section 11.6).
    fn small_number(&mut self) -> Result<usize, Stop> {
        if self.bits(1)? == 0 { Ok(self.bits(6)? as usize) } else { Err(Stop::TooMuch) }
    }

    /// So many bytes from a whole one on; gives where they begin.
    fn octets(&mut self, len: usize) -> Result<usize, Stop> {
        self.align();
        let start = self.bit / 8;
        self.skip(len * 8)?;
        Ok(start)
    }

    const fn align(&mut self) {
        self.bit = self.bit.next_multiple_of(8);
    }

    const fn skip(&mut self, bits: usize) -> Result<(), Stop> {
        self.bit += bits;
        if self.bit > self.bytes.len() * 8 { Err(Stop::Malformed) } else { Ok(()) }
    }

    fn is_set(&self, bit: usize) -> bool {
        self.bytes.get(bit / 8).is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1)
    }

    /// The next bits, 32 at most, as a number.
    fn bits(&mut self, bits: u32) -> Result<u32, Stop> {
        let from = self.bit;
        self.skip(bits as usize)?;
        Ok((from..self.bit).fold(0, |value, bit| value << 1 | u32::from(self.is_set(bit))))
    }
}

/// The described addition of this number.
fn find_addition(described: &'static [(usize, Type)], number: usize) -> Option<&'static Type> {
    described.iter().find(|(known, _)| *known == number).map(|(_, of)| of)
}

#[cfg(test)]
mod tests {
    use super::super::grammar::{
        BOOLEAN, BYTE, EXTENSIBLE, LONG, NON_STANDARD, SHORT, TRANSPORT_ADDRESS, list,
    };
    use super::*;
    use proptest::prelude::*;

    const SECONDS: Type = Type::Marked(Mark::TimeToLive, &Type::Number(u32::MAX));
    const ADDRESS: Type = Type::Marked(Mark::Ras, &TRANSPORT_ADDRESS);

    fn found(bytes: &[u8], of: &Type) -> Result<Vec<Value>, Stop> {
        find(bytes, 0, of).map(|found| found.as_slice().iter().map(|finding| finding.value).collect())
    }

    #[test]
    fn integers_take_as_many_bits_or_bytes_as_their_range_needs() {
        let reads = |range: u32, bytes: &[u8]| {
            let mut reader = Reader { bytes, bit: 1, steps: 1 };
            reader.integer(range).map(|value| (value, reader.bit))
        };
        let bytes = [0b0101_1000, 0x12, 0x34, 0x56, 0x78];
        for (range, value, bit) in [
            (0, 0, 1),
            (1, 1, 2),
            (2, 2, 3),
            (254, 0b1011_0000, 9),
            (255, 0x12, 16),
            (256, 0x1234, 24),
            (65_535, 0x1234, 24),
            (65_536, 0x12_3456, 32),
            (u32::MAX, 0x12_3456, 32),
        ] {
            assert_eq!(reads(range, &bytes), Ok((value, bit)), "{range}");
        }
        assert_eq!(reads(u32::MAX, &bytes[..3]), Err(Stop::Malformed));
    }

    #[test]
    fn lengths_fit_in_what_is_left() {
        for (bytes, whole) in [
            (&[2, 9, 9][..], Ok(vec![])),
            (&[0x80, 2, 9, 9], Ok(vec![])),
            (&[3, 9, 9], Err(Stop::Malformed)),
            (&[0xbf, 0xff, 9], Err(Stop::Malformed)),
            (&[0xc1, 9], Err(Stop::TooMuch)),
            (&[], Err(Stop::Malformed)),
        ] {
            assert_eq!(found(bytes, &Type::Octets(Size::ANY)), whole, "{bytes:?}");
        }
    }

    #[test]
    fn unknown_additions_are_passed_over_and_known_ones_read() {
        const OF: Type = Type::Sequence(&[Field::Required(BOOLEAN)], Some(&[(2, SECONDS)]));
        // Extended, TRUE, four additions, of which the first and the third are there.
        let bytes = [0b1100_0001, 0b1101_0000, 2, 9, 9, 2, 0, 7];
        assert_eq!(found(&bytes, &OF), Ok(vec![Value::Number(7)]));
        assert_eq!(found(&bytes[..7], &OF), Err(Stop::Malformed));
        // More than 64.
        assert_eq!(found(&[0b1110_0000, 80], &OF), Err(Stop::TooMuch));
    }

    #[test]
    fn an_address_is_found_where_it_stands_and_no_number_of_another_kind() {
        let endpoint = |at, address_bytes| Ok(vec![Value::Endpoint { at, address_bytes }]);
        assert_eq!(found(&[0, 10, 0, 0, 2, 0x13, 0x88], &ADDRESS), endpoint(1, 4));
        assert_eq!(found(&[[0x30].as_slice(), &[1; 18]].concat(), &ADDRESS), endpoint(1, 16));
        assert_eq!(found(&[0, 10, 0, 0, 2, 0x13], &ADDRESS), Err(Stop::Malformed));
        assert_eq!(found(&[0x64, 9, 1, 0, 61, 1, 0x11], &ADDRESS), Ok(vec![]), "one that is not standard");
        assert_eq!(found(&[0x70], &ADDRESS), Err(Stop::Malformed), "no such kind");
    }

    #[test]
    fn h323_h2_steps_and_findings_are_bounded() {
        const LISTS: Type = list(&list(&Type::Null));
        let nothings = [vec![0xbf, 0xff], [0xbf, 0xff].repeat(20)].concat();
        assert_eq!(found(&nothings, &LISTS), Err(Stop::TooMuch));
        let addresses = |count: u8| [vec![count], [0, 10, 0, 0, 2, 0x13, 0x88].repeat(count.into())].concat();
        const MANY: Type = list(&ADDRESS);
        assert_eq!(found(&addresses(64), &MANY).map(|found| found.len()), Ok(64));
        assert_eq!(found(&addresses(65), &MANY), Err(Stop::TooMuch));
    }

    proptest! {
        /// Whatever the bytes are, what is found lies in them.
        #[test]
        fn anything_is_read_or_not(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            const OF: [Type; 6] = [
                super::super::signalling::USER_INFORMATION,
                super::super::control::MESSAGE,
                super::super::ras::MESSAGE,
                Type::Sequence(&[Field::Optional(LONG), Field::Optional(BYTE), Field::Required(SHORT)], EXTENSIBLE),
                list(&NON_STANDARD),
                list(&ADDRESS),
            ];
            for of in &OF {
                for value in found(&bytes, of).unwrap_or_default() {
                    if let Value::Endpoint { at, address_bytes } = value {
                        prop_assert!(at + address_bytes + 2 <= bytes.len());
                    }
                }
            }
        }
    }
}
