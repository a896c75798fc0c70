//! The four conditions at their edges, scaling, selective acknowledgements, the wrap of sequence numbers.

use super::*;

/// Established with windows of 1000 bytes, both ends acknowledged: client at 1001, server at 5001.
fn narrow() -> Talk {
    Talk::after(handshake().map(|(direction, segment)| (direction, segment.window(1000))))
}

fn client(seq: u32, payload: usize) -> Segment {
    segment("PA", seq, 5001).payload(payload).window(1000)
}

fn server_ack(ack: u32) -> Segment {
    segment("A", 5001, ack).window(1000)
}

#[test]
fn condition_1_data_begins_in_the_window_or_right_behind() {
    for seq in [1001, 2000, 2001] {
        assert_passes(narrow().original(client(seq, 100)));
    }
    // A little too far: passes, but does not count.
    assert_eq!(narrow().original(client(2002, 100)), Update::Ignore);
    assert_eq!(narrow().original(client(2900, 100)), Update::Ignore);
    assert_invalid(narrow().original(client(2901, 100)), InvalidReason::TcpWindow);
    assert_invalid(narrow().original(client(500_000, 0)), InvalidReason::TcpWindow);
}

#[test]
fn data_slightly_beyond_the_window_may_be_acknowledged() {
    let mut talk = narrow();
    assert_eq!(talk.original(client(2002, 100)), Update::Ignore);
    assert_passes(talk.reply(server_ack(2102)));
    assert_passes(talk.original(client(2102, 100)));
}

/// What is beyond the window was sent by anybody, unless it is acknowledged: until then nothing that the box knows moves.
#[test]
fn what_is_beyond_the_window_moves_nothing() {
    let large = || {
        let [syn, answer, ack] = handshake();
        let scaled = |(direction, segment): (Direction, Segment)| (direction, segment.options(&scale(7)));
        let mut talk = Talk::after([scaled(syn), scaled(answer), ack]);
        assert_passes(talk.reply(segment("A", 5001, 1001).window(1000)));
        assert_passes(talk.original(segment("A", 1001, 5001).window(1000)));
        talk
    };
    for far in [1, 500, 66_500, 100_000, 128_001, 200_000, 255_000] {
        for flags in ["R", "RA", "A", "PA", "FA"] {
            for payload in [0, 100] {
                let mut talk = large();
                let update = talk.original(segment(flags, 1001 + far, 5001).payload(payload));
                assert!(!matches!(update, Update::Invalid(_)), "{flags} {far} {payload}: {update:?}");
                for i in 0..10 {
                    assert_passes(talk.original(segment("PA", 1001 + 10 * i, 5001 + 10 * i).payload(10)));
                    assert_passes(talk.reply(segment("PA", 5001 + 10 * i, 1011 + 10 * i).payload(10)));
                }
                assert_ne!(talk.state(), TcpState::Close);
            }
        }
    }
}

/// What goes beyond it and is taken need not be the last of what goes there.
#[test]
fn any_part_of_what_went_beyond_the_window_may_be_acknowledged() {
    for taken in [2102, 2202, 2302] {
        let mut talk = narrow();
        for seq in [2002, 2102, 2202] {
            assert_eq!(talk.original(client(seq, 100)), Update::Ignore);
        }
        assert_passes(talk.reply(server_ack(taken)));
        assert_passes(talk.original(client(taken, 100)));
    }
    // But nothing that can have been sent neither within the window nor a window beyond it.
    let mut talk = narrow();
    assert_eq!(talk.original(client(2002, 100)), Update::Ignore);
    assert_invalid(talk.reply(server_ack(3001)), InvalidReason::TcpAck);
}

#[test]
fn condition_2_old_data_is_never_invalid() {
    let mut talk = narrow();
    for i in 0..4 {
        assert_passes(talk.original(client(1001 + 900 * i, 900)));
        assert_passes(talk.reply(server_ack(1901 + 900 * i)));
    }
    // Up to 4601 is acknowledged; a window before that belongs to the connection, older data is ignored.
    assert_passes(talk.original(client(4600, 0)));
    assert_passes(talk.original(client(3601, 0)));
    assert_eq!(talk.original(client(3600, 0)), Update::Ignore);
    assert_eq!(talk.original(client(4601u32.wrapping_sub(100_000), 10)), Update::Ignore);
}

#[test]
fn condition_3_nothing_is_acknowledged_that_was_not_sent() {
    let mut talk = narrow();
    assert_passes(talk.original(client(1001, 500)));
    assert_passes(talk.reply(server_ack(1501)));
    assert_invalid(talk.reply(server_ack(1502)), InvalidReason::TcpAck);
    assert_invalid(talk.reply(server_ack(200_000)), InvalidReason::TcpAck);
}

#[test]
fn condition_4_acknowledgements_are_not_older_than_a_window() {
    let mut talk = narrow();
    assert_passes(talk.reply(server_ack(1001)));
    assert_passes(talk.reply(server_ack(1001u32.wrapping_sub(66_000))));
    assert_eq!(talk.reply(server_ack(1001u32.wrapping_sub(66_001))), Update::Ignore);
}

#[test]
fn a_large_window_makes_older_acknowledgements_good() {
    let scaled = |direction, segment: Segment| (direction, segment.options(&scale(2)));
    let [syn, answer, ack] = handshake();
    let mut talk = Talk::after([scaled(syn.0, syn.1), scaled(answer.0, answer.1), ack]);
    assert_passes(talk.reply(segment("A", 5001, 1001).window(30_000)));
    assert_passes(talk.reply(segment("A", 5001, 1001u32.wrapping_sub(120_000))));
    assert_eq!(talk.reply(segment("A", 5001, 1001u32.wrapping_sub(120_001))), Update::Ignore);
}

#[test]
fn a_liberal_box_lets_everything_pass() {
    let mut talk = narrow();
    talk.settings.tcp.be_liberal = true;
    assert_passes(talk.original(client(60_000, 10)));
    assert_passes(talk.reply(server_ack(200_000)));
    assert_passes(talk.original(client(1001u32.wrapping_sub(100_000), 10)));
}

#[test]
fn a_closed_window_may_be_probed() {
    let mut talk = narrow();
    assert_passes(talk.original(client(1001, 1000)));
    assert_passes(talk.reply(server_ack(2001).window(0)));
    assert_passes(talk.original(client(2001, 1)));
    assert_passes(talk.reply(server_ack(2001).window(0)));
    assert_passes(talk.reply(server_ack(2001).window(1000)));
    assert_passes(talk.original(client(2002, 1000)));
}

/// The answer to a keep-alive probe that came before the connection was picked up.
#[test]
fn an_answer_to_an_unseen_keep_alive_fits() {
    let mut talk = Talk::after([(Original, segment("S", 1000, 0))]);
    assert_eq!(talk.reply(segment("RA", 0, 1002)), Update::End);
}

/// How many bytes of the client fit after a handshake in which both ends offered these scales.
fn room(client: &[u8], server: &[u8]) -> u32 {
    let talk = || {
        Talk::after([
            (Original, segment("S", 1000, 0).window(500).options(client)),
            (Reply, segment("SA", 5000, 1001).window(500).options(server)),
            (Original, segment("A", 1001, 5001).window(500)),
            (Reply, segment("A", 5001, 1001).window(500)),
        ])
    };
    let fits = |room: u32| {
        matches!(talk().original(segment("A", 1001 + room, 5001).payload(1)), Update::Refresh { .. })
    };
    let (mut low, mut high) = (0, 1 << 24);
    while high - low > 1 {
        let middle = (low + high) / 2;
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

#[test]
fn windows_are_scaled_if_both_ends_offer_it() {
    assert_eq!(room(&scale(0), &scale(0)), 500);
    assert_eq!(room(&scale(0), &scale(7)), 500 << 7);
    assert_eq!(room(&scale(7), &[]), 500);
    assert_eq!(room(&[], &scale(7)), 500);
}

#[test]
fn a_scale_is_at_most_14() {
    for shift in [14, 15, 255] {
        assert_eq!(room(&scale(shift), &scale(shift)), 500 << 14);
    }
}

#[test]
fn a_syns_own_window_is_never_scaled() {
    let mut talk = Talk::after([
        (Original, segment("S", 1000, 0).window(500).options(&scale(7))),
        (Reply, segment("SA", 5000, 1001).window(500).options(&scale(7))),
    ]);
    // Beyond 500 bytes, and by more than the largest window known.
    assert_invalid(talk.original(segment("A", 2100, 5001).payload(1)), InvalidReason::TcpWindow);
}

fn sacking(client: &[u8], server: &[u8]) -> Talk {
    let [(_, syn), (_, answer), ack] = handshake();
    let mut talk = Talk::after([(Original, syn.options(client)), (Reply, answer.options(server)), ack]);
    assert_passes(talk.original(segment("PA", 1001, 5001).payload(1000)));
    talk
}

#[test]
fn blocks_beyond_what_was_sent_are_invalid() {
    let mut talk = sacking(&SACK_PERMITTED, &SACK_PERMITTED);
    assert_passes(talk.reply(segment("A", 5001, 1001).options(&sack(1501, 2001))));
    assert_invalid(talk.reply(segment("A", 5001, 1001).options(&sack(1501, 2002))), InvalidReason::TcpAck);
    let two = [sack(1501, 1901), sack(1951, 2002)].concat();
    assert_invalid(talk.reply(segment("A", 5001, 1001).options(&two)), InvalidReason::TcpAck);
}

#[test]
fn blocks_count_only_if_their_receiver_permitted_them() {
    let beyond = || segment("A", 5001, 1001).options(&sack(1501, 2002));
    assert_invalid(sacking(&SACK_PERMITTED, &[]).reply(beyond()), InvalidReason::TcpAck);
    assert_passes(sacking(&[], &SACK_PERMITTED).reply(beyond()));
    assert_passes(sacking(&[], &[]).reply(beyond()));
}

#[test]
fn blocks_move_the_window() {
    let mut talk = sacking(&SACK_PERMITTED, &SACK_PERMITTED);
    assert_passes(talk.reply(segment("A", 5001, 1001).options(&sack(1501, 2001)).window(3000)));
    assert_passes(talk.original(segment("PA", 5001, 5001).payload(100)));
}

#[test]
fn numbers_wrap() {
    let (client, server) = (0xffff_fff0u32, 0xffff_ff00u32);
    let mut talk = Talk::after([
        (Original, segment("S", client, 0)),
        (Reply, segment("SA", server, client.wrapping_add(1))),
        (Original, segment("A", client.wrapping_add(1), server.wrapping_add(1))),
    ]);
    let (mut sent, heard) = (client.wrapping_add(1), server.wrapping_add(1));
    for _ in 0..3 {
        assert_passes(talk.original(segment("PA", sent, heard).payload(100)));
        sent = sent.wrapping_add(100);
        assert_passes(talk.reply(segment("A", heard, sent)));
    }
    assert_invalid(talk.reply(segment("A", heard, sent.wrapping_add(1))), InvalidReason::TcpAck);
    assert_invalid(talk.original(segment("A", sent.wrapping_add(20_001), heard)), InvalidReason::TcpWindow);
}

#[test]
fn segments_may_be_reordered() {
    let mut talk = Talk::established();
    for (seq, acknowledged) in [(1201, 1001), (1001, 1101), (1101, 1301), (1101, 1301)] {
        assert_passes(talk.original(segment("A", seq, 5001).payload(100)));
        assert_passes(talk.reply(segment("A", 5001, acknowledged)));
    }
}

/// Whatever comes, in whatever order and under whatever settings, is judged and leaves a state that can be
/// listed.
#[test]
fn random_segments_are_all_judged() {
    let mut seed = 1u64;
    let mut random = |below: u32| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u32 % below
    };
    for _ in 0..200 {
        let mut talk = Talk::of(if random(2) == 0 { Preset::Linux } else { Preset::Classic });
        talk.settings.tcp.be_liberal = random(4) == 0;
        let mut closed = false;
        for _ in 0..100 {
            talk.settings.tcp.window_tracking = random(8) != 0;
            let flags = ["S", "SA", "A", "A", "A", "FA", "R", "RA", "", "SF"][random(10) as usize];
            let near = [0, 1, 1000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff][random(6) as usize];
            let options: Vec<u8> = (0..random(41)).map(|_| random(12) as u8).collect();
            let segment = segment(flags, random(3000).wrapping_add(near), random(3000).wrapping_add(near))
                .window(random(65_536) as u16)
                .payload(random(1500) as usize)
                .options(&options[..options.len() & !3]);
            let update = talk.send(if random(2) == 0 || !talk.open { Original } else { Reply }, &segment);
            closed |= matches!(update, Update::End | Update::Reopen);
            assert!(usize::from(talk.entry.state) < TcpState::COUNT);
            assert!(!talk.is_assured() || talk.entry.status.contains(Status::SEEN_REPLY));
            if closed {
                break;
            }
        }
    }
}
