//! What workers tell as it happens, kept for a while for whoever asks.
//!
//! Clients ask again and again, each with the number of the record that it wants next: nobody keeps anything for one of them.
//! Workers tell only while somebody asks. What a worker's ring or the journal has no room for is lost, and
//! every client that wanted it is told how many those were.

use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use sluice_conntrack::Instant as Time;
use sluice_conntrack::events::{Event, ExpectationEvent, Receiver};
use sluice_engine::watch::{PacketReceiver, WatchedPacket};

use super::host_time::HostTime;

/// Records in one answer, at most: some hundred kilobytes of text.
const PER_ANSWER: usize = 1024;

/// What records in one answer have in bytes, at most, but for the last.
const BYTES_PER_ANSWER: usize = 1 << 20;

/// What records are kept for clients in bytes, at most.
const KEPT_BYTES: usize = 16 << 20;

/// Nobody listens who has not asked for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happened at a time.
pub trait Timed {
    /// The time, by the workers' clock.
    fn at(&self) -> Time;

    /// How much memory it takes.
    fn bytes(&self) -> usize
    where
        Self: Sized,
    {
        size_of::<Self>()
    }
}

impl Timed for Event {
    fn at(&self) -> Time {
        self.at
    }
}

impl Timed for ExpectationEvent {
    fn at(&self) -> Time {
        self.at
    }
}

impl Timed for WatchedPacket {
    fn at(&self) -> Time {
        self.decided.at
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.came.bytes.len() + self.became.bytes.len()
    }
}

/// Where a worker's records come from.
pub trait Told {
    /// What is told.
    type Record: Timed;

    /// The next record, if there is one already.
    fn receive(&mut self) -> Option<Self::Record>;

    /// How many were lost since this was last asked.
    fn take_lost(&self) -> u64;
}

impl<T: Timed> Told for Receiver<T> {
    type Record = T;

    fn receive(&mut self) -> Option<T> {
        self.receive()
    }

    fn take_lost(&self) -> u64 {
        self.take_lost()
    }
}

impl Told for PacketReceiver {
    type Record = WatchedPacket;

    fn receive(&mut self) -> Option<WatchedPacket> {
        self.receive()
    }

    fn take_lost(&self) -> u64 {
        self.take_lost()
    }
}

/// A record of a shard, its number, and when that was by the host's clock.
struct Kept<T> {
    number: u64,
    shard: u16,
    at: SystemTime,
    record: T,
}

/// The records of all workers.
pub struct Journal<R: Told> {
    /// Records that are kept for clients, at most.
    room: usize,
    /// When records were, by the host's clock.
    time: HostTime,
    /// What workers tell, while somebody listens.
    receivers: Vec<R>,
    /// The last records, oldest first. Where numbers are missing, some were lost.
    kept: VecDeque<Kept<R::Record>>,
    /// What these have in bytes.
    kept_bytes: usize,
    /// The number of the next record.
    next: u64,
    /// When records were last asked for.
    asked: Option<Instant>,
}

/// Records from a number on, as lines or whatever is made of them.
#[derive(Debug, PartialEq, Eq)]
pub struct JournalPage<L = String> {
    /// The lines.
    pub lines: Vec<L>,
    /// How many records between the first that was asked for and the next one are lost.
    pub lost: u64,
    /// The number of the next record.
    pub next: u64,
}

impl<R: Told> Journal<R> {
    /// With room for so many records.
    pub const fn new(room: usize, time: HostTime) -> Self {
        Self { room, time, receivers: Vec::new(), kept: VecDeque::new(), kept_bytes: 0, next: 0, asked: None }
    }

    /// Whether anybody listens.
    pub const fn listens(&self) -> bool {
        !self.receivers.is_empty()
    }

    /// Whether somebody has asked within the last second.
    pub fn is_read(&self) -> bool {
        self.asked.is_some_and(|asked| asked.elapsed() < Duration::from_secs(1))
    }

    /// Somebody listens to this from now on, and to nothing that was told before.
    pub fn listen(&mut self, receivers: Vec<R>) {
        self.receivers = receivers;
        self.drop_oldest(usize::MAX);
    }

    /// The records from a number on of which there are lines, as many as an answer has room for; without a number none, from when on there
    /// are some.
    pub fn page<L, I: IntoIterator<Item = L>>(
        &mut self,
        from: Option<u64>,
        line: impl FnMut(u16, &R::Record, SystemTime) -> I,
    ) -> JournalPage<L> {
        self.asked = Some(Instant::now());
        self.fetch();
        self.page_from(from.unwrap_or(self.next), line)
    }

    fn page_from<L, I: IntoIterator<Item = L>>(
        &self,
        from: u64,
        mut line: impl FnMut(u16, &R::Record, SystemTime) -> I,
    ) -> JournalPage<L> {
        let from = from.min(self.next);
        let (mut expected, mut lost, mut lines, mut bytes) = (from, 0, Vec::new(), 0);
        let begin = self.kept.partition_point(|kept| kept.number < from);
        for Kept { number, shard, at, record } in self.kept.iter().skip(begin) {
            if lines.len() >= PER_ANSWER || bytes > BYTES_PER_ANSWER {
                return JournalPage { lines, lost, next: expected };
            }
            lost += number - expected;
            expected = number + 1;
            let before = lines.len();
            lines.extend(line(*shard, record, *at));
            bytes += if lines.len() > before { record.bytes() } else { 0 };
        }
        lost += self.next - expected;
        JournalPage { lines, lost, next: self.next }
    }

    /// Stops listening if nobody has asked for long; says whether it has, so that workers are told so.
    pub fn end_unasked(&mut self) -> bool {
        let is_over = self.asked.is_some_and(|asked| asked.elapsed() > PATIENCE);
        if is_over {
            *self = Self { next: self.next, ..Self::new(self.room, self.time.clone()) };
        }
        is_over
    }

    /// What was told so far can be shown no more: it is lost.
    pub fn forget(&mut self) {
        self.fetch();
        self.drop_oldest(usize::MAX);
    }

    /// Takes over what workers have told, in the order in which it happened.
    fn fetch(&mut self) {
        let (mut told, mut lost) = (Vec::new(), 0);
        for (shard, receiver) in (0..).zip(&mut self.receivers) {
            // What comes meanwhile is for the next time.
            let records = std::iter::from_fn(|| receiver.receive()).take(self.room);
            told.extend(records.map(|record| (shard, record)));
            lost += receiver.take_lost();
        }
        told.sort_by_key(|(_, record)| record.at());
        self.time.follow();
        for (shard, record) in told {
            let at = self.time.at(record.at());
            self.kept_bytes += record.bytes();
            self.kept.push_back(Kept { number: self.next, shard, at, record });
            self.next += 1;
        }
        self.next += lost;
        self.drop_oldest(self.kept.len().saturating_sub(self.room));
        while self.kept_bytes > KEPT_BYTES {
            self.drop_oldest(1);
        }
    }

    /// Keeps so many of the oldest records no longer.
    fn drop_oldest(&mut self, count: usize) {
        let count = count.min(self.kept.len());
        self.kept_bytes -= self.kept.drain(..count).map(|kept| kept.record.bytes()).sum::<usize>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::events::{Sender, ring};

    /// A record of nothing but its time.
    impl Timed for Time {
        fn at(&self) -> Time {
            *self
        }
    }

    const ROOM: usize = 1 << 15;

    fn tell(sender: &mut Sender<Time>, ms: u64) {
        sender.send(Time::from_ns(ms * 1_000_000));
    }

    /// How many are shown and lost from a number on, and the next one.
    fn asked(journal: &Journal<Receiver<Time>>, from: u64) -> (usize, u64, u64) {
        let JournalPage { lines, lost, next } = journal.page_from(from, |_, _, _| Some(()));
        (lines.len(), lost, next)
    }

    fn journal(receivers: Vec<Receiver<Time>>) -> Journal<Receiver<Time>> {
        let mut journal = Journal::new(ROOM, HostTime::new(Time::default));
        journal.listen(receivers);
        journal
    }

    #[test]
    fn what_was_lost_is_said_to_each_who_wanted_it() {
        let (mut sender, receiver) = ring(3);
        let mut journal = journal(vec![receiver]);
        (1..=5).for_each(|ms| tell(&mut sender, ms));
        journal.fetch();
        assert_eq!((asked(&journal, 0), asked(&journal, 2)), ((3, 2, 5), (1, 2, 5)));
        tell(&mut sender, 6);
        journal.fetch();
        assert_eq!((asked(&journal, 5), asked(&journal, 0)), ((1, 0, 6), (4, 2, 6)));
        assert_eq!(asked(&journal, 99), (0, 0, 6));
        journal.forget();
        assert_eq!((asked(&journal, 4), asked(&journal, 6)), ((0, 2, 6), (0, 0, 6)));
    }

    /// A record that takes much memory.
    struct Large;

    impl Timed for Large {
        fn at(&self) -> Time {
            Time::default()
        }

        fn bytes(&self) -> usize {
            KEPT_BYTES / 10
        }
    }

    #[test]
    fn what_is_kept_and_answered_is_bounded_in_bytes() {
        let (mut sender, receiver) = ring(ROOM);
        let mut journal = Journal::new(ROOM, HostTime::new(Time::default));
        journal.listen(vec![receiver]);
        (0..15).for_each(|_| sender.send(Large));
        journal.fetch();
        let page = journal.page_from(0, |_, _, _| Some(()));
        assert_eq!((page.lines.len(), page.lost, page.next), (1, 5, 6), "one is enough for an answer");
        assert_eq!(
            journal.page_from(6, |_, _, _| None::<()>),
            JournalPage { lines: vec![], lost: 0, next: 15 }
        );
    }

    #[test]
    fn records_of_all_workers_come_in_their_order_and_in_parts() {
        let (mut one, first) = ring(ROOM);
        let (mut other, second) = ring(ROOM);
        let mut journal = journal(vec![first, second]);
        (0..1000).for_each(|ms| tell(&mut one, 2 * ms));
        (0..1000).for_each(|ms| tell(&mut other, 2 * ms + 1));
        journal.fetch();
        assert!(journal.kept.iter().is_sorted_by_key(|kept| kept.record));
        let (shown, lost, next) = asked(&journal, 0);
        assert_eq!((shown, lost, next, asked(&journal, next)), (PER_ANSWER, 0, 1024, (976, 0, 2000)));
    }
}
