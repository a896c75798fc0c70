//! Signposts: reply tuples that belong to connections of other shards.
//!
//! An answer is steered to a shard by its tuple. Where that is not the shard of its connection, as after destination NAT,
//! the connection's shard has placed a signpost there, by which the answer is handed on. Signposts have no timers: they go
//! when their connection's shard says so ([`crate::message`]).

use crate::entries::NONE;
use crate::index::{Hash, Index};
use crate::steer::ShardId;
use crate::tuple::{Selector, Tuple};
use sluice_memory::{Arena, Pages};
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One signpost.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Signpost {
    addresses: [u128; 2],
    selector: Selector,
    /// The shard it points to.
    owner: u16,
    spare: u16,
    /// The next of the places given back.
    next: u32,
}

const _: () = assert!(size_of::<Signpost>() == 48, "a signpost is less than a cache line");

/// The signposts in one shard: a fixed number of places.
#[derive(Debug)]
pub(crate) struct Signposts {
    index: Index,
    places: Arena<Signpost>,
    /// First of the places given back.
    free: u32,
    /// Places from here on have never been taken.
    untouched: u32,
    len: u32,
}

impl Signposts {
    /// Room for `capacity` signposts, which take memory only where they are written.
    ///
    /// # Errors
    /// When the host has not enough memory.
    pub(crate) fn new(capacity: u32, seed: [u64; 4], pages: Pages) -> io::Result<Self> {
        Ok(Self {
            index: Index::new(capacity, seed, pages)?,
            places: Arena::sparse(capacity as usize)?,
            free: NONE,
            untouched: 0,
            len: 0,
        })
    }

    /// How many there are.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Bytes of memory behind them: the index, and the places that were ever taken.
    pub(crate) const fn memory_bytes(&self) -> usize {
        self.index.memory_bytes() + self.untouched as usize * size_of::<Signpost>()
    }

    fn hash(&self, tuple: &Tuple) -> Hash {
        self.index.hash(tuple, tuple.selector.invert())
    }

    fn find(&self, hash: Hash, tuple: &Tuple) -> Option<(u32, ShardId)> {
        self.index.find(hash, |place| {
            let post = self.places.get(place as usize)?;
            let fits = post.selector == tuple.selector && post.addresses == [tuple.src, tuple.dst];
            fits.then_some(ShardId(post.owner))
        })
    }

    /// The shard that owns a tuple.
    pub(crate) fn get(&self, tuple: &Tuple) -> Option<ShardId> {
        if self.len == 0 {
            return None;
        }
        self.find(self.hash(tuple), tuple).map(|(_, owner)| owner)
    }

    /// Places a signpost. False where there is one for this tuple already, or no room.
    #[must_use]
    pub(crate) fn place(&mut self, tuple: &Tuple, owner: ShardId) -> bool {
        let hash = self.hash(tuple);
        if self.find(hash, tuple).is_some() {
            return false;
        }
        let place = if self.free != NONE { self.free } else { self.untouched };
        let Some(post) = self.places.get_mut(place as usize) else { return false };
        if !self.index.insert(hash, place) {
            return false;
        }
        if place == self.untouched {
            self.untouched += 1;
        } else {
            self.free = post.next;
        }
        *post = Signpost {
            addresses: [tuple.src, tuple.dst],
            selector: tuple.selector,
            owner: owner.0,
            spare: 0,
            next: NONE,
        };
        self.len += 1;
        true
    }

    /// Takes the signpost for this tuple away if it points to `owner`.
    pub(crate) fn remove(&mut self, tuple: &Tuple, owner: ShardId) {
        let hash = self.hash(tuple);
        let found = self.find(hash, tuple).filter(|(_, pointed)| *pointed == owner);
        let Some((place, _)) = found else { return };
        self.index.remove(hash, place);
        if let Some(post) = self.places.get_mut(place as usize) {
            post.next = std::mem::replace(&mut self.free, place);
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShardId = ShardId(1);
    const B: ShardId = ShardId(2);

    fn tuple(port: u16) -> Tuple {
        Tuple::new([198, 51, 100, 2].into(), [203, 0, 113, 1].into(), 17, 53, port)
    }

    fn signposts(capacity: u32) -> Signposts {
        Signposts::new(capacity, [1, 2, 3, 4], Pages::Ordinary).unwrap()
    }

    #[test]
    fn one_tuple_has_one_signpost_and_only_its_owner_takes_it_away() {
        let mut posts = signposts(10);
        assert!(posts.place(&tuple(1), A));
        assert!(!posts.place(&tuple(1), B) && !posts.place(&tuple(1), A));
        posts.remove(&tuple(1), B);
        assert_eq!(posts.get(&tuple(1)), Some(A));
        assert_eq!(posts.get(&tuple(1).invert()), None, "a signpost is for one direction");
        posts.remove(&tuple(1), A);
        assert_eq!((posts.get(&tuple(1)), posts.len()), (None, 0));
    }

    #[test]
    fn places_are_used_again() {
        let mut posts = signposts(3);
        for round in 0..5 {
            for port in 0..3 {
                assert!(posts.place(&tuple(round * 3 + port), A));
            }
            assert!(!posts.place(&tuple(99), B), "all places are taken");
            for port in 0..3 {
                assert_eq!(posts.get(&tuple(round * 3 + port)), Some(A));
                posts.remove(&tuple(round * 3 + port), A);
            }
        }
    }
}
