//! What the log says of a table and of pools that have no room, and of frames that are cut off.

use crate::box_under_test::{BoxUnderTest, POLICY, sluice, udp, wait_for, write_config, write_frames};

/// What a daemon has logged that has room for 1000 entries and receives these frames, once that contains `record`.
fn logged(frames: impl Iterator<Item = Vec<u8>>, record: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    write_frames(&directory.path().join("in.pcap"), frames);
    write_config(directory.path(), POLICY);
    let file = directory.path().join("box.yaml");
    let small = std::fs::read_to_string(&file).unwrap().replace("max-entries: 10K", "max-entries: 1000");
    std::fs::write(&file, small).unwrap();
    let mut daemon = BoxUnderTest::spawn(directory, sluice());
    wait_for("the record", || daemon.stderr().contains(record));
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    assert!(daemon.stderr().contains("1000 of 1000 entries"), "{}", daemon.stderr());
    daemon.stderr()
}

#[test]
fn early_drops_are_logged_once() {
    let said = logged((1..=1200).map(|sport| udp(sport, 53)), "WARN nf_conntrack: early_drop: ");
    assert_eq!(said.matches("early_drop").count(), 1, "{said}");
    assert!(!said.contains("dropping packet"), "{said}");
}

#[test]
fn a_table_full_of_assured_entries_is_logged_once() {
    let flow = |sport| {
        let mut reply = udp(53, sport);
        // Its addresses, source and destination, change places.
        reply[26..34].rotate_left(4);
        [udp(sport, 53), reply, udp(sport, 53)]
    };
    let record = "WARN nf_conntrack: table full, dropping packet: ";
    let said = logged((1..=1200).flat_map(flow), record);
    assert_eq!(said.matches("table full").count(), 1, "{said}");
}

/// More neighbours than a port keeps that nobody sends to, by their ARP requests.
#[test]
fn neighbours_that_give_way_are_logged() {
    let directory = tempfile::tempdir().unwrap();
    write_frames(&directory.path().join("in.pcap"), (0..1100).map(arp_request));
    write_config(directory.path(), POLICY);
    let file = directory.path().join("box.yaml");
    let addressed = std::fs::read_to_string(&file)
        .unwrap()
        .replace("back.pcap' }", "back.pcap', addresses: [10.0.0.1/8] }");
    assert!(addressed.contains("10.0.0.1/8"));
    std::fs::write(&file, addressed).unwrap();
    let mut daemon = BoxUnderTest::spawn(directory, sluice());
    let record = "WARN neighbour: neighbor table overflow!: ";
    wait_for("the record", || daemon.stderr().contains(record));
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0));
    assert_eq!(daemon.stderr().matches(record).count(), 1, "{}", daemon.stderr());
}

/// A host says that it has the address of the box.
#[test]
fn an_address_that_two_have_is_logged() {
    let directory = tempfile::tempdir().unwrap();
    write_frames(&directory.path().join("in.pcap"), std::iter::once(arp(9, [10, 0, 0, 1])));
    write_config(directory.path(), POLICY);
    let file = directory.path().join("box.yaml");
    let addressed = std::fs::read_to_string(&file)
        .unwrap()
        .replace("back.pcap' }", "back.pcap', addresses: [10.0.0.1/8] }");
    std::fs::write(&file, addressed).unwrap();
    let daemon = BoxUnderTest::spawn(directory, sluice());
    let record = "WARN arp: 02:00:00:01:00:09 is using my IP address 10.0.0.1 on inside!: ";
    wait_for("the record", || daemon.stderr().contains(record));
}

/// A neighbour of 10.1.0.0/16 asks for the box.
fn arp_request(number: u16) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    arp(number, [10, 1, high, low])
}

/// The neighbour of this number asks for the box from an address.
fn arp(number: u16, ip: [u8; 4]) -> Vec<u8> {
    let [high, low] = number.to_be_bytes();
    let mac = [2, 0, 0, 1, high, low];
    let mut frame = vec![0xff; 6];
    frame.extend(mac);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(ip);
    frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 1]);
    frame
}

/// The capture of each test has one frame that is cut off.
#[test]
fn frames_that_are_cut_off_are_logged_with_what_mends_it() {
    let daemon = BoxUnderTest::start();
    wait_for("the record", || {
        daemon.stderr().contains("WARN truncated: 1 packets dropped within a second; ")
    });
    assert!(daemon.stderr().contains("ethtool -K IFACE tso off gso off"), "{}", daemon.stderr());
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
