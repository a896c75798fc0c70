//! Facts: what rules can see of a packet and of its connection.

use crate::entry::Status;
use crate::family::Family;
use crate::headers::{Packet, PacketKind};
use crate::ids::{HelperId, PortId, Zone};
use crate::tuple::{Direction, Tuple, protocol};
use crate::verdict::State;
use crate::wire::tcp::Flags;
use crate::wire::{self, field};

/// Everything a rule can look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The packet's state; `None` before tracking.
    pub state: Option<State>,
    /// Ingress port.
    pub ingress: PortId,
    /// Egress port; `None` where there is none (yet).
    pub egress: Option<PortId>,
    /// Address family.
    pub family: Family,
    /// Source address as a number.
    pub source: u128,
    /// Destination address as a number.
    pub destination: u128,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port; 0 where the protocol has none.
    pub source_port: u16,
    /// Destination port; ICMP: `type << 8 | code`.
    pub destination_port: u16,
    /// TCP flags byte, 0 for other protocols.
    pub tcp_flags: u8,
    /// Connection zone.
    pub zone: Zone,
    /// What is known of its connection; `None` where it has none, and before tracking.
    pub connection: Option<Connection>,
}

/// What rules see of the connection that a packet belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// The packet's direction.
    pub direction: Direction,
    /// The connection's mark.
    pub mark: u32,
    /// Status of its entry.
    pub status: Status,
    /// The helper that expected it, by what another connection announced.
    pub helper: Option<HelperId>,
}

impl Connection {
    /// One that begins.
    const fn new() -> Self {
        Self { direction: Direction::Original, mark: 0, status: Status::empty(), helper: None }
    }
}

impl Facts {
    /// Those of a connection's first packet, before it is routed.
    #[inline]
    pub(crate) fn of_first_packet(packet: Packet<'_>, ingress: PortId) -> Self {
        Self { state: Some(State::New), connection: Some(Connection::new()), ..Self::seen(packet, ingress) }
    }

    /// The same as far as the connection's original tuple says it: of TCP, the packet is a SYN.
    pub(crate) fn of_first(original: &Tuple, ingress: PortId) -> Self {
        let protocol = original.protocol();
        Self {
            state: Some(State::New),
            ingress,
            egress: None,
            family: original.family(),
            source: original.src,
            destination: original.dst,
            protocol,
            source_port: original.selector.sport(),
            destination_port: original.selector.dport(),
            tcp_flags: if protocol == protocol::TCP { Flags::SYN.bits() } else { 0 },
            zone: original.selector.zone(),
            connection: Some(Connection::new()),
        }
    }

    /// What a packet itself shows, before tracking.
    #[inline(never)]
    pub fn of_packet(packet: Packet<'_>, ingress: PortId) -> Self {
        Self::seen(packet, ingress)
    }

    #[inline(always)]
    fn seen(packet: Packet<'_>, ingress: PortId) -> Self {
        let Packet { headers, .. } = packet;
        let l4 = packet.l4();
        let tcp_flags = if headers.protocol == protocol::TCP {
            l4.get(field::tcp::FLAGS).copied().unwrap_or(0)
        } else {
            0
        };
        let (source, destination) = wire::own_addresses(packet);
        let (source_port, destination_port) = match headers.kind {
            PacketKind::Error => (0, l4.first_chunk().map_or(0, |kind| u16::from_be_bytes(*kind))),
            _ => (headers.tuple.selector.sport(), headers.tuple.selector.dport()),
        };
        Self {
            state: None,
            ingress,
            egress: None,
            family: headers.family().unwrap_or(Family::V4),
            source,
            destination,
            protocol: headers.protocol,
            source_port,
            destination_port,
            tcp_flags,
            zone: headers.tuple.selector.zone(),
            connection: None,
        }
    }

    /// The destination is translated: rules see where the packet goes then. Without a port that stays its own.
    pub(crate) fn set_destination(&mut self, address: u128, port: Option<u16>) {
        self.destination = address;
        self.destination_port = port.unwrap_or(self.destination_port);
    }

    /// The same where the rules of NAT have translated it.
    pub(crate) fn set_translated_destination(&mut self, address: u128, port: Option<u16>) {
        self.set_destination(address, port);
        if let Some(connection) = &mut self.connection {
            connection.status.insert(Status::DST_NAT);
        }
    }

    /// Whether the packet's connection has all these status bits.
    pub(crate) fn has_status(&self, status: Status) -> bool {
        self.connection.is_some_and(|connection| connection.status.contains(status))
    }

    /// The same of a connection with that mark, if it has one.
    pub(crate) fn with_mark(mut self, mark: u32) -> Self {
        if let Some(connection) = &mut self.connection {
            connection.mark = mark;
        }
        self
    }

    /// The mark of the packet's connection.
    pub fn mark(&self) -> Option<u32> {
        self.connection.map(|connection| connection.mark)
    }
}
