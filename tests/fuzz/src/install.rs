//! What a peer may say: a stream is read, whatever it is, and what can be read of it is installed in a box of one or two shards, among
//! packets, bulks and the end of time.

use crate::orders::Orders;
use crate::shard::{END_OF_TIME, ROOM, Verified, check, configuration, packets, port};
use sluice_conntrack::groups::Role;
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::replica::{
    EntryKind, Follower, Header, Installed, Installing, Origin, Record, Replicate, Teller, decode, encode,
};
use sluice_conntrack::{Capacity, Instant, Shard, ShardId, Steering};
use std::time::Duration;

/// Orders: below, a stream entry comes, or a record by itself.
const RECORD: u8 = 0x40;
const PACKET: u8 = 0x80;
const WAIT: u8 = 0xc0;
const BULK: u8 = 0xd0;
const ACTIVE: u8 = 0xe0;

/// What peers tell of.
const GROUP: GroupId = GroupId(0);

/// Bytes that a record by itself has at most.
const RECORD_BYTES: usize = 200;

struct Middlebox {
    shards: Vec<Shard>,
    now: Instant,
    follower: Follower,
}

/// Carries out all orders, and looks at every slot of the shards after each.
pub fn play(bytes: &[u8]) {
    let mut orders = Orders(bytes);
    let choice = orders.byte();
    let mut it = Middlebox::new(choice, 1 + u16::from(orders.byte() & 1));
    while let Some(order) = orders.next() {
        match order {
            0..RECORD => {
                if let Ok((_, _, rest)) = decode(orders.0) {
                    let length = orders.0.len() - rest.len();
                    let (entry, rest) = orders.0.split_at(length);
                    orders.0 = rest;
                    it.read(entry);
                }
            }
            RECORD..PACKET => {
                let (slot, rest) = orders.0.split_at(orders.0.len().min(RECORD_BYTES));
                orders.0 = rest;
                if let Ok(record) = Record::read(slot) {
                    it.install(record, if order & 1 == 0 { Origin::Peer(GROUP) } else { Origin::Own });
                }
            }
            PACKET..WAIT => {
                let mut frames = [Verified(port(order), orders.frame())];
                if it.shards.len() == 1 {
                    packets(&mut it.shards[0], it.now, &mut frames);
                }
            }
            WAIT..BULK => {
                let wait = Duration::from_millis(1 << (order % 16 * 2));
                it.now = it.now.after(wait).min(END_OF_TIME);
                let now = it.now;
                for shard in &mut it.shards {
                    shard.expire(now, u32::from(order));
                }
            }
            BULK..ACTIVE if order & 1 == 0 => it.shards.iter_mut().for_each(|shard| shard.begin_bulk(GROUP)),
            BULK..ACTIVE => it.shards.iter_mut().for_each(|shard| shard.end_bulk(GROUP)),
            ACTIVE.. => it.shards.iter_mut().for_each(|shard| {
                shard.set_role(GROUP, if order & 1 == 0 { Role::Active } else { Role::Standby })
            }),
        }
        it.exchange();
        it.tell();
        it.shards.iter().for_each(check);
    }
    let end = it.now.after(Duration::from_secs(30 * 24 * 3600));
    it.shards.iter_mut().for_each(|shard| assert!(shard.expire(end, u32::MAX)));
    it.exchange();
    for shard in &it.shards {
        assert_eq!((shard.len(), shard.foreign()), (0, 0), "an entry without a timer");
        assert_eq!(shard.signposts(), 0, "a signpost without an entry");
        check(shard);
    }
}

impl Middlebox {
    fn new(choice: u8, shards: u16) -> Self {
        let now = Instant::from_ns(0);
        let shard = |own| {
            let capacity =
                Capacity { entries: ROOM, seed: [1, 2, 3, 4], pages: sluice_memory::Pages::Ordinary };
            let steering = Steering::new(ShardId(own), shards).expect("few shards");
            let shard = Shard::new(capacity, configuration(choice), now).expect("memory");
            let mut shard = shard.with_steering(steering).expect("memory");
            shard.set_quota(GROUP, ROOM / 4);
            shard.tell_by(Some(Box::new(Teller::new(Replicate::All, ROOM).expect("memory"))));
            shard
        };
        Self { shards: (0..shards).map(shard).collect(), now, follower: Follower::default() }
    }

    /// A stream entry comes from a peer.
    fn read(&mut self, entry: &[u8]) {
        let Ok((header, records, _)) = decode(entry) else { return };
        self.follower.follow(&header);
        match header.kind {
            EntryKind::BulkBegin => self.shards.iter_mut().for_each(|shard| shard.begin_bulk(GROUP)),
            EntryKind::BulkEnd => self.shards.iter_mut().for_each(|shard| shard.end_bulk(GROUP)),
            _ => {}
        }
        records.flatten().for_each(|record| self.install(record, Origin::Peer(GROUP)));
    }

    fn install(&mut self, record: Record, origin: Origin) {
        let [original, _] = record.tuples();
        let mut shard = self.shards[0].steering().owner(&original);
        let mut installing = Installing { record, origin, is_delegated: false };
        while let Ok(Installed::Delegated(home)) = self.shards[usize::from(shard.0)].install(&installing) {
            assert!(!installing.is_delegated || !matches!(record, Record::State(_)), "to one other shard");
            if std::mem::replace(&mut installing.is_delegated, true) {
                break;
            }
            shard = home;
        }
    }

    /// Shards hear what others have to say.
    fn exchange(&mut self) {
        while self.shards.iter().any(|shard| !shard.is_silent()) {
            for (from, to) in [(0, 1), (1, 0)] {
                if self.shards.len() > 1 {
                    while let Some(message) = self.shards[from].next_message(ShardId(to as u16)) {
                        self.shards[to].receive(ShardId(from as u16), message);
                    }
                }
            }
        }
    }

    /// What the box tells of its connections is read as it was written.
    fn tell(&mut self) {
        let header = Header { term: 1, sequence: 1, sent_ns: 1, kind: EntryKind::Inline, role: None };
        for shard in &mut self.shards {
            let told: Vec<Record> = std::iter::from_fn(|| shard.export()).collect();
            let mut entry = Vec::new();
            encode(&header, &told, &mut entry);
            let (_, records, _) = decode(&entry).expect("it was written here");
            let read: Vec<_> = records.map(|record| record.expect("it is a connection's")).collect();
            assert_eq!(read, told);
        }
    }
}
