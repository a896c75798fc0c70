//! A worker on an lcore of its own, between captures, spoken to over its rings. One test: EAL starts once a process.

use std::time::Duration;

use dpdk::{Device, Eal, EalOptions, Mempool, MempoolOptions, Port, PortOptions, lcore};
use sluice_conntrack::policy::{Outcome, Policy};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{
    Capacity, Configuration, DropReason, Forwarding, Installation, Instant, Shard, State,
};
use sluice_engine::command::{Answer, Command, Unanswered, channel};
use sluice_engine::report::{LogPage, PAGE, Page, Stats};
use sluice_engine::{Clock, Idle, OpenPort, Queues, Worker};
use sluice_memory::Pages;

/// Connections in the capture: more than two pages.
const CONNECTIONS: u16 = 150;

const MBUFS: u32 = 4095;

/// Longest wait for anything, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A UDP datagram without payload and checksum, from 10.0.0.1 to 10.0.0.2.
fn frame(sport: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0x66, 0xce, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(sport.to_be_bytes());
    frame.extend([0, 53, 0, 8, 0, 0]);
    frame
}

/// The first fragment of a datagram, the rest of which never comes.
fn fragment() -> Vec<u8> {
    let mut frame = frame(1);
    // More fragments follow; the header's checksum changes with that.
    frame[20] |= 0x20;
    frame[24] -= 0x20;
    frame
}

fn capture(frames: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut file = words(&[0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1]);
    for frame in frames {
        file.extend(words(&[1, 0, frame.len() as u32, frame.len() as u32]));
        file.extend(frame);
    }
    file
}

fn configuration(default: Outcome) -> Configuration {
    let policy = Policy { default, ..Policy::default() };
    Configuration::new(Settings::of(Preset::Linux, 1000), policy, Forwarding::wire())
}

#[test]
fn a_worker_forwards_tracks_and_answers() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("in.pcap"), capture((1..=CONNECTIONS).map(frame).chain([fragment()]))).unwrap();

    let eal = Eal::init(&EalOptions { huge_pages: false, ..EalOptions::default() }).unwrap();
    let pool = Mempool::new(&eal, "packets", &MempoolOptions { mbufs: MBUFS, ..Default::default() }).unwrap();
    let arguments = [
        format!("vdev:net_pcap0,rx_pcap={},tx_pcap={}", path("in.pcap"), path("back.pcap")),
        format!("vdev:net_pcap1,tx_pcap={}", path("out.pcap")),
    ];
    let mut ports = Vec::new();
    let mut open = Vec::new();
    for arguments in &arguments {
        let device = Device::attach(&eal, arguments).unwrap();
        let (port, rx, tx) = Port::start(device, &PortOptions::default(), &pool).unwrap();
        open.push(OpenPort::of_port(&port, rx, tx));
        ports.push(port);
    }
    let capacity = Capacity { entries: 1000, seed: [1; 4], pages: Pages::Ordinary };
    let shard = Shard::new(capacity, configuration(Outcome::Accept), Instant::default()).unwrap();

    let mut stats = Box::new(Stats::new(shard.configuration()));

    let clock = Clock::new(&eal);
    let (mut controller, mut inbox) = channel();
    let core = lcore::allowed_cores().unwrap().pop().unwrap();
    let worker = lcore::launch(&eal, core, "worker", move || {
        Worker::new(shard, Queues::single(open), pool).run(&clock, Idle::Friendly, &mut inbox);
    })
    .unwrap();

    let stats = loop {
        let Ok(Answer::Stats(filled)) = controller.ask(Command::Stats(stats), PATIENCE) else {
            panic!("statistics were asked for");
        };
        stats = filled;
        if stats.ports[0].rx_packets == u64::from(CONNECTIONS) + 1 {
            break stats;
        }
    };
    let packets = u64::from(CONNECTIONS);
    assert_eq!(stats.counters.packets[State::New as usize], packets);
    assert_eq!(stats.counters.drops, [0; DropReason::ALL.len()]);
    assert_eq!((stats.entries, stats.ports[1].tx_packets), (u32::from(CONNECTIONS), packets));
    assert_eq!(stats.ports[0].rx_bytes, 42 * (packets + 1));
    assert_eq!(stats.counters.fragments_held, 1);
    assert_eq!(stats.ports[1].tx_bytes, 42 * packets);
    assert_eq!(stats.rules.policy.len(), 1, "the policy's default");
    assert!(stats.load.busy_ns > 0 && stats.at > Instant::default());

    let mut sizes = Vec::new();
    let mut sports = Vec::new();
    let mut next = Some(Box::new(Page::from_start()));
    while let Some(page) = next {
        let Ok(Answer::Listed(page)) = controller.ask(Command::List(page), PATIENCE) else {
            panic!("a page was asked for");
        };
        sizes.push(page.items().len());
        sports.extend(page.items().iter().map(|(_, entry)| entry.original.selector.sport()));
        next = page.into_next();
    }
    sports.sort_unstable();
    assert_eq!(sizes, [PAGE, PAGE, usize::from(CONNECTIONS) - 2 * PAGE]);
    assert_eq!(sports, (1..=CONNECTIONS).collect::<Vec<_>>());

    let Ok(Answer::Configured(old)) = controller
        .ask(Command::Configure(Box::new(Installation::new(configuration(Outcome::Drop)))), PATIENCE)
    else {
        panic!("a configuration was given");
    };
    assert_eq!(old.configuration.policy.default, Outcome::Accept);
    assert_eq!(old.rule_counters.policy[0].packets, packets);
    let Ok(Answer::Logged(page)) = controller.ask(Command::Log(Box::new(LogPage::new())), PATIENCE) else {
        panic!("the log was asked for");
    };
    assert!(page.records().is_empty());

    assert!(matches!(controller.ask(Command::Stop, PATIENCE), Ok(Answer::Stopped)));
    worker.join().unwrap();
    assert_eq!(controller.ask(Command::Stop, PATIENCE).unwrap_err(), Unanswered::Gone);
    ports.into_iter().for_each(|port| port.close().unwrap());
    assert_eq!(pool.available(), MBUFS, "what was held is free");
    let out = std::fs::read(path("out.pcap")).unwrap();
    assert_eq!(out.len(), 24 + usize::from(CONNECTIONS) * (16 + 42));
    assert_eq!(&out[40..82], frame(1));
}
