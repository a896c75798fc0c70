//! The GRE tracker (RFC 2784, RFC 2637). Version 0 is tracked by address pair, version 1 by call id, which is
//! the tuple's business.

use super::{Context, Update};
use crate::entry::{Entry, Status, TRACKER_BYTES};
use crate::verdict::InvalidReason;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The timeouts of an entry's birth: a tunnel keeps them for life, and its listing shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct GreTimeouts {
    /// Before an answer.
    pub unreplied_ms: u32,
    /// From the first packet after an answer on.
    pub stream_ms: u32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct GreMemory {
    timeouts: GreTimeouts,
    spare: [u8; TRACKER_BYTES - size_of::<GreTimeouts>()],
}

/// The timeouts that a GRE entry lives by.
pub fn timeouts(entry: &Entry) -> GreTimeouts {
    entry.tracker.get::<GreMemory>().timeouts
}

/// Any first packet opens a connection.
pub fn open(context: Context<'_>, entry: &mut Entry) -> Result<u32, InvalidReason> {
    begin(context, entry);
    Ok(timeouts(entry).unreplied_ms)
}

/// Remembers the timeouts that the tunnel lives by.
pub fn begin(context: Context<'_>, entry: &mut Entry) {
    let settings = &context.settings.timeouts;
    let timeouts = GreTimeouts { unreplied_ms: settings.gre_unreplied_ms, stream_ms: settings.gre_stream_ms };
    entry.tracker.get_mut::<GreMemory>().timeouts = timeouts;
}

/// Any further packet refreshes it; one after an answer assures it.
pub fn update(entry: &mut Entry) -> Update {
    let timeouts = timeouts(entry);
    if !entry.status.contains(Status::SEEN_REPLY) {
        return Update::Refresh { timeout_ms: timeouts.unreplied_ms };
    }
    let timeout_ms = timeouts.stream_ms;
    if entry.status.contains(Status::ASSURED) {
        return Update::Refresh { timeout_ms };
    }
    entry.status.insert(Status::ASSURED);
    Update::Assured { timeout_ms }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Preset, Settings};
    use crate::time::Tick;
    use zerocopy::FromZeros;

    #[test]
    fn the_first_packet_after_an_answer_assures() {
        let settings = Settings::of(Preset::Linux, 1);
        let mut entry = Entry::new_zeroed();
        let context = Context { settings: &settings, now: Tick::default() };
        assert_eq!(open(context, &mut entry), Ok(30_000));
        // A second packet, then the answer: neither makes a tunnel.
        for _ in 0..2 {
            assert_eq!(update(&mut entry), Update::Refresh { timeout_ms: 30_000 });
        }
        assert!(!entry.status.contains(Status::ASSURED));
        entry.status.insert(Status::SEEN_REPLY);
        assert_eq!(update(&mut entry), Update::Assured { timeout_ms: 180_000 });
        assert!(entry.status.contains(Status::ASSURED));
        assert_eq!(update(&mut entry), Update::Refresh { timeout_ms: 180_000 });
    }

    #[test]
    fn a_tunnel_keeps_the_timeouts_of_its_birth() {
        let mut settings = Settings::of(Preset::Linux, 1);
        settings.timeouts.gre_unreplied_ms = 5_000;
        let mut entry = Entry::new_zeroed();
        let context = Context { settings: &settings, now: Tick::default() };
        assert_eq!(open(context, &mut entry), Ok(5_000));
        assert_eq!(update(&mut entry), Update::Refresh { timeout_ms: 5_000 });
        assert_eq!(timeouts(&entry), GreTimeouts { unreplied_ms: 5_000, stream_ms: 180_000 });
    }
}
