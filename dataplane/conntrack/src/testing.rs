//! What tests of several modules share: TCP segments built from parts.

use crate::headers::{Headers, Packet, PacketKind};
use crate::tuple::{Tuple, protocol};
use crate::wire::tcp::HEADER_BYTES;

/// A TCP segment from client to server or back; ports and addresses do not matter to it.
#[derive(Clone, Debug)]
pub struct Segment {
    flags: u8,
    seq: u32,
    ack: u32,
    window: u16,
    options: Vec<u8>,
    payload_len: usize,
}

/// A segment with the flags of these letters (of `FSRPAUEC`), a window of 10000 and nothing else.
pub fn segment(flags: &str, seq: u32, ack: u32) -> Segment {
    let flags = flags.chars().filter_map(|c| "FSRPAUEC".find(c)).fold(0, |all, bit| all | 1 << bit);
    Segment { flags, seq, ack, window: 10_000, options: vec![], payload_len: 0 }
}

impl Segment {
    /// The same with this window.
    pub fn window(self, window: u16) -> Self {
        Self { window, ..self }
    }

    /// The same with these options, padded to whole words.
    pub fn options(self, options: &[u8]) -> Self {
        let mut options = options.to_vec();
        options.resize(options.len().next_multiple_of(4), 0);
        Self { options, ..self }
    }

    /// The same with so many bytes of payload.
    pub fn payload(self, payload_len: usize) -> Self {
        Self { payload_len, ..self }
    }

    /// Hands it to `f` as a parsed packet.
    pub fn as_packet<T>(&self, f: impl FnOnce(Packet<'_>) -> T) -> T {
        let mut head = vec![0; HEADER_BYTES];
        head[4..8].copy_from_slice(&self.seq.to_be_bytes());
        head[8..12].copy_from_slice(&self.ack.to_be_bytes());
        head[12] = (((HEADER_BYTES + self.options.len()) / 4) << 4) as u8;
        head[13] = self.flags;
        head[14..16].copy_from_slice(&self.window.to_be_bytes());
        head.extend_from_slice(&self.options);
        head.resize(head.len() + self.payload_len, 0);
        let headers = Headers {
            tuple: Tuple::new([10, 0, 0, 2].into(), [198, 51, 100, 2].into(), protocol::TCP, 0, 0),
            kind: PacketKind::Tracked,
            l4_len: head.len() as u32,
            l3_len: head.len() as u32,
            protocol: protocol::TCP,
            ..Headers::default()
        };
        f(Packet { headers: &headers, head: &head })
    }
}
