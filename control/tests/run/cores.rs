//! Two workers: what each port's queues receive finds its shard, whichever worker got it.

use std::fs;

use crate::box_under_test::{BoxUnderTest, FLOWS, POLICY, sluice, wait_for, write_capture, write_config};
use crate::namespaces::{PEERS, Row};

/// Whether there are two processors to run workers on.
pub fn are_there() -> bool {
    let enough = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    if !enough {
        eprintln!("skipped: two workers need two processors");
    }
    enough
}

/// Gives the configuration of a directory two workers.
fn two_workers(directory: &std::path::Path) {
    let file = directory.join("box.yaml");
    let config = fs::read_to_string(&file).unwrap();
    let (head, rest) = config.split_once("workers: [").unwrap();
    let (_, rest) = rest.split_once(']').unwrap();
    fs::write(file, format!("{head}workers: [0, 1]{rest}")).unwrap();
}

/// The counters of each shard, by name.
fn of_shards(daemon: &BoxUnderTest, counter: &str) -> Vec<u64> {
    let said = daemon.tell("conntrack -S");
    let value = |line: &str| {
        let (_, value) = line.split_once(&format!(" {counter}="))?;
        value.split(' ').next()?.parse().ok()
    };
    said.lines().filter_map(|line| value(&line.replace('\t', " "))).collect()
}

#[test]
fn each_has_its_share_and_commands_reach_both() {
    if !are_there() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    write_capture(&directory.path().join("in.pcap"));
    write_config(directory.path(), POLICY);
    two_workers(directory.path());
    let mut command = sluice();
    command.env("RUST_BACKTRACE", "1");
    let mut daemon = BoxUnderTest::spawn(directory, command);
    wait_for("the capture to be tracked", || daemon.tell("conntrack -C").trim() == (FLOWS + 2).to_string());
    let inserts = of_shards(&daemon, "insert");
    assert_eq!(inserts.iter().sum::<u64>(), u64::from(FLOWS) + 2);
    assert!(
        inserts.len() == 2 && inserts.iter().all(|inserts| *inserts > u64::from(FLOWS) / 3),
        "{inserts:?}"
    );
    let mut listed: Vec<String> = daemon.tell("conntrack -L -o json").lines().map(str::to_owned).collect();
    assert_eq!(listed.len(), usize::from(FLOWS) + 2, "each entry is listed");
    listed.sort_unstable();
    listed.dedup();
    assert_eq!(listed.len(), usize::from(FLOWS) + 2, "and once");
    let drops = daemon.tell("drops");
    assert!(drops.contains("policy") && !drops.contains("handoff-full"), "{drops}");

    daemon.write_config("policy: { default: drop }\n");
    two_workers(daemon.directory.path());
    daemon.tell("reload");
    assert!(daemon.tell("stats").contains("configuration 2"));
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.stderr());
    let said = daemon.stderr();
    assert!(said.contains("stopped; 1204 packets received, 1202 sent, 2 dropped; 1202 entries"), "{said}");
    assert!(said.contains("port inside: no RSS: workers steer its packets themselves"), "{said}");
}

#[test]
fn real_flows_pass_on_whatever_queue_they_come() {
    if !are_there() {
        return;
    }
    let Some(row) = Row::new("cores", &["10.9.0.1/24"], &["10.9.0.2/24"]) else { return };
    let [client, middle, server] = row.namespaces();
    let config = "version: 1
system: { cores: { control: 0, workers: [0, 1] }, idle: friendly, memory: { hugepages: 512M } }
interfaces:
  inside: { device: 'vdev:net_af_packet0,iface=inside,qpairs=2' }
  outside: { device: 'vdev:net_af_packet1,iface=outside,qpairs=2' }
conntrack: { max-entries: 1K }
policy: { rules: [{ state: [established, related], action: accept }, { in: inside, state: new, action: accept }] }
";
    let daemon = BoxUnderTest::start_inside(middle, config);
    let _server = server.serve(5353, "python3", &format!("{PEERS} udp-server 5353"));
    assert_eq!(client.tell("python3", &format!("{PEERS} udp-client 10.9.0.2 5353 64")), "64\n");

    let listed = daemon.tell("conntrack -L -p udp --dport 5353");
    let mut ports: Vec<&str> = listed.lines().filter_map(|line| line.split(" sport=").nth(1)).collect();
    ports.sort_unstable();
    assert_eq!(ports.len(), 64, "{listed}");
    ports.dedup();
    assert_eq!(ports.len(), 64, "each flow is one shard's: {listed}");
    assert!(!listed.contains("UNREPLIED"), "{listed}");
    let found = of_shards(&daemon, "found");
    assert!(found.len() == 2 && found.iter().all(|found| *found > 0), "{found:?}");
}
