//! Captures as they are written here: classic pcap, nanoseconds, little-endian, Ethernet.

use std::io::{self, Read, Write};

/// Bytes of the file header.
const HEADER_BYTES: usize = 24;
/// Bytes in front of each packet: seconds, fraction, captured and original length.
const RECORD_BYTES: usize = 16;

/// As libpcap writes it now: no packet is longer.
const SNAP_BYTES: u32 = 262_144;

/// Writes the header of a capture.
pub fn write_header(out: &mut impl Write) -> io::Result<()> {
    for word in [0xa1b2_3c4d, 4 << 16 | 2, 0, 0, SNAP_BYTES, 1] {
        out.write_all(&u32::to_le_bytes(word))?;
    }
    Ok(())
}

/// Writes one packet.
pub fn write_packet(out: &mut impl Write, time_ns: u64, frame: &[u8]) -> io::Result<()> {
    let len = frame.len() as u32;
    let [seconds, nanoseconds] = stamp(time_ns);
    for word in [seconds, nanoseconds, len, len] {
        out.write_all(&word.to_le_bytes())?;
    }
    out.write_all(frame)
}

/// Copies a capture that net_pcap has written, in this machine's byte order, and gives its packets the stamps of
/// `times_ns`.
///
/// # Errors
/// There are not as many packets as stamps, or one is not whole: the disk was full.
pub fn restamp(input: &mut impl Read, times_ns: &[u64], out: &mut impl Write) -> io::Result<()> {
    let mut header = [0; HEADER_BYTES];
    input.read_exact(&mut header)?;
    write_header(out)?;
    let mut frame = Vec::new();
    for time_ns in times_ns {
        let mut record = [0; RECORD_BYTES];
        input.read_exact(&mut record)?;
        let word =
            |at: usize| u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
        let (captured, original) = (word(8), word(12));
        if captured != original || captured > SNAP_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "net_pcap has cut a packet"));
        }
        frame.resize(captured as usize, 0);
        input.read_exact(&mut frame)?;
        write_packet(out, *time_ns, &frame)?;
    }
    match input.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "net_pcap has written more than was sent")),
    }
}

/// Seconds, which wrap in 2106, and nanoseconds.
const fn stamp(time_ns: u64) -> [u32; 2] {
    const NS: u64 = 1_000_000_000;
    [(time_ns / NS) as u32, (time_ns % NS) as u32]
}
