//! A running Ethernet device: how it is set up, what it tells, and how it ends.

use std::mem;
use std::ptr;
use std::sync::Arc;

use crate::device::Attached;
use crate::kernel::KernelInterface;
use crate::rss;
use crate::{Burst, Device, DeviceInfo, DpdkError, Mempool, Rss, RssGap, RxQueue, TxQueue};

/// How a port is set up.
#[derive(Debug, Clone)]
pub struct PortOptions {
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Descriptors in each receive queue; rounded to what the device takes.
    pub rx_descriptors: u16,
    /// Descriptors in each transmit queue; rounded to what the device takes.
    pub tx_descriptors: u16,
    /// The longest packet after the Ethernet header, in bytes; `None` leaves the device's own.
    pub mtu: Option<u16>,
    /// Whether packets for other MAC addresses are received as well.
    pub promiscuous: bool,
    /// How packets are to be spread over the receive queues; [`Port::rss_gaps`] tells what the device does not do of it.
    pub rss: Option<Rss>,
}

impl Default for PortOptions {
    fn default() -> Self {
        Self {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: None,
            promiscuous: true,
            rss: None,
        }
    }
}

/// Work that a device is to take off the processor, as far as it offers that: to check checksums
/// ([`crate::Mbuf::ip_checksum`], [`crate::Mbuf::l4_checksum`]) and to put its hash into the mbuf
/// ([`crate::Mbuf::rss_hash`]).
const OFFLOADS: u64 = dpdk_sys::DPDK_RX_OFFLOAD_IPV4_CKSUM
    | dpdk_sys::DPDK_RX_OFFLOAD_TCP_CKSUM
    | dpdk_sys::DPDK_RX_OFFLOAD_UDP_CKSUM
    | dpdk_sys::DPDK_RX_OFFLOAD_SCTP_CKSUM
    | dpdk_sys::DPDK_RX_OFFLOAD_RSS_HASH;

/// The Ethernet header with two VLAN tags, and the checksum behind the packet.
const FRAME_OVERHEAD_BYTES: u32 = 14 + 8 + 4;

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Whether there is one.
    pub up: bool,
    /// Its speed in Mbit/s, where the device knows it.
    pub speed_mbps: Option<u32>,
}

/// What a port has counted since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets that the device dropped because its queues were full, or the kernel because the rings of net_af_packet were.
    pub rx_missed: u64,
    /// Packets that arrived broken.
    pub rx_errors: u64,
    /// Packets dropped because the pool was empty.
    pub rx_nombuf: u64,
    /// Packets transmitted.
    pub tx_packets: u64,
    /// Bytes transmitted.
    pub tx_bytes: u64,
    /// Packets that the device took and could not transmit.
    pub tx_errors: u64,
}

/// A running port. The device goes away when it and all its queues are dropped.
#[derive(Debug)]
pub struct Port {
    attached: Arc<Attached>,
    info: DeviceInfo,
    /// The interface that the device sits on.
    kernel: Option<KernelInterface>,
    mtu: u16,
    rss_gaps: Vec<RssGap>,
    /// Whether packets come with the very hash that was asked for.
    hashes: bool,
}

fn check_limits(info: &DeviceInfo, options: &PortOptions) -> Result<(), DpdkError> {
    let limits = [
        ("receive queues", options.rx_queues, info.max_rx_queues),
        ("transmit queues", options.tx_queues, info.max_tx_queues),
    ];
    for (what, wanted, most) in limits {
        if wanted > most {
            return Err(DpdkError::refused(
                &info.name,
                format!("{wanted} {what} are wanted, {} offers {most}", info.driver),
            ));
        }
    }
    match options.mtu {
        Some(mtu) if !info.mtus.contains(&mtu) => Err(DpdkError::refused(
            &info.name,
            format!(
                "an MTU of {mtu} is wanted, {} takes {} to {}",
                info.driver,
                info.mtus.start(),
                info.mtus.end()
            ),
        )),
        _ => Ok(()),
    }
}

fn configure(
    attached: &mut Attached,
    info: &DeviceInfo,
    options: &PortOptions,
    pool: &Mempool,
) -> Result<(), DpdkError> {
    // SAFETY: plain data for which zero is a value, DPDK's default.
    let mut conf: dpdk_sys::rte_eth_conf = unsafe { mem::zeroed() };
    conf.rxmode.offloads = OFFLOADS;
    if let Some(mtu) = options.mtu {
        conf.rxmode.mtu = u32::from(mtu);
        if u32::from(mtu) + FRAME_OVERHEAD_BYTES > u32::from(pool.segment_bytes()) {
            conf.rxmode.offloads |= dpdk_sys::DPDK_RX_OFFLOAD_SCATTER;
        }
    }
    match options.rss.as_ref().filter(|_| rss::hashed(info) != 0) {
        Some(rss) => {
            attached.rss_key = rss.key_for(info).map(Box::from);
            let key = attached.rss_key.as_deref_mut();
            conf.rxmode.mq_mode = dpdk_sys::rte_eth_rx_mq_mode_RTE_ETH_MQ_RX_RSS;
            let rss_conf = &mut conf.rx_adv_conf.rss_conf;
            rss_conf.rss_hf = rss::hashed(info);
            // Without a key of ours (null) it is the device's own.
            rss_conf.rss_key_len = key.as_ref().map_or(0, |key| key.len() as u8);
            rss_conf.rss_key = key.map_or(ptr::null_mut(), <[u8]>::as_mut_ptr);
        }
        // The hash comes with RSS alone.
        None => conf.rxmode.offloads &= !dpdk_sys::DPDK_RX_OFFLOAD_RSS_HASH,
    }
    conf.rxmode.offloads &= info.rx_offloads;
    conf.txmode.offloads = dpdk_sys::DPDK_TX_OFFLOAD_MULTI_SEGS & info.tx_offloads;
    // SAFETY: the port is attached and does not run. `conf` is copied, but of the key in it only its address, which
    // `attached` keeps until the device is gone.
    let status = unsafe {
        dpdk_sys::rte_eth_dev_configure(attached.id(), options.rx_queues, options.tx_queues, &conf)
    };
    DpdkError::check("rte_eth_dev_configure", attached.name(), status).map(drop)
}

fn set_up_queues(attached: &Attached, options: &PortOptions, pool: &Mempool) -> Result<(), DpdkError> {
    let (id, name) = (attached.id(), attached.name());
    let (mut rx_descriptors, mut tx_descriptors) = (options.rx_descriptors, options.tx_descriptors);
    // SAFETY: the port is configured; both numbers are ours to write.
    let status =
        unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &mut rx_descriptors, &mut tx_descriptors) };
    DpdkError::check("rte_eth_dev_adjust_nb_rx_tx_desc", name, status)?;
    // SAFETY: the port is attached.
    let socket = unsafe { dpdk_sys::rte_eth_dev_socket_id(id) }.cast_unsigned();
    for queue in 0..options.rx_queues {
        // SAFETY: the port is configured with this queue; null stands for the driver's own settings; the pool
        // lives for ever.
        let status = unsafe {
            dpdk_sys::rte_eth_rx_queue_setup(id, queue, rx_descriptors, socket, ptr::null(), pool.as_ptr())
        };
        DpdkError::check("rte_eth_rx_queue_setup", name, status)?;
    }
    for queue in 0..options.tx_queues {
        // SAFETY: the port is configured with this queue; null stands for the driver's own settings.
        let status =
            unsafe { dpdk_sys::rte_eth_tx_queue_setup(id, queue, tx_descriptors, socket, ptr::null()) };
        DpdkError::check("rte_eth_tx_queue_setup", name, status)?;
    }
    Ok(())
}

/// A call that a driver need not support: whether it did.
fn optional(call: &'static str, subject: &str, status: i32) -> Result<bool, DpdkError> {
    if status == -libc::ENOTSUP {
        return Ok(false);
    }
    DpdkError::check(call, subject, status).map(|_| true)
}

/// Frames of a receive queue before which [`discard_early`] ends: more than a ring has room for.
const MOST_EARLY: usize = 1 << 16;

/// Frees what has come to packet sockets before the port was started, which a NIC does not receive. A packet socket receives
/// from when it is made, and until it is bound to an interface, the frames of all of them (packet(7)): the driver's first ones
/// may be of another port, or come by two queues.
fn discard_early(attached: &Attached, queues: &mut [RxQueue]) -> Result<(), DpdkError> {
    let mut burst = Burst::new();
    for queue in queues {
        let mut early = 0;
        while early < MOST_EARLY && queue.receive(&mut burst) > 0 {
            early += burst.len();
            burst.clear();
        }
    }
    // SAFETY: the port is attached.
    let status = unsafe { dpdk_sys::rte_eth_stats_reset(attached.id()) };
    DpdkError::check("rte_eth_stats_reset", attached.name(), status).map(drop)
}

impl Port {
    /// Sets a device up and starts it; received packets come from `pool`. Gives the port and each of its
    /// queues, in order.
    ///
    /// # Errors
    /// The device cannot have so many queues or such an MTU, or it refuses; it is detached then.
    pub fn start(
        device: Device,
        options: &PortOptions,
        pool: &Mempool,
    ) -> Result<(Self, Vec<RxQueue>, Vec<TxQueue>), DpdkError> {
        let (mut attached, info) = device.into_parts();
        check_limits(&info, options)?;
        configure(&mut attached, &info, options, pool)?;
        set_up_queues(&attached, options, pool)?;
        let name = attached.name();
        if let Some(mtu) = options.mtu {
            // SAFETY: the port is attached.
            optional("rte_eth_dev_set_mtu", name, unsafe {
                dpdk_sys::rte_eth_dev_set_mtu(attached.id(), mtu)
            })?;
        }
        // SAFETY: the port is configured and its queues are set up.
        DpdkError::check("rte_eth_dev_start", name, unsafe { dpdk_sys::rte_eth_dev_start(attached.id()) })?;
        if options.promiscuous {
            // SAFETY: the port runs.
            optional("rte_eth_promiscuous_enable", name, unsafe {
                dpdk_sys::rte_eth_promiscuous_enable(attached.id())
            })?;
        }
        let rss_gaps = options.rss.as_ref().map_or(Ok(Vec::new()), |rss| rss.finish(&attached, &info))?;
        let mut mtu = 0;
        // SAFETY: the port runs, and `mtu` is ours to write.
        DpdkError::check("rte_eth_dev_get_mtu", name, unsafe {
            dpdk_sys::rte_eth_dev_get_mtu(attached.id(), &mut mtu)
        })?;

        let attached = Arc::new(attached);
        let mut rx: Vec<_> =
            (0..options.rx_queues).map(|queue| RxQueue::new(Arc::clone(&attached), queue)).collect();
        if info.driver == "net_af_packet" {
            discard_early(&attached, &mut rx)?;
        }
        let kernel = (info.if_index != 0).then(|| KernelInterface::new(info.if_index));
        let tx = (0..options.tx_queues).map(|queue| TxQueue::new(Arc::clone(&attached), queue)).collect();
        let hashes = options.rss.is_some() && rss_gaps.iter().all(|gap| *gap == RssGap::Table);
        Ok((Self { attached, info, kernel, mtu, rss_gaps, hashes }, rx, tx))
    }

    /// What the device is and offers.
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// The longest packet after the Ethernet header, in bytes.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// What the device does not do of the RSS it was asked for.
    pub fn rss_gaps(&self) -> &[RssGap] {
        &self.rss_gaps
    }

    /// Whether [`crate::Mbuf::rss_hash`] is the Toeplitz hash with the key that was asked for, over addresses and ports for
    /// TCP and UDP.
    pub fn hashes(&self) -> bool {
        self.hashes
    }

    /// The link, as the device knows it now; down where the kernel's interface below it does not run or is gone.
    pub fn link(&self) -> Result<Link, DpdkError> {
        // SAFETY: plain data for which zero is a value.
        let mut link: dpdk_sys::rte_eth_link = unsafe { mem::zeroed() };
        // SAFETY: the port is attached, and `link` is ours to write.
        let status = unsafe { dpdk_sys::rte_eth_link_get_nowait(self.attached.id(), &mut link) };
        DpdkError::check("rte_eth_link_get_nowait", self.attached.name(), status)?;
        let known = link.link_speed != 0 && link.link_speed != u32::MAX;
        Ok(Link {
            up: u32::from(link.link_status()) == dpdk_sys::RTE_ETH_LINK_UP
                && self.kernel.as_ref().is_none_or(KernelInterface::is_running),
            speed_mbps: known.then_some(link.link_speed),
        })
    }

    /// The device's counters. Any thread may ask while others poll.
    pub fn stats(&self) -> Result<PortStats, DpdkError> {
        // SAFETY: plain data for which zero is a value.
        let mut raw: dpdk_sys::rte_eth_stats = unsafe { mem::zeroed() };
        // SAFETY: the port is attached, and `raw` is ours to write.
        let status = unsafe { dpdk_sys::rte_eth_stats_get(self.attached.id(), &mut raw) };
        DpdkError::check("rte_eth_stats_get", self.attached.name(), status)?;
        Ok(PortStats {
            rx_packets: raw.ipackets,
            rx_bytes: raw.ibytes,
            rx_missed: raw.imissed + self.kernel.as_ref().map_or(0, KernelInterface::missed),
            rx_errors: raw.ierrors,
            rx_nombuf: raw.rx_nombuf,
            tx_packets: raw.opackets,
            tx_bytes: raw.obytes,
            tx_errors: raw.oerrors,
        })
    }

    /// Stops the port and detaches its device, which may then be attached anew.
    ///
    /// # Errors
    /// Some queue of it is still held: the device goes away when the last one is dropped. Or the device could
    /// not be stopped or removed.
    pub fn close(self) -> Result<(), DpdkError> {
        // The driver's sockets are its own again.
        drop(self.kernel);
        match Arc::into_inner(self.attached) {
            Some(attached) => attached.detach(),
            None => Err(DpdkError::refused(&self.info.name, "its queues are still held")),
        }
    }
}
