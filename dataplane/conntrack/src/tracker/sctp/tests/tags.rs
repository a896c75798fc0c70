//! Which tags are believed, and when.

use super::*;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// A HEARTBEAT or its answer, with what the sender wants back.
fn heartbeat(kind: u8, information: u32) -> Vec<u8> {
    let mut chunk = vec![kind, 0, 0, 12, 0, 1, 0, 8];
    chunk.extend(information.to_be_bytes());
    chunk
}

impl Association {
    /// Whether data of both ends belongs to it.
    fn carries_data(&mut self, tags: [u32; 2]) -> bool {
        [Original, Reply].into_iter().all(|direction| {
            self.send(direction, tags[direction as usize], &[chunk(ty::DATA)]) == refresh(210)
        })
    }
}

/// The tags that packets of each direction carry after the handshake of [`Association::established`].
const TAGS: [u32; 2] = [SERVER_TAG, CLIENT_TAG];

#[test]
fn a_repeated_init_does_not_keep_an_unanswered_entry() {
    let mut association = Association::opened();
    assert_eq!(association.send(Original, 0, &[init(ty::INIT, CLIENT_TAG)]), Update::Ignore);
    assert_eq!(association.send(Original, 0, &[init(ty::INIT, 0x33)]), Update::Ignore);
}

#[test]
fn the_answer_to_any_init_can_become_the_association() {
    for tag in [CLIENT_TAG, 0x33] {
        let mut association = Association::opened();
        assert_eq!(association.send(Original, 0, &[init(ty::INIT, 0x33)]), Update::Ignore);
        for asked in [CLIENT_TAG, 0x33] {
            assert_eq!(association.send(Reply, asked, &[init(ty::INIT_ACK, asked + 1)]), refresh(3));
        }
        assert_eq!(association.send(Original, tag + 1, &[chunk(ty::COOKIE_ECHO)]), refresh(3));
        assert_eq!(association.send(Reply, tag, &[chunk(ty::COOKIE_ACK)]), refresh(210));
        assert!(association.carries_data([tag + 1, tag]));
    }
}

/// Section 5.1: a server that keeps nothing answers each copy of an INIT with another tag.
#[test]
fn any_answer_to_a_repeated_init_can_be_taken() {
    for taken in [0x51, 0x52, 0x53] {
        let mut association = Association::opened();
        for tag in [0x51, 0x52, 0x53] {
            association.send(Original, 0, &[init(ty::INIT, CLIENT_TAG)]);
            assert_eq!(association.send(Reply, CLIENT_TAG, &[init(ty::INIT_ACK, tag)]), refresh(3));
        }
        assert_eq!(association.send(Original, taken, &[chunk(ty::COOKIE_ECHO)]), refresh(3));
        assert_eq!(association.send(Reply, CLIENT_TAG, &[chunk(ty::COOKIE_ACK)]), refresh(210));
        assert!(association.carries_data([taken, CLIENT_TAG]));
    }
}

/// Sections 5.2.2 and 5.2.3: the other end answers with a fresh tag and keeps its association, the sender drops that.
#[test]
fn a_late_copy_of_the_init_begins_nothing() {
    for (by, asked) in [(Original, CLIENT_TAG), (Reply, SERVER_TAG)] {
        let mut association = Association::established();
        assert_eq!(association.send(by, 0, &[init(ty::INIT, asked)]), Update::Ignore);
        assert_eq!(association.send(by.invert(), asked, &[init(ty::INIT_ACK, 0x77)]), BAD_TAG);
        assert!(association.carries_data(TAGS));
    }
}

#[test]
fn a_forged_init_changes_nothing() {
    for by in [Original, Reply] {
        for state in [SctpState::Established, SctpState::ShutdownSent, SctpState::ShutdownRecd] {
            let mut association = Association::in_state(state);
            assert_eq!(association.send(by, 0, &[init(ty::INIT, 0xbad)]), Update::Ignore);
            assert_eq!(association.send(by.invert(), 0xbad, &[init(ty::INIT_ACK, 0x77)]), Update::Ignore);
            // What the handshake's tag lets pass ends nothing either.
            assert_eq!(association.send(by.invert(), 0xbad, &[chunk(ty::ABORT)]), Update::Ignore);
            assert_eq!(association.send(by.invert(), 0xbad, &[chunk(ty::COOKIE_ACK)]), Update::Ignore);
            assert_eq!(association.state(), state);
            for direction in [Original, Reply] {
                let tag = TAGS[direction as usize];
                assert!(matches!(
                    association.send(direction, tag, &[chunk(ty::DATA)]),
                    Update::Refresh { .. }
                ));
            }
        }
    }
}

#[test]
fn both_sides_can_restart_an_association() {
    for (first, second) in [(Original, Reply), (Reply, Original)] {
        for state in [SctpState::Established, SctpState::ShutdownSent, SctpState::ShutdownAckSent] {
            let mut association = Association::in_state(state);
            assert_eq!(association.send(first, 0, &[init(ty::INIT, 0x55)]), Update::Ignore);
            assert_eq!(association.send(second, 0x55, &[init(ty::INIT_ACK, 0x66)]), Update::Ignore);
            assert_eq!(association.send(first, 0x66, &[chunk(ty::COOKIE_ECHO)]), Update::Ignore);
            assert_eq!(association.send(second, 0x55, &[chunk(ty::COOKIE_ACK)]), refresh(210));
            assert_eq!(association.send(first, 0x66, &[chunk(ty::DATA)]), refresh(210));
            assert_eq!(association.send(first, TAGS[first as usize], &[chunk(ty::DATA)]), BAD_TAG);
        }
    }
}

/// Section 8.5: only an INIT has none.
#[test]
fn no_tag_matches_none() {
    let mut association = Association::new();
    assert_eq!(association.open(0x77, &[chunk(ty::HEARTBEAT)]), Ok(30));
    for kind in [ty::DATA, ty::SHUTDOWN, ty::HEARTBEAT, ty::HEARTBEAT_ACK, ty::COOKIE_ECHO, ty::ABORT] {
        assert_eq!(association.send(Reply, 0, &[chunk(kind)]), BAD_TAG, "chunk {kind}");
    }
    assert_eq!(association.send(Reply, 0, &[init(ty::INIT_ACK, 1)]), BAD_TAG);
    let mut association = Association::established();
    assert_eq!(association.send(Original, 0, &[init(ty::INIT, 0)]), BAD_CHUNK);
}

#[test]
fn a_foreign_tag_is_invalid() {
    let kinds = [
        ty::DATA,
        ty::SACK,
        ty::SHUTDOWN,
        ty::SHUTDOWN_ACK,
        ty::ERROR,
        ty::COOKIE_ECHO,
        ty::HEARTBEAT_ACK,
        130,
    ];
    for kind in kinds {
        let mut association = Association::established();
        assert_eq!(association.send(Original, 0x99, &[chunk(kind)]), BAD_TAG, "chunk {kind}");
        assert_eq!(association.send(Reply, SERVER_TAG, &[chunk(kind)]), BAD_TAG, "chunk {kind}");
        assert_eq!(association.state(), SctpState::Established);
    }
    assert_eq!(Association::established().send(Original, SERVER_TAG, &[init(ty::INIT, 1)]), BAD_TAG);
}

/// One tag is a whole packet's, whatever travels together.
#[test]
fn a_foreign_tag_is_invalid_in_bundles() {
    for company in [ty::SHUTDOWN_ACK, ty::ABORT, ty::HEARTBEAT, ty::HEARTBEAT_ACK] {
        for direction in [Original, Reply] {
            let mut association = Association::established();
            let bundle = [chunk(company), chunk(ty::DATA)];
            assert_eq!(association.send(direction, 0x99, &bundle), BAD_TAG, "DATA with {company}");
            assert_eq!(association.state(), SctpState::Established);
        }
    }
}

#[test]
fn a_reflected_tag_is_the_other_sides() {
    for (kind, timeout_s) in [(ty::ABORT, 10), (ty::SHUTDOWN_COMPLETE, 210)] {
        let mut association = Association::established();
        assert_eq!(association.send(Original, CLIENT_TAG, &[chunk(kind)]), BAD_TAG);
        assert_eq!(association.send(Original, SERVER_TAG, &[reflected(kind)]), BAD_TAG);
        assert_eq!(association.send(Original, CLIENT_TAG, &[reflected(kind)]), refresh(timeout_s));
    }
}

#[test]
fn a_heartbeat_opens_a_further_path() {
    let mut association = Association::new();
    assert_eq!(association.open(0x77, &[chunk(ty::HEARTBEAT)]), Ok(30));
    assert_eq!(association.send(Reply, 0x88, &[chunk(ty::HEARTBEAT_ACK)]), refresh(210));
    assert!(association.assured());
    assert!(association.carries_data([0x77, 0x88]));
    assert_eq!(association.send(Reply, 0x89, &[chunk(ty::DATA)]), BAD_TAG);
}

/// Section 8.4: a server that knows of no association says so by the tag it was addressed by.
#[test]
fn a_heartbeat_out_of_the_blue_can_be_aborted() {
    let mut association = Association::new();
    assert_eq!(association.open(0x77, &[chunk(ty::HEARTBEAT)]), Ok(30));
    assert_eq!(association.send(Reply, 0x77, &[reflected(ty::ABORT)]), refresh(10));
    assert_eq!(association.state(), SctpState::Closed);
}

/// It says nothing of the tag of the other direction, which the next HEARTBEAT from there brings.
#[test]
fn an_answer_to_a_heartbeat_that_was_not_seen_opens_a_path() {
    let mut association = Association::new();
    assert_eq!(association.open(0x77, &[heartbeat(ty::HEARTBEAT_ACK, 1)]), Ok(10));
    assert_eq!(association.send(Reply, 0x88, &[chunk(ty::DATA)]), BAD_TAG);
    assert_eq!(association.send(Reply, 0x88, &[heartbeat(ty::HEARTBEAT, 2)]), refresh(10));
    assert_eq!(association.send(Original, 0x77, &[heartbeat(ty::HEARTBEAT_ACK, 2)]), refresh(10));
    assert_eq!(association.send(Reply, 0x88, &[chunk(ty::DATA)]), refresh(10));
}

#[test]
fn a_foreign_heartbeat_is_believed_when_it_is_answered() {
    let mut association = Association::established();
    assert_eq!(association.send(Original, 0x99, &[heartbeat(ty::HEARTBEAT, 1)]), Update::Ignore);
    assert_eq!(association.send(Reply, 0x98, &[heartbeat(ty::HEARTBEAT_ACK, 2)]), BAD_TAG);
    assert!(association.carries_data(TAGS));
    assert_eq!(association.send(Reply, 0x98, &[heartbeat(ty::HEARTBEAT_ACK, 1)]), refresh(210));
    assert_eq!(association.send(Original, SERVER_TAG, &[chunk(ty::DATA)]), BAD_TAG);
    assert_eq!(association.send(Reply, CLIENT_TAG, &[chunk(ty::DATA)]), BAD_TAG);
    assert!(association.carries_data([0x99, 0x98]));
}

/// A tag that was taken from a forged HEARTBEAT is replaced when the true one shows.
#[test]
fn a_forged_heartbeat_does_not_keep_the_true_tag_out() {
    let mut association = Association::new();
    assert_eq!(association.open(0x77, &[heartbeat(ty::HEARTBEAT, 1)]), Ok(30));
    assert_eq!(association.send(Reply, 0xbad, &[heartbeat(ty::HEARTBEAT, 6)]), refresh(30));
    assert_eq!(association.send(Reply, 0x88, &[heartbeat(ty::HEARTBEAT_ACK, 1)]), BAD_TAG);
    assert_eq!(association.send(Original, 0x77, &[heartbeat(ty::HEARTBEAT, 2)]), refresh(30));
    assert_eq!(association.send(Reply, 0x88, &[heartbeat(ty::HEARTBEAT_ACK, 2)]), refresh(210));
    assert!(association.carries_data([0x77, 0x88]));
}

#[test]
fn a_foreign_heartbeat_cannot_answer_itself() {
    let mut association = Association::established();
    assert_eq!(association.send(Original, 0x99, &[heartbeat(ty::HEARTBEAT, 1)]), Update::Ignore);
    assert_eq!(association.send(Original, 0x98, &[heartbeat(ty::HEARTBEAT_ACK, 1)]), BAD_TAG);
    // A good heartbeat settles the matter.
    assert_eq!(association.send(Original, SERVER_TAG, &[heartbeat(ty::HEARTBEAT, 2)]), refresh(210));
    assert_eq!(association.send(Reply, 0x98, &[heartbeat(ty::HEARTBEAT_ACK, 1)]), BAD_TAG);
}

#[test]
fn a_foreign_heartbeat_carries_nothing_along() {
    let mut association = Association::established();
    let heartbeat = || chunk(ty::HEARTBEAT);
    assert_eq!(association.send(Original, 0x99, &[heartbeat(), chunk(ty::DATA)]), BAD_TAG);
    assert_eq!(association.send(Original, 0x99, &[chunk(ty::SHUTDOWN), heartbeat()]), BAD_TAG);
    assert_eq!(association.send(Original, 0x99, &[heartbeat(), chunk(130)]), BAD_TAG);
    assert_eq!(association.send(Original, 0x99, &[heartbeat(), chunk(ty::SACK)]), Update::Ignore);
    assert_eq!(association.state(), SctpState::Established);
}

#[test]
fn a_stale_init_ack_does_not_break_a_collision() {
    let mut association = Association::opened();
    assert_eq!(association.send(Reply, 0, &[init(ty::INIT, SERVER_TAG)]), Update::Ignore);
    let ack = init(ty::INIT_ACK, CLIENT_TAG);
    assert_eq!(association.send(Original, SERVER_TAG, &[ack]), refresh(10));
    assert_eq!(association.send(Reply, CLIENT_TAG, &[chunk(ty::COOKIE_ECHO)]), refresh(10));
    assert_eq!(association.send(Original, SERVER_TAG, &[chunk(ty::COOKIE_ACK)]), refresh(210));
    let stale = init(ty::INIT_ACK, 0x3333);
    assert_eq!(association.send(Reply, CLIENT_TAG, &[stale]), BAD_TAG);
    assert!(association.carries_data(TAGS));
}

#[test]
fn a_collision_that_the_original_side_wins() {
    let mut association = Association::opened();
    assert_eq!(association.send(Reply, 0, &[init(ty::INIT, SERVER_TAG)]), Update::Ignore);
    assert_eq!(association.send(Original, SERVER_TAG, &[init(ty::INIT_ACK, 0x12)]), refresh(10));
    assert_eq!(association.send(Reply, CLIENT_TAG, &[init(ty::INIT_ACK, SERVER_TAG)]), refresh(3));
    assert_eq!(association.send(Original, SERVER_TAG, &[chunk(ty::COOKIE_ECHO)]), refresh(3));
    assert_eq!(association.send(Reply, CLIENT_TAG, &[chunk(ty::COOKIE_ACK)]), refresh(210));
    assert!(association.carries_data(TAGS));
}

/// Section 8.4: the answer returns the tag, and says so by the T bit.
#[test]
fn an_out_of_the_blue_shutdown_ack_is_answered_with_its_own_tag() {
    let mut association = Association::new();
    assert_eq!(association.open(0x77, &[chunk(ty::SHUTDOWN_ACK)]), Ok(3));
    assert_eq!(association.send(Reply, 0x77, &[chunk(ty::SHUTDOWN_COMPLETE)]), BAD_TAG);
    assert_eq!(association.send(Reply, 0x77, &[reflected(ty::SHUTDOWN_COMPLETE)]), refresh(10));
}

/// Section 8.5.1 (E): whoever opens an association answers a SHUTDOWN ACK of one before it in the same way.
#[test]
fn a_shutdown_ack_of_an_older_association_does_not_stop_a_handshake() {
    let mut association = Association::opened();
    assert_eq!(association.send(Reply, 0x01d, &[chunk(ty::SHUTDOWN_ACK)]), refresh(10));
    assert_eq!(association.send(Original, 0x01d, &[reflected(ty::SHUTDOWN_COMPLETE)]), refresh(10));
    assert_eq!(association.send(Reply, CLIENT_TAG, &[init(ty::INIT_ACK, SERVER_TAG)]), refresh(3));
    assert_eq!(association.send(Original, SERVER_TAG, &[chunk(ty::COOKIE_ECHO)]), refresh(3));
    assert_eq!(association.send(Reply, CLIENT_TAG, &[chunk(ty::COOKIE_ACK)]), refresh(210));
    assert!(association.carries_data(TAGS));
}

/// Packets in the name of one end by somebody who does not see what the ends send: type, tag, asked tag, T bit.
fn forged() -> impl Strategy<Value = Vec<(u8, u32, u32, bool)>> {
    prop::collection::vec((0..=15_u8, 0xbad0..0xbad4_u32, 0xbad0..0xbad4_u32, any::<bool>()), 0..12)
}

/// Sends forged packets, and what the true other end answers to each INIT.
fn forge(association: &mut Association, by: Direction, packets: &[(u8, u32, u32, bool)]) {
    for &(kind, tag, asked, is_reflected) in packets {
        let _ = match kind {
            ty::INIT => association.send(by, 0, &[init(kind, asked)]),
            ty::INIT_ACK => association.send(by, tag, &[init(kind, asked)]),
            ty::HEARTBEAT | ty::HEARTBEAT_ACK => association.send(by, tag, &[heartbeat(kind, asked)]),
            _ if is_reflected => association.send(by, tag, &[reflected(kind)]),
            _ => association.send(by, tag, &[chunk(kind)]),
        };
        if kind == ty::INIT {
            let answer = init(ty::INIT_ACK, tag ^ 0x5a5a_0000);
            association.send(by.invert(), asked, &[answer]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(9260), failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is forged in the name of one end, the true handshake succeeds, and its data pass.
    #[test]
    fn nothing_forged_keeps_an_association_out(
        by in prop::sample::select(vec![Original, Reply]),
        forgeries in prop::collection::vec(forged(), 5),
    ) {
        let mut association = Association::opened();
        let steps = [
            (Reply, CLIENT_TAG, init(ty::INIT_ACK, SERVER_TAG)),
            (Original, SERVER_TAG, chunk(ty::COOKIE_ECHO)),
            (Reply, CLIENT_TAG, chunk(ty::COOKIE_ACK)),
            (Original, SERVER_TAG, heartbeat(ty::HEARTBEAT, 1)),
            (Reply, CLIENT_TAG, heartbeat(ty::HEARTBEAT_ACK, 1)),
        ];
        for ((direction, tag, chunk), packets) in steps.into_iter().zip(&forgeries) {
            forge(&mut association, by, packets);
            let update = association.send(direction, tag, &[chunk]);
            prop_assert!(matches!(update, Update::Refresh { .. }), "{update:?}");
        }
        prop_assert_eq!(association.state(), SctpState::Established);
        prop_assert!(association.carries_data(TAGS));
    }

    /// On a path of which no handshake was seen, whatever is forged lasts until the true ends have asked each other.
    #[test]
    fn a_heartbeat_and_its_answer_mend_what_was_forged(
        by in prop::sample::select(vec![Original, Reply]),
        packets in forged(),
    ) {
        let mut association = Association::new();
        prop_assert!(association.open(SERVER_TAG, &[heartbeat(ty::HEARTBEAT, 1)]).is_ok());
        forge(&mut association, by, &packets);
        association.send(Original, SERVER_TAG, &[heartbeat(ty::HEARTBEAT, 2)]);
        association.send(Reply, CLIENT_TAG, &[heartbeat(ty::HEARTBEAT_ACK, 2)]);
        for direction in [Original, Reply] {
            let update = association.send(direction, TAGS[direction as usize], &[chunk(ty::DATA)]);
            prop_assert!(matches!(update, Update::Refresh { .. }), "{update:?}");
        }
    }
}
