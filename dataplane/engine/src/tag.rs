//! Tags of IEEE 802.1Q on a router's ports: which VLAN a frame is of, how its tag comes off and how one is put on.

use dpdk::Mbuf;
use sluice_conntrack::PortId;
use sluice_conntrack::wire::{ethernet, field};

/// What a tag begins with.
const TPID: [u8; 2] = [0x81, 0x00];
/// Where a tag stands: behind both MAC addresses.
const AT: usize = field::ethernet::SOURCE.end;
/// The bits of a tag that name the VLAN.
const VLAN_MASK: u16 = 0x0fff;

/// A VLAN on the link of a port, which is an interface of its own: its frames have the VLAN's tag there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vlan {
    /// The port whose link carries it.
    pub parent: PortId,
    /// Its identifier, from 1 to 4094.
    pub id: u16,
}

/// The identifier of the VLAN in a frame's tag, if it has one: 0 says a priority and no VLAN.
#[inline(always)]
pub(crate) fn vlan_id(head: &[u8]) -> Option<u16> {
    match head.get(AT..AT + ethernet::TAG_BYTES) {
        Some(&[a, b, c, d]) if [a, b] == TPID => Some(u16::from_be_bytes([c, d]) & VLAN_MASK),
        _ => None,
    }
}

/// Takes the tag of a frame away.
pub(crate) fn take_off(mbuf: &mut Mbuf) {
    mbuf.head_mut().copy_within(..AT, ethernet::TAG_BYTES);
    mbuf.trim_front(ethernet::TAG_BYTES);
    // Not all devices hash a tagged frame as they do one without a tag.
    mbuf.clear_rss_hash();
}

/// Puts the tag of a VLAN on a frame, with priority 0. False, and nothing is changed, where there is no room for it.
pub(crate) fn put_on(mbuf: &mut Mbuf, id: u16) -> bool {
    let [c, d] = id.to_be_bytes();
    let tag = [TPID[0], TPID[1], c, d];
    if !mbuf.extend_front(ethernet::TAG_BYTES) {
        return mbuf.splice(AT, 0, &tag);
    }
    let head = mbuf.head_mut();
    head.copy_within(ethernet::TAG_BYTES..ethernet::TAG_BYTES + AT, 0);
    head[AT..AT + ethernet::TAG_BYTES].copy_from_slice(&tag);
    true
}
