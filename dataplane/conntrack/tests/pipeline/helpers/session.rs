//! A control connection through the box: two ends that count what they send and get, each in its own numbers.

use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::settings::Preset;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Verdict, wire};

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Client,
    Server,
}

pub use End::{Client, Server};

impl End {
    const fn peer(self) -> Self {
        match self {
            Client => Server,
            Server => Client,
        }
    }
}

/// What became of a segment.
#[derive(Clone, Debug)]
pub struct Segment {
    pub verdict: Verdict,
    pub seq: u32,
    pub ack: u32,
    pub options: Vec<u8>,
    pub text: String,
    pub frame: Vec<u8>,
}

impl Segment {
    /// What it says, where that is no text.
    pub fn bytes(&self) -> Vec<u8> {
        self.text.chars().map(|byte| byte as u8).collect()
    }

    /// The reason for which it was dropped.
    pub fn drop(&self) -> Option<DropReason> {
        self.verdict.drop_reason()
    }

    #[track_caller]
    fn read(verdict: Verdict, port: PortId, frame: Vec<u8>) -> Self {
        let frame = (port, frame);
        let headers = wire::parse(&frame).expect("its IP header is right");
        assert!(wire::verify_checksum(&frame, &headers), "its TCP checksum is right");
        let l4 = &frame.1[usize::from(headers.l4_offset)..][..headers.l4_len as usize];
        let number = |at: usize| u32::from_be_bytes(*l4[at..].first_chunk().unwrap());
        let (options, text) = l4[20..].split_at(usize::from(l4[12] >> 4) * 4 - 20);
        let text = text.iter().map(|byte| char::from(*byte)).collect();
        Self { verdict, seq: number(4), ack: number(8), options: options.to_vec(), text, frame: frame.1 }
    }
}

/// The connection.
#[derive(Debug)]
pub struct Session {
    pub it: Middlebox,
    /// The ports that the ends are behind.
    pub ports: [PortId; 2],
    /// What each end sends from and to.
    pub pairs: [Pair; 2],
    /// The next number of each end.
    pub next: [u32; 2],
    /// The next number that each end waits for, as it comes in.
    pub awaited: [u32; 2],
    /// Extension headers in front of TCP.
    pub extension_headers: Vec<u8>,
}

impl Session {
    /// Opens a connection from inside to a server outside whose first numbers are these.
    pub fn open(it: Middlebox, client: Pair, server: Pair, first: [u32; 2]) -> Self {
        let mut session = Self::unopened(it, client, server, first);
        session.handshake();
        session
    }

    /// Opens a connection from outside to a server inside.
    pub fn open_from_outside(it: Middlebox, client: Pair, server: Pair, first: [u32; 2]) -> Self {
        let mut session = Self { ports: [OUTSIDE, INSIDE], ..Self::unopened(it, client, server, first) };
        session.handshake();
        session
    }

    /// A connection through a box that translates nothing, whose ends send these numbers next, without a handshake seen.
    pub fn picked_up(it: Middlebox, pair: Pair, next: [u32; 2]) -> Self {
        let [client, server] = next;
        Self { awaited: [server, client], ..Self::unopened(it, pair, pair.inverse(), next) }
    }

    /// A connection from inside to a server outside before its handshake.
    pub fn unopened(it: Middlebox, client: Pair, server: Pair, first: [u32; 2]) -> Self {
        Self {
            it,
            ports: [INSIDE, OUTSIDE],
            pairs: [client, server],
            next: first,
            awaited: [0; 2],
            extension_headers: vec![],
        }
    }

    /// Opens one of FTP through a box that translates nothing.
    pub fn plain(preset: Preset) -> Self {
        let pair = Pair::at("10.0.0.2:40000", "198.51.100.2:21");
        Self::open(ftp_box(preset), pair, pair.inverse(), [1000, 5000])
    }

    /// The same with IPv6.
    pub fn plain_v6(preset: Preset) -> Self {
        let pair = Pair::at("[fd00::2]:40000", "[2001:db8:9::2]:21");
        Self::open(ftp_box(preset), pair, pair.inverse(), [1000, 5000])
    }

    pub fn handshake(&mut self) {
        let [client, server] = self.next;
        let syn = self.pass(Client, self.pairs[0].tcp("S", client, 0));
        let syn_ack = self.pass(Server, self.pairs[1].tcp("SA", server, syn.seq.wrapping_add(1)));
        assert_eq!(syn_ack.ack, client.wrapping_add(1));
        self.next = [client.wrapping_add(1), server.wrapping_add(1)];
        self.awaited = [syn_ack.seq.wrapping_add(1), syn.seq.wrapping_add(1)];
        self.acknowledge(Client);
    }

    /// The greeting and the login, so that Linux knows where lines begin.
    #[must_use]
    pub fn logged_in(mut self) -> Self {
        self.says(Server, "220 ready\r\n");
        self.says(Client, "USER anonymous\r\n");
        self.says(Server, "230 logged in\r\n");
        self
    }

    /// Sends a packet.
    #[track_caller]
    pub fn pass(&mut self, from: End, packet: Packet) -> Segment {
        let port = self.ports[from as usize];
        let mut bytes = packet.frame();
        if !self.extension_headers.is_empty() {
            bytes[20] = 60;
            let len = u16::from_be_bytes([bytes[18], bytes[19]]) + self.extension_headers.len() as u16;
            bytes[18..20].copy_from_slice(&len.to_be_bytes());
            bytes.splice(54..54, self.extension_headers.iter().copied());
        }
        let mut frames = [(port, bytes)];
        let verdict = self.it.burst(&mut frames)[0];
        let [(_, frame)] = frames;
        Segment::read(verdict, port, frame)
    }

    /// A segment of an end's with this text and these options, from any position of its stream.
    pub fn segment(&self, from: End, seq: u32, text: &[u8], options: &[u8]) -> Packet {
        let ack = self.awaited[from as usize];
        let segment =
            frame::Segment { flags: 0x18, seq, ack, options: options.to_vec(), ..Default::default() };
        let mut packet = self.pairs[from as usize].segment(&segment);
        packet.l4.extend_from_slice(text);
        packet
    }

    /// Sends text from any position of an end's stream.
    #[track_caller]
    pub fn sends(&mut self, from: End, seq: u32, text: &str) -> Segment {
        self.sends_bytes(from, seq, text)
    }

    /// The same of what need not be text.
    #[track_caller]
    pub fn sends_bytes(&mut self, from: End, seq: u32, text: impl AsRef<[u8]>) -> Segment {
        let packet = self.segment(from, seq, text.as_ref(), &[]);
        self.pass(from, packet)
    }

    /// Sends text that comes next. If it passes, the other end takes it and acknowledges it.
    #[track_caller]
    pub fn says(&mut self, from: End, text: &str) -> Segment {
        self.says_bytes(from, text)
    }

    /// The same of what need not be text.
    #[track_caller]
    pub fn says_bytes(&mut self, from: End, text: impl AsRef<[u8]>) -> Segment {
        let text = text.as_ref();
        let seq = self.next[from as usize];
        self.next[from as usize] = seq.wrapping_add(text.len() as u32);
        let segment = self.sends_bytes(from, seq, text);
        if segment.drop().is_none() {
            let peer = from.peer();
            assert_eq!(segment.seq, self.awaited[peer as usize], "it is what comes next");
            self.awaited[peer as usize] = segment.seq.wrapping_add(segment.text.chars().count() as u32);
            let acknowledgement = self.acknowledge(peer);
            assert_eq!(acknowledgement.ack, self.next[from as usize], "and all of it is acknowledged");
        }
        segment
    }

    /// Acknowledges all that an end has got.
    #[track_caller]
    pub fn acknowledge(&mut self, from: End) -> Segment {
        let packet =
            self.pairs[from as usize].tcp("A", self.next[from as usize], self.awaited[from as usize]);
        let segment = self.pass(from, packet);
        assert!(matches!(segment.verdict.action, Action::Forward(_)), "{:?}", segment.verdict);
        segment
    }

    /// What is expected: who may connect to whom.
    pub fn expected(&self) -> Vec<String> {
        expected(&self.it)
    }

    /// How often a helper came upon this.
    pub fn events(&self, event: HelperEvent) -> u64 {
        self.it.shard.counters().helper_event(event)
    }
}

/// What is expected: who may connect to whom, a source without port being any.
pub fn expected(it: &Middlebox) -> Vec<String> {
    let mut expected = vec![];
    it.shard.list_expectations(0, u32::MAX, |_, snapshot| {
        let tuple = snapshot.expectation.tuple;
        let [source, destination] = [tuple.source(), tuple.destination()];
        assert_eq!(tuple.selector.sport(), 0);
        expected.push(format!("{source} > {destination} {}", tuple.selector.dport()));
    });
    expected
}

/// A wire with the FTP helper.
pub fn ftp_box(preset: Preset) -> Middlebox {
    with_helpers(Middlebox::of(preset), [ftp_on(&[21])])
}
