//! What the log says of a table and of pools that have no room.

use crate::box_under_test::{BoxUnderTest, POLICY, sluice, wait_for, write_capture, write_config};

#[test]
fn early_drops_are_logged_once() {
    let directory = tempfile::tempdir().unwrap();
    write_capture(&directory.path().join("in.pcap"));
    write_config(directory.path(), POLICY);
    let file = directory.path().join("box.yaml");
    let small = std::fs::read_to_string(&file).unwrap().replace("max-entries: 10K", "max-entries: 1000");
    std::fs::write(&file, small).unwrap();
    let mut daemon = BoxUnderTest::spawn(directory, sluice());
    wait_for("the record", || daemon.stderr().contains("WARN nf_conntrack: early_drop: "));
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    let said = daemon.stderr();
    assert_eq!(said.matches("early_drop").count(), 1, "{said}");
    assert!(said.contains("1000 of 1000 entries") && !said.contains("dropping packet"), "{said}");
}

#[test]
fn a_pool_without_ports_is_logged_by_its_name() {
    let nat = "nat: { source: [{ name: guests, to: 203.0.113.10, ports: 2000-2009 }] }\n";
    let daemon = BoxUnderTest::start_with(tempfile::tempdir().unwrap(), &format!("{POLICY}{nat}"));
    let record = "WARN nat: pool guests: ports exhausted, dropping packet: ";
    wait_for("the record", || daemon.stderr().contains(record));
    daemon.tell("reload");
    assert_eq!(daemon.stderr().matches(record).count(), 1, "{}", daemon.stderr());
}
