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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Preset, Settings};
    use crate::time::Tick;

    #[test]
    fn every_packet_leaves_it_ten_minutes() {
        let settings = Settings::of(Preset::Linux, 1);
        let context = Context { settings: &settings, now: Tick::default() };
        assert_eq!(open(context), Ok(600_000));
        assert_eq!(update(context), Update::Refresh { timeout_ms: 600_000 });
    }
}
