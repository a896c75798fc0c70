//! What a peer reads in a frame that reaches it.

use crate::common::Pair;
use sluice_conntrack::tuple::{address, protocol};
use sluice_conntrack::{PortId, wire};

/// Who a frame is from and to. The identifier of an echo request stands for its source port, that of a reply for its
/// destination port.
pub fn pair_of(frame: &[u8]) -> Pair {
    let headers = wire::parse(&(PortId(0), frame.to_vec())).expect("a sound frame");
    let tuple = headers.tuple;
    let (sport, dport) = match (headers.protocol, tuple.selector.dport() >> 8) {
        (protocol::ICMP, 0) | (protocol::ICMPV6, 129) => (0, tuple.selector.sport()),
        (protocol::ICMP | protocol::ICMPV6, _) => (tuple.selector.sport(), 0),
        _ => (tuple.selector.sport(), tuple.selector.dport()),
    };
    let [source, destination] = [tuple.src, tuple.dst].map(|number| address(tuple.family(), number));
    Pair::of(source, sport, destination, dport)
}

/// All checksums of a frame are good.
pub fn assert_sound(frame: &[u8]) {
    let frame = (PortId(0), frame.to_vec());
    let headers = wire::parse(&frame).expect("a sound IP header");
    assert!(wire::verify_checksum(&frame, &headers), "{headers:?}");
}
