//! Packets of a running daemon in a capture file: before and after translation, with what was decided about them.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use etherparse::{NetHeaders, PacketHeaders};
use pcap_parser::pcapng::Block;
use pcap_parser::traits::PcapNGPacketBlock as _;
use pcap_parser::{OptionCode, PcapBlockOwned, PcapNGOption, PcapNGSlice, nom};
use serde_json::{Value, json};

use crate::box_under_test::{BoxUnderTest, sluice, text, wait_for, write_endless};
use crate::cores;
use crate::namespaces::{PEERS, Streams};
use crate::site::{FAMILIES, Site};

const ICMP: u8 = 1;

/// A packet of a capture file.
#[derive(Clone, Debug)]
struct Captured {
    interface: String,
    sent: bool,
    time_ns: u64,
    len: u32,
    bytes: Vec<u8>,
    comment: String,
}

impl Captured {
    fn ends(&self) -> (IpAddr, IpAddr) {
        match PacketHeaders::from_ethernet_slice(&self.bytes).unwrap().net.unwrap() {
            NetHeaders::Ipv4(header, _) => (header.source.into(), header.destination.into()),
            NetHeaders::Ipv6(header, _) => (header.source.into(), header.destination.into()),
            NetHeaders::Arp(_) => panic!("no IP packet"),
        }
    }

    fn protocol(&self) -> u8 {
        self.bytes[23]
    }

    /// Where it was captured.
    fn place(&self) -> (&str, bool) {
        (&self.interface, self.sent)
    }
}

/// The packets of a capture file, in its order, and the number of interfaces that it has statistics of, which end it. The last block of
/// one that is still written may be there in part.
fn read(file: &[u8]) -> (Vec<Captured>, usize) {
    let value = |options: &[PcapNGOption<'_>], code: u16| {
        let option = options.iter().find(|option| option.code == OptionCode(code)).unwrap();
        option.as_bytes().unwrap().to_vec()
    };
    let (mut interfaces, mut packets, mut statistics) = (Vec::new(), Vec::new(), 0);
    for block in PcapNGSlice::from_slice(file).unwrap() {
        let block = match block {
            Err(nom::Err::Incomplete(_)) => break,
            block => block.unwrap(),
        };
        match block {
            PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
                assert_eq!(interface.if_tsresol, 9, "nanoseconds");
                interfaces.push(interface.if_name().unwrap().unwrap().to_owned());
            }
            PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => packets.push(Captured {
                interface: interfaces[packet.if_id as usize].clone(),
                sent: match value(&packet.options, 2)[..] {
                    [1, 0, 0, 0] => false,
                    [2, 0, 0, 0] => true,
                    ref flags => panic!("neither in nor out: {flags:?}"),
                },
                time_ns: u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low),
                len: packet.origlen,
                bytes: packet.packet_data().to_vec(),
                comment: text(&value(&packet.options, 1)),
            }),
            PcapBlockOwned::NG(Block::InterfaceStatistics(_)) => statistics += 1,
            PcapBlockOwned::NG(_) => {}
            _ => panic!("not a block of pcapng"),
        }
    }
    (packets, statistics)
}

/// Starts a capture, and waits until packets are captured.
fn start(daemon: &BoxUnderTest, arguments: &str) -> Child {
    let stderr = daemon.path("capture-stderr");
    let mut command = sluice();
    command.arg("capture").args(arguments.split_whitespace()).arg("--socket").arg(daemon.socket());
    command.current_dir(daemon.directory.path()).stderr(File::create(&stderr).unwrap());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_for("the capture to begin", || fs::read_to_string(&stderr).unwrap().contains("sluice: capturing\n"));
    child
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

/// What tcpdump says of a file, where it is installed.
fn tcpdump(file: &Path) -> Option<String> {
    let output = Command::new("tcpdump").args(["-nr"]).arg(file).output().ok()?;
    assert!(output.status.success(), "{}", text(&output.stderr));
    Some(text(&output.stdout))
}

#[test]
fn a_masqueraded_connection_is_captured_before_and_after_its_translation() {
    let Some(site) = cores::are_there().then(|| Site::new("capture", "linux")).flatten() else { return };
    let (daemon, plan) = (&site.daemon, &FAMILIES[0]);
    let [client, server, outside] =
        [plan.client, plan.server, plan.outside].map(|address| address.parse::<IpAddr>().unwrap());
    let _server = site.server().serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    let mut other = Streams::open(site.client(), FAMILIES[1].server, 8080, 1);
    let mut capture = start(daemon, &format!("-p tcp -s {client} --dport 8080 -w both.pcapng"));
    let mut stream = Streams::open(site.client(), plan.server, 8080, 1);
    stream.go_on();
    other.go_on();
    let file = daemon.path("both.pcapng");
    wait_for("packets of both ways", || {
        let (packets, _) = read(&fs::read(&file).unwrap());
        packets.len() > 8 && packets.iter().any(|packet| packet.place() == ("inside", true))
    });
    signal(&capture, "INT");
    assert!(capture.wait().unwrap().success());
    let (packets, statistics) = read(&fs::read(&file).unwrap());
    assert_eq!(statistics, 2);
    // The stream is as fast as it can be: how many of its packets are lost is the host's affair.
    let said = fs::read_to_string(daemon.path("capture-stderr")).unwrap();
    let captured = format!("\nsluice: {} packets have been captured, ", packets.len());
    assert!(said.contains(&captured) && said.ends_with(" have been lost.\n"), "{said}");
    let mut places = [0; 4];
    // Among them may be what the router says of the narrow link behind it: that is about the connection.
    let (errors, segments): (Vec<_>, Vec<_>) = packets.iter().partition(|packet| packet.protocol() == ICMP);
    assert!(errors.iter().all(|error| error.comment.starts_with("accept RELATED ")), "{errors:?}");
    assert!(segments.is_sorted_by_key(|packet| packet.time_ns), "one worker's, as it decided about them");
    for packet in segments {
        let (number, ends) = match packet.place() {
            ("inside", false) => (0, (client, server)),
            ("outside", true) => (1, (outside, server)),
            ("outside", false) => (2, (server, outside)),
            ("inside", true) => (3, (server, client)),
            other => panic!("{other:?}"),
        };
        places[number] += 1;
        assert_eq!(packet.ends(), ends, "{packet:?}");
    }
    assert!(places.iter().all(|packets| *packets > 1), "{places:?}");
    assert!(packets.iter().all(|packet| packet.len as usize == packet.bytes.len()));
    let sent = |interface| packets.iter().rfind(|packet| packet.place() == (interface, true)).unwrap();
    assert_eq!(sent("outside").bytes[..6], [2, 0, 0, 0, 2, 0xfe], "the router's MAC address");
    assert_eq!(sent("inside").bytes[..6], [2, 0, 0, 0, 1, 2], "the client's");
    let comment = &sent("outside").comment;
    assert!(
        comment.starts_with("accept ESTABLISHED by policy.rules[0] (box.yaml:")
            && comment.contains("), out outside via 203.0.113.254 as 203.0.113.1:"),
        "{comment}"
    );
    if let Some(said) = tcpdump(&file) {
        assert_eq!(said.lines().count(), packets.len(), "{said}");
        assert!(said.contains("IP 203.0.113.1.") && said.contains("IP 10.0.0.2."), "{said}");
    }

    // One interface, and one way.
    let mut capture = start(daemon, "-i outside --at sent -w sent.pcapng -c 2");
    wait_for("two packets", || {
        stream.go_on();
        capture.try_wait().unwrap().is_some()
    });
    let (packets, _) = read(&fs::read(daemon.path("sent.pcapng")).unwrap());
    assert_eq!(packets.len(), 2);
    assert!(packets.iter().all(|packet| packet.place() == ("outside", true)), "{packets:?}");
}

/// What is dropped, and what is not.
const RULES: &str = "\
policy:
  default: accept
  rules:
    - { name: no-doom, protocol: udp, destination-port: 666, action: drop }
";

fn endless() -> BoxUnderTest {
    let directory = tempfile::tempdir().unwrap();
    write_endless(directory.path(), RULES);
    BoxUnderTest::spawn(directory, sluice())
}

#[test]
fn what_is_dropped_is_captured_as_it_came_in() {
    let daemon = endless();
    let captured = |arguments: &str| {
        let output = daemon.ask(&format!("capture {arguments}"));
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        output
    };
    let output = captured("-w - --drops -p udp --dport 666 -c 5 --snaplen 40");
    assert!(text(&output.stderr).contains("sluice: 5 packets have been captured, "));
    let (packets, _) = read(&output.stdout);
    assert_eq!(packets.len(), 5);
    for packet in packets {
        assert_eq!(packet.place(), ("inside", false));
        assert_eq!((packet.len, packet.bytes.len()), (42, 40));
        assert_eq!(packet.comment, "drop NEW by no-doom (box.yaml:12)");
    }
    let (packets, _) = read(&captured("-w - -s 10.0.0.1 --sport 7 -i outside -c 3").stdout);
    assert_eq!(packets.len(), 3);
    assert!(
        packets.iter().all(|packet| packet.place() == ("outside", true) && packet.bytes[34..36] == [0, 7])
    );
    let lines = text(&captured("-c 3 --drops --at received").stdout);
    assert_eq!(lines.lines().count(), 3);
    assert!(lines.lines().all(|line| line.contains(" inside in ") && line.contains(": drop")), "{lines}");
    let lines = text(&captured("--duration 1s -p udp --dport 9999").stdout);
    assert_eq!(lines, "");
}

#[test]
fn a_capture_ends_with_whoever_reads_it() {
    let daemon = endless();
    let capture = |arguments: &str| daemon.ask(&format!("capture {arguments}"));
    let mut killed = start(&daemon, "-w killed.pcapng --sport 1");
    signal(&killed, "KILL");
    killed.wait().unwrap();
    let request = |port: u16| json!({"request": "capture", "filter": {"dport": port}}).to_string() + "\n";
    let is_refused = |answer: &str| answer.contains("4 others trace or capture packets");
    wait_for("the place of the one that was killed", || {
        let said = daemon.say((1..=5).map(request).collect::<String>().as_bytes());
        let refused: Vec<bool> = said.lines().map(is_refused).collect();
        refused == [false, false, false, false, true]
    });
    wait_for("a place", || capture("-c 1 --sport 3").status.success());
    let stats: Value = serde_json::from_str(&daemon.tell("stats --json")).unwrap();
    assert_eq!(stats["revision"], 1);
    for (arguments, code, said) in [
        ("-i nowhere", 1, "there is no interface `nowhere`"),
        ("-w /nowhere/file -c 1", 1, "cannot write /nowhere/file: No such file or directory"),
        ("--snaplen 0", 2, "0 is not in 1.."),
        ("--count 0", 2, "0 is not in 1.."),
        ("--at left", 2, "[possible values: received, sent, both]"),
        ("-s 10.0.0.300", 2, "10.0.0.300"),
        ("--duration soon", 2, "`soon` is not a duration"),
    ] {
        wait_for(said, || {
            let output = capture(arguments);
            assert_eq!(output.status.code(), Some(code), "{arguments}");
            let said_of_it = text(&output.stderr);
            assert!(said_of_it.contains(said) || is_refused(&said_of_it), "{arguments}: {said_of_it}");
            said_of_it.contains(said)
        });
    }
    assert!(!daemon.path("nowhere").exists());
}
