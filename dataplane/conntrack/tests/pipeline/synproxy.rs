//! SYN cookies: what client and server get, byte for byte, and what a flood of SYNs costs.

mod vlans;

use crate::common::frame::Segment;
use crate::common::*;
use sluice_conntrack::dispatch::{Dispatcher, Host};
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Policy, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::synproxy::Synproxy;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Instant, InvalidReason, PortId, Shard, State, Verdict};
type Sent = Vec<(PortId, Vec<u8>)>;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const SYN_ACK: u8 = SYN | ACK;

/// The client's first number, and the server's.
const ISN: u32 = 1000;
const SERVER_ISN: u32 = 700_000;

/// What leaves a shard: packets, and what it says itself.
#[derive(Default)]
struct Wires {
    sent: Sent,
    said: Sent,
}

impl Host for Wires {
    type Packet = (PortId, Vec<u8>);

    fn finish(&mut self, _: Instant, shard: &mut Shard, (port, frame): Self::Packet, verdict: &Verdict) {
        match verdict.action {
            Action::Forward(egress) => self.sent.push((egress, frame)),
            _ => {
                let mut out = [0; 200];
                let answer = shard.answer(&(port, frame), verdict, &mut out);
                self.said.extend(answer.map(|length| (port, out[..length].to_vec())));
            }
        }
    }

    fn reply(&mut self, _: &mut Shard, packet: Self::Packet) {
        self.said.push(packet);
    }

    fn make(&mut self, ingress: PortId, frame: &[u8]) -> Option<Self::Packet> {
        Some((ingress, frame.to_vec()))
    }
}

/// A box with clients outside and a server inside.
struct World {
    it: Middlebox,
    dispatcher: Dispatcher<(PortId, Vec<u8>)>,
    /// As the client sees it.
    pair: Pair,
    /// As the server sees it.
    inside: Pair,
    /// The VLAN's tag that all frames have, if they have one: priority and VLAN.
    tag: Option<u16>,
}

fn synproxy() -> RuleAction {
    RuleAction::Synproxy(Synproxy { mss: 1460, wscale: Some(7), sack_perm: true })
}

fn policy() -> Policy {
    let to_web =
        Match { destination_ports: vec![80..=80, 8080..=8080], protocols: vec![6], ..Match::default() };
    rules([(states([State::Established, State::Related]), RuleAction::Accept), (to_web, synproxy())])
}

impl World {
    fn new(it: Middlebox, pair: Pair, inside: Pair) -> Self {
        Self { dispatcher: Dispatcher::new(&it.shard), it, pair, inside, tag: None }
    }

    /// On a wire.
    fn wire(pair: Pair) -> Self {
        Self::new(Middlebox::with(Settings::of(Preset::Linux, ROOM), policy()), pair, pair)
    }

    /// What comes of a frame, and its verdict.
    fn take(&mut self, port: PortId, packet: &Packet) -> (Verdict, Wires) {
        let tags = self.tag.map(|tag| (0x8100, tag)).into_iter().collect();
        let mut frames = [(port, Packet { tags, ..packet.clone() }.frame())];
        let mut verdict = self.it.burst(&mut frames)[0];
        let mut wires = Wires::default();
        let [frame] = frames;
        let decided = verdict;
        self.dispatcher.apply(self.it.now, &mut self.it.shard, &mut wires, frame, &mut verdict);
        self.tag.inspect(|tag| wires.take_off(*tag));
        (decided, wires)
    }

    fn client(&mut self, segment: &Segment) -> (Verdict, Wires) {
        self.take(OUTSIDE, &self.pair.segment(segment))
    }

    fn server(&mut self, segment: &Segment) -> (Verdict, Wires) {
        self.take(INSIDE, &self.inside.inverse().segment(segment))
    }

    /// The cookie that a SYN is answered with; nothing has gone to the server.
    fn cookie(&mut self, options: &[u8], answered: &[u8]) -> u32 {
        let before = self.it.shard.counters().inserts;
        let syn = Segment { flags: SYN, seq: ISN, options: options.to_vec(), ..Segment::default() };
        let (verdict, wires) = self.client(&syn);
        assert_eq!(verdict.drop_reason(), Some(DropReason::SynCookie));
        assert_eq!((wires.sent, wires.said.len()), (vec![], 1));
        assert_eq!(self.it.shard.counters().inserts, before);
        let cookie = number(&wires.said[0].1, self.l4(), 4);
        let expected = Segment {
            flags: SYN_ACK,
            seq: cookie,
            ack: ISN + 1,
            window: 0,
            options: answered.to_vec(),
            ..Segment::default()
        };
        is(&wires.said, OUTSIDE, &self.pair.inverse().segment(&expected));
        cookie
    }

    /// Where TCP's header begins.
    fn l4(&self) -> usize {
        if self.pair.source.is_ipv4() { 34 } else { 54 }
    }

    /// The whole handshake. The server gets these options; gives the cookie.
    fn open(&mut self, options: &[u8], to_client: &[u8], to_server: &[u8], window: u16) -> u32 {
        let cookie = self.cookie(options, to_client);
        let ack = Segment { flags: ACK, seq: ISN + 1, ack: cookie + 1, window: 500, ..Segment::default() };
        let (verdict, wires) = self.client(&ack);
        assert_eq!((verdict.state, verdict.drop_reason()), (Some(State::New), None));
        let syn = Segment { flags: SYN, seq: ISN, window, options: to_server.to_vec(), ..Segment::default() };
        is(&wires.sent, INSIDE, &self.inside.segment(&syn));
        assert!(wires.said.is_empty());
        self.answer(cookie);
        cookie
    }

    /// The server answers.
    fn answer(&mut self, cookie: u32) {
        let syn_ack = Segment {
            flags: SYN_ACK,
            seq: SERVER_ISN,
            ack: ISN + 1,
            window: 64_000,
            options: vec![2, 4, 5, 180, 1, 3, 3, 7],
            ..Segment::default()
        };
        let (_, wires) = self.server(&syn_ack);
        let ack =
            Segment { flags: ACK, seq: ISN + 1, ack: SERVER_ISN + 1, window: 500, ..Segment::default() };
        is(&wires.said, INSIDE, &self.inside.segment(&ack));
        let update =
            Segment { flags: ACK, seq: cookie + 1, ack: ISN + 1, window: 64_000 >> 7, ..Segment::default() };
        is(&wires.sent, OUTSIDE, &self.pair.inverse().segment(&update));
    }

    /// Data both ways, acknowledged.
    fn talk(&mut self, cookie: u32) {
        let data =
            Segment { flags: ACK, seq: ISN + 1, ack: cookie + 1, payload_len: 100, ..Segment::default() };
        let blocks = |base: u32| {
            let mut options = vec![1, 1, 5, 10];
            options.extend((base + 51).to_be_bytes());
            options.extend((base + 101).to_be_bytes());
            options
        };
        let (verdict, wires) = self.client(&data);
        assert_eq!(verdict.state, Some(State::Established));
        is(&wires.sent, INSIDE, &self.inside.segment(&Segment { ack: SERVER_ISN + 1, ..data }));

        let answer = Segment {
            flags: ACK,
            seq: SERVER_ISN + 1,
            ack: ISN + 101,
            payload_len: 200,
            ..Segment::default()
        };
        let (_, wires) = self.server(&answer);
        let moved = Segment { seq: cookie + 1, ..answer };
        is(&wires.sent, OUTSIDE, &self.pair.inverse().segment(&moved));

        let selective = Segment {
            flags: ACK,
            seq: ISN + 101,
            ack: cookie + 1,
            options: blocks(cookie),
            ..Segment::default()
        };
        let (_, wires) = self.client(&selective);
        let moved = Segment { ack: SERVER_ISN + 1, options: blocks(SERVER_ISN), ..selective };
        is(&wires.sent, INSIDE, &self.inside.segment(&moved));
        assert!(self.it.lines()[0].contains("ESTABLISHED"), "{:?}", self.it.lines());
    }
}

fn number(frame: &[u8], l4: usize, at: usize) -> u32 {
    u32::from_be_bytes(frame[l4 + at..l4 + at + 4].try_into().unwrap())
}

/// That this and nothing else has gone there: all but what no TCP cares for, with checksums that are right.
fn is(sent: &Sent, port: PortId, expected: &Packet) {
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(sent[0].0, port);
    let datagram = |frame: &[u8]| {
        let is_v4 = frame[12..14] == [8, 0];
        let len = match is_v4 {
            true => u16::from_be_bytes([frame[16], frame[17]]).into(),
            false => 40 + usize::from(u16::from_be_bytes([frame[18], frame[19]])),
        };
        let mut datagram = frame[14..14 + len].to_vec();
        if is_v4 {
            assert_eq!(sum(&datagram[..20]), 0xffff, "of the IP header");
            datagram[4..9].fill(0);
            datagram[10..12].fill(0);
        } else {
            datagram[7] = 0;
        }
        datagram
    };
    assert_eq!(datagram(&sent[0].1), datagram(&expected.frame()));
}

fn sum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// What a client offers: MSS 1400, SACK, a scale of 9, and a timestamp.
const OFFER: [u8; 20] = [2, 4, 5, 120, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 9];

fn options(mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    vec![2, 4, high, low, 1, 1, 4, 2, 1, 3, 3, 7]
}

fn to_server() -> Vec<u8> {
    vec![2, 4, 5, 120, 1, 1, 4, 2, 1, 3, 3, 9]
}

#[test]
fn a_client_that_brings_its_cookie_reaches_the_server() {
    for (pair, mss) in Pair::both(40_000, 80).into_iter().zip([1460, 1440]) {
        let mut world = World::wire(pair);
        let cookie = world.open(&OFFER, &options(mss), &to_server(), u16::MAX);
        world.talk(cookie);
        world.it.check();
        let counters = world.it.shard.counters();
        assert_eq!((counters.syn_cookies_sent, counters.syn_cookies_accepted), (1, 1));
    }
}

#[test]
fn what_a_client_does_not_offer_is_not_offered_to_it_or_its_server() {
    let mut world = World::wire(Pair::v4(40_000, 80));
    let cookie = world.cookie(&[], &[2, 4, 5, 180]);
    let ack = Segment { flags: ACK, seq: ISN + 1, ack: cookie + 1, window: 500, ..Segment::default() };
    let (_, wires) = world.client(&ack);
    let syn = Segment { flags: SYN, seq: ISN, window: 500, options: vec![2, 4, 2, 24], ..Segment::default() };
    is(&wires.sent, INSIDE, &world.inside.segment(&syn));
}

#[test]
fn a_flood_of_syns_leaves_nothing_behind() {
    let mut world = World::wire(Pair::v4(1, 80));
    for sport in 1..5000 {
        world.pair = Pair::v4(sport, 80);
        world.cookie(&OFFER, &options(1460));
    }
    assert_eq!((world.it.shard.len(), world.it.shard.counters().inserts), (0, 0));
    assert_eq!(world.it.drops(DropReason::SynCookie), 4999);
}

#[test]
fn a_cookie_that_is_wrong_or_old_opens_nothing() {
    let mut world = World::wire(Pair::v4(40_000, 80));
    let cookie = world.cookie(&OFFER, &options(1460));
    let ack = |seq, ack| Segment { flags: ACK, seq, ack, ..Segment::default() };
    for (wrong, number) in [(ack(ISN + 1, cookie), 1), (ack(ISN + 9, cookie + 1), 2)] {
        let (verdict, wires) = world.client(&wrong);
        assert_eq!(verdict.drop_reason(), Some(DropReason::BadSynCookie));
        assert!(wires.sent.is_empty() && wires.said.is_empty());
        assert_eq!(world.it.drops(DropReason::BadSynCookie), number);
    }
    world.it.pass(secs(200));
    let (verdict, _) = world.client(&ack(ISN + 1, cookie + 1));
    assert_eq!(verdict.drop_reason(), Some(DropReason::BadSynCookie));
    assert_eq!(world.it.shard.len(), 0);
}

/// Neither preset needs to pick up connections in their midst for it.
#[test]
fn a_cookie_opens_where_nothing_but_a_syn_may() {
    for preset in PRESETS {
        let mut settings = Settings::of(preset, ROOM);
        settings.tcp.loose = false;
        let pair = Pair::v4(40_000, 80);
        let mut world = World::new(Middlebox::with(settings, policy()), pair, pair);
        let cookie = world.open(&OFFER, &options(1460), &to_server(), u16::MAX);
        world.talk(cookie);
        let stray = Segment { flags: ACK, seq: 5, ack: 5, ..Segment::default() };
        world.pair = Pair::v4(40_001, 80);
        assert_eq!(world.client(&stray).0.invalid, Some(InvalidReason::TcpNotNew));
    }
}

#[test]
fn a_cookie_is_good_behind_a_reload() {
    let mut world = World::wire(Pair::v4(40_000, 80));
    let cookie = world.cookie(&OFFER, &options(1460));
    world.it.reload(policy());
    let ack = Segment { flags: ACK, seq: ISN + 1, ack: cookie + 1, window: 500, ..Segment::default() };
    assert_eq!(world.client(&ack).0.drop_reason(), None);
    assert_eq!(world.it.shard.len(), 1);
}

#[test]
fn until_the_server_answers_whatever_a_client_sends_asks_it_again() {
    let mut world = World::wire(Pair::v4(40_000, 80));
    let cookie = world.cookie(&OFFER, &options(1460));
    let ack = Segment { flags: ACK, seq: ISN + 1, ack: cookie + 1, window: 500, ..Segment::default() };
    let syn = Segment { flags: SYN, seq: ISN, window: u16::MAX, options: to_server(), ..Segment::default() };
    // The probe of a closed window is one byte before what is to come, or that.
    let probe = Segment { seq: ISN, ..ack.clone() };
    for again in [probe.clone(), ack.clone(), Segment { payload_len: 1, ..ack }, probe] {
        let (_, wires) = world.client(&again);
        is(&wires.sent, INSIDE, &world.inside.segment(&syn));
    }
    let early = Segment { flags: ACK, seq: SERVER_ISN, ack: 7, ..Segment::default() };
    assert_eq!(world.server(&early).0.drop_reason(), Some(DropReason::BadSynCookie));
    world.answer(cookie);
    // A SYN/ACK that comes again is acknowledged again.
    world.answer(cookie);
    world.talk(cookie);
}

#[test]
fn a_server_that_refuses_is_heard() {
    let mut world = World::wire(Pair::v4(40_000, 80));
    let cookie = world.cookie(&OFFER, &options(1460));
    let ack = Segment { flags: ACK, seq: ISN + 1, ack: cookie + 1, window: 500, ..Segment::default() };
    world.client(&ack);
    let reset = Segment { flags: RST | ACK, seq: 0, ack: ISN + 1, window: 0, ..Segment::default() };
    let (_, wires) = world.server(&reset);
    let heard = Segment { seq: cookie + 1, ..reset };
    is(&wires.sent, OUTSIDE, &world.pair.inverse().segment(&heard));
    assert_eq!(world.it.shard.len(), 0);
}

#[test]
fn a_closed_connection_makes_way_for_one_of_the_same_ports() {
    let mut world = World::wire(Pair::v4(40_000, 80));
    let cookie = world.open(&OFFER, &options(1460), &to_server(), u16::MAX);
    let reset = Segment { flags: RST, seq: ISN + 1, ..Segment::default() };
    let (_, wires) = world.client(&reset);
    assert_eq!(wires.sent.len(), 1);
    assert_eq!(world.it.shard.len(), 1, "closed, and still there");
    let next = world.open(&OFFER, &options(1460), &to_server(), u16::MAX);
    assert_eq!(next, cookie, "in the same minute");
    world.talk(next);
}

/// A server inside, reached by an address outside, from where it looks as if the box asked.
#[test]
fn destinations_and_sources_are_translated_as_ever() {
    let server = "10.0.0.2".parse().unwrap();
    let to_server = Range { first: server, last: server, ports: PortChoice::Among(8080..=8080) };
    let to_box = Match { destination_ports: vec![80..=80], ..Match::default() };
    let inwards = Match { egress: vec![INSIDE], ..Match::default() };
    let nat = Nat {
        destination: vec![NatRule::new(to_box, Target::Pool(vec![to_server]))],
        source: vec![NatRule::new(inwards, Target::Masquerade(PortChoice::Preserve))],
    };
    let (pair, inside) =
        (Pair::at("198.51.100.7:40000", "203.0.113.1:80"), Pair::at("10.0.0.1:40000", "10.0.0.2:8080"));
    let mut world = World::new(Middlebox::routed_with(policy(), nat), pair, inside);
    let cookie = world.open(&OFFER, &options(1460), &self::to_server(), u16::MAX);
    world.talk(cookie);
    world.it.check();
}
