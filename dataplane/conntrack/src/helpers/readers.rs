//! How helpers read lines, turns and datagrams: by functions of their own that look at one.

use super::delimiter::Delimiter;
use super::found::{Form, Found, HelperMemory, InDatagram, Line, Match};
use super::text::Text;
use super::turns::{HEAD_BYTES, Turn};
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::settings::Preset;
use crate::tuple::Direction;

/// How a helper reads streams. What is said of lines holds for messages, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamReader {
    /// Where a line ends.
    pub(crate) delimiter: Delimiter,
    /// What it finds in a line.
    pub(crate) inspect: fn(&Line<'_>, &mut HelperMemory) -> Found,
    /// How Linux reads them; `None` where it has no such helper.
    pub(crate) linux: Option<LinuxReader>,
    /// Whether a line that begins so may come to announce a connection.
    pub(crate) may_announce: fn(&[u8], Direction) -> bool,
    /// An address in the form that it had.
    pub(crate) rewrite: fn(Form, Family, u128, u16) -> Text,
}

impl StreamReader {
    /// How Linux reads them, if that is how they are to be read.
    pub(crate) fn in_linux(&self, preset: Preset) -> Option<&LinuxReader> {
        self.linux.as_ref().filter(|_| preset == Preset::Linux)
    }
}

/// How Linux reads them: by the segment, each by itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinuxReader {
    /// What it finds in a segment.
    pub(crate) inspect: fn(&[u8], Direction, Family) -> Match,
    /// Which of them it reads.
    pub(crate) segments: Segments,
    /// Whether what an end is called outside is the end's own address, too.
    pub(crate) knows_outside: bool,
}

/// Segments that Linux reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segments {
    /// All.
    All,
    /// Those that begin a line for certain.
    AtLineStarts,
}

/// How a helper reads turns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnReader {
    /// The port that a turn announces, as two bytes at the end of its head.
    pub(crate) inspect: fn(&Turn) -> Result<Option<u16>, HelperEvent>,
    /// Whether what a turn begins with, of so many bytes, asks for what may announce one.
    pub(crate) is_asked: fn(&[u8; HEAD_BYTES], u32) -> bool,
}

/// How a helper reads datagrams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DatagramReader {
    /// What it finds in the payload of one.
    pub(crate) inspect: fn(&[u8], Direction) -> InDatagram,
    /// What Linux finds in it; `None` where it has no such helper.
    pub(crate) inspect_as_linux: Option<fn(&[u8], Direction) -> InDatagram>,
    /// What is announced in the form that it had.
    pub(crate) rewrite: fn(Form, Family, u128, u16) -> Text,
    /// How long a connection lives that a datagram of each direction was read of, in seconds; 0 is as long as any.
    pub(crate) master_timeout_s: [u32; 2],
}
