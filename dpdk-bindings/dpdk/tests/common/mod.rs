//! What the tests of this crate share: EAL, and captures written and read byte by byte.

#![allow(dead_code, reason = "each test uses its part")]

use std::fs;
use std::path::{Path, PathBuf};

use dpdk::{Eal, EalOptions};

/// EAL on ordinary pages, as any user may start it.
pub fn eal() -> Eal {
    Eal::init(&EalOptions { huge_pages: false, ..EalOptions::default() }).expect("EAL starts")
}

/// A folder that goes away with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dpdk-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Writes a capture: the classic format, Ethernet, little-endian, no times.
pub fn write_capture(path: &Path, packets: &[Vec<u8>]) {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65_535, 1] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let len = packet.len() as u32;
        for word in [0, 0, len, len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(packet);
    }
    fs::write(path, file).unwrap();
}

/// The packets of a capture in the classic format, written on this machine (in micro- or nanoseconds).
pub fn read_capture(path: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(path).unwrap();
    let mut rest = &file[24..];
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let (header, body) = rest.split_at(16);
        let len = u32::from_le_bytes(header[8..12].try_into().unwrap()) as usize;
        packets.push(body[..len].to_vec());
        rest = &body[len..];
    }
    packets
}

/// `len` bytes that tell their place and `seed`.
pub fn frame(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ seed).collect()
}
