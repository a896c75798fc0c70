//! Steering: which shard a connection belongs to.
//!
//! `owner(tuple) = table[toeplitz(tuple) mod 128]`, the same sum as a NIC's receive side scaling makes of a packet when
//! it is given [`KEY`] and [`Steering::table`]. TCP, UDP and SCTP are hashed by addresses and ports, everything else by
//! its addresses.
//!
//! The key is one 16-bit word again and again (Woo and Park, "Scalable TCP Session Monitoring with Symmetric
//! Receive-side Scaling", 2012). So each 16-bit word of the input counts alike wherever it stands, both directions of a
//! connection hash alike, and the hash is a linear function of the exclusive or of all words: two look-ups. For the same
//! reason a port yet to be chosen can be put into a hash afterwards ([`Steering::base`]).

use crate::frame::Frame;
use crate::headers::{Headers, PacketKind};
use crate::ids::ShardId;
use crate::tuple::{Family, Tuple, protocol};
use crate::wire::ethernet;

/// Entries of the indirection table: what most NICs have, and enough that 16 shards differ by an eighth at most.
pub const TABLE: usize = 128;

/// Of so many consecutive ports, at least one steers a connection to each entry of the indirection table.
pub const EVERYWHERE: u16 = 384;

/// The most shards there can be: each has an entry in the table.
pub const MAX_SHARDS: u16 = TABLE as u16;

/// The word that the key consists of.
const KEY_WORD: u16 = 0x6d5a;

/// The Toeplitz key, as long as any NIC wants it: most take the first 40 bytes.
pub const KEY: [u8; 52] = {
    let mut key = [0; 52];
    let mut index = 0;
    while index < key.len() {
        key[index] = KEY_WORD.to_be_bytes()[index % 2];
        index += 1;
    }
    key
};

/// What each bit of a word, from the lowest up, adds to the hash: the key from that bit on. Both halves of
/// the 32-bit hash are equal, since the key repeats itself; this is one of them.
const fn bit(number: u32) -> u16 {
    KEY_WORD.rotate_left(15 - number)
}

/// What each low and each high byte of a word adds to half the hash.
const BYTES: [[u16; 256]; 2] = {
    let mut bytes = [[0; 256]; 2];
    let mut value = 1;
    while value < 256 {
        let lowest = (value as u32).trailing_zeros();
        let rest = value & (value - 1);
        bytes[0][value] = bytes[0][rest] ^ bit(lowest);
        bytes[1][value] = bytes[1][rest] ^ bit(lowest + 8);
        value += 1;
    }
    bytes
};

/// Half the Toeplitz hash of input whose 16-bit words have this exclusive or.
#[inline(always)]
const fn half_hash(word: u16) -> u16 {
    BYTES[0][(word & 0xff) as usize] ^ BYTES[1][(word >> 8) as usize]
}

/// The exclusive or of the words of both addresses.
#[inline(always)]
const fn fold_addresses(tuple: &Tuple) -> u16 {
    let addresses = tuple.src ^ tuple.dst;
    let half = (addresses >> 64) as u64 ^ addresses as u64;
    let quarter = (half >> 32) as u32 ^ half as u32;
    (quarter >> 16) as u16 ^ quarter as u16
}

/// Whether connections of a protocol are steered by their ports, too: those that NICs know. UDP-Lite goes by its addresses.
const fn is_by_ports(number: u8) -> bool {
    matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP)
}

/// The exclusive or of all words that a tuple is hashed by.
#[inline(always)]
const fn fold(tuple: &Tuple) -> u16 {
    let ports = tuple.selector.sport() ^ tuple.selector.dport();
    fold_addresses(tuple) ^ if is_by_ports(tuple.protocol()) { ports } else { 0 }
}

/// Half the hash that a connection is steered by: the same of its tuple and of the inverse.
#[inline(always)]
pub(crate) const fn symmetric_hash(tuple: &Tuple) -> u16 {
    half_hash(fold(tuple))
}

/// Whether any NIC hashes a packet of these headers by its ports: TCP or UDP right behind a plain IP header in an untagged
/// frame. Of the rest each model sees as much as it can; SCTP it may hash with the verification tag.
fn is_plain(headers: &Headers) -> bool {
    let ip_header = match headers.tuple.family() {
        Family::V4 => 20,
        Family::V6 => 40,
    };
    usize::from(headers.l3_offset) == ethernet::HEADER_BYTES
        && headers.l4_offset - headers.l3_offset == ip_header
        && matches!(headers.protocol, protocol::TCP | protocol::UDP)
}

/// One shard's knowledge of who owns what. All shards of a box have the same but for [`Steering::own`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steering {
    own: ShardId,
    shards: u16,
    table: [ShardId; TABLE],
    /// Of 64 ports in a row, the ones that bring a connection to this shard, a bit each: by what the rest of the tuple and
    /// the first of them add to the hash.
    own_ports: [u64; TABLE],
}

impl Default for Steering {
    fn default() -> Self {
        Self::single()
    }
}

impl Steering {
    /// A box of one shard, which owns everything.
    pub const fn single() -> Self {
        Self { own: ShardId(0), shards: 1, table: [ShardId(0); TABLE], own_ports: [u64::MAX; TABLE] }
    }

    /// The shard `own` of a box of `shards`, which take turns in the table. `None` where there is no such shard, or are
    /// more than [`MAX_SHARDS`].
    pub fn new(own: ShardId, shards: u16) -> Option<Self> {
        let shard = |index: usize| index as u16 % shards;
        let is_own = |base: usize, port: u16| shard((base ^ usize::from(half_hash(port))) % TABLE) == own.0;
        let own_ports = |base| (0..64).fold(0, |ports, port| ports | u64::from(is_own(base, port)) << port);
        (own.0 < shards && shards <= MAX_SHARDS).then(|| Self {
            own,
            shards,
            table: std::array::from_fn(|index| ShardId(shard(index))),
            own_ports: std::array::from_fn(own_ports),
        })
    }

    /// The shard that this is the knowledge of.
    pub const fn own(&self) -> ShardId {
        self.own
    }

    /// How many shards there are.
    pub const fn shards(&self) -> u16 {
        self.shards
    }

    /// Whether there is one shard only, which then owns everything.
    pub const fn is_single(&self) -> bool {
        self.shards == 1
    }

    /// The shard of each entry of the indirection table, for a NIC to be told.
    pub const fn table(&self) -> &[ShardId; TABLE] {
        &self.table
    }

    /// The owner of a connection, by either of its tuples. No ICMP error: its tuple is that of what it quotes.
    #[inline(always)]
    pub const fn owner(&self, tuple: &Tuple) -> ShardId {
        self.at(symmetric_hash(tuple))
    }

    /// The shard that decides about a call which comes by one tuple and is answered by the other ([`crate::expectations`]).
    pub(crate) fn home_of_call(&self, tuple: &Tuple, answer: &Tuple) -> ShardId {
        self.owner(tuple).min(self.owner(answer))
    }

    /// The owner of a fragment: of its addresses, since only the first fragment has ports.
    pub const fn owner_of_fragment(&self, tuple: &Tuple) -> ShardId {
        self.at(half_hash(fold_addresses(tuple)))
    }

    /// The owner of an address and port, the source of a tuple, whoever is at the other end: of each protocol by the port,
    /// too, so that every shard has some ports of every address.
    pub(crate) const fn owner_of_endpoint(&self, endpoint: &Tuple) -> ShardId {
        self.at(half_hash(fold_addresses(endpoint) ^ endpoint.selector.sport()))
    }

    /// The owner of a packet by the hash that a NIC with [`KEY`] made of it.
    #[inline]
    pub const fn owner_of_hash(&self, rss_hash: u32) -> ShardId {
        self.at(rss_hash as u16)
    }

    /// The shard that a parsed packet is to be handed to; `None` where it stays. What is not tracked stays anywhere.
    // Two callers ask, of which one is on the way of every packet.
    #[inline(always)]
    pub(crate) fn elsewhere<F: Frame>(&self, frame: &F, headers: &Headers) -> Option<ShardId> {
        if self.is_single() || frame.handed().is_some() {
            return None;
        }
        let owner = match headers.kind {
            PacketKind::Tracked => match frame.rss_hash().filter(|_| is_plain(headers)) {
                Some(hash) => self.owner_of_hash(hash),
                None => self.owner(&headers.tuple),
            },
            PacketKind::Error => self.owner(&headers.tuple),
            PacketKind::Fragment => self.owner_of_fragment(&headers.tuple),
            PacketKind::NotIp | PacketKind::Untracked | PacketKind::Invalid(_) => return None,
        };
        (owner != self.own).then_some(owner)
    }

    /// The same of a usual packet of this tuple, which any NIC hashes by its ports.
    #[inline(always)]
    pub(crate) fn elsewhere_of_usual<F: Frame>(&self, frame: &F, tuple: &Tuple) -> Option<ShardId> {
        if self.is_single() || frame.handed().is_some() {
            return None;
        }
        let owner = frame.rss_hash().map_or_else(|| self.owner(tuple), |hash| self.owner_of_hash(hash));
        (owner != self.own).then_some(owner)
    }

    /// A tuple one of whose ports is not chosen yet and stands at zero; `None` where its owner does not depend on that.
    #[inline]
    pub const fn base(&self, tuple: &Tuple) -> Option<Base> {
        if self.is_single() || !is_by_ports(tuple.protocol()) {
            None
        } else {
            Some(Base(half_hash(fold(tuple))))
        }
    }

    /// An address, the source of a tuple, whose port is not chosen yet: by that the two belong to a shard, whoever is at the
    /// other end ([`Steering::owner_of_endpoint`]).
    pub(crate) const fn endpoint_base(&self, endpoint: &Tuple) -> Base {
        Base(half_hash(fold_addresses(endpoint)))
    }

    /// Whether a tuple with this port belongs to this shard.
    #[inline]
    pub const fn is_own_with(&self, base: Base, port: u16) -> bool {
        self.at(base.0 ^ half_hash(port)).0 == self.own.0
    }

    /// The ports with which a tuple belongs to this shard, of those from `64 * word` on: a bit each.
    #[inline]
    pub const fn own_ports(&self, base: Base, word: usize) -> u64 {
        self.own_ports[(base.0 ^ half_hash((word * 64) as u16)) as usize % TABLE]
    }

    /// This shard's share of a limit of the box: shares differ by one at most, and together they are the limit.
    pub const fn share(&self, limit: u32) -> u32 {
        let shards = self.shards as u32;
        limit / shards + ((self.own.0 as u32) < limit % shards) as u32
    }

    #[inline(always)]
    const fn at(&self, half_hash: u16) -> ShardId {
        self.table[half_hash as usize % TABLE]
    }
}

/// A tuple that lacks a port ([`Steering::base`]), by what the rest of it adds to the hash.
#[derive(Clone, Copy, Debug)]
pub struct Base(u16);

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    /// The hash as the specification of receive side scaling has it: for each bit of the input that is set, the 32 bits of
    /// the key that begin at it.
    fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
        let mut hash = 0;
        for index in (0..input.len() * 8).filter(|index| input[index / 8] >> (7 - index % 8) & 1 == 1) {
            for bit in 0..32 {
                let from = index + bit;
                hash ^= u32::from(key[from / 8] >> (7 - from % 8) & 1) << (31 - bit);
            }
        }
        hash
    }

    fn input(tuple: &Tuple) -> Vec<u8> {
        let mut input = Vec::new();
        for address in [tuple.source(), tuple.destination()] {
            match address {
                IpAddr::V4(address) => input.extend(address.octets()),
                IpAddr::V6(address) => input.extend(address.octets()),
            }
        }
        if [protocol::TCP, protocol::UDP, protocol::SCTP].contains(&tuple.protocol()) {
            input.extend(tuple.selector.sport().to_be_bytes());
            input.extend(tuple.selector.dport().to_be_bytes());
        }
        input
    }

    fn tuples() -> impl Iterator<Item = Tuple> {
        let mut random = 1_u64;
        let mut next = move || {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 32) as u32
        };
        let protocols = [protocol::TCP, protocol::UDP, protocol::SCTP, protocol::UDPLITE, protocol::GRE, 99];
        (0..600).map(move |number| {
            let mut address = |v6: bool| match v6 {
                true => IpAddr::from([(); 8].map(|()| next() as u16)),
                false => IpAddr::from(next().to_be_bytes()),
            };
            let (src, dst) = (address(number % 2 == 1), address(number % 2 == 1));
            Tuple::new(src, dst, protocols[number % 6], next() as u16, next() as u16)
        })
    }

    #[test]
    fn the_reference_hash_is_the_one_of_the_specification() {
        // Microsoft's key and its first example: 66.9.149.187:2794 to 161.142.100.80:1766.
        let key =
            [0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0];
        let tuple = Tuple::new([66, 9, 149, 187].into(), [161, 142, 100, 80].into(), 6, 2794, 1766);
        assert_eq!(toeplitz(&key, &input(&tuple)), 0x51cc_c178);
    }

    #[test]
    fn tuples_hash_as_a_nic_hashes_them() {
        let steering = Steering::new(ShardId(0), 5).unwrap();
        for tuple in tuples() {
            let hash = toeplitz(&KEY[..40], &input(&tuple));
            let half = half_hash(fold(&tuple));
            assert_eq!(hash, u32::from(half) << 16 | u32::from(half), "{tuple:?}");
            assert_eq!(steering.owner(&tuple), steering.owner_of_hash(hash));
            assert_eq!(steering.owner(&tuple), steering.table()[hash as usize % TABLE]);
        }
    }

    #[test]
    fn both_directions_have_one_owner() {
        let steering = Steering::new(ShardId(2), 3).unwrap();
        for tuple in tuples() {
            assert_eq!(steering.owner(&tuple), steering.owner(&tuple.invert()));
            assert_eq!(steering.owner_of_fragment(&tuple), steering.owner_of_fragment(&tuple.invert()));
        }
        let query = Tuple::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), protocol::ICMP, 7, 8 << 8);
        assert_eq!(steering.owner(&query), steering.owner(&query.invert()));
    }

    #[test]
    fn a_port_chosen_later_counts_as_if_it_had_been_there() {
        let steering = Steering::new(ShardId(1), 4).unwrap();
        for tuple in tuples() {
            let (number, sport) = (tuple.protocol(), tuple.selector.sport());
            let without = Tuple::new(tuple.source(), tuple.destination(), number, sport, 0);
            let dport = tuple.selector.dport();
            let is_own = steering.base(&without).map(|base| steering.is_own_with(base, dport));
            let steers = [protocol::TCP, protocol::UDP, protocol::SCTP].contains(&number);
            assert_eq!(is_own, steers.then(|| steering.owner(&tuple) == steering.own()));
            let word = usize::from(dport / 64);
            let own =
                steering.base(&without).map(|base| steering.own_ports(base, word) >> (dport % 64) & 1 == 1);
            assert_eq!(own, is_own, "sixty-four at a time");
        }
    }

    #[test]
    fn ports_in_a_row_reach_every_entry() {
        let mut counts = [0; TABLE];
        let index = |port: u16| usize::from(half_hash(port)) % TABLE;
        (0..EVERYWHERE - 1).for_each(|port| counts[index(port)] += 1);
        for last in EVERYWHERE - 1..=u16::MAX {
            counts[index(last)] += 1;
            assert!(counts.iter().all(|count| *count > 0), "the ports up to {last}");
            counts[index(last - (EVERYWHERE - 1))] -= 1;
        }
    }

    #[test]
    fn every_shard_gets_its_part() {
        for shards in [1, 2, 3, 4, 16, 128] {
            let steering = Steering::new(ShardId(0), shards).unwrap();
            let mut owned = vec![0; usize::from(shards)];
            for sport in 0..u16::MAX {
                let tuple = Tuple::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 6, sport, 443);
                owned[usize::from(steering.owner(&tuple).0)] += 1;
            }
            let even = i32::from(u16::MAX) / i32::from(shards);
            assert!(owned.iter().all(|owned: &i32| (owned - even).abs() <= even / 6), "{owned:?}");
        }
        assert!(Steering::single().is_single());
        assert!(Steering::new(ShardId(1), 1).is_none() && Steering::new(ShardId(0), 0).is_none());
        assert!(Steering::new(ShardId(0), MAX_SHARDS + 1).is_none());
    }

    #[test]
    fn shares_of_a_limit_add_up_to_it() {
        for (shards, limit) in [(1, 7), (2, 7), (3, 7), (5, 3), (16, 4_000_001)] {
            let share = |own| Steering::new(ShardId(own), shards).unwrap().share(limit);
            assert_eq!((0..shards).map(share).sum::<u32>(), limit);
            assert!(share(0) - share(shards - 1) <= 1);
        }
    }
}
