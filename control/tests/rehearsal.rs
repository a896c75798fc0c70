//! What would happen, from outside: `sluice test` and `sluice explain`, word for word.

mod capture;

use std::process::Command;

use etherparse::{PacketBuilder, VlanId};

use capture::capture;

/// `TRYCMD=overwrite cargo test -p sluice --test rehearsal` writes the answers anew.
#[test]
fn answers_are_as_written_down() {
    let cases = trycmd::TestCases::new();
    cases.case("tests/rehearsal/*.md");
}

#[test]
fn captures_come_in_by_their_stamps_and_tags() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (client, server, own) = ([10, 20, 0, 2], [192, 0, 2, 1], [203, 0, 113, 1]);
    let ethernet = || PacketBuilder::ethernet2([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
    let (mut question, mut answer) = (Vec::new(), Vec::new());
    let tagged = ethernet().single_vlan(VlanId::try_new(20).unwrap()).ipv4(client, server, 64);
    tagged.udp(5000, 53).write(&mut question, b"question").unwrap();
    ethernet().ipv4(server, own, 64).udp(53, 5000).write(&mut answer, b"answer").unwrap();
    std::fs::write(path("lan.pcap"), capture(&[(100, question)])).unwrap();
    // The second answer comes when the connection has long expired.
    std::fs::write(path("wan.pcap"), capture(&[(101, answer.clone()), (100_000, answer)])).unwrap();
    let explain = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["explain", "-c", "tests/rehearsal/explain.in/box.yaml", "--output", "json"])
            .args(["--in", &format!("wan={}", path("wan.pcap"))])
            .args(["--in", &format!("lan={}", path("lan.pcap"))])
            .args(more)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    let all = explain(&[]);
    let said = |index: usize, key: &str| all[index][key].as_str().unwrap().to_owned();
    assert_eq!(said(0, "packet"), "in guests udp 10.20.0.2:5000 -> 192.0.2.1:53 length=8");
    assert_eq!(said(0, "verdict"), "accept");
    assert_eq!(said(1, "packet"), "in wan udp 192.0.2.1:53 -> 203.0.113.1:5000 length=6");
    assert_eq!(said(1, "verdict"), "accept");
    assert_eq!(said(2, "verdict"), "drop");
    assert_eq!(explain(&["--packet", "2"]), [all[1].clone()]);
}

/// Plays a file of tests, of the configuration beside the other ones here; gives what was said, and whether all was as expected.
fn play(tests: &str) -> (String, bool) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("these.test.yaml");
    std::fs::write(&file, tests).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["test", "--quiet", "-c", "tests/rehearsal/test.in/box.yaml"])
        .arg(&file)
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), output.status.success())
}

#[test]
fn rules_are_known_of_however_many_packets_come_at_once() {
    let step = |port: u16| {
        format!(
            "      - {{ packet: 'in lan udp 10.0.0.2:{port} -> 192.0.2.1:53', expect: {{ rule: out }} }}\n"
        )
    };
    let steps: String = (1..=1500).map(step).collect();
    let (said, passed) = play(&format!("tests:\n  - name: many\n    steps:\n{steps}"));
    assert!(passed && said.contains("1500 steps in 1 test, all as expected"), "{said}");
}

#[test]
fn the_tests_of_the_page_pass() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/what-would-happen.md");
    let page = std::fs::read_to_string(page).unwrap();
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let (said, passed) = play(example);
    assert!(passed && said.contains("4 steps in 2 tests"), "{said}");
}
