//! A site behind address translation, in four network namespaces: a client, the box with two workers, a router, and a
//! server behind a link that takes less than the others.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::{fs, mem};

use tempfile::TempDir;

use crate::box_under_test::{BoxUnderTest, listeners, text};
use crate::namespaces::{Namespace, Spaces};

/// Addresses of one family.
pub struct Plan {
    /// The client, and the box on its side.
    pub client: &'static str,
    pub inside: &'static str,
    /// The box on the router's side, and the address there that stands for the client.
    pub outside: &'static str,
    pub public: &'static str,
    /// The router on the box's side and on the server's, and the server.
    pub router: &'static str,
    pub far: &'static str,
    pub server: &'static str,
    /// Lengths of the networks' prefixes, and of a host's.
    pub network_bits: u8,
    pub host_bits: u8,
}

pub const FAMILIES: [Plan; 2] = [
    Plan {
        client: "10.0.0.2",
        inside: "10.0.0.1",
        outside: "203.0.113.1",
        public: "203.0.113.10",
        router: "203.0.113.254",
        far: "198.51.100.1",
        server: "198.51.100.2",
        network_bits: 24,
        host_bits: 32,
    },
    Plan {
        client: "fd00:1::2",
        inside: "fd00:1::1",
        outside: "2001:db8:2::1",
        public: "2001:db8:2::10",
        router: "2001:db8:2::fe",
        far: "2001:db8:3::1",
        server: "2001:db8:3::2",
        network_bits: 64,
        host_bits: 128,
    },
];

/// The largest packet of the link between router and server, in bytes.
pub const NARROW: u16 = 1400;

/// The first local port of a site: the kernel hands out 32768 to 60999 by itself.
const FIRST_PORT: u16 = 20_000;

const CLIENT_MAC: &str = "02:00:00:00:01:02";
const ROUTER_MAC: &str = "02:00:00:00:02:fe";

/// What the box translates: everything that goes out, and what comes to the client's public address.
pub const NAT: &str = "
nat:
  source:
    - { out: outside, masquerade: true }
  destination:
    - { in: outside, destination: 203.0.113.10, protocol: tcp, destination-port: 80, to: '10.0.0.2:8080' }
    - { in: outside, destination: '2001:db8:2::10', protocol: tcp, destination-port: 80, to: '[fd00:1::2]:8080' }
    - { in: outside, destination: 203.0.113.10, to: 10.0.0.2 }
    - { in: outside, destination: '2001:db8:2::10', to: 'fd00:1::2' }
";

/// What it lets pass.
pub const POLICY: &str = "
policy:
  default: drop
  rules:
    - { state: [established, related], action: accept }
    - { state: new, in: inside, action: accept }
    - { state: new, status: dnat, action: accept }
    - { name: link, state: untracked, action: drop }
";

/// Starts the box in a directory that has its configuration, where its state is, too.
fn spawn(spaces: &Spaces<4>, directory: TempDir) -> BoxUnderTest {
    let [_, middle, ..] = spaces.namespaces();
    let mut command = middle.command(env!("CARGO_BIN_EXE_sluice"), "");
    command.env("STATE_DIRECTORY", directory.path().join("state"));
    BoxUnderTest::spawn(directory, command)
}

/// The namespaces and the daemon of one test, gone with it.
pub struct Site {
    pub daemon: BoxUnderTest,
    spaces: Spaces<4>,
    config: String,
    /// The local port that a program gets next.
    port: Cell<u16>,
}

impl Site {
    /// The site of the test of this name, whose box tracks by this preset. `None` where namespaces cannot be made, which needs root.
    pub fn new(test: &str, preset: &str) -> Option<Site> {
        let spaces = Spaces::new(test, ["client", "box", "router", "server"])?;
        connect(&spaces);
        let directory = tempfile::tempdir().unwrap();
        let config = config(directory.path(), preset);
        fs::write(directory.path().join("box.yaml"), format!("{config}{NAT}{POLICY}")).unwrap();
        let daemon = spawn(&spaces, directory);
        Some(Site { daemon, spaces, config, port: Cell::new(FIRST_PORT) })
    }

    /// Stops the box, as a service manager does, and starts it anew.
    pub fn restart(&mut self) {
        self.daemon.signal("TERM");
        assert_eq!(self.daemon.wait().code(), Some(0));
        let directory = mem::replace(&mut self.daemon.directory, tempfile::tempdir().unwrap());
        self.daemon = spawn(&self.spaces, directory);
    }

    pub fn client(&self) -> Namespace<'_> {
        self.spaces.namespaces()[0]
    }

    pub fn server(&self) -> Namespace<'_> {
        self.spaces.namespaces()[3]
    }

    /// A local port that no program of the site has had: whoever closes first leaves it in TIME_WAIT. Successive ports are
    /// different shards'.
    pub fn fresh_port(&self) -> u16 {
        self.port.replace(self.port.get() + 1)
    }

    /// Writes the configuration anew, with these sections at its end, and puts it in force.
    pub fn reload(&self, rest: &str) -> String {
        fs::write(self.daemon.path("box.yaml"), format!("{}{rest}", self.config)).unwrap();
        self.daemon.tell("reload")
    }

    /// The same, and from now on the box asks for the link-layer addresses of its neighbours.
    pub fn reload_without_neighbours(&self, rest: &str) -> String {
        let lines = self.config.lines().filter(|line| !line.starts_with("neighbours:"));
        let config = lines.collect::<Vec<_>>().join("\n");
        fs::write(self.daemon.path("box.yaml"), format!("{config}\n{rest}")).unwrap();
        self.daemon.tell("reload")
    }

    /// Why the box has dropped packets or called them INVALID; but for queues that run over where workers wait for a
    /// processor, and for what hosts say of themselves to their links.
    pub fn drops(&self) -> Vec<String> {
        let ask = |question: &str| -> serde_json::Value {
            serde_json::from_str(&self.daemon.tell(question)).unwrap()
        };
        let rows = |of: &serde_json::Value, name: &str| -> Vec<String> {
            let rows = of.as_array().unwrap().iter().filter(|row| row["packets"] != 0);
            rows.map(|row| row[name].as_str().unwrap().to_owned()).collect()
        };
        let drops = ask("drops --json");
        let mut reasons = [rows(&drops["drops"], "name"), rows(&drops["invalid"], "name")].concat();
        reasons
            .retain(|reason| !["handoff-full", "tx-full", "policy", "ip-source"].contains(&reason.as_str()));
        let refusing = rows(&ask("stats --json")["rules"], "rule");
        reasons.extend(refusing.into_iter().filter(|rule| rule == "default"));
        reasons
    }

    /// What each worker's shard has counted under a name.
    pub fn shards(&self, counter: &str) -> Vec<u64> {
        let said = self.daemon.tell("conntrack -S");
        let value = |line: &str| line.split(&format!("{counter}=")).nth(1)?.split(' ').next()?.parse().ok();
        said.lines().filter_map(value).collect()
    }
}

/// The configuration up to what is translated and let pass.
fn config(directory: &Path, preset: &str) -> String {
    let [v4, v6] = &FAMILIES;
    let addresses = |side: fn(&Plan) -> Vec<&str>| {
        let of = |plan: &Plan| {
            side(plan).iter().map(|address| format!("'{address}/{}'", plan.network_bits)).collect::<Vec<_>>()
        };
        [of(v4), of(v6)].concat().join(", ")
    };
    let neighbours = [(v4.client, CLIENT_MAC, "inside"), (v6.client, CLIENT_MAC, "inside")].into_iter();
    let neighbours = neighbours.chain([v4, v6].map(|plan| (plan.router, ROUTER_MAC, "outside")));
    let neighbours =
        neighbours.map(|(address, mac, dev)| format!("{{ address: '{address}', mac: '{mac}', dev: {dev} }}"));
    format!(
        "version: 1
system: {{ cores: {{ control: 0, workers: [0, 1] }}, idle: friendly, memory: {{ hugepages: 512M }} }}
interfaces:
  inside: {{ device: 'vdev:net_af_packet0,iface=inside,qpairs=2', addresses: [{}] }}
  outside: {{ device: 'vdev:net_af_packet1,iface=outside,qpairs=2', addresses: [{}] }}
routes: [{{ to: 0.0.0.0/0, via: {}, dev: outside }}, {{ to: '::/0', via: '{}', dev: outside }}]
neighbours: [{}]
conntrack: {{ max-entries: 1K, preset: {preset} }}
{}",
        addresses(|plan| vec![plan.inside]),
        addresses(|plan| vec![plan.outside, plan.public]),
        v4.router,
        v6.router,
        neighbours.collect::<Vec<_>>().join(", "),
        listeners(directory)
    )
}

/// Lays the three cables, gives the hosts their addresses and routes, and lets the router forward.
fn connect(spaces: &Spaces<4>) {
    let [client, middle, router, server] = spaces.namespaces();
    for cable in [
        format!("inside netns {middle} type veth peer name eth0 netns {client}"),
        format!("outside netns {middle} type veth peer name near netns {router}"),
        format!("far netns {router} type veth peer name eth0 netns {server}"),
    ] {
        set(&format!("link add {cable}"));
    }
    // The box answers neighbour discovery, not the kernel that lends it the cables.
    middle.tell("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
    router.tell("sysctl", "-qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    for host in [client, router, server] {
        // Else a traceroute waits for its answers.
        host.tell("sysctl", "-qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
    }
    set(&format!("-n {client} link set eth0 address {CLIENT_MAC}"));
    set(&format!("-n {router} link set near address {ROUTER_MAC}"));
    set(&format!("-n {router} link set far mtu {NARROW}"));
    set(&format!("-n {server} link set eth0 mtu {NARROW}"));
    for port in ["inside", "outside"] {
        set(&format!("-n {middle} link set {port} up"));
    }
    for (host, port) in [(client, "eth0"), (router, "near"), (router, "far"), (server, "eth0")] {
        for plan in &FAMILIES {
            let address = match (host, port) {
                (_, "near") => plan.router,
                (_, "far") => plan.far,
                (host, _) if host == client => plan.client,
                _ => plan.server,
            };
            let nodad = if plan.host_bits > 32 { " nodad" } else { "" };
            set(&format!("-n {host} address add {address}/{} dev {port}{nodad}", plan.network_bits));
        }
        set(&format!("-n {host} link set {port} up"));
        // A virtual cable leaves checksums to a NIC that is not there.
        host.tell("ethtool", &format!("-K {port} tx off"));
    }
    for plan in &FAMILIES {
        set(&format!("-n {client} route add default via {}", plan.inside));
        // As if its own link took larger packets, so that only the router knows of the narrow one.
        let larger = if plan.host_bits > 32 { 1440 } else { 1460 };
        set(&format!("-n {server} route add default via {} advmss {larger}", plan.far));
    }
}

fn set(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", text(&output.stderr));
}
