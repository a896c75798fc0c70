//! A capture file (draft-ietf-opsawg-pcapng): a section with an interface for each of the box's, stamps in nanoseconds, and of each
//! packet which way it went and what was decided about it.

use std::borrow::Cow;
use std::io::{self, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pcap_parser::{
    EnhancedPacketBlock, InterfaceDescriptionBlock, InterfaceStatisticsBlock, Linktype, OptionCode,
    PcapNGOption, SectionHeaderBlock, ToVec,
};

use crate::socket::protocol::CapturedPacket;

/// `epb_flags`: which way a packet went.
const FLAGS: OptionCode = OptionCode(2);
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// `if_tsresol`: stamps in units of 10^-9 seconds.
const NANOSECONDS: u8 = 9;

/// A capture file in the making.
pub(super) struct CaptureFile<W> {
    out: W,
    snap_bytes: u32,
    /// By their numbers in the file.
    interfaces: Vec<Interface>,
}

struct Interface {
    name: String,
    packets: u64,
    last_ns: u64,
}

impl<W: Write> CaptureFile<W> {
    /// Begins one, whose packets have so many bytes at most; 0 stands for no limit.
    pub(super) fn begin(mut out: W, snap_bytes: u32) -> io::Result<Self> {
        let program = concat!("sluice ", env!("CARGO_PKG_VERSION"));
        let mut section = SectionHeaderBlock {
            block_type: 0,
            block_len1: 0,
            bom: 0,
            major_version: 0,
            minor_version: 0,
            section_len: -1,
            options: vec![option(OptionCode::ShbUserAppl, program.as_bytes())],
            block_len2: 0,
        };
        write(&mut out, &mut section)?;
        Ok(Self { out, snap_bytes, interfaces: Vec::new() })
    }

    /// Adds a packet.
    pub(super) fn add(&mut self, packet: &CapturedPacket) -> io::Result<()> {
        let CapturedPacket { time_ns, interface, sent, len, bytes, comment } = packet;
        let data = BASE64_STANDARD.decode(bytes).map_err(io::Error::other)?;
        let number = self.interface(interface)?;
        if let Some(interface) = self.interfaces.get_mut(number) {
            interface.packets += 1;
            interface.last_ns = *time_ns;
        }
        let flags = if *sent { OUTBOUND } else { INBOUND }.to_le_bytes();
        let (ts_high, ts_low) = halves(*time_ns);
        let mut block = EnhancedPacketBlock {
            block_type: 0,
            block_len1: 0,
            if_id: number as u32,
            ts_high,
            ts_low,
            caplen: data.len() as u32,
            origlen: *len,
            data: &data,
            options: vec![option(OptionCode::Comment, comment.as_bytes()), option(FLAGS, &flags)],
            block_len2: 0,
        };
        write(&mut self.out, &mut block)
    }

    /// The number of an interface, which is described before its first packet.
    fn interface(&mut self, name: &str) -> io::Result<usize> {
        if let Some(number) = self.interfaces.iter().position(|interface| interface.name == name) {
            return Ok(number);
        }
        let mut block = InterfaceDescriptionBlock {
            block_type: 0,
            block_len1: 0,
            linktype: Linktype::ETHERNET,
            reserved: 0,
            snaplen: self.snap_bytes,
            options: vec![
                option(OptionCode::IfName, name.as_bytes()),
                option(OptionCode::IfTsresol, &[NANOSECONDS]),
            ],
            block_len2: 0,
            if_tsresol: NANOSECONDS,
            if_tsoffset: 0,
        };
        write(&mut self.out, &mut block)?;
        self.interfaces.push(Interface { name: name.to_owned(), packets: 0, last_ns: 0 });
        Ok(self.interfaces.len() - 1)
    }

    /// Writes out what there is so far.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// Ends it with the statistics of each interface. Nobody knows at which of several interfaces packets were lost: their sum is with
    /// the only one, or said in a comment.
    pub(super) fn end(mut self, lost: u64) -> io::Result<()> {
        let comment = format!("{lost} packets of all interfaces together were lost");
        let is_only = self.interfaces.len() == 1;
        for (number, interface) in (0..).zip(&self.interfaces) {
            let (packets, lost_bytes) = (interface.packets.to_le_bytes(), lost.to_le_bytes());
            let lost = match is_only {
                true => option(OptionCode::IsbIfDrop, &lost_bytes),
                false => option(OptionCode::Comment, comment.as_bytes()),
            };
            let (ts_high, ts_low) = halves(interface.last_ns);
            let mut block = InterfaceStatisticsBlock {
                block_type: 0,
                block_len1: 0,
                if_id: number,
                ts_high,
                ts_low,
                options: vec![option(OptionCode::IsbUsrDeliv, &packets), lost],
                block_len2: 0,
            };
            write(&mut self.out, &mut block)?;
        }
        self.out.flush()
    }
}

/// A value, which the crate pads.
fn option(code: OptionCode, value: &[u8]) -> PcapNGOption<'_> {
    let value = value.get(..u16::MAX.into()).unwrap_or(value);
    PcapNGOption { code, len: value.len() as u16, value: Cow::Borrowed(value) }
}

/// The crate fills in types, versions and lengths.
fn write(out: &mut impl Write, block: &mut impl ToVec) -> io::Result<()> {
    let bytes = block.to_vec().map_err(|error| io::Error::other(format!("a block: {error:?}")))?;
    out.write_all(&bytes)
}

const fn halves(time_ns: u64) -> (u32, u32) {
    ((time_ns >> 32) as u32, time_ns as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcap_parser::pcapng::Block;
    use pcap_parser::traits::PcapNGPacketBlock as _;
    use pcap_parser::{PcapBlockOwned, PcapNGSlice};

    fn packet(interface: &str, sent: bool, time_ns: u64, bytes: &[u8]) -> CapturedPacket {
        CapturedPacket {
            time_ns,
            interface: interface.to_owned(),
            sent,
            len: 1500,
            bytes: BASE64_STANDARD.encode(bytes),
            comment: format!("accept, {interface}"),
        }
    }

    /// A line for each block, as it is read back.
    fn blocks(file: &[u8]) -> Vec<String> {
        let text = |option: &PcapNGOption<'_>| format!("{}={:?}", option.code.0, option.as_bytes().unwrap());
        let options = |list: &[PcapNGOption<'_>]| list.iter().map(text).collect::<Vec<_>>().join(" ");
        let line = |block: PcapBlockOwned<'_>| match block {
            PcapBlockOwned::NG(Block::SectionHeader(_)) => "section".to_owned(),
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                format!("interface {:?} resolution {}", interface.if_name(), interface.if_tsresol)
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                let time_ns = u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low);
                let (interface, data) = (packet.if_id, packet.packet_data());
                let all = options(&packet.options);
                format!("packet {interface} {time_ns} {data:?} of {} {all}", packet.origlen)
            }
            PcapBlockOwned::NG(Block::InterfaceStatistics(interface)) => {
                format!("statistics {} {}", interface.if_id, options(&interface.options))
            }
            _ => panic!("a block of another kind"),
        };
        PcapNGSlice::from_slice(file).unwrap().map(|block| line(block.unwrap())).collect()
    }

    fn file(packets: &[CapturedPacket], lost: u64) -> Vec<u8> {
        let mut out = Vec::new();
        let mut file = CaptureFile::begin(&mut out, 96).unwrap();
        packets.iter().for_each(|packet| file.add(packet).unwrap());
        file.end(lost).unwrap();
        out
    }

    #[test]
    fn what_is_written_is_read_back() {
        let later = 5 << 32 | 7;
        let both = [packet("inside", false, 3, &[1, 2, 3]), packet("wan", true, later, &[4; 4])];
        let read = blocks(&file(&both, 2));
        let comment = |name: &str| format!("1={:?}", format!("accept, {name}").as_bytes());
        let expected = [
            "section".to_owned(),
            r#"interface Some(Ok("inside")) resolution 9"#.to_owned(),
            format!("packet 0 3 [1, 2, 3] of 1500 {} 2=[1, 0, 0, 0] 0=[]", comment("inside")),
            r#"interface Some(Ok("wan")) resolution 9"#.to_owned(),
            format!("packet 1 {later} [4, 4, 4, 4] of 1500 {} 2=[2, 0, 0, 0] 0=[]", comment("wan")),
        ];
        assert_eq!(read[..5], expected);
        let lost = format!("{:?}", b"2 packets of all interfaces together were lost");
        assert_eq!(
            read[5..],
            [0, 1].map(|number| { format!("statistics {number} 8=[1, 0, 0, 0, 0, 0, 0, 0] 1={lost} 0=[]") })
        );
    }

    #[test]
    fn what_one_interface_has_lost_is_in_its_statistics() {
        let read = blocks(&file(&[packet("wan", false, 1, &[])], 3));
        assert_eq!(read[3], "statistics 0 8=[1, 0, 0, 0, 0, 0, 0, 0] 5=[3, 0, 0, 0, 0, 0, 0, 0] 0=[]");
        assert_eq!(blocks(&file(&[], 0)), ["section"]);
    }
}
