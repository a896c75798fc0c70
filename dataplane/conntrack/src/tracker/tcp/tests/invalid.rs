//! What is INVALID changes nothing, whatever came before.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// A segment with numbers near those of a handshake, or far from them.
fn any_segment() -> impl Strategy<Value = (Direction, Segment)> {
    let flags = prop::sample::select(vec!["S", "SA", "A", "PA", "FA", "R", "RA", "F", ""]);
    let near = |first: u32| prop_oneof![first - 2..first + 4, Just(first + 50_000), any::<u32>()];
    let windows = prop::sample::select(vec![0, 1, 10_000, u16::MAX]);
    let number = (near(1000), near(5000), windows, 0..3_usize, any::<bool>());
    (flags, number).prop_map(|(flags, (client, server, window, payload, is_reply))| {
        let (direction, seq, ack) =
            if is_reply { (Reply, server, client) } else { (Original, client, server) };
        (direction, segment(flags, seq, ack).window(window).payload(payload))
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000, rng_seed: RngSeed::Fixed(793), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn an_invalid_segment_leaves_the_entry_as_it_was(
        opens in 0..4_usize,
        segments in prop::collection::vec(any_segment(), 1..24),
    ) {
        let mut talk = Talk::after(handshake().into_iter().take(opens));
        for (direction, segment) in segments {
            let (was_open, before) = (talk.open, talk.bytes());
            if let Update::Invalid(reason) = talk.send(direction, &segment)
                && was_open
            {
                prop_assert_eq!(talk.bytes(), before, "{:?} {:?}: {:?}", direction, segment, reason);
            }
        }
    }
}
