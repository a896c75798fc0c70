//! Ethernet devices: attached by name while EAL runs, and detached again.

use std::ffi::{CStr, c_char};
use std::mem;
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::c_string;
use crate::{DpdkError, Eal};

/// An attached device that does not run yet ([`Device::start`] makes a [`crate::Port`] of it). Dropping it
/// detaches it.
#[derive(Debug)]
pub struct Device {
    pub(crate) attached: Attached,
    info: DeviceInfo,
}

/// What a device is and offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// DPDK's name of the device: `net_pcap0`, `0000:03:00.0`.
    pub name: String,
    /// The driver: `net_pcap`, `net_ixgbe`.
    pub driver: String,
    /// The MAC address.
    pub mac: [u8; 6],
    /// The NUMA socket it is attached to, where there is one.
    pub socket: Option<u16>,
    /// The most receive queues it can have.
    pub max_rx_queues: u16,
    /// The most transmit queues it can have.
    pub max_tx_queues: u16,
    pub(crate) rx_offloads: u64,
    pub(crate) tx_offloads: u64,
    pub(crate) rss_types: u64,
    /// Bytes of the hash key.
    pub(crate) rss_key_bytes: u8,
    /// Entries of the indirection table.
    pub(crate) rss_table: u16,
    pub(crate) mtus: RangeInclusive<u16>,
    /// The kernel's number of the interface that the device sits on; zero where there is none.
    pub(crate) if_index: u32,
}

impl Device {
    /// Attaches the device that `arguments` name, in DPDK's way: `net_pcap0,rx_pcap=in.pcap`, or with its bus
    /// before it, `vdev:net_null0,no-rx=1`, `pci:0000:03:00.0`.
    ///
    /// # Errors
    /// No driver takes the arguments, the name is taken, or what attaches is not an Ethernet device.
    pub fn attach(_eal: &Eal, arguments: &str) -> Result<Self, DpdkError> {
        if arguments.is_empty() {
            return Err(DpdkError::refused("device", "has no name"));
        }
        let c_arguments = c_string(arguments)?;
        let guard = lock_devices();
        let before = ports();
        // SAFETY: EAL runs (the token); the text is NUL-terminated and copied; the lock keeps other threads
        // of this crate off the list of devices.
        let status = unsafe { dpdk_sys::rte_dev_probe(c_arguments.as_ptr()) };
        DpdkError::check("rte_dev_probe", arguments, status)?;
        let id = (0..before.len()).find(|&id| !before[id] && is_port(id as u16));
        drop(guard);

        let id = id.ok_or_else(|| DpdkError::refused(arguments, "is not a new Ethernet device"))? as u16;
        let mut attached = Attached { id, name: arguments.to_owned(), rss_key: None, detached: false };
        attached.name = port_name(id, arguments)?;
        let info = DeviceInfo::new(&attached)?;
        Ok(Self { attached, info })
    }

    /// What the device is and offers.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Its parts, to be started.
    pub(crate) fn into_parts(self) -> (Attached, DeviceInfo) {
        (self.attached, self.info)
    }
}

/// Drivers of virtual cables to the kernel or to a hypervisor.
const CABLES: [&str; 6] =
    ["net_af_packet", "net_af_xdp", "net_tap", "net_vhost", "net_virtio", "net_virtio_user"];

impl DeviceInfo {
    /// Whether the hosts at its other end may leave checksums to be computed: it is a virtual cable, and they take it for
    /// a NIC. DPDK 22.11 does not pass on what the kernel says of it (`TP_STATUS_CSUMNOTREADY`).
    pub fn leaves_checksums(&self) -> bool {
        CABLES.contains(&self.driver.as_str())
    }

    /// Receive and transmit queues to set up for so many workers: one for each, as far as the device has them.
    ///
    /// A device whose queues are made by its arguments gets all of them, since packets come by each, polled or not.
    pub fn queues_for(&self, workers: u16) -> (u16, u16) {
        let (rx, tx) = (self.max_rx_queues, self.max_tx_queues);
        match self.driver.as_str() {
            "net_af_packet" | "net_af_xdp" | "net_memif" | "net_pcap" | "net_ring" | "net_vhost" => (rx, tx),
            // Its queues come in pairs.
            "net_tap" => (workers.min(rx).min(tx), workers.min(rx).min(tx)),
            _ => (workers.min(rx), workers.min(tx)),
        }
    }

    fn new(attached: &Attached) -> Result<Self, DpdkError> {
        let name = attached.name();
        let raw = attached.raw_info()?;
        // SAFETY: plain data for which zero is a value.
        let mut mac: dpdk_sys::rte_ether_addr = unsafe { mem::zeroed() };
        // SAFETY: the port is attached, and `mac` is ours to write.
        let status = unsafe { dpdk_sys::rte_eth_macaddr_get(attached.id(), &mut mac) };
        DpdkError::check("rte_eth_macaddr_get", name, status)?;
        // SAFETY: the port is attached; a negative number stands for "any".
        let socket = unsafe { dpdk_sys::rte_eth_dev_socket_id(attached.id()) };
        Ok(Self {
            name: name.to_owned(),
            // SAFETY: a driver's name is null or a text that lives as long as the driver.
            driver: unsafe { text(raw.driver_name) },
            mac: mac.addr_bytes,
            socket: u16::try_from(socket).ok(),
            max_rx_queues: raw.max_rx_queues,
            max_tx_queues: raw.max_tx_queues,
            rx_offloads: raw.rx_offload_capa,
            tx_offloads: raw.tx_offload_capa,
            rss_types: raw.flow_type_rss_offloads,
            rss_key_bytes: raw.hash_key_size,
            rss_table: raw.reta_size,
            mtus: raw.min_mtu..=raw.max_mtu,
            if_index: raw.if_index,
        })
    }
}

/// A device that DPDK knows, until this is dropped. Each has one of these, shared by the port and its
/// queues, so that it goes away only when nobody can poll it any more.
#[derive(Debug)]
pub(crate) struct Attached {
    id: u16,
    name: String,
    /// The hash key that the device was configured with. DPDK copies none: a driver reads it here when it starts the
    /// device, and again if it has to start it anew by itself.
    pub(crate) rss_key: Option<Box<[u8]>>,
    detached: bool,
}

impl Attached {
    /// DPDK's number of the port.
    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn raw_info(&self) -> Result<dpdk_sys::rte_eth_dev_info, DpdkError> {
        // SAFETY: plain data for which zero is a value.
        let mut info: dpdk_sys::rte_eth_dev_info = unsafe { mem::zeroed() };
        // SAFETY: the port is attached, and `info` is ours to write.
        let status = unsafe { dpdk_sys::rte_eth_dev_info_get(self.id, &mut info) };
        DpdkError::check("rte_eth_dev_info_get", &self.name, status)?;
        Ok(info)
    }

    /// Stops, closes and removes the device.
    pub(crate) fn detach(mut self) -> Result<(), DpdkError> {
        self.detach_once()
    }

    fn detach_once(&mut self) -> Result<(), DpdkError> {
        if mem::replace(&mut self.detached, true) {
            return Ok(());
        }
        let _guard = lock_devices();
        let device: *const dpdk_sys::rte_device = self.raw_info()?.device;
        // SAFETY: the port is attached, and no queue of it is left to be polled: each holds this value.
        // A port that was never started may be stopped.
        let stopped = unsafe { dpdk_sys::rte_eth_dev_stop(self.id) };
        // SAFETY: as above; the port number is not used again.
        let closed = unsafe { dpdk_sys::rte_eth_dev_close(self.id) };
        // SAFETY: the device outlives its port until it is removed, which happens here and once; the lock
        // keeps other threads of this crate off the list of devices.
        let removed = unsafe { dpdk_sys::rte_dev_remove(device.cast_mut()) };
        DpdkError::check("rte_eth_dev_stop", &self.name, stopped)?;
        DpdkError::check("rte_eth_dev_close", &self.name, closed)?;
        DpdkError::check("rte_dev_remove", &self.name, removed)?;
        Ok(())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        // Nobody is left to be told; Port::close tells.
        self.detach_once().ok();
    }
}

/// DPDK's list of devices is not made for several threads.
fn lock_devices() -> MutexGuard<'static, ()> {
    static DEVICES: Mutex<()> = Mutex::new(());
    DEVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn ports() -> [bool; dpdk_sys::RTE_MAX_ETHPORTS as usize] {
    std::array::from_fn(|id| is_port(id as u16))
}

fn is_port(id: u16) -> bool {
    // SAFETY: any number may be asked for.
    unsafe { dpdk_sys::rte_eth_dev_is_valid_port(id) != 0 }
}

fn port_name(id: u16, arguments: &str) -> Result<String, DpdkError> {
    let mut name: [c_char; dpdk_sys::RTE_ETH_NAME_MAX_LEN as usize] = [0; _];
    // SAFETY: the array has the length that the call may write, its NUL included.
    let status = unsafe { dpdk_sys::rte_eth_dev_get_name_by_port(id, name.as_mut_ptr()) };
    DpdkError::check("rte_eth_dev_get_name_by_port", arguments, status)?;
    // SAFETY: the call wrote a NUL-terminated text.
    Ok(unsafe { text(name.as_ptr()) })
}

/// # Safety
/// `text` is null or a NUL-terminated text.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: not null, so NUL-terminated as the caller says.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}
