//! A session of FTP, IRC, RTSP, SANE, PPTP, SIP or H.323 over TCP through a box with a helper, whose ends send what they say in any pieces and order, again and again.
//! Each byte says what happens next, and the bytes behind it say how.

use crate::calls::PPTP;
use crate::frame::{Pair, Segment};
use crate::h323::{H245, Q931};
use crate::orders::Orders;
use crate::talk::{FTP, IRC, RTSP, SANE, SIP, Talk};
use sluice_conntrack::forward::{Interface, Route, Router};
use sluice_conntrack::helpers::{Assignment, Descriptor, HelperId, Helpers};
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Outcome, Policy, Prefix};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{
    Capacity, Configuration, DropReason, Forwarding, Instant, PortId, Shard, Verdict, wire,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// What three bits of the first byte say of the protocol, and the first of these bits.
const TALKS: [&Talk; 8] = [&FTP, &IRC, &RTSP, &SANE, &PPTP, &SIP, &Q931, &H245];
const TALK: u8 = 5;

/// Orders: below, an end says one of its lines.
const RAW: u8 = 0x40;
const SEND: u8 = 0x80;
const ACKNOWLEDGE: u8 = 0xc0;
const FORGE: u8 = 0xe0;
const WAIT: u8 = 0xf0;

/// One end of the connection.
struct End {
    pair: Pair,
    /// The number of its first byte.
    first: u32,
    /// All that it says, and which of these bytes it has sent.
    text: Vec<u8>,
    sent: Vec<bool>,
    /// What it has got, by the number that it came with, and the number that it waits for.
    got: BTreeMap<u32, u8>,
    awaited: u32,
}

/// The box and both ends, the client first.
struct Control {
    shard: Shard,
    now: Instant,
    talk: &'static Talk,
    ends: [End; 2],
    /// Whether somebody else has sent something, the box has forgotten the connection, or it reads as Linux does: what is sent again
    /// then need not be the same.
    is_loose: bool,
}

/// Carries out all orders, and looks at what is expected and what has arrived after each.
pub fn play(bytes: &[u8]) {
    let mut orders = Orders(bytes);
    let mut control =
        Control::open(orders.byte(), u32::from_be_bytes([orders.byte(), 0xff, 0xff, orders.byte()]));
    while let Some(order) = orders.next() {
        let from = usize::from(order & 1);
        match order {
            0..RAW => control.ends[from].says(control.talk.lines[from][usize::from(order >> 1 & 0x0f)]),
            RAW..SEND => {
                let raw = orders.frame();
                control.ends[from].says(&raw);
            }
            SEND..ACKNOWLEDGE => {
                let [start, len] = [orders.byte(), orders.byte()];
                control.sends(from, usize::from(order >> 1 & 0x1f) << 8 | usize::from(start), len.into());
            }
            ACKNOWLEDGE..FORGE => control.acknowledges(from),
            FORGE..WAIT => {
                let ahead = u32::from(orders.byte());
                let raw = orders.frame();
                control.forges(from, ahead, &raw);
            }
            WAIT.. => control.waits(Duration::from_secs(u64::from(order & 0x0f) * 30)),
        }
        control.check();
    }
}

impl End {
    fn says(&mut self, text: &[u8]) {
        // A session of a few windows is long enough.
        let text = &text[..text.len().min(8000_usize.saturating_sub(self.text.len()))];
        self.text.extend_from_slice(text);
        self.sent.resize(self.text.len(), false);
    }
}

impl Control {
    fn open(choice: u8, first: u32) -> Self {
        let now = Instant::from_ns(0);
        let Choice { shard, preset, server: to, client: seen } = choose(choice, 16, now);
        let end = |from: &str, to: &str, first: u32| End {
            pair: Pair::at(from, to),
            first,
            text: vec![],
            sent: vec![],
            got: BTreeMap::new(),
            awaited: 0,
        };
        let talk = TALKS[usize::from(choice >> TALK) % TALKS.len()];
        let port = ports(talk.helper)[0];
        let client = end("10.0.0.2:40000", &format!("{to}:{port}"), first);
        let server = end(&format!("198.51.100.2:{port}"), &format!("{seen}:40000"), first.rotate_left(7));
        let mut control =
            Self { shard, now, talk, ends: [client, server], is_loose: preset == Preset::Linux };
        let begins = choice & 4 == 0;
        let [client, server] = [0, 1].map(|end: usize| control.ends[end].first);
        for (from, flags, seq, ack) in [
            (0, "S", client.wrapping_sub(1), 0),
            (1, "SA", server.wrapping_sub(1), client),
            (0, "A", client, server),
        ] {
            if begins {
                let packet = control.ends[from].pair.tcp(flags, seq, ack);
                control.pass(from, packet.frame()).expect("a handshake passes");
            }
        }
        control.ends[0].awaited = server;
        control.ends[1].awaited = client;
        control
    }

    /// What leaves when an end sends a frame.
    fn pass(&mut self, from: usize, frame: Vec<u8>) -> Option<(PortId, Vec<u8>)> {
        let mut frames = [(PortId(from as u8), frame)];
        let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
        self.shard.process(self.now, &mut frames, &mut verdicts);
        let [frame] = frames;
        let headers = wire::parse(&frame).expect("a sound header stays one");
        assert!(wire::verify_checksum(&frame, &headers), "checksums stay right");
        matches!(verdicts[0].action, Action::Forward(_)).then_some(frame)
    }

    fn segment(&self, from: usize, seq: u32, text: &[u8]) -> Vec<u8> {
        let End { pair, awaited, .. } = &self.ends[from];
        let mut packet = pair.segment(&Segment { flags: 0x18, seq, ack: *awaited, ..Segment::default() });
        packet.l4.extend_from_slice(text);
        packet.frame()
    }

    /// An end sends some of what it says, perhaps again.
    fn sends(&mut self, from: usize, start: usize, len: usize) {
        let End { first, text, sent, .. } = &mut self.ends[from];
        let start = start % (text.len() + 1);
        let end = (start + len).min(text.len());
        let (seq, bytes) = (first.wrapping_add(start as u32), text[start..end].to_vec());
        sent[start..end].fill(true);
        let frame = self.segment(from, seq, &bytes);
        if let Some((_, frame)) = self.pass(from, frame) {
            self.arrives(1 - from, &frame);
        }
    }

    /// An end gets a segment. A byte that comes again is the same.
    fn arrives(&mut self, at: usize, frame: &[u8]) {
        let l4 = &frame[34..][..usize::from(u16::from_be_bytes([frame[16], frame[17]])) - 20];
        let [seq, ack] =
            [4, 8].map(|offset| u32::from_be_bytes(*l4[offset..].first_chunk().expect("a header")));
        let is_loose = self.is_loose;
        let End { got, awaited, first, sent, .. } = &mut self.ends[at];
        for (offset, byte) in (0..).zip(&l4[usize::from(l4[12] >> 4) * 4..]) {
            let before = got.insert(seq.wrapping_add(offset), *byte);
            assert!(
                is_loose || before.is_none_or(|before| before == *byte),
                "text that is sent again is the same"
            );
        }
        while got.contains_key(awaited) {
            *awaited = awaited.wrapping_add(1);
        }
        let acknowledged = ack.wrapping_sub(*first) as usize;
        assert!(
            is_loose || sent.iter().take(acknowledged).count() == acknowledged,
            "only what was said is acknowledged"
        );
    }

    fn acknowledges(&mut self, from: usize) {
        let seq = self.ends[from].first.wrapping_add(self.ends[from].text.len() as u32);
        let frame = self.segment(from, seq, &[]);
        if let Some((_, frame)) = self.pass(from, frame) {
            self.arrives(1 - from, &frame);
        }
    }

    /// Somebody sends other text in an end's name.
    fn forges(&mut self, from: usize, ahead: u32, text: &[u8]) {
        self.is_loose = true;
        let seq = self.ends[from].first.wrapping_add(self.ends[from].text.len() as u32).wrapping_add(ahead);
        let frame = self.segment(from, seq, text);
        self.pass(from, frame);
    }

    fn waits(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.shard.expire(self.now, u32::MAX);
        // Picked up again, the connection is another one to the box. What is due right now may be in the table still.
        let mut is_known = false;
        self.shard.list(0, u32::MAX, |_, _| is_known = true);
        self.is_loose |= !is_known;
    }

    /// What must hold between two orders: one session expects as many as its helper allows at most, and none that was not announced
    /// in a whole line.
    fn check(&self) {
        self.shard.check_invariants().expect("the shard is sound");
        let mut expected = 0;
        self.shard.list_expectations(0, u32::MAX, |_, _| expected += 1);
        let classes = Descriptor::of(self.talk.helper).classes;
        assert!(expected <= classes.iter().map(|class| class.max_expectations).sum::<u8>());
        assert!(expected == 0 || self.is_loose || (0..2).any(|end| self.has_announced(end)));
    }

    /// Whether an end has sent all of what announces something.
    fn has_announced(&self, end: usize) -> bool {
        let End { text, sent, .. } = &self.ends[end];
        self.talk.announcing.is_in(end, text, sent)
    }
}

/// What the first byte of a session says.
pub(crate) struct Choice {
    pub(crate) shard: Shard,
    pub(crate) preset: Preset,
    /// The address by which the client knows the server, and that by which it is known itself.
    pub(crate) server: &'static str,
    pub(crate) client: &'static str,
}

/// A box with room for so many entries, by the preset and the translation that a byte says.
pub(crate) fn choose(choice: u8, entries: u32, now: Instant) -> Choice {
    let capacity = Capacity { entries, seed: [1, 2, 3, 4], pages: sluice_memory::Pages::Ordinary };
    let preset = if choice & 1 == 0 { Preset::Classic } else { Preset::Linux };
    let is_translated = choice & 2 != 0;
    let shard = Shard::new(capacity, configuration(preset, is_translated), now).expect("memory");
    let [server, client] =
        if is_translated { ["10.9.9.9", "203.0.113.1"] } else { ["198.51.100.2", "10.0.0.2"] };
    Choice { shard, preset, server, client }
}

/// A router with helpers on their ports; the client's address is masqueraded and the server's published, or nothing is translated.
fn configuration(preset: Preset, is_translated: bool) -> Configuration {
    let interface = |address: &str, length| Interface {
        addresses: vec![(address.parse().expect("an address"), length)],
        mtu: 1500,
        ..Interface::default()
    };
    let interfaces = vec![interface("10.0.0.1", 8), interface("203.0.113.1", 24)];
    let default = Route::by(Prefix::new([0, 0, 0, 0].into(), 0), PortId(1), Some([203, 0, 113, 254].into()));
    let forwarding = Forwarding::Routed(Box::new(Router::new(interfaces, [default])));
    let policy = Policy { default: Outcome::Accept, ..Policy::default() };
    let mut configuration = Configuration::new(Settings::of(preset, 16), policy, forwarding);
    if is_translated {
        let out = Match { egress: vec![PortId(1)], ..Match::default() };
        let published =
            Match { destination: vec![Prefix::new([10, 9, 9, 9].into(), 32)], ..Match::default() };
        let server = [198, 51, 100, 2].into();
        let to = Target::Pool(vec![Range { first: server, last: server, ports: PortChoice::Preserve }]);
        configuration = configuration.with_nat(Nat {
            source: vec![NatRule::new(out, Target::Masquerade(PortChoice::Preserve))],
            destination: vec![NatRule::new(published, to)],
        });
    }
    let assignments = HelperId::ALL.map(|helper| {
        let ports = ports(helper).iter().map(|port| *port..=*port);
        let on = Match { destination_ports: ports.collect(), ..Match::default() };
        Assignment { helper, on, loose: false }
    });
    configuration.helpers = Helpers::new(assignments.to_vec());
    configuration
}

/// The ports of a helper. That of H.245, which has none of its own, is the next one to that of Q.931.
const fn ports(helper: HelperId) -> &'static [u16] {
    match Descriptor::of(helper).ports {
        [] => &[1721],
        ports => ports,
    }
}
