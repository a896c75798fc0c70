//! A running daemon of a test: its configuration, its captures, its process. Ends with the test.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::metrics::unaccounted;
use crate::namespaces::Namespace;

/// Longest wait for anything. DPDK starts in a second or two, on a busy machine in more.
const DEADLINE: Duration = Duration::from_secs(60);

/// UDP flows in the capture: more than one answer of the socket holds.
pub const FLOWS: u16 = 1200;

/// What the capture has besides: a flow that a rule drops, one that a rule logs, and a frame that is cut off.
pub const DROPPED_PORT: u16 = 666;
pub const LOGGED_PORT: u16 = 999;

/// A daemon between a finite capture and a capture file.
pub struct BoxUnderTest {
    pub directory: tempfile::TempDir,
    process: Child,
}

/// The policy that most tests run by.
pub const POLICY: &str = "\
policy:
  default: accept
  rules:
    - { name: no-doom, protocol: udp, destination-port: 666, action: drop }
    - { name: watched, protocol: udp, destination-port: 999, action: log }
";

impl BoxUnderTest {
    /// Starts one and waits until it has tracked its capture.
    pub fn start() -> BoxUnderTest {
        let started = BoxUnderTest::start_with(tempfile::tempdir().unwrap(), POLICY);
        wait_for("the capture to be tracked", || started.count() == Some(usize::from(FLOWS) + 2));
        started
    }

    /// Starts one in this directory, with this at the end of its configuration, and waits until it listens.
    pub fn start_with(directory: tempfile::TempDir, rest: &str) -> BoxUnderTest {
        write_capture(&directory.path().join("in.pcap"));
        write_config(directory.path(), rest);
        BoxUnderTest::spawn(directory, sluice())
    }

    /// Starts one in a namespace, by a configuration that lacks but metrics and the control socket, and waits until it
    /// listens.
    pub fn start_inside(namespace: Namespace<'_>, config: &str) -> BoxUnderTest {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("box.yaml"), config.to_owned() + &listeners(directory.path()))
            .unwrap();
        BoxUnderTest::spawn(directory, namespace.command(env!("CARGO_BIN_EXE_sluice"), ""))
    }

    /// Starts one in a directory that has its configuration, by this command, and waits until it listens.
    pub fn spawn(directory: tempfile::TempDir, command: Command) -> BoxUnderTest {
        let process = spawn(directory.path(), command);
        let mut started = BoxUnderTest { directory, process };
        wait_for("the daemon to listen", || {
            assert!(started.process.try_wait().unwrap().is_none(), "it ended: {}", started.stderr());
            started.count().is_some()
        });
        started
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/control.sock")
    }

    /// The port of 127.0.0.1 that it serves its metrics on.
    pub fn metrics_port(&self) -> u16 {
        let said = self.stderr();
        let (_, rest) = said.split_once("metrics http://127.0.0.1:").expect("the log names it");
        rest.split('/').next().unwrap().parse().unwrap()
    }

    /// The page of its metrics, which it serves in this namespace.
    pub fn metrics_in(&self, namespace: Namespace<'_>) -> String {
        let page = format!("-sSf --noproxy * http://127.0.0.1:{}/metrics", self.metrics_port());
        namespace.tell("curl", &page)
    }

    /// Waits until each packet that came in has left, was dropped or delivered, or is held: those that are on their way from worker to
    /// worker are nowhere. So say `sluice stats` and the metrics.
    pub fn accounts_for_all_packets(&self, namespace: Namespace<'_>) {
        self.balances();
        wait_for("the metrics to account for all packets", || unaccounted(&self.metrics_in(namespace)) == 0);
    }

    /// Waits until `sluice stats` accounts for all packets; gives it.
    pub fn balances(&self) -> serde_json::Value {
        let mut stats = serde_json::Value::Null;
        wait_for("all packets to be accounted for", || {
            stats = serde_json::from_str(&self.tell("stats --json")).unwrap();
            let sum = |side: &str| {
                let counts = stats["balance"][side].as_array().unwrap().iter();
                counts.map(|counted| counted["packets"].as_u64().unwrap()).sum::<u64>()
            };
            let [came, went] = ["came", "went"].map(sum);
            came > 0 && came == went
        });
        stats
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Memory that it has.
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// How many files and sockets it has open.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// Its threads: each name, and the cores that it may run on.
    pub fn threads(&self) -> Vec<(String, String)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).unwrap();
        // A thread may end meanwhile.
        let statuses = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("status")).ok());
        let field = |status: &str, name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
        };
        statuses.map(|status| (field(&status, "Name:"), field(&status, "Cpus_allowed_list:"))).collect()
    }

    /// Writes the configuration anew, with this at its end.
    pub fn write_config(&self, rest: &str) {
        write_config(self.directory.path(), rest);
    }

    /// Runs a command against it.
    pub fn ask(&self, arguments: &str) -> Output {
        let mut command = sluice();
        command.args(arguments.split_whitespace()).arg("--socket").arg(self.socket());
        command.output().unwrap()
    }

    /// Runs a command that must succeed; gives its standard output.
    pub fn tell(&self, arguments: &str) -> String {
        let output = self.ask(arguments);
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Sends lines to the socket as they are, and gives all that comes back.
    pub fn say(&self, lines: &[u8]) -> String {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // The daemon may end the talk before it has all of it.
        let _ = stream.write_all(lines);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answers = String::new();
        let _ = stream.read_to_string(&mut answers);
        answers
    }

    fn count(&self) -> Option<usize> {
        let output = self.ask("conntrack -C");
        text(&output.stdout).trim().parse().ok()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap()
    }

    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("the daemon to end", || self.process.try_wait().unwrap().is_some());
        self.process.wait().unwrap()
    }
}

impl Drop for BoxUnderTest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("the daemon said:\n{}", self.stderr());
        }
    }
}

pub fn sluice() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
}

/// Starts a daemon in a directory that has its configuration, by this command.
pub fn spawn(directory: &Path, mut command: Command) -> Child {
    let stderr = fs::File::create(directory.join("stderr")).unwrap();
    command.args(["run", "-c", "box.yaml"]).current_dir(directory).env_remove("JOURNAL_STREAM");
    // Where a test plays the service manager.
    command.env("NOTIFY_SOCKET", directory.join("notify"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().unwrap()
}

/// Waits until something holds.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < DEADLINE, "waited too long for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Where a daemon of this directory listens: for metrics on a port that is free, so that tests may run side by side.
pub fn listeners(directory: &Path) -> String {
    let path = directory.display();
    format!("metrics: {{ listen: '127.0.0.1:0' }}\ncontrol: {{ socket: {path}/run/control.sock }}\n")
}

pub fn write_config(directory: &Path, rest: &str) {
    let path = directory.display();
    let worker = thread::available_parallelism().map_or(0, |cores| cores.get() - 1).min(1);
    let head = format!(
        "version: 1
system: {{ cores: {{ control: 0, workers: [{worker}] }}, memory: {{ hugepages: 512M }} }}
interfaces:
  inside: {{ device: 'vdev:net_pcap0,rx_pcap={path}/in.pcap,tx_pcap={path}/back.pcap' }}
  outside: {{ device: 'vdev:net_pcap1,tx_pcap={path}/out.pcap' }}
conntrack: {{ max-entries: 10K, timeouts: {{ udp: {{ unreplied: 1h }} }} }}
{}",
        listeners(directory)
    );
    fs::write(directory.join("box.yaml"), head + rest).unwrap();
}

/// The same, and the capture, which comes over and over, as fast as it goes, into a port that takes everything.
pub fn write_endless(directory: &Path, rest: &str) {
    write_capture(&directory.join("in.pcap"));
    write_config(directory, rest);
    let (file, path) = (directory.join("box.yaml"), directory.display());
    let endless = fs::read_to_string(&file)
        .unwrap()
        .replace(&format!("tx_pcap={path}/back.pcap"), "infinite_rx=1")
        .replace(&format!("net_pcap1,tx_pcap={path}/out.pcap"), "net_null0,no-rx=1");
    fs::write(&file, endless).unwrap();
}

/// A UDP datagram without payload and checksum, from 10.0.0.1 to 10.0.0.2.
pub fn udp(sport: u16, dport: u16) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0x66, 0xce, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend(sport.to_be_bytes());
    frame.extend(dport.to_be_bytes());
    frame.extend([0, 8, 0, 0]);
    frame
}

/// A TCP SYN to port 80, its checksum right.
fn syn() -> Vec<u8> {
    let mut frame = udp(0, 0);
    frame.truncate(14);
    frame.extend([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0x66, 0xcd, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
    let sum: u32 = frame[26..].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = sum + 6 + 20;
    let folded = !((sum & 0xffff) + (sum >> 16)) as u16;
    frame[50..52].copy_from_slice(&folded.to_be_bytes());
    frame
}

/// The capture that every test's daemon reads.
pub fn write_capture(file: &Path) {
    let flows = (1..=FLOWS).map(|sport| udp(sport, 53));
    let cut_off = udp(1, 53)[..30].to_vec();
    write_frames(file, flows.chain([syn(), udp(1, LOGGED_PORT), udp(1, DROPPED_PORT), cut_off]));
}

/// A capture of these frames.
pub fn write_frames(file: &Path, frames: impl Iterator<Item = Vec<u8>>) {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let mut capture = words(&[0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, 1]);
    for frame in frames {
        capture.extend(words(&[1, 0, frame.len() as u32, frame.len() as u32]));
        capture.extend(frame);
    }
    fs::write(file, capture).unwrap();
}
