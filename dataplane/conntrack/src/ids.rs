//! Identifiers: the small numbers that name things of the box, apart from what they name, so that every file may use them.

use zerocopy::FromZeros;

/// A port of the box, by its place in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u8);

impl PortId {
    /// The box itself: where packets to its own addresses "leave".
    pub const LOCAL: Self = Self(u8::MAX);
}

/// A shard, by its number: that of its worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// Names an entry for as long as it lives: a number that is used again later, and the generation that
/// tells its users apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, FromZeros)]
pub struct EntryId {
    /// Place in the arena.
    pub index: u32,
    /// Changes whenever the place is taken again.
    pub generation: u32,
}

/// A next router, by its place in the router's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatewayId(pub u16);

/// A rule of the policy, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u16);

/// A conntrack zone: tuples of different zones never meet. Zone 0 is the default.
pub type Zone = u16;

/// A helper that exists, what reads one protocol ([`crate::helpers`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum HelperId {
    /// The File Transfer Protocol (RFC 959, RFC 2428).
    Ftp,
}

impl HelperId {
    /// All helpers, in the order of their numbers.
    pub const ALL: [Self; 1] = [Self::Ftp];
}
