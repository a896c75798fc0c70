//! Real hosts on both sides: a TCP connection between two network namespaces, through a daemon in a third.

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};

use crate::box_under_test::{BoxUnderTest, text, wait_for};

/// Three namespaces in a row, gone with the test: client, box and server.
pub struct Row {
    pub names: [String; 3],
}

impl Row {
    /// A row for the test of this name, whose client and server have these addresses. Needs root; `None` where
    /// namespaces cannot be made.
    pub fn new(test: &str, client_addresses: &[&str], server_addresses: &[&str]) -> Option<Row> {
        let id = std::process::id();
        let names = ["client", "box", "server"].map(|name| format!("sluice-{id}-{test}-{name}"));
        let row = Row { names };
        let made = row.names.iter().all(|name| ip(&format!("netns add {name}")));
        if !made {
            return None;
        }
        let [client, middle, server] = &row.names;
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
            // A virtual cable leaves checksums to a NIC that is not there.
            let offload = row.inside(host, "ethtool", &["-K", "eth0", "tx", "off"]);
            assert!(offload.status.success(), "{}", text(&offload.stderr));
        }
        Some(row)
    }

    /// Runs a program in one of the namespaces.
    pub fn inside(&self, name: &str, program: &str, arguments: &[&str]) -> Output {
        Command::new("ip").args(["netns", "exec", name, program]).args(arguments).output().unwrap()
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&format!("netns delete {name}"));
        }
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

pub fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).output().is_ok_and(|output| output.status.success())
}

const SERVER: &str = "import socket; s = socket.create_server(('10.9.0.2', 8080)); c, _ = s.accept(); \
                      c.sendall(c.recv(64).upper()); c.recv(1)";
const CLIENT: &str = "import socket, sys, time\nfor _ in range(300):\n try: s = socket.create_connection(('10.9.0.2', 8080), 1)\n \
                      except OSError: time.sleep(0.1)\n else: break\n\
                      s.sendall(b'hello'); print(s.recv(64).decode()); sys.stdin.read()";

#[test]
fn a_real_connection_is_tracked() {
    let Some(row) = Row::new("wire", &["10.9.0.1/24"], &["10.9.0.2/24"]) else {
        eprintln!("skipped: network namespaces need root");
        return;
    };
    let [client, middle, server] = &row.names;
    let config = "version: 1
system: { cores: { control: 0, workers: [0] }, memory: { hugepages: 512M } }
interfaces:
  inside: { device: 'vdev:net_af_packet0,iface=inside' }
  outside: { device: 'vdev:net_af_packet1,iface=outside' }
conntrack: { max-entries: 1K }
policy: { rules: [{ state: [established, related], action: accept }, { in: inside, state: new, action: accept }] }
";
    let daemon = BoxUnderTest::start_inside(middle, config);

    let python = |name: &str, script: &str| {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name, "python3", "-c", script]);
        Host(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    };
    let mut serving = python(server, SERVER);
    let mut asking = python(client, CLIENT);
    let listed = || daemon.tell("conntrack -L -p tcp --dport 8080 -u ASSURED");
    wait_for("the connection", || listed().contains("ESTABLISHED src=10.9.0.1 dst=10.9.0.2"));
    let mut answer = String::new();
    drop(asking.0.stdin.take());
    asking.0.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "HELLO\n");
    serving.0.wait().unwrap();
    let closing = || daemon.tell("conntrack -L --state TIME_WAIT -p tcp").lines().count() == 1;
    wait_for("both sides to close", closing);
}
