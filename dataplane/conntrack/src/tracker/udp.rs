//! The UDP and UDP-Lite tracker (RFC 768, RFC 3828).

use super::{Context, Update};
use crate::entry::Entry;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;

/// Any first datagram opens a connection.
pub fn open(context: Context<'_>, _entry: &mut Entry) -> Result<u32, InvalidReason> {
    Ok(context.settings.timeouts.udp_unreplied_ms)
}

/// Any further datagram refreshes it.
pub fn update(context: Context<'_>, _entry: &mut Entry, _direction: Direction) -> Update {
    Update::Refresh { timeout_ms: context.settings.timeouts.udp_unreplied_ms }
}
