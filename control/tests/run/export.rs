//! What a running daemon tells of connections, and who it tells.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::box_under_test::{BoxUnderTest, FLOWS, sluice, text, wait_for, write_capture, write_config};
use crate::metrics::{scrape, value};

/// Translates all of UDP, and exports to these.
fn config(export: &str) -> String {
    format!(
        "policy: {{ default: accept }}
nat: {{ source: [{{ protocol: udp, to: 203.0.113.10, ports: 2000-5999 }}] }}
export: {{ {export} }}
"
    )
}

/// Starts a daemon in this directory, with its state and its journal there, and waits until it has tracked its capture.
fn start(directory: tempfile::TempDir, export: &str) -> BoxUnderTest {
    write_capture(&directory.path().join("in.pcap"));
    write_config(directory.path(), &config(export));
    let mut command = sluice();
    command.env("STATE_DIRECTORY", directory.path().join("state"));
    let daemon = BoxUnderTest::spawn(directory, command);
    let all = (FLOWS + 3).to_string();
    wait_for("the capture to be tracked", || daemon.tell("conntrack -C").trim() == all);
    daemon
}

/// The port outside of the flow from port 7.
fn public_port(daemon: &BoxUnderTest) -> u64 {
    let line = daemon.tell("conntrack -L -p udp --sport 7 -o json");
    let entry: Value = serde_json::from_str(line.trim()).unwrap();
    entry["reply"]["dport"].as_u64().unwrap()
}

/// What the journal of a directory says without a daemon.
fn ask(directory: &Path, port: u64, time: &str) -> Value {
    let mut command = sluice();
    command.args(["nat", "who-owned", "--json", "--journal"]).arg(directory.join("journal"));
    let Output { status, stdout, stderr } =
        command.args([format!("203.0.113.10:{port}/udp"), format!("@{time}")]).output().unwrap();
    assert!(status.success(), "{}", text(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

#[test]
fn the_journal_knows_who_had_a_port_across_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let journal = format!("journal: {{ directory: {}/journal }}", directory.path().display());
    let daemon = start(directory, &journal);
    let port = public_port(&daemon);
    let flow = "src=10.0.0.1 dst=10.0.0.2 sport=7 dport=53 src=10.0.0.2 dst=203.0.113.10 sport=53";
    let now = format!("nat who-owned 203.0.113.10:{port} @0s");
    wait_for("its begin", || daemon.tell(&now).contains(&format!("{flow} dport={port} [start=")));
    // Who watches events hears of those that are not translated, too.
    let events = |from: Value| -> Value {
        let request = json!({"request": "events", "from": from});
        serde_json::from_str(&daemon.say(format!("{request}\n").as_bytes())).unwrap()
    };
    let next = events(Value::Null)["next"].clone();
    daemon.tell("conntrack -U -m 5 -p tcp");
    daemon.tell("conntrack -D -p tcp");
    wait_for("the events", || events(next.clone())["lines"].as_array().unwrap().len() == 2);

    daemon.tell("conntrack -D -p udp --sport 9");
    wait_for("the counters", || {
        let written = r#"sluice_log_events_total{sink="journal"}"#;
        value(&scrape(&daemon), written).and_then(|it| it.parse().ok()) >= Some(u64::from(FLOWS) + 3)
    });
    let scraped = scrape(&daemon);
    assert_eq!(value(&scraped, r#"sluice_log_events_dropped_total{sink="journal"}"#).as_deref(), Some("0"));
    assert!(value(&scraped, "sluice_journal_bytes").unwrap().parse::<u64>().unwrap() > 36 * u64::from(FLOWS));
    let shown = daemon.tell("export");
    assert!(shown.contains("journal ") && shown.contains("the journal takes 1 MiB"), "{shown}");
    daemon.write_config(&config(""));
    let refused = daemon.ask("reload");
    assert!(text(&refused.stderr).contains("only a restart can change export"), "{}", text(&refused.stderr));

    let directory = end(daemon);
    let begun = ask(directory.path(), port, "0s")["owners"][0]["start"].as_str().unwrap().to_owned();
    let then = ask(directory.path(), port, &begun);
    assert_eq!((&then["owners"][0]["sure"], &then["gaps"]), (&json!(true), &json!([])), "{then}");
    assert_eq!(then["owners"][0]["original"]["sport"], 7);

    // It goes on behind the restart, which is a gap.
    let daemon = start(directory, &journal);
    assert_eq!(public_port(&daemon), port);
    let directory = &daemon.directory;
    let mut found = Value::Null;
    wait_for("the roll call", || {
        found = ask(directory.path(), port, &begun);
        found["owners"][0]["seen"].as_str().unwrap() > found["owners"][0]["start"].as_str().unwrap()
    });
    let last = ask(directory.path(), port, "0s");
    let gap = &last["gaps"][0];
    assert_eq!((&gap["why"], &gap["over"]), (&json!("stopped"), &json!(false)), "{last}");
    let within = ask(directory.path(), port, gap["to"].as_str().unwrap());
    assert_eq!((&within["owners"][0]["sure"], &within["gaps"][0]["over"]), (&json!(true), &json!(true)));
    let before = ask(directory.path(), port, "1h");
    assert_eq!((&before["owners"], &before["gaps"][0]["over"]), (&json!([]), &json!(true)), "{before}");
}

/// Ends a daemon and gives its directory.
fn end(mut daemon: BoxUnderTest) -> tempfile::TempDir {
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    std::mem::replace(&mut daemon.directory, tempfile::tempdir().unwrap())
}
