//! What is fragmented: packets that are cut, and answers to what came in fragments, have left once, and their fragments besides.

use etherparse::{
    IcmpEchoHeader, Icmpv4Header, Icmpv4Type, IpFragOffset, IpHeaders, IpNumber, Ipv4Header, PacketBuilder,
};

use super::scratch::{Packet, Replayed, S, START, Scratch, pcap};

/// A router that translates, whose way out takes less than packets have, and that refuses a port.
const NARROW: &str = "
version: 1
forwarding: routed
interfaces:
  inside: {device: 'vdev:net_null0', addresses: [10.0.0.1/24]}
  outside: {device: 'vdev:net_null1', addresses: [198.51.100.1/24], mtu: 1280}
policy:
  default: accept
  rules:
    - {protocol: udp, destination-port: 113, action: reject}
    - {protocol: udp, destination-port: 25, action: drop}
nat: {source: [{out: outside, masquerade: true}]}
";

const LINK: [u8; 14] = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];

/// Clients, each of whom sends one of everything.
const CLIENTS: u8 = 40;

fn udp(client: u8, port: u16, bytes: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
    let mut ip = Ipv4Header::new(0, 64, IpNumber::UDP, [10, 0, 0, client], [198, 51, 100, 2]).unwrap();
    ip.dont_fragment = false;
    let mut frame = Vec::new();
    builder
        .ip(IpHeaders::Ipv4(ip, Default::default()))
        .udp(4000, port)
        .write(&mut frame, &vec![7; bytes])
        .unwrap();
    frame
}

/// A fragment of a datagram of a client's, which is `payload` altogether.
fn fragment(client: u8, to: [u8; 4], protocol: u8, payload: &[u8], from: usize, bytes: usize) -> Vec<u8> {
    let end = payload.len().min(from + bytes);
    let part = &payload[from..end];
    let mut ip = Ipv4Header::new(part.len() as u16, 64, protocol.into(), [10, 0, 0, client], to).unwrap();
    ip.identification = client.into();
    ip.dont_fragment = false;
    ip.more_fragments = end < payload.len();
    ip.fragment_offset = IpFragOffset::try_new((from / 8) as u16).unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    [&LINK[..], &ip.to_bytes(), part].concat()
}

/// An echo request to the box that comes in three fragments.
fn ping(client: u8) -> Vec<Vec<u8>> {
    let echo = Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 9, seq: 1 });
    let data = [5; 1000];
    let header = Icmpv4Header::with_checksum(echo, &data).to_bytes();
    let message = [&header[..], &data].concat();
    [0, 400, 800].map(|from| fragment(client, [10, 0, 0, 1], 1, &message, from, 400)).into()
}

/// A datagram in two fragments, the first of which is to be cut again.
fn long(client: u8) -> Vec<Vec<u8>> {
    let datagram = &udp(client, 53, 2500)[34..];
    [0, 1400].map(|from| fragment(client, [198, 51, 100, 2], 17, datagram, from, 1400)).into()
}

fn replay(workers: u16) -> Replayed {
    let frames = (2..2 + CLIENTS).flat_map(|client| {
        let single = [udp(client, 53, 1400), udp(client, 53, 100), udp(client, 113, 8), udp(client, 25, 8)];
        // The rest of the last never comes.
        [single.into(), ping(client), long(client), ping(client)[..2].to_vec()].concat()
    });
    let packets: Vec<Packet> =
        (0..).zip(frames).map(|(number, frame)| (START + number * S / 50, frame)).collect();
    Scratch::new(NARROW).input("inside", &pcap(&packets)).with(format!("--workers={workers}")).replay()
}

#[test]
fn what_leaves_in_fragments_is_counted_once_and_the_fragments_besides() {
    let clients = u64::from(CLIENTS);
    for workers in [1, 2, 4] {
        let replayed = replay(workers);
        let report = &replayed.report;
        assert_eq!(report["packets_in"], 11 * clients, "{report:#}");
        assert_eq!(report["answers"]["sent"], 2 * clients, "to a ping, and to who is refused: {report:#}");
        // One packet, one answer and two fragments are cut, into 2, 3 and 2.
        let fragmented = &report["fragmented"];
        assert_eq!(
            (&fragmented["packets"], &fragmented["into"]),
            (&(4 * clients).into(), &(7 * clients).into())
        );
        assert_eq!(
            (&report["delivered"], &report["drops"]["policy"]),
            (&(3 * clients).into(), &clients.into())
        );
        assert_eq!(replayed.outside.len() as u64, 5 * clients, "{workers} workers");
    }
}
