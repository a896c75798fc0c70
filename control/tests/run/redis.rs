//! A real redis-server, for boxes that tell each other of connections.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::box_under_test::{text, wait_for};
use crate::namespaces::{Host, Namespace};

/// A redis-server on a socket of its own.
pub struct Redis {
    directory: tempfile::TempDir,
    /// What starts it: `redis-server`, in a namespace maybe, and where it listens besides.
    command: Vec<String>,
    server: Option<Host>,
}

impl Redis {
    /// One that runs.
    pub fn new() -> Redis {
        Redis::by("redis-server --port 0")
    }

    /// One in a namespace, where others reach it at this port, over all addresses.
    pub fn inside(at: Namespace<'_>, port: u16) -> Redis {
        Redis::by(&format!(
            "ip netns exec {at} redis-server --port {port} --bind 0.0.0.0 --protected-mode no"
        ))
    }

    fn by(command: &str) -> Redis {
        let command = command.split(' ').map(str::to_owned).collect();
        let mut redis = Redis { directory: tempfile::tempdir().unwrap(), command, server: None };
        redis.start();
        redis
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.path("redis.sock")
    }

    /// A file in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Begins anew, with nothing.
    pub fn start(&mut self) {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).args(["--save", "", "--appendonly", "no", "--unixsocket"]);
        command.arg(self.socket());
        command.current_dir(self.directory.path()).stdout(Stdio::null());
        self.server = Some(Host(command.spawn().unwrap()));
        wait_for("redis-server", || self.ask(&["PING"]) == "PONG\n");
    }

    /// Ends it as a crash does.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Sends it a signal, as STOP, after which it answers nobody, and CONT.
    pub fn signal(&self, name: &str) {
        let pid = self.server.as_ref().unwrap().0.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// What it answers to a command.
    pub fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(arguments).output().unwrap();
        text(&output.stdout)
    }
}
