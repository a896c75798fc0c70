//! Takes events out of the workers' rings, and gives them to the sinks.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use sluice_conntrack::events::{Event, EventKind, EventReceiver, EventSender, Interest};
use sluice_conntrack::listing::EntrySnapshot;

use super::RING;
use super::sink::{Called, News, PER_BATCH, SinkSender};
use crate::export::record::{LogLine, Micros, Record, What, micros, now_us};
use crate::run::host_time::HostTime;

/// How long it sleeps where there is nothing to take. A worker's ring holds as much as is told in that time at a million events
/// a second.
const PAUSE: Duration = Duration::from_millis(10);

/// How often sinks are told that nothing happens.
const TICK_US: Micros = 1_000_000;

/// Where else all events go, worker by worker, while somebody listens.
#[derive(Clone, Default)]
pub struct Taps(Arc<Mutex<Vec<EventSender>>>);

impl Taps {
    /// To these from now on.
    pub fn set(&self, senders: Vec<EventSender>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = senders;
    }
}

/// What the thread has.
pub struct Pump {
    /// The workers' rings.
    pub receivers: Vec<EventReceiver>,
    /// What the stamps of events go by.
    pub time: HostTime,
    /// What the sinks want.
    pub interest: Interest,
    /// Who else listens.
    pub taps: Taps,
    /// Connections that go on, by how they are called.
    pub called: Vec<(Called, Receiver<Vec<EntrySnapshot>>)>,
    /// What `log` rules have said, and how much of that was lost in front of it.
    pub lines: Receiver<(Vec<LogLine>, u64)>,
    /// The sinks.
    pub sinks: Vec<Option<SinkSender>>,
    /// Whether it is to end.
    pub is_over: Arc<AtomicBool>,
}

impl Pump {
    /// Runs until it is over, and takes what has happened until then.
    pub fn run(mut self) {
        let mut told_us = 0;
        loop {
            let is_last = self.is_over.load(Ordering::Relaxed);
            // What has ended since it was called is told behind it to have ended.
            self.tell_called(Called::ByActiveTimeout);
            let (mut events, lost) = self.take();
            events.sort_by_key(|event| event.at);
            self.time.follow();
            let records: Vec<Record> =
                events.iter().filter_map(|event| record(event, &self.time, self.interest)).collect();
            let now_us = now_us();
            let has_news = !records.is_empty() || lost > 0;
            if has_news || now_us.abs_diff(told_us) >= TICK_US || is_last {
                self.tell(&records, lost, now_us);
                told_us = now_us;
            }
            self.tell_called(Called::ByRollCall);
            self.tell_lines(now_us);
            if is_last {
                return;
            }
            if events.len() < RING / 2 {
                thread::sleep(PAUSE);
            }
        }
    }

    /// Tells of connections that go on those who hear of them by this way.
    fn tell_called(&mut self, by: Called) {
        let now_us = now_us();
        let received = self.called.iter().filter(|(called, _)| *called == by);
        let entries = received.flat_map(|(_, received)| received.try_iter().flatten());
        let records: Vec<Record> =
            entries.map(|entry| Record::of(&entry, What::Alive, now_us, None)).collect();
        for records in records.chunks(PER_BATCH).map(Arc::from) {
            let news = News { records, ..News::default() };
            let sinks = self.sinks.iter_mut().flatten().filter(|sink| sink.hears.called == Some(by));
            sinks.for_each(|sink| sink.send(&news, 0, now_us));
        }
    }

    fn tell_lines(&mut self, now_us: Micros) {
        for (lines, lost) in self.lines.try_iter() {
            let news = News { lines: Arc::from(lines), ..News::default() };
            let sinks = self.sinks.iter_mut().flatten().filter(|sink| sink.hears.lines);
            sinks.for_each(|sink| sink.send(&news, lost, now_us));
        }
    }

    fn tell(&mut self, records: &[Record], lost: u64, now_us: Micros) {
        let mut lost = lost;
        let mut batches: Vec<&[Record]> = records.chunks(PER_BATCH).collect();
        if batches.is_empty() {
            batches.push(&[]);
        }
        for batch in batches {
            let news = News { records: Arc::from(batch), ..News::default() };
            let lost = mem::take(&mut lost);
            self.sinks.iter_mut().flatten().for_each(|sink| sink.send(&news, lost, now_us));
        }
    }

    /// What the rings have, and how many events were lost.
    fn take(&mut self) -> (Vec<Event>, u64) {
        let (mut events, mut lost) = (Vec::new(), 0);
        let mut taps = self.taps.0.lock().unwrap_or_else(PoisonError::into_inner);
        let interest = if taps.is_empty() { self.interest } else { Interest::ALL };
        for (number, receiver) in self.receivers.iter_mut().enumerate() {
            receiver.want(interest);
            let begin = events.len();
            // What comes meanwhile is for the next time.
            events.extend(std::iter::from_fn(|| receiver.receive()).take(RING));
            let missing = receiver.take_lost();
            lost += missing;
            if let Some(tap) = taps.get_mut(number) {
                events[begin..].iter().for_each(|event| tap.send(*event));
                tap.lose(missing);
            }
        }
        (events, lost)
    }
}

/// The record of an event, if sinks want it: of connections of this box's own alone, for a peer tells of its own.
fn record(event: &Event, time: &HostTime, interest: Interest) -> Option<Record> {
    let what = match event.kind {
        EventKind::New => What::Begin,
        EventKind::Destroy => What::End,
        EventKind::Update => return None,
    };
    let record = Record::of(&event.entry, what, micros(time.at(event.at)), event.end);
    let is_wanted = interest.untranslated || record.translation.is_translated();
    (is_wanted && !event.entry.is_standby).then_some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::export::sink::{Hears, Sink};
    use sluice_conntrack::events::ring;
    use sluice_conntrack::ids::EntryId;
    use sluice_conntrack::{Instant, Tuple};
    use std::sync::mpsc;

    fn begin(at_us: u64) -> Event {
        let at = Instant::from_ns(at_us * 1000);
        let original = Tuple::new([10, 0, 0, 1].into(), [192, 0, 2, 1].into(), 17, at_us as u16, 53);
        let entry = EntrySnapshot {
            original,
            reply: original.invert(),
            state: None,
            remaining_s: 30,
            status: Default::default(),
            traffic: None,
            gre_timeouts: None,
            tags: None,
            mark: 0,
            age_s: 0,
            shows_age: false,
            helper: None,
            seqadj: None,
            master: None,
            uses: 1,
            is_standby: false,
        };
        Event { at, kind: EventKind::New, end: None, id: EntryId { index: 0, generation: 0 }, entry }
    }

    #[test]
    fn events_of_all_workers_are_told_in_their_order_and_by_the_hosts_clock_when_they_were() {
        let began = std::time::Instant::now();
        let zero_us = now_us();
        let time = HostTime::new(move || Instant::from_ns(began.elapsed().as_nanos() as u64));
        let (told, heard) = mpsc::channel();
        let sink = Sink::start("test", String::new(), Hears::default(), move |batches, _| {
            batches.iter().for_each(|batch| told.send(batch.news.records).unwrap());
        });
        let sink = sink.unwrap();
        let rings = [[5, 12_345], [7, 11_111]].map(|times| {
            let (mut sender, receiver) = ring(2);
            times.iter().for_each(|at_us| sender.send(begin(*at_us)));
            receiver
        });
        let pump = Pump {
            receivers: rings.into(),
            time: time.clone(),
            interest: Interest::ALL,
            taps: Taps::default(),
            called: Vec::new(),
            lines: mpsc::channel().1,
            sinks: vec![sink.sender()],
            is_over: Arc::new(true.into()),
        };
        pump.run();
        sink.join();
        let stamps: Vec<_> = heard.iter().flat_map(|records| records.to_vec()).collect();
        let stamps: Vec<_> = stamps.iter().map(|record| record.translation.at_us).collect();
        let expected = [5, 7, 11_111, 12_345].map(|at_us| micros(time.at(Instant::from_ns(at_us * 1000))));
        assert_eq!(stamps, expected);
        assert!(expected[0].abs_diff(zero_us) < 60_000_000, "the clock was read a moment before");
    }
}
