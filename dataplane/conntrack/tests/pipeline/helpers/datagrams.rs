//! Datagrams through the box: what became of one, and what it says then.

use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, State, wire};

/// What became of a datagram.
#[derive(Clone, Debug)]
pub struct Passed {
    pub state: Option<State>,
    /// Between whom it leaves, if it does.
    pub pair: Option<Pair>,
    /// Why it does not.
    pub drop: Option<DropReason>,
    pub text: String,
}

impl Middlebox {
    /// Has a datagram pass; lengths and checksums of what comes of it are right.
    #[track_caller]
    pub fn passes(&mut self, port: PortId, packet: &Packet) -> Passed {
        let mut frames = [(port, packet.frame())];
        let verdict = self.burst(&mut frames)[0];
        let headers = wire::parse(&frames[0]).expect("its IP header is right");
        assert!(wire::verify_checksum(&frames[0], &headers), "its UDP checksum is right");
        let l4 = &frames[0].1[usize::from(headers.l4_offset)..][..headers.l4_len as usize];
        assert_eq!(l4.len(), usize::from(u16::from_be_bytes([l4[4], l4[5]])), "its lengths are right");
        let tuple = headers.tuple;
        let [sport, dport] = [tuple.selector.sport(), tuple.selector.dport()];
        let pair = Pair::of(tuple.source(), sport, tuple.destination(), dport);
        Passed {
            state: verdict.state,
            pair: matches!(verdict.action, Action::Forward(_)).then_some(pair),
            drop: verdict.drop_reason(),
            text: l4[8..].iter().map(|byte| char::from(*byte)).collect(),
        }
    }

    /// The same of a text, which passes.
    #[track_caller]
    pub fn says(&mut self, port: PortId, pair: Pair, text: &str) -> String {
        let passed = self.passes(port, &pair.datagram(text.as_bytes()));
        assert!(passed.pair.is_some(), "{:?}: {text}", passed.drop);
        passed.text
    }

    /// The state of a datagram, and between whom it leaves, if it does.
    #[track_caller]
    pub fn carries(&mut self, port: PortId, pair: Pair, payload: &[u8]) -> (Option<State>, Option<Pair>) {
        let Passed { state, pair, .. } = self.passes(port, &pair.datagram(payload));
        (state, pair)
    }

    /// How often a helper came upon this.
    pub fn helper_events(&self, event: HelperEvent) -> u64 {
        self.shard.counters().helper_event(event)
    }
}
