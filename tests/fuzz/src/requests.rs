//! TFTP through a box with a helper: a client asks, well or badly, and its server answers from any of its ports.
//! Each byte says what happens next, and the bytes behind it say how.

use crate::control::{Choice, choose};
use crate::frame::Pair;
use crate::orders::Orders;
use sluice_conntrack::settings::Preset;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Instant, PortId, Shard, State, Verdict, wire};
use std::time::Duration;

/// The bit of the first byte that says that it goes by this file.
pub(crate) const CHOICE: u8 = 8;

/// Orders: below, the client sends one of its datagrams.
const RAW: u8 = 0x40;
const ANSWER: u8 = 0x80;
const WAIT: u8 = 0xf0;

/// What clients send.
const DATAGRAMS: [&[u8]; 16] = [
    b"\0\x01file\0octet\0",
    b"\0\x02file\0NETASCII\0blksize\x001428\0tsize\x000\0",
    b"\0\x02user\0mail\0option\0\0",
    b"\0\x03\0\x01data",
    b"\0\x04\0\x01",
    b"\0\x05\0\x01error\0",
    b"\0\x06blksize\x001428\0",
    b"\0\x01file\0octet",
    b"\0\x01file\0octet\0tsize\0",
    b"\0\x01file\0octet\0\0x\0",
    b"\0\x01\0octet\0",
    b"\0\x02file\0zip\0",
    b"\0\x01",
    b"\0\x07\0\x01",
    b"\0",
    b"",
];

const MODES: [&[u8]; 3] = [b"netascii", b"octet", b"mail"];

/// The box and what it was told.
struct Exchange {
    shard: Shard,
    now: Instant,
    preset: Preset,
    client: Pair,
    /// The server's own address, and what the client is called outside.
    answer: Pair,
    /// Whether a request was made.
    has_asked: bool,
    /// Whether the helper reads for sure: the client began, and has sent nothing but TFTP.
    is_read: bool,
}

/// Carries out all orders, and looks at what is expected after each.
pub(crate) fn play(bytes: &[u8]) {
    let mut orders = Orders(bytes);
    let mut exchange = Exchange::new(orders.byte());
    while let Some(order) = orders.next() {
        match order {
            0..RAW => exchange.asks(DATAGRAMS[usize::from(order) % DATAGRAMS.len()]),
            RAW..ANSWER => exchange.asks(&orders.frame()),
            ANSWER..WAIT => exchange.answers(u16::from(order & 0x0f), &orders.frame()),
            WAIT.. => exchange.waits(Duration::from_secs(u64::from(order & 0x0f) * 5)),
        }
        exchange.check();
    }
}

impl Exchange {
    fn new(choice: u8) -> Self {
        let now = Instant::from_ns(0);
        let Choice { shard, preset, server: to, client: seen } = choose(choice, 256, now);
        Self {
            shard,
            now,
            preset,
            client: Pair::at("10.0.0.2:40000", &format!("{to}:69")),
            answer: Pair::at("198.51.100.2:69", &format!("{seen}:40000")),
            has_asked: false,
            is_read: true,
        }
    }

    /// The state of a datagram, and between whom it leaves, if it does.
    fn passes(&mut self, port: PortId, pair: Pair, payload: &[u8]) -> (Option<State>, Option<Pair>) {
        let mut frames = [(port, pair.datagram(payload).frame())];
        let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
        self.shard.process(self.now, &mut frames, &mut verdicts);
        let headers = wire::parse(&frames[0]).expect("a sound header stays one");
        assert!(wire::verify_checksum(&frames[0], &headers), "checksums stay right");
        let tuple = headers.tuple;
        let [sport, dport] = [tuple.selector.sport(), tuple.selector.dport()];
        let pair = Pair::of(tuple.source(), sport, tuple.destination(), dport);
        (verdicts[0].state, matches!(verdicts[0].action, Action::Forward(_)).then_some(pair))
    }

    fn asks(&mut self, payload: &[u8]) {
        let (_, left) = self.passes(PortId(0), self.client, payload);
        self.answer = left.expect("the policy lets it pass").inverse();
        let is_request = is_request(payload);
        let is_linux = self.preset == Preset::Linux;
        self.is_read &= is_linux || is_request || matches!(payload, [0, 3..=6, ..]);
        self.has_asked |= is_linux || is_request;
        if is_request && self.is_read {
            assert_eq!(self.expected(), 1, "whoever asks is answered");
        }
    }

    /// The server sends something from a port of its own, the first of which is the one that it is asked at.
    fn answers(&mut self, port: u16, payload: &[u8]) {
        let was_expected = self.expected() == 1;
        let mut answer = self.answer;
        answer.source.set_port(69 + port);
        let (state, left) = self.passes(PortId(1), answer, payload);
        let mut at_client = self.client.inverse();
        at_client.source.set_port(69 + port);
        if was_expected && state != Some(State::New) {
            assert_eq!(left, Some(at_client));
        }
        self.is_read &= port > 0 || state != Some(State::New);
        self.has_asked |= self.preset == Preset::Linux;
        assert!(state != Some(State::Related) || self.has_asked);
    }

    fn waits(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.shard.expire(self.now, u32::MAX);
    }

    fn expected(&self) -> u32 {
        let mut expected = 0;
        self.shard.list_expectations(0, u32::MAX, |_, _| expected += 1);
        expected
    }

    /// What must hold between two orders: one answer is expected at most, and none that nobody has asked for.
    fn check(&self) {
        self.shard.check_invariants().expect("the shard is sound");
        assert!(self.expected() <= u32::from(self.has_asked));
    }
}

/// Whether that is a request as RFC 1350 and RFC 2347 write it.
fn is_request(payload: &[u8]) -> bool {
    let [0, 1 | 2, texts @ .., 0] = payload else { return false };
    let texts: Vec<&[u8]> = texts.split(|byte| *byte == 0).collect();
    let [name, mode, options @ ..] = &texts[..] else { return false };
    let has_names = options.chunks(2).all(|option| option.len() == 2 && !option[0].is_empty());
    !name.is_empty() && MODES.iter().any(|known| known.eq_ignore_ascii_case(mode)) && has_names
}
