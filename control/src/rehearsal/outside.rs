//! What is outside of the box: frames that leave it are kept, with the port.

use sluice_conntrack::dispatch::Host;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Instant, PortId, Shard, Verdict};

/// An answer is an ICMP error at most, or an echo reply as long as the request.
const MAX_ANSWER_BYTES: usize = 65_536;

/// A frame that has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The port that it left by.
    pub port: PortId,
    /// The frame.
    pub frame: Vec<u8>,
    /// Whether the box itself has said it.
    pub is_answer: bool,
}

/// All that has left.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) sent: Vec<Sent>,
}

impl Host for Outside {
    type Packet = (PortId, Vec<u8>);

    fn finish(&mut self, _: Instant, shard: &mut Shard, packet: Self::Packet, verdict: &Verdict) {
        let (ingress, frame) = &packet;
        if let Action::Forward(port) = verdict.action {
            self.sent.push(Sent { port, frame: frame.clone(), is_answer: false });
            return;
        }
        let mut answer = vec![0; MAX_ANSWER_BYTES];
        if let Some(length) = shard.answer(&packet, verdict, &mut answer) {
            answer.truncate(length);
            self.sent.push(Sent { port: *ingress, frame: answer, is_answer: true });
        }
    }

    fn reply(&mut self, _: &mut Shard, (port, frame): Self::Packet) {
        self.sent.push(Sent { port, frame, is_answer: true });
    }

    fn make(&mut self, ingress: PortId, frame: &[u8]) -> Option<Self::Packet> {
        Some((ingress, frame.to_vec()))
    }
}
