//! A running daemon on a screen, where there is no terminal.

use crate::box_under_test::{BoxUnderTest, POLICY, sluice, text, write_endless};

const NAT: &str = "nat: { source: [{ name: out, protocol: udp, source: 10.0.0.1, to: 203.0.113.10 }] }\n";

#[test]
fn one_screen_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    write_endless(directory.path(), &format!("{POLICY}{NAT}"));
    let daemon = BoxUnderTest::spawn(directory, sluice());
    let screen = daemon.tell("top --once");
    let row = |begin: &str| {
        let found = screen.lines().find(|line| line.starts_with(begin));
        found.unwrap_or_else(|| panic!("no {begin} in\n{screen}")).split_whitespace().collect::<Vec<_>>()
    };
    assert!(row("sluice ")[1].starts_with(env!("CARGO_PKG_VERSION")), "{screen}");
    assert_eq!(row("entries ")[2..4], ["of", "10000"], "{screen}");
    assert!(row("packets ")[1].ends_with("/s,") && row("packets ")[1] != "0/s,", "{screen}");
    assert_ne!(row("inside ")[1], "0", "packets a second");
    assert!(row("0 ")[1].ends_with('%') && row("0 ")[1] != "0.0%", "a worker is busy: {screen}");
    assert_ne!(row("policy ")[1], "0", "drops a second");
    let source = screen.lines().find(|line| line.contains("10.0.0.1 ")).expect("the only source");
    assert!(source.contains(" 100.0% "), "{screen}");
    let pool = screen.lines().find(|line| line.contains("out ")).expect("the pool");
    assert!(pool.contains("/64.5k"), "{screen}");
    // Without a terminal it is the same.
    assert!(daemon.tell("top").starts_with("sluice "));
    assert_eq!(daemon.ask("top --interval soon").status.code(), Some(2));
    let nobody = sluice().args(["top", "--once", "--socket", "/nowhere"]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no daemon listens on /nowhere"));
}
