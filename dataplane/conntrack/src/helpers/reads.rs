//! What a helper reads: lines, turns, datagrams or messages.

use super::{DatagramReader, MessageReader, StreamReader, TurnReader};
use crate::tuple::Direction;

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
