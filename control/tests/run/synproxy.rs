//! SYN cookies with real ends: connections through a flood of SYNs, of which the server's kernel sees none.

use crate::box_under_test::{BoxUnderTest, wait_for};
use crate::namespaces::{PEERS, Row, Streams, ip};

/// Makes the frames.
const FLOOD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/flood.py");

const SYNS: usize = 20_000;

/// Connections of each client.
const CONNECTIONS: usize = 4;

#[test]
fn connections_begin_in_a_flood_of_syns_that_reaches_no_server() {
    let row = Row::new("synproxy", &["10.0.0.2/16", "fd00:1::2/64"], &["10.1.0.2/16", "2001:db8:2::2/64"]);
    let Some(row) = row else { return };
    let [client, middle, server] = row.namespaces();
    middle.tell("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
    for (host, v4, v6) in [(client, "10.0.0.1", "fd00:1::1"), (server, "10.1.0.1", "2001:db8:2::1")] {
        assert!(ip(&format!("-n {host} route add default via {v4}")));
        assert!(ip(&format!("-n {host} -6 route add default via {v6}")));
    }
    let config = "version: 1
system: { cores: { control: 0, workers: [0] }, memory: { hugepages: 512M } }
interfaces:
  inside: { device: 'vdev:net_af_packet0,iface=inside', addresses: [10.0.0.1/16, 'fd00:1::1/64'] }
  outside: { device: 'vdev:net_af_packet1,iface=outside', addresses: [10.1.0.1/16, '2001:db8:2::1/64'] }
conntrack: { max-entries: 4K }
nat: { destination: [{ destination: 10.0.0.1, protocol: tcp, destination-port: 80, to: '10.1.0.2:8080' }] }
policy:
  rules:
    - { state: [established, related], action: accept }
    - { name: web, protocol: tcp, destination-port: 8080, action: synproxy }
";
    let daemon = BoxUnderTest::start_inside(middle, config);
    let _server = server.serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    let mut flooder = client.start("python3", &format!("{FLOOD} syn 198.18.0.0/15 10.1.0.2 8080 {SYNS}"));
    let mut streams = [("10.1.0.2", 8080), ("2001:db8:2::2", 8080), ("10.0.0.1", 80)]
        .map(|(to, port)| Streams::open(client, to, port, CONNECTIONS));
    // Whose server would speak first is connected, too.
    let connected = || server.tell("ss", "-Htn state established sport = :8080").lines().count();
    wait_for("the server to be connected", || connected() == 3 * CONNECTIONS);
    for _ in 0..3 {
        streams.iter_mut().for_each(Streams::go_on);
    }
    assert!(flooder.0.wait().unwrap().success());
    streams.iter_mut().for_each(Streams::go_on);

    let drops = daemon.tell("drops");
    let cookies = drops.lines().find(|line| line.contains("syn-cookie")).unwrap_or_default();
    let sent: usize =
        cookies.split_whitespace().find_map(|word| word.replace(',', "").parse().ok()).unwrap_or(0);
    assert!(sent > SYNS / 2, "what the devices have not lost is answered: {drops}");
    let listed = daemon.tell("conntrack -L -p tcp");
    assert_eq!(listed.lines().count(), 3 * CONNECTIONS, "{listed}");
    assert!(
        listed.lines().all(|line| line.contains("ESTABLISHED") && line.contains("[ASSURED]")),
        "{listed}"
    );
    // Its kernel would have answered them with cookies of its own, since it has no room for so many.
    assert_eq!(server.tell("ss", "-Htn state syn-recv").lines().count(), 0);
    let cookies = server.tell("nstat", "-asz TcpExtSyncookiesSent");
    assert!(cookies.lines().any(|line| line.split_whitespace().nth(1) == Some("0")), "{cookies}");
    streams.into_iter().for_each(Streams::close);
}
