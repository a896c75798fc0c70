//! A routing table as large as that of the Internet, and connections whose ends are anywhere behind it.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::forward::{Interface, Route, Router};
use sluice_conntrack::policy::Prefix;

use crate::configuration::{INSIDE, OUTSIDE};
use crate::connection::{Connection, Endpoint};

/// Routes of each family.
pub const IPV4_ROUTES: usize = 1_000_000;
/// See [`IPV4_ROUTES`].
pub const IPV6_ROUTES: usize = 250_000;

/// Next routers on each link.
const GATEWAYS: u8 = 16;

/// How many of a thousand prefixes are how long: about as in the tables of the Internet's routers.
const IPV4_LENGTHS: [(u32, u8); 9] =
    [(14, 16), (8, 17), (15, 18), (27, 19), (46, 20), (54, 21), (118, 22), (103, 23), (615, 24)];
const IPV6_LENGTHS: [(u32, u8); 7] =
    [(25, 29), (110, 32), (30, 36), (120, 40), (130, 44), (35, 46), (550, 48)];

/// Where prefixes of IPv6 are given out: networks of twelve bits of the regional registries.
const IPV6_NETWORKS: [u128; 5] = [0x240, 0x260, 0x280, 0x2a0, 0x2c0];

/// Prefixes, each once, in random order.
pub struct FullTable {
    /// Those that lead inside, in the lower half of the addresses, and those that lead outside.
    ipv4: [Vec<Prefix>; 2],
    ipv6: Vec<Prefix>,
}

impl FullTable {
    /// That of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut half = |first_octets: std::ops::RangeInclusive<u32>| {
            distinct(IPV4_ROUTES / 2, || {
                let first = random.random_range(first_octets.clone()) << 24;
                let address = Ipv4Addr::from_bits(first | random.random_range(0..1 << 24));
                Prefix::new(address.into(), draw_length(&IPV4_LENGTHS, &mut random))
            })
        };
        let ipv4 = [half(11..=126), half(128..=223)];
        let ipv6 = distinct(IPV6_ROUTES, || {
            let network = IPV6_NETWORKS[random.random_range(0..IPV6_NETWORKS.len())] << 116;
            let address = IpAddr::V6((network | random.random_range(0..1 << 116)).into());
            Prefix::new(address, draw_length(&IPV6_LENGTHS, &mut random))
        });
        Self { ipv4, ipv6 }
    }

    /// A router with these routes.
    pub fn router(&self) -> Router {
        // Networks of the links that no prefix is in.
        let links = [("10.0.0.1", "fd00:1::1"), ("10.0.1.1", "fd00:2::1")];
        let address = |text: &str| text.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let interface = |(v4, v6): (&str, &str)| Interface {
            addresses: vec![(address(v4), 24), (address(v6), 64)],
            mtu: 1500,
            ..Interface::default()
        };
        let [inside, outside] = &self.ipv4;
        let ipv4 = [(INSIDE, inside), (OUTSIDE, outside)].into_iter().flat_map(|(port, prefixes)| {
            (0..GATEWAYS).cycle().zip(prefixes).map(move |(n, prefix)| {
                let gateway = [10, 0, port.0, 2 + n];
                Route::by(*prefix, port, Some(gateway.into()))
            })
        });
        let ipv6 = self.ipv6.iter().map(|prefix| Route::by(*prefix, OUTSIDE, Some(address("fd00:2::2"))));
        Router::new(links.map(interface).to_vec(), ipv4.chain(ipv6))
    }

    /// A connection between a client and a server each behind a prefix of its own: the number's, so that in any order of
    /// connections routes come in that order.
    pub fn connection(&self, number: u32, connection: Connection) -> Connection {
        let [clients, servers] = &self.ipv4;
        let behind = |prefixes: &[Prefix], endpoint: Endpoint| {
            let prefix = prefixes[number as usize % prefixes.len()];
            let host = u128::from(endpoint.address.to_bits()) % (prefix.last() - prefix.first() + 1);
            Endpoint { address: Ipv4Addr::from_bits((prefix.first() + host) as u32), ..endpoint }
        };
        Connection {
            client: behind(clients, connection.client),
            server: behind(servers, connection.server),
            ..connection
        }
    }

    /// Addresses of IPv6 behind the prefixes.
    pub fn ipv6_addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.ipv6.iter().map(|prefix| IpAddr::V6(prefix.first().into()))
    }
}

/// One of these lengths, as often as they say.
fn draw_length(lengths: &[(u32, u8)], random: &mut ChaCha8Rng) -> u8 {
    let mut left: u32 = random.random_range(0..1000);
    for (weight, length) in lengths {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return *length,
        }
    }
    0
}

/// So many different prefixes.
fn distinct(count: usize, mut draw: impl FnMut() -> Prefix) -> Vec<Prefix> {
    let (mut prefixes, mut known) = (Vec::with_capacity(count), HashSet::with_capacity(count));
    while prefixes.len() < count {
        let prefix = draw();
        if known.insert((prefix.first(), prefix.last())) {
            prefixes.push(prefix);
        }
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::{Driver, Setup, random_packets};
    use sluice_conntrack::Forwarding;

    #[test]
    fn connections_are_between_prefixes_of_their_own() {
        let table = FullTable::new(1);
        let router = table.router();
        assert_eq!(
            table.ipv6_addresses().filter(|address| router.find(*address).is_some()).count(),
            IPV6_ROUTES
        );
        let forwarding = Forwarding::Routed(Box::new(router));
        let setup = Setup::new(1000, 1, 25);
        let mut driver =
            Driver::between(setup, forwarding, |number, it| table.connection(number, it)).unwrap();
        driver.open().unwrap();
        driver.drive(random_packets(1, 1000).take(1000)).unwrap();
    }
}
