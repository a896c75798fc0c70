//! A private OVS-DPDK: its own database and switch process in a temporary directory, one PMD core, nothing
//! shared with an Open vSwitch that the machine may run. It ends with its value.

use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::Process;

/// Where Debian puts the switch that has DPDK.
const SWITCH: &str = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// The one bridge.
const BRIDGE: &str = "bench";
/// How long anything that is not a measurement may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Memory for the mempool of 262,144 mbufs and DPDK's own.
pub const MEMORY_BYTES: u64 = 2 << 30;

/// OVS-DPDK with one bridge.
pub struct Ovs {
    // Dropped in this order: the switch before its database before their directory.
    control: UnixStream,
    _switch: Process,
    _database: Process,
    directory: TempDir,
}

impl Ovs {
    /// Starts one whose PMD thread polls on `core`, its other threads wherever the kernel puts them.
    /// `huge_pages` says whether [`MEMORY_BYTES`] of them are free; without, it runs on ordinary pages.
    pub fn start(core: usize, huge_pages: bool) -> anyhow::Result<Self> {
        ensure!(Path::new(SWITCH).exists(), "{SWITCH} is not there: run deploy/dependencies.sh bench");
        let directory = tempfile::Builder::new().prefix("sluice-bench-ovs-").tempdir()?;
        let file = |name: &str| directory.path().join(name).display().to_string();
        run("ovsdb-tool", &["create".into(), file("conf.db"), SCHEMA.into()])?;
        let database = Process::start(
            "ovsdb-server",
            &[
                "-vconsole:off".into(),
                file("conf.db"),
                format!("--remote=punix:{}", file("db.sock")),
                format!("--unixctl={}", file("database.ctl")),
                format!("--log-file={}", file("database.log")),
            ],
        )?;
        wait_for(&directory.path().join("db.sock"))?;

        let megabytes = MEMORY_BYTES >> 20;
        let memory = if huge_pages {
            "--in-memory".into()
        } else {
            format!("--no-huge --legacy-mem -m {megabytes} --no-shconf --iova-mode=va")
        };
        let mut settings = vec![
            "dpdk-init=true".into(),
            "dpdk-lcore-mask=0x1".into(),
            // Its advice for many connections: the cache of exact matches only costs time then.
            "emc-insert-inv-prob=0".into(),
            format!("pmd-cpu-mask={:#x}", 1_u64 << core),
            format!("dpdk-extra=\"--no-pci {memory}\""),
        ];
        if huge_pages {
            settings.push("dpdk-socket-mem=1024".into());
        }
        let mut arguments = vec!["--no-wait".into(), "set".into(), "Open_vSwitch".into(), ".".into()];
        arguments.extend(settings.into_iter().map(|setting: String| format!("other_config:{setting}")));
        configure(directory.path(), &["--no-wait".into(), "init".into()])?;
        configure(directory.path(), &arguments)?;

        // The bridge's own sockets go where this says.
        let switch = Process::start(
            "env",
            &[
                format!("OVS_RUNDIR={}", directory.path().display()),
                SWITCH.into(),
                "-vconsole:off".into(),
                format!("unix:{}", file("db.sock")),
                format!("--unixctl={}", file("switch.ctl")),
                format!("--log-file={}", file("switch.log")),
            ],
        )?;
        wait_for(&directory.path().join("switch.ctl"))?;
        switch.prefer_session();
        let add = ["add-br", BRIDGE, "--", "set", "bridge", BRIDGE, "datapath_type=netdev"];
        configure(directory.path(), &add.map(String::from)).with_context(|| {
            format!("OVS does not start; its log ends:\n{}", tail(&directory.path().join("switch.log")))
        })?;
        let control = UnixStream::connect(directory.path().join("switch.ctl"))?;
        control.set_read_timeout(Some(PATIENCE))?;
        Ok(Ovs { control, _switch: switch, _database: database, directory })
    }

    /// Replaces all flows; a flow a line, in the language of ovs-ofctl(8).
    pub fn set_flows(&self, flows: &str) -> anyhow::Result<()> {
        let file = self.directory.path().join("flows");
        std::fs::write(&file, flows)?;
        let bridge = format!("unix:{}", self.directory.path().join(format!("{BRIDGE}.mgmt")).display());
        run(
            "ovs-ofctl",
            &["--protocols=OpenFlow15".into(), "replace-flows".into(), bridge, file.display().to_string()],
        )
    }

    /// Adds a DPDK virtual device as port `number`. Its traffic begins at once.
    pub fn add_port(&self, name: &str, number: u16, device: &str) -> anyhow::Result<()> {
        let arguments = [
            "add-port",
            BRIDGE,
            name,
            "--",
            "set",
            "interface",
            name,
            "type=dpdk",
            &format!("ofport_request={number}"),
            &format!("options:dpdk-devargs=\"{device}\""),
        ];
        configure(self.directory.path(), &arguments.map(String::from))?;
        // Port errors do not reach ovs-vsctl's exit status.
        let error = output(
            "ovs-vsctl",
            &[self.database(), "get".into(), "interface".into(), name.into(), "error".into()],
        )?;
        ensure!(error.trim() == "[]", "OVS refuses port {name} ({device}): {}", error.trim());
        Ok(())
    }

    /// Removes a port and with it its device. Without ports there is no PMD thread either.
    pub fn remove_port(&self, name: &str) -> anyhow::Result<()> {
        configure(self.directory.path(), &["del-port", BRIDGE, name].map(String::from))
    }

    /// Entries in the connection table.
    pub fn connections(&mut self) -> anyhow::Result<u64> {
        let text = self.call("dpctl/ct-get-nconns", &[])?;
        text.trim().parse().with_context(|| format!("not a number of connections: {text}"))
    }

    /// Sets how many entries the connection table takes.
    pub fn limit_connections(&mut self, most: u64) -> anyhow::Result<()> {
        self.call("dpctl/ct-set-maxconns", &[&most.to_string()]).map(drop)
    }

    /// Empties the connection table.
    pub fn flush_connections(&mut self) -> anyhow::Result<()> {
        self.call("dpctl/flush-conntrack", &[]).map(drop)
    }

    /// Packets that a port has received and sent, as of now.
    pub fn packets(&mut self, port: &str) -> anyhow::Result<(u64, u64)> {
        let text = self.call("dpctl/show", &["--statistics"])?;
        let section = text.split_once(&format!(": {port} (")).map(|(_, after)| after);
        let count = |label: &str| section?.split_once(label)?.1.split_whitespace().next()?.parse().ok();
        count("RX packets:")
            .zip(count("TX packets:"))
            .with_context(|| format!("no statistics of {port} in:\n{text}"))
    }

    /// A command of ovs-vswitchd(8), without the cost of starting ovs-appctl for it.
    fn call(&mut self, method: &str, parameters: &[&str]) -> anyhow::Result<String> {
        serde_json::to_writer(&self.control, &json!({ "id": 0, "method": method, "params": parameters }))?;
        let mut answers =
            serde_json::Deserializer::from_reader(BufReader::new(&self.control)).into_iter::<Value>();
        let answer = answers.next().context("OVS has ended")??;
        match (answer["error"].as_str(), answer["result"].as_str()) {
            (None, Some(result)) => Ok(result.to_owned()),
            (error, _) => bail!("{method}: {}", error.unwrap_or("no answer").trim()),
        }
    }

    fn database(&self) -> String {
        database(self.directory.path())
    }
}

fn database(directory: &Path) -> String {
    format!("--db=unix:{}", directory.join("db.sock").display())
}

/// Changes the database by ovs-vsctl and waits until the switch has followed.
fn configure(directory: &Path, arguments: &[String]) -> anyhow::Result<()> {
    let mut all = vec![database(directory), format!("--timeout={}", PATIENCE.as_secs())];
    all.extend_from_slice(arguments);
    run("ovs-vsctl", &all)
}

fn run(program: &str, arguments: &[String]) -> anyhow::Result<()> {
    output(program, arguments).map(drop)
}

fn output(program: &str, arguments: &[String]) -> anyhow::Result<String> {
    let output =
        Command::new(program).args(arguments).output().with_context(|| format!("cannot start {program}"))?;
    ensure!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn wait_for(socket: &PathBuf) -> anyhow::Result<()> {
    let begin = Instant::now();
    while UnixStream::connect(socket).is_err() {
        ensure!(begin.elapsed() < PATIENCE, "{} does not appear", socket.display());
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The last lines of a log.
fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}
