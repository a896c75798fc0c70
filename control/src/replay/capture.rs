//! Reading captures: pcap and pcapng, either byte order, stamps of any resolution.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use pcap_parser::pcapng::Block;
use pcap_parser::{InterfaceDescriptionBlock, OptionCode, PcapBlockOwned, PcapError, PcapHeader};
use thiserror::Error;

use super::link_type::LinkType;

/// The longest frame that a capture can hold: libpcap's own limit.
const MAX_FRAME_BYTES: usize = 262_144;

/// What is read at a time, and the longest block of another kind that is read over.
const BUFFER_BYTES: usize = 1 << 20;
const MAX_BLOCK_BYTES: usize = 16 << 20;

const NS: u64 = 1_000_000_000;

/// One packet of a capture.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its number in the file, from 1.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// What the bytes begin with.
    pub link: LinkType,
    /// The bytes that were captured.
    pub bytes: &'a [u8],
    /// Whether the packet was longer.
    pub cut: bool,
}

/// Where a capture is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The first packet that cannot be read, from 1.
    pub packet: u64,
    /// What is wrong with it.
    pub what: String,
}

/// Why a capture cannot be read at all.
#[derive(Debug, Error)]
pub enum Unreadable {
    /// The file.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It is no capture, or one of a kind that is not known.
    #[error("{0}")]
    NotACapture(String),
}

/// Reads the capture `path`: `read` is told how many bytes of the file are behind, `visit` gets each packet. Gives the
/// place where it is damaged, if it is: what comes before that has been visited.
///
/// # Errors
/// The file cannot be read or is no capture; or `visit` failed.
pub fn read(
    path: &Path,
    read: impl FnMut(u64),
    visit: impl FnMut(Record<'_>) -> io::Result<()>,
) -> Result<Option<Damage>, Unreadable> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(Unreadable::Io(io::ErrorKind::IsADirectory.into()));
    }
    read_from(file, read, visit)
}

fn read_from(
    file: impl Read + Send,
    mut read: impl FnMut(u64),
    mut visit: impl FnMut(Record<'_>) -> io::Result<()>,
) -> Result<Option<Damage>, Unreadable> {
    let mut reader = pcap_parser::create_reader(BUFFER_BYTES, file).map_err(|error| {
        Unreadable::NotACapture(match error {
            PcapError::Eof => "the file is empty".to_owned(),
            PcapError::ReadError => "the file cannot be read".to_owned(),
            PcapError::Incomplete(_) => "the file ends within its header".to_owned(),
            _ => "this is no capture: neither pcap nor pcapng".to_owned(),
        })
    })?;
    let mut format = Format::default();
    let mut number = 0;
    let damage = |packet: u64, what: &str| Ok(Some(Damage { packet, what: what.to_owned() }));
    loop {
        match reader.next() {
            Ok((len, block)) => {
                match format.packet(&block) {
                    Ok(None) => {}
                    Ok(Some(packet)) => {
                        number += 1;
                        let Packet { time_ns, link, bytes, cut } = packet;
                        if bytes.len() > MAX_FRAME_BYTES {
                            return damage(number, &format!("a packet of {} bytes", bytes.len()));
                        }
                        visit(Record { number, time_ns, link, bytes, cut })?;
                    }
                    Err(what) if number == 0 => return Err(Unreadable::NotACapture(what)),
                    Err(what) => return damage(number + 1, &what),
                }
                reader.consume(len);
                read(reader.consumed() as u64);
            }
            Err(PcapError::Eof) => return Ok(None),
            Err(PcapError::Incomplete(_)) => {
                if reader.refill().is_err() {
                    return damage(number + 1, "the file cannot be read");
                }
            }
            Err(PcapError::BufferTooSmall) => {
                let room = reader.data().len().max(BUFFER_BYTES) * 2;
                if room > MAX_BLOCK_BYTES || !reader.grow(room) || reader.refill().is_err() {
                    return damage(number + 1, "its length is beyond reason");
                }
            }
            Err(PcapError::UnexpectedEof) => return damage(number + 1, "the file ends within it"),
            Err(_) => return damage(number + 1, "its header contradicts itself"),
        }
    }
}

/// A packet in a block.
struct Packet<'a> {
    time_ns: u64,
    link: LinkType,
    bytes: &'a [u8],
    cut: bool,
}

/// What the blocks before say about the packets behind them.
#[derive(Default)]
struct Format {
    /// Each interface of the section; a pcap has one.
    interfaces: Vec<Interface>,
    big_endian: bool,
    /// For packets without a stamp.
    last_time_ns: u64,
}

#[derive(Clone, Copy)]
struct Interface {
    link: Result<LinkType, u32>,
    /// Units in a second.
    resolution: u64,
    offset_s: i64,
    snap_bytes: u32,
}

impl Format {
    /// The packet in a block, if it has one; else remembers what the block says. Fails with a text where it makes no
    /// sense.
    fn packet<'a>(&mut self, block: &'a PcapBlockOwned<'_>) -> Result<Option<Packet<'a>>, String> {
        match block {
            PcapBlockOwned::LegacyHeader(header) => {
                let interface = Interface::of_pcap(header);
                interface.link().map(|_| self.interfaces = vec![interface])?;
                Ok(None)
            }
            PcapBlockOwned::Legacy(packet) => {
                let interface = self.interface(0)?;
                let units = u64::from(packet.ts_sec) * interface.resolution + u64::from(packet.ts_usec);
                self.found(interface, Some(units), packet.data, packet.origlen).map(Some)
            }
            PcapBlockOwned::NG(Block::SectionHeader(section)) => {
                self.big_endian = section.big_endian();
                self.interfaces.clear();
                Ok(None)
            }
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                self.interfaces.push(Interface::of_pcapng(interface, self.big_endian)?);
                Ok(None)
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let interface = self.interface(packet.if_id)?;
                let units = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let bytes = packet.data.get(..packet.caplen as usize).unwrap_or(packet.data);
                self.found(interface, Some(units), bytes, packet.origlen).map(Some)
            }
            PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                let interface = self.interface(0)?;
                let snap_bytes = if interface.snap_bytes == 0 { u32::MAX } else { interface.snap_bytes };
                let len = packet.origlen.min(snap_bytes) as usize;
                let bytes = packet.data.get(..len).unwrap_or(packet.data);
                self.found(interface, None, bytes, packet.origlen).map(Some)
            }
            PcapBlockOwned::NG(_) => Ok(None),
        }
    }

    fn interface(&self, number: u32) -> Result<Interface, String> {
        self.interfaces
            .get(number as usize)
            .copied()
            .ok_or_else(|| format!("it is of interface {number}, which the file does not describe"))
    }

    fn found<'a>(
        &mut self,
        interface: Interface,
        units: Option<u64>,
        bytes: &'a [u8],
        original_len: u32,
    ) -> Result<Packet<'a>, String> {
        let time_ns = units.map_or(self.last_time_ns, |units| interface.time_ns(units));
        self.last_time_ns = time_ns;
        let cut = (original_len as usize) > bytes.len();
        Ok(Packet { time_ns, link: interface.link()?, bytes, cut })
    }
}

impl Interface {
    fn of_pcap(header: &PcapHeader) -> Self {
        Self {
            // The upper bits tell about the frame check sequence.
            link: LinkType::of(header.network.0 as u32 & 0xffff, header.is_bigendian()),
            resolution: if header.is_nanosecond_precision() { NS } else { 1_000_000 },
            offset_s: 0,
            snap_bytes: header.snaplen,
        }
    }

    fn of_pcapng(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Result<Self, String> {
        let exponent = u32::from(block.if_tsresol & 0x7f);
        let resolution = match block.if_tsresol & 0x80 {
            0 => 10_u64.checked_pow(exponent),
            _ => 1_u64.checked_shl(exponent),
        };
        let offset = block.options.iter().find(|option| option.code == OptionCode::IfTsoffset);
        let offset = offset.and_then(|option| option.value.first_chunk().copied());
        Ok(Self {
            link: LinkType::of(block.linktype.0 as u32 & 0xffff, big_endian),
            resolution: resolution.ok_or_else(|| format!("stamps of 1/10^{exponent} seconds"))?,
            offset_s: offset.map_or(0, if big_endian { i64::from_be_bytes } else { i64::from_le_bytes }),
            snap_bytes: block.snaplen,
        })
    }

    fn link(self) -> Result<LinkType, String> {
        self.link.map_err(|number| format!("link type {number} is not known"))
    }

    /// Nanoseconds since 1970, at least 0, at most what 64 bits hold.
    fn time_ns(self, units: u64) -> u64 {
        let ns = u128::from(units) * u128::from(NS) / u128::from(self.resolution);
        let ns = i128::try_from(ns).unwrap_or(i128::MAX);
        let ns = ns.saturating_add(i128::from(self.offset_s) * i128::from(NS));
        u64::try_from(ns.max(0)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCAP: [&[u8]; 3] = [
        &[0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0],
        &[5, 0, 0, 0, 6, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 7, 8, 9],
        &[5, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 7, 8],
    ];

    /// A section, an interface with stamps of 2^-10 seconds from 100 s before 1970 on, a packet, a simple packet.
    const PCAPNG: [&[u8]; 4] = [
        &[
            10, 13, 13, 10, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255,
            255, 255, 28, 0, 0, 0,
        ],
        &[
            1, 0, 0, 0, 44, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 9, 0, 1, 0, 0x8a, 0, 0, 0, 14, 0, 8, 0, 156,
            255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 44, 0, 0, 0,
        ],
        &[
            6, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x94, 1, 0, 3, 0, 0, 0, 3, 0, 0, 0, 7, 8, 9,
            0, 36, 0, 0, 0,
        ],
        &[3, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 7, 8, 9, 0, 20, 0, 0, 0],
    ];

    type Packets = Vec<(u64, u64, Vec<u8>, bool)>;

    fn packets(file: &[u8]) -> (Packets, Result<Option<Damage>, Unreadable>) {
        let mut packets = Vec::new();
        let read = read_from(
            file,
            |_| (),
            |record| {
                packets.push((record.number, record.time_ns, record.bytes.to_vec(), record.cut));
                Ok(())
            },
        );
        (packets, read)
    }

    #[test]
    fn stamps_and_lengths_are_read() {
        let (found, read) = packets(&PCAP.concat());
        assert_eq!(found, [(1, 5 * NS + 6, vec![7, 8, 9], false), (2, 5 * NS + 7, vec![7, 8], true)]);
        assert!(matches!(read, Ok(None)));

        let (found, read) = packets(&PCAPNG.concat());
        let time_ns = 0x19400 * NS / 1024 - 100 * NS;
        assert_eq!(found, [(1, time_ns, vec![7, 8, 9], false), (2, time_ns, vec![7, 8], true)]);
        assert!(matches!(read, Ok(None)));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let mut random = 1_u64;
        let mut next = || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize
        };
        let mut damaged = 0;
        for whole in [PCAP.concat(), PCAPNG.concat()] {
            for _ in 0..400 {
                let mut file = whole.clone();
                for _ in 0..=next() % 3 {
                    let at = next() % file.len();
                    file[at] = [0, 1, 0x7f, 0x80, 0xff, next() as u8][next() % 6];
                }
                file.truncate(file.len() - next() % 2 * (next() % 8));
                let (found, read) = packets(&file);
                assert!(found.len() <= 2 && found.iter().zip(1..).all(|(packet, number)| packet.0 == number));
                damaged += u32::from(!matches!(read, Ok(None)));
            }
        }
        assert!(damaged > 100);
    }
}
