//! A moment of the calendar, as conntrack(8) writes it. Which one a time is, in the zone of the host, the caller knows.

use std::fmt;

/// A moment in local time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Nanoseconds since 1970, in UTC.
    pub unix_ns: u64,
    /// The year.
    pub year: i16,
    /// The month, from 1.
    pub month: u8,
    /// The day of the month, from 1.
    pub day: u8,
    /// The day of the week, Sunday being 0.
    pub weekday: u8,
    /// The hour, 0 to 23.
    pub hour: u8,
    /// The minute.
    pub minute: u8,
    /// The second.
    pub second: u8,
}

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// As ctime(3) writes it, without its newline: `Sun Nov 29 16:04:33 2026`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, weekday, hour, minute, second, .. } = *self;
        let weekday = WEEKDAYS.get(usize::from(weekday)).unwrap_or(&"???");
        let month = usize::from(month).checked_sub(1).and_then(|month| MONTHS.get(month)).unwrap_or(&"???");
        write!(f, "{weekday} {month} {day:>2} {hour:02}:{minute:02}:{second:02} {year}")
    }
}
