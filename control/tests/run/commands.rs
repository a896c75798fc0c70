//! The commands that ask a daemon, all of one daemon.

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::box_under_test::{BoxUnderTest, FLOWS, sluice, text};

#[test]
fn a_daemon_shows_what_it_tracks() {
    let daemon = BoxUnderTest::start();
    lists_every_entry_once(&daemon);
    filters(&daemon);
    expectations(&daemon);
    formats(&daemon);
    counters(&daemon);
    ports(&daemon);
    rates(&daemon);
    timeouts(&daemon);
    nonsense(&daemon);
}

fn lists_every_entry_once(daemon: &BoxUnderTest) {
    let all = daemon.ask("conntrack -L");
    let lines: Vec<String> = text(&all.stdout).lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), usize::from(FLOWS) + 2, "a page may neither lose nor repeat an entry");
    assert_eq!(lines.iter().collect::<HashSet<_>>().len(), lines.len());
    let shown =
        format!("sluice v{}: {} flow entries have been shown.\n", env!("CARGO_PKG_VERSION"), lines.len());
    assert_eq!(text(&all.stderr), shown);
    assert_eq!(daemon.tell("conntrack -C"), format!("{}\n", lines.len()));
}

fn filters(daemon: &BoxUnderTest) {
    let count = |filter: &str| daemon.tell(&format!("conntrack -L {filter}")).lines().count();
    let all = usize::from(FLOWS) + 2;
    assert_eq!(count("-p tcp"), 1);
    assert_eq!(count("-p tcp --state SYN_SENT --dport 80"), 1);
    assert_eq!(count("-p tcp --state ESTABLISHED"), 0);
    assert_eq!(count("-p udp --sport 7"), 1);
    assert_eq!((count("-s 10.0.0.0/8"), count("-s 192.0.2.0/24")), (all, 0));
    assert_eq!((count("-r 10.0.0.2 -q 10.0.0.1"), count("-d 10.0.0.1")), (all, 0));
    assert_eq!((count("--reply-port-src 53 --reply-port-dst 7"), count("--reply-port-src 7")), (1, 0));
    assert_eq!(daemon.tell("conntrack -C -p tcp --state syn_sent"), "1\n");
    assert_eq!(daemon.tell("conntrack -C expect"), "0\n");
    assert_eq!(daemon.tell("conntrack -L expect --tuple-dst 10.0.0.0/8"), "");
    assert!(
        text(&daemon.ask("conntrack -F expect").stderr).ends_with("expectation table has been emptied.\n")
    );
    for wrong in ["-L --state ESTABLISH", "-S -p tcp", "-F -p tcp", "-U"] {
        let refused = daemon.ask(&format!("conntrack {wrong}"));
        assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(2), String::new()), "{wrong}");
    }
    assert_eq!((count("-u UNREPLIED"), count("-u assured")), (all, 0));
    assert_eq!((count("-f ipv4 -w 0 -m 0"), count("-f ipv6"), count("-w 3"), count("-m 1")), (all, 0, 0, 0));
}

fn expectations(daemon: &BoxUnderTest) {
    let of = |port: u16| format!("-p udp -s 10.0.0.1 -d 10.0.0.2 --sport {port} --dport 53 -t 1m");
    let child = "--tuple-src 10.0.0.2 --tuple-dst 10.0.0.1 --tuple-port-dst 5001";
    let create = |port| daemon.ask(&format!("conntrack -I expect {} {child}", of(port)));
    assert!(text(&create(7).stderr).ends_with("1 expectations have been created.\n"));
    let line = daemon.tell(&format!("conntrack -G expect -p udp {child}"));
    let tail = " proto=17 src=10.0.0.2 dst=10.0.0.1 sport=0 dport=5001 mask-src=255.255.255.255 \
                mask-dst=255.255.255.255 sport=0 dport=65535 master-src=10.0.0.1 master-dst=10.0.0.2 \
                sport=7 dport=53 class=0\n";
    assert!(line.ends_with(tail), "{line}");
    assert_eq!(daemon.tell("conntrack -L expect --tuple-port-dst 5001").lines().count(), 1);
    for (again, said) in [(8, "is expected already"), (65_535, "master conntrack not found")] {
        let refused = create(again);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(said), "{}", text(&refused.stderr));
    }
    for (wrong, code) in [
        (format!("conntrack -I expect -p udp {child}"), 2),
        (format!("conntrack -G expect -p udp {child} -w 1"), 1),
    ] {
        assert_eq!(daemon.ask(&wrong).status.code(), Some(code), "{wrong}");
    }
    let deleted = daemon.ask("conntrack -D expect --tuple-port-dst 5001");
    assert!(text(&deleted.stderr).ends_with("1 expectations have been deleted.\n"));
}

fn formats(daemon: &BoxUnderTest) {
    let line = |format: &str| daemon.tell(&format!("conntrack -L -p udp --sport 7 {format}"));
    let tail = "src=10.0.0.1 dst=10.0.0.2 sport=7 dport=53 packets=1 bytes=28 [UNREPLIED] \
                src=10.0.0.2 dst=10.0.0.1 sport=53 dport=7 packets=0 bytes=0 mark=0 use=1\n";
    assert!(line("").starts_with("udp      17 3") && line("").ends_with(tail), "{}", line(""));
    assert!(
        line("-o extended").starts_with("ipv4     2 udp      17 3") && line("-o extended").ends_with(tail)
    );
    assert!(
        line("-o proc").ends_with("dport=53 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=53 dport=7 use=1\n")
    );
    let json: serde_json::Value = serde_json::from_str(&line("-o json")).unwrap();
    assert_eq!((&json["protocol"], &json["original"]["sport"]), (&"udp".into(), &7.into()));
}

fn counters(daemon: &BoxUnderTest) {
    let all = u64::from(FLOWS) + 2;
    let expected = format!("cpu=0   \tfound=0 invalid=0 insert={all} insert_failed=0 drop=0 early_drop=0\n");
    assert_eq!(daemon.tell("conntrack -S"), expected);

    let drops = daemon.tell("drops");
    let mut rows = String::new();
    for (reason, packets) in [("truncated", 1), ("policy", 1)] {
        writeln!(rows, "  {reason:<20} {packets:>12}").unwrap();
    }
    assert_eq!(drops, format!("drops by reason\n{rows}\nno packet was INVALID\n"));

    let stats: serde_json::Value = serde_json::from_str(&daemon.tell("stats --json")).unwrap();
    assert_eq!((&stats["entries"], &stats["entries_limit"]), (&all.into(), &10_000.into()));
    assert_eq!(stats["ports"][0]["name"], "inside");
    assert_eq!(stats["ports"][0]["rx_packets"], all + 2);
    assert_eq!(stats["ports"][1]["tx_packets"], all);
    let balance = |side: &str| {
        let rows = stats["balance"][side].as_array().unwrap().iter();
        rows.map(|row| (row["name"].as_str().unwrap(), row["packets"].as_u64().unwrap())).collect::<Vec<_>>()
    };
    let came = [("received", all + 2), ("answers", 0), ("link-messages", 0), ("fragments-created", 0)];
    let went = [("sent", all), ("dropped", 2), ("delivered", 0), ("held", 0), ("fragmented", 0)];
    assert_eq!((balance("came"), balance("went")), (came.to_vec(), went.to_vec()));
    assert_eq!(stats["rules"][0], serde_json::json!({"rule": "no-doom", "packets": 1, "bytes": 28}));
    assert_eq!(
        stats["rules"][1],
        serde_json::json!({"rule": "default", "packets": all, "bytes": all * 28 + 12})
    );
    assert!(daemon.tell("stats").contains(&format!("entries {all} of 10000")));
}

fn ports(daemon: &BoxUnderTest) {
    let shown = daemon.tell("ports");
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 3, "{shown}");
    assert_eq!((rows[1][0], rows[1][1], rows[2][0]), ("inside", "up", "outside"), "{shown}");
    let answer: serde_json::Value = serde_json::from_str(&daemon.tell("ports --json")).unwrap();
    assert_eq!(
        (&answer["ports"][0]["driver"], &answer["ports"][0]["mtu"]),
        (&"net_pcap".into(), &1500.into())
    );
}

fn rates(daemon: &BoxUnderTest) {
    let shown = daemon.tell("stats --watch 1s --count 2");
    let blocks: Vec<&str> = shown.split("\n\n").filter(|block| !block.is_empty()).collect();
    assert_eq!(blocks.len(), 2, "{shown}");
    for block in blocks {
        assert!(
            block.starts_with(&format!("entries {} of ", FLOWS + 2)) && block.contains("\ninside "),
            "{shown}"
        );
    }
}

fn timeouts(daemon: &BoxUnderTest) {
    assert_eq!(daemon.tell("timeouts get tcp.established"), "tcp.established = 432000\n");
    assert_eq!(daemon.tell("timeouts set tcp.established 1h"), "tcp.established = 3600\n");
    assert!(daemon.tell("timeouts get").contains("tcp.established = 3600\n"));
    let stats: serde_json::Value = serde_json::from_str(&daemon.tell("stats --json")).unwrap();
    assert_eq!((&stats["revision"], &stats["rules"][0]["packets"]), (&1.into(), &1.into()), "rules count on");
    for wrong in ["timeouts get tcp.open", "timeouts set tcp.open 5", "timeouts set icmp 0"] {
        assert_eq!(daemon.ask(wrong).status.code(), Some(1), "{wrong}");
    }
    assert_eq!(daemon.tell("conntrack -C"), format!("{}\n", FLOWS + 2), "no entry is lost");
}

fn nonsense(daemon: &BoxUnderTest) {
    let answers = daemon.say(b"GET / HTTP/1.1\r\n\r\n{\"request\":\"count\"}\n");
    let answers: Vec<serde_json::Value> =
        answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = answers.iter().map(|answer| answer["response"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["error", "error", "count"]);
    assert!(daemon.say(&vec![b'['; 1 << 20]).contains("at most"));
    let beyond = "{\"request\":\"entries\",\"from\":{\"shard\":7,\"position\":4294967295}}\n";
    assert_eq!(daemon.say(beyond.as_bytes()), "{\"response\":\"entries\",\"lines\":[]}\n");
}

#[test]
fn without_a_daemon_the_commands_say_what_to_do() {
    for command in [
        "conntrack -L",
        "conntrack -C",
        "conntrack -S",
        "stats",
        "ports",
        "drops",
        "reload",
        "timeouts get",
        "neigh",
        "helpers",
        "helpers off ftp",
        "routes",
        "route get ::1",
    ] {
        let output = sluice()
            .args(command.split(' '))
            .args(["--socket", "/nonexistent/control.sock"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = text(&output.stderr);
        assert!(said.contains("no daemon listens on /nonexistent/control.sock"), "{said}");
        assert!(said.contains("sluice run -c FILE") && said.contains("--socket PATH"), "{said}");
    }
}
