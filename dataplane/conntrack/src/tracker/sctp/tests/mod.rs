//! What the tracker makes of whole packets. The expectations are what Linux 6.18 does with the same packets, but for what
//! docs/differences.md says about verification tags.

mod tags;

use super::*;
use crate::entry::Status;
use crate::headers::Headers;
use crate::settings::{Preset, Settings};
use crate::time::Tick;
use crate::tuple::Direction::{Original, Reply};
use crate::wire::sctp::chunk_type as ty;
use zerocopy::FromZeros;

const CLIENT_TAG: u32 = 0x1111;
const SERVER_TAG: u32 = 0x2222;

/// A chunk of this type, as short as it can be.
fn chunk(kind: u8) -> Vec<u8> {
    let value_len = match kind {
        ty::DATA => 16,
        ty::SACK => 12,
        ty::SHUTDOWN | ty::COOKIE_ECHO => 4,
        _ => 0,
    };
    let mut chunk = vec![kind, 0, 0, 4 + value_len];
    chunk.resize(4 + usize::from(value_len), 0);
    chunk
}

/// An ABORT or SHUTDOWN COMPLETE with the T bit.
fn reflected(kind: u8) -> Vec<u8> {
    vec![kind, 1, 0, 4]
}

/// An INIT or INIT ACK that asks for `tag`.
fn init(kind: u8, tag: u32) -> Vec<u8> {
    let mut chunk = vec![kind, 0, 0, 20];
    chunk.extend(tag.to_be_bytes());
    chunk.resize(20, 0);
    chunk
}

/// An entry and the packets that go through it.
struct Association {
    settings: Settings,
    entry: Entry,
}

impl Association {
    fn new() -> Self {
        Self { settings: Settings::of(Preset::Linux, 1), entry: Entry::new_zeroed() }
    }

    fn with_packet<R>(
        &mut self,
        tag: u32,
        chunks: &[Vec<u8>],
        judge: impl FnOnce(Context<'_>, Packet<'_>, &mut Entry) -> R,
    ) -> R {
        let mut head = vec![0x13, 0x88, 0x17, 0x70];
        head.extend(tag.to_be_bytes());
        head.extend([0; 4]);
        head.extend(chunks.concat());
        let headers = Headers { l4_len: head.len() as u32, ..Headers::default() };
        let context = Context { settings: &self.settings, now: Tick::default() };
        judge(context, Packet { headers: &headers, head: &head }, &mut self.entry)
    }

    /// The first packet; returns the seconds that the entry gets.
    fn open(&mut self, tag: u32, chunks: &[Vec<u8>]) -> Result<u32, InvalidReason> {
        self.with_packet(tag, chunks, open).map(|ms| ms / 1000)
    }

    fn send(&mut self, direction: Direction, tag: u32, chunks: &[Vec<u8>]) -> Update {
        self.with_packet(tag, chunks, |context, packet, entry| update(context, packet, entry, direction))
    }

    /// After an INIT that asks for [`CLIENT_TAG`].
    fn opened() -> Self {
        let mut association = Self::new();
        assert_eq!(association.open(0, &[init(ty::INIT, CLIENT_TAG)]), Ok(10));
        association
    }

    /// After the four-way handshake.
    fn established() -> Self {
        let mut association = Self::opened();
        let ack = init(ty::INIT_ACK, SERVER_TAG);
        assert_eq!(association.send(Reply, CLIENT_TAG, &[ack]), refresh(3));
        assert_eq!(association.send(Original, SERVER_TAG, &[chunk(ty::COOKIE_ECHO)]), refresh(3));
        assert_eq!(association.send(Reply, CLIENT_TAG, &[chunk(ty::COOKIE_ACK)]), refresh(210));
        association
    }

    /// In `state`, with both tags known.
    fn in_state(state: SctpState) -> Self {
        let mut association = Self::new();
        association.entry.state = state as u8;
        association.entry.tracker.get_mut::<SctpMemory>().tags = [SERVER_TAG, CLIENT_TAG];
        association
    }

    fn state(&self) -> SctpState {
        SctpState::ALL[usize::from(self.entry.state)]
    }

    fn assured(&self) -> bool {
        self.entry.status.contains(Status::ASSURED)
    }
}

const fn refresh(seconds: u32) -> Update {
    Update::Refresh { timeout_ms: seconds * 1000 }
}

const BAD_TAG: Update = Update::Invalid(InvalidReason::SctpTag);
const BAD_CHUNK: Update = Update::Invalid(InvalidReason::SctpChunk);

#[test]
fn a_life_from_handshake_to_shutdown() {
    let mut association = Association::established();
    assert!(association.assured());
    assert_eq!(association.send(Original, SERVER_TAG, &[chunk(ty::DATA)]), refresh(210));
    assert_eq!(association.send(Reply, CLIENT_TAG, &[chunk(ty::HEARTBEAT)]), refresh(210));
    assert_eq!(association.send(Original, SERVER_TAG, &[chunk(ty::HEARTBEAT_ACK)]), refresh(210));
    assert_eq!(association.send(Original, SERVER_TAG, &[chunk(ty::SHUTDOWN)]), refresh(3));
    assert_eq!(association.state(), SctpState::ShutdownSent);
    assert_eq!(association.send(Reply, CLIENT_TAG, &[chunk(ty::SHUTDOWN_ACK)]), refresh(3));
    assert_eq!(association.state(), SctpState::ShutdownAckSent);
    assert_eq!(association.send(Original, SERVER_TAG, &[chunk(ty::SHUTDOWN_COMPLETE)]), refresh(10));
    assert_eq!(association.state(), SctpState::Closed);
    assert!(association.assured());
}

/// The next state of each state, by direction and chunk type: CL closed, CW cookie wait, CE cookie echoed,
/// ES established, SS, SR and SA shutdown sent, received and acknowledged, HS heartbeat sent, -- INVALID.
const ROWS: &[(Direction, u8, &str)] = &[
    (Original, ty::INIT, "CL CL CW CE ES SS SR SA CW"),
    (Original, ty::INIT_ACK, "CL CL CW CE ES SS SR SA CL"),
    (Original, ty::ABORT, "CL CL CL CL CL CL CL CL CL"),
    (Original, ty::SHUTDOWN, "CL CL CW CE SS SS SR SA CL"),
    (Original, ty::SHUTDOWN_ACK, "SA CL CW CE ES SA SA SA SA"),
    (Original, ty::ERROR, "CL CL CW CE ES SS SR SA CL"),
    (Original, ty::COOKIE_ECHO, "CL CL CE CE ES SS SR SA CL"),
    (Original, ty::COOKIE_ACK, "CL CL CW ES ES SS SR SA CL"),
    (Original, ty::SHUTDOWN_COMPLETE, "CL CL CW CE ES SS SR CL CL"),
    (Original, ty::HEARTBEAT, "HS CL CW CE ES SS SR SA HS"),
    (Original, ty::HEARTBEAT_ACK, "CL CL CW CE ES SS SR SA HS"),
    (Original, ty::DATA, "NO CL CW CE ES SS SR SA HS"),
    (Original, ty::SACK, "NO CL CW CE ES SS SR SA HS"),
    (Reply, ty::INIT, "-- CL CW CE ES SS SR SA HS"),
    (Reply, ty::INIT_ACK, "-- CW CW CE ES SS SR SA --"),
    (Reply, ty::ABORT, "-- CL CL CL CL CL CL CL CL"),
    (Reply, ty::SHUTDOWN, "-- CL CW CE SR SS SR SA --"),
    (Reply, ty::SHUTDOWN_ACK, "-- CL CW CE ES SA SA SA --"),
    (Reply, ty::ERROR, "-- CL CW CL ES SS SR SA --"),
    (Reply, ty::COOKIE_ECHO, "-- CL CE CE ES SS SR SA --"),
    (Reply, ty::COOKIE_ACK, "-- CL CW ES ES SS SR SA --"),
    (Reply, ty::SHUTDOWN_COMPLETE, "-- CL CW CE ES SS SR CL --"),
    (Reply, ty::HEARTBEAT, "-- CL CW CE ES SS SR SA HS"),
    (Reply, ty::HEARTBEAT_ACK, "-- CL CW CE ES SS SR SA ES"),
    (Reply, ty::DATA, "NO CL CW CE ES SS SR SA HS"),
    (Reply, ty::SACK, "NO CL CW CE ES SS SR SA HS"),
];

const NAMES: [&str; SctpState::COUNT] = ["NO", "CL", "CW", "CE", "ES", "SS", "SR", "SA", "HS"];

#[test]
fn every_chunk_in_every_state_and_direction() {
    for &(direction, kind, row) in ROWS {
        for (from, to) in SctpState::ALL.into_iter().zip(row.split(' ')) {
            let mut association = Association::in_state(from);
            let own = association.entry.tracker.get::<SctpMemory>().tags[direction as usize];
            let other = association.entry.tracker.get::<SctpMemory>().tags[direction.invert() as usize];
            let (tag, chunk) = match kind {
                ty::INIT => (0, init(kind, other)),
                ty::INIT_ACK => (own, init(kind, other)),
                _ => (own, chunk(kind)),
            };
            let update = association.send(direction, tag, &[chunk]);
            let case = format!("{direction:?} chunk {kind} in {from:?}");
            let ignored = kind == ty::INIT && (from == SctpState::Closed || from.stands());
            let Some(to) = NAMES.iter().position(|name| *name == to) else {
                assert_eq!((update, association.state()), (BAD_CHUNK, from), "{case}");
                continue;
            };
            let timeout_ms = association.settings.timeouts.sctp_ms[to];
            let expected = if ignored { Update::Ignore } else { Update::Refresh { timeout_ms } };
            assert_eq!((update, association.state()), (expected, SctpState::ALL[to]), "{case}");
            let assured = !ignored && to == SctpState::Established as usize;
            assert_eq!(association.assured(), assured, "{case}");
        }
    }
}

#[test]
fn first_packets() {
    use InvalidReason::{SctpChunk, SctpTag};
    let cases: &[(u8, u32, Result<u32, InvalidReason>)] = &[
        (ty::DATA, 0, Err(SctpChunk)),
        (ty::SACK, 0x77, Err(SctpChunk)),
        (ty::HEARTBEAT, 0x77, Ok(30)),
        (ty::HEARTBEAT_ACK, 0x77, Ok(10)),
        (ty::ABORT, 0, Err(SctpChunk)),
        (ty::SHUTDOWN, 0x77, Err(SctpTag)),
        (ty::SHUTDOWN_ACK, 0x77, Ok(3)),
        (ty::ERROR, 0x77, Err(SctpTag)),
        (ty::COOKIE_ECHO, 0x77, Err(SctpTag)),
        (ty::COOKIE_ECHO, 0, Err(SctpTag)),
        (ty::HEARTBEAT, 0, Err(SctpTag)),
        (ty::COOKIE_ACK, 0, Err(SctpChunk)),
        (ty::SHUTDOWN_COMPLETE, 0, Err(SctpChunk)),
        (130, 0, Err(SctpChunk)),
    ];
    for (kind, tag, expected) in cases {
        assert_eq!(Association::new().open(*tag, &[chunk(*kind)]), *expected, "chunk {kind}");
    }
    assert_eq!(Association::new().open(0, &[init(ty::INIT, 1)]), Ok(10));
    assert_eq!(Association::new().open(9, &[init(ty::INIT, 1)]), Err(SctpTag));
    assert_eq!(Association::new().open(0, &[init(ty::INIT, 0)]), Err(SctpChunk));
    assert_eq!(Association::new().open(9, &[init(ty::INIT_ACK, 1)]), Err(SctpTag));
    assert_eq!(Association::new().open(7, &[chunk(ty::HEARTBEAT), chunk(ty::DATA)]), Err(SctpChunk));
}

#[test]
fn chunks_that_must_not_travel_together() {
    let bundles: &[&[Vec<u8>]] = &[
        &[],
        &[chunk(ty::SACK), chunk(ty::SHUTDOWN_COMPLETE)],
        &[init(ty::INIT, 1), init(ty::INIT, 1)],
        &[init(ty::INIT_ACK, 1), chunk(ty::DATA)],
        &[chunk(ty::DATA), chunk(ty::COOKIE_ECHO)],
        &[chunk(ty::DATA), chunk(ty::COOKIE_ACK)],
        &[chunk(ty::DATA), vec![0, 0, 0, 0]],
    ];
    for chunks in bundles {
        let mut association = Association::established();
        assert_eq!(association.send(Original, SERVER_TAG, chunks), BAD_CHUNK, "{chunks:?}");
        assert_eq!(association.state(), SctpState::Established);
    }
    let mut association = Association::established();
    let both = [chunk(ty::DATA), chunk(ty::SHUTDOWN)];
    assert_eq!(association.send(Original, SERVER_TAG, &both), refresh(3));
}

#[test]
fn a_cut_off_init_is_invalid() {
    let mut short = init(ty::INIT, CLIENT_TAG);
    short.truncate(19);
    assert_eq!(Association::new().open(0, &[short]), Err(InvalidReason::SctpChunk));
    assert_eq!(Association::new().open(0, &[vec![ty::INIT, 0, 0, 4]]), Err(InvalidReason::SctpChunk));
}
