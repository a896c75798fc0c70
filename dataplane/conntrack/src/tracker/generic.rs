//! The generic tracker: protocols that have no tracker of their own are tracked by address pair.
//! Such an entry is never assured and lives on either direction's packets alike.

use super::{Context, Update};
use crate::verdict::InvalidReason;

/// Any first packet opens a connection.
pub fn open(context: Context<'_>) -> Result<u32, InvalidReason> {
    Ok(context.settings.timeouts.generic_ms)
}

/// Any further packet refreshes it.
pub fn update(context: Context<'_>) -> Update {
    Update::Refresh { timeout_ms: context.settings.timeouts.generic_ms }
}
