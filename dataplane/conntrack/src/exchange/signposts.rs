//! Signposts: the tuples that are steered to this shard and belong to connections of others.

use crate::ids::ShardId;
use crate::tuple::Tuple;
use crate::tuple_map::TupleMap;
use std::io;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The shard that a signpost points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Owner {
    shard: u16,
    /// How often it was placed.
    times: u16,
}

/// All signposts of a shard.
#[derive(Debug)]
pub(super) struct Signposts(TupleMap<Owner>);

impl Signposts {
    /// Room for so many; the index is keyed by `seed`.
    ///
    /// # Errors
    /// When the host refuses the address space.
    pub(super) fn new(room: u32, seed: [u64; 4]) -> io::Result<Self> {
        TupleMap::new(room, seed).map(Self)
    }

    /// How many there are.
    pub(super) const fn len(&self) -> u32 {
        self.0.len()
    }

    /// Bytes of memory behind them, about.
    pub(super) const fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    /// The shard that a tuple's signpost points to.
    #[inline]
    pub(super) fn get(&self, tuple: &Tuple) -> Option<ShardId> {
        self.0.get(tuple).map(|owner| ShardId(owner.shard))
    }

    /// Places one, or does so once more. False where there is no room, or one to another shard.
    #[must_use]
    pub(super) fn place(&mut self, tuple: &Tuple, to: ShardId) -> bool {
        match self.0.get_mut(tuple) {
            None => self.0.insert(tuple, Owner { shard: to.0, times: 1 }),
            Some(owner) if owner.shard == to.0 && owner.times < u16::MAX => {
                owner.times += 1;
                true
            }
            Some(_) => false,
        }
    }

    /// Takes one away that was placed once, else counts one time less.
    pub(super) fn drop(&mut self, tuple: &Tuple) {
        match self.0.get_mut(tuple) {
            Some(owner) if owner.times > 1 => owner.times -= 1,
            Some(_) => self.0.remove(tuple),
            None => {}
        }
    }
}
