//! What packets of established connections come to, as entries remember it: who decides about them, and where they leave.
//!
//! Linux's flowtable keeps both with every connection. But rules and next hops are few: here each pair of them is kept once, and
//! an entry has its number ([`Judged`](crate::entry::Judged)). All are forgotten with the configuration that they were made by.

use crate::forward::FlowRoute;
use crate::policy::Decision;
use crate::verdict::Verdict;
use std::collections::HashMap;

/// Pairs that one shard keeps, at most. Packets that come to another one are judged each for itself.
const MAX_FLOWS: usize = 1 << 12;

/// What further packets of one direction of a connection come to, if they come in by the same port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// Who decides about them.
    pub(crate) decision: Decision,
    /// Where they leave; `None` where they do not, or each takes a route of its own.
    pub(crate) route: Option<FlowRoute>,
    /// The verdict on those that leave, but for direction and entry, and for a next hop that is their destination.
    pub(crate) verdict: Verdict,
}

/// All of a shard.
#[derive(Debug)]
pub(crate) struct Flows {
    all: Vec<Flow>,
    numbers: HashMap<(Decision, Option<FlowRoute>), u16, ahash::RandomState>,
}

impl Flows {
    /// None, and the memory for as many as there can be.
    pub(crate) fn new([a, b, c, d]: [u64; 4]) -> Self {
        let key = ahash::RandomState::with_seeds(a, b, c, d);
        Self {
            all: Vec::with_capacity(MAX_FLOWS),
            numbers: HashMap::with_capacity_and_hasher(MAX_FLOWS, key),
        }
    }

    /// The one of a number; of 0, which an entry has that remembers nothing, there is none.
    #[inline(always)]
    pub(crate) fn get(&self, number: u16) -> Option<&Flow> {
        self.all.get(usize::from(number).wrapping_sub(1))
    }

    /// The number to remember one by; `None` where there are too many.
    pub(crate) fn number(&mut self, flow: Flow) -> Option<u16> {
        let key = (flow.decision, flow.route);
        if let Some(number) = self.numbers.get(&key) {
            return Some(*number);
        }
        if self.all.len() == MAX_FLOWS {
            return None;
        }
        self.all.push(flow);
        let number = self.all.len() as u16;
        self.numbers.insert(key, number);
        Some(number)
    }

    /// Forgets them all.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::{Egress, Forwarding};
    use crate::headers::Headers;
    use crate::ids::PortId;
    use crate::verdict::Action;
    use std::net::Ipv4Addr;

    /// What packets come to that leave by a gateway.
    fn by(gateway: u32) -> Flow {
        let egress = Egress { port: PortId(1), next_hop: Some(Ipv4Addr::from(gateway).into()) };
        let route = Forwarding::wire().flow_route(PortId(0), &Headers::default(), 0, &egress);
        Flow { decision: Decision::default(), route, verdict: Verdict::ended(Action::Forward(egress.port)) }
    }

    #[test]
    fn each_is_kept_once_until_there_are_too_many() {
        let mut flows = Flows::new([1, 2, 3, 4]);
        assert!(flows.get(0).is_none() && flows.get(1).is_none());
        for round in 0..2 {
            for gateway in 0..MAX_FLOWS as u32 {
                assert_eq!(flows.number(by(gateway)), Some(gateway as u16 + 1), "in round {round}");
            }
        }
        assert_eq!(flows.number(by(u32::MAX)), None);
        assert_eq!(flows.get(7).and_then(|flow| flow.route), by(6).route);
        flows.clear();
        assert!(flows.get(7).is_none());
        assert_eq!(flows.number(by(u32::MAX)), Some(1));
    }
}
