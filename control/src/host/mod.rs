//! Is this machine ready: huge pages, drivers, cores, limits. Each finding comes with the command that mends it.

pub mod memory;

use std::fmt;
use std::fs;
use std::path::Path;

use crate::config::{Config, Device, Host};

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
    findings.extend(memory::inspect(config, root));
    findings.extend(cores(config, root));
    for (name, interface) in &config.interfaces {
        findings.extend(interface.host.as_ref().and_then(|host| host_side(name, host, root)));
        findings.extend(match &interface.device {
            Device::Vlan(..) => Vec::new(),
            Device::Pci(address) => nic(name, address, root),
            Device::Vdev(spec) => {
                kernel_interface(name, spec, root).or_else(|| cable(name, spec, root)).into_iter().collect()
            }
        });
    }
    findings
}

/// What the host side of an interface lacks.
fn host_side(name: &str, host: &Host, root: &Path) -> Option<HostFinding> {
    if !root.join("dev/net/tun").exists() {
        return error(format!("interface {name}: host: there is no /dev/net/tun"), "modprobe tun");
    }
    let namespace = host.namespace.as_ref()?;
    if root.join("run/netns").join(namespace).exists() {
        return None;
    }
    let message = format!("interface {name}: host: there is no network namespace {namespace}");
    error(message, format!("ip netns add {namespace}"))
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
fn kernel_interface(name: &str, spec: &str, root: &Path) -> Option<HostFinding> {
    let iface = interface_of(spec)?;
    let attaches =
        spec.starts_with("net_af_packet") || spec.starts_with("net_pcap") || spec.starts_with("net_af_xdp");
    if !attaches || iface.contains('/') || root.join("sys/class/net").join(iface).exists() {
        return None;
    }
    let message = format!("interface {name}: the kernel has no interface {iface}");
    error(message, "ip -br link   (lists the interfaces)")
}

fn interface_of(spec: &str) -> Option<&str> {
    spec.split(',').find_map(|argument| argument.strip_prefix("iface="))
}

/// What a virtual cable brings: frames that are longer than any of the wire, because somebody takes it for a NIC that cuts
/// them (TSO), or has joined them already (GRO). Whose setting it is cannot be seen from this end.
fn cable(name: &str, spec: &str, root: &Path) -> Option<HostFinding> {
    let to_kernel = ["net_af_packet", "net_tap", "net_vhost", "net_virtio_user"];
    if !to_kernel.iter().any(|driver| spec.starts_with(driver)) {
        return None;
    }
    let nic =
        interface_of(spec).filter(|iface| root.join("sys/class/net").join(iface).join("device").exists());
    let (message, mend) = match nic {
        Some(iface) => (
            format!(
                "interface {name}: the kernel may join what {iface} receives (GRO, LRO) into frames that are cut off here (`truncated`)"
            ),
            format!("ethtool -K {iface} gro off lro off"),
        ),
        None => (
            format!(
                "interface {name}: a virtual cable: a host that leaves segmentation to a NIC (TSO, GSO) sends frames that are cut \
                 off here (`truncated`); checksums that it leaves to one are completed"
            ),
            "ethtool -K IFACE tso off gso off   (on the host at the cable's other end)".to_owned(),
        ),
    };
    warning(message, mend)
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
                "version: 1\nforwarding: routed\ninterfaces: {{a: {{device: '{}'}}, b: {{device: '{}'}}}}",
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

    #[test]
    fn nothing_is_found_where_all_is_well() {
        let devices = ["vdev:net_pcap0,iface=eth0", "vdev:net_null1"];
        assert_eq!(Machine::new("ready", &READY).messages(devices), Vec::<String>::new());
    }

    #[test]
    fn cables_that_bring_long_frames_are_told() {
        let machine =
            Machine::new("cables", &[&READY[..], &[("sys/class/net/eth1/device/vendor", "0x8086")]].concat());
        let messages = machine.messages(["vdev:net_af_packet0,iface=eth0", "vdev:net_af_packet1,iface=eth1"]);
        assert!(messages[0].starts_with("warning: interface a: a virtual cable"), "{messages:?}");
        assert!(messages[0].contains("mend: ethtool -K IFACE tso off gso off"), "{messages:?}");
        assert!(messages[1].ends_with("mend: ethtool -K eth1 gro off lro off"), "{messages:?}");
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert_eq!(machine.messages(["vdev:net_tap0", "vdev:net_null1"]).len(), 1);
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
                "warning: huge pages: 200M free, 1G wanted (all tables take 156M); ordinary pages would serve, more slowly\n   \
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
    fn a_host_side_needs_its_device_and_its_namespace() {
        let devices = ["vdev:net_null0', host: {namespace: routing}, mss: 'pmtu", "vdev:net_null1"];
        let missing = Machine::new("tun", &READY).messages(devices);
        assert!(missing.iter().any(|found| found.ends_with("mend: modprobe tun")), "{missing:?}");
        let tun = [&READY[..], &[("dev/net/tun", "")]].concat();
        let nowhere = Machine::new("netns", &tun).messages(devices);
        assert!(nowhere.iter().any(|found| found.ends_with("mend: ip netns add routing")), "{nowhere:?}");
        let all = [&tun[..], &[("run/netns/routing", "")]].concat();
        assert!(!Machine::new("host", &all).messages(devices).iter().any(|found| found.contains("host:")));
    }

    #[test]
    fn lists_of_cores_are_understood() {
        assert!(in_list("0-3,8\n", 2) && in_list("0-3,8", 8) && in_list("5", 5));
        assert!(!in_list("0-3,8", 4) && !in_list("\n", 0));
    }
}
