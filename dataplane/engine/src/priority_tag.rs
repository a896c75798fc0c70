//! Priority tags (IEEE 802.1Q): a tag of VLAN 0 says a priority and no VLAN, so a router takes its frame as an untagged one.

use dpdk::Mbuf;

/// Bytes of both MAC addresses, which stand before the tag.
const ADDRESSES_BYTES: usize = 12;
/// Bytes of a tag.
const TAG_BYTES: usize = 4;
/// What a tag begins with.
const TPID: [u8; 2] = [0x81, 0x00];
/// The bits of a tag that name the VLAN.
const VLAN_MASK: u16 = 0x0fff;

/// Takes the priority tag of a frame away, if it has one.
#[inline]
pub(crate) fn strip(mbuf: &mut Mbuf) {
    let tag = mbuf.head().get(ADDRESSES_BYTES..ADDRESSES_BYTES + TAG_BYTES);
    if let Some(&[a, b, c, d]) = tag
        && [a, b] == TPID
        && u16::from_be_bytes([c, d]) & VLAN_MASK == 0
    {
        cut_out(mbuf);
    }
}

#[cold]
fn cut_out(mbuf: &mut Mbuf) {
    mbuf.head_mut().copy_within(..ADDRESSES_BYTES, TAG_BYTES);
    mbuf.trim_front(TAG_BYTES);
    // Not all devices hash a tagged frame as they do one without a tag.
    mbuf.clear_rss_hash();
}
