//! What listens, and what it takes: whatever comes to a listener of the daemon, or from the other end of a link that it has opened, others
//! are served meanwhile, and its descriptors, threads and memory come back (docs/listeners.md).

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::box_under_test::{BoxUnderTest, FLOWS, POLICY, wait_for};

/// Longest wait for an answer while an attack goes on.
const SERVED_WITHIN: Duration = Duration::from_secs(10);

/// What memory may grow by that is not given back: what the allocator keeps of so many threads.
const GROWTH_KIB: u64 = 64 << 10;

/// A listener of the daemon.
struct Listener {
    name: &'static str,
    connect: fn(&BoxUnderTest) -> File,
    /// What is answered at length.
    request: &'static [u8],
    /// Whether somebody who asks is served.
    serves: fn(&BoxUnderTest) -> bool,
}

const LISTENERS: [Listener; 2] = [
    Listener {
        name: "the control socket",
        connect: |daemon| {
            let stream = UnixStream::connect(daemon.socket()).unwrap();
            stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
            stream.set_read_timeout(Some(SERVED_WITHIN)).unwrap();
            File::from(OwnedFd::from(stream))
        },
        request: b"{\"request\":\"entries\"}\n",
        serves: |daemon| daemon.tell("conntrack -C").trim().parse::<u16>().is_ok_and(|count| count > FLOWS),
    },
    Listener {
        name: "the page of metrics",
        connect: to_metrics,
        request: b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
        serves: |daemon| {
            let (mut stream, mut page) = (to_metrics(daemon), vec![]);
            let asked = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
            let _ = stream.read_to_end(&mut page);
            asked.is_ok() && page.starts_with(b"HTTP/1.1 200 OK") && page.ends_with(b"\n")
        },
    },
];

fn to_metrics(daemon: &BoxUnderTest) -> File {
    let stream = TcpStream::connect(("127.0.0.1", daemon.metrics_port())).unwrap();
    stream.set_write_timeout(Some(Duration::from_millis(20))).unwrap();
    stream.set_read_timeout(Some(SERVED_WITHIN)).unwrap();
    File::from(OwnedFd::from(stream))
}

/// What is done to a listener; gives the connections that stay. What it does not take is no error.
type Attack = (&'static str, fn(&Listener, &BoxUnderTest) -> Vec<File>);

const ATTACKS: [Attack; 8] = [
    ("connections that say nothing", |it, daemon| many(300, it, daemon, |_| ())),
    ("connections that are closed at once", |it, daemon| {
        drop(many(1000, it, daemon, |_| ()));
        vec![]
    }),
    ("half a request", |it, daemon| {
        many(100, it, daemon, |stream| drop(stream.write_all(&it.request[..it.request.len() - 3])))
    }),
    ("garbage", |it, daemon| {
        let garbage: Vec<u8> =
            (0..4096_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        many(100, it, daemon, |stream| drop(stream.write_all(&garbage)))
    }),
    ("a request without an end", |it, daemon| {
        many(20, it, daemon, |stream| while stream.write_all(&[b'x'; 4096]).is_ok() {})
    }),
    ("a request that drips in", |it, daemon| {
        let mut all = many(20, it, daemon, |_| ());
        for byte in it.request.iter().take(10) {
            all.iter_mut().for_each(|stream| drop(stream.write_all(&[*byte])));
            thread::sleep(Duration::from_millis(50));
        }
        all
    }),
    ("requests whose answers nobody reads", |it, daemon| {
        // Until the answers have filled the way back, and then the way there.
        many(20, it, daemon, |stream| while stream.write_all(it.request).is_ok() {})
    }),
    ("answers that are not waited for", |it, daemon| {
        many(200, it, daemon, |stream| drop(stream.write_all(it.request)));
        vec![]
    }),
];

/// So many connections, with each of which something is done.
fn many(count: usize, it: &Listener, daemon: &BoxUnderTest, act: impl Fn(&mut File)) -> Vec<File> {
    let one = |_| {
        let mut stream = (it.connect)(daemon);
        act(&mut stream);
        stream
    };
    (0..count).map(one).collect()
}

#[test]
fn whoever_comes_to_a_listener_harms_nobody_else() {
    let daemon = BoxUnderTest::start();
    for listener in &LISTENERS {
        assert!((listener.serves)(&daemon), "{}", listener.name);
    }
    let (descriptors, threads, before_kib) =
        (daemon.descriptors(), daemon.threads().len(), daemon.resident_kib());
    for listener in &LISTENERS {
        for (name, attack) in ATTACKS {
            let connections = attack(listener, &daemon);
            for other in &LISTENERS {
                let since = Instant::now();
                assert!((other.serves)(&daemon), "{}: {name}", listener.name);
                let waited = since.elapsed();
                assert!(waited < SERVED_WITHIN, "{}: {name}: {waited:?}", listener.name);
            }
            wait_for("those beyond the bound to be closed", || daemon.descriptors() <= descriptors + 2 * 17);
            drop(connections);
            wait_for("descriptors and threads to come back", || {
                daemon.descriptors() <= descriptors && daemon.threads().len() <= threads
            });
        }
    }
    let grown_kib = daemon.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < GROWTH_KIB, "it has grown by {grown_kib} KiB");
    let lines = daemon.stderr().lines().count();
    assert!(lines < 40, "the log has {lines} lines");
}

/// What the other end of a link does with each connection.
type HostileEnd = (&'static str, fn(TcpStream));

const HOSTILE_ENDS: [HostileEnd; 5] = [
    ("hangs up", drop),
    ("says and takes nothing", |stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    }),
    ("talks nonsense without an end", |mut stream| while stream.write_all(&[0xa5; 4096]).is_ok() {}),
    ("begins an answer without an end", |mut stream| {
        let _ = stream.write_all(b"$9000000000\r\n");
        while stream.write_all(&[0; 1 << 16]).is_ok() {}
    }),
    ("drips", |mut stream| {
        while stream.write_all(b"+").is_ok() {
            thread::sleep(Duration::from_millis(100));
        }
    }),
];

/// The port of one who does this with each connection. Its threads end with the test.
fn serve(behave: fn(TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        listener.incoming().flatten().for_each(|stream| drop(thread::spawn(move || behave(stream))));
    });
    port
}

#[test]
fn whoever_is_at_the_other_end_of_a_link_harms_nobody_else() {
    for (name, behave) in HOSTILE_ENDS {
        let [port, own, peer] = [(); 3].map(|()| serve(behave));
        let links = format!(
            "export: {{ syslog: [{{to: 'tcp://127.0.0.1:{port}', of: all}}], ipfix: [{{to: 'tcp://127.0.0.1:{port}', flows: all}}] }}\n\
             ha: {{ cluster: c, box: a, engine: {{ url: 'redis://127.0.0.1:{own}' }}, \
             peers: {{ b: {{ url: 'redis://127.0.0.1:{peer}' }} }} }}\n"
        );
        let mut daemon = BoxUnderTest::start_with(tempfile::tempdir().unwrap(), &format!("{POLICY}{links}"));
        let (before_kib, since) = (daemon.resident_kib(), Instant::now());
        let mut grown_kib = 0;
        while since.elapsed() < Duration::from_secs(4) {
            assert!(daemon.ask("conntrack -C").status.success(), "{name}");
            grown_kib = grown_kib.max(daemon.resident_kib().saturating_sub(before_kib));
            thread::sleep(Duration::from_millis(100));
        }
        // Of each of two engines an answer of the largest size, as it came and as it is read.
        assert!(grown_kib < 512 << 10, "{name}: it has grown by {grown_kib} KiB");
        assert!(daemon.descriptors() < 100, "{name}: {} descriptors", daemon.descriptors());
        daemon.signal("TERM");
        let since = Instant::now();
        assert_eq!(daemon.wait().code(), Some(0), "{name}");
        assert!(since.elapsed() < Duration::from_secs(30), "{name}: it took {:?} to end", since.elapsed());
    }
}
