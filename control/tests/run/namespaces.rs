//! Network namespaces, and three in a row: client, box and server, between which a connection is tracked.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use crate::box_under_test::{BoxUnderTest, text, wait_for};

/// Network namespaces, gone with the test.
pub struct Spaces<const N: usize>([String; N]);

impl<const N: usize> Spaces<N> {
    /// One for each of these hosts of the test of this name. Needs root; `None` where they cannot be made.
    pub fn new(test: &str, hosts: [&str; N]) -> Option<Self> {
        let id = std::process::id();
        let spaces = Spaces(hosts.map(|host| format!("sluice-{id}-{test}-{host}")));
        let made = spaces.0.iter().all(|name| ip(&format!("netns add {name}")));
        if !made {
            eprintln!("skipped: network namespaces need root");
        }
        made.then_some(spaces)
    }

    /// What is in them, in the order of the hosts.
    pub fn namespaces(&self) -> [Namespace<'_>; N] {
        self.0.each_ref().map(|name| Namespace(name))
    }
}

impl<const N: usize> Drop for Spaces<N> {
    fn drop(&mut self) {
        for name in &self.0 {
            ip(&format!("netns delete {name}"));
        }
    }
}

/// One namespace, and what runs there.
#[derive(Clone, Copy, PartialEq)]
pub struct Namespace<'a>(&'a str);

/// The name of the namespace.
impl fmt::Display for Namespace<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Namespace<'_> {
    /// A program to be started there.
    pub fn command(self, program: &str, arguments: &str) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", self.0, program])
            .args(arguments.split_whitespace())
            .stdin(Stdio::null());
        command
    }

    /// Runs a program to its end, whatever that is.
    pub fn run(self, program: &str, arguments: &str) -> Output {
        self.command(program, arguments).output().unwrap()
    }

    /// Runs a program that must succeed; gives what it prints.
    pub fn tell(self, program: &str, arguments: &str) -> String {
        let output = self.run(program, arguments);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{program} {arguments}: {said}{}", text(&output.stderr));
        said
    }

    /// Starts a program that is told things through one pipe, and prints into another.
    pub fn start(self, program: &str, arguments: &str) -> Host {
        let mut command = self.command(program, arguments);
        Host(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Starts a server, and waits until it listens on this TCP or UDP port.
    pub fn serve(self, port: u16, program: &str, arguments: &str) -> Host {
        self.serve_by(port, self.command(program, arguments))
    }

    /// The same by a command that is to be run there.
    pub fn serve_by(self, port: u16, mut command: Command) -> Host {
        let host = Host(command.stdout(Stdio::null()).spawn().unwrap());
        let listens = || self.tell("ss", "-Hltun").contains(&format!(":{port} "));
        wait_for(&format!("a server to listen on port {port}"), listens);
        host
    }
}

/// A program in a namespace, gone with the test.
pub struct Host(pub Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Servers that send back what comes, and clients that check it.
pub const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/run/peers.py");

/// TCP connections of a client to a server that sends back what comes, all of them busy.
pub struct Streams {
    client: Host,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Streams {
    pub fn open(from: Namespace<'_>, to: &str, port: u16, connections: usize) -> Streams {
        let mut client = from.start("python3", &format!("{PEERS} tcp-client {to} {port} {connections}"));
        let ask = client.0.stdin.take().unwrap();
        let answers = BufReader::new(client.0.stdout.take().unwrap());
        Streams { client, ask, answers }
    }

    /// Waits until each has sent some more, and got it back.
    pub fn go_on(&mut self) {
        self.ask.write_all(b"\n").unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer, "whole\n");
    }

    /// Closes them, both sides.
    pub fn close(mut self) {
        drop(self.ask);
        assert!(self.client.0.wait().unwrap().success());
    }
}

/// Runs ip(8); whether it did as it was told.
pub fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().is_ok_and(|output| output.status.success())
}

/// Three namespaces in a row: client, box and server.
pub struct Row(Spaces<3>);

impl Row {
    /// A row for the test of this name, whose client and server have these addresses.
    pub fn new(test: &str, client_addresses: &[&str], server_addresses: &[&str]) -> Option<Row> {
        let row = Row(Spaces::new(test, ["client", "box", "server"])?);
        let [client, middle, server] = row.namespaces();
        for (host, near, addresses) in
            [(client, "inside", client_addresses), (server, "outside", server_addresses)]
        {
            assert!(ip(&format!("link add {near} netns {middle} type veth peer name eth0 netns {host}")));
            assert!(ip(&format!("-n {middle} link set {near} up")));
            for address in addresses {
                let nodad = if address.contains(':') { " nodad" } else { "" };
                assert!(ip(&format!("-n {host} address add {address} dev eth0{nodad}")));
            }
            assert!(ip(&format!("-n {host} link set eth0 up")));
            // Checksums it leaves to a NIC that is not there, as it comes; frames of many segments would be cut off.
            host.tell("ethtool", "-K eth0 tso off gso off");
        }
        Some(row)
    }

    /// One whose client and server have a router in the middle, of both families: [`ROUTER`].
    pub fn routed(test: &str) -> Option<Row> {
        let row = Row::new(test, &["10.0.0.2/16", "fd00:1::2/64"], &["10.1.0.2/16", "2001:db8:2::2/64"])?;
        let [client, middle, server] = row.namespaces();
        middle.tell("sysctl", "-qw net.ipv6.conf.all.disable_ipv6=1");
        for (host, v4, v6) in [(client, "10.0.0.1", "fd00:1::1"), (server, "10.1.0.1", "2001:db8:2::1")] {
            assert!(ip(&format!("-n {host} route add default via {v4}")));
            assert!(ip(&format!("-n {host} -6 route add default via {v6}")));
        }
        Some(row)
    }

    pub fn namespaces(&self) -> [Namespace<'_>; 3] {
        self.0.namespaces()
    }
}

/// How the configuration of that router begins.
pub const ROUTER: &str = "version: 1
system: { cores: { control: 0, workers: [0] }, memory: { hugepages: 512M } }
interfaces:
  inside: { device: 'vdev:net_af_packet0,iface=inside', addresses: [10.0.0.1/16, 'fd00:1::1/64'] }
  outside: { device: 'vdev:net_af_packet1,iface=outside', addresses: [10.1.0.1/16, '2001:db8:2::1/64'] }
conntrack: { max-entries: 4K }
";

#[test]
fn a_real_connection_is_tracked() {
    let Some(row) = Row::new("wire", &["10.9.0.1/24"], &["10.9.0.2/24"]) else { return };
    let [client, middle, server] = row.namespaces();
    let config = "version: 1
system: { cores: { control: 0, workers: [0] }, memory: { hugepages: 512M } }
interfaces:
  inside: { device: 'vdev:net_af_packet0,iface=inside' }
  outside: { device: 'vdev:net_af_packet1,iface=outside' }
conntrack: { max-entries: 1K }
policy: { rules: [{ state: [established, related], action: accept }, { in: inside, state: new, action: accept }] }
";
    let daemon = BoxUnderTest::start_inside(middle, config);
    let _server = server.serve(8080, "python3", &format!("{PEERS} tcp-server 8080"));
    let mut stream = Streams::open(client, "10.9.0.2", 8080, 1);
    stream.go_on();
    let listed = daemon.tell("conntrack -L -p tcp --dport 8080 -u ASSURED");
    assert!(listed.contains("ESTABLISHED src=10.9.0.1 dst=10.9.0.2"), "{listed}");
    stream.close();
    let closed = || daemon.tell("conntrack -L --state TIME_WAIT -p tcp").lines().count() == 1;
    wait_for("both sides to close", closed);
}
