//! Helpers of a running daemon: what came of them, on and off, and real programs whose protocols need one.

mod amanda;
mod ftp;
mod h323;
mod irc;
mod pptp;
mod rtsp;
mod sane;
mod talk;
mod tftp;

use crate::box_under_test::{BoxUnderTest, POLICY, text, wait_for};

/// What clients ask for and send.
const FILE_BYTES: usize = 100_000;

/// Bytes that repeat themselves only after a while.
fn some_file() -> Vec<u8> {
    (0..FILE_BYTES).map(|place| (place * place / 7) as u8).collect()
}

/// Each datagram of the capture goes to port 53, and none is a request of TFTP.
const HELPERS: &str = "helpers: [{ name: tftp, ports: 53, in: inside }]\n";

/// The row of a helper, column by column.
fn row(shown: &str, helper: &str) -> Vec<String> {
    let is_its = |line: &&str| line.starts_with(helper);
    shown
        .lines()
        .find(is_its)
        .unwrap_or_else(|| panic!("{shown}"))
        .split_whitespace()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_daemon_lists_helpers_and_switches_them() {
    let daemon = BoxUnderTest::start_with(tempfile::tempdir().unwrap(), &format!("{POLICY}{HELPERS}"));
    let all = ["tftp", "1200", "1200", "0", "0", "0", "0", "0", "1200"];
    wait_for("all connections to have the helper", || row(&daemon.tell("helpers"), "tftp") == all);
    let shown = daemon.tell("helpers");
    assert!(shown.ends_with("rules\n  tftp          {\"in\":\"inside\",\"ports\":53}\n"), "{shown}");
    let json: serde_json::Value = serde_json::from_str(&daemon.tell("helpers --json")).unwrap();
    assert_eq!(json["helpers"][0]["events"]["other-protocol"], 1200);

    let expect = "conntrack -I expect -p udp -s 10.0.0.1 -d 10.0.0.2 --sport 7 --dport 53 -t 1m \
                  --tuple-src 10.0.0.2 --tuple-dst 10.0.0.1 --tuple-port-dst 5001";
    daemon.tell(expect);
    assert!(daemon.tell("conntrack -L expect").ends_with(" class=0 helper=tftp\n"));
    assert_eq!(row(&daemon.tell("helpers"), "tftp")[3], "1");
    assert_eq!(row(&daemon.tell("helpers off tftp"), "tftp")[..2], ["tftp", "(off)"]);
    assert_eq!(daemon.tell("conntrack -C expect"), "0\n", "nothing is expected for it any more");
    assert_eq!(row(&daemon.tell("helpers on tftp"), "tftp"), all);
    daemon.tell("helpers off tftp");
    daemon.tell("timeouts set icmp 5");
    assert_eq!(row(&daemon.tell("helpers"), "tftp")[1], "(off)", "it stays off when a timeout is set");
    daemon.tell("reload");
    assert_eq!(row(&daemon.tell("helpers"), "tftp"), all, "a reload puts in force what the file says");
    for (wrong, said) in [("off ftp", "under `helpers`"), ("on gopher", "there is no helper `gopher`")] {
        let refused = daemon.ask(&format!("helpers {wrong}"));
        assert_eq!(refused.status.code(), Some(1), "{wrong}");
        assert!(text(&refused.stderr).contains(said), "{}", text(&refused.stderr));
    }
}
