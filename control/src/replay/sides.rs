//! Who is inside: takes a capture of both directions apart by each connection's first sender.

use std::collections::{HashMap, HashSet};

use sluice_conntrack::headers::PacketKind;
use sluice_conntrack::{PortId, Tuple, wire};

/// The side that a packet comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Where the connection's first packet came from.
    Client,
    /// The other one.
    Server,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What has been seen of a capture.
#[derive(Debug, Default)]
pub struct Sides {
    /// Connections, by the tuple of their first packet.
    connections: HashSet<Tuple>,
    /// The side of the last sender between two addresses.
    pairs: HashMap<(u128, u128), Side>,
    /// The side that a MAC address was last seen on.
    hosts: HashMap<[u8; 6], Side>,
}

impl Sides {
    /// The side that the next frame of the capture comes from. What belongs to no connection (a fragment, ARP) comes
    /// from where its sender was last seen; from the client's side if it never was.
    pub fn of(&mut self, frame: &mut Vec<u8>) -> Side {
        let packet = (PortId::default(), std::mem::take(frame));
        let side = self.find(&packet);
        *frame = packet.1;
        side
    }

    fn find(&mut self, packet: &(PortId, Vec<u8>)) -> Side {
        let host = packet.1.get(6..12).and_then(|mac| mac.first_chunk::<6>()).copied().unwrap_or_default();
        let by_host = self.hosts.get(&host).copied().unwrap_or(Side::Client);
        let Ok(headers) = wire::parse(packet) else { return by_host };
        if headers.kind == PacketKind::NotIp {
            return by_host;
        }
        let (from, to) = wire::addresses(&packet.1, &headers);
        let side = match headers.kind {
            PacketKind::Tracked | PacketKind::Error => self.by_connection(headers.tuple),
            _ => match (self.pairs.get(&(from, to)), self.pairs.get(&(to, from))) {
                (Some(side), _) => *side,
                (None, Some(side)) => side.other(),
                (None, None) => by_host,
            },
        };
        self.pairs.insert((from, to), side);
        self.pairs.remove(&(to, from));
        self.hosts.insert(host, side);
        side
    }

    fn by_connection(&mut self, tuple: Tuple) -> Side {
        if self.connections.contains(&tuple) {
            return Side::Client;
        }
        if self.connections.contains(&tuple.invert()) {
            return Side::Server;
        }
        self.connections.insert(tuple);
        Side::Client
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// UDP from host `from` to host `to`, without checksums.
    fn frame(from: u8, sport: u8, to: u8, dport: u8) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, to, 2, 0, 0, 0, 0, from, 8, 0];
        let mut header = [0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
        let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        header[10..12].copy_from_slice(&(!(sum + (sum >> 16)) as u16).to_be_bytes());
        frame.extend(header);
        frame.extend([0, sport, 0, dport, 0, 8, 0, 0]);
        frame
    }

    fn arp(from: u8) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend([2, 0, 0, 0, 0, from, 8, 6, 0, 1]);
        frame
    }

    #[test]
    fn each_connection_has_its_own_client() {
        let mut sides = Sides::default();
        let mut side = |mut frame: Vec<u8>| sides.of(&mut frame);
        assert_eq!(side(arp(1)), Side::Client);
        assert_eq!(side(frame(1, 5, 2, 53)), Side::Client);
        assert_eq!(side(frame(2, 53, 1, 5)), Side::Server);
        assert_eq!(side(arp(2)), Side::Server);
        assert_eq!(side(frame(1, 5, 2, 53)), Side::Client);
        assert_eq!(side(frame(2, 7, 1, 53)), Side::Client);
        assert_eq!(side(frame(1, 53, 2, 7)), Side::Server);
        assert_eq!(side(vec![]), Side::Client);
    }
}
