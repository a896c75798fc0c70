//! Seeded random exchanges of TCP, UDP and ICMP over IPv4.

/// A packet, and the side it goes in by.
#[derive(Clone, Debug)]
pub struct Packet {
    pub side: &'static str,
    pub l3: Vec<u8>,
}

pub type Address = [u8; 4];

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;

/// A stream of numbers that a seed fixes (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u32 % bound
    }

    fn one_in(&mut self, bound: u32) -> bool {
        self.below(bound) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u32) as usize]
    }
}

/// A client inside, a server outside, and what each has sent.
struct Peers {
    addresses: [Address; 2],
    ports: [u16; 2],
    next: [u32; 2],
}

impl Peers {
    fn new(net: u8, number: u16, server_port: u16) -> Peers {
        let addresses = [[10, net, 0, 2], [198, 51, 100, 2]];
        Peers { addresses, ports: [40_000 + number, server_port], next: [1000, 5000] }
    }

    /// A packet from one of them (0 is the client) to the other.
    fn packet(&self, from: usize, protocol: u8, l4: &[u8]) -> Packet {
        packet(from, self.addresses[from], self.addresses[1 - from], protocol, l4)
    }

    fn udp(&self, from: usize, data: &[u8]) -> Packet {
        let mut l4 = [self.ports[from].to_be_bytes(), self.ports[1 - from].to_be_bytes()].concat();
        l4.extend((8 + data.len() as u16).to_be_bytes());
        l4.extend([0, 0]);
        l4.extend(data);
        self.packet(from, UDP, &l4)
    }

    fn tcp(
        &self,
        from: usize,
        flags: u8,
        sequence: u32,
        acknowledged: u32,
        window: u16,
        data: &[u8],
    ) -> Packet {
        let mut l4 = [self.ports[from].to_be_bytes(), self.ports[1 - from].to_be_bytes()].concat();
        l4.extend(sequence.to_be_bytes());
        l4.extend(acknowledged.to_be_bytes());
        l4.extend([0x50, flags]);
        l4.extend(window.to_be_bytes());
        l4.extend([0; 4]);
        l4.extend(data);
        self.packet(from, TCP, &l4)
    }
}

fn packet(from: usize, source: Address, destination: Address, protocol: u8, l4: &[u8]) -> Packet {
    let mut l4 = l4.to_vec();
    let pseudo = [&source[..], &destination, &[0, protocol], &(l4.len() as u16).to_be_bytes()].concat();
    match protocol {
        TCP => write_sum(&mut l4, 16, &pseudo),
        UDP => write_sum(&mut l4, 6, &pseudo),
        _ => write_sum(&mut l4, 2, &[]),
    }
    let mut l3 = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0];
    l3[2..4].copy_from_slice(&(20 + l4.len() as u16).to_be_bytes());
    l3.extend(source);
    l3.extend(destination);
    write_sum(&mut l3, 10, &[]);
    l3.extend(l4);
    Packet { side: ["inside", "outside"][from], l3 }
}

/// Writes the Internet checksum (RFC 1071) of `bytes`, and of what stands before them, to its place.
fn write_sum(bytes: &mut [u8], place: usize, before: &[u8]) {
    let words = |bytes: &[u8]| {
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        bytes.chunks(2).map(word).sum::<u32>()
    };
    let sum = words(bytes) + words(before);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    bytes[place..place + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// What the network 10.0.0.0/13 is called outside, by its first byte, where the box translates it one to one.
pub const OUTSIDE_NAME: u8 = 20;

/// The same exchange where the hosts outside know the network 10.0.0.0/13 by its other name. Damage stays as it is.
pub fn to_translated(mut packets: Vec<Packet>) -> Vec<Packet> {
    for packet in packets.iter_mut().filter(|packet| packet.side == "outside") {
        let protocol = packet.l3[9];
        rename(&mut packet.l3, 16, protocol);
        // An error quotes what came from inside, and with it what that was called: a query or an answer.
        if protocol == ICMP && packet.l3.len() >= 48 && packet.l3[28] == 0x45 {
            rename(&mut packet.l3[28..], 12, ICMP);
        }
    }
    packets
}

/// Changes an address, and the checksums that cover it by as much (RFC 1624). One in a quote changes a checksum in the
/// quote by the opposite: that of the whole message stays.
fn rename(l3: &mut [u8], address_at: usize, protocol: u8) {
    let by = u16::from(OUTSIDE_NAME - l3[address_at]) << 8;
    l3[address_at] = OUTSIDE_NAME;
    let transport = match protocol {
        TCP => Some(36),
        UDP => Some(26),
        _ => None,
    };
    for place in [Some(10), transport].into_iter().flatten() {
        let (sum, borrows) = u16::from_be_bytes([l3[place], l3[place + 1]]).overflowing_sub(by);
        l3[place..place + 2].copy_from_slice(&(sum - u16::from(borrows)).to_be_bytes());
    }
}

/// A datagram that the firewall passes and that is told from all others: the `number`th in its direction of a flow
/// of its own.
pub fn marker(side: &str, number: u32) -> Packet {
    let peers = Peers::new(250, 7, 7);
    peers.udp(usize::from(side == "outside"), &number.to_be_bytes())
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// Which segments Sluice and Linux treat alike, as docs/differences.md says of others.
#[derive(Clone, Copy)]
pub struct Alike {
    /// Whose SYNs the policy passes: one that is dropped ends an old connection in Linux, and none here.
    pub open: &'static [usize],
    /// Whether resets far off the window are INVALID: a box that passes them has Linux count them. None comes where no
    /// handshake was seen, since Linux learns a window even from one that is INVALID.
    pub resets: bool,
}

/// Connections that begin with a handshake, of four.
const HANDSHAKES: usize = 3;

/// Connections that open, talk, close and are torn down, with segments that do not belong among them: none of them a little
/// beyond the window, and no resets near it.
pub fn tcp(seed: u64, net: u8, alike: Alike) -> Vec<Packet> {
    let random = &mut Random::new(seed);
    let mut packets = vec![];
    let mut flows: Vec<Peers> = (0..4).map(|number| Peers::new(net, number, 80)).collect();
    for peers in flows.iter_mut().take(HANDSHAKES) {
        packets.push(peers.tcp(0, SYN, 1000, 0, 8192, &[]));
        packets.push(peers.tcp(1, SYN | ACK, 5000, 1001, 8192, &[]));
        packets.push(peers.tcp(0, ACK, 1001, 5001, 8192, &[]));
        peers.next = [1001, 5001];
    }
    for _ in 0..80 {
        let number = random.below(4) as usize;
        let peers = &mut flows[number];
        let from = random.below(2) as usize;
        let flags = match random.below(20) {
            0..12 => random.of(&[ACK, PSH | ACK]),
            12..15 => FIN | ACK,
            15 if alike.open.contains(&from) => SYN,
            15 => ACK,
            16 => SYN | ACK,
            17 if alike.resets => match random.of(&[RST, RST | ACK]) {
                reset if number < HANDSHAKES => reset,
                _ => ACK,
            },
            17 => ACK,
            _ => random.of(&[0, FIN, SYN | FIN, PSH, FIN | PSH | ACK, PSH | ACK | 32]),
        };
        let data = vec![b'x'; if flags & PSH != 0 { random.of(&[1, 100, 1000]) } else { 0 }];
        let mut off_by = |chance| match random.one_in(chance) {
            true => random.of(&[1, u32::MAX, 4000, 100_000, u32::MAX - 100_000]),
            false => 0,
        };
        let (mut early, ahead) = (off_by(4), off_by(6));
        if flags & RST != 0 {
            early = 100_000;
        }
        let sequence = peers.next[from].wrapping_add(early);
        let acknowledged = if flags & ACK != 0 { peers.next[1 - from].wrapping_add(ahead) } else { 0 };
        let window = random.of(&[8192, 8192, 8192, 0, 100]);
        packets.push(peers.tcp(from, flags, sequence, acknowledged, window, &data));
        if early == 0 && ahead == 0 && flags & RST == 0 {
            let length = data.len() as u32 + u32::from(flags & (SYN | FIN) != 0);
            peers.next[from] = peers.next[from].wrapping_add(length);
        }
    }
    packets
}

/// Questions, some of them answered once. What comes after [`udp_streams`]' pause makes streams of the answered.
pub fn udp_questions(seed: u64, net: u8) -> Vec<Packet> {
    let random = &mut Random::new(seed);
    let mut packets = vec![];
    for number in 0..20 {
        let peers = Peers::new(net, number, 53);
        packets.push(peers.udp(0, b"question"));
        if !random.one_in(3) {
            packets.push(peers.udp(1, b"answer"));
        }
    }
    packets
}

/// More of the same flows, and datagrams from outside that nobody asked for, some of them damaged.
pub fn udp_streams(seed: u64, net: u8) -> Vec<Packet> {
    let random = &mut Random::new(seed + 1);
    let packet = |_| {
        let peers = Peers::new(net, random.below(25) as u16, random.of(&[53, 53, 53, 54]));
        let known = peers.ports[0] < 40_020 && peers.ports[1] == 53;
        let from = if known { random.below(2) as usize } else { 1 };
        let mut packet = peers.udp(from, &vec![b'x'; random.below(100) as usize]);
        match random.below(12) {
            0 => packet.l3[27] ^= 0x55,
            1 => packet.l3[25] = random.below(256) as u8,
            _ => {}
        }
        packet
    };
    (0..60).map(packet).collect()
}

/// Echo and timestamp queries, their answers, answers nobody asked for, and errors about all of them.
pub fn icmp(seed: u64, net: u8) -> Vec<Packet> {
    let random = &mut Random::new(seed);
    let mut packets: Vec<Packet> = vec![];
    for _ in 0..80 {
        let peers = Peers::new(net, 0, 0);
        let from = random.below(2) as usize;
        let quoted = match packets.is_empty() {
            true => None,
            false => Some(packets[random.below(packets.len() as u32) as usize].clone()),
        };
        let quoted = quoted.filter(|_| random.one_in(3));
        let l4 = match &quoted {
            Some(quoted) => {
                let kind = random.of(&[3, 11, 12, 5, 4, 3, 11, 13]);
                let length = quoted.l3.len().min(random.of(&[28, 28, 36, 24, 27]));
                [&[kind, random.of(&[0, 1, 3]), 0, 0, 0, 0, 0, 0][..], &quoted.l3[..length]].concat()
            }
            None => {
                let kinds = if from == 0 { [8, 8, 13, 17, 0, 10] } else { [0, 0, 14, 18, 8, 30] };
                let identifier = random.below(4) as u8;
                [&[random.of(&kinds), u8::from(random.one_in(10)), 0, 0, 0, identifier, 0, 1][..], &[0; 12]]
                    .concat()
            }
        };
        let from = quoted.map_or(from, |quoted| usize::from(quoted.side == "inside"));
        packets.push(peers.packet(from, ICMP, &l4));
    }
    packets
}
