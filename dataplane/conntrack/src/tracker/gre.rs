//! The GRE tracker (RFC 2784, RFC 2637).

use super::{Context, Update};
use crate::entry::Entry;
use crate::tuple::Direction;
use crate::verdict::InvalidReason;

/// Any first packet opens a connection.
pub fn open(context: Context<'_>, _entry: &mut Entry) -> Result<u32, InvalidReason> {
    Ok(context.settings.timeouts.gre_unreplied_ms)
}

/// Any further packet refreshes it.
pub fn update(context: Context<'_>, _entry: &mut Entry, _direction: Direction) -> Update {
    Update::Refresh { timeout_ms: context.settings.timeouts.gre_unreplied_ms }
}
