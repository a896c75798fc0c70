//! What a helper reads, and how: lines, turns or datagrams, or messages, which it does all by itself.

use super::message_reading::{Reading, Refused};
use super::messages::Measure;
use super::reading::Part;
use super::{DatagramReader, StreamReader, TurnReader};
use crate::shard::Shard;
use crate::tuple::Direction;
use crate::verdict::DropReason;

/// What a helper reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reads {
    /// The two streams of a connection, line by line or message by message.
    Stream(StreamReader),
    /// The two streams of a connection, by the begin of each turn.
    Turns(TurnReader),
    /// Datagrams, each by itself.
    Datagrams(DatagramReader),
    /// Messages, each whole, in datagrams or over a stream.
    Messages(MessageReader),
}

impl Reads {
    /// Whether Linux has a helper that reads so.
    pub(super) const fn is_known_to_linux(&self) -> bool {
        match self {
            Self::Stream(reader) => reader.linux.is_some(),
            Self::Datagrams(reader) => reader.inspect_as_linux.is_some(),
            Self::Turns(_) | Self::Messages(_) => true,
        }
    }

    /// How long a connection lives that something of this direction was read of, in seconds; 0 is as long as any.
    pub(super) const fn master_timeout_s(&self, direction: Direction) -> u32 {
        match self {
            Self::Stream(_) | Self::Turns(_) => 0,
            Self::Datagrams(reader) => reader.master_timeout_s[direction as usize],
            Self::Messages(reader) => reader.master_timeout_s,
        }
    }
}

/// How a helper reads messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageReader {
    /// Tells how long one of a stream is.
    pub(crate) measure: Measure,
    /// Reads one.
    pub(crate) read: fn(&mut Shard, &mut Reading<'_>) -> Result<(), Refused>,
    /// Reads a segment as Linux does; `None` where that is read message by message, too.
    pub(crate) read_as_linux: Option<ReadAsLinux>,
    /// How long a connection lives that brings one, in seconds; 0 is as long as any.
    pub(crate) master_timeout_s: u32,
    /// Whether one that is rewritten may become longer.
    pub(crate) may_grow: bool,
}

/// Reads a segment.
pub(crate) type ReadAsLinux = fn(&mut Shard, &Part, &MessageReader, &[u8]) -> Result<(), DropReason>;
