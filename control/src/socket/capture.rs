//! A capture, as it is asked for and said on the control socket.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sluice_engine::watch::{Sides, WatchFilter};

use super::packet_filter::{PacketFilter, port};
use crate::config::Config;

/// Where packets are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapturePoint {
    /// As they come in, before translation
    Received,
    /// As they leave, after translation
    Sent,
    /// Both, as two packets
    #[default]
    Both,
}

impl CapturePoint {
    const fn sides(self) -> Sides {
        Sides { received: !matches!(self, Self::Sent), sent: !matches!(self, Self::Received) }
    }
}

/// What a client asks of a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureRequest {
    /// Which packets.
    pub filter: PacketFilter,
    /// At which interfaces; all, where none is named.
    pub interfaces: Vec<String>,
    /// On which way.
    pub at: CapturePoint,
    /// Bytes of each that are kept, at most; the whole packet without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snap_bytes: Option<u32>,
    /// The number of the first record; without it from the next one on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
}

/// A packet at an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedPacket {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// The interface.
    pub interface: String,
    /// Whether it leaves there; else it came in.
    pub sent: bool,
    /// Bytes of the frame.
    pub len: u32,
    /// Those that were kept, in Base64 (RFC 4648 section 4).
    pub bytes: String,
    /// What was decided about it: verdict, reason, state, rule, way out and translation.
    pub comment: String,
}

/// Packets that were captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturePage {
    /// In their order.
    pub packets: Vec<CapturedPacket>,
    /// How many records between the first that was asked for and the next one are lost: each of a packet as it came in and left.
    pub lost: u64,
    /// The number of the next record.
    pub next: u64,
}

impl CaptureRequest {
    /// As workers know it.
    ///
    /// # Errors
    /// There is no such interface.
    pub fn lower(&self, config: &Config) -> Result<WatchFilter, String> {
        let at = self.interfaces.iter().map(|name| port(config, name)).collect::<Result<_, _>>()?;
        Ok(WatchFilter { at, sides: self.at.sides(), ..self.filter.lower(config)? })
    }
}
