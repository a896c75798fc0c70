//! `sluice compare` against the kernel of this machine: needs root, and says so where it has not.

mod capture;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use etherparse::{PacketBuilder, PacketBuilderStep, VlanId};

use capture::capture;

const BOX: &str = "version: 1
interfaces:
  lan: { device: vdev:net_tap0, addresses: [10.0.0.1/24, 2001:db8::1/64], host: true }
  guests: { device: vlan:lan.20, addresses: [10.20.0.1/24], host: true }
  wan: { device: vdev:net_tap1, addresses: [203.0.113.1/24, 2001:db8:1::1/64], rp-filter: strict, host: true }
routes: [{ to: 0.0.0.0/0, via: 203.0.113.254, dev: wan }]
conntrack: { preset: linux }
nat:
  destination: [{ in: wan, protocol: tcp, destination: 203.0.113.1, destination-port: 8080, to: 10.0.0.2:80 }]
  source: [{ out: wan, family: ipv4, masquerade: true }]
policy:
  rules:
    - { state: [established, related], action: accept }
    - { in: [lan, guests], protocol: tcp, destination-port: 25, action: reject }
    - { in: [lan, guests], state: new, action: accept }
    - { in: wan, out: lan, status: dnat, action: accept }
  default: drop
";

const NFT: &str = "table inet box {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname { lan, guests } tcp dport 25 reject with tcp reset
        iifname { lan, guests } ct state new accept
        iifname wan oifname lan ct status dnat accept
    }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname { lan, guests } tcp dport 25 reject with tcp reset
        iifname { lan, guests } ct state new accept
    }
    chain dstnat {
        type nat hook prerouting priority dstnat;
        iifname wan ip daddr 203.0.113.1 tcp dport 8080 dnat ip to 10.0.0.2:80
    }
    chain srcnat { type nat hook postrouting priority srcnat; oifname wan meta nfproto ipv4 masquerade; }
}
";

const IPTABLES: &str = "*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -i wan -d 203.0.113.1 -p tcp --dport 8080 -j DNAT --to-destination 10.0.0.2:80
-A POSTROUTING -o wan -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:inside - [0:0]
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -i lan -j inside
-A INPUT -i guests -j inside
-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A FORWARD -i lan -j inside
-A FORWARD -i guests -j inside
-A FORWARD -i wan -o lan -m conntrack --ctstate DNAT -j ACCEPT
-A inside -p tcp --dport 25 -j REJECT --reject-with tcp-reset
-A inside -m conntrack --ctstate NEW -j ACCEPT
COMMIT
";

/// A directory with the box, two captures of what comes in to it, and rules.
struct Bench(tempfile::TempDir);

/// Frames, each with the second that it comes in.
type Frames = Vec<(u32, Vec<u8>)>;

impl Bench {
    /// One for a test, unless this process may not ask the kernel.
    fn new() -> Option<Bench> {
        let can = Command::new("unshare").args(["-n", "nft", "list", "ruleset"]).output();
        if !can.is_ok_and(|output| output.status.success()) {
            let _ = writeln!(std::io::stderr(), "skipped: asking the kernel needs root, unshare and nft");
            return None;
        }
        let it = Bench(tempfile::tempdir().unwrap());
        let [lan, wan] = traffic();
        it.write("lan.pcap", &capture(&lan));
        it.write("wan.pcap", &capture(&wan));
        it.write("box.yaml", BOX.as_bytes());
        Some(it)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    fn compare(&self, arguments: &[&str]) -> Output {
        let mut compare = Command::new(env!("CARGO_BIN_EXE_sluice"));
        compare.current_dir(self.0.path()).args(["compare", "-c", "box.yaml"]).args(arguments);
        compare.args(["--in", "lan=lan.pcap", "--in", "wan=wan.pcap"]).output().unwrap()
    }
}

/// What comes in from inside and from outside. The box's MAC address is another one here than on the kernel's side.
fn traffic() -> [Frames; 2] {
    let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 9], [2, 0, 0, 0, 9, 1]);
    let guest = || ethernet().single_vlan(VlanId::try_new(20).unwrap());
    let (client, server, own) = ([10, 0, 0, 2], [192, 0, 2, 1], [203, 0, 113, 1]);
    let write = |packet: PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]| {
        let mut frame = Vec::new();
        packet.write(&mut frame, payload).unwrap();
        frame
    };
    let tcp = |packet: PacketBuilderStep<etherparse::TcpHeader>| {
        let mut frame = Vec::new();
        packet.write(&mut frame, &[]).unwrap();
        frame
    };
    let echo = |packet: PacketBuilderStep<etherparse::Icmpv4Header>| {
        let mut frame = Vec::new();
        packet.write(&mut frame, b"echo").unwrap();
        frame
    };
    let (v6, v6_server) = ("2001:db8::2".parse::<std::net::Ipv6Addr>().unwrap().octets(), "2001:db8:1::2");
    let v6_server = v6_server.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let lan = vec![
        (1, tcp(ethernet().ipv4(client, server, 64).tcp(40000, 80, 1, 5840).syn())),
        (3, tcp(ethernet().ipv4(client, server, 64).tcp(40000, 80, 2, 5840).ack(101))),
        (4, tcp(ethernet().ipv4(client, server, 64).tcp(40001, 25, 1, 5840).syn())),
        (5, echo(ethernet().ipv4(client, [10, 0, 0, 1], 64).icmpv4_echo_request(7, 1))),
        (6, write(ethernet().ipv4(client, server, 1).udp(5, 53), b"no hops left")),
        (7, write(guest().ipv4([10, 20, 0, 2], server, 64).udp(5, 53), b"question")),
        (9, write(ethernet().ipv6(v6, v6_server, 64).udp(5, 53), b"question")),
        (13, tcp(ethernet().ipv4(client, [198, 51, 100, 9], 64).tcp(80, 5000, 70, 5840).syn().ack(8))),
        (14, tcp(ethernet().ipv4(client, server, 64).tcp(40002, 80, 5, 5840).fin().syn())),
    ];
    let wan = vec![
        (2, tcp(ethernet().ipv4(server, own, 64).tcp(80, 40000, 100, 5840).syn().ack(2))),
        (8, write(ethernet().ipv4(server, own, 64).udp(53, 5), b"answer")),
        (10, write(ethernet().ipv6(v6_server, v6, 64).udp(53, 5), b"answer")),
        (11, write(ethernet().ipv4([192, 0, 2, 7], own, 64).udp(53, 5), b"of nobody that was asked")),
        (12, tcp(ethernet().ipv4([198, 51, 100, 9], own, 64).tcp(5000, 8080, 7, 5840).syn())),
        (15, write(ethernet().ipv4([10, 0, 0, 7], client, 64).udp(1, 2), b"spoofed")),
    ];
    [lan, wan]
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const ALIKE: &str = "15 packets: alike, 9 pass, 1 are for the box, 2 are refused, 3 are dropped; 0 differ\n";

#[test]
fn rules_that_say_the_same_do_the_same() {
    let Some(bench) = Bench::new() else { return };
    bench.write("rules.nft", NFT.as_bytes());
    let output = bench.compare(&["--nft", "rules.nft"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (ALIKE.to_owned(), String::new()));
    assert!(output.status.success());
}

#[test]
fn what_iptables_has_saved_is_compared_alike() {
    let Some(bench) = Bench::new() else { return };
    bench.write("rules.v4", IPTABLES.as_bytes());
    bench.write(
        "rules.v6",
        IPTABLES.split_once("*filter").map(|(_, rest)| format!("*filter{rest}")).unwrap().as_bytes(),
    );
    let output = bench.compare(&["--iptables", "rules.v4", "--ip6tables", "rules.v6"]);
    assert_eq!((text(&output.stdout), text(&output.stderr)), (ALIKE.to_owned(), String::new()));
}

#[test]
fn each_packet_that_differs_is_shown_with_both_sides() {
    let Some(bench) = Bench::new() else { return };
    bench.write("rules.nft", NFT.replace("dport 25 reject with tcp reset", "dport 443 drop").as_bytes());
    let output = bench.compare(&["--nft", "rules.nft"]);
    let shown = "\
packet 4  in lan tcp 10.0.0.2:40001 -> 192.0.2.1:25 syn
  kernel  accept, out wan: tcp 203.0.113.1:40001 -> 192.0.2.1:25 syn
  sluice  reject NEW by policy.rules[1] (box.yaml:14)
15 packets: alike, 9 pass, 1 are for the box, 1 are refused, 3 are dropped; 1 differ
";
    assert_eq!((text(&output.stdout), text(&output.stderr)), (shown.to_owned(), String::new()));
    assert_eq!(output.status.code(), Some(1));
    let output = bench.compare(&["--nft", "rules.nft", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["alike"], serde_json::json!({ "accept": 9, "local": 1, "reject": 1, "drop": 3 }));
    assert_eq!(json["differences"][0]["number"], 4);
}

#[test]
fn what_the_kernel_does_not_take_is_said() {
    let Some(bench) = Bench::new() else { return };
    bench.write("rules.nft", b"table inet t { chain c { no such match } }\n");
    let output = bench.compare(&["--nft", "rules.nft"]);
    let said = text(&output.stderr);
    assert!(said.starts_with("sluice: nft: rules.nft:1:"), "{said}");
    let output = bench.compare(&["--nft", "nowhere.nft"]);
    assert!(text(&output.stderr).contains("cannot read nowhere.nft"), "{}", text(&output.stderr));
}
