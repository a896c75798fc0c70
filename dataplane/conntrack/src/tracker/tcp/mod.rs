//! The TCP tracker (RFC 9293, RFC 5961, RFC 7323, RFC 2018; G. van Rooij, "Real Stateful TCP Packet
//! Filtering in IP Filter").

mod state;

pub use state::TcpState;

use super::{Context, Update};
use crate::entry::Entry;
use crate::headers::Packet;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;

/// Judges the first segment of a connection.
pub fn open(context: Context<'_>, _packet: Packet<'_>, entry: &mut Entry) -> Result<u32, InvalidReason> {
    entry.state = TcpState::SynSent as u8;
    Ok(context.settings.timeouts.tcp_ms[TcpState::SynSent as usize])
}

/// Judges a further segment.
pub fn update(context: Context<'_>, _packet: Packet<'_>, entry: &mut Entry, _direction: Direction) -> Update {
    Update::Refresh { timeout_ms: context.settings.timeouts.tcp_ms[usize::from(entry.state)] }
}
