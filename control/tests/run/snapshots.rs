//! `sluice conntrack save` and `load`: the table as records, in a file.

use std::fs;
use std::path::Path;

use sluice_conntrack::Tuple;
use sluice_conntrack::ids::EntryId;
use sluice_conntrack::replica::{Connection, EntryKind, Header, Record, RecordStatus, encode};

use crate::box_under_test::{BoxUnderTest, FLOWS, POLICY, sluice, text, write_config, write_frames};

const MASTER: &str = "-p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 9 --dport 21";

/// What there is, but for what only time or packets change.
fn table(daemon: &BoxUnderTest) -> Vec<String> {
    let listed = daemon.tell("conntrack -L -o json");
    let mut lines: Vec<String> = listed.lines().map(timeless).collect();
    lines.extend(daemon.tell("conntrack -L expect -o json").lines().map(timeless));
    lines.sort();
    lines
}

fn timeless(line: &str) -> String {
    let mut entry: serde_json::Value = serde_json::from_str(line).unwrap();
    forget(&mut entry);
    entry.to_string()
}

fn forget(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Object(fields) => {
            fields.retain(|name, _| {
                !["timeout", "timeout_s", "packets", "bytes", "id", "shard", "use"].contains(&&**name)
            });
            fields.values_mut().for_each(forget);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(forget),
        _ => {}
    }
}

/// The exit status of a load, and what it says of this file.
fn loaded(daemon: &BoxUnderTest, file: &Path) -> (Option<i32>, Vec<String>) {
    let output = daemon.ask(&format!("conntrack load {}", file.display()));
    let said = text(&output.stderr).replace(&*file.to_string_lossy(), "FILE");
    (output.status.code(), said.lines().map(str::to_owned).collect())
}

fn done(count: usize, what: &str) -> String {
    format!("sluice v{}: {count} flow entries have been {what}.", env!("CARGO_PKG_VERSION"))
}

/// One that no packet comes to.
fn silent() -> BoxUnderTest {
    let directory = tempfile::tempdir().unwrap();
    write_config(directory.path(), POLICY);
    write_frames(&directory.path().join("in.pcap"), std::iter::empty());
    BoxUnderTest::spawn(directory, sluice())
}

#[test]
fn what_was_saved_is_the_same_again() {
    let daemon = BoxUnderTest::start();
    let ends = "-s 10.0.0.1 -d 10.0.0.2";
    for new in [
        &*format!("-I {MASTER} -t 1h --state ESTABLISHED -u SEEN_REPLY,ASSURED -n 203.0.113.1:5000 -m 7"),
        &format!("-I {ends} -p icmp --icmp-type 8 --icmp-id 77 -t 1h -w 7"),
        "-I -p udp -s 2001:db8::1 -d 2001:db8::2 --sport 9 --dport 53 -t 1h -u SEEN_REPLY",
        &format!("-I expect {MASTER} -t 1h --tuple-src 10.0.0.2 --tuple-dst 10.0.0.1 --tuple-port-dst 5001"),
    ] {
        daemon.tell(&format!("conntrack {new}"));
    }
    let (before, file, count) = (table(&daemon), daemon.path("saved"), usize::from(FLOWS) + 5);
    assert_eq!(before.len(), count + 1);
    let save = format!("conntrack save {}", file.display());
    assert_eq!(text(&daemon.ask(&save).stderr), done(count, "saved") + "\n");
    daemon.tell("conntrack -F");
    assert_eq!(loaded(&daemon, &file), (Some(0), vec![done(count, "loaded")]));
    assert_eq!(table(&daemon), before);

    // Again: all is there already, which is said of the first, and of all in sum.
    let (code, said) = loaded(&daemon, &file);
    let why = "one of its tuples belongs to another connection";
    assert_eq!((code, said.len(), &*said[0]), (Some(1), 22, &*format!("FILE: record 1: {why}")));
    assert_eq!(said[20], done(0, "loaded"));
    let sum = format!("{count} because {why}");
    assert!(said[21].contains(&sum) && said[21].contains("1 because its connection was refused"), "{said:?}");
    assert_eq!(table(&daemon), before);

    // Another daemon goes on by a pipe, once the first one has been replaced.
    let other = silent();
    let pipe = format!(
        "{0} conntrack save --socket {1} | {0} conntrack load --socket {2}",
        env!("CARGO_BIN_EXE_sluice"),
        daemon.socket().display(),
        other.socket().display()
    );
    let piped = std::process::Command::new("sh").args(["-c", &pipe]).output().unwrap();
    assert!(piped.status.success(), "{}", text(&piped.stderr));
    assert_eq!(table(&other), before);
    damaged_files(&other, &fs::read(&file).unwrap(), count);
}

/// Of what is damaged all is taken that is sound, and the rest is told.
fn damaged_files(daemon: &BoxUnderTest, whole: &[u8], count: usize) {
    let file = daemon.path("damaged");
    let load = |bytes: &[u8]| {
        daemon.tell("conntrack -F");
        fs::write(&file, bytes).unwrap();
        loaded(daemon, &file)
    };
    let (code, said) = load(&whole[..whole.len() - 10]);
    assert_eq!((code, said.len(), &*said[1]), (Some(1), 3, &*done(count, "loaded")), "{said:?}");
    assert!(said[0].ends_with("it cannot be read: a stream entry is cut off"), "{said:?}");
    assert_eq!(said[2], "sluice: not all of FILE could be read");

    let mut flipped = whole.to_vec();
    flipped[1000] ^= 1;
    let (code, said) = load(&flipped);
    assert_eq!((code, &*said[0]), (Some(1), "FILE: records 1 to 512 are damaged: their CRC is wrong"));
    assert!(table(daemon).len() >= count - 512, "{said:?}");

    let later = [&[2], &whole[1..]].concat();
    let swapped: Vec<u8> =
        whole.as_chunks::<4>().0.iter().flat_map(|word| word.iter().rev().copied()).collect();
    for (bytes, why) in [
        (&later[..], "version 2 of stream entries is not known"),
        (&swapped, "version 0 of stream entries is not known"),
        (b"-A -t 60 -s 10.0.0.1", "a stream entry is cut off"),
        (&[0xff; 100_000], "version 255 of stream entries is not known"),
        (b"", "a stream entry is cut off"),
    ] {
        let (code, said) = load(bytes);
        let begins = format!("FILE: it is no snapshot of connections, or one of a later version: {why}");
        assert_eq!((code, &said[..2]), (Some(1), &[begins, done(0, "loaded")][..]));
    }

    // Records that contradict themselves, among sound ones.
    let tuple = Tuple::new([10, 0, 0, 7].into(), [10, 0, 0, 8].into(), 17, 1, 2);
    let sound = Connection {
        original: tuple,
        reply: tuple.invert(),
        state: 0,
        status: RecordStatus::SEEN_REPLY,
        remaining_ms: 60_000,
        age_s: 1,
        mark: 0,
        tracker: [0; 8],
        helper: None,
        entry: EntryId::default(),
    };
    let odd = |change: fn(&mut Connection)| {
        let mut odd = sound;
        change(&mut odd);
        Record::State(odd)
    };
    let records = [
        odd(|it| it.status = RecordStatus::SRC_NAT),
        odd(|it| it.state = 9),
        Record::State(sound),
        odd(|it| it.remaining_ms = u32::MAX),
        odd(|it| it.reply.src = 7),
        Record::End([tuple, tuple.invert()]),
    ];
    let (mut bytes, since) = (vec![], std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap());
    let header = |kind, sequence| {
        let sent_ns = since.as_nanos() as u64;
        Header { term: 1, sequence, sent_ns, kind, role: None }
    };
    encode(&header(EntryKind::BulkBegin, 0), &[], &mut bytes);
    encode(&header(EntryKind::BulkEnd, 1), &records, &mut bytes);
    let (code, said) = load(&bytes);
    assert_eq!(code, Some(1));
    for (line, begin) in said.iter().zip([
        "FILE: record 1: the status 0x4 of a record cannot be",
        "FILE: record 2: the protocol of a record has no state 9 like this",
        "FILE: record 4: no connection has 4294967295 ms to its end",
        "FILE: record 5: ",
        "FILE: record 6: it says that a connection has ended",
    ]) {
        assert!(line.starts_with(begin), "{line}");
    }
    assert_eq!((&said[5], table(daemon).len()), (&done(1, "loaded"), 1));
}

#[test]
fn a_page_of_records_that_makes_no_sense_is_refused() {
    let daemon = silent();
    for (records, why) in [("%%%", "Invalid symbol"), ("", "cut off"), ("AAAA", "cut off")] {
        let said = daemon.say(format!("{{\"request\":\"load\",\"records\":\"{records}\"}}\n").as_bytes());
        assert!(said.contains("\"error\"") && said.contains(why), "{said}");
    }
    let refused = daemon.ask("conntrack save /nowhere/file");
    assert!(text(&refused.stderr).contains("/nowhere/file: No such file"), "{}", text(&refused.stderr));
    daemon.tell("conntrack save /dev/null");
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}
