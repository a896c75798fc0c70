//! The box's own network stack, in a namespace of its own: it speaks and is spoken to through the box's ports, by its policy.

use std::fs;

use crate::box_under_test::{BoxUnderTest, listeners, text, wait_for};
use crate::cores;
use crate::namespaces::{Namespace, PEERS, Row, Spaces, Streams, ip};

/// What the box lets in and out of itself: inside may speak to it, and it to everybody.
pub const POLICY: &str = "
policy:
  default: drop
  rules:
    - { state: [established, related], action: accept }
    - { name: to-box, in: inside, out: local, state: new, action: accept }
    - { name: from-box, in: local, state: new, action: accept }
";

/// The same without anybody who may speak to it.
const CLOSED: &str = "
policy:
  default: drop
  rules:
    - { name: from-box, in: local, destination: [198.51.100.1, 203.0.113.2], action: accept }
";

/// Addresses of one family: the client and the box on its side, the box and the server on theirs, one behind the server.
struct Plan {
    client: &'static str,
    inside: &'static str,
    outside: &'static str,
    server: &'static str,
    far: &'static str,
}

const FAMILIES: [Plan; 2] = [
    Plan {
        client: "10.0.0.2",
        inside: "10.0.0.1",
        outside: "203.0.113.1",
        server: "203.0.113.2",
        far: "198.51.100.1",
    },
    Plan {
        client: "fd00:1::2",
        inside: "fd00:1::1",
        outside: "2001:db8:2::1",
        server: "2001:db8:2::2",
        far: "2001:db8:3::1",
    },
];

/// The namespaces and the daemon of one test, gone with it.
pub struct Hosted {
    pub daemon: BoxUnderTest,
    row: Row,
    spaces: Spaces<1>,
    /// The file but for its policy.
    pub config: String,
}

impl Hosted {
    /// A box whose workers have these cores. `None` where namespaces cannot be made, which needs root.
    fn new(test: &str, workers: &str) -> Option<Hosted> {
        let [v4, v6] = &FAMILIES;
        let routes = format!(
            "[{{ to: 0.0.0.0/0, via: {}, dev: outside }}, {{ to: '::/0', via: '{}', dev: outside }}]",
            v4.server, v6.server
        );
        Hosted::with_routes(test, workers, &routes, POLICY)
    }

    /// The same with these routes, and this at the end of its configuration.
    pub fn with_routes(test: &str, workers: &str, routes: &str, rest: &str) -> Option<Hosted> {
        let addresses = |of: fn(&Plan) -> &'static str| FAMILIES.map(|plan| network(of(&plan)));
        let (clients, servers) = (addresses(|plan| plan.client), addresses(|plan| plan.server));
        let row =
            Row::new(test, &clients.each_ref().map(String::as_str), &servers.each_ref().map(String::as_str))?;
        let spaces = Spaces::new(test, ["host"])?;
        let ([client, middle, server], [host]) = (row.namespaces(), spaces.namespaces());
        middle.tell("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
        assert!(ip(&format!("-n {middle} link set lo up")));
        for plan in &FAMILIES {
            assert!(ip(&format!("-n {client} route add default via {}", plan.inside)));
            assert!(ip(&format!("-n {server} route add default via {}", plan.outside)));
            assert!(ip(&format!("-n {server} address add {} dev lo", plan.far)));
        }
        assert!(ip(&format!("-n {server} link set lo up")));
        let directory = tempfile::tempdir().unwrap();
        let [v4, v6] = &FAMILIES;
        let config = format!(
            "version: 1
system: {{ cores: {{ control: 0, workers: [{workers}] }}, idle: friendly, memory: {{ hugepages: 512M }} }}
interfaces:
  inside:
    device: 'vdev:net_af_packet0,iface=inside'
    addresses: [{}, '{}']
    host: {{ namespace: {host} }}
  outside:
    device: 'vdev:net_af_packet1,iface=outside'
    addresses: [{}, '{}']
    host: {{ namespace: {host} }}
routes: {routes}
conntrack: {{ max-entries: 1K }}
{}",
            network(v4.inside),
            network(v6.inside),
            network(v4.outside),
            network(v6.outside),
            listeners(directory.path())
        );
        fs::write(directory.path().join("box.yaml"), format!("{config}{rest}")).unwrap();
        let daemon = BoxUnderTest::spawn(directory, middle.command(env!("CARGO_BIN_EXE_sluice"), ""));
        Some(Hosted { daemon, row, spaces, config })
    }

    /// The client, the server and the box's own network stack.
    pub fn namespaces(&self) -> [Namespace<'_>; 3] {
        let ([client, _, server], [host]) = (self.row.namespaces(), self.spaces.namespaces());
        [client, server, host]
    }

    /// Writes the configuration anew with this policy, and puts it in force.
    pub fn reload(&self, config: &str, policy: &str) {
        fs::write(self.daemon.path("box.yaml"), format!("{config}{policy}")).unwrap();
        self.daemon.tell("reload");
    }

    /// The metric of this name, as it stands; 0 where nothing has come to it yet.
    pub fn metric(&self, name: &str) -> u64 {
        let page = self.daemon.metrics_in(self.row.namespaces()[1]);
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or(0)
    }

    /// Packets that a rule of the policy has decided about.
    fn decided(&self, rule: &str) -> u64 {
        let told: serde_json::Value = serde_json::from_str(&self.daemon.tell("stats --json")).unwrap();
        let rules = told["rules"].as_array().unwrap();
        rules.iter().find(|told| told["rule"] == rule).unwrap()["packets"].as_u64().unwrap()
    }
}

/// An address with the length of its network's prefix.
fn network(address: &str) -> String {
    format!("{address}/{}", if address.contains(':') { 64 } else { 24 })
}

/// Waits until one host hears another. The first packets wait for their neighbours' addresses.
pub fn pings(from: Namespace<'_>, to: &str) {
    let hears = || from.run("ping", &format!("-n -c 1 -W 2 {to}")).status.success();
    wait_for(&format!("{to} to answer"), hears);
}

#[test]
fn the_box_speaks_and_is_spoken_to() {
    box_speaks("host", "0");
}

/// What the host sends comes to one worker, and half of it is the other's.
#[test]
fn the_box_speaks_through_two_workers() {
    if cores::are_there() {
        box_speaks("host2", "0, 1");
    }
}

fn box_speaks(test: &str, workers: &str) {
    let Some(it) = Hosted::new(test, workers) else { return };
    let [client, server, host] = it.namespaces();
    let _echo = [host, server].map(|at| at.serve(7, "python3", &format!("{PEERS} tcp-server 7")));
    for Plan { client: client_address, inside, outside, server: server_address, far } in &FAMILIES {
        for (from, to) in
            [(client, inside), (client, outside), (host, client_address), (host, server_address), (host, far)]
        {
            pings(from, to);
        }
        // To the box, and from it: to a neighbour, to a host behind one, and by way of the other port.
        for (from, to, source, destination) in [
            (client, inside, client_address, inside),
            (host, far, outside, far),
            (host, client_address, inside, client_address),
        ] {
            let _server =
                (to == client_address).then(|| client.serve(7, "python3", &format!("{PEERS} tcp-server 7")));
            let mut stream = Streams::open(from, to, 7, 4);
            stream.go_on();
            let listed = it.daemon.tell("conntrack -L -p tcp --dport 7 --state ESTABLISHED -u ASSURED");
            let of_these = format!("src={source} dst={destination} ");
            assert_eq!(listed.matches(&of_these).count(), 4, "{listed}");
            stream.close();
        }
    }

    // A web page of the box, as curl gets it.
    let web = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/web.py");
    let _web = host.serve(8080, "python3", web);
    fs::write(it.daemon.path("page"), vec![b'x'; 100_000]).unwrap();
    let put =
        format!("-sSf -m 60 --noproxy * -T {} http://10.0.0.1:8080/page", it.daemon.path("page").display());
    assert_eq!(client.tell("curl", &put), "10.0.0.2");
    assert_eq!(client.tell("curl", "-sSf -m 60 --noproxy * -g http://[fd00:1::1]:8080/page").len(), 100_000);

    // Nobody outside may begin to speak to it.
    let before = it.decided("default");
    for Plan { outside, .. } in &FAMILIES {
        assert!(!server.run("ping", &format!("-n -c 1 -W 1 {outside}")).status.success());
    }
    wait_for("both to be refused", || it.decided("default") >= before + 2);
    assert!(it.decided("to-box") > 0 && it.decided("from-box") > 0);

    // More than a packet holds, to the box and from it; then all packets are accounted for.
    client.tell("ping", "-n -c 1 -W 2 -s 5000 fd00:1::1");
    host.tell("ping", "-n -c 1 -W 2 -s 5000 fd00:1::2");
    it.daemon.accounts_for_all_packets(it.row.namespaces()[1]);

    let ports = it.daemon.tell("ports");
    assert_eq!(ports.matches(&format!("host in namespace {host}")).count(), 2, "{ports}");
    let link = host.tell("ip", "-d link show dev inside");
    assert!(link.contains("NOARP") && link.contains("tun type tap"), "{link}");
}

#[test]
fn the_host_follows_the_configuration() {
    let Some(it) = Hosted::new("host-reload", "0") else { return };
    let [client, _, host] = it.namespaces();
    pings(client, "10.0.0.1");
    let config = it
        .config
        .replace("10.0.0.1/24", "10.0.0.9/24")
        .replace("to: 0.0.0.0/0, via: 203.0.113.2", "to: 198.51.100.0/24, via: 203.0.113.2");
    it.reload(&config, CLOSED);
    let shows = |what: &str, text: &str| host.tell("ip", what).contains(text);
    wait_for("the new address", || shows("address show dev inside", "inet 10.0.0.9/24"));
    wait_for("the new route", || shows("route show", "198.51.100.0/24 via 203.0.113.2 dev outside"));
    assert!(!shows("address show dev inside", "10.0.0.1/24") && !shows("route show", "default"));

    // What the new rules do not let pass does not, and the host is not told.
    let before = it.decided("default");
    assert!(!client.run("ping", "-n -c 1 -W 1 10.0.0.9").status.success());
    assert!(!host.run("ping", "-n -c 1 -W 1 10.0.0.2").status.success());
    wait_for("both to be refused", || it.decided("default") >= before + 2);
    // The answers come to where a rule for established connections is not: the question passes, and is counted.
    let said = host.run("ping", "-n -c 1 -W 1 198.51.100.1");
    assert!(!said.status.success(), "{}", text(&said.stdout));
    wait_for("the question", || it.decided("from-box") > 0);
    // An interface that is down refuses what comes, and the rest goes on.
    it.reload(&config, POLICY);
    assert!(ip(&format!("-n {host} link set inside down")));
    assert!(!client.run("ping", "-n -c 1 -W 1 10.0.0.9").status.success());
    wait_for("the refusal", || it.metric("sluice_host_errors_total{port=\"inside\"}") > 0);
    pings(host, "198.51.100.1");
}
