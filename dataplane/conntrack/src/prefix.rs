//! An address prefix.

use crate::family::Family;
use std::net::IpAddr;

/// An address prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    family: Family,
    network: u128,
    mask: u128,
}

impl Prefix {
    /// The prefix of `length` bits around `address`; a length beyond the family's is its longest.
    pub fn new(address: IpAddr, length: u8) -> Self {
        let (family, bits) = match address {
            IpAddr::V4(_) => (Family::V4, 32),
            IpAddr::V6(_) => (Family::V6, 128),
        };
        let host = bits - u32::from(length).min(bits);
        let all = u128::MAX >> (128 - bits);
        let mask = if host == 128 { 0 } else { all >> host << host };
        Self { family, network: crate::tuple::number(address) & mask, mask }
    }

    /// The family of its addresses.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The number of its first address.
    pub const fn first(&self) -> u128 {
        self.network
    }

    /// The number of its last address.
    pub const fn last(&self) -> u128 {
        match self.family {
            Family::V4 => self.network | (!self.mask & u32::MAX as u128),
            Family::V6 => self.network | !self.mask,
        }
    }

    /// Whether an address, given as its number, lies in it.
    pub const fn contains(&self, family: Family, address: u128) -> bool {
        family as u8 == self.family as u8 && address & self.mask == self.network
    }
}
