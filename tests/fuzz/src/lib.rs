//! What the fuzz targets do with the bytes they are given: ordinary functions, so that what a fuzzer has found
//! becomes an ordinary test of the crate at fault.
#![forbid(unsafe_code)]

mod calls;
mod control;
mod datagrams;
mod dialogues;
#[path = "../../../dataplane/conntrack/tests/common/frame.rs"]
#[allow(dead_code, reason = "tests make more kinds of packets")]
mod frame;
mod h323;
mod install;
mod middlebox;
mod orders;
mod requests;
mod shard;
mod talk;

pub use datagrams::play as play_fragments;
pub use install::play as play_install;
pub use shard::play;

use sluice_conntrack::headers::PacketKind;
use sluice_conntrack::{Frame, PortId, wire};

/// A connection that a helper reads: bits of the first byte say whether that is a control connection, requests or a dialogue.
pub fn play_helpers(bytes: &[u8]) {
    match bytes.first() {
        Some(choice) if choice & dialogues::CHOICE != 0 => dialogues::play(bytes),
        Some(choice) if choice & requests::CHOICE != 0 => requests::play(bytes),
        _ => control::play(bytes),
    }
}

/// A frame in two segments.
#[derive(Clone, Debug)]
pub struct Segments {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Segments {
    /// The frame behind the first byte, which says after how many bytes the second segment begins.
    pub fn of(bytes: &[u8]) -> Self {
        let (cut, bytes) = bytes.split_first().unwrap_or((&0, &[]));
        let cut = if *cut == 0 { bytes.len() } else { usize::from(*cut).min(bytes.len()) };
        Self { head: bytes[..cut].to_vec(), tail: bytes[cut..].to_vec() }
    }
}

impl Frame for Segments {
    fn port(&self) -> PortId {
        PortId(0)
    }

    fn head(&self) -> &[u8] {
        &self.head
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.head
    }

    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.tail.as_slice())
    }
}

/// Parses a frame, and checks that what the headers claim to be there is there.
pub fn parse(frame: &mut Segments) {
    let Ok(headers) = wire::parse(frame) else { return };
    if headers.kind == PacketKind::NotIp {
        return;
    }
    let l3 = usize::from(headers.l3_offset);
    assert!(usize::from(headers.l4_offset) >= l3 + 20, "an IP header is at least that long");
    assert!(l3 + headers.l3_len as usize <= frame.len_bytes(), "a datagram ends within its frame");
    assert!(headers.l4_len <= headers.l3_len);
    if headers.kind == PacketKind::Tracked {
        assert_eq!(headers.tuple.protocol(), headers.protocol);
        assert_eq!(headers.tuple.invert().invert(), headers.tuple);
        wire::verify_checksum(frame, &headers);
    }
}
