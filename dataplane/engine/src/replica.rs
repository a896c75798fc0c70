//! A worker and the other boxes: what it tells of its connections, and what it is told of theirs ([`sluice_conntrack::replica`]), over
//! rings between it and threads of the control core.
//!
//! A worker tells a bounded number of records in each round, and what finds no room in the ring waits in the shard: nobody waits for
//! another. What it is told it does in the order in which it comes.

use rtrb::{Consumer, Producer, RingBuffer};
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::replica::{Installed, Installing, NotInstalled, Record, Teller};
use sluice_conntrack::{Shard, ShardId};

use crate::report::PAGE;

/// Records, and orders, that wait in a ring, at most.
pub const WAITING: usize = 4096;

/// Records that a worker tells of what happens in one round, and orders that it does, at most: some ten microseconds of work.
const BUDGET: usize = 32;

/// What a worker tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a worker allocates nothing")]
pub enum Told {
    /// Of a connection of this group.
    Record(GroupId, Record),
    /// All connections of a group were told of that were asked for by this number.
    EndOfTable(u32),
    /// All was told that had happened when it was asked for by this number.
    EndOfRest(u32),
}

/// What a worker is asked to tell besides what happens. The answer bears the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// All connections of a group; [`Told::EndOfTable`] comes behind the last one. What was asked for before comes to no end then.
    Table(GroupId, u32),
    /// That all is told; [`Told::EndOfRest`].
    Rest(u32),
}

/// What a worker is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a worker allocates nothing")]
pub enum Order {
    /// Do what a record says.
    Install(Installing),
    /// A peer begins to tell of all connections of a group.
    BeginBulk(GroupId),
    /// It has come to the end.
    EndBulk(GroupId),
    /// Say that all before this is done.
    Report,
}

/// What comes back of orders. Of most nothing does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a worker allocates nothing")]
pub enum Returned {
    /// That shard is to do it.
    Delegated(ShardId, Installing),
    /// It was not done.
    NotInstalled(NotInstalled),
    /// All orders before [`Order::Report`] are done, and this many connections of peers have ended so far because another shard has an
    /// entry of their reply tuple ([`Shard::foreign_refused`]).
    Done(u64),
}

/// The connections of a group that are being told.
#[derive(Clone, Copy, Debug)]
struct Table {
    group: GroupId,
    /// By which number they were asked for.
    number: u32,
    /// The slot to go on from.
    cursor: u32,
}

/// The worker's end.
#[derive(Debug)]
pub struct Replica {
    told: Producer<Told>,
    asked: Consumer<Ask>,
    orders: Consumer<Order>,
    returned: Producer<Returned>,
    /// The table that is being told.
    table: Option<Table>,
    /// The number of a table that has come to its end, but for what was noted by then ([`Teller::noted`]).
    table_end: Option<(u32, u64)>,
    /// By which number it was asked to say that all is told.
    rest: Option<u32>,
}

/// What a worker tells, where it comes out.
#[derive(Debug)]
pub struct Outgoing {
    told: Consumer<Told>,
    asked: Producer<Ask>,
}

/// What a worker is told, where it goes in.
#[derive(Debug)]
pub struct Incoming {
    orders: Producer<Order>,
    returned: Consumer<Returned>,
}

/// The rings of a worker.
pub fn rings() -> (Replica, Outgoing, Incoming) {
    let (told, outgoing) = RingBuffer::new(WAITING);
    let (ask, asked) = RingBuffer::new(1);
    let (give, orders) = RingBuffer::new(WAITING);
    let (returned, back) = RingBuffer::new(WAITING);
    (
        Replica { told, asked, orders, returned, table: None, table_end: None, rest: None },
        Outgoing { told: outgoing, asked: ask },
        Incoming { orders: give, returned: back },
    )
}

impl Replica {
    /// One round: tells what has happened and a page of the table, if that is asked for, and does what it is told. Says whether it has
    /// done any of that: other shards may be to hear of it.
    pub fn exchange(&mut self, shard: &mut Shard) -> bool {
        match self.asked.pop() {
            Ok(Ask::Table(group, number)) => {
                (self.table, self.table_end) = (Some(Table { group, number, cursor: 0 }), None);
            }
            Ok(Ask::Rest(number)) => self.rest = Some(number),
            Err(_) => {}
        }
        self.tell(shard);
        self.tell_table(shard);
        self.end_table(shard);
        self.obey(shard)
    }

    fn tell(&mut self, shard: &mut Shard) {
        for _ in 0..BUDGET {
            if self.told.is_full() {
                return;
            }
            let Some(record) = shard.export() else {
                if let Some(number) = self.rest.take() {
                    self.push(Told::EndOfRest(number));
                }
                return;
            };
            // What is of no group no other box goes on with.
            if let Some(group) = shard.told_in(&record) {
                self.push(Told::Record(group, record));
            }
        }
    }

    fn tell_table(&mut self, shard: &mut Shard) {
        // A page, and what says that it was the last.
        let Some(table) = self.table.filter(|_| self.told.slots() > PAGE) else { return };
        let Table { group, number, cursor } = table;
        let mut page = arrayvec::ArrayVec::<_, PAGE>::new();
        let next = shard.tell_page(group, cursor, PAGE as u32, |connection| page.push(connection));
        page.into_iter().for_each(|connection| self.push(Told::Record(group, Record::State(connection))));
        self.table = next.map(|cursor| Table { cursor, ..table });
        if next.is_none() {
            self.table_end = Some((number, shard.teller().map_or(0, Teller::noted)));
        }
    }

    /// Says that a table was told when all is that was left to be exported.
    fn end_table(&mut self, shard: &Shard) {
        let has_told = |noted| shard.teller().is_none_or(|teller| teller.has_told(noted));
        if let Some((number, noted)) = self.table_end
            && has_told(noted)
            && !self.told.is_full()
        {
            self.table_end = None;
            self.push(Told::EndOfTable(number));
        }
    }

    /// There is room: this is the only producer.
    fn push(&mut self, told: Told) {
        let pushed = self.told.push(told);
        debug_assert!(pushed.is_ok());
    }

    fn obey(&mut self, shard: &mut Shard) -> bool {
        for done in 0..BUDGET {
            if self.returned.is_full() {
                return done > 0;
            }
            let Ok(order) = self.orders.pop() else { return done > 0 };
            if let Some(returned) = carry_out(shard, order) {
                let pushed = self.returned.push(returned);
                debug_assert!(pushed.is_ok());
            }
        }
        true
    }
}

fn carry_out(shard: &mut Shard, order: Order) -> Option<Returned> {
    match order {
        Order::Install(it) => match shard.install(&it) {
            Ok(Installed::Here) => None,
            Ok(Installed::Delegated(home)) => {
                Some(Returned::Delegated(home, Installing { is_delegated: true, ..it }))
            }
            Err(why) => Some(Returned::NotInstalled(why)),
        },
        Order::BeginBulk(group) => {
            shard.begin_bulk(group);
            None
        }
        Order::EndBulk(group) => {
            shard.end_bulk(group);
            None
        }
        Order::Report => Some(Returned::Done(shard.foreign_refused())),
    }
}

impl Outgoing {
    /// What the worker tells next.
    pub fn receive(&mut self) -> Option<Told> {
        self.told.pop().ok()
    }

    /// Asks it for something. False where it has not heard yet what it was asked for before.
    pub fn ask(&mut self, ask: Ask) -> bool {
        self.asked.push(ask).is_ok()
    }
}

impl Incoming {
    /// Tells the worker to do something. False where there is no room.
    pub fn send(&mut self, order: Order) -> bool {
        self.orders.push(order).is_ok()
    }

    /// What comes back next.
    pub fn receive(&mut self) -> Option<Returned> {
        self.returned.pop().ok()
    }

    /// Whether the worker has ended, and all that it returned is known.
    pub fn is_over(&self) -> bool {
        self.returned.is_abandoned() && self.returned.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::entry::Status;
    use sluice_conntrack::policy::Policy;
    use sluice_conntrack::replica::{Origin, Replicate};
    use sluice_conntrack::settings::{Preset, Settings};
    use sluice_conntrack::{Capacity, Configuration, Forwarding, Instant, NewEntry, Tuple};
    use sluice_memory::Pages;

    const ENTRIES: u32 = 1 << 14;

    fn shard() -> Shard {
        let capacity = Capacity { entries: ENTRIES, seed: [1, 2, 3, 4], pages: Pages::Ordinary };
        let settings = Settings::of(Preset::Linux, ENTRIES);
        let configuration = Configuration::new(settings, Policy::default(), Forwarding::wire());
        let mut shard = Shard::new(capacity, configuration, Instant::default()).unwrap();
        shard.tell_by(Some(Box::new(Teller::new(Replicate::Assured, ENTRIES).unwrap())));
        shard.set_quota(GroupId(0), ENTRIES / 2);
        shard
    }

    /// A shard with so many connections that are assured.
    fn full(count: u16) -> Shard {
        let mut shard = shard();
        for number in 0..count {
            let [high, low] = number.to_be_bytes();
            let original = Tuple::new([10, 0, high, low].into(), [198, 51, 100, 2].into(), 17, 4000, 53);
            let status = Status::SEEN_REPLY.union(Status::ASSURED);
            let (reply, timeout_ms) = (original.invert(), 3_600_000);
            let new = NewEntry { original, reply, state: 0, status, timeout_ms, mark: 0, tags: [0; 2] };
            shard.insert_entry(&new).unwrap().unwrap();
        }
        shard
    }

    fn rounds(replica: &mut Replica, shard: &mut Shard, count: usize) {
        for _ in 0..count {
            replica.exchange(shard);
        }
    }

    #[test]
    fn what_finds_no_room_waits_in_the_shard() {
        let mut shard = full(5000);
        let (mut replica, mut outgoing, _incoming) = rings();
        replica.exchange(&mut shard);
        assert_eq!(shard.teller().unwrap().dirty(), 5000 - BUDGET as u32, "a bounded number in a round");
        rounds(&mut replica, &mut shard, 1000);
        assert_eq!(shard.teller().unwrap().dirty(), 5000 - WAITING as u32);
        shard.delete(|_| true);
        let told = std::iter::from_fn(|| outgoing.receive()).count();
        rounds(&mut replica, &mut shard, 1000);
        let ended = std::iter::from_fn(|| outgoing.receive()).collect::<Vec<_>>();
        assert_eq!((told, ended.len()), (WAITING, WAITING), "nobody hears of the rest, which nobody knew");
        assert!(ended.iter().all(|told| matches!(told, Told::Record(_, Record::End(_)))));
    }

    #[test]
    fn a_table_is_told_from_its_begin_to_its_end() {
        let mut shard = full(5000);
        let (mut replica, mut outgoing, _incoming) = rings();
        let hear = |replica: &mut Replica, shard: &mut Shard, outgoing: &mut Outgoing| {
            let mut heard = vec![];
            for _ in 0..1000 {
                replica.exchange(shard);
                heard.extend(std::iter::from_fn(|| outgoing.receive()));
            }
            heard
        };
        hear(&mut replica, &mut shard, &mut outgoing);
        assert!(outgoing.ask(Ask::Table(GroupId(0), 7)));
        assert!(!outgoing.ask(Ask::Table(GroupId(0), 8)), "one at a time");
        let heard = hear(&mut replica, &mut shard, &mut outgoing);
        assert_eq!((heard.len(), heard.last()), (5001, Some(&Told::EndOfTable(7))));
        // One that is asked for meanwhile begins anew, and the first comes to no end.
        assert!(outgoing.ask(Ask::Table(GroupId(0), 8)));
        replica.exchange(&mut shard);
        assert!(outgoing.ask(Ask::Table(GroupId(0), 9)));
        let heard = hear(&mut replica, &mut shard, &mut outgoing);
        let ends: Vec<_> = heard.iter().filter(|told| matches!(told, Told::EndOfTable(_))).collect();
        assert_eq!((heard.len(), ends), (5001 + PAGE, vec![&Told::EndOfTable(9)]));
    }

    #[test]
    fn who_asks_hears_when_all_is_told() {
        let mut shard = full(5000);
        let (mut replica, mut outgoing, _incoming) = rings();
        assert!(outgoing.ask(Ask::Rest(3)));
        let mut heard = vec![];
        while heard.last() != Some(&Told::EndOfRest(3)) {
            replica.exchange(&mut shard);
            heard.extend(std::iter::from_fn(|| outgoing.receive()));
        }
        assert_eq!(heard.len(), 5001, "behind all that had happened");
        rounds(&mut replica, &mut shard, 10);
        assert_eq!(outgoing.receive(), None, "once");
    }

    #[test]
    fn orders_are_done_in_their_order() {
        let (mut shard, mut standby) = (full(100), shard());
        let (mut replica, mut outgoing, _) = rings();
        rounds(&mut replica, &mut shard, 10);
        let records: Vec<_> = std::iter::from_fn(|| outgoing.receive()).collect();
        let (mut replica, _, mut incoming) = rings();
        let group = GroupId(0);
        let install = |record: &Told| match record {
            Told::Record(_, record) => Order::Install(Installing {
                record: *record,
                origin: Origin::Peer(group),
                is_delegated: false,
            }),
            Told::EndOfTable(_) | Told::EndOfRest(_) => panic!("nobody has asked"),
        };
        let first = records.iter().map(install);
        let again = records[..40].iter().map(install);
        let orders =
            first.chain([Order::BeginBulk(group)]).chain(again).chain([Order::EndBulk(group), Order::Report]);
        orders.for_each(|order| assert!(incoming.send(order)));
        assert!(replica.exchange(&mut standby));
        assert_eq!((standby.len(), incoming.receive()), (BUDGET as u32, None));
        rounds(&mut replica, &mut standby, 10);
        assert_eq!((standby.len(), incoming.receive()), (100, Some(Returned::Done(0))));
        while !standby.expire(standby.now(), 1000) {}
        assert_eq!(standby.len(), 40, "what the bulk has told of");
        assert!(!replica.exchange(&mut standby), "there is nothing to be done");
        drop(replica);
        assert!(incoming.is_over());
    }
}
