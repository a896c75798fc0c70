//! Calls by SIP over UDP and TCP through a masquerading box of several shards: media comes to the phone that describes it, whichever shards its signalling
//! and its media land on.

use crate::cluster::Cluster;
use crate::common::frame::Segment;
use crate::common::*;
use crate::fragments::{Left, pass};
use crate::helpers::{World, with_helper};
use crate::masquerade;
use sluice_conntrack::helpers::HelperId;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::Preset;

const PHONES: u8 = 16;

/// Where an INVITE is cut that comes in fragments.
const CUTS: &[usize] = &[0, 8, 200];

fn cluster(shards: u16, preset: Preset, is_translated: bool) -> Cluster {
    let nat = if is_translated { masquerade() } else { Nat::default() };
    with_helper(shards, preset, firewall(), nat, HelperId::Sip)
}

fn invite(phone: &str) -> String {
    let body =
        format!("v=0\r\no=- 1 1 IN IP4 {phone}\r\nc=IN IP4 {phone}\r\nt=0 0\r\nm=audio 16384 RTP/AVP 0\r\n");
    format!(
        "INVITE sip:bob@198.51.100.2 SIP/2.0\r\nVia: SIP/2.0/UDP {phone}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@{phone}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn register(first: &str, contact: &str) -> String {
    format!(
        "{first}\r\nVia: SIP/2.0/UDP 10.0.0.2\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@{contact}>\r\nExpires: 60\r\n\r\n"
    )
}

/// The port of a description.
fn media_port(text: &str) -> u16 {
    let words = text.split("m=audio ").nth(1).expect("it describes media");
    words.split(' ').next().unwrap().parse().unwrap()
}

fn text(left: &Left) -> String {
    String::from_utf8_lossy(&left.l4[8..]).into_owned()
}

#[test]
fn sip_g19_media_comes_to_the_phone_that_describes_it_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut cluster = cluster(shards, preset, true);
            for phone in 2..2 + PHONES {
                // All have media come to the same port, which only one of them can have outside.
                let inside = format!("10.0.0.{phone}");
                let sent = Pair::at(&format!("{inside}:5060"), &format!("198.51.100.{phone}:5060"));
                let left =
                    pass(&mut cluster, INSIDE, vec![sent.datagram(invite(&inside).as_bytes()).frame()]);
                let left = left.expect("an INVITE leaves");
                let said = text(&left);
                assert!(said.contains("c=IN IP4 203.0.113.1\r\n"), "{said}");
                for next in [0, 1] {
                    let comes = Pair {
                        source: (sent.destination.ip(), 26_384).into(),
                        destination: ([203, 0, 113, 1], media_port(&said) + next).into(),
                    };
                    let arrived = pass(&mut cluster, OUTSIDE, vec![comes.datagram(b"rtp").frame()]);
                    let to = arrived.expect("media is RELATED").pair.destination;
                    assert_eq!(to, ([10, 0, 0, phone], 16_384 + next).into());
                    let back = Pair { source: to, destination: comes.source };
                    let back = pass(&mut cluster, INSIDE, vec![back.datagram(b"rtp").frame()]);
                    assert_eq!(back.expect("and so is what goes back").pair, comes.inverse());
                }
            }
            cluster.check();
        }
    }
}

/// The same over TCP, of which the first half of each INVITE comes twice: once before the other half, and again behind it.
#[test]
fn sip_tcp_g19_media_comes_to_the_phone_that_describes_it_on_any_shard() {
    for shards in [1, 2, 4] {
        let mut world = World { cluster: cluster(shards, Preset::Classic, true) };
        for phone in 2..2 + PHONES {
            let inside = format!("10.0.0.{phone}");
            let pair = Pair::at(&format!("{inside}:5060"), "198.51.100.2:5060");
            let outside = world.pass(INSIDE, &pair.tcp("S", 1000, 0)).expect("a SYN leaves").pair.inverse();
            world.pass(OUTSIDE, &outside.tcp("SA", 5000, 1001)).expect("so does its answer");
            let text = invite(&inside);
            let (first, second) = text.split_at(text.len() / 2);
            let half = pair.segment(&Segment { flags: 0x18, seq: 1001, ack: 5001, ..Segment::default() });
            let half = Packet { l4: [&half.l4, first.as_bytes()].concat(), ..half };
            assert!(world.pass(INSIDE, &half).is_none(), "what becomes of it is not known yet");
            let end = world.says(INSIDE, pair, [1001 + first.len() as u32, 5001], second);
            let begin = world.says(INSIDE, pair, [1001, 5001], first);
            assert_eq!(end.seq, begin.seq + begin.text.len() as u32);
            let said = begin.text + &end.text;
            assert!(said.contains("c=IN IP4 203.0.113.1\r\n"), "{said}");
            let said_until = end.seq + end.text.len() as u32;
            let acknowledged = world.pass(OUTSIDE, &outside.tcp("A", 5001, said_until)).expect("it leaves");
            assert_eq!(acknowledged.ack, 1001 + text.len() as u32);
            for next in [0, 1] {
                let comes = Pair {
                    source: (pair.destination.ip(), 26_384).into(),
                    destination: ([203, 0, 113, 1], media_port(&said) + next).into(),
                };
                let arrived = pass(&mut world.cluster, OUTSIDE, vec![comes.datagram(b"rtp").frame()]);
                let to = arrived.expect("media is RELATED").pair.destination;
                assert_eq!(to, ([10, 0, 0, phone], 16_384 + next).into());
            }
        }
        world.cluster.check();
    }
}

#[test]
fn sip_g19_calls_come_to_whoever_is_registered_on_any_shard() {
    for shards in [1, 2, 4] {
        for preset in PRESETS {
            let mut cluster = cluster(shards, preset, true);
            let phone = Pair::at("10.0.0.2:5060", "198.51.100.2:5060");
            let asks = register("REGISTER sip:h SIP/2.0", "10.0.0.2");
            let left = pass(&mut cluster, INSIDE, vec![phone.datagram(asks.as_bytes()).frame()]).unwrap();
            let public = left.pair.source;
            let answer = register("SIP/2.0 200 OK", &public.to_string());
            let call = |port: u16| Pair { source: ([198, 51, 100, 2], port).into(), destination: public };
            let rings = |cluster: &mut Cluster, port| {
                let frames = vec![call(port).datagram(b"\r\n\r\n").frame()];
                pass(cluster, OUTSIDE, frames).map(|left| left.pair.destination)
            };
            assert_eq!(rings(&mut cluster, 6000), None, "not yet");
            pass(&mut cluster, OUTSIDE, vec![left.pair.inverse().datagram(answer.as_bytes()).frame()])
                .unwrap();
            for port in 6000..6016 {
                assert_eq!(rings(&mut cluster, port), Some(phone.source));
            }
            cluster.check();
        }
    }
}

/// What came in fragments leaves as it came: it is read, and where text would have to change nothing is expected.
#[test]
fn sip_p22_g5_an_invite_in_fragments_is_read_whole() {
    for shards in [1, 4] {
        for preset in PRESETS {
            for (is_translated, reaches) in [(false, true), (true, false)] {
                let mut cluster = cluster(shards, preset, is_translated);
                let phone = Pair::at("10.0.0.2:5060", "198.51.100.2:5060");
                let packet = phone.datagram(invite("10.0.0.2").as_bytes());
                let left = pass(&mut cluster, INSIDE, packet.fragments(7, CUTS)).expect("it leaves");
                assert_eq!(text(&left), invite("10.0.0.2"));
                let to = if is_translated { left.pair.source.ip() } else { phone.source.ip() };
                let media =
                    Pair { source: ([198, 51, 100, 2], 26_384).into(), destination: (to, 16_384).into() };
                let arrived = pass(&mut cluster, OUTSIDE, vec![media.datagram(b"rtp").frame()]);
                assert_eq!(arrived.is_some(), reaches);
                cluster.check();
            }
        }
    }
}
