//! The tracker of ICMP and ICMPv6 queries (RFC 792, RFC 4443). Errors are no queries: see the pipeline.

use super::{Context, Update};
use crate::headers::Packet;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;

/// A query opens a connection.
pub fn open(context: Context<'_>, _packet: Packet<'_>) -> Result<u32, InvalidReason> {
    Ok(context.settings.timeouts.icmp_ms)
}

/// Query and answer alike refresh it.
pub fn update(context: Context<'_>, _packet: Packet<'_>, _direction: Direction) -> Update {
    Update::Refresh { timeout_ms: context.settings.timeouts.icmp_ms }
}
