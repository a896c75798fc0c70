//! What the crate asks of whoever holds a packet: an mbuf, a vector in a test, a capture's record.

use crate::ids::{PortId, ShardId, Zone};
use crate::verdict::Handoff;

/// What the receiving device found out about a checksum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing: verify it in software.
    #[default]
    Unknown,
    /// The device verified it.
    Good,
    /// The device found it wrong.
    Bad,
}

/// How a frame came from another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handed {
    /// The shard.
    pub from: ShardId,
    /// Why it did.
    pub by: Handoff,
    /// How often the packet was handed on so far, this time included.
    pub hops: u8,
}

impl Handed {
    /// Whether it is part of a datagram that the other shard has seen whole: only fragments on their way to where they are
    /// held are none.
    pub(crate) const fn is_datagram(self) -> bool {
        !matches!(self.by, Handoff::Fragment)
    }

    /// The zone in which the other shard knows the packet's connection, if it has one there.
    pub(crate) const fn zone(self) -> Option<Zone> {
        match self.by {
            Handoff::Signpost(zone) | Handoff::Delegation(zone) => Some(zone),
            Handoff::Steering | Handoff::Fragment | Handoff::Return => None,
        }
    }
}

/// What makes a frame of a datagram that came in fragments. Its first segment begins with the headers of the first fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reassembled {
    /// Bytes of the datagram that are not in the first fragment.
    pub rest_bytes: u32,
    /// The largest of the fragments, IP header included, in bytes.
    pub largest_bytes: u32,
    /// Whether it may be cut anew: a fragment as large as that lets its packet be fragmented.
    pub may_be_fragmented: bool,
    /// Whether one of the fragments has seen congestion (RFC 3168 section 5.3).
    pub has_seen_congestion: bool,
}

/// One Ethernet frame, in one or more segments.
///
/// Headers are read in the first segment only: a frame whose headers do not fit there is treated as cut off.
pub trait Frame {
    /// The port it came in by.
    fn port(&self) -> PortId;

    /// The first segment.
    fn head(&self) -> &[u8];

    /// The first segment, to be edited in place.
    fn head_mut(&mut self) -> &mut [u8];

    /// The later segments, in order: a frame in one piece has none.
    fn tail(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::empty()
    }

    /// Bytes in all segments together.
    fn len_bytes(&self) -> usize {
        self.head().len() + self.tail().map(<[u8]>::len).sum::<usize>()
    }

    /// Folds over `length` bytes from `offset` in the first segment on, segment by segment; less where the frame ends before.
    #[inline(always)]
    fn fold<T>(&self, offset: usize, length: usize, init: T, mut f: impl FnMut(T, &[u8]) -> T) -> T {
        let head = self.head().get(offset..).unwrap_or_default();
        let head = head.get(..length).unwrap_or(head);
        let (mut left, mut folded) = (length - head.len(), f(init, head));
        for segment in self.tail() {
            let segment = segment.get(..left).unwrap_or(segment);
            left -= segment.len();
            folded = f(folded, segment);
        }
        folded
    }

    /// Puts `inserted` in the place of the `removed` bytes from `at` on; lengths and checksums in headers are left alone.
    /// False, and nothing is changed, where the frame has not so many bytes or no room.
    fn splice(&mut self, _at: usize, _removed: usize, _inserted: &[u8]) -> bool {
        false
    }

    /// What the device says about the IPv4 header checksum.
    fn l3_checksum(&self) -> Checksum {
        Checksum::Unknown
    }

    /// What the device says about the TCP, UDP or SCTP checksum.
    fn l4_checksum(&self) -> Checksum {
        Checksum::Unknown
    }

    /// The hash that the device made of it, where it makes the one of [`crate::steer`].
    fn rss_hash(&self) -> Option<u32> {
        None
    }

    /// How it came from another shard, if it did.
    fn handed(&self) -> Option<Handed> {
        None
    }

    /// The datagram that it is read as, if that came in fragments.
    #[inline(always)]
    fn reassembled(&self) -> Option<Reassembled> {
        None
    }
}

/// A frame in one piece of ordinary memory, with the port it came in by.
impl Frame for (PortId, Vec<u8>) {
    fn port(&self) -> PortId {
        self.0
    }

    fn head(&self) -> &[u8] {
        &self.1
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.1
    }

    fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) -> bool {
        let has = at <= self.1.len() && removed <= self.1.len() - at;
        if has {
            self.1.splice(at..at + removed, inserted.iter().copied());
        }
        has
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_grows_and_shrinks() {
        let mut frame = (PortId(0), b"PORT 10,0,0,1".to_vec());
        assert!(frame.splice(5, 8, b"198,51,100,7"));
        assert_eq!(frame.1, b"PORT 198,51,100,7");
        assert!(frame.splice(4, 13, b""));
        assert_eq!(frame.1, b"PORT");
        assert!(!frame.splice(5, 0, b"x") && !frame.splice(2, 3, b"x") && !frame.splice(1, usize::MAX, b""));
        assert_eq!(frame.1, b"PORT");
    }
}
