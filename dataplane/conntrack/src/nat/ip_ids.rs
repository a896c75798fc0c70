//! IP ID rewriting: new identifications for IPv4 packets whose source is translated (RFC 7857 section 11, RFC 6864 section 5.3.1).
//!
//! Hosts that share an address number their packets without knowing of one another. Where packets of two of them are cut
//! into fragments on the way to one destination, that may put parts of both together. Packets that must not be fragmented
//! keep their number: nobody looks at it.

use super::edit::write_identification;
use crate::frame::Frame;
use crate::headers::{Fragment, Headers};
use crate::steer::Steering;
use crate::tuple::Family;
use crate::wire::{self, ipv4};
use ahash::RandomState;

/// Counters of a shard. Each serves the destinations whose hash leads to it (RFC 7739 section 5.3 does so for IPv6).
const COUNTERS: usize = 256;

/// The last number given, by a hash of addresses and protocol.
#[derive(Debug)]
pub(super) struct IpIds([u16; COUNTERS]);

impl Default for IpIds {
    fn default() -> Self {
        Self([0; COUNTERS])
    }
}

impl IpIds {
    /// Gives a packet that may be cut into fragments the next number towards its destination, from where the secret `key` says.
    #[inline(never)]
    pub(super) fn rewrite<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        key: &RandomState,
        steering: &Steering,
    ) {
        let may_be_cut = headers.tuple.family() == Family::V4
            && headers.fragment == Fragment::Whole
            && ipv4::may_be_fragmented(frame.head(), headers);
        if may_be_cut {
            let hash = key.hash_one((wire::addresses(frame.head(), headers), headers.protocol));
            write_identification(frame.head_mut(), headers, self.next(hash, steering));
        }
    }

    /// The next number for a hash. Each shard has numbers of its own.
    fn next(&mut self, hash: u64, steering: &Steering) -> u16 {
        let Self(counters) = self;
        let last = &mut counters[hash as usize % COUNTERS];
        *last = last.wrapping_add(1);
        let share = u16::MAX / steering.shards();
        let drawn = last.wrapping_add((hash >> 48) as u16) % share;
        steering.own().0 * share + drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;
    use std::collections::HashSet;

    #[test]
    fn shards_give_different_numbers() {
        let mut seen = HashSet::new();
        for own in 0..3 {
            let (mut ids, steering) = (IpIds::default(), Steering::new(ShardId(own), 3).unwrap());
            let numbers = std::iter::repeat_with(|| ids.next(0x7fff << 48, &steering));
            assert!(numbers.take(1000).all(|number| seen.insert(number)), "shard {own}");
        }
    }
}
