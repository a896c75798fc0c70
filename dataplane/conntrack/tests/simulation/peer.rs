//! Peers that talk TCP well enough: handshake, windows with scaling, retransmission, close.

use crate::common::{Pair, frame::Segment};

const FIN: u8 = 1;
const SYN: u8 = 2;
const ACK: u8 = 16;

const MSS: u32 = 1000;
const WINDOW: u16 = 10_000;

/// One end of a connection. Sequence numbers are kept as offsets into what it sends: its SYN is 0, its bytes
/// follow, its FIN is the last.
#[derive(Clone, Debug)]
pub struct End {
    pair: Pair,
    isn: u32,
    bytes: u32,
    scale: Option<u8>,
    /// All before is acknowledged.
    acknowledged: u32,
    /// What is sent next.
    next: u32,
    /// All before has been sent at least once.
    sent: u32,
    /// The sequence number that it waits for, once it knows.
    expected: Option<u32>,
    /// What the peer's window, when last seen, allowed to be sent.
    allowed: u32,
    /// How far the windows in the peer's segments are scaled; those of a SYN never are (RFC 7323).
    peer_scale: u8,
    peer_closed: bool,
}

impl End {
    /// The sender of `pair`, which has so many bytes to tell.
    pub fn new(pair: Pair, isn: u32, bytes: u32, scale: Option<u8>) -> Self {
        Self {
            pair,
            isn,
            bytes,
            scale,
            acknowledged: 0,
            next: 0,
            sent: 0,
            expected: None,
            allowed: 1,
            peer_scale: 0,
            peer_closed: false,
        }
    }

    /// Whether it has told everything and heard everything.
    pub fn is_done(&self) -> bool {
        self.acknowledged == self.bytes + 2 && self.peer_closed
    }

    /// Whether it has sent nothing yet.
    pub fn is_silent(&self) -> bool {
        self.sent == 0
    }

    /// What it sends at first, and again whenever it has waited too long.
    pub fn retransmit(&mut self) -> Vec<Segment> {
        self.next = self.acknowledged;
        self.send(false)
    }

    /// What it answers to a segment.
    pub fn receive(&mut self, segment: &Segment) -> Vec<Segment> {
        let syn = segment.flags & SYN != 0;
        if syn && self.expected.is_none() {
            self.expected = Some(segment.seq.wrapping_add(1));
            self.peer_scale = scale_of(&segment.options).filter(|_| self.scale.is_some()).unwrap_or(0);
        }
        let Some(expected) = self.expected else { return vec![] };
        if segment.flags & ACK != 0 {
            let offset = segment.ack.wrapping_sub(self.isn);
            let scale = if syn { 0 } else { self.peer_scale };
            if offset <= self.sent {
                let window = (u32::from(segment.window) << scale).min(30_000);
                self.allowed = self.allowed.max(offset + window);
            }
            if offset > self.acknowledged && offset <= self.sent {
                self.acknowledged = offset;
                self.next = self.next.max(offset);
            }
        }
        let fin = segment.flags & FIN != 0;
        let len = segment.payload_len as u32 + u32::from(fin);
        if len > 0 && segment.seq == expected {
            self.expected = Some(expected.wrapping_add(len));
            self.peer_closed |= fin;
        }
        self.send(syn || len > 0)
    }

    fn send(&mut self, must_answer: bool) -> Vec<Segment> {
        let mut out = vec![];
        let end = self.bytes + 2;
        while self.next < end.min(self.allowed) && (self.next == 0 || self.acknowledged > 0) {
            let segment = self.next_segment();
            self.next += len_of(&segment);
            self.sent = self.sent.max(self.next);
            out.push(segment);
        }
        if out.is_empty() && must_answer {
            out.push(self.segment(0, self.next, 0));
        }
        out
    }

    fn next_segment(&self) -> Segment {
        match self.next {
            0 => {
                let options = self.scale.map_or(vec![], |scale| vec![2, 4, 3, 232, 4, 2, 1, 3, 3, scale]);
                Segment { options, ..self.segment(SYN, 0, 0) }
            }
            at if at <= self.bytes => {
                self.segment(0, at, (self.bytes + 1 - at).min(MSS).min(self.allowed - at))
            }
            at => self.segment(FIN, at, 0),
        }
    }

    fn segment(&self, flags: u8, at: u32, len: u32) -> Segment {
        Segment {
            flags: flags | if self.expected.is_some() { ACK } else { 0 },
            seq: self.isn.wrapping_add(at),
            ack: self.expected.unwrap_or(0),
            window: WINDOW,
            options: vec![],
            payload_len: len as usize,
        }
    }

    /// From itself to its peer, as it sees that.
    pub const fn pair(&self) -> Pair {
        self.pair
    }
}

fn len_of(segment: &Segment) -> u32 {
    segment.payload_len as u32 + u32::from(segment.flags & (SYN | FIN) != 0)
}

fn scale_of(options: &[u8]) -> Option<u8> {
    options.windows(3).find(|window| window[..2] == [3, 3]).map(|window| window[2])
}
