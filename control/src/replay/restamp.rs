//! The outputs: what net_pcap has written, with the stamps of capture time.

use std::io::{self, Read, Write};

use dpdk::pcap::{HEADER_BYTES, RECORD_BYTES, SNAP_BYTES, write_header, write_packet};

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
