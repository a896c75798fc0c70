//! ntalk through a masquerading box of several shards: who is announced comes to the caller's daemon and then to the caller, whichever
//! shards all of that lands on. In version 2, whose messages are longer than those by which tests of expectations announce something.

use crate::common::*;
use crate::fragments::pass;
use crate::helpers::with_helper;
use crate::masquerade;
use sluice_conntrack::helpers::HelperId;
use std::net::SocketAddr;

const CALLERS: u8 = 24;

const LOOK_UP: u8 = 1;
const ANNOUNCE: u8 = 3;

/// A message about these addresses: a request where there are two.
fn message(kind: u8, addresses: &[&str]) -> Vec<u8> {
    let mut bytes = vec![2, kind, 0, 0, 0, 0, 0, 7];
    for address in addresses {
        let SocketAddr::V4(address) = address.parse().unwrap() else { panic!("{address} is IPv4") };
        bytes.extend([&[0, 2], &address.port().to_be_bytes()[..], &address.ip().octets(), &[0; 8]].concat());
    }
    if addresses.len() == 1 {
        bytes.extend(b"bob\0\0\0\0\0\0\0\0\0");
    } else {
        bytes.extend(b"\0\0\0\0alice\0\0\0\0\0\0\0bob\0\0\0\0\0\0\0\0\0tty1\0\0\0\0\0\0\0\0\0\0\0\0");
    }
    bytes
}

#[test]
fn talk_g19_who_is_announced_comes_to_the_caller_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut cluster = with_helper(shards, preset, firewall(), masquerade(), HelperId::Ntalk);
            for caller in 0..CALLERS {
                let [inside, callee] =
                    [format!("10.0.0.{}", caller + 2), format!("198.51.100.{}", caller + 2)];
                let own = format!("{inside}:40000");
                let asks = Pair::at(&own, &format!("{callee}:518"));
                let request = message(ANNOUNCE, &[&format!("{inside}:5001"), &own]);
                let asked =
                    pass(&mut cluster, INSIDE, vec![asks.datagram(&request).frame()]).expect("it leaves");
                let outside = asked.pair.source.to_string();
                let seen = message(ANNOUNCE, &[&format!("{}:5001", asked.pair.source.ip()), &outside]);
                assert_eq!(asked.l4[8..], seen);
                let granted = asked.pair.inverse().datagram(&message(ANNOUNCE, &["0.0.0.0:0"]));
                pass(&mut cluster, OUTSIDE, vec![granted.frame()]).expect("it is the answer");

                let from = format!("{callee}:50000");
                let looks_up = Pair::at(&from, &format!("{}:518", asked.pair.source.ip()));
                let request = message(LOOK_UP, &["0.0.0.0:0", &from]);
                let came = pass(&mut cluster, OUTSIDE, vec![looks_up.datagram(&request).frame()])
                    .expect("it is RELATED");
                assert_eq!(came.pair, Pair::at(&from, &format!("{inside}:518")));
                let tells = came.pair.inverse().datagram(&message(LOOK_UP, &[&format!("{inside}:5001")]));
                let told = pass(&mut cluster, INSIDE, vec![tells.frame()]).expect("it is its answer");
                assert_eq!(told.pair, looks_up.inverse());
                let [high, low, address @ ..]: [u8; 6] = *told.l4[8 + 10..].first_chunk().unwrap();
                assert_eq!(SocketAddr::from((address, 0)).ip(), asked.pair.source.ip());

                let calls = Pair {
                    source: format!("{callee}:50001").parse().unwrap(),
                    destination: (address, u16::from_be_bytes([high, low])).into(),
                };
                let called =
                    pass(&mut cluster, OUTSIDE, vec![calls.tcp("S", 1, 0).frame()]).expect("it is RELATED");
                assert_eq!(called.pair.destination.to_string(), format!("{inside}:5001"));
                let other = Pair { source: format!("{callee}:50002").parse().unwrap(), ..calls };
                let other = pass(&mut cluster, OUTSIDE, vec![other.tcp("S", 1, 0).frame()]);
                assert!(other.is_none(), "it was expected once");
            }
            cluster.check();
        }
    }
}
