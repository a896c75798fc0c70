//! Packets in words, explained by the table of a running daemon.

use crate::box_under_test::{BoxUnderTest, FLOWS, sluice, text};

#[test]
fn a_packet_is_explained_by_the_connection_that_it_belongs_to() {
    let daemon = BoxUnderTest::start();
    let explain = |packet: &str| {
        let mut command = sluice();
        let output = command.args(["explain", packet, "--socket"]).arg(daemon.socket()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let answer = explain("in outside udp 10.0.0.2:53 -> 10.0.0.1:7");
    let running = answer.lines().find(|line| line.starts_with("running    udp      17 ")).expect(&answer);
    assert!(
        running.contains(" src=10.0.0.1 dst=10.0.0.2 sport=7 dport=53 ") && running.ends_with(" (worker 0)")
    );
    assert!(answer.contains("\ntracking   ESTABLISHED, reply direction\n"), "{answer}");
    assert!(answer.contains("\npolicy     accept, by default (box.yaml:10)\n"), "{answer}");
    let stranger = explain("in outside udp 10.0.0.2:53 -> 10.0.0.1:60000");
    assert!(stranger.contains("\nrunning    no connection has its tuple\n"), "{stranger}");
    assert!(stranger.contains("\ntracking   NEW: no connection has its tuple\n"), "{stranger}");
    let all = usize::from(FLOWS) + 2;
    assert_eq!(daemon.tell("conntrack -C"), format!("{all}\n"), "nothing is changed");
    assert_eq!(daemon.tell("conntrack -L -u UNREPLIED").lines().count(), all);
}
