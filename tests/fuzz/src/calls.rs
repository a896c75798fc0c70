//! What is said in sessions of PPTP (RFC 2637).

use crate::talk::{Announcing, Talk};
use sluice_conntrack::helpers::HelperId;

/// A control message of so many bytes, with these words behind its header.
const fn message<const N: usize, const WORDS: usize>(kind: u16, words: [u16; WORDS]) -> [u8; N] {
    let header = [N as u16, 1, 0x1a2b, 0x3c4d, kind, 0];
    let mut message = [0; N];
    let mut index = 0;
    while index < header.len() + WORDS {
        let word = if index < header.len() { header[index] } else { words[index - header.len()] };
        [message[2 * index], message[2 * index + 1]] = word.to_be_bytes();
        index += 1;
    }
    message
}

const GRANTED: u16 = 0x0100;

/// The same of either end: who asks for calls is not fixed.
const START: &[u8] = &message::<156, 1>(1, [0x0100]);
const STARTED: &[u8] = &message::<156, 2>(2, [0x0100, GRANTED]);
const STOP: &[u8] = &message::<16, 1>(3, [GRANTED]);
const OUT_CALL: &[u8] = &message::<168, 1>(7, [5]);
const IN_CALL: &[u8] = &message::<220, 1>(9, [9]);
const CLEAR: &[u8] = &message::<16, 1>(12, [5]);
const DISCONNECTED: &[u8] = &message::<148, 1>(13, [9]);
const LINK_INFO: &[u8] = &message::<24, 1>(15, [9]);
const ECHO: &[u8] = &message::<16, 2>(5, [0, 7]);

pub(crate) const PPTP: Talk = Talk {
    helper: HelperId::Pptp,
    lines: [
        [
            START,
            OUT_CALL,
            &message::<168, 1>(7, [6]),
            &message::<24, 3>(10, [5, 9, GRANTED]),
            &message::<32, 3>(8, [5, 9, GRANTED]),
            CLEAR,
            DISCONNECTED,
            LINK_INFO,
            STOP,
            ECHO,
            STARTED,
            b"GET / HTTP/1.1\r\n\r\n",
            &message::<12, 0>(7, []),
            &message::<16, 2>(99, [5, 9]),
            b"\x02\x01\0\x01\x1a\x2b\x3c\x4d\0\x07\0\0",
            b"\0",
        ],
        [
            STARTED,
            // The client's id as it is, and as a masqueraded client's is known outside.
            &message::<32, 3>(8, [9, 5, GRANTED]),
            &message::<32, 3>(8, [9, 40000, GRANTED]),
            &message::<32, 3>(8, [10, 6, GRANTED]),
            IN_CALL,
            &message::<28, 1>(11, [5]),
            DISCONNECTED,
            &message::<148, 1>(13, [40000]),
            &message::<24, 1>(15, [40000]),
            &message::<40, 1>(14, [5]),
            &message::<32, 3>(8, [9, 5, 0x0400]),
            STOP,
            ECHO,
            OUT_CALL,
            &message::<31, 3>(8, [9, 5, GRANTED]),
            b"\0\x20\0\x01\x1a\x2b\x3c\x4e\0\x08\0\0",
        ],
    ],
    announcing: Announcing::Bytes([Some((b"\x1a\x2b\x3c\x4d\0", 15)), Some((b"\x1a\x2b\x3c\x4d\0", 15))]),
};
