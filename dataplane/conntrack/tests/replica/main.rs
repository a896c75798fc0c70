//! Records of connections: what they look like, what is refused, what is told and how it goes on elsewhere.
#![forbid(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;
mod golden;
mod helped;
mod installed;
mod records;
mod roles;
mod talk;
mod told;
mod verified;

use common::*;
use sluice_conntrack::replica::{Connection, Origin, RecordStatus};
use sluice_conntrack::tuple::protocol;
use sluice_conntrack::{Tuple, ids::EntryId};

/// An answered connection over UDP that lasts.
fn udp() -> Connection {
    let original = Tuple::new([10, 0, 0, 6].into(), [198, 51, 100, 53].into(), protocol::UDP, 4000, 53);
    of(original)
}

/// The same from a port of another client.
fn udp_from(client: [u8; 4], port: u16) -> Connection {
    of(Tuple::new(client.into(), [198, 51, 100, 2].into(), protocol::UDP, port, 53))
}

/// The same by another tuple.
fn of(original: Tuple) -> Connection {
    Connection {
        original,
        reply: original.invert(),
        state: 0,
        status: RecordStatus::SEEN_REPLY.union(RecordStatus::ASSURED),
        remaining_ms: 119_500,
        age_s: 7,
        mark: 0,
        tracker: [0; 8],
        helper: None,
        entry: EntryId { index: 6, generation: 1 },
    }
}

/// A connection over TCP from inside that is established.
fn tcp(client: [u8; 4]) -> Connection {
    let original = Tuple::new(client.into(), [198, 51, 100, 2].into(), protocol::TCP, 40_000, 443);
    Connection { state: 3, remaining_ms: 431_999_000, tracker: [7, 9, 3, 3, 0, 0, 0, 0], ..of(original) }
}

/// That with its source translated.
fn translated(connection: Connection, to: [u8; 4], port: u16) -> Connection {
    let Tuple { dst, selector, .. } = connection.original;
    let outside = Tuple { src: u32::from_be_bytes(to).into(), dst, selector: selector.with_sport(port) };
    let status = connection.status.union(RecordStatus::SRC_NAT);
    Connection { reply: outside.invert(), status, ..connection }
}
