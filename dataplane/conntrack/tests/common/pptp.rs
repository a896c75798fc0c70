//! Messages of PPTP (RFC 2637 section 2), and packets of its calls.

use super::frame::{Packet, Pair};
use std::net::IpAddr;

/// A control message of so many bytes, with these words behind its header.
pub fn message(kind: u16, bytes: u16, words: &[u16]) -> Vec<u8> {
    let header = [bytes, 1, 0x1a2b, 0x3c4d, kind, 0];
    let mut message: Vec<u8> = header.iter().chain(words).flat_map(|word| word.to_be_bytes()).collect();
    message.resize(usize::from(bytes), 0);
    message
}

const GRANTED: u16 = 0x0100;

pub fn start() -> Vec<u8> {
    message(1, 156, &[0x0100])
}

pub fn started() -> Vec<u8> {
    message(2, 156, &[0x0100, GRANTED])
}

pub fn out_call(id: u16) -> Vec<u8> {
    message(7, 168, &[id, 1])
}

pub fn out_granted(id: u16, peer: u16) -> Vec<u8> {
    message(8, 32, &[id, peer, GRANTED])
}

pub fn in_call(id: u16) -> Vec<u8> {
    message(9, 220, &[id, 1])
}

pub fn in_granted(id: u16, peer: u16) -> Vec<u8> {
    message(10, 24, &[id, peer, GRANTED])
}

pub fn in_connected(peer: u16) -> Vec<u8> {
    message(11, 28, &[peer])
}

pub fn clear(id: u16) -> Vec<u8> {
    message(12, 16, &[id])
}

pub fn disconnected(id: u16) -> Vec<u8> {
    message(13, 148, &[id, GRANTED])
}

pub fn link_info(peer: u16) -> Vec<u8> {
    message(15, 24, &[peer])
}

/// The id in a message: its sender's, or that of its receiver where it says one alone.
pub fn id(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[12], message[13]])
}

/// The id of the receiver in a reply.
pub fn peer(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[14], message[15]])
}

/// A packet of the call to which its receiver gave this id.
pub fn gre(from: &str, to: &str, id: u16) -> Packet {
    let [source, destination] = [from, to].map(|address| (address.parse::<IpAddr>().unwrap(), 0).into());
    let [high, low] = id.to_be_bytes();
    let l4 = vec![0x30, 1, 0x88, 0x0b, 0, 3, high, low, 0, 0, 0, 1, b'p', b'p', b'p'];
    Pair { source, destination }.packet(47, l4, None)
}
