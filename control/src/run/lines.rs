//! Entries and events as lines of text.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sluice_conntrack::events::{Event, EventKind, ExpectationEvent};
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::listing::{EntrySnapshot, Extras, Layout, Moment};
use sluice_conntrack::settings::Preset;
use sluice_engine::report::ListedEntry;

use crate::listing::Format;

/// How entries and events of a box are written.
#[derive(Clone, Debug)]
pub struct Lines {
    format: Format,
    layout: Layout,
    now: SystemTime,
    zone: TimeZone,
}

impl Lines {
    /// In a format; /proc's file is that of the preset's kernel.
    pub fn new(format: Option<Format>, preset: Preset) -> Self {
        let format = format.unwrap_or_default();
        let layout = format.listing.layout(preset);
        Self { format, layout, now: SystemTime::now(), zone: TimeZone::system() }
    }

    /// The layout by itself.
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// An entry of a shard.
    pub fn entry(&self, shard: u16, (id, entry): &ListedEntry) -> String {
        let extras = self.extras(shard, *id, entry);
        line(|out| entry.write_with(self.layout, &extras, out))
    }

    /// An event of a shard, and when it happened.
    pub fn event(&self, shard: u16, event: &Event, at: SystemTime) -> String {
        let Event { kind, id, entry, .. } = event;
        let mut extras = self.extras(shard, *id, entry);
        extras.at = self.format.timestamp.then(|| self.moment(at));
        let is_over = *kind == EventKind::Destroy && extras.start.is_some();
        extras.stop = is_over.then(|| self.moment(at));
        line(|out| entry.write_event(*kind, self.layout, &extras, out))
    }

    /// An event of an expectation, and when it happened.
    pub fn expectation_event(&self, event: &ExpectationEvent, at: SystemTime) -> String {
        let at = self.format.timestamp.then(|| self.moment(at));
        line(|out| event.expectation.write_event(event.kind, self.layout, at, out))
    }

    fn extras(&self, shard: u16, id: EntryId, entry: &EntrySnapshot) -> Extras {
        let has_id = self.format.id || self.layout == Layout::Xml;
        let age = entry
            .shown_age_s()
            .filter(|_| self.format.ktimestamp)
            .map(|age_s| Duration::from_secs(age_s.into()));
        let start = age.and_then(|age| self.now.checked_sub(age)).map(|start| self.moment(start));
        Extras { id: has_id.then(|| number_of(shard, id)), start, ..Extras::default() }
    }

    /// A time in the zone of the host.
    fn moment(&self, time: SystemTime) -> Moment {
        let unix_ns = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let local = Timestamp::try_from(time).unwrap_or_default().to_zoned(self.zone.clone());
        Moment {
            unix_ns,
            year: local.year(),
            month: local.month().unsigned_abs(),
            day: local.day().unsigned_abs(),
            weekday: local.weekday().to_sunday_zero_offset().unsigned_abs(),
            hour: local.hour().unsigned_abs(),
            minute: local.minute().unsigned_abs(),
            second: local.second().unsigned_abs(),
        }
    }
}

/// A number of 32 bits for an entry, the same for all its life: its name in the box, mixed (the finisher of SplitMix64).
fn number_of(shard: u16, id: EntryId) -> u32 {
    let name = u64::from(id.index) << 32 | u64::from(id.generation.rotate_right(16) ^ u32::from(shard));
    let mixed = (name ^ name >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ mixed >> 31) as u32
}

/// The line that something is written as.
pub fn line(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut line);
    line
}
