//! Dynamic host configuration (RFC 2131), as far as a host gets answers before it has an address.

use super::{bytes, field, udp};
use crate::headers::{Headers, Packet};
use crate::tuple::{Family, Selector, protocol};

/// Where servers and clients are (RFC 2131 section 4.1).
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// What answers of servers to clients have in common, in zone 0.
const ANSWER: Selector = Selector::new(Family::V4, protocol::UDP, 0, SERVER_PORT, CLIENT_PORT);

/// A message of a server.
const BOOT_REPLY: u8 = 2;

/// Whether a packet is by its ports what a server tells a client.
#[inline(always)]
pub(crate) fn is_answer(headers: &Headers) -> bool {
    headers.tuple.selector.with_zone(0) == ANSWER
}

/// The link-layer address of the client that such a packet is for; `None` if it is none.
pub(crate) fn client(packet: Packet<'_>) -> Option<[u8; 6]> {
    let message = packet.l4().get(udp::HEADER_BYTES..)?;
    let is_reply =
        packet.headers.protocol == protocol::UDP && message.get(field::dhcp::OPERATION) == Some(&BOOT_REPLY);
    if is_reply { bytes::get(message, field::dhcp::CLIENT_MAC) } else { None }
}
