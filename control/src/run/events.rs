//! What becomes of connections, kept for a while for whoever asks.
//!
//! Clients ask again and again, each with the number of the event that it wants next: nobody keeps anything for one of them.
//! Workers tell events only while somebody asks. What a worker's ring or the journal has no room for is lost, and
//! every client that wanted it is told how many those were.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use sluice_conntrack::events::{Event, EventReceiver};
use sluice_engine::command::Unanswered;

use super::export::Export;
use super::lines::Lines;
use super::workers::Workers;
use crate::socket::protocol::{EventFilter, Response};

/// Events that wait in a worker's ring, at most: those of 50 ms at 300,000 events a second.
const RING: usize = 1 << 14;

/// Events that are kept for clients, at most.
const KEPT: usize = 1 << 15;

/// Events in one answer, at most: some hundred kilobytes of text.
const PER_ANSWER: usize = 1024;

/// Nobody listens who has not asked for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where events come from: the workers, or, where those tell it, what exports them.
pub struct Source<'a>(pub &'a mut Workers, pub Option<&'a Export>);

impl Source<'_> {
    fn listen(&mut self) -> Result<Vec<EventReceiver>, Unanswered> {
        match self.1 {
            Some(export) => Ok(export.listen(self.0.count(), RING)),
            None => self.0.listen(RING),
        }
    }

    fn stop_listening(&mut self) {
        match self.1 {
            Some(export) => export.stop_listening(),
            None => self.0.stop_listening(),
        }
    }
}

/// An event of a shard, its number, and when it happened by the host's clock.
struct Kept {
    number: u64,
    shard: u16,
    at: SystemTime,
    event: Event,
}

/// The events of all workers.
#[derive(Default)]
pub struct Journal {
    /// What workers tell, while somebody listens.
    receivers: Vec<EventReceiver>,
    /// The last events, oldest first. Where numbers are missing, events were lost.
    kept: VecDeque<Kept>,
    /// The number of the next event.
    next: u64,
    /// When events were last asked for.
    asked: Option<Instant>,
}

impl Journal {
    /// The events that fit from a number on, as many as an answer has room for; without a number none, from when on there are some.
    pub fn answer(
        &mut self,
        source: &mut Source<'_>,
        filter: &EventFilter,
        lines: &Lines,
        from: Option<u64>,
    ) -> Result<Response, Unanswered> {
        self.asked = Some(Instant::now());
        if self.receivers.is_empty() {
            self.receivers = source.listen()?;
        }
        self.fetch();
        Ok(self.page(filter, lines, from.unwrap_or(self.next)))
    }

    fn page(&self, filter: &EventFilter, lines: &Lines, from: u64) -> Response {
        let from = from.min(self.next);
        let (mut expected, mut lost, mut shown) = (from, 0, Vec::new());
        let begin = self.kept.partition_point(|kept| kept.number < from);
        for Kept { number, shard, at, event } in self.kept.iter().skip(begin) {
            if shown.len() == PER_ANSWER {
                return Response::Events { lines: shown, lost, next: expected };
            }
            lost += number - expected;
            expected = number + 1;
            if filter.matches(event) {
                shown.push(lines.event(*shard, event, *at));
            }
        }
        lost += self.next - expected;
        Response::Events { lines: shown, lost, next: self.next }
    }

    /// Stops listening if nobody has asked for long.
    pub fn look_after(&mut self, source: &mut Source<'_>) {
        if self.asked.is_some_and(|asked| asked.elapsed() > PATIENCE) {
            source.stop_listening();
            *self = Self { next: self.next, ..Self::default() };
        }
    }

    /// Takes over what workers have told, in the order in which it happened.
    fn fetch(&mut self) {
        let (mut told, mut lost) = (Vec::new(), 0);
        for (shard, receiver) in (0..).zip(&mut self.receivers) {
            // What comes meanwhile is for the next time.
            told.extend(std::iter::from_fn(|| receiver.receive()).take(RING).map(|event| (shard, event)));
            lost += receiver.take_lost();
        }
        told.sort_by_key(|(_, event)| event.at);
        // The last has just happened: workers' clocks begin with the daemon, and this one tells the others' times.
        let (now, last) = (SystemTime::now(), told.last().map(|(_, event)| event.at).unwrap_or_default());
        for (shard, event) in told {
            let at = now.checked_sub(last.since(event.at)).unwrap_or(now);
            self.kept.push_back(Kept { number: self.next, shard, at, event });
            self.next += 1;
        }
        self.next += lost;
        let surplus = self.kept.len().saturating_sub(KEPT);
        self.kept.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::Instant as Time;
    use sluice_conntrack::events::{EventKind, EventSender, events};
    use sluice_conntrack::ids::EntryId;
    use sluice_conntrack::listing::EntrySnapshot;
    use sluice_conntrack::settings::{Preset, Settings};
    use sluice_conntrack::{Capacity, Configuration, Forwarding, NewEntry, Shard, Tuple};

    /// An entry as a shard lists it.
    fn entry() -> EntrySnapshot {
        let settings = Settings::of(Preset::Linux, 1);
        let configuration = Configuration::new(settings, Default::default(), Forwarding::wire());
        let capacity = Capacity { entries: 1, seed: [1; 4], pages: sluice_memory::Pages::Ordinary };
        let mut shard = Shard::new(capacity, configuration, Time::default()).unwrap();
        let original = Tuple::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, 7, 53);
        let (reply, status) = (original.invert(), Default::default());
        let new = NewEntry { original, reply, state: 0, status, timeout_ms: 30_000, mark: 0, tags: [0; 2] };
        shard.insert_entry(&new).unwrap().unwrap();
        shard.get(&original).unwrap().1
    }

    fn tell(sender: &mut EventSender, ms: u64) {
        let (at, id) = (Time::from_ns(ms * 1_000_000), EntryId::default());
        sender.send(Event { at, kind: EventKind::New, end: None, id, entry: entry() });
    }

    /// How many are shown and lost from a number on, and the next one.
    fn asked(journal: &Journal, from: u64) -> (usize, u64, u64) {
        let lines = Lines::new(None, Preset::Linux);
        match journal.page(&EventFilter::default(), &lines, from) {
            Response::Events { lines, lost, next } => (lines.len(), lost, next),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_lost_is_said_to_each_who_wanted_it() {
        let (mut sender, receiver) = events(3);
        let mut journal = Journal { receivers: vec![receiver], ..Journal::default() };
        (1..=5).for_each(|ms| tell(&mut sender, ms));
        journal.fetch();
        assert_eq!((asked(&journal, 0), asked(&journal, 2)), ((3, 2, 5), (1, 2, 5)));
        tell(&mut sender, 6);
        journal.fetch();
        assert_eq!((asked(&journal, 5), asked(&journal, 0)), ((1, 0, 6), (4, 2, 6)));
        assert_eq!(asked(&journal, 99), (0, 0, 6));
    }

    #[test]
    fn events_of_all_workers_come_in_their_order_and_in_parts() {
        let (mut one, first) = events(KEPT);
        let (mut other, second) = events(KEPT);
        let mut journal = Journal { receivers: vec![first, second], ..Journal::default() };
        (0..1000).for_each(|ms| tell(&mut one, 2 * ms));
        (0..1000).for_each(|ms| tell(&mut other, 2 * ms + 1));
        journal.fetch();
        assert!(journal.kept.iter().is_sorted_by_key(|kept| kept.event.at));
        let (shown, lost, next) = asked(&journal, 0);
        assert_eq!((shown, lost, next, asked(&journal, next)), (PER_ANSWER, 0, 1024, (976, 0, 2000)));
    }
}
