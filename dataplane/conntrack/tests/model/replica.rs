//! A box of two shards tells another of its connections, under every order of events that shuttle tries: entries of the stream get lost,
//! bulks come in between, ends overtake what other shards tell, and the other box becomes active in the end.
//!
//! At no time has the other box a tuple twice, and when nothing more happens, two bulks bring it to what the first one has: at the end of the
//! first, none of what it has is stale.

use super::*;
use shuttle::sync::mpsc::RecvError;
use sluice_conntrack::entry::Status;
use sluice_conntrack::exchange::Message;
use sluice_conntrack::groups::Role;
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::replica::{
    EntryKind, Followed, Follower, Header, Installed, Installing, Origin, Record, Replicate, Teller, decode,
    encode,
};
use sluice_conntrack::{EntryUpdate, NewEntry};
use std::collections::{BTreeMap, BTreeSet};

const SHARDS: u16 = 2;

/// What happens to the connections of the first box, in all.
const CHANGES: usize = 12;

/// Clients, and ports that the box has for them: few, so that they want the same.
const CLIENTS: u8 = 3;
const PORTS: u16 = 3;

/// What comes for a shard.
enum Parcel {
    Message(ShardId, Message),
    Change(Change),
    Page,
    Install(Record),
    BulkBegin,
    BulkEnd,
    Stop,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
enum Change {
    Begin { client: u8, port: u16 },
    Mark { client: u8, mark: u32 },
    End { client: u8 },
}

impl Change {
    fn draw() -> Self {
        let mut random = thread_rng();
        let client = random.gen_range(1..=CLIENTS);
        match random.gen_range(0..4) {
            0 | 1 => Self::Begin { client, port: random.gen_range(5000..5000 + PORTS) },
            2 => Self::Mark { client, mark: random.gen_range(0..9) },
            _ => Self::End { client },
        }
    }

    const fn client(self) -> u8 {
        match self {
            Self::Begin { client, .. } | Self::Mark { client, .. } | Self::End { client } => client,
        }
    }
}

/// The original tuple of a client's connection.
fn original(client: u8) -> Tuple {
    Tuple::new([10, 0, 0, client].into(), [198, 51, 100, 9].into(), 17, 4000, SERVICE)
}

/// The connection of a client that is known outside by a port.
fn connection(client: u8, port: u16) -> NewEntry {
    let outside = Tuple::new(SHARED.into(), [198, 51, 100, 9].into(), 17, port, SERVICE);
    NewEntry {
        original: original(client),
        reply: outside.invert(),
        state: 0,
        status: Status::SEEN_REPLY.union(Status::ASSURED),
        timeout_ms: 300_000,
        mark: 0,
        tags: [0; 2],
    }
}

/// What comes for the writer of the stream.
enum Told {
    Inline(Vec<Record>),
    Page(Vec<Record>),
    Want,
    Stop,
}

/// What the first box tells of.
const GROUP: GroupId = GroupId(0);

/// A shard, and how it speaks with the other one.
struct Node {
    shard: Shard,
    parcels: Receiver<Parcel>,
    other: Sender<Parcel>,
    stream: Sender<Told>,
}

impl Node {
    fn run(mut self) -> Self {
        while let Ok(parcel) = self.parcels.recv() {
            if matches!(parcel, Parcel::Stop) {
                break;
            }
            self.take(parcel);
            if thread_rng().gen_bool(0.5) {
                self.tell();
            }
        }
        self.tell();
        self
    }

    fn take(&mut self, parcel: Parcel) {
        match parcel {
            Parcel::Message(from, message) => drop(self.shard.receive(from, message)),
            Parcel::Change(change) => self.change(change),
            Parcel::Page => {
                self.tell();
                // When all is over, nobody writes any more.
                let _ = self.stream.send(Told::Page(self.page()));
            }
            Parcel::Install(record) => {
                let installing = Installing { record, origin: Origin::Peer(GROUP), is_delegated: false };
                let done = self.shard.install(&installing);
                assert!(!matches!(done, Ok(Installed::Delegated(_))) || matches!(record, Record::End(_)));
            }
            Parcel::BulkBegin => self.shard.begin_bulk(GROUP),
            Parcel::BulkEnd => {
                self.shard.end_bulk(GROUP);
                while !self.shard.expire(Instant::default(), u32::MAX) {}
            }
            Parcel::Stop => {}
        }
        self.flush();
        self.shard.check_invariants().unwrap();
    }

    fn change(&mut self, change: Change) {
        let id = self.shard.get(&original(change.client())).map(|(id, _)| id);
        match (change, id) {
            (Change::Begin { client, port }, _) => drop(self.shard.insert_entry(&connection(client, port))),
            (Change::Mark { mark, .. }, Some(id)) => {
                let update = EntryUpdate { mark: Some((mark, u32::MAX)), timeout_ms: None };
                self.shard.update_entry(id, &update);
            }
            (Change::End { .. }, Some(id)) => drop(self.shard.delete_entry(id)),
            (_, None) => {}
        }
    }

    fn flush(&mut self) -> bool {
        let own = self.shard.steering().own();
        let mut any = false;
        while let Some(message) = self.shard.next_message(ShardId(1 - own.0)) {
            self.other.send(Parcel::Message(own, message)).unwrap();
            any = true;
        }
        any
    }

    fn tell(&mut self) {
        let records: Vec<_> = std::iter::from_fn(|| self.shard.export()).collect();
        if !records.is_empty() {
            let _ = self.stream.send(Told::Inline(records));
        }
    }

    /// All connections of the shard.
    fn page(&self) -> Vec<Record> {
        let mut records = vec![];
        assert_eq!(self.shard.export_page(0, u32::MAX, |record| records.push(record)), None);
        records
    }
}

/// Writes the stream, of which entries get lost, and has all told where that is wanted.
fn write(told: &Receiver<Told>, shards: &[Sender<Parcel>], stream: &Sender<Option<Vec<u8>>>) {
    let (mut sequence, mut pages, mut wants) = (0, 0, false);
    let mut send = |kind, records: &[Record]| {
        sequence += 1;
        let mut entry = vec![];
        encode(&Header { term: 1, sequence, sent_ns: 0, kind, role: None }, records, &mut entry);
        if thread_rng().gen_bool(0.9) {
            stream.send(Some(entry)).unwrap();
        }
    };
    loop {
        match told.recv() {
            Ok(Told::Inline(records)) => send(EntryKind::Inline, &records),
            Ok(Told::Page(records)) => {
                send(EntryKind::Bulk, &records);
                pages -= 1;
                if pages == 0 {
                    send(EntryKind::BulkEnd, &[]);
                }
            }
            Ok(Told::Want) => wants = true,
            Ok(Told::Stop) | Err(RecvError) => break,
        }
        if wants && pages == 0 {
            (wants, pages) = (false, shards.len());
            send(EntryKind::BulkBegin, &[]);
            shards.iter().for_each(|shard| shard.send(Parcel::Page).unwrap());
        }
    }
    stream.send(None).unwrap();
}

/// Reads the stream, and gives each record to the shard that it is for. Whoever has missed something of a bulk takes no end of it.
fn read(stream: &Receiver<Option<Vec<u8>>>, shards: &[Sender<Parcel>], wants: &Sender<Told>) {
    let steering = Steering::new(ShardId(0), SHARDS).unwrap();
    let (mut follower, mut in_bulk) = (Follower::default(), false);
    while let Ok(Some(entry)) = stream.recv() {
        let (header, records, _) = decode(&entry).unwrap();
        match follower.follow(&header) {
            Followed::Next => {}
            Followed::Gap => {
                in_bulk = false;
                let _ = wants.send(Told::Want);
            }
            Followed::Old => panic!("{header:?} came before"),
        }
        match header.kind {
            EntryKind::BulkBegin => {
                in_bulk = true;
                shards.iter().for_each(|shard| shard.send(Parcel::BulkBegin).unwrap());
            }
            EntryKind::BulkEnd if in_bulk => {
                in_bulk = false;
                shards.iter().for_each(|shard| shard.send(Parcel::BulkEnd).unwrap());
            }
            _ => {}
        }
        for record in records.map(Result::unwrap) {
            let owner = steering.owner(&record.tuples()[0]);
            shards[usize::from(owner.0)].send(Parcel::Install(record)).unwrap();
        }
    }
}

/// A box, each shard of which has a thread, and how these are reached.
type Parts = (Vec<Sender<Parcel>>, Vec<Node>);

fn make_box(stream: &Sender<Told>, tells: bool) -> Parts {
    let claims = Arc::new(Claims::new(SHARDS, ENTRIES).unwrap());
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..SHARDS).map(|_| channel()).unzip();
    let node = |(own, parcels): (u16, Receiver<Parcel>)| {
        let settings = Settings::of(Preset::Linux, ENTRIES * u32::from(SHARDS));
        let capacity = Capacity { entries: ENTRIES, seed: SEED, pages: sluice_memory::Pages::Ordinary };
        let shard = Shard::new(capacity, configuration(settings, accept_all()), Instant::default()).unwrap();
        let shard = shard.with_steering(Steering::new(ShardId(own), SHARDS).unwrap()).unwrap();
        let mut shard = shard.with_claims(Arc::clone(&claims)).unwrap();
        shard.set_quota(GROUP, ENTRIES / 2);
        if tells {
            shard.tell_by(Some(Box::new(Teller::new(Replicate::Assured, ENTRIES).unwrap())));
        }
        let other = senders[usize::from(1 - own)].clone();
        Node { shard, parcels, other, stream: stream.clone() }
    };
    let nodes = (0..).zip(receivers).map(node).collect();
    (senders, nodes)
}

/// Delivers what shards still have to say to each other.
fn settle(nodes: &mut [Node]) {
    loop {
        let mut any = false;
        for node in &mut *nodes {
            while let Ok(parcel) = node.parcels.try_recv() {
                node.take(parcel);
                any = true;
            }
            any |= node.flush();
        }
        if !any {
            return;
        }
    }
}

/// All connections of a box by their original tuples, and what is to be the same of each in another.
fn connections(nodes: &[Node]) -> BTreeMap<Tuple, (Tuple, u32)> {
    let mut all = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for node in nodes {
        node.shard.list(0, u32::MAX, |_, entry| {
            assert!(!entry.status.contains(Status::PENDING));
            assert!(taken.insert(entry.original) & taken.insert(entry.reply), "a tuple is taken twice");
            all.insert(entry.original, (entry.reply, entry.mark));
        });
    }
    all
}

#[test]
fn another_box_comes_to_have_what_the_first_one_has() {
    check(|| {
        let (told, to_write) = channel();
        let (stream, to_read) = channel();
        let (first, first_nodes) = make_box(&told, true);
        let (second, second_nodes) = make_box(&told, false);
        let run = |nodes: Vec<Node>| -> Vec<_> {
            nodes.into_iter().map(|node| thread::spawn(move || node.run())).collect()
        };
        let (active, standby) = (run(first_nodes), run(second_nodes));
        let (shards, written) = (first.clone(), stream);
        let writer = thread::spawn(move || write(&to_write, &shards, &written));
        let (shards, wants) = (second.clone(), told.clone());
        let reader = thread::spawn(move || read(&to_read, &shards, &wants));

        let steering = Steering::new(ShardId(0), SHARDS).unwrap();
        for _ in 0..CHANGES {
            let change = Change::draw();
            let owner = steering.owner(&original(change.client()));
            first[usize::from(owner.0)].send(Parcel::Change(change)).unwrap();
        }
        let join = |senders: &[Sender<Parcel>], threads: Vec<thread::JoinHandle<Node>>| -> Vec<Node> {
            senders.iter().for_each(|shard| shard.send(Parcel::Stop).unwrap());
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        };
        let mut active = join(&first, active);
        told.send(Told::Stop).unwrap();
        writer.join().unwrap();
        reader.join().unwrap();
        let mut standby = join(&second, standby);
        settle(&mut active);
        settle(&mut standby);
        connections(&standby);

        for _ in 0..2 {
            standby.iter_mut().for_each(|node| node.take(Parcel::BulkBegin));
            for record in active.iter().flat_map(Node::page) {
                let owner = usize::from(steering.owner(&record.tuples()[0]).0);
                standby[owner].take(Parcel::Install(record));
            }
            settle(&mut standby);
            standby.iter_mut().for_each(|node| node.take(Parcel::BulkEnd));
            settle(&mut standby);
        }
        standby.iter_mut().for_each(|node| node.shard.set_role(GROUP, Role::Active));
        assert_eq!(connections(&standby), connections(&active));
        let signposts = |nodes: &[Node]| nodes.iter().map(|node| node.shard.signposts()).sum::<u32>();
        assert_eq!(signposts(&standby), signposts(&active));
    });
}
