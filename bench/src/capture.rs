//! Classic pcap files (microsecond stamps, Ethernet, little-endian) written as a stream.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::connection::{FRAME_BYTES, Frame};

/// When captures begin: 2026-01-01, in seconds since 1970.
const BEGIN_S: u32 = 1_767_225_600;
/// Enough for anything; the frames are smaller.
const SNAPLEN_BYTES: u32 = 65_535;
const LINKTYPE_ETHERNET: u32 = 1;

/// A capture being written, one frame each microsecond.
pub struct CaptureWriter<W: Write> {
    to: W,
    packets: u32,
}

impl CaptureWriter<BufWriter<File>> {
    /// Begins the capture `path`, in place of what was there.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::new(BufWriter::with_capacity(1 << 20, File::create(path)?))
    }
}

impl<W: Write> CaptureWriter<W> {
    /// Begins a capture.
    pub fn new(mut to: W) -> io::Result<Self> {
        to.write_all(&0xa1b2_c3d4_u32.to_le_bytes())?;
        to.write_all(&2_u16.to_le_bytes())?;
        to.write_all(&4_u16.to_le_bytes())?;
        to.write_all(&[0; 8])?; // time zone and accuracy, unused
        to.write_all(&SNAPLEN_BYTES.to_le_bytes())?;
        to.write_all(&LINKTYPE_ETHERNET.to_le_bytes())?;
        Ok(CaptureWriter { to, packets: 0 })
    }

    /// Appends a frame.
    pub fn write(&mut self, frame: &Frame) -> io::Result<()> {
        let fields = [
            BEGIN_S + self.packets / 1_000_000,
            self.packets % 1_000_000,
            FRAME_BYTES as u32, // captured
            FRAME_BYTES as u32, // on the wire
        ];
        for field in fields {
            self.to.write_all(&field.to_le_bytes())?;
        }
        self.to.write_all(frame)?;
        self.packets += 1;
        Ok(())
    }

    /// Ends the capture; returns how many packets it has and where it went.
    pub fn finish(mut self) -> io::Result<(u32, W)> {
        self.to.flush()?;
        Ok((self.packets, self.to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_is_a_header_and_records() {
        let mut writer = CaptureWriter::new(Vec::new()).unwrap();
        writer.write(&[0x11; FRAME_BYTES]).unwrap();
        writer.write(&[0x22; FRAME_BYTES]).unwrap();
        let (packets, bytes) = writer.finish().unwrap();
        assert_eq!(packets, 2);
        assert_eq!(bytes.len(), 24 + 2 * (16 + FRAME_BYTES));
        assert_eq!(bytes[..8], [0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0]);
        let second = &bytes[24 + 16 + FRAME_BYTES..];
        assert_eq!(second[4..16], [1, 0, 0, 0, 60, 0, 0, 0, 60, 0, 0, 0]);
        assert_eq!(second[16..], [0x22; FRAME_BYTES]);
    }
}
