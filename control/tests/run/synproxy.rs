//! SYN cookies with real ends: connections through a flood of SYNs, of which the server's kernel sees none.

use crate::box_under_test::{BoxUnderTest, wait_for};
use crate::namespaces::{PEERS, ROUTER, Row, Streams};

/// Makes the frames.
const FLOOD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/flood.py");

const SYNS: usize = 20_000;

/// Connections of each client.
const CONNECTIONS: usize = 4;

#[test]
fn connections_begin_in_a_flood_of_syns_that_reaches_no_server() {
    let Some(row) = Row::routed("synproxy") else { return };
    let [client, middle, server] = row.namespaces();
    let rules = "nat: { destination: [{ destination: 10.0.0.1, protocol: tcp, destination-port: 80, to: '10.1.0.2:8080' }] }
policy:
  rules:
    - { state: [established, related], action: accept }
    - { name: web, protocol: tcp, destination-port: 8080, action: synproxy }
";
    let daemon = BoxUnderTest::start_inside(middle, &(ROUTER.to_owned() + rules));
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
    daemon.balances();
}
