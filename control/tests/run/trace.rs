//! What becomes of packets, as it happens.

use serde_json::{Value, json};

use crate::box_under_test::{BoxUnderTest, sluice, text, wait_for, write_endless};

/// What is translated, dropped, and neither.
const RULES: &str = "\
policy:
  default: accept
  rules:
    - { name: no-doom, protocol: udp, destination-port: 666, action: drop }
nat: { source: [{ name: out, protocol: udp, source: 10.0.0.1, to: 203.0.113.10 }] }
";

fn start() -> BoxUnderTest {
    let directory = tempfile::tempdir().unwrap();
    write_endless(directory.path(), RULES);
    BoxUnderTest::spawn(directory, sluice())
}

#[test]
fn packets_are_shown_with_what_became_of_them() {
    let daemon = start();
    let traced = |filter: &str| {
        let mut output = None;
        wait_for("the trace before to be over", || {
            let asked = daemon.ask(&format!("trace --count 3 {filter}"));
            asked.status.success().then(|| output = Some(asked)).is_some()
        });
        let output = output.unwrap();
        assert!(text(&output.stderr).starts_with("sluice: 3 packets have been shown, "), "{filter}");
        let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 3, "{filter}");
        lines
    };
    let became = " in inside udp 10.0.0.1:7 -> 10.0.0.2:53: accept NEW by default (box.yaml:10), out outside as 203.0.113.10:7 -> 10.0.0.2:53";
    for line in traced("-p udp -s 10.0.0.0/24 --sport 7") {
        assert!(line.ends_with(became), "{line}");
    }
    // The answer's ends are those of the question, turned round.
    assert!(traced("-d 10.0.0.1 --dport 7").iter().all(|line| line.ends_with(became)));
    let dropped = " in inside udp 10.0.0.1:1 -> 10.0.0.2:666: drop NEW by no-doom (box.yaml:12)";
    assert!(traced("--in inside --drops -p udp --dport 666").iter().all(|line| line.ends_with(dropped)));
    for line in traced("--json --drops") {
        let packet: Value = serde_json::from_str(&line).unwrap();
        let reason = packet["reason"].as_str().unwrap();
        assert!(["truncated", "policy"].contains(&reason), "{packet}");
        assert_eq!((&packet["in"], &packet["worker"]), (&"inside".into(), &0.into()));
    }
    let ask = |port: u16| json!({"request": "trace", "filter": {"dport": port}}).to_string() + "\n";
    let ask_all = (1..=5).map(ask).collect::<String>();
    wait_for("four traces to be in the way of another", || {
        let answers = daemon.say(ask_all.as_bytes());
        answers.lines().filter(|answer| answer.contains("4 others trace or capture packets")).count() == 1
    });
    let refused = daemon.ask("trace --in nowhere");
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("there is no interface `nowhere`"));
}

#[test]
fn what_is_lost_is_counted_and_a_reload_ends_nothing() {
    let daemon = start();
    let asked = |from: u64| -> Value {
        let request = json!({"request": "trace", "filter": {"proto": "udp"}, "from": from});
        serde_json::from_str(&daemon.say(format!("{request}\n").as_bytes())).unwrap()
    };
    let number = |answer: &Value, key: &str| answer[key].as_u64().unwrap();
    let mut first = number(&asked(0), "next");
    let mut is_lost = || {
        // A port that is never silent has more to tell than is kept from one time to the next.
        let answer = asked(first);
        let shown = answer["lines"].as_array().unwrap().len() as u64;
        assert_eq!(number(&answer, "next") - first, shown + number(&answer, "lost"), "each is shown or lost");
        first = number(&answer, "next");
        number(&answer, "lost") > 0 && shown > 0
    };
    wait_for("losses", &mut is_lost);
    assert!(daemon.tell("reload").starts_with("configuration 2 is in force\n"));
    wait_for("packets of the new configuration", &mut is_lost);
}
