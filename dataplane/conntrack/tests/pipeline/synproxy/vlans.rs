//! SYN cookies in a VLAN: what the box says itself has the tag of what it answers, priority and all.

use super::*;

impl Wires {
    /// Takes a tag off all frames, each of which has it.
    pub fn take_off(&mut self, tag: u16) {
        let [high, low] = tag.to_be_bytes();
        for (_, frame) in self.sent.iter_mut().chain(&mut self.said) {
            assert_eq!(frame.drain(12..16).as_slice(), [0x81, 0x00, high, low]);
        }
    }
}

#[test]
fn a_handshake_stays_in_its_vlan_and_keeps_its_priority() {
    // VLAN 7 without a priority and with the fifth; a priority alone; what may be dropped first.
    for tag in [7, 5 << 13 | 7, 3 << 13, 1 << 13 | 1 << 12 | 4094] {
        for (pair, mss) in Pair::both(40_000, 80).into_iter().zip([1460, 1440]) {
            let mut world = World { tag: Some(tag), ..World::wire(pair) };
            let cookie = world.open(&OFFER, &options(mss), &to_server(), u16::MAX);
            world.talk(cookie);
            world.it.check();
            // Of six frames the first is answered and dropped, and all others have left, as each step has seen.
            let counters = world.it.shard.counters();
            assert_eq!((counters.syn_cookies_sent, counters.syn_cookies_accepted), (1, 1));
            assert_eq!(world.it.drops(DropReason::SynCookie), 1);
            let traffic = world.it.entry().traffic.unwrap().map(|traffic| traffic.packets);
            assert_eq!(traffic, [4, 2], "with the ACK that the box has sent");
        }
    }
}
