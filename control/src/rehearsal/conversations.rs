//! The numbers of TCP's two ends: what each would send next, so that nobody who says packets in words has to count.

use std::collections::HashMap;
use std::net::IpAddr;

use sluice_conntrack::{PortId, wire};

use super::Sent;
use crate::packet::{Numbers, Packet, Segment, Transport, flag};

/// The numbers that the two ends begin with.
const FIRST: [u32; 2] = [1_000_000, 2_000_000];

/// Sender and receiver of a segment, as it stands in its headers.
type Ends = ((IpAddr, u16), (IpAddr, u16));

/// Which end of which connection it is that sends.
type Sender = (usize, usize);

/// All connections so far.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    senders: HashMap<Ends, Sender>,
    /// What the two ends of each have said so far.
    said: Vec<[u32; 2]>,
}

impl Conversations {
    /// The numbers that a packet has where none are given.
    pub(super) fn numbers(&self, packet: &Packet) -> Numbers {
        let Some((ends, segment)) = segment(packet) else { return Numbers::default() };
        let (said, end) = match self.senders.get(&ends) {
            Some((conversation, end)) => (self.said[*conversation], *end),
            None => ([0; 2], 0),
        };
        // A SYN that is sent again is the same again.
        let own = if segment.flags & flag::SYN != 0 { 0 } else { said[end] };
        let next = |end: usize, said: u32| FIRST[end].wrapping_add(said);
        Numbers { seq: next(end, own), ack: next(1 - end, said[1 - end]) }
    }

    /// Notes that a packet was sent, and what has left of it. What has not arrived has not been said.
    pub(super) fn note(&mut self, packet: &Packet, sent: &[Sent]) {
        let Some((ends, segment)) = segment(packet) else { return };
        let Some(left) = sent.iter().find(|sent| !sent.is_answer) else { return };
        let own = (packet.source, segment.sport);
        let (conversation, end) = *self.senders.entry(ends).or_insert_with(|| {
            self.said.push([0; 2]);
            (self.said.len() - 1, 0)
        });
        if let Some((from, to)) = seen_as(&left.frame).or(Some((own, ends.1))) {
            // Whoever gets it answers to where it seems to come from.
            self.senders.insert((to, from), (conversation, 1 - end));
        }
        let flags = [flag::SYN, flag::FIN].into_iter().filter(|bit| segment.flags & bit != 0).count() as u32;
        let before = if segment.flags & flag::SYN != 0 { 0 } else { self.said[conversation][end] };
        self.said[conversation][end] = before.wrapping_add(u32::from(packet.length) + flags);
    }
}

fn segment(packet: &Packet) -> Option<(Ends, &Segment)> {
    let Transport::Tcp(segment) = &packet.transport else { return None };
    Some((((packet.source, segment.sport), (packet.destination, segment.dport)), segment))
}

/// The ends of a segment that has left.
fn seen_as(frame: &[u8]) -> Option<Ends> {
    let tuple = wire::parse(&(PortId::default(), frame.to_vec())).ok()?.tuple;
    let (source, destination) = (tuple.source(), tuple.destination());
    Some(((source, tuple.selector.sport()), (destination, tuple.selector.dport())))
}
