//! A helper's rewriting of text that lies in several segments of an mbuf. One test: EAL starts once a process.

use std::net::IpAddr;

use dpdk::{Burst, Device, Eal, EalOptions, Mempool, MempoolOptions, Port, PortOptions};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use sluice_conntrack::helpers::{Assignment, HelperId, Helpers};
use sluice_conntrack::nat::{Nat, NatRule, PortChoice, Range, Target};
use sluice_conntrack::policy::{Match, Outcome, Policy};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Capacity, Configuration, Forwarding, Instant, PortId, Shard};
use sluice_engine::{OpenPort, Queues, Worker};
use sluice_memory::Pages;

/// Bytes of a segment: what is read and what is rewritten each lie across the end of one.
const SEGMENT_BYTES: u16 = 128;

const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 2], 40_000);
const OUTSIDE: ([u8; 4], u16) = ([203, 0, 113, 1], 40_000);
const SERVER: ([u8; 4], u16) = ([198, 51, 100, 2], 21);

/// A segment: a SYN or its answer where so said, with this text.
fn frame(
    from: ([u8; 4], u16),
    to: ([u8; 4], u16),
    [seq, ack]: [u32; 2],
    is_syn: bool,
    text: &str,
) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, from.0[3]], [2, 0, 0, 0, 0, to.0[3]]);
    let builder = builder.ipv4(from.0, to.0, 64).tcp(from.1, to.1, seq, 5840);
    let builder = if is_syn { builder.syn() } else { builder };
    let builder = if ack > 0 { builder.ack(ack) } else { builder };
    let mut frame = Vec::new();
    builder.write(&mut frame, text.as_bytes()).unwrap();
    frame
}

fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1]);
    for frame in frames {
        file.extend(words(&[1, 0, frame.len() as u32, frame.len() as u32]));
        file.extend(frame);
    }
    file
}

/// The last frame of a capture.
fn last(mut file: &[u8]) -> &[u8] {
    file = &file[24..];
    loop {
        let (head, rest) = file.split_at(16);
        let (frame, rest) = rest.split_at(u32::from_le_bytes(*head[8..].first_chunk().unwrap()) as usize);
        if rest.is_empty() {
            return frame;
        }
        file = rest;
    }
}

/// A wire with FTP's helper, whose clients are translated.
fn configuration() -> Configuration {
    let policy = Policy { default: Outcome::Accept, ..Policy::default() };
    let outside = IpAddr::from(OUTSIDE.0);
    let range = Range { first: outside, last: outside, ports: PortChoice::Preserve };
    let outgoing = Match { ingress: vec![PortId(0)], ..Match::default() };
    let nat = Nat { source: vec![NatRule::new(outgoing, Target::Pool(vec![range]))], destination: vec![] };
    let mut configuration =
        Configuration::new(Settings::of(Preset::Classic, 1000), policy, Forwarding::wire()).with_nat(nat);
    let on = Match { destination_ports: vec![21..=21], ..Match::default() };
    configuration.helpers = Helpers::new(vec![Assignment { helper: HelperId::Ftp, on, loose: false }]);
    configuration
}

#[test]
fn a_helper_rewrites_text_that_lies_in_several_segments() {
    let name = "x".repeat(usize::from(SEGMENT_BYTES));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let text = |address: &str| {
        format!(
            "USER {}\r\nPORT {address},19,137\r\nTYPE I\r\n{}\r\n",
            &name[..58],
            "NOOP\r\n".repeat(20).trim_end()
        )
    };
    let inside = [
        frame(CLIENT, SERVER, [1000, 0], true, ""),
        frame(CLIENT, SERVER, [1001, 5001], false, ""),
        frame(CLIENT, SERVER, [1001, 5001], false, &text("10,0,0,2")),
    ];
    std::fs::write(path("inside.pcap"), capture(&inside)).unwrap();
    std::fs::write(path("outside.pcap"), capture(&[frame(SERVER, OUTSIDE, [5000, 1001], true, "")])).unwrap();

    let eal = Eal::init(&EalOptions { huge_pages: false, ..EalOptions::default() }).unwrap();
    let options = MempoolOptions { mbufs: 1023, segment_bytes: SEGMENT_BYTES, ..Default::default() };
    let pool = Mempool::new(&eal, "packets", &options).unwrap();
    let (mut ports, mut open) = (Vec::new(), Vec::new());
    for (number, side) in ["inside", "outside"].into_iter().enumerate() {
        let files =
            format!("rx_pcap={},tx_pcap={}", path(&format!("{side}.pcap")), path(&format!("{side}.out")));
        let device = Device::attach(&eal, &format!("vdev:net_pcap{number},{files}")).unwrap();
        let (port, rx, tx) = Port::start(device, &PortOptions::default(), &pool).unwrap();
        open.push(OpenPort::of_port(&port, rx, tx));
        ports.push(port);
    }
    let capacity = Capacity { entries: 1000, seed: [1; 4], pages: Pages::Ordinary };
    let shard = Shard::new(capacity, configuration(), Instant::default()).unwrap();
    let mut worker = Worker::new(shard, Queues::single(open), pool);

    let [mut from_inside, mut from_outside] = [0, 1].map(|port| {
        let mut burst = Burst::new();
        worker.receive(PortId(port), &mut burst);
        burst.drain().collect::<Vec<_>>().into_iter()
    });
    for port in [0, 1, 0, 0] {
        let waiting = if port == 0 { &mut from_inside } else { &mut from_outside };
        let mut burst = Burst::new();
        assert!(burst.push(waiting.next().unwrap()).is_ok());
        let verdicts = worker.process(Instant::default(), PortId(port), &mut burst);
        assert!(matches!(verdicts[0].action, Action::Forward(_)), "{verdicts:?}");
    }
    drop(worker);
    ports.into_iter().for_each(|port| port.close().unwrap());

    let out = std::fs::read(path("outside.out")).unwrap();
    let packet = SlicedPacket::from_ethernet(last(&out)).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("{packet:?}") };
    assert_eq!(String::from_utf8_lossy(tcp.payload()), text("203,0,113,1"));
    let sum = tcp.to_header().calc_checksum_ipv4_raw(OUTSIDE.0, SERVER.0, tcp.payload()).unwrap();
    assert_eq!(tcp.checksum(), sum);
}
