//! The connection of the running table that a packet belongs to, as it is asked for and said on the control socket.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sluice_conntrack::Tuple;
use sluice_conntrack::replica::{Connection, Record};
use sluice_conntrack::tuple::address;

use super::packed::Packed;

/// The tuple of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PacketTuple {
    /// IP protocol number.
    pub protocol: u8,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port, or what the protocol has instead.
    pub sport: u16,
    /// Destination port; ICMP: `type << 8 | code`.
    pub dport: u16,
    /// Connection zone.
    pub zone: u16,
}

impl PacketTuple {
    /// To be asked about.
    pub fn of(tuple: &Tuple) -> PacketTuple {
        let [src, dst] = [tuple.src, tuple.dst].map(|it| address(tuple.family(), it));
        let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
        PacketTuple { protocol: tuple.protocol(), src, dst, sport, dport, zone: tuple.selector.zone() }
    }

    /// As the table has it.
    ///
    /// # Errors
    /// Its addresses are of two families.
    pub fn lower(&self) -> Result<Tuple, String> {
        let Self { protocol, src, dst, sport, dport, zone } = *self;
        if src.is_ipv4() != dst.is_ipv4() {
            return Err("source and destination are of two families".to_owned());
        }
        let tuple = Tuple::new(src, dst, protocol, sport, dport);
        Ok(Tuple { selector: tuple.selector.with_zone(zone), ..tuple })
    }
}

/// A connection that packets of a tuple belong to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConnection {
    /// As conntrack(8) shows it.
    pub line: String,
    /// The worker that has it.
    pub worker: u16,
    /// All of its state, as boxes tell one another; left out where it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<Packed>,
}

impl LiveConnection {
    /// One whose state is this.
    pub fn new(line: String, worker: u16, state: Option<Connection>) -> LiveConnection {
        let record = state.map(|connection| Packed::of(&[Record::State(connection)]));
        LiveConnection { line, worker, record }
    }

    /// Its state, where that was told and can be read.
    pub fn state(&self) -> Option<Connection> {
        match self.record.as_ref()?.records().ok()?.first()? {
            Ok(Record::State(connection)) => Some(*connection),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_survives_the_way() {
        let [four, six] =
            [["10.0.0.1", "10.0.0.2"], ["fd00::1", "fd00::2"]].map(|it| it.map(|it| it.parse().unwrap()));
        for [src, dst] in [four, six] {
            let tuple = Tuple::new(src, dst, 6, 4000, 80);
            let tuple = Tuple { selector: tuple.selector.with_zone(7), ..tuple };
            assert_eq!(PacketTuple::of(&tuple).lower(), Ok(tuple));
        }
        let mixed = PacketTuple { src: four[0], ..PacketTuple::of(&Tuple::new(six[0], six[1], 6, 1, 2)) };
        assert!(mixed.lower().is_err());
    }
}
