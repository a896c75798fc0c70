//! The lines that operators know, from packets.

use crate::common::*;
use sluice_conntrack::Instant;
use sluice_conntrack::listing::Layout;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::shard::LISTED_SLOTS;

const SSH: &str = "src=192.168.1.6 dst=192.168.1.9 sport=32775 dport=22";
const SSH_BACK: &str = "src=192.168.1.9 dst=192.168.1.6 sport=22 dport=32775";

#[test]
fn a_tcp_connection_three_seconds_into_each_moment_of_its_handshake() {
    let mut it = Middlebox::of(Preset::Classic);
    let ssh = Pair::v4(32775, 22);
    it.inside(&ssh.tcp("S", 1000, 0));
    it.pass(secs(3));
    assert_eq!(it.lines(), [format!("tcp      6 117 SYN_SENT {SSH} [UNREPLIED] {SSH_BACK} use=1")]);
    it.outside(&ssh.inverse().tcp("SA", 5000, 1001));
    it.pass(secs(3));
    assert_eq!(it.lines(), [format!("tcp      6 57 SYN_RECV {SSH} {SSH_BACK} use=1")]);
    it.inside(&ssh.tcp("A", 1001, 5001));
    it.pass(secs(1));
    assert_eq!(it.lines(), [format!("tcp      6 431999 ESTABLISHED {SSH} {SSH_BACK} [ASSURED] use=1")]);
    it.check();
}

#[test]
fn a_udp_stream_ten_and_five_seconds_after_a_datagram() {
    let mut it = Middlebox::of(Preset::Classic);
    let netbios = Pair::of([192, 168, 1, 2].into(), 137, [192, 168, 1, 5].into(), 1025);
    let tuple = "src=192.168.1.2 dst=192.168.1.5 sport=137 dport=1025";
    let back = "src=192.168.1.5 dst=192.168.1.2 sport=1025 dport=137";
    it.inside(&netbios.udp(50));
    it.pass(secs(10));
    assert_eq!(it.lines(), [format!("udp      17 20 {tuple} [UNREPLIED] {back} use=1")]);
    it.outside(&netbios.inverse().udp(50));
    it.pass(secs(10));
    assert_eq!(it.lines(), [format!("udp      17 20 {tuple} {back} use=1")]);
    it.inside(&netbios.udp(50));
    it.pass(secs(10));
    assert_eq!(it.lines(), [format!("udp      17 170 {tuple} {back} [ASSURED] use=1")]);
    it.outside(&netbios.inverse().udp(50));
    it.pass(secs(5));
    assert_eq!(it.lines(), [format!("udp      17 175 {tuple} {back} [ASSURED] use=1")]);
}

#[test]
fn a_ping_without_an_answer() {
    let mut it = Middlebox::of(Preset::Classic);
    let ping = Pair::of([192, 168, 1, 6].into(), 0, [192, 168, 1, 10].into(), 0);
    it.inside(&ping.echo(33029, 1));
    it.pass(secs(5));
    assert_eq!(
        it.lines(),
        ["icmp     1 25 src=192.168.1.6 dst=192.168.1.10 type=8 code=0 id=33029 [UNREPLIED] \
          src=192.168.1.10 dst=192.168.1.6 type=0 code=0 id=33029 use=1"]
    );
}

#[test]
fn conntrack_shows_what_has_passed_each_way() {
    let mut it = Middlebox::of(Preset::Linux);
    let dns = Pair::v4(4000, 53);
    it.inside(&dns.udp(30));
    it.outside(&dns.inverse().udp(100));
    it.outside(&dns.inverse().udp(200));
    let mut line = String::new();
    it.entry().write(Layout::Conntrack, &mut line).unwrap();
    assert_eq!(
        line,
        "udp      17 30 src=192.168.1.6 dst=192.168.1.9 sport=4000 dport=53 packets=1 bytes=58 \
         src=192.168.1.9 dst=192.168.1.6 sport=53 dport=4000 packets=2 bytes=356 mark=0 use=1"
    );
}

#[test]
fn accounting_can_be_off() {
    let settings = Settings { accounting: false, ..Settings::of(Preset::Linux, ROOM) };
    let mut it = Middlebox::with(settings, accept_all());
    it.inside(&Pair::v4(4000, 53).udp(30));
    assert_eq!(it.entry().traffic, None);
}

#[test]
fn ethernet_padding_is_not_counted() {
    let mut it = Middlebox::of(Preset::Linux);
    let packet = Pair::v4(4000, 53).udp(1);
    assert!(packet.frame().len() > 14 + packet.datagram().len());
    it.inside(&packet);
    assert_eq!(it.entry().traffic.unwrap()[0].bytes, 29);
}

#[test]
fn an_age_counts_from_the_first_packet() {
    let settings = Settings { timestamp: true, ..Settings::of(Preset::Linux, ROOM) };
    let mut it = Middlebox::with(settings, accept_all());
    it.pass(secs(100));
    it.inside(&Pair::v4(4000, 53).udp(1));
    it.pass(secs(17));
    assert_eq!(it.entry().shown_age_s(), Some(17));
}

#[test]
fn a_listing_in_pages_shows_each_entry_that_stays_once() {
    let mut it = Middlebox::of(Preset::Linux);
    for sport in 0..600 {
        for pair in Pair::both(sport, 53) {
            it.inside(&pair.udp(1));
        }
    }
    assert_eq!(it.shard.len(), ROOM, "the rest was refused or has taken another's place");
    let mut before: Vec<_> = it.entries().into_iter().map(|(id, _)| id).collect();
    let (mut cursor, mut seen, mut came) = (Some(0), vec![], 10_000);
    while let Some(at) = cursor {
        cursor = it.shard.list(at, 7, |id, _| seen.push(id));
        // Between two pages one entry goes and another comes.
        let gone = it.shard.delete(|entry| entry.original.selector.sport() == came - 10_000);
        before.retain(|id| it.shard.entry(*id).is_some());
        for pair in Pair::both(came, 53).into_iter().take(gone as usize) {
            it.inside(&pair.udp(1));
        }
        came += 1;
    }
    for id in before {
        assert_eq!(seen.iter().filter(|other| **other == id).count(), 1);
    }
    it.check();
}

#[test]
fn a_page_of_an_emptied_table_is_short_work() {
    let room = 50 * LISTED_SLOTS;
    let settings = Settings::of(Preset::Linux, room);
    let mut it = Middlebox::starting(Instant::from_ns(0), room, configuration(settings, accept_all()));
    for n in 0..room {
        it.inside(&Pair::v4((n % 60_000) as u16, 53 + (n / 60_000) as u16).udp(1));
    }
    let (last, shown) = it.entries().pop().unwrap();
    it.shard.delete(|entry| entry.original != shown.original);
    assert_eq!(it.shard.list(0, 64, |id, _| panic!("{id:?} is far away")), Some(LISTED_SLOTS));
    assert_eq!(it.entries().iter().map(|(id, _)| *id).collect::<Vec<_>>(), [last]);
}

#[test]
fn deleting_takes_what_fits_and_nothing_else() {
    let mut it = Middlebox::of(Preset::Linux);
    for sport in 1..=10 {
        it.inside(&Pair::v4(sport, 53).udp(1));
        it.inside(&Pair::v6(sport, 53).udp(1));
    }
    let id = it.entries()[0].0;
    assert_eq!(it.shard.delete(|entry| entry.original.source().is_ipv4()), 10);
    assert!(it.entries().iter().all(|(_, entry)| entry.original.source().is_ipv6()));
    assert!(it.shard.entry(id).is_none());
    assert_eq!(it.shard.delete(|_| true), 10);
    assert!(it.shard.is_empty());
    assert_eq!(it.shard.counters().deletes, 20);
    it.check();
}
