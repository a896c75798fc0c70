//! Datagrams in fragments, by real programs through masquerade and destination NAT. The box has tap devices: where it borrows cables
//! of the kernel, that joins fragments of IPv4 before the box sees them.

use std::fs;

use crate::box_under_test::{BoxUnderTest, listeners, text, wait_for};
use crate::cores;
use crate::namespaces::{Namespace, PEERS, Spaces, ip};

/// Addresses of one family.
struct Plan {
    client: &'static str,
    inside: &'static str,
    outside: &'static str,
    /// The address of the box that leads to the client.
    public: &'static str,
    server: &'static str,
    network_bits: u8,
}

const FAMILIES: [Plan; 2] = [
    Plan {
        client: "10.0.0.2",
        inside: "10.0.0.1",
        outside: "203.0.113.1",
        public: "203.0.113.10",
        server: "203.0.113.2",
        network_bits: 24,
    },
    Plan {
        client: "fd00:1::2",
        inside: "fd00:1::1",
        outside: "2001:db8:2::1",
        public: "2001:db8:2::10",
        server: "2001:db8:2::2",
        network_bits: 64,
    },
];

const CONFIG: &str = "version: 1
system: { cores: { control: 0, workers: [0, 1] }, idle: friendly, memory: { hugepages: 512M } }
interfaces:
  inside: { device: 'vdev:net_tap0,iface=inside', addresses: [10.0.0.1/24, 'fd00:1::1/64'] }
  outside:
    device: 'vdev:net_tap1,iface=outside'
    addresses: [203.0.113.1/24, 203.0.113.10/24, '2001:db8:2::1/64', '2001:db8:2::10/64']
conntrack: { max-entries: 1K }
nat:
  source: [{ out: outside, masquerade: true }]
  destination:
    - { in: outside, destination: 203.0.113.10, to: 10.0.0.2 }
    - { in: outside, destination: '2001:db8:2::10', to: 'fd00:1::2' }
policy:
  default: drop
  rules:
    - { state: [established, related], action: accept }
    - { state: new, in: inside, action: accept }
    - { state: new, status: dnat, action: accept }
";

/// A client, the box and a server, each at one end of a tap device.
struct Taps {
    daemon: BoxUnderTest,
    spaces: Spaces<3>,
}

impl Taps {
    /// Those of the test of this name. `None` where namespaces cannot be made, which needs root, or two workers would share a core.
    fn new(test: &str) -> Option<Self> {
        let spaces = cores::are_there().then(|| Spaces::new(test, ["client", "box", "server"])).flatten()?;
        let [client, middle, server] = spaces.namespaces();
        let directory = tempfile::tempdir().unwrap();
        let config = format!("{CONFIG}{}", listeners(directory.path()));
        fs::write(directory.path().join("box.yaml"), config).unwrap();
        // The kernel sends a signal for each frame, and this one where too many wait: that there are more says nothing new.
        let options = concat!("--ignore-signal=IO ", env!("CARGO_BIN_EXE_sluice"));
        let daemon = BoxUnderTest::spawn(directory, middle.command("env", options));
        for (host, device, mac) in
            [(client, "inside", "02:00:00:00:01:02"), (server, "outside", "02:00:00:00:02:02")]
        {
            // The other end of the device is the daemon, wherever this one is.
            assert!(ip(&format!("-n {middle} link set {device} netns {host}")));
            assert!(ip(&format!("-n {host} link set {device} address {mac}")));
            let mut gateways = Vec::new();
            for plan in &FAMILIES {
                let (own, gateway) = match device {
                    "inside" => (plan.client, plan.inside),
                    _ => (plan.server, plan.outside),
                };
                let nodad = if own.contains(':') { " nodad" } else { "" };
                assert!(ip(&format!(
                    "-n {host} address add {own}/{} dev {device}{nodad}",
                    plan.network_bits
                )));
                gateways.push(gateway);
            }
            assert!(ip(&format!("-n {host} link set {device} up")));
            for gateway in gateways {
                assert!(ip(&format!("-n {host} route add default via {gateway}")));
            }
        }
        Some(Self { daemon, spaces })
    }

    fn client(&self) -> Namespace<'_> {
        self.spaces.namespaces()[0]
    }

    fn server(&self) -> Namespace<'_> {
        self.spaces.namespaces()[2]
    }

    /// Who asks, whom by which address, and where that is: through masquerade and through destination NAT, by both families.
    fn ways(&self) -> impl Iterator<Item = (Namespace<'_>, &'static str, Namespace<'_>)> {
        FAMILIES.iter().flat_map(|plan| {
            [(self.client(), plan.server, self.server()), (self.server(), plan.public, self.client())]
        })
    }

    /// What must hold in the end: datagrams were whole, and no fragment of theirs was dropped for what it is.
    fn check(&self) {
        let told: serde_json::Value = serde_json::from_str(&self.daemon.tell("drops --json")).unwrap();
        for of in ["drops", "invalid"] {
            for row in told[of].as_array().unwrap().iter().filter(|row| row["packets"] != 0) {
                let reason = row["name"].as_str().unwrap();
                // What a busy machine has come too late is asked for again.
                assert!(!reason.starts_with("fragment") || reason == "fragment-timeout", "{told:#}");
            }
        }
    }
}

#[test]
fn large_datagrams_go_there_and_back() {
    let Some(taps) = Taps::new("pieces") else { return };
    for (from, address, _) in taps.ways() {
        wait_for(&format!("an answer from {address}"), || {
            text(&from.run("ping", &format!("-n -c 1 -W 5 -s 20000 {address}")).stdout)
                .contains(" 1 received")
        });
    }
    for (from, address, at) in taps.ways() {
        let _server = at.serve(2049, "python3", &format!("{PEERS} udp-server 2049"));
        assert_eq!(from.tell("python3", &format!("{PEERS} udp-client {address} 2049 4 60000")), "4\n");
    }
    for (from, address, at) in taps.ways() {
        for how in ["", "-R"] {
            let _server = at.serve(5201, "iperf3", "-s -1");
            let said = from.tell("iperf3", &format!("-J -c {address} -u -l 8000 -b 5M -n 800K {how}"));
            let report: serde_json::Value = serde_json::from_str(&said).unwrap();
            let [sent, lost] =
                ["packets", "lost_packets"].map(|key| report["end"]["sum"][key].as_u64().unwrap());
            assert!(lost < sent, "{how}: {said}");
        }
    }
    taps.check();
}

/// A name whose records take almost 4096 bytes, the most that resolvers ask for by default.
#[test]
fn a_large_dns_answer_is_whole() {
    const RECORDS: usize = 15;
    let Some(taps) = Taps::new("dns") else { return };
    for (from, address, at) in taps.ways() {
        let records: Vec<String> = (0..RECORDS)
            .map(|number| format!("--txt-record=large.test,{number:02}{}", "x".repeat(248)))
            .collect();
        let options =
            "--keep-in-foreground --conf-file=/dev/null --user=root --pid-file --no-resolv --no-hosts";
        let options = format!("{options} --edns-packet-max=4096 {}", records.join(" "));
        let _server = at.serve(53, "dnsmasq", &options);
        // Whatever happens it does not ask by TCP.
        let said =
            from.tell("dig", &format!("+notcp +ignore +bufsize=4096 +tries=12 @{address} large.test TXT"));
        assert_eq!(said.matches("\tTXT\t").count(), RECORDS, "{said}");
        assert!(said.contains(&format!("SERVER: {address}#53")) && !said.contains(" tc "), "{said}");
    }
    taps.check();
}
