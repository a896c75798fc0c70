//! Time as a plain value. The crate never reads a clock: callers say what time it is.

use std::time::Duration;

/// A moment, in nanoseconds since an epoch of the caller's choice: when a worker started, or 1970
/// for the stamps of a capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment `ns` nanoseconds after the epoch.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the epoch.
    pub const fn as_ms(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The moment `duration` later; the last one there is where that would be past the end of time.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// The time since `earlier`, zero if that is not earlier at all.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The clock of entries: milliseconds modulo 2^32. Two ticks compare rightly while they are less than
/// 2^31 ms (24.8 days) apart, which [`MAX_TIMEOUT`] ensures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
#[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout)]
pub struct Tick(u32);

/// The longest timeout that an entry may have.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(20 * 24 * 3600);

impl Tick {
    /// The tick of a moment.
    pub const fn at(now: Instant) -> Self {
        Self(now.as_ms() as u32)
    }

    /// The tick `ms` milliseconds later.
    pub const fn after_ms(self, ms: u32) -> Self {
        Self(self.0.wrapping_add(ms))
    }

    /// The tick `ms` milliseconds earlier.
    pub const fn before_ms(self, ms: u32) -> Self {
        Self(self.0.wrapping_sub(ms))
    }

    /// Milliseconds from `earlier` to here; negative where `earlier` is the later one.
    pub const fn since_ms(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }

    /// Whether this moment has come at `now`.
    pub const fn is_due(self, now: Self) -> bool {
        now.since_ms(self) >= 0
    }

    /// The bare number, for the timer wheel.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// The tick of a bare number.
    pub const fn from_u32(ms: u32) -> Self {
        Self(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_compare_across_the_wrap() {
        let before = Tick::at(Instant::from_ns((u64::from(u32::MAX) - 10) * 1_000_000));
        let after = before.after_ms(20);
        assert_eq!(after.since_ms(before), 20);
        assert!(before.is_due(after));
        assert!(!after.is_due(before));
        assert!(after.is_due(after));
    }

    #[test]
    fn the_longest_timeout_is_comparable() {
        assert!(MAX_TIMEOUT.as_millis() < 1 << 31);
    }
}
