//! Random rule sets: what passes the kernel, passes what `sluice import` makes of them, and nothing else does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use etherparse::{Icmpv4Type, PacketBuilder};
use serde_json::Value;
use sluice::import::{Effect, Sources, import};

use super::Numbers;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/import/kernel.py");
const SLUICE: &str = env!("CARGO_BIN_EXE_sluice");

/// The kernel's router of kernel.py.
const ADDRESSES: &str = r#"[
  {"ifname": "eth0", "link_type": "ether", "mtu": 1500, "addr_info": [{"local": "10.0.0.1", "prefixlen": 24, "scope": "global"}]},
  {"ifname": "eth1", "link_type": "ether", "mtu": 1500, "addr_info": [{"local": "10.0.1.1", "prefixlen": 24, "scope": "global"}]},
  {"ifname": "eth2", "link_type": "ether", "mtu": 1500, "addr_info": [{"local": "10.0.2.1", "prefixlen": 24, "scope": "global"}]}
]"#;

/// Rule sets that are tried, and packets that are sent through each. `RULE_SETS=200` tries more.
const RULE_SETS: u64 = 10;
const PACKETS: u16 = 300;

/// The interface of a network, and a frame.
type Probe = (usize, Vec<u8>);

const PORTS: [u16; 6] = [22, 53, 80, 443, 1000, 5000];

impl Numbers {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn maybe(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What a rule looks at. Chains of `forward` alone know the way out.
fn matches(numbers: &mut Numbers, is_forward: bool) -> String {
    let mut text = String::new();
    let not = if numbers.maybe(20) { "!= " } else { "" };
    if numbers.maybe(30) {
        let names = numbers.one(&["\"eth0\"", "\"eth1\"", "{ \"eth0\", \"eth2\" }", "\"eth*\"", "\"eth9\""]);
        let _ = write!(text, "iifname {not}{names} ");
    }
    if is_forward && numbers.maybe(20) {
        let names = numbers.one(&["\"eth0\"", "\"eth1\"", "\"eth2\""]);
        let _ = write!(text, "oifname {names} ");
    }
    if numbers.maybe(25) {
        let not = if numbers.maybe(30) { "!= " } else { "" };
        let addresses = numbers.one(&[
            "10.0.0.0/24",
            "10.0.1.2-10.0.1.5",
            "10.0.0.3",
            "{ 10.0.0.2, 10.0.2.0/29 }",
            "@hosts",
        ]);
        let _ = write!(text, "ip saddr {not}{addresses} ");
    }
    if numbers.maybe(25) {
        let not = if numbers.maybe(30) { "!= " } else { "" };
        let addresses = numbers.one(&[
            "10.0.1.0/24",
            "10.0.1.1",
            "10.0.2.4-10.0.2.7",
            "{ 10.0.0.1, 10.0.2.5 }",
            "@hosts",
        ]);
        let _ = write!(text, "ip daddr {not}{addresses} ");
    }
    let states = [
        "new",
        "established",
        "established,related",
        "invalid",
        "{ new, untracked }",
        "!= new",
        "!= invalid",
    ];
    if numbers.maybe(30) {
        let _ = write!(text, "ct state {} ", numbers.one(&states));
    }
    text.push_str(match numbers.below(13) {
        0 => "tcp dport { 22, 80 } ",
        1 => "tcp dport 1000-5000 ",
        2 => "udp dport != 53 ",
        3 => "udp sport < 1024 ",
        4 => "meta l4proto { tcp, udp } th dport 443 ",
        5 => "meta l4proto != tcp ",
        6 => "icmp type { echo-request, destination-unreachable } ",
        7 => "icmp type != echo-reply ",
        8 => "tcp flags & (fin | syn | rst | ack) == syn ",
        9 => "tcp flags & (syn | ack) != syn ",
        10 => "ip saddr . udp dport { 10.0.0.2 . 53, 10.0.1.3 . 22 } ",
        _ => "",
    });
    if numbers.maybe(8) {
        text.push_str("ct mark 7 ");
    }
    if numbers.maybe(5) {
        text.push_str("ct direction reply ");
    }
    text
}

/// A rule of a chain that may jump to those numbered from `next`.
fn rule(numbers: &mut Numbers, next: usize, is_forward: bool) -> String {
    let matches = matches(numbers, is_forward);
    let verdict = match numbers.below(10) {
        0..3 => "accept".to_owned(),
        3..6 => "drop".to_owned(),
        6 => "return".to_owned(),
        7 if next < CHAINS => format!("jump c{}", next + numbers.below(CHAINS - next)),
        8 if next < CHAINS => format!("goto c{}", next + numbers.below(CHAINS - next)),
        // Where a rule says what protocol it is about, nft takes no other.
        7 if !["tcp", "udp", "icmp"].iter().any(|protocol| matches.contains(protocol)) => {
            "tcp dport vmap { 22 : accept, 80 : drop, 443 : return }".to_owned()
        }
        _ => "ct mark set 7".to_owned(),
    };
    format!("{matches}{verdict}\n")
}

/// Chains that are jumped to.
const CHAINS: usize = 4;

fn rule_set(numbers: &mut Numbers) -> String {
    let mut text = "table inet t {\nset hosts { type ipv4_addr; flags interval; elements = { 10.0.0.4-10.0.0.6, 10.0.2.8 } }\n".to_owned();
    for chain in (0..CHAINS).rev() {
        let rules: String = (0..2 + numbers.below(4)).map(|_| rule(numbers, chain + 1, false)).collect();
        let _ = writeln!(text, "chain c{chain} {{\n{rules}}}");
    }
    let has_nat = numbers.maybe(40);
    for (name, hook, priority) in [
        ("input", "input", "0"),
        ("forward", "forward", "0"),
        ("later", "forward", "10"),
        ("early", "prerouting", "-150"),
    ] {
        if matches!(name, "later" | "early") && !numbers.maybe(50) {
            continue;
        }
        let policy = numbers.one(&["accept", "drop"]);
        let policy = if name == "early" { "accept" } else { policy };
        let count = if name == "early" { 2 } else { 4 + numbers.below(5) };
        let rules: String = (0..count)
            .map(|_| match name {
                "early" => {
                    format!("ip saddr {} drop\n", numbers.one(&["10.0.0.7", "10.0.1.0/30", "10.0.2.9"]))
                }
                _ => rule(numbers, 0, hook == "forward"),
            })
            .collect();
        let _ = writeln!(
            text,
            "chain {name} {{ type filter hook {hook} priority {priority}; policy {policy};\n{rules}}}"
        );
    }
    if numbers.maybe(30) {
        text.push_str("chain raw { type filter hook prerouting priority raw; policy accept;\nudp dport 5000 notrack\n}\n");
    }
    if has_nat {
        text.push_str(
            "chain dn { type nat hook prerouting priority dstnat; policy accept;\n\
             ip saddr 10.0.0.2 return\niifname \"eth0\" tcp dport 80 dnat ip to 10.0.2.5:22\n\
             ip daddr 10.0.1.1 udp dport { 53, 443 } dnat ip to 10.0.1.6\n}\n",
        );
    }
    text.push_str("}\n");
    text
}

/// A packet from one network to another, and perhaps its answer.
fn exchange(numbers: &mut Numbers, probes: &mut Vec<Probe>) {
    let from = numbers.below(3);
    let to = (from + 1 + numbers.below(2)) % 3;
    let host = |network: usize, host: usize| [10, 0, network as u8, host as u8];
    let (source, destination) = (host(from, 2 + numbers.below(8)), host(to, 1 + numbers.below(9)));
    let (sport, dport) = (PORTS[numbers.below(PORTS.len())], PORTS[numbers.below(PORTS.len())]);
    let kind = numbers.below(5);
    let flags = numbers.below(8);
    let mut send =
        |network: usize, source: [u8; 4], destination: [u8; 4], sport: u16, dport: u16, answers: bool| {
            let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, network as u8, 1]);
            let mut header =
                etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber(0), source, destination).unwrap();
            header.identification = probes.len() as u16 + 1;
            let builder =
                builder.ip(etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default()));
            let mut frame = Vec::new();
            let written = match kind {
                0 | 1 => builder.udp(sport, dport).write(&mut frame, &[0; 8]),
                2 => {
                    let echo = etherparse::IcmpEchoHeader { id: 7, seq: 1 };
                    let is_request = !answers && flags != 0;
                    let kind =
                        if is_request { Icmpv4Type::EchoRequest(echo) } else { Icmpv4Type::EchoReply(echo) };
                    builder.icmpv4(kind).write(&mut frame, &[0; 8])
                }
                _ => {
                    let tcp = builder.tcp(sport, dport, 1000, 5840);
                    match (answers, flags) {
                        (true, _) => tcp.syn().ack(1001),
                        (false, 0) => tcp.ack(1),
                        (false, 1) => tcp.fin().ack(1),
                        (false, 2) => tcp.syn().fin(),
                        _ => tcp.syn(),
                    }
                    .write(&mut frame, &[])
                }
            };
            written.unwrap();
            probes.push((network, frame));
        };
    send(from, source, destination, sport, dport, false);
    if destination[3] != 1 && numbers.below(2) == 0 {
        send(to, destination, source, dport, sport, true);
    }
}

/// The identifications of the packets that pass what the rules become, by a replay.
fn passed(directory: &Path, yaml: &str, probes: &[Probe]) -> Vec<u64> {
    std::fs::write(directory.join("sluice.yaml"), yaml).unwrap();
    let mut replay = Command::new(SLUICE);
    replay.current_dir(directory).args(["replay", "-c", "sluice.yaml", "--trace", "trace", "--out", "out"]);
    for network in 0..3 {
        let mut pcap =
            vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0];
        for (number, (_, frame)) in probes.iter().enumerate().filter(|(_, (port, _))| *port == network) {
            let lengths = [frame.len() as u32; 2];
            for word in [1_700_000_000, number as u32 * 1000].into_iter().chain(lengths) {
                pcap.extend(word.to_le_bytes());
            }
            pcap.extend(frame);
        }
        std::fs::write(directory.join(format!("eth{network}.pcap")), pcap).unwrap();
        replay.arg("--in").arg(format!("eth{network}=eth{network}.pcap"));
    }
    let output = replay.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let trace = std::fs::read_to_string(directory.join("trace")).unwrap();
    let lines = trace.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line["verdict"] == "accept" || line["verdict"] == "deliver")
        .map(|line| line["number"].as_u64().unwrap())
        .collect()
}

#[test]
fn random_rule_sets_pass_what_they_pass_in_the_kernel() {
    let can = Command::new("unshare").args(["-n", "nft", "list", "ruleset"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        let _ = writeln!(std::io::stderr(), "skipped: asking the kernel needs root, unshare and nft");
        return;
    }
    let (mut compared, mut accepted, mut refused) = (0, 0, 0);
    let rule_sets = std::env::var("RULE_SETS").ok().and_then(|count| count.parse().ok()).unwrap_or(RULE_SETS);
    for seed in 1..=rule_sets {
        let mut numbers = Numbers(seed);
        let rules = rule_set(&mut numbers);
        let mut probes = Vec::new();
        while probes.len() < usize::from(PACKETS) {
            exchange(&mut numbers, &mut probes);
        }
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("rules"), &rules).unwrap();
        let hex = |frame: &[u8]| frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let lines: String =
            probes.iter().map(|(port, frame)| format!("eth{port} {}\n", hex(frame))).collect();
        std::fs::write(path("probes"), lines).unwrap();
        let asked = Command::new("unshare")
            .args(["-n", "python3", SCRIPT])
            .args([path("rules"), path("probes")])
            .output();
        let asked = asked.unwrap();
        assert!(asked.status.success(), "{}\n{rules}", String::from_utf8_lossy(&asked.stderr));
        let answer: Value = serde_json::from_slice(&asked.stdout).unwrap();

        let imported = import(&Sources {
            nft: vec![("rules".to_owned(), answer["ruleset"].as_str().unwrap().to_owned())],
            addresses: vec![("addresses".to_owned(), ADDRESSES.to_owned())],
            ..Sources::default()
        });
        let imported = imported.unwrap_or_else(|why| panic!("{why}\n{rules}"));
        let left: Vec<String> = imported
            .leftovers
            .iter()
            .filter(|leftover| leftover.effect != Effect::Note)
            .map(ToString::to_string)
            .collect();
        if !left.is_empty() {
            let _ = writeln!(std::io::stderr(), "seed {seed} is not carried over whole: {left:?}");
            continue;
        }
        compared += 1;
        let mut in_kernel: Vec<u64> =
            answer["passed"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        in_kernel.sort_unstable();
        accepted += in_kernel.len();
        refused += probes.len() - in_kernel.len();
        let here = passed(directory.path(), &imported.yaml, &probes);
        let differs: Vec<u64> = (1..=probes.len() as u64)
            .filter(|number| in_kernel.contains(number) != here.contains(number))
            .collect();
        assert!(
            differs.is_empty(),
            "seed {seed}: of {}, packets {differs:?} differ; the kernel lets pass {in_kernel:?}\n{rules}\n{}",
            probes.len(),
            imported.yaml
        );
    }
    assert!(compared * 2 > rule_sets, "only {compared} rule sets could be carried over whole");
    assert!(
        accepted.min(refused) > usize::from(PACKETS),
        "{accepted} passed, {refused} did not: nothing was compared"
    );
}
