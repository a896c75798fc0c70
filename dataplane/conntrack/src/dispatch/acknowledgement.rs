//! What the box says to a server in the name of a client that has sent its SYN cookie back ([`crate::synproxy`]).

use super::Host;
use crate::frame::Frame;
use crate::shard::Shard;
use crate::verdict::Verdict;

/// Bytes of an ACK: headers of Ethernet with several tags, of IPv6 and of TCP.
const LONGEST_ACK: usize = 128;

/// Acknowledges a server's SYN/ACK, which `packet` was.
#[cold]
pub(super) fn acknowledge<H: Host>(
    shard: &mut Shard,
    host: &mut H,
    packet: &H::Packet,
    verdict: &Verdict,
) -> Option<H::Packet> {
    let mut ack = [0; LONGEST_ACK];
    let length = shard.acknowledge(packet, verdict, &mut ack)?;
    let made = host.make(packet.port(), ack.get(..length)?)?;
    shard.counters.answers += 1;
    Some(made)
}
