//! What is written is found again, by time and by address; what is missing or damaged is said to be.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sluice_conntrack::Tuple;
use sluice_conntrack::tuple::protocol;

use super::format::{Gap, Item, NewBlock, Why, read_block};
use super::search::{Answer, Question, who_owned};
use super::segment::{self, Part};
use super::writer::{Limits, Writer};
use crate::export::record::{Micros, Translation, What};

const SECOND: Micros = 1_000_000;
const HOUR: Micros = 3600 * SECOND;

/// A day of 2026.
const DAY: Micros = 1_780_000_000 * SECOND;

const LIMITS: Limits = Limits { bytes: 1 << 30, age: Duration::from_secs(30 * 86_400) };

/// A client's connection to a server's port 53, whose source is translated to 203.0.113.10 and this port.
fn sight(what: What, at_us: Micros, began_us: Micros, client: u8, port: u16) -> Item {
    let server = [198, 51, 100, 7].into();
    let original = Tuple::new([10, 0, 0, client].into(), server, protocol::UDP, 4000, 53);
    let reply = Tuple::new(server, [203, 0, 113, 10].into(), protocol::UDP, 53, port);
    Item::Translation(Translation { what, at_us, began_us, original, reply, translated: [true, false] })
}

fn begin(at_us: Micros, client: u8, port: u16) -> Item {
    sight(What::Begin, at_us, at_us, client, port)
}

/// A journal with these, each written when it happened.
fn journal(directory: &Path, items: &[Item]) -> Writer {
    let mut writer = Writer::open(directory, LIMITS, DAY).unwrap();
    write(&mut writer, items);
    writer
}

fn write(writer: &mut Writer, items: &[Item]) {
    for item in items {
        writer.write(*item, item.at_us());
        writer.flush(item.at_us());
    }
}

fn ask(directory: &Path, port: u16, at_us: Micros) -> Answer {
    let public = ([203, 0, 113, 10], port).into();
    who_owned(directory, &Question { public, protocol: None, at_us }).unwrap()
}

/// The last byte of each client that had the port, and whether that is sure.
fn clients(answer: &Answer) -> Vec<(u8, bool)> {
    answer.owners.iter().map(|owner| (owner.tuples[0].src as u8, owner.is_sure)).collect()
}

/// Begins another segment: the one before gets its index.
fn turn(writer: &mut Writer, at_us: Micros) {
    write(writer, &[begin(at_us, 99, 9)]);
}

#[test]
fn who_had_a_port_changes_with_the_time() {
    let root = tempfile::tempdir().unwrap();
    let at = |seconds: u64| DAY + seconds * SECOND;
    let end = |seconds, began, client, port| sight(What::End, at(seconds), at(began), client, port);
    let items = [
        begin(at(10), 1, 2000),
        begin(at(11), 2, 2001),
        end(40, 10, 1, 2000),
        begin(at(50), 3, 2000),
        end(90, 50, 3, 2000),
        end(100, 11, 2, 2001),
    ];
    let mut writer = journal(root.path(), &items);
    for is_complete in [false, true] {
        for (seconds, client) in
            [(9, None), (10, Some(1)), (40, Some(1)), (45, None), (50, Some(3)), (91, None)]
        {
            let expected: Vec<_> = client.map(|client| (client, true)).into_iter().collect();
            assert_eq!(clients(&ask(root.path(), 2000, at(seconds))), expected, "{seconds} s, {is_complete}");
        }
        assert_eq!(clients(&ask(root.path(), 2001, at(60))), [(2, true)]);
        assert_eq!(ask(root.path(), 2002, at(60)), Answer::default());
        let indexes = segment::list(root.path()).unwrap().iter().filter(|it| it.index().exists()).count();
        assert_eq!(indexes, usize::from(is_complete));
        turn(&mut writer, at(100) + HOUR);
    }
    let owner = ask(root.path(), 2000, at(60)).owners[0];
    assert_eq!((owner.began_us, owner.ended_us), (at(50), Some(at(90))));
    let of_tcp = Question { public: ([203, 0, 113, 10], 2001).into(), protocol: Some(6), at_us: at(60) };
    assert_eq!(who_owned(root.path(), &of_tcp).unwrap().owners, []);
}

#[test]
fn a_server_is_known_by_the_address_before_translation() {
    let root = tempfile::tempdir().unwrap();
    let [client, public, server] = [[198, 51, 100, 7], [203, 0, 113, 10], [10, 0, 0, 80]].map(Into::into);
    let [v6_client, v6_public, v6_server] =
        ["2001:db8::7", "2001:db8::10", "fd00::80"].map(|it| it.parse().unwrap());
    let forwarded = |client, public, server| {
        let original = Tuple::new(client, public, protocol::TCP, 5000, 443);
        let reply = Tuple::new(server, client, protocol::TCP, 8443, 5000);
        let translated = [false, true];
        let (at_us, began_us) = (DAY + SECOND, DAY + SECOND);
        Item::Translation(Translation { what: What::Begin, at_us, began_us, original, reply, translated })
    };
    let items = [forwarded(client, public, server), forwarded(v6_client, v6_public, v6_server)];
    let _writer = journal(root.path(), &items);
    for (public, server) in [(public, server), (v6_public, v6_server)] {
        let question = Question { public: (public, 443).into(), protocol: None, at_us: DAY + SECOND };
        let answer = who_owned(root.path(), &question).unwrap();
        assert_eq!(answer.owners.iter().map(|owner| owner.tuples[1].source()).collect::<Vec<_>>(), [server]);
    }
}

#[test]
fn a_connection_of_days_is_found_by_its_last_roll_call() {
    let root = tempfile::tempdir().unwrap();
    let mut writer = journal(root.path(), &[begin(DAY, 1, 2000)]);
    for hour in 1..30 {
        write(&mut writer, &[sight(What::Alive, DAY + hour * HOUR, DAY, 1, 2000)]);
    }
    let answer = ask(root.path(), 2000, DAY + 20 * HOUR + HOUR / 2);
    assert_eq!((clients(&answer), answer.owners[0].began_us), (vec![(1, true)], DAY));
    assert_eq!(answer.gaps, []);
}

#[test]
fn what_a_gap_hides_may_have_been() {
    let root = tempfile::tempdir().unwrap();
    let at = |seconds: u64| DAY + seconds * SECOND;
    let writer = journal(root.path(), &[begin(at(10), 1, 2000), begin(at(10), 2, 2001)]);
    drop(writer);
    let now_us = at(100);
    let mut writer = Writer::open(root.path(), LIMITS, now_us).unwrap();
    // One has gone on meanwhile.
    write(&mut writer, &[sight(What::Alive, at(101), at(10), 2, 2001), begin(at(130), 5, 2002)]);
    let stopped = Gap { why: Why::Stopped, from_us: at(10), to_us: now_us, lost: 0 };
    for (port, seconds, expected) in [(2000, 50, (1, false)), (2001, 50, (2, true)), (2000, 120, (1, false))]
    {
        let answer = ask(root.path(), port, at(seconds));
        assert_eq!((clients(&answer), answer.gaps), (vec![expected], vec![stopped]), "{port} {seconds}");
    }
    assert_eq!(clients(&ask(root.path(), 2000, at(10))), [(1, true)], "before the gap it was there");
    // Behind its last record the journal knows nothing, and in front of its first neither.
    let ends = ask(root.path(), 2002, at(200));
    let open_end = Gap { why: Why::Stopped, from_us: at(130), to_us: at(200), lost: 0 };
    assert_eq!((clients(&ends), ends.gaps[1]), (vec![(5, false)], open_end));
    assert_eq!(ask(root.path(), 2000, DAY - HOUR).gaps.len(), 1);
    // Losses are told with their number.
    let lost = Gap { why: Why::Lost, from_us: at(201), to_us: at(202), lost: 70_000 };
    write(&mut writer, &[Item::Gap(lost), begin(at(300), 6, 2003)]);
    assert!(ask(root.path(), 2000, at(201)).gaps.contains(&lost));
}

#[test]
fn a_torn_tail_is_cut_off_and_the_journal_goes_on_behind_it() {
    let root = tempfile::tempdir().unwrap();
    let writer = journal(root.path(), &[begin(DAY + 1, 1, 2000), begin(DAY + 2, 2, 2001)]);
    assert!(Writer::open(root.path(), LIMITS, DAY).unwrap_err().to_string().contains("another daemon"));
    drop(writer);
    let [segment] = &segment::list(root.path()).unwrap()[..] else { panic!() };
    let whole = fs::read(&segment.path).unwrap();
    for cut in [1, 30, 40] {
        let torn = &whole[..whole.len() - cut];
        fs::write(&segment.path, torn).unwrap();
        let answer = ask(root.path(), 2000, DAY + 1);
        assert_eq!((clients(&answer), answer.damage), (vec![(1, true)], vec![]));
    }
    let mut writer = Writer::open(root.path(), LIMITS, DAY + SECOND).unwrap();
    write(&mut writer, &[begin(DAY + 2 * SECOND, 3, 2002)]);
    assert_eq!(segment::list(root.path()).unwrap().len(), 2);
    assert!(whole.starts_with(&fs::read(&segment.path).unwrap()) && segment.index().exists());
    assert_eq!(clients(&ask(root.path(), 2000, DAY + 1)), [(1, true)]);
    assert_eq!(clients(&ask(root.path(), 2001, DAY + 3 * SECOND)), [], "the last block was torn");
    assert_eq!(clients(&ask(root.path(), 2002, DAY + 2 * SECOND)), [(3, true)]);
}

#[test]
fn the_oldest_segment_goes_where_there_is_too_much_or_it_is_too_old() {
    let root = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 4 << 20, age: Duration::from_secs(10 * 3600) };
    let mut writer = Writer::open(root.path(), limits, DAY).unwrap();
    for number in 0..200_000 {
        let now_us = DAY + number * 1000;
        writer.write(begin(now_us, 1, number as u16), now_us);
        if number % 1000 == 0 {
            writer.flush(now_us);
        }
    }
    let all = |root: &Path| segment::list(root).unwrap();
    let bytes: u64 = all(root.path()).iter().map(|segment| segment.bytes()).sum();
    assert!(bytes <= 5 << 20 && bytes > 2 << 20, "{bytes}");
    let now_us = DAY + 200 * SECOND;
    writer.flush(now_us);
    let totals = writer.totals();
    assert!(totals.bytes <= 4 << 20 && totals.oldest_us > DAY && totals.lost == 0, "{totals:?}");
    assert_eq!(totals.written, 200_000);
    assert!(matches!(ask(root.path(), 7, DAY).gaps[..], [Gap { from_us: 0, .. }, ..]), "it is gone");
    for hour in 1..=12 {
        write(&mut writer, &[begin(DAY + hour * HOUR, 1, 1)]);
    }
    let old = all(root.path()).iter().filter(|segment| segment.start_us < DAY + HOUR).count();
    assert_eq!(old, 1, "what is in it may be younger than it");
    writer.close(DAY + 13 * HOUR);
    assert!(all(root.path()).iter().all(|segment| segment.index().exists()));
}

#[test]
fn what_the_disk_does_not_take_is_told_when_it_does_again() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("journal");
    let mut writer = journal(&directory, &[begin(DAY + 1, 1, 2000)]);
    // The disk is away when the next segment is to begin.
    let away = root.path().join("away");
    fs::rename(&directory, &away).unwrap();
    let late_us = DAY + 2 * HOUR;
    write(&mut writer, &[begin(late_us, 2, 2001), begin(late_us + 1, 3, 2002)]);
    fs::rename(&away, &directory).unwrap();
    write(&mut writer, &[begin(late_us + SECOND, 4, 2003)]);
    assert_eq!((writer.totals().lost, writer.totals().written), (2, 3), "with the gap");
    let gap = Gap { why: Why::Lost, from_us: late_us, to_us: late_us + SECOND, lost: 2 };
    assert_eq!(ask(&directory, 2001, late_us).gaps, [gap]);
    assert_eq!(clients(&ask(&directory, 2003, late_us + SECOND)), [(4, true)]);
}

#[test]
fn blocks_are_read_as_they_were_written() {
    let mut block = NewBlock::default();
    let gap = Item::Gap(Gap { why: Why::Lost, from_us: DAY, to_us: DAY + 5, lost: 3 });
    let items = [begin(DAY, 1, 1), sight(What::End, DAY + 5 * SECOND, DAY, 1, 1), gap];
    // What is earlier than a block's first record belongs into another.
    assert_eq!(items.map(|item| block.push(&item)), [true, true, true]);
    assert!(!block.push(&begin(DAY - 1, 1, 1)) && !block.push(&begin(DAY + 2 * HOUR, 1, 1)));
    let bytes = block.seal(DAY);
    let read = read_block(&bytes).unwrap();
    assert_eq!((&read.items[..], read.base_us, read.last_us), (&items[..], DAY, DAY + 5 * SECOND));
    assert_eq!(bytes.len(), 32 + 2 * 36 + 32, "as the head of the file says");
    let empty = read_block(&block.seal(DAY)).unwrap();
    assert_eq!((empty.items.len(), empty.base_us, empty.last_us), (0, DAY, DAY));
}

/// Whatever bytes become, reading ends, and what does not fit its checksum is damage.
#[test]
fn damage_is_reported_wherever_it_is() {
    let root = tempfile::tempdir().unwrap();
    let items: Vec<Item> = (0..40).map(|n| begin(DAY + n * SECOND, n as u8, 2000 + n as u16)).collect();
    let mut writer = journal(root.path(), &items);
    turn(&mut writer, DAY + 2 * HOUR);
    let segment = segment::list(root.path()).unwrap().swap_remove(0);
    let [file, index] = [&segment.path, &segment.index()].map(|path| fs::read(path).unwrap());
    let mut random = ChaCha8Rng::seed_from_u64(7);
    for round in 0..400 {
        let mut damaged = file.clone();
        match round % 4 {
            0 => damaged[random.random_range(0..file.len())] ^= 1 << random.random_range(0..8),
            1 => {
                // Less than a block: of a whole one nobody could tell.
                let at = random.random_range(1..60);
                drop(damaged.drain(at..at + random.random_range(1..30)));
            }
            2 => {
                let at = random.random_range(0..file.len());
                damaged[at..].iter_mut().take(100).for_each(|byte| *byte = random.random());
            }
            _ => random.fill_bytes(&mut damaged),
        }
        if damaged == file {
            continue;
        }
        let parts: Vec<_> = segment::parts(&damaged).collect();
        assert!(parts.iter().any(|(_, part)| matches!(part, Part::Damage(_))), "{round}");
        // By the index, and without one; the index damaged, too.
        fs::write(&segment.path, &damaged).unwrap();
        ask(root.path(), 2000 + round as u16 % 40, DAY + 20 * SECOND);
        fs::remove_file(segment.index()).unwrap();
        let answer = ask(root.path(), 2000, DAY + 40 * SECOND);
        assert!(
            !answer.damage.is_empty() && answer.gaps.iter().any(|gap| gap.why == Why::Damaged),
            "{round}"
        );
        let mut damaged = index.clone();
        damaged[random.random_range(0..index.len())] ^= 1 << random.random_range(0..8);
        fs::write(segment.index(), &damaged).unwrap();
        fs::write(&segment.path, &file).unwrap();
        assert_eq!(clients(&ask(root.path(), 2003, DAY + 20 * SECOND)), [(3, true)], "without its index");
    }
    // What the index leads to, and is damaged.
    fs::write(segment.index(), &index).unwrap();
    let mut damaged = file.clone();
    damaged.iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(&segment.path, &damaged).unwrap();
    let answer = ask(root.path(), 2003, DAY + 20 * SECOND);
    assert_eq!(
        (answer.owners.len(), answer.damage[0].offset, answer.gaps[0].why),
        (0, 32 + 3 * 68, Why::Damaged)
    );
}

/// How long a search takes: `cargo test -p sluice --lib ten_million -- --ignored --nocapture`.
#[test]
#[ignore = "writes 700 MB, and takes a minute"]
fn ten_million_events_are_searched() {
    let root = tempfile::tempdir().unwrap();
    let started = std::time::Instant::now();
    let limits = Limits { bytes: 100 << 30, ..LIMITS };
    let mut writer = Writer::open(root.path(), limits, DAY).unwrap();
    // 1000 connections a second, each of 10 s, on ten addresses.
    let tuples = |number: u64| {
        let server = [198, 51, 100, number as u8].into();
        let client = [10, (number >> 16) as u8, (number >> 8) as u8, number as u8].into();
        let original = Tuple::new(client, server, protocol::UDP, 4000, 53);
        let (address, port) = (number % 10, 1024 + number / 10 % 60_000);
        (original, Tuple::new(server, [203, 0, 113, address as u8].into(), protocol::UDP, 53, port as u16))
    };
    for number in 0..5_010_000_u64 {
        let at_us = DAY + number * 1000;
        let mut put = |what, began_us, number| {
            let (original, reply) = tuples(number);
            let translated = [true, false];
            let seen = Translation { what, at_us, began_us, original, reply, translated };
            writer.write(Item::Translation(seen), at_us);
        };
        put(What::Begin, at_us, number);
        if let Some(ended) = number.checked_sub(10_000) {
            put(What::End, at_us - 10 * SECOND, ended);
        }
        if number % 1000 == 0 {
            writer.flush(at_us);
        }
    }
    let totals = writer.totals();
    eprintln!("{totals:?} within {:?}", started.elapsed());
    for number in [5_000_000_u64, 2_500_000, 1000] {
        let started = std::time::Instant::now();
        let (original, reply) = tuples(number);
        let public = (reply.destination(), reply.reply_port()).into();
        let at_us = DAY + number * 1000 + 5 * SECOND;
        let answer = who_owned(root.path(), &Question { public, protocol: None, at_us }).unwrap();
        eprintln!("{public}: {:?}", started.elapsed());
        assert_eq!(answer.owners.iter().map(|it| it.tuples[0]).collect::<Vec<_>>(), [original]);
    }
}
