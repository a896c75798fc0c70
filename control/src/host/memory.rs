//! Huge pages for the tables of the workers, each on its NUMA node, and for DPDK; and memory that can be locked.
//!
//! A table takes its pages when the daemon starts, arena by arena, as [`sluice_memory`] chooses them; DPDK takes what is left
//! of `system.memory.hugepages`, from any node.

use std::fs;
use std::path::Path;

use sluice_conntrack::{Configuration, Shard, ShardId, Steering};
use sluice_memory::Pages;

use super::{HostFinding, error, number, warning};
use crate::config::{self, Config, Device, Size};

/// DPDK does not start with less, in bytes.
pub const LEAST_DPDK_BYTES: u64 = 512 << 20;

/// Huge pages by size, the largest first.
const SIZES: [Pages; 2] = [Pages::Huge1G, Pages::Huge2M];

/// A part of the machine that has huge pages of its own: a NUMA node.
struct Node {
    /// Which one, where there are several.
    number: Option<u16>,
    /// The directory with a directory for each page size.
    directory: String,
    /// Bytes on free pages of each of [`SIZES`].
    free: [u64; SIZES.len()],
    /// Bytes that are wanted here.
    wanted: u64,
    /// Bytes that found no page.
    missing: u64,
}

/// Looks at what the tables and DPDK will take.
pub fn inspect(config: &Config, root: &Path) -> Vec<HostFinding> {
    let mut findings = Vec::new();
    let mut nodes = nodes(root);
    // A configuration that cannot be lowered is not checked for its machine.
    if let Ok(configuration) = config::lower(config) {
        let tables = take_tables(config, &configuration, &mut nodes, root);
        take_dpdk(config.system.memory.hugepages.0.saturating_sub(tables).max(LEAST_DPDK_BYTES), &mut nodes);
        findings.extend(nodes.iter().filter_map(|node| huge_pages(node, tables, root)));
        let missing = nodes.iter().map(|node| node.missing).sum();
        findings.extend(ordinary_pages(missing, root));
    }
    findings.extend(locked_memory(config, root));
    findings
}

/// The nodes of the machine; one where it does not tell them apart.
fn nodes(root: &Path) -> Vec<Node> {
    let node = |number: Option<u16>, directory: String| {
        let node = Node { number, directory, free: [0; SIZES.len()], wanted: 0, missing: 0 };
        Node { free: SIZES.map(|size| node.free_bytes(size, root)), ..node }
    };
    let named = fs::read_dir(root.join("sys/devices/system/node")).into_iter().flatten().flatten();
    let mut numbers: Vec<u16> =
        named.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()).collect();
    numbers.sort_unstable();
    match numbers[..] {
        [] | [_] => vec![node(None, "sys/kernel/mm/hugepages".to_owned())],
        _ => {
            let directory = |number| format!("sys/devices/system/node/node{number}/hugepages");
            numbers.iter().map(|number| node(Some(*number), directory(number))).collect()
        }
    }
}

/// The node that a core is on, by its index in `nodes`.
fn node_of(core: u16, nodes: &[Node], root: &Path) -> usize {
    let core = root.join(format!("sys/devices/system/cpu/cpu{core}"));
    let is_on = |node: &Node| node.number.is_some_and(|number| core.join(format!("node{number}")).exists());
    nodes.iter().position(is_on).unwrap_or(0)
}

/// Takes the pages of each worker's tables; gives how many bytes those are.
fn take_tables(config: &Config, configuration: &Configuration, nodes: &mut [Node], root: &Path) -> u64 {
    let cores = &config.system.cores.workers;
    let mut tables = 0;
    for (shard, core) in (0..).zip(cores) {
        let Some(steering) = Steering::new(ShardId(shard), cores.len() as u16) else { break };
        let index = node_of(*core, nodes, root);
        let entries = steering.share(configuration.settings.max_entries);
        for bytes in Shard::arena_bytes(entries, configuration) {
            tables += nodes[index].take(bytes);
        }
    }
    tables
}

/// Takes what DPDK wants, from whichever node has it.
fn take_dpdk(mut bytes: u64, nodes: &mut [Node]) {
    for node in nodes.iter_mut() {
        for free in &mut node.free {
            let taken = bytes.min(*free);
            *free -= taken;
            bytes -= taken;
            node.wanted += taken;
        }
    }
    if let Some(node) = nodes.first_mut() {
        node.wanted += bytes;
        node.missing += bytes;
    }
}

impl Node {
    /// A file about its pages of a size; their directory is named by the size in kB.
    fn file(&self, size: Pages, name: &str) -> String {
        format!("{}/hugepages-{}kB/{name}", self.directory, size.size_bytes() >> 10)
    }

    fn free_bytes(&self, size: Pages, root: &Path) -> u64 {
        number(&root.join(self.file(size, "free_hugepages"))) * size.size_bytes() as u64
    }

    /// Takes pages for an arena, the largest that suit it and are free; gives how many bytes those are.
    fn take(&mut self, bytes: usize) -> u64 {
        let on = |size: Pages| (bytes.next_multiple_of(size.size_bytes())) as u64;
        let suitable = SIZES.iter().zip(&mut self.free).filter(|(size, _)| size.suits(bytes));
        for (size, free) in suitable {
            if let Some(rest) = free.checked_sub(on(*size)) {
                *free = rest;
                self.wanted += on(*size);
                return on(*size);
            }
        }
        self.wanted += on(Pages::Huge2M);
        self.missing += on(Pages::Huge2M);
        on(Pages::Huge2M)
    }
}

fn huge_pages(node: &Node, tables: u64, root: &Path) -> Option<HostFinding> {
    if node.missing == 0 {
        return None;
    }
    let place = node.number.map_or_else(String::new, |number| format!(" of node {number}"));
    let free = SIZES.iter().map(|size| node.free_bytes(*size, root)).sum();
    let unsuitable = if free < node.wanted { "" } else { ", but not of a size that suits" };
    let message = format!(
        "huge pages{place}: {} free{unsuitable}, {} wanted (all tables take {}); ordinary pages would serve, more slowly",
        Size(free),
        Size(node.wanted),
        Size(tables)
    );
    // What is still free was too little for one arena, and counts together with what is added.
    let [_, left] = node.free;
    let more = node.missing.saturating_sub(left).div_ceil(Pages::Huge2M.size_bytes() as u64);
    let reserved = node.file(Pages::Huge2M, "nr_hugepages");
    warning(message, format!("echo {} > /{reserved}", more + number(&root.join(&reserved))))
}

/// What finds no huge page has to find ordinary ones.
fn ordinary_pages(missing: u64, root: &Path) -> Option<HostFinding> {
    let meminfo = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.split_whitespace().next()?.parse::<u64>().ok()? << 10;
    if missing <= available {
        return None;
    }
    error(
        format!("memory: {} available, {} wanted that find no huge page", Size(available), Size(missing)),
        "lower conntrack.max-entries or system.memory.hugepages, or add memory",
    )
}

/// vfio pins all of DPDK's memory, which the limit on locked memory must allow.
fn locked_memory(config: &Config, root: &Path) -> Option<HostFinding> {
    let on_pci = |device: &Device| matches!(device, Device::Pci(_));
    if !config.interfaces.values().any(|interface| on_pci(&interface.device)) {
        return None;
    }
    let limits = fs::read_to_string(root.join("proc/self/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    let soft = line.split_whitespace().next()?;
    let wanted = config.system.memory.hugepages;
    match soft.parse::<u64>() {
        Ok(bytes) if bytes < wanted.0 => error(
            format!("locked memory: at most {}, {wanted} wanted", Size(bytes)),
            "ulimit -l unlimited   (in a systemd unit: LimitMEMLOCK=infinity)",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found on a machine with these files, by a configuration of two workers.
    fn found(files: &[(&str, &str)], max_entries: &str) -> Vec<String> {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let file = root.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let yaml = format!(
            "version: 1\nsystem: {{cores: {{workers: [2, 9]}}}}\nconntrack: {{max-entries: {max_entries}}}\n\
             interfaces: {{a: {{device: 'vdev:net_null0'}}, b: {{device: 'vdev:net_null1'}}}}"
        );
        let config = config::parse("test", yaml.as_bytes()).unwrap();
        inspect(&config, root.path()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_table_wants_pages_of_its_node() {
        let nodes = [
            ("sys/devices/system/cpu/cpu2/node0/cpulist", "0-7"),
            ("sys/devices/system/cpu/cpu9/node1/cpulist", "8-15"),
            ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages", "1024"),
            ("sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages", "30"),
            ("sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "50"),
        ];
        assert_eq!(
            found(&nodes, "1M"),
            ["warning: huge pages of node 1: 60M free, 78M wanted (all tables take 156M); \
              ordinary pages would serve, more slowly\n   \
              mend: echo 59 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages"]
        );
    }

    #[test]
    fn tables_larger_than_what_dpdk_shares_with_them_are_added_to_it() {
        let large = [
            ("sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages", "4"),
            ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "1024"),
            ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "1024"),
        ];
        // 1.5 GiB of entries for each worker leave too much of two pages of 1 GiB unused, and so do all smaller arenas.
        assert_eq!(
            found(&large, "25M"),
            [
                "warning: huge pages: 6G free, but not of a size that suits, 4332M wanted (all tables take 3820M); \
              ordinary pages would serve, more slowly\n   \
              mend: echo 1910 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
            ]
        );
        // 0.95 GiB suit one.
        assert_eq!(found(&large, "16M"), Vec::<String>::new());
    }

    #[test]
    fn what_finds_no_page_at_all_cannot_run() {
        let small = [("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable:    1000000 kB\n")];
        let findings = found(&small, "1M");
        assert!(findings[0].starts_with("warning: huge pages: 0 free, 1G wanted"), "{findings:?}");
        assert!(findings[1].starts_with("error: memory: "), "{findings:?}");
        assert!(findings[1].contains("1G wanted that find no huge page"), "{findings:?}");
    }
}
