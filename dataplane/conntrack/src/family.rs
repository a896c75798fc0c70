//! The two families of addresses, IPv4 and IPv6.

use std::net::IpAddr;

/// Which family an address belongs to. The values are Linux's `AF_INET` and `AF_INET6`, as listings
/// print them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    V4 = 2,
    /// IPv6.
    V6 = 10,
}

impl Family {
    /// That of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv6() { Self::V6 } else { Self::V4 }
    }
}
