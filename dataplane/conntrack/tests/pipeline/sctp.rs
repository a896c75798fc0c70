//! SCTP packets in which chunks are damaged or travel together, where Linux lets them pass (docs/differences.md).

use crate::common::frame::init;
use crate::common::*;
use sluice_conntrack::settings::Preset;
use sluice_conntrack::{InvalidReason, State, Verdict};

/// The tag that both ends ask for.
const TAG: u32 = 9;
const FOREIGN: u32 = 0x99;

const DATA: &[u8] = &[0, 3, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
const SACK: &[u8] = &[3, 0, 0, 16, 0, 0, 0, 1, 0, 0, 128, 0, 0, 0, 0, 0];
const HEARTBEAT: &[u8] = &[4, 0, 0, 12, 0, 1, 0, 8, 1, 2, 3, 4];
const SHUTDOWN: &[u8] = &[7, 0, 0, 8, 0, 0, 0, 1];
const SHUTDOWN_ACK: &[u8] = &[8, 0, 0, 4];
const ERROR: &[u8] = &[9, 0, 0, 4];

/// A box with an association of this pair.
fn associated(pair: Pair) -> Middlebox {
    let mut it = Middlebox::of(Preset::Linux);
    it.inside(&pair.sctp(0, &init(1)));
    it.outside(&pair.inverse().sctp(TAG, &init(2)));
    it.inside(&pair.sctp(TAG, &[10, 0, 0, 8, 1, 2, 3, 4]));
    it.outside(&pair.inverse().sctp(TAG, &[11, 0, 0, 4]));
    assert_eq!(it.entry().state, Some("ESTABLISHED"));
    it.pass(secs(1));
    it
}

fn what(verdict: Verdict) -> (Option<State>, Option<InvalidReason>) {
    (verdict.state, verdict.invalid)
}

#[test]
fn a_chunk_shorter_than_its_own_header_makes_a_packet_invalid() {
    let invalid = (Some(State::Invalid), Some(InvalidReason::SctpChunk));
    for pair in Pair::both(5000, 6000) {
        for length in 1..=3 {
            let short = [3, 0, 0, length, 0, 0, 0, 1];
            let mut it = Middlebox::of(Preset::Linux);
            assert_eq!(what(it.inside(&pair.sctp(0, &[1, 0, 0, length, 0, 0, 0, 9]))), invalid);
            assert!(it.shard.is_empty());
            let mut it = associated(pair);
            let before = it.entry();
            for chunks in [short.to_vec(), [DATA, &short].concat(), [&short, DATA].concat()] {
                assert_eq!(what(it.inside(&pair.sctp(TAG, &chunks))), invalid);
                assert_eq!(what(it.outside(&pair.inverse().sctp(TAG, &chunks))), invalid);
                assert_eq!(it.entry(), before);
            }
            assert_eq!(state(it.inside(&pair.sctp(TAG, DATA))), State::Established);
            it.check();
        }
    }
}

#[test]
fn no_chunk_travels_past_the_check_of_the_tag_with_another() {
    let invalid = (Some(State::Invalid), Some(InvalidReason::SctpTag));
    for pair in Pair::both(5000, 6000) {
        let mut it = associated(pair);
        let before = it.entry();
        for bundle in [
            [SHUTDOWN_ACK, DATA],
            [SHUTDOWN_ACK, SACK],
            [SHUTDOWN_ACK, ERROR],
            [SHUTDOWN, SHUTDOWN_ACK],
            [HEARTBEAT, DATA],
            [HEARTBEAT, SHUTDOWN],
            [SHUTDOWN, HEARTBEAT],
            [HEARTBEAT, SHUTDOWN_ACK],
            [HEARTBEAT, ERROR],
        ] {
            let chunks = bundle.concat();
            assert_eq!(what(it.inside(&pair.sctp(FOREIGN, &chunks))), invalid, "{chunks:?}");
            assert_eq!(what(it.outside(&pair.inverse().sctp(FOREIGN, &chunks))), invalid, "{chunks:?}");
            assert_eq!(it.entry(), before);
        }
        // As a HEARTBEAT of that tag does by itself.
        let heard = it.inside(&pair.sctp(FOREIGN, &[HEARTBEAT, SACK].concat()));
        assert_eq!(what(heard), (Some(State::Established), None));
        assert_eq!(it.entry(), before);
        // With the association's tag they count.
        assert_eq!(state(it.inside(&pair.sctp(TAG, &[HEARTBEAT, SHUTDOWN].concat()))), State::Established);
        assert_eq!(it.entry().state, Some("SHUTDOWN_SENT"));
        it.check();
    }
}
