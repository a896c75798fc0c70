//! What becomes of connections, as a running daemon tells it, and the layouts that lines have.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::box_under_test::{BoxUnderTest, sluice, text, wait_for};

const FLOW: &str = "-p udp -s 10.0.0.1 -d 10.0.0.2 --sport 7 --dport 53";
const TUPLES: &str = "src=10.0.0.1 dst=10.0.0.2 sport=7 dport=53";
const BACK: &str = "src=10.0.0.2 dst=10.0.0.1 sport=53 dport=7";

#[test]
fn a_daemon_tells_what_becomes_of_connections() {
    let daemon = BoxUnderTest::start();
    layouts(&daemon);
    tells(&daemon);
    watched(&daemon);
    tells_of_expectations(&daemon);
}

fn layouts(daemon: &BoxUnderTest) {
    let line = |format: &str| daemon.tell(&format!("conntrack -L -p udp --sport 7 -o {format}"));
    assert!(
        line("save").starts_with("-A -t ")
            && line("save").trim_end().ends_with(
                "-u UNSET -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p udp --sport 7 --dport 53 \
         --reply-port-src 53 --reply-port-dst 7"
            )
    );
    let (_, id) =
        line("extended,id").trim().split_once(" use=1 id=").map(|(a, b)| (a.len(), b.to_owned())).unwrap();
    assert!(id.parse::<u32>().is_ok() && line("labels,id").starts_with("udp      17 "));
    let xml = line("xml,extended");
    let lines: Vec<&str> = xml.lines().collect();
    let [head, begin, flow, end] = lines[..] else { panic!("{xml}") };
    assert_eq!(
        (head, begin, end),
        ("<?xml version=\"1.0\" encoding=\"utf-8\"?>", "<conntrack>", "</conntrack>")
    );
    assert!(
        flow.starts_with("<flow><meta direction=\"original\">") && flow.contains(&format!("<id>{id}</id>"))
    );
    assert_eq!(daemon.ask("conntrack -L -o save,id").status.code(), Some(2));
}

/// What the daemon says to a request for events.
fn events(daemon: &BoxUnderTest, request: &Value) -> Value {
    serde_json::from_str(&daemon.say(format!("{request}\n").as_bytes())).unwrap()
}

fn tells(daemon: &BoxUnderTest) {
    let begun = events(daemon, &json!({"request": "events"}));
    assert_eq!(begun, json!({"response": "events", "lines": [], "lost": 0, "next": 0}));
    for command in ["-U -m 5", "-D", "-I -t 60"] {
        daemon.tell(&format!("conntrack {command} {FLOW}"));
    }
    let told = events(daemon, &json!({"request": "events", "from": 0}));
    assert_eq!((&told["lost"], &told["next"]), (&json!(0), &json!(3)));
    let lines: Vec<&str> =
        told["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    let [updated, ended, begun] = lines[..] else { panic!("{lines:?}") };
    let words = |line: &str| {
        line.split_whitespace()
            .enumerate()
            .filter(|(n, _)| *n != 3)
            .map(|(_, word)| word.to_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert!(updated.starts_with(" [UPDATE] udp      17 "), "{updated}");
    assert_eq!(words(updated), format!("[UPDATE] udp 17 {TUPLES} [UNREPLIED] {BACK} mark=5"));
    assert_eq!(
        words(ended),
        format!("[DESTROY] udp 17 {TUPLES} packets=1 bytes=28 [UNREPLIED] {BACK} packets=0 bytes=0 mark=5")
    );
    assert_eq!(begun, format!("    [NEW] udp      17 60 {TUPLES} [UNREPLIED] {BACK}"));
    for (filter, shown) in [
        (json!({"kinds": ["NEW", "DESTROY"]}), 2),
        (json!({"kinds": ["ALL"], "entry": {"mark": 5}}), 2),
        (json!({"entry": {"proto": "tcp"}}), 0),
    ] {
        let told = events(daemon, &json!({"request": "events", "from": 0, "filter": filter}));
        assert_eq!(told["lines"].as_array().unwrap().len(), shown, "{filter}");
        assert_eq!(told["next"], 3);
    }
    let told = events(daemon, &json!({"request": "events", "from": 2, "format": "extended,timestamp,id"}));
    let line = told["lines"][0].as_str().unwrap();
    assert!(line.starts_with('[') && line.contains("]\t    [NEW] ipv4     2 udp      17 60 "), "{line}");
}

fn tells_of_expectations(daemon: &BoxUnderTest) {
    let master = "-p tcp -s 10.0.0.1 -d 10.0.0.2 --sport 9 --dport 21";
    let child = "--tuple-src 10.0.0.2 --tuple-dst 10.0.0.1 --tuple-port-dst 5001";
    daemon.tell(&format!("conntrack -I {master} -t 1h --state ESTABLISHED -u SEEN_REPLY,ASSURED"));
    events(daemon, &json!({"request": "expectation-events"}));
    for command in [&*format!("-I expect {master} {child} -t 60"), &format!("-D expect {child}")] {
        daemon.tell(&format!("conntrack {command}"));
    }
    let told = |request: Value| -> Vec<String> {
        let mut whole = json!({"request": "expectation-events", "from": 0});
        whole.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
        let told = events(daemon, &whole);
        assert_eq!((&told["lost"], &told["next"]), (&json!(0), &json!(2)), "{told}");
        told["lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
    };
    let tuples = "proto=6 src=10.0.0.2 dst=10.0.0.1 sport=0 dport=5001 mask-src=255.255.255.255 mask-dst=255.255.255.255 \
                  sport=0 dport=65535 master-src=10.0.0.1 master-dst=10.0.0.2 sport=9 dport=21 class=0";
    let lines = told(json!({}));
    assert_eq!(lines[0], format!("    [NEW] 60 {tuples}"));
    assert!(lines[1].starts_with("[DESTROY] ") && lines[1].ends_with(tuples), "{lines:?}");
    assert_eq!(told(json!({"filter": {"kinds": ["DESTROY"]}})), lines[1..]);
    assert_eq!(told(json!({"filter": {"expectation": {"tuple-port-dst": 7}}})), [""; 0]);
    let json = &told(json!({"format": "json"}))[0];
    assert_eq!(serde_json::from_str::<Value>(json).unwrap()["expectation"]["timeout"], 60);
    let labels = daemon.ask("conntrack -L --label eth");
    assert!(labels.status.code() == Some(2) && text(&labels.stderr).contains("labels are not kept"));
}

/// The command prints them until it is interrupted.
fn watched(daemon: &BoxUnderTest) {
    let [out, said] = ["events", "said"].map(|name| daemon.path(name));
    let mut watch = sluice()
        .args("conntrack -E -e DESTROY --sport 7 --socket".split(' '))
        .arg(daemon.socket())
        .stdout(Stdio::from(File::create(&out).unwrap()))
        .stderr(Stdio::from(File::create(&said).unwrap()))
        .spawn()
        .unwrap();
    // It may not listen yet when the first connections end.
    wait_for("an event to be printed", || {
        daemon.ask(&format!("conntrack -D {FLOW}"));
        daemon.ask(&format!("conntrack -I -t 60 {FLOW}"));
        fs::read_to_string(&out).unwrap().ends_with('\n')
    });
    assert!(Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap().success());
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    let shown = fs::read_to_string(&out).unwrap();
    assert!(shown.lines().all(|line| line.starts_with("[DESTROY] udp      17 ")), "{shown}");
    let said = text(&fs::read(&said).unwrap());
    let expected = format!("{} flow events have been shown.\n", shown.lines().count());
    assert!(said.ends_with(&expected), "{said}");
}
