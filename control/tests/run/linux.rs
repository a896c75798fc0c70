//! The same random packets through Sluice and through Linux's own connection tracking, both in network namespaces:
//! the same packets come out, and the same entries are listed. Once both translate: one to one, so that no port is drawn.
//!
//! Timeouts are far apart and longer than the tests, and UDP flows pause longer than Linux waits for a stream: what
//! is compared does not depend on how fast either box is.

use std::io::{BufRead, BufReader, Write};
use std::thread;
use std::time::Duration;

use crate::box_under_test::BoxUnderTest;
use crate::namespaces::{Spaces, ip};
use crate::packets::{self, Alike, Packet};

/// What both boxes are told: the name of the setting in Linux, its place in the file, seconds.
const TIMEOUTS: [(&str, &str, u32); 13] = [
    ("tcp_timeout_syn_sent", "tcp.syn-sent", 1000),
    ("tcp_timeout_syn_recv", "tcp.syn-recv", 2000),
    ("tcp_timeout_established", "tcp.established", 3000),
    ("tcp_timeout_fin_wait", "tcp.fin-wait", 4000),
    ("tcp_timeout_close_wait", "tcp.close-wait", 5000),
    ("tcp_timeout_last_ack", "tcp.last-ack", 6000),
    ("tcp_timeout_time_wait", "tcp.time-wait", 7000),
    ("tcp_timeout_close", "tcp.close", 8000),
    ("tcp_timeout_max_retrans", "tcp.max-retrans", 9000),
    ("tcp_timeout_unacknowledged", "tcp.unacknowledged", 10_000),
    ("udp_timeout", "udp.unreplied", 11_000),
    ("udp_timeout_stream", "udp.stream", 12_000),
    ("icmp_timeout", "icmp", 13_000),
];

/// Two entries whose remaining seconds differ by less had the same timeout.
const TOLERANCE_S: u32 = 500;

/// The policy `firewall` or `valid`, in nft's words and in the file's.
const FIREWALL: [&str; 2] = [
    "ct state established,related accept; ct state new iifname inside accept",
    "[{state: [established, related], action: accept}, {state: new, in: inside, action: accept}]",
];
const VALID: [&str; 2] =
    ["ct state new,established,related accept", "[{state: [new, established, related], action: accept}]"];

/// How the box translates the network 10.0.0.0/13, if it does: chains of nft, and the section `nat`. Markers come from
/// another network.
const NO_NAT: [&str; 2] = ["", "{}"];
const ONE_TO_ONE: [&str; 2] = [
    "chain to { type nat hook prerouting priority dstnat; \
     iifname outside dnat ip prefix to ip daddr map { 20.0.0.0/13 : 10.0.0.0/13 }; }; \
     chain from { type nat hook postrouting priority srcnat; \
     oifname outside snat ip prefix to ip saddr map { 10.0.0.0/13 : 20.0.0.0/13 }; };",
    "{source: [{out: outside, source: 10.0.0.0/13, prefix: 20.0.0.0/13}], \
     destination: [{in: outside, destination: 20.0.0.0/13, prefix: 10.0.0.0/13}]}",
];

/// A namespace with a box in it, and one with the far ends of its two links.
struct Bench {
    spaces: Spaces<2>,
    macs: [String; 2],
}

impl Bench {
    /// `None` where namespaces cannot be made.
    fn new(test: &str) -> Option<Bench> {
        let spaces = Spaces::new(test, ["box", "ends"])?;
        let [middle, ends] = spaces.namespaces();
        for namespace in [middle, ends] {
            namespace
                .tell("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        }
        let macs = ["inside", "outside"].map(|side| {
            let far = format!("to-{side}");
            assert!(ip(&format!("link add {side} netns {middle} type veth peer name {far} netns {ends}")));
            for (namespace, end) in [(middle, side), (ends, &far)] {
                assert!(ip(&format!("-n {namespace} link set {end} arp off up")));
                namespace.tell("ethtool", &format!("-K {end} tx off rx off gro off"));
            }
            middle.tell("cat", &format!("/sys/class/net/{side}/address")).trim().to_owned()
        });
        Some(Bench { spaces, macs })
    }

    /// Sends packets in, and gives what came out for each.
    fn exchange(&self, packets: &[Packet]) -> Vec<String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/exchange.py");
        let [_, ends] = self.spaces.namespaces();
        let mut python = ends.start("python3", &format!("{script} {}", self.macs.join(" ")));
        let mut to = python.0.stdin.take().unwrap();
        let mut from = BufReader::new(python.0.stdout.take().unwrap()).lines();
        let mut answers = vec![];
        for (number, packet) in (0..).zip(packets) {
            let marker = packets::marker(packet.side, number);
            writeln!(to, "{} {} {}", packet.side, hex(&packet.l3), hex(&marker.l3)).unwrap();
            answers.push(from.next().expect("the marker came out").unwrap());
        }
        drop(to);
        assert!(python.0.wait().unwrap().success());
        answers
    }

    /// All exchanges, one after the other, with a pause in the middle.
    fn play(&self, [first, second]: &[Vec<Packet>; 2]) -> Vec<String> {
        // The first packet of the markers' flow comes from inside, or it would not pass.
        let opening = packets::udp_questions(0, 249)[..1].to_vec();
        let mut out = self.exchange(&[opening, first.clone()].concat());
        thread::sleep(Duration::from_millis(2100));
        out.extend(self.exchange(second));
        out
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What came out of Linux, and its entries.
fn linux(
    test: &str,
    policy: &str,
    nat: &str,
    options: &[(&str, &str)],
    exchanges: &[Vec<Packet>; 2],
) -> Option<(Vec<String>, String)> {
    let bench = Bench::new(&format!("{test}-linux"))?;
    let [middle, _] = bench.spaces.namespaces();
    assert!(ip(&format!("-n {middle} route add 10.0.0.0/8 dev inside")));
    assert!(ip(&format!("-n {middle} route add default dev outside")));
    let rules = format!(
        "table ip filter {{ {nat} chain forward {{ type filter hook forward priority 0; policy drop; {policy}; }}; }}"
    );
    middle.tell("nft", &rules);
    let mut settings =
        vec!["net.ipv4.ip_forward=1".to_owned(), "net.netfilter.nf_conntrack_acct=1".to_owned()];
    for place in ["all", "inside", "outside"] {
        settings.push(format!("net.ipv4.conf.{place}.rp_filter=0"));
        settings.push(format!("net.ipv4.conf.{place}.send_redirects=0"));
    }
    let timeouts = TIMEOUTS.iter().map(|(name, _, seconds)| (*name, seconds.to_string()));
    let options = options.iter().map(|(name, _)| (*name, "1".to_owned()));
    settings.extend(
        timeouts.chain(options).map(|(name, value)| format!("net.netfilter.nf_conntrack_{name}={value}")),
    );
    middle.tell("sysctl", &format!("-qw {}", settings.join(" ")));
    let out = bench.play(exchanges);
    Some((out, middle.tell("conntrack", "-L")))
}

/// The same of Sluice.
fn our_own(
    test: &str,
    policy: &str,
    nat: &str,
    options: &[(&str, &str)],
    exchanges: &[Vec<Packet>; 2],
) -> (Vec<String>, String) {
    let bench = Bench::new(&format!("{test}-sluice")).expect("the other one could be made");
    let timeouts = |of: &str| {
        let own =
            TIMEOUTS.iter().filter_map(|(_, place, s)| Some(format!("{}: {s}", place.strip_prefix(of)?)));
        own.collect::<Vec<_>>().join(", ")
    };
    let options: Vec<String> = options.iter().map(|(_, key)| format!("{key}: true")).collect();
    let config = format!(
        "version: 1
system: {{ cores: {{ control: 0, workers: [0] }}, memory: {{ hugepages: 512M }} }}
interfaces:
  inside: {{ device: 'vdev:net_af_packet0,iface=inside' }}
  outside: {{ device: 'vdev:net_af_packet1,iface=outside' }}
conntrack:
  preset: linux
  max-entries: 1K
  tcp: {{ {} }}
  timeouts: {{ tcp: {{ {} }}, udp: {{ {} }}, icmp: {} }}
nat: {nat}
policy: {{ rules: {policy} }}
",
        options.join(", "),
        timeouts("tcp."),
        timeouts("udp."),
        TIMEOUTS[12].2,
    );
    let daemon = BoxUnderTest::start_inside(bench.spaces.namespaces()[0], &config);
    let out = bench.play(exchanges);
    (out, daemon.tell("conntrack -L"))
}

/// The entries of a listing in a fixed order: remaining seconds, and all the rest.
fn entries(listing: &str) -> Vec<(String, u32)> {
    let entry = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let rest = [&words[..2], &words[3..]].concat().join(" ");
        (rest, words[2].parse().expect("the third word is a number of seconds"))
    };
    let mut entries: Vec<_> = listing.lines().filter(|line| line.contains("src=")).map(entry).collect();
    entries.sort();
    entries
}

/// Plays the same six exchanges to both.
fn compare(test: &str, policy: [&str; 2], nat: [&str; 2], options: &[(&str, &str)], seed: u64) {
    let ([theirs, ours], [their_nat, our_nat]) = (policy, nat);
    let open: &[usize] = if policy == FIREWALL { &[0] } else { &[0, 1] };
    let alike = Alike { open, resets: options.is_empty() };
    let tcp = [packets::tcp(seed, 1, alike), packets::tcp(seed + 1, 2, alike)];
    let first = [&tcp[0][..], &packets::udp_questions(seed, 3), &packets::icmp(seed, 4)].concat();
    let second = [&tcp[1][..], &packets::udp_streams(seed, 3), &packets::icmp(seed + 1, 5)].concat();
    let exchanges = match nat {
        NO_NAT => [first, second],
        _ => [first, second].map(packets::to_translated),
    };
    let Some((expected, listed)) = linux(test, theirs, their_nat, options, &exchanges) else {
        return;
    };
    let (found, own_listing) = our_own(test, ours, our_nat, options, &exchanges);
    let sent = exchanges.concat();
    assert_eq!(expected.len(), sent.len() + 1);
    for (number, packet) in sent.iter().enumerate() {
        let place = number + 1;
        assert_eq!(found[place], expected[place], "packet {number} {} {}", packet.side, hex(&packet.l3));
    }
    let (found, expected) = (entries(&own_listing), entries(&listed));
    let names = |entries: &[(String, u32)]| entries.iter().map(|(rest, _)| rest.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    assert!(expected.len() > 20, "{listed}");
    for ((entry, ours), (_, theirs)) in found.iter().zip(&expected) {
        assert!(ours.abs_diff(*theirs) < TOLERANCE_S, "{ours} s instead of {theirs} s: {entry}");
    }
}

#[test]
fn a_firewall_does_as_linux_does() {
    compare("fw", FIREWALL, NO_NAT, &[], 1);
}

#[test]
fn an_open_box_does_as_linux_does() {
    compare("open", VALID, NO_NAT, &[], 2);
}

#[test]
fn a_box_that_translates_does_as_linux_does() {
    compare("nat", VALID, ONE_TO_ONE, &[], 4);
    compare("nat-fw", FIREWALL, ONE_TO_ONE, &[], 5);
}

#[test]
fn a_liberal_box_does_as_linux_does() {
    compare(
        "liberal",
        VALID,
        NO_NAT,
        &[("tcp_be_liberal", "be-liberal"), ("tcp_ignore_invalid_rst", "ignore-invalid-rst")],
        3,
    );
}
