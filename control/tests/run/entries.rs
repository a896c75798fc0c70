//! What an operator does to the entries of a running daemon, in conntrack(8)'s words.

use std::fs;

use crate::box_under_test::{BoxUnderTest, FLOWS, text};

const FLOW: &str = "-p udp -s 10.0.0.1 -d 10.0.0.2 --sport 7 --dport 53";

#[test]
fn an_operator_acts_on_connections() {
    let daemon = BoxUnderTest::start();
    gets(&daemon);
    updates(&daemon);
    deletes(&daemon);
    creates(&daemon);
    restores(&daemon);
    flushes(&daemon);
}

/// The exit status of a command, what it prints and what it says.
fn ran(daemon: &BoxUnderTest, arguments: &str) -> (i32, String, String) {
    let output = daemon.ask(&format!("conntrack {arguments}"));
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn said(what: &str) -> String {
    format!("sluice v{}: {what}\n", env!("CARGO_PKG_VERSION"))
}

fn count(daemon: &BoxUnderTest, filter: &str) -> usize {
    daemon.tell(&format!("conntrack -C {filter}")).trim().parse().unwrap()
}

fn gets(daemon: &BoxUnderTest) {
    let (code, line, shown) = ran(daemon, &format!("-G {FLOW}"));
    assert_eq!((code, shown), (0, said("1 flow entries have been shown.")));
    assert!(line.contains("src=10.0.0.1 dst=10.0.0.2 sport=7 dport=53 packets=1"), "{line}");
    let reply = "-p udp -r 10.0.0.2 -q 10.0.0.1 --reply-port-src 53 --reply-port-dst 7";
    assert_eq!(ran(daemon, &format!("-G {reply}")).1.lines().count(), 1);
    let (code, line, error) = ran(daemon, &format!("-G {FLOW} -w 7"));
    assert_eq!((code, line), (1, String::new()));
    assert!(error.contains("such conntrack doesn't exist"), "{error}");
    assert_eq!(ran(daemon, "-G -p udp -s 10.0.0.1").0, 2, "a part of a tuple names nothing");
}

fn updates(daemon: &BoxUnderTest) {
    let (code, lines, updated) = ran(daemon, "-U -p udp --sport 7 -m 0xf0");
    assert_eq!((code, lines.lines().count()), (0, 1));
    assert!(lines.contains("mark=240") && updated == said("1 flow entries have been updated."), "{lines}");
    assert!(ran(daemon, &format!("-U {FLOW} -m 0x1/0xf")).1.contains("mark=241"));
    assert!(ran(daemon, &format!("-U {FLOW} -t 1h")).1.starts_with("udp      17 3600 src="));
    assert_eq!(count(daemon, "-m 0x1/0xf"), 1);
    let none = ran(daemon, "-U -p udp --sport 1 -s 192.0.2.1 -m 3");
    assert_eq!(none, (1, String::new(), said("0 flow entries have been updated.")));
    assert_eq!(ran(daemon, &format!("-U {FLOW} -t 0")).0, 1);
    assert_eq!(ran(daemon, "-U -p udp").0, 2);
}

fn deletes(daemon: &BoxUnderTest) {
    let before = count(daemon, "");
    let (code, line, deleted) = ran(daemon, &format!("-D conntrack {FLOW} -o extended"));
    assert_eq!((code, deleted), (0, said("1 flow entries have been deleted.")));
    assert!(line.starts_with("ipv4     2 udp      17 ") && line.contains("sport=7 dport=53"), "{line}");
    let none = ran(daemon, &format!("-D {FLOW}"));
    assert_eq!(none, (1, String::new(), said("0 flow entries have been deleted.")));
    // More than one page of the table.
    let (code, lines, _) = ran(daemon, "-D -p udp -s 10.255.255.1 --mask-src 255.0.0.255");
    assert_eq!((code, lines.lines().count()), (0, before - 2), "all but the one that is gone, and TCP's");
    assert_eq!((count(daemon, ""), count(daemon, "-p tcp")), (1, 1));
}

fn creates(daemon: &BoxUnderTest) {
    let created = said("1 flow entries have been created.");
    assert_eq!(ran(daemon, &format!("-I {FLOW} -t 60 -m 3")), (0, String::new(), created.clone()));
    let (code, _, error) = ran(daemon, &format!("-I {FLOW} -t 60"));
    assert!(code == 1 && error.contains("such conntrack exists, try -U to update"), "{error}");
    let ends = "-s 10.0.0.1 -d 10.0.0.2 -t 1h";
    let ssh = "-p tcp --sport 9 --dport 22 --state ESTABLISHED -u SEEN_REPLY,ASSURED -n 203.0.113.1:5000";
    let echo = "-p icmp --icmp-type 8 --icmp-id 77";
    for new in [ssh, echo] {
        assert_eq!(ran(daemon, &format!("-I {ends} {new}")).2, created, "{new}");
    }
    let line = daemon.tell("conntrack -L --src-nat");
    let tail = " ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=9 dport=22 packets=0 bytes=0 \
                src=10.0.0.2 dst=203.0.113.1 sport=22 dport=5000 packets=0 bytes=0 [ASSURED] mark=0 use=1\n";
    assert!(line.starts_with("tcp      6 3") && line.ends_with(tail), "{line}");
    assert_eq!(count(daemon, "--icmp-type 8 --icmp-code 0 --icmp-id 77"), 1);
    for (new, code, what) in [
        ("-p tcp --sport 9 --dport 22", 2, "`--state`"),
        ("-p udp --sport 9 --dport 22 --state ESTABLISHED", 2, "no states"),
        ("-p icmp --icmp-type 0", 1, "no packet has tuples"),
        ("-p udp --sport 9 --dport 22 -r 2001:db8::1", 2, "one family"),
        ("-p udp --sport 9 --dport 22 -u EXPECTED", 2, "-I expect"),
    ] {
        let (status, _, error) = ran(daemon, &format!("-I {ends} {new}"));
        assert!(status == code && error.contains(what), "{new}: {error}");
    }
    assert_eq!(count(daemon, ""), 4);
}

/// What was saved of a table is the same again in one that has lost it.
fn restores(daemon: &BoxUnderTest) {
    let saved = || -> Vec<String> {
        let listed = daemon.tell("conntrack -L -o save");
        let mut lines: Vec<_> =
            listed.lines().map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" ")).collect();
        lines.sort();
        lines
    };
    let (before, file) = (saved(), tempfile::NamedTempFile::new().unwrap());
    fs::write(&file, daemon.tell("conntrack -L -o save")).unwrap();
    assert_eq!(ran(daemon, "-F").0, 0);
    let load = format!("-R {}", file.path().display());
    let created = |entries| said(&format!("{entries} flow entries have been created."));
    assert_eq!(ran(daemon, &load), (0, String::new(), created(before.len())));
    assert_eq!(saved(), before);
    assert_eq!(ran(daemon, &load), (0, String::new(), created(0)), "-A is content with those that are there");
    fs::write(
        &file,
        format!(
            "# comment\n\n-I {FLOW} -t 60\n-D {FLOW}\n-A {FLOW} -t 60 --state NONE\n-A {FLOW} -w 9 -t 60\n"
        ),
    )
    .unwrap();
    let (code, _, told) = ran(daemon, &load);
    assert_eq!(code, 1);
    let lines: Vec<_> =
        told.lines().map(|line| line.trim_start_matches(&*file.path().to_string_lossy())).collect();
    assert!(lines[0].starts_with(":3: such conntrack exists"), "{told}");
    assert!(
        lines[1].starts_with(":4: ") && lines[2].starts_with(":5: connections of udp have no states"),
        "{told}"
    );
    assert_eq!(format!("{}\n", lines[3]), created(1), "what follows is made all the same");
    assert!(lines[4].contains("3 lines of ") && count(daemon, "-w 9") == 1, "{told}");
    assert_eq!(ran(daemon, "-D -w 9").0, 0);
    assert!(ran(daemon, "-R /nowhere").2.contains("/nowhere: No such file"));
}

fn flushes(daemon: &BoxUnderTest) {
    assert!(count(daemon, "") < usize::from(FLOWS));
    let emptied = said("connection tracking table has been emptied.");
    assert_eq!(ran(daemon, "-F"), (0, String::new(), emptied));
    assert_eq!(count(daemon, ""), 0);
}
