//! A configuration changes while packets flow.

use crate::box_under_test::{BoxUnderTest, POLICY, text, wait_for};

#[test]
fn a_reload_changes_all_or_nothing_and_loses_no_entry() {
    let daemon = BoxUnderTest::start();
    let refused = |why: &str| {
        let output = daemon.ask("reload");
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains(why), "{said}");
        assert_eq!(revision(&daemon), 1, "{why}");
    };
    daemon.write_config("policy: {default: sometimes}\n");
    refused("sometimes");
    daemon.write_config("forwarding: routed\n");
    refused("routed");
    daemon.write_config("");
    let larger = std::fs::read_to_string(daemon.path("box.yaml")).unwrap().replace("10K", "20K");
    std::fs::write(daemon.path("box.yaml"), larger).unwrap();
    refused("only a restart can change conntrack.max-entries");

    daemon.write_config("policy: {default: drop}\n");
    assert_eq!(daemon.tell("reload"), "configuration 2 is in force\n");
    assert_eq!(daemon.tell("conntrack -C"), "1202\n");

    daemon.write_config(POLICY);
    daemon.signal("HUP");
    wait_for("the reload by signal", || revision(&daemon) == 3);
    daemon.write_config("conntrack: []\n");
    daemon.signal("HUP");
    wait_for("the refusal", || daemon.stderr().matches("nothing was changed").count() == 4);
    assert_eq!((revision(&daemon), daemon.tell("conntrack -C")), (3, "1202\n".to_owned()));
}

fn revision(daemon: &BoxUnderTest) -> u64 {
    let stats: serde_json::Value = serde_json::from_str(&daemon.tell("stats --json")).unwrap();
    stats["revision"].as_u64().unwrap()
}
