//! What a replay says of helpers.

use etherparse::PacketBuilder;
use serde_json::json;

use super::scratch::{OPEN, Packet, Replayed, S, START, Scratch, pcap};

fn datagram(from: ([u8; 4], u16), to: ([u8; 4], u16), payload: &[u8]) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, from.0[3]], [2, 0, 0, 0, 0, to.0[3]]);
    let mut frame = Vec::new();
    builder.ipv4(from.0, to.0, 64).udp(from.1, to.1).write(&mut frame, payload).unwrap();
    frame
}

const CLIENT: [u8; 4] = [10, 0, 0, 1];
const SERVER: [u8; 4] = [10, 0, 0, 2];

/// Clients read a file each; one speaks another protocol, and one is never answered.
fn replay(workers: u16) -> Replayed {
    let at = |number: u64| START + number * S / 10;
    let request = b"\0\x01file\0octet\0";
    let asked: Vec<Packet> = vec![
        (at(0), datagram((CLIENT, 40_000), (SERVER, 69), request)),
        (at(2), datagram((CLIENT, 40_001), (SERVER, 69), b"hello")),
        (at(3), datagram((CLIENT, 40_002), (SERVER, 69), request)),
    ];
    let answered: Vec<Packet> =
        vec![(at(1), datagram((SERVER, 3000), (CLIENT, 40_000), b"\0\x03\0\x01data"))];
    let config = format!("{OPEN}helpers: {{ tftp: {{}} }}\n");
    let scratch = Scratch::new(&config).input("inside", &pcap(&asked)).input("outside", &pcap(&answered));
    scratch.with(format!("--workers={workers}")).replay()
}

#[test]
fn the_trace_says_what_each_packet_came_to_with_helpers() {
    for workers in [1, 4] {
        let replayed = replay(workers);
        assert_eq!(
            replayed.traced("helpers"),
            [
                json!({ "tftp": ["expected"] }),
                json!({ "tftp": ["met"] }),
                json!({ "tftp": ["other-protocol"] }),
                json!({ "tftp": ["expected"] }),
            ],
            "{workers} workers"
        );
        let expected = replayed.traced("expects");
        let line = "300 proto=17 src=10.0.0.2 dst=10.0.0.1 sport=0 dport=40000 mask-src=255.255.255.255 \
                    mask-dst=255.255.255.255 sport=0 dport=65535 master-src=10.0.0.1 master-dst=10.0.0.2 \
                    sport=40000 dport=69 class=0 helper=tftp";
        assert_eq!(expected[0], json!([line]));
        assert!(expected[1].is_null() && expected[2].is_null() && !expected[3].is_null());
        let tftp = &replayed.report["helpers"]["tftp"];
        assert_eq!((&tftp["assigned"], &tftp["expectations"]), (&json!(3), &json!(1)));
        assert_eq!((&tftp["events"]["expected"], &tftp["events"]["met"]), (&json!(2), &json!(1)));
        assert!(replayed.stdout.contains("tftp expected") || replayed.stderr.contains("tftp expected"));
    }
}

#[test]
fn without_helpers_the_trace_says_nothing_of_them() {
    let capture = pcap(&[(START, datagram((CLIENT, 40_000), (SERVER, 69), b"\0\x01file\0octet\0"))]);
    let replayed = Scratch::new(OPEN).input("inside", &capture).replay();
    assert!(replayed.traced("helpers")[0].is_null() && replayed.traced("expects")[0].is_null());
}

/// A segment with this text; without an acknowledgement a SYN, without a text an answer to one or an acknowledgement.
fn segment(from: ([u8; 4], u16), to: ([u8; 4], u16), seq: u32, ack: Option<u32>, text: &str) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, from.0[3]], [2, 0, 0, 0, 0, to.0[3]]);
    let builder = builder.ipv4(from.0, to.0, 64).tcp(from.1, to.1, seq, 5840);
    let builder = match ack {
        Some(ack) if seq == SERVERS_FIRST => builder.syn().ack(ack),
        Some(ack) => builder.ack(ack),
        None => builder.syn(),
    };
    let mut frame = Vec::new();
    builder.write(&mut frame, text.as_bytes()).unwrap();
    frame
}

/// The sequence number of a server's SYN.
const SERVERS_FIRST: u32 = 5000;

/// A client announces a port to a server of FTP, and what comes there from this address is judged: its state, and what became of it.
fn judged(config: &str, client: [u8; 4], server: [u8; 4], stranger: [u8; 4]) -> (String, String) {
    let (from, to) = ((client, 40_000), (server, 21));
    let [a, b, c, d] = client;
    let command = format!("PORT {a},{b},{c},{d},19,137\r\n");
    let at = |number: u64| START + number * S / 10;
    let said: Vec<Packet> = vec![
        (at(0), segment(from, to, 1000, None, "")),
        (at(2), segment(from, to, 1001, Some(5001), "")),
        (at(4), segment(from, to, 1001, Some(5009), &command)),
    ];
    let answered: Vec<Packet> = vec![
        (at(1), segment(to, from, SERVERS_FIRST, Some(1001), "")),
        (at(3), segment(to, from, 5001, Some(1001), "220 hi\r\n")),
        (at(5), segment((stranger, 20), (client, 5001), 9000, None, "")),
    ];
    let replayed =
        Scratch::new(config).input("inside", &pcap(&said)).input("outside", &pcap(&answered)).replay();
    let last = replayed.trace.last().unwrap();
    let text = |field: &str| last[field].as_str().unwrap_or_default().to_owned();
    (text("state"), text("verdict"))
}

/// What docs/helpers.md tells to do: RELATED connections of a helper, from and to where they may be.
#[test]
fn g24_the_recipe_lets_in_what_a_helper_expected_and_nothing_else() {
    let page = include_str!("../../../docs/helpers.md");
    let (_, page) = page.split_once("## Secure use").unwrap();
    let recipe = page.split("```").nth(1).unwrap().strip_prefix("yaml").unwrap();
    let config = format!(
        "version: 1\ninterfaces: {{inside: {{device: 'vdev:net_null0'}}, outside: {{device: 'vdev:net_null1'}}}}\n{recipe}"
    );
    let (client, server) = ([10, 0, 0, 5], [198, 51, 100, 2]);
    let accepted = ("RELATED".to_owned(), "accept".to_owned());
    let dropped = ("NEW".to_owned(), "drop".to_owned());
    assert_eq!(judged(&config, client, server, server), accepted);
    assert_eq!(judged(&config, client, server, [198, 51, 100, 3]), dropped, "another address");
    assert_eq!(judged(&config, [172, 16, 0, 5], server, server), dropped, "a client whom no helper reads");
    assert_eq!(judged(&config, client, [192, 0, 2, 2], [192, 0, 2, 2]), dropped, "nor a server");
}
