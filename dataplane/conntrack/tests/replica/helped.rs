//! What a peer may say of helpers, whatever it is.

use super::golden::{HELPED, bytes};
use super::talk::*;
use super::*;
use proptest::prelude::*;
use sluice_conntrack::groups::Role;
use sluice_conntrack::replica::{Installing, Record};

/// The client of the connection that is told of.
const CLIENT: &str = "10.0.0.5:40000";
const SERVER: &str = "198.51.100.2:21";

fn tell(it: &mut Middlebox, slot: &[u8]) {
    if let Ok(record) = Record::read(slot) {
        // What cannot be is refused.
        let _ = it.shard.install(&Installing { record, origin: PEER, is_delegated: false });
        it.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_told_of_helpers_does_no_harm(
        changes in prop::collection::vec((0_usize..4, 0_usize..200, any::<u8>(), any::<bool>()), 1..24),
    ) {
        let stream = bytes(HELPED);
        let slots: Vec<_> = stream[32..].chunks(200).collect();
        let mut it = standby(masquerade());
        tell(&mut it, slots[0]);
        for (slot, at, byte, is_changed) in changes {
            let mut told = slots[slot].to_vec();
            if is_changed {
                told[at] = byte;
            }
            tell(&mut it, &told);
        }
        it.shard.set_role(GROUP, Role::Active);
        let client = Pair::at(CLIENT, SERVER);
        for (number, flags) in [(1001, "PA"), (1005, "PA"), (2000, "A"), (3000, "FA")] {
            let mut packet = client.tcp(flags, number, 5001);
            packet.l4.extend_from_slice(b"PORT 10,0,0,5,19,137\r\n");
            it.inside(&packet);
            it.outside(&Pair::at(SERVER, "203.0.113.1:40000").tcp("A", 5001, number));
            it.outside(&Pair::at("198.51.100.2:20", "203.0.113.1:5001").tcp("S", number, 0));
            it.check();
        }
        it.pass(secs(20 * 24 * 3600));
        it.check();
        let mut expected = 0;
        it.shard.list_expectations(0, u32::MAX, |_, _| expected += 1);
        prop_assert_eq!((it.shard.len(), it.shard.foreign(), expected), (0, 0, 0));
    }
}
