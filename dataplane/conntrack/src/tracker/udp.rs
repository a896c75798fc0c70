//! The UDP and UDP-Lite tracker (RFC 768, RFC 3828).
//!
//! A datagram says nothing about its connection, so time and direction alone tell a question and its
//! answer from a stream: only a stream is assured and lives longer.

use super::{Context, Update};
use crate::entry::{Entry, Status, TRACKER_BYTES};
use crate::settings::Preset;
use crate::time::Tick;
use crate::tuple::protocol;
use crate::verdict::InvalidReason;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Linux takes traffic both ways for a stream from this age of the entry on: DNS and its like are over by then.
const STREAM_AGE_MS: u32 = 2000;

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct UdpMemory {
    born: Tick,
    spare: [u8; TRACKER_BYTES - size_of::<Tick>()],
}

/// Any first datagram opens a connection.
pub fn open(context: Context<'_>, entry: &mut Entry) -> Result<u32, InvalidReason> {
    begin(context, entry);
    Ok(context.settings.timeouts.udp_unreplied_ms)
}

/// Remembers when the connection began.
pub fn begin(context: Context<'_>, entry: &mut Entry) {
    entry.tracker.get_mut::<UdpMemory>().born = context.now;
}

/// Any further datagram refreshes it; one of a stream assures it.
#[inline]
pub fn update(context: Context<'_>, entry: &mut Entry) -> Update {
    if let Some(timeout_ms) = follow(context, entry) {
        return Update::Refresh { timeout_ms };
    }
    entry.status.insert(Status::ASSURED);
    Update::Assured { timeout_ms: context.settings.timeouts.udp_stream_ms }
}

/// The entry's new timeout in milliseconds after a datagram that does no more than refresh it: all but the one that assures it.
#[inline(always)]
pub(super) fn follow(context: Context<'_>, entry: &Entry) -> Option<u32> {
    let timeouts = &context.settings.timeouts;
    match is_stream(context, entry) {
        false => Some(timeouts.udp_unreplied_ms),
        true => entry.status.contains(Status::ASSURED).then_some(timeouts.udp_stream_ms),
    }
}

/// Whether a datagram that comes now is part of a stream. The answer itself is not yet: the entry counts
/// as answered only when it has passed.
fn is_stream(context: Context<'_>, entry: &Entry) -> bool {
    // An assured entry stays one without a look at its age, which wraps after seven weeks.
    let assured = entry.status.contains(Status::ASSURED);
    let is_old_enough = || {
        // UDP-Lite carries media, not queries: Linux does not wait for its streams.
        if entry.protocol() == protocol::UDPLITE {
            return true;
        }
        let born = entry.tracker.get::<UdpMemory>().born;
        context.now.as_u32().wrapping_sub(born.as_u32()) >= STREAM_AGE_MS
    };
    entry.status.contains(Status::SEEN_REPLY)
        && match context.settings.preset {
            Preset::Classic => true,
            Preset::Linux => assured || is_old_enough(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use crate::tuple::Direction::{self, Original, Reply};
    use crate::tuple::{Family, Selector};
    use zerocopy::FromZeros;

    /// A connection and the box it goes through, as far as UDP is concerned.
    struct Udp {
        settings: Settings,
        entry: Entry,
        deadline_ms: u32,
    }

    impl Udp {
        fn open(preset: Preset) -> Self {
            let settings = Settings::of(preset, 1);
            let mut entry = Entry::new_zeroed();
            let now = Tick::from_u32(START_MS);
            let deadline_ms = open(Context { settings: &settings, now }, &mut entry).unwrap();
            Self { settings, entry, deadline_ms }
        }

        /// A datagram `ms` after the first; returns the seconds it leaves the entry.
        fn packet(&mut self, ms: u32, direction: Direction) -> u32 {
            let now = Tick::from_u32(START_MS).after_ms(ms);
            let update = update(Context { settings: &self.settings, now }, &mut self.entry);
            let (Update::Refresh { timeout_ms } | Update::Assured { timeout_ms }) = update else {
                panic!("{update:?}")
            };
            if direction == Reply {
                self.entry.status.insert(Status::SEEN_REPLY);
            }
            self.deadline_ms = ms + timeout_ms;
            timeout_ms / 1000
        }

        fn assured(&self) -> bool {
            self.entry.status.contains(Status::ASSURED)
        }

        fn remaining_s(&self, ms: u32) -> u32 {
            (self.deadline_ms - ms) / 1000
        }
    }

    /// A second before the clock wraps, so that every test crosses the wrap.
    const START_MS: u32 = u32::MAX - 1000;

    #[test]
    fn one_way_traffic_is_never_assured() {
        for preset in [Preset::Classic, Preset::Linux] {
            let mut udp = Udp::open(preset);
            assert_eq!(udp.remaining_s(0), 30);
            for second in 1..100 {
                assert_eq!(udp.packet(second * 1000, Original), 30);
            }
            assert!(!udp.assured());
        }
    }

    #[test]
    fn linux_waits_two_seconds_for_a_stream() {
        let mut udp = Udp::open(Preset::Linux);
        assert_eq!(udp.packet(10, Reply), 30);
        assert_eq!(udp.packet(1000, Original), 30);
        assert_eq!(udp.packet(1999, Reply), 30);
        assert!(!udp.assured());
        assert_eq!(udp.packet(2000, Original), 120);
        assert!(udp.assured());
        assert_eq!(udp.packet(2001, Reply), 120);
    }

    #[test]
    fn linux_does_not_count_a_late_answer_itself() {
        let mut udp = Udp::open(Preset::Linux);
        assert_eq!(udp.packet(2500, Reply), 30);
        assert!(!udp.assured());
        assert_eq!(udp.packet(2500, Original), 120);
        assert!(udp.assured());
    }

    #[test]
    fn linux_does_not_wait_for_a_stream_of_udp_lite() {
        let mut udp = Udp::open(Preset::Linux);
        udp.entry.selector = Selector::new(Family::V4, protocol::UDPLITE, 0, 5001, 9);
        assert_eq!(udp.packet(5, Reply), 30);
        assert_eq!(udp.packet(10, Original), 120);
        assert!(udp.assured());
    }

    #[test]
    fn a_stream_outlives_the_wrap_of_the_clock() {
        let mut udp = Udp::open(Preset::Linux);
        udp.packet(10, Reply);
        udp.packet(3000, Original);
        let seven_weeks_and_a_second = 1000;
        assert_eq!(udp.packet(seven_weeks_and_a_second, Original), 120);
    }

    #[test]
    fn classic_is_assured_by_the_first_packet_after_an_answer() {
        let mut udp = Udp::open(Preset::Classic);
        assert_eq!(udp.packet(5, Reply), 30);
        assert!(!udp.assured());
        assert_eq!(udp.packet(10, Original), 180);
        assert!(udp.assured());
        assert_eq!(udp.remaining_s(5_010), 175);
        assert_eq!(udp.remaining_s(10_010), 170);
    }

    #[test]
    fn classic_takes_a_second_answer_for_a_stream_too() {
        let mut udp = Udp::open(Preset::Classic);
        udp.packet(5, Reply);
        assert_eq!(udp.packet(6, Reply), 180);
        assert!(udp.assured());
    }
}
