//! Linux as the box of a configuration: the kernel's own network stack and netfilter, in a network namespace of the calling thread's.
//!
//! Behind each interface is a TAP. The kernel takes a frame that is written there all the way in that system call, so that what leaves
//! by then has come of it, and what has not never will. What it says itself is dropped at once (`output`): it is counted, to tell a
//! packet that was refused from one that was dropped, and cannot disturb what is compared.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use dpdk::Tap;
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use sluice_conntrack::PortId;

use super::{Fate, Leaving, router};
use crate::config::Config;

const TABLE: &str = "sluice_compare";

/// What netfilter counts in front of and behind all rules: what the box has let in to itself, and what it says, but for what it says of its
/// own accord on a link (MLD, neighbour discovery).
const WATCH: &str = "table inet sluice_compare {
    counter input {}
    counter output {}
    chain input { type filter hook input priority 2000; counter name input; }
    chain output {
        type filter hook output priority -500;
        icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } drop
        icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } drop
        counter name output drop
    }
}";

const ETHERNET: usize = 14;
const MAX_FRAME_BYTES: usize = 65_536;

/// The rules of a Linux box, as its tools have saved them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rules {
    /// By `nft list ruleset`, as text or as JSON (`-j`).
    Nft(PathBuf),
    /// By `iptables-save`.
    Iptables(PathBuf),
    /// By `ip6tables-save`.
    Ip6tables(PathBuf),
}

/// The kernel's box. It is gone when this and the thread that it was made by are.
#[derive(Debug)]
pub struct Kernel {
    /// The interfaces, by their numbers.
    taps: Vec<Tap>,
    counts: Counts,
}

/// What the counters say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    input: u64,
    output: u64,
}

impl Kernel {
    /// Takes the calling thread to a network namespace of its own, for good, and makes the box of a configuration there, with these rules.
    ///
    /// # Errors
    /// This process may not, a tool is missing, or the kernel refuses something: said in a sentence.
    pub fn new(config: &Config, rules: &[Rules]) -> Result<Self, String> {
        let commands = router::commands(config)?;
        unshare(CloneFlags::CLONE_NEWNET)
            .map_err(|why| format!("a network namespace for the kernel's side (needs root): {why}"))?;
        set_all(&router::sysctls(config))?;
        let mut taps = Vec::new();
        for (number, name) in (0..).zip(config.interfaces.keys()) {
            taps.push(Tap::new(name).map_err(|why| format!("a TAP named {name}: {why}"))?);
            let address = mac_address(number).map(|byte| format!("{byte:02x}")).join(":");
            tool("ip", &["link", "set", name, "address", &address], None)?;
        }
        tool("ip", &["-batch", "-"], Some(&commands))?;
        set_all(&router::interface_sysctls(config))?;
        rules.iter().try_for_each(load)?;
        tool("nft", &["-f", "-"], Some(WATCH))?;
        let mut kernel = Kernel { taps, counts: Counts::default() };
        // What the links have said as they came up.
        kernel.drain();
        kernel.counts = counts()?;
        Ok(kernel)
    }

    /// What becomes of an untagged frame that comes in by an interface.
    ///
    /// # Errors
    /// The kernel does not take it, or no longer says what it counts.
    pub fn send(&mut self, ingress: PortId, mut frame: Vec<u8>) -> Result<Fate, String> {
        if let Some(destination) = frame.first_chunk_mut::<6>()
            && destination[0] & 1 == 0
        {
            *destination = mac_address(ingress.0);
        }
        let tap = self.taps.get_mut(usize::from(ingress.0)).ok_or("there is no such interface")?;
        tap.write_all(&frame).map_err(|why| format!("the kernel does not take a frame: {why}"))?;
        let sent = self.drain();
        if !sent.is_empty() {
            return Ok(Fate::Leaves(sent));
        }
        let before = std::mem::replace(&mut self.counts, counts()?);
        Ok(match self.counts {
            Counts { input, .. } if input > before.input => Fate::ForBox,
            Counts { output, .. } if output > before.output => Fate::Refused,
            _ => Fate::Ends,
        })
    }

    /// All that has left, by which interface.
    fn drain(&mut self) -> Vec<Leaving> {
        let mut sent = Vec::new();
        let mut buffer = vec![0; MAX_FRAME_BYTES];
        for (port, tap) in (0..).map(PortId).zip(&mut self.taps) {
            loop {
                match tap.read(&mut buffer) {
                    Ok(length) if length > ETHERNET => {
                        sent.push((port, buffer[..length].to_vec()));
                    }
                    Ok(_) => {}
                    Err(why) if why.kind() == ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        }
        sent
    }
}

/// That of an interface.
const fn mac_address(number: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, number.wrapping_add(1)]
}

/// Has the kernel take rules.
fn load(rules: &Rules) -> Result<(), String> {
    let (tool, arguments, path): (_, &[&str], _) = match rules {
        Rules::Nft(path) if is_json(path)? => ("nft", &["-j", "-f"], path),
        Rules::Nft(path) => ("nft", &["-f"], path),
        Rules::Iptables(path) => ("iptables-restore", &[], path),
        Rules::Ip6tables(path) => ("ip6tables-restore", &[], path),
    };
    let mut command = Command::new(tool);
    command.args(arguments).arg(path);
    run(command, None).map(drop)
}

fn is_json(path: &Path) -> Result<bool, String> {
    let text = fs::read_to_string(path).map_err(|why| format!("cannot read {}: {why}", path.display()))?;
    Ok(text.trim_start().starts_with('{'))
}

fn counts() -> Result<Counts, String> {
    let listed = tool("nft", &["-j", "list", "counters", "table", "inet", TABLE], None)?;
    let listed: Value = serde_json::from_str(&listed).map_err(|why| format!("nft: {why}"))?;
    let packets = |name: &str| {
        let items = listed["nftables"].as_array()?;
        let counter = items.iter().map(|item| &item["counter"]).find(|counter| counter["name"] == name)?;
        counter["packets"].as_u64()
    };
    let missing = "nft no longer lists what is counted: do the rules flush it?";
    Ok(Counts { input: packets("input").ok_or(missing)?, output: packets("output").ok_or(missing)? })
}

fn set_all(sysctls: &[(String, String)]) -> Result<(), String> {
    sysctls.iter().try_for_each(|(path, value)| {
        let path = Path::new("/proc/sys").join(path);
        fs::write(&path, value).map_err(|why| format!("cannot write {}: {why}", path.display()))
    })
}

/// Lines of a program's complaint that are shown.
const LINES: usize = 4;

/// Runs a program to its end, in the namespace of the calling thread, and has it read a text. Gives what it writes.
fn run(mut command: Command, input: Option<&str>) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |why: std::io::Error| format!("cannot run {program}: {why}");
    let stdin = if input.is_some() { Stdio::piped() } else { Stdio::null() };
    command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
        // A program that has ended before says why.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let complaint: Vec<&str> = complaint.trim().lines().take(LINES).collect();
    Err(format!("{program}: {}", complaint.join("\n")))
}

fn tool(program: &str, arguments: &[&str], input: Option<&str>) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments);
    run(command, input)
}
