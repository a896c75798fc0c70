//! A trace, as it is asked for and said on the control socket.

use serde::{Deserialize, Serialize};

use super::packet_filter::PacketFilter;

/// What a client asks of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceRequest {
    /// Which packets.
    pub filter: PacketFilter,
    /// Whether each is an object, not a line for a reader's eyes.
    pub json: bool,
    /// The number of the first packet; without it from the next one on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
}

/// Packets that were traced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracePage {
    /// One a line.
    pub lines: Vec<String>,
    /// How many packets between the first that was asked for and the next one are lost.
    pub lost: u64,
    /// The number of the next packet.
    pub next: u64,
}
