//! SYN cookies where a connection's answers come to another shard than its SYN.

use crate::cluster::Cluster;
use crate::common::frame::{Segment, TCP};
use crate::common::*;
use crate::{PUBLIC, SERVER, pool};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::entry::Status;
use sluice_conntrack::nat::{Nat, NatRule, PortChoice};
use sluice_conntrack::policy::{Match, Prefix, RuleAction};
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::synproxy::Synproxy;
use sluice_conntrack::{DropReason, PortId};

const ROOM: u32 = 500;
const CONNECTIONS: u16 = 60;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// What has left the box after a packet came in, by the port that it left by, what the box says itself among it.
fn comes(cluster: &mut Cluster, port: PortId, packet: &Packet) -> Vec<(PortId, Vec<u8>)> {
    cluster.outside.sent.clear();
    cluster.outside.answers.clear();
    cluster.receive(port, packet.frame());
    while !cluster.is_at_rest() {
        cluster.step();
    }
    let mut left: Vec<_> = cluster.outside.sent.drain(..).chain(cluster.outside.answers.drain(..)).collect();
    left.sort_by_key(|(port, _)| port.0);
    left
}

/// The sequence number of an IPv4 packet.
fn seq(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame[38..].first_chunk().unwrap())
}

/// The acknowledgement.
fn ack(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame[42..].first_chunk().unwrap())
}

#[test]
fn a_server_is_asked_and_answers_whichever_shard_its_answers_come_to() {
    let offer = Synproxy { mss: 1460, wscale: Some(7), sack_perm: true };
    let policy = rules([
        (states([sluice_conntrack::State::Established]), RuleAction::Accept),
        (Match { protocols: vec![TCP], ..Match::default() }, RuleAction::Synproxy(offer)),
    ]);
    let public = Match { destination: vec![Prefix::new(PUBLIC.into(), 32)], ..Match::default() };
    let to_server = NatRule::new(public, pool(SERVER, SERVER, PortChoice::Preserve));
    for shards in [1, 2, 4] {
        let settings = Settings::of(Preset::Linux, ROOM * u32::from(shards));
        let nat = Nat { source: vec![], destination: vec![to_server.clone()] };
        let configuration = routed(settings, policy.clone(), nat);
        let mut cluster = Cluster::of(shards, ROOM, &configuration, ChaCha8Rng::seed_from_u64(shards.into()));
        for sport in 4000..4000 + CONNECTIONS {
            let pair = Pair::of([198, 51, 100, 7].into(), sport, PUBLIC.into(), 80);
            let inside = Pair::of([198, 51, 100, 7].into(), sport, SERVER.into(), 80);
            let segment = |flags, seq, ack| Segment { flags, seq, ack, ..Segment::default() };

            let left = comes(&mut cluster, OUTSIDE, &pair.segment(&segment(SYN, 100, 0)));
            assert_eq!((left.len(), left[0].0), (1, OUTSIDE), "the cookie");
            let cookie = seq(&left[0].1);
            let left =
                comes(&mut cluster, OUTSIDE, &pair.segment(&segment(ACK, 101, cookie.wrapping_add(1))));
            assert_eq!((left.len(), left[0].0, seq(&left[0].1)), (1, INSIDE, 100), "the SYN");
            let answer = inside.inverse().segment(&segment(SYN | ACK, 5000, 101));
            let left = comes(&mut cluster, INSIDE, &answer);
            assert_eq!(left.len(), 2, "{:?}", cluster.outside.drops);
            assert_eq!((left[0].0, seq(&left[0].1), ack(&left[0].1)), (INSIDE, 101, 5001));
            assert_eq!((left[1].0, seq(&left[1].1), ack(&left[1].1)), (OUTSIDE, cookie.wrapping_add(1), 101));

            let left =
                comes(&mut cluster, OUTSIDE, &pair.segment(&segment(ACK, 101, cookie.wrapping_add(1))));
            assert_eq!((left.len(), left[0].0, ack(&left[0].1)), (1, INSIDE, 5001));
        }
        let mut assured = 0;
        for shard in cluster.shards() {
            shard.list(0, u32::MAX, |_, entry| {
                assured += u16::from(entry.status.contains(Status::ASSURED));
            });
        }
        assert_eq!(assured, CONNECTIONS);
        assert!(cluster.outside.drops.iter().all(|reason| *reason == DropReason::SynCookie));
        cluster.check();
    }
}
