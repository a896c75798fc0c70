//! Is this machine ready: huge pages, drivers, cores, limits. Each finding comes with the command that mends it.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::config::{Config, Device, Size};

/// Something about the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostFinding {
    /// Whether Sluice cannot run like this, rather than run more slowly.
    pub fatal: bool,
    /// What is wrong.
    pub message: String,
    /// The command that mends it.
    pub mend: String,
}

impl fmt::Display for HostFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = if self.fatal { "error" } else { "warning" };
        write!(f, "{level}: {}\n   mend: {}", self.message, self.mend)
    }
}

/// Looks at the machine whose file system begins at `root`.
pub fn inspect(config: &Config, root: &Path) -> Vec<HostFinding> {
    let mut findings = Vec::new();
    findings.extend(huge_pages(config.system.memory.hugepages, root));
    findings.extend(locked_memory(config, root));
    findings.extend(cores(config, root));
    for (name, interface) in &config.interfaces {
        findings.extend(match &interface.device {
            Device::Pci(address) => nic(name, address, root),
            Device::Vdev(spec) => kernel_interface(name, spec, root),
        });
    }
    findings
}

fn warning(message: String, mend: impl Into<String>) -> Option<HostFinding> {
    Some(HostFinding { fatal: false, message, mend: mend.into() })
}

fn error(message: String, mend: impl Into<String>) -> Option<HostFinding> {
    Some(HostFinding { fatal: true, message, mend: mend.into() })
}

fn number(file: &Path) -> u64 {
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Directories below `/sys/kernel/mm/hugepages` are named by the page size in kB.
fn huge_pages(wanted: Size, root: &Path) -> Option<HostFinding> {
    let pools = [2_048u64, 1_048_576];
    let pool = |kb: u64| root.join(format!("sys/kernel/mm/hugepages/hugepages-{kb}kB"));
    let free: u64 = pools.iter().map(|kb| number(&pool(*kb).join("free_hugepages")) * kb * 1024).sum();
    if free >= wanted.0 {
        return None;
    }
    let kb = pools[0];
    let more = (wanted.0 - free).div_ceil(kb * 1024) + number(&pool(kb).join("nr_hugepages"));
    warning(
        format!("huge pages: {} free, {wanted} wanted; ordinary pages would serve, more slowly", Size(free)),
        format!("echo {more} > /sys/kernel/mm/hugepages/hugepages-{kb}kB/nr_hugepages"),
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

fn cores(config: &Config, root: &Path) -> Vec<HostFinding> {
    let Ok(present) = fs::read_to_string(root.join("sys/devices/system/cpu/online")) else {
        return Vec::new();
    };
    let cores = &config.system.cores;
    let missing = |core: &u16| {
        let message = format!("core {core}: this machine has {}", present.trim());
        error(message, "choose other cores under system.cores").filter(|_| !in_list(&present, *core))
    };
    let mut findings: Vec<_> = [cores.control].iter().chain(&cores.workers).filter_map(missing).collect();
    for worker in &cores.workers {
        if *worker == cores.control {
            let message =
                format!("core {worker}: worker and control share it, and each keeps the other waiting");
            findings.extend(warning(message, "give the worker a core of its own under system.cores"));
        } else if in_list(&present, *worker) && !is_isolated(*worker, root) {
            let mend = format!(
                "add isolcpus={worker} nohz_full={worker} rcu_nocbs={worker} to GRUB_CMDLINE_LINUX; update-grub; reboot"
            );
            findings.extend(warning(format!("core {worker}: the kernel schedules other work on it"), mend));
        }
    }
    findings
}

/// Whether the kernel schedules nothing on a core by itself.
pub fn is_isolated(core: u16, root: &Path) -> bool {
    fs::read_to_string(root.join("sys/devices/system/cpu/isolated")).is_ok_and(|list| in_list(&list, core))
}

/// Whether a core is in a list such as `0-3,8`.
fn in_list(list: &str, core: u16) -> bool {
    list.trim().split(',').any(|part| match part.split_once('-') {
        Some((first, last)) => {
            first.parse().is_ok_and(|first: u16| first <= core)
                && last.parse().is_ok_and(|last: u16| core <= last)
        }
        None => part.parse() == Ok(core),
    })
}

/// Drivers that DPDK works with, or beside, in the case of those that share the NIC with the kernel.
const DRIVERS: [&str; 6] = ["vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_core", "mlx4_core", "mana"];

fn nic(name: &str, address: &str, root: &Path) -> Vec<HostFinding> {
    let device = root.join("sys/bus/pci/devices").join(address);
    if !device.exists() {
        let message = format!("interface {name}: there is no PCI device {address}");
        return error(message, "lspci -D | grep -i ethernet   (lists the addresses)").into_iter().collect();
    }
    let link = fs::read_link(device.join("driver")).ok();
    let driver =
        link.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or("no driver");
    let mut findings = Vec::new();
    if !DRIVERS.contains(&driver) {
        let message = format!("interface {name}: {address} is bound to {driver}, which DPDK cannot use");
        findings.extend(error(message, format!("driverctl set-override {address} vfio-pci")));
    }
    let groups = fs::read_dir(root.join("sys/kernel/iommu_groups")).map(|groups| groups.count()).unwrap_or(0);
    if driver == "vfio-pci" && groups == 0 {
        findings.extend(error(
            format!("interface {name}: vfio-pci needs an IOMMU, and none is on"),
            "add intel_iommu=on iommu=pt (AMD: amd_iommu=on iommu=pt) to GRUB_CMDLINE_LINUX; update-grub; reboot",
        ));
    }
    findings
}

/// Virtual devices that sit on an interface of the kernel name it as `iface=`.
fn kernel_interface(name: &str, spec: &str, root: &Path) -> Vec<HostFinding> {
    let Some(iface) = spec.split(',').find_map(|argument| argument.strip_prefix("iface=")) else {
        return Vec::new();
    };
    let attaches =
        spec.starts_with("net_af_packet") || spec.starts_with("net_pcap") || spec.starts_with("net_af_xdp");
    if !attaches || iface.contains('/') || root.join("sys/class/net").join(iface).exists() {
        return Vec::new();
    }
    let message = format!("interface {name}: the kernel has no interface {iface}");
    error(message, "ip -br link   (lists the interfaces)").into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine as a directory; dropped with it.
    struct Machine(std::path::PathBuf);

    impl Machine {
        fn new(name: &str, files: &[(&str, &str)]) -> Machine {
            let root = std::env::temp_dir().join(format!("sluice-host-{}-{name}", std::process::id()));
            for (file, text) in files {
                let file = root.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Machine(root)
        }

        fn messages(&self, devices: [&str; 2]) -> Vec<String> {
            let yaml = format!(
                "version: 1\ninterfaces: {{a: {{device: '{}'}}, b: {{device: '{}'}}}}",
                devices[0], devices[1]
            );
            let config = crate::config::parse("test", yaml.as_bytes()).unwrap();
            inspect(&config, &self.0).iter().map(ToString::to_string).collect()
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const READY: [(&str, &str); 5] = [
        ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "512\n"),
        ("sys/devices/system/cpu/online", "0-3\n"),
        ("sys/devices/system/cpu/isolated", "1\n"),
        ("sys/class/net/eth0/mtu", "1500"),
        ("sys/class/net/eth1/mtu", "1500"),
    ];
    const VETH: [&str; 2] = ["vdev:net_af_packet0,iface=eth0", "vdev:net_af_packet1,iface=eth1"];

    #[test]
    fn nothing_is_found_where_all_is_well() {
        assert_eq!(Machine::new("ready", &READY).messages(VETH), Vec::<String>::new());
    }

    #[test]
    fn each_finding_has_its_command() {
        let machine = Machine::new(
            "bare",
            &[
                ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "100\n"),
                ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "120\n"),
                ("sys/devices/system/cpu/online", "0\n"),
                (
                    "proc/self/limits",
                    "Max locked memory         8388608              8388608              bytes\n",
                ),
                ("sys/bus/pci/devices/0000:3b:00.0/vendor", "0x8086"),
            ],
        );
        assert_eq!(
            machine.messages(["pci:0000:3b:00.0", "vdev:net_af_packet1,iface=eth9"]),
            [
                "warning: huge pages: 200M free, 1G wanted; ordinary pages would serve, more slowly\n   \
                 mend: echo 532 > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
                "error: locked memory: at most 8M, 1G wanted\n   \
                 mend: ulimit -l unlimited   (in a systemd unit: LimitMEMLOCK=infinity)",
                "error: core 1: this machine has 0\n   mend: choose other cores under system.cores",
                "error: interface a: 0000:3b:00.0 is bound to no driver, which DPDK cannot use\n   \
                 mend: driverctl set-override 0000:3b:00.0 vfio-pci",
                "error: interface b: the kernel has no interface eth9\n   mend: ip -br link   (lists the interfaces)",
            ]
        );
    }

    #[test]
    fn lists_of_cores_are_understood() {
        assert!(in_list("0-3,8\n", 2) && in_list("0-3,8", 8) && in_list("5", 5));
        assert!(!in_list("0-3,8", 4) && !in_list("\n", 0));
    }
}
