//! The tracker driven as the pipeline drives it. Client numbers begin at 1000, server numbers at 5000.

mod classic;
mod diagram;
mod invalid;
mod opening;
mod resets;
mod states;
mod timeouts;
mod windows;

use super::{TcpState, open, update};
use crate::entry::{Entry, Status};
use crate::settings::{Preset, Settings};
use crate::testing::{Segment, segment};
use crate::time::Tick;
use crate::tracker::{Context, Update};
use crate::tuple::Direction::{self, Original, Reply};
use crate::verdict::InvalidReason;
use zerocopy::{FromZeros, IntoBytes};

/// One connection in the making.
struct Talk {
    settings: Settings,
    entry: Entry,
    open: bool,
    now: Tick,
}

impl Talk {
    fn of(preset: Preset) -> Self {
        Self {
            settings: Settings::of(preset, 1),
            entry: Entry::new_zeroed(),
            open: false,
            now: Tick::from_u32(1_000_000),
        }
    }

    fn new() -> Self {
        Self::of(Preset::Linux)
    }

    /// After these segments, all of which pass.
    fn after(segments: impl IntoIterator<Item = (Direction, Segment)>) -> Self {
        let mut talk = Self::new();
        for (direction, segment) in segments {
            let update = talk.send(direction, &segment);
            assert!(matches!(update, Update::Refresh { .. } | Update::Ignore), "{segment:?}: {update:?}");
        }
        talk
    }

    /// After a handshake without options.
    fn established() -> Self {
        Self::after(handshake())
    }

    /// Sends one segment and does what the pipeline does afterwards.
    fn send(&mut self, direction: Direction, segment: &Segment) -> Update {
        let context = Context { settings: &self.settings, now: self.now };
        let update = segment.as_packet(|packet| {
            if self.open {
                return match update(context, packet, &mut self.entry, direction) {
                    // Nothing here leaves.
                    Update::Syn { timeout_ms: Some(timeout_ms) } => Update::Refresh { timeout_ms },
                    Update::Syn { timeout_ms: None } => Update::Ignore,
                    Update::Assured { timeout_ms } => Update::Refresh { timeout_ms },
                    update => update,
                };
            }
            match open(context, packet, &mut self.entry) {
                Ok(timeout_ms) => Update::Refresh { timeout_ms },
                Err(reason) => Update::Invalid(reason),
            }
        });
        let passed = !matches!(update, Update::Invalid(_));
        self.open |= passed;
        if passed && direction == Reply {
            self.entry.status.insert(Status::SEEN_REPLY);
        }
        if let Update::Refresh { timeout_ms } = update {
            self.entry.deadline = self.now.after_ms(timeout_ms);
        }
        update
    }

    fn original(&mut self, segment: Segment) -> Update {
        self.send(Original, &segment)
    }

    fn reply(&mut self, segment: Segment) -> Update {
        self.send(Reply, &segment)
    }

    fn state(&self) -> TcpState {
        TcpState::from_number(self.entry.state)
    }

    fn is_assured(&self) -> bool {
        self.entry.status.contains(Status::ASSURED)
    }

    /// All that is known of the connection.
    fn bytes(&self) -> Vec<u8> {
        self.entry.as_bytes().to_vec()
    }

    /// The milliseconds that the entry has left.
    fn left_ms(&self) -> i32 {
        self.entry.deadline.since_ms(self.now)
    }
}

fn handshake() -> [(Direction, Segment); 3] {
    [
        (Original, segment("S", 1000, 0)),
        (Reply, segment("SA", 5000, 1001)),
        (Original, segment("A", 1001, 5001)),
    ]
}

/// A window scale option.
const fn scale(shift: u8) -> [u8; 4] {
    [3, 3, shift, 1]
}

/// A SACK-permitted option.
const SACK_PERMITTED: [u8; 2] = [4, 2];

/// A SACK option with one block.
fn sack(left: u32, right: u32) -> Vec<u8> {
    [&[1, 1, 5, 10][..], &left.to_be_bytes(), &right.to_be_bytes()].concat()
}

#[track_caller]
fn assert_passes(update: Update) {
    assert!(matches!(update, Update::Refresh { .. }), "{update:?}");
}

#[track_caller]
fn assert_invalid(update: Update, reason: InvalidReason) {
    assert_eq!(update, Update::Invalid(reason));
}
