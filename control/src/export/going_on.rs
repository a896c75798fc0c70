//! What was told of flows that go on, so that each record of one says what has passed since the last (RFC 7011 section 4.1).

use std::collections::HashMap;

use sluice_conntrack::Tuple;
use sluice_conntrack::listing::Traffic;

use super::record::{Micros, Record, What};

/// Flows that are told of while they go on, at most: some 100 bytes each. More are told of when they end.
const MOST: usize = 1 << 22;

/// What was told of one.
#[derive(Clone, Copy, Debug)]
struct Told {
    at_us: Micros,
    traffic: [Traffic; 2],
}

/// Those that a collector was told of, by their original tuples.
#[derive(Debug)]
pub struct GoingOn {
    flows: HashMap<Tuple, Told>,
    /// How long one was not told of before it is again.
    timeout_us: Micros,
    /// When those were last forgotten whose end was not heard.
    swept_us: Micros,
}

impl GoingOn {
    /// None yet; each is told of once in so long.
    pub fn new(timeout_us: Micros) -> GoingOn {
        GoingOn { flows: HashMap::new(), timeout_us, swept_us: 0 }
    }

    /// The part of a flow that is to be told, from the last that was, or from its begin; `None` where it has begun just now, or was told
    /// of just before.
    pub fn part(&mut self, record: &Record) -> Option<Record> {
        let Record { translation, traffic, .. } = record;
        let (now_us, original) = (translation.at_us, translation.original);
        let last = match translation.what {
            What::Alive => self.flows.get(&original).copied(),
            What::Begin | What::End => self.flows.remove(&original),
        };
        let from_us = last.map_or(translation.began_us, |told| told.at_us);
        match translation.what {
            What::Begin => return None,
            What::End => {}
            What::Alive => {
                let is_full = last.is_none() && self.flows.len() >= MOST;
                if is_full || now_us.saturating_sub(from_us) < self.timeout_us {
                    return None;
                }
                self.flows.insert(original, Told { at_us: now_us, traffic: traffic.unwrap_or_default() });
            }
        }
        let mut part = *record;
        part.translation.began_us = from_us;
        if let (Some(now), Some(last)) = (&mut part.traffic, last) {
            for (now, last) in now.iter_mut().zip(last.traffic) {
                now.packets = now.packets.saturating_sub(last.packets);
                now.bytes = now.bytes.saturating_sub(last.bytes);
            }
        }
        Some(part)
    }

    /// Forgets, now and then, those that nothing was heard of for a few timeouts: their end was lost.
    pub fn sweep(&mut self, now_us: Micros) {
        let patience_us = 4 * self.timeout_us;
        if now_us.saturating_sub(self.swept_us) > patience_us {
            self.flows.retain(|_, told| now_us.saturating_sub(told.at_us) <= patience_us);
            self.swept_us = now_us;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::record::Translation;
    use sluice_conntrack::tuple::protocol;

    /// At a second, of a flow that began in second 100.
    fn record(what: What, at_s: u64, packets: u64) -> Record {
        let (client, server) = ([10, 0, 0, 1].into(), [198, 51, 100, 7].into());
        let original = Tuple::new(client, server, protocol::TCP, 4000, 53);
        let (at_us, began_us) = (at_s * 1_000_000, 100_000_000);
        let reply = original.invert();
        let translation = Translation { what, at_us, began_us, original, reply, translated: [false; 2] };
        let traffic = Some([Traffic { packets, bytes: packets * 40 }, Traffic::default()]);
        Record { translation, traffic, state: None, end: None }
    }

    /// From when, and how many packets.
    fn told(part: Option<Record>) -> Option<(u64, u64, u64)> {
        let Record { translation, traffic, .. } = part?;
        let [sent, _] = traffic.unwrap();
        Some((translation.began_us / 1_000_000, sent.packets, sent.bytes))
    }

    #[test]
    fn parts_of_a_flow_add_up() {
        let mut it = GoingOn::new(60_000_000);
        assert_eq!(told(it.part(&record(What::Begin, 100, 1))), None);
        assert_eq!(told(it.part(&record(What::Alive, 159, 5))), None, "it is too young");
        assert_eq!(told(it.part(&record(What::Alive, 165, 9))), Some((100, 9, 360)));
        assert_eq!(told(it.part(&record(What::Alive, 200, 10))), None, "it was told of");
        assert_eq!(told(it.part(&record(What::Alive, 225, 12))), Some((165, 3, 120)));
        assert_eq!(told(it.part(&record(What::End, 230, 12))), Some((225, 0, 0)));
        assert_eq!(
            told(it.part(&record(What::End, 300, 7))),
            Some((100, 7, 280)),
            "another one, never told of"
        );
    }

    #[test]
    fn what_began_anew_or_was_not_heard_of_is_counted_from_its_begin() {
        let mut it = GoingOn::new(60_000_000);
        assert!(it.part(&record(What::Alive, 165, 9)).is_some());
        it.sweep(166_000_000);
        it.part(&record(What::Begin, 170, 0));
        assert_eq!(told(it.part(&record(What::Alive, 190, 2))), Some((100, 2, 80)));
        it.sweep(431_000_000);
        assert!(it.flows.is_empty(), "its end was lost");
    }
}
