//! Datagrams in two fragments, each of which comes to any worker, beside whole packets of the same connections.

use crate::common::frame::{Packet, Pair, fragment};
use crate::common::{INSIDE, OUTSIDE};
use crate::worker::Event;
use crate::{Middle, PUBLIC, SERVER, SERVICE, answer, check};
use shuttle::rand::{Rng, thread_rng};
use sluice_conntrack::settings::Preset;
use sluice_conntrack::{PortId, State, wire};
use std::collections::HashMap;

/// Where datagrams are cut, in bytes: behind the header of UDP or ICMP.
const PLACES: [usize; 2] = [0, 8];

/// Identifications of datagrams: requests have these and answers those behind, all of which whole packets have not.
const REQUESTS: u16 = 100;
const ANSWERS: u16 = 200;

/// Puts the fragments of datagrams together, by their identifications.
#[derive(Default)]
struct Network(HashMap<u16, Vec<u8>>);

impl Network {
    /// What a host on the way out sees of a packet: its identification and the whole of it, once that is there.
    fn deliver(&mut self, frame: Vec<u8>) -> Option<(u16, Vec<u8>)> {
        let word = |at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
        let (identification, field) = (word(18), word(20));
        if field & 0x3fff == 0 {
            return Some((identification, frame));
        }
        let bytes = &frame[34..14 + usize::from(word(16))];
        let whole = self.0.entry(identification).or_default();
        assert_eq!(whole.len(), usize::from(field & 0x1fff) * 8, "fragments leave in their order");
        whole.extend(bytes);
        if field & 0x2000 != 0 {
            return None;
        }
        let whole = self.0.remove(&identification).expect("it was put there");
        let header = fragment(&frame[14..34], frame[23], identification, 0, &whole);
        Some((identification, [&frame[..14], &header].concat()))
    }
}

/// A client's packet, and where it comes in: to the server by its public address, which is translated and found by its answers,
/// or by ICMP, whose identifiers steer nothing; or from a port that is some shard's own.
fn request() -> (PortId, Packet) {
    let number = thread_rng().gen_range(0..=u8::MAX);
    let (outside, inside) = ([198, 51, 100, number].into(), [10, 0, 1, number].into());
    match number % 4 {
        0 => (OUTSIDE, Pair::of(outside, 4000, PUBLIC.into(), SERVICE).udp(16)),
        1 => (OUTSIDE, Pair::of(outside, 4000, SERVER.into(), SERVICE).udp(16)),
        2 => (INSIDE, Pair::of(inside, 0, outside, 0).echo(7, 1)),
        _ => (INSIDE, Pair::of(inside, 4000, outside, SERVICE).udp(16)),
    }
}

#[test]
fn a_datagram_and_its_answer_leave_whole() {
    check(|| {
        let mut it = Middle::start(Preset::Linux);
        let mut network = Network::default();
        let mut requests = 0;
        for client in 0..thread_rng().gen_range(1..3) {
            let (port, packet) = request();
            let mut frames = packet.fragments(REQUESTS + client, &PLACES);
            if thread_rng().gen_bool(0.5) {
                frames.push(packet.frame());
                requests += 1;
            }
            requests += 1;
            while !frames.is_empty() {
                it.receive(port, frames.swap_remove(thread_rng().gen_range(0..frames.len())));
            }
        }
        let (mut answered, mut answers) = (0, ANSWERS..);
        while let Some(event) = it.next() {
            let Event::Sent { port, bytes, state, .. } = event else { panic!("a packet is lost") };
            let Some((identification, frame)) = network.deliver(bytes) else { continue };
            let received = (port, frame);
            let headers = wire::parse(&received).expect("what leaves is sound");
            assert!(wire::verify_checksum(&received, &headers), "its checksum is right, too");
            let (_, frame) = received;
            let is_answer = identification >= ANSWERS;
            assert!(state == State::Established || !is_answer, "an answer is never NEW");
            if is_answer {
                answered += 1;
            } else {
                let identification = answers.next().expect("there are few");
                let frames = answer(&frame).fragments(identification, &PLACES);
                frames.into_iter().for_each(|frame| it.receive(port, frame));
            }
        }
        assert_eq!(answered, requests, "each has its answer");
        it.stop();
    });
}
