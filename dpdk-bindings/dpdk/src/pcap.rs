//! Captures as net_pcap is fed with: classic pcap, nanoseconds, little-endian, Ethernet (pcap-savefile(5)).

use std::io::{self, Write};

/// Bytes of the file header.
pub const HEADER_BYTES: usize = 24;

/// Bytes in front of each packet: seconds, fraction, captured and original length.
pub const RECORD_BYTES: usize = 16;

/// As libpcap writes it now: no packet is longer.
pub const SNAP_BYTES: u32 = 262_144;

/// Writes the header of a capture.
///
/// # Errors
/// Those of writing.
pub fn write_header(out: &mut impl Write) -> io::Result<()> {
    for word in [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, SNAP_BYTES, 1] {
        out.write_all(&u32::to_le_bytes(word))?;
    }
    Ok(())
}

/// Writes one packet, with its time since 1970.
///
/// # Errors
/// Those of writing.
pub fn write_packet(out: &mut impl Write, time_ns: u64, frame: &[u8]) -> io::Result<()> {
    let len = frame.len() as u32;
    let [seconds, nanoseconds] = stamp(time_ns);
    for word in [seconds, nanoseconds, len, len] {
        out.write_all(&word.to_le_bytes())?;
    }
    out.write_all(frame)
}

/// Seconds, which wrap in 2106, and nanoseconds.
const fn stamp(time_ns: u64) -> [u32; 2] {
    const NS: u64 = 1_000_000_000;
    [(time_ns / NS) as u32, (time_ns % NS) as u32]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_a_header_and_records() {
        let mut capture = Vec::new();
        write_header(&mut capture).unwrap();
        write_packet(&mut capture, 1, &[0x11; 60]).unwrap();
        write_packet(&mut capture, 2_000_000_003, &[0x22; 60]).unwrap();
        assert_eq!(capture.len(), HEADER_BYTES + 2 * (RECORD_BYTES + 60));
        assert_eq!(capture[..8], [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0]);
        let second = &capture[HEADER_BYTES + RECORD_BYTES + 60..];
        assert_eq!(second[..RECORD_BYTES], [2, 0, 0, 0, 3, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0]);
        assert_eq!(second[RECORD_BYTES..], [0x22; 60]);
    }
}
