//! Receive side scaling: how a device spreads packets over its receive queues, and what it could not do of that.

use std::{fmt, mem};

use crate::device::Attached;
use crate::{DeviceInfo, DpdkError};

/// The spreading that is asked of a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rss {
    /// The Toeplitz key. A device takes as much of its start as it has room for.
    pub key: Vec<u8>,
    /// The receive queue of each entry of the indirection table, a power of two of them.
    pub table: Vec<u16>,
}

/// What a device did not do of the RSS it was asked for. It changes no packet's fate: software steers what the device
/// did not, at the price of handing it from core to core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RssGap {
    /// Anything: it has no RSS, or hashes none of the fields.
    Unsupported,
    /// The key is its own.
    Key,
    /// It does not hash TCP over both IPv4 and IPv6 by ports.
    Tcp,
    /// It does not hash UDP over both IPv4 and IPv6 by ports.
    Udp,
    /// It has no indirection table that takes this one.
    Table,
    /// It does not put its hash into the mbuf.
    Hash,
}

impl fmt::Display for RssGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "no RSS",
            Self::Key => "another key",
            Self::Tcp => "TCP not by ports",
            Self::Udp => "UDP not by ports",
            Self::Table => "another indirection table",
            Self::Hash => "no hash with the packet",
        })
    }
}

const TYPES: u64 = dpdk_sys::DPDK_RSS_IP | TCP | UDP | dpdk_sys::DPDK_RSS_SCTP;
const TCP: u64 = dpdk_sys::DPDK_RSS_TCP;
const UDP: u64 = dpdk_sys::DPDK_RSS_UDP;

/// What a device can hash of what is wanted.
pub(crate) fn hashed(info: &DeviceInfo) -> u64 {
    info.rss_types & TYPES
}

impl Rss {
    /// As much of the key as the device wants; `None` where it wants none or more than there is.
    pub(crate) fn key_for(&self, info: &DeviceInfo) -> Option<&[u8]> {
        self.key.get(..usize::from(info.rss_key_bytes)).filter(|key| !key.is_empty())
    }

    /// Fills the table of a device that runs; says what it did not do of all this.
    pub(crate) fn finish(&self, attached: &Attached, info: &DeviceInfo) -> Result<Vec<RssGap>, DpdkError> {
        if hashed(info) == 0 {
            return Ok(vec![RssGap::Unsupported]);
        }
        let (key_is_ours, hashed) = self.look_up(attached, info)?;
        let gaps = [
            (RssGap::Key, !key_is_ours),
            (RssGap::Tcp, hashed & TCP != TCP),
            (RssGap::Udp, hashed & UDP != UDP),
            (RssGap::Table, !self.fill_table(attached, info)?),
            (RssGap::Hash, info.rx_offloads & dpdk_sys::DPDK_RX_OFFLOAD_RSS_HASH == 0),
        ];
        Ok(gaps.into_iter().filter(|(_, open)| *open).map(|(gap, _)| gap).collect())
    }

    /// Whether the device works with our key, and what it hashes: as it says now, or, where it cannot tell, as it was
    /// configured.
    fn look_up(&self, attached: &Attached, info: &DeviceInfo) -> Result<(bool, u64), DpdkError> {
        let Some(key) = self.key_for(info) else { return Ok((false, hashed(info))) };
        let mut found = vec![0; key.len()];
        // SAFETY: plain data for which zero is a value.
        let mut conf: dpdk_sys::rte_eth_rss_conf = unsafe { mem::zeroed() };
        conf.rss_key = found.as_mut_ptr();
        conf.rss_key_len = info.rss_key_bytes;
        // SAFETY: the port is attached; `conf` and the key it points to are ours to write, as long as it says.
        let status = unsafe { dpdk_sys::rte_eth_dev_rss_hash_conf_get(attached.id(), &mut conf) };
        if status == -libc::ENOTSUP {
            return Ok((true, hashed(info)));
        }
        DpdkError::check("rte_eth_dev_rss_hash_conf_get", attached.name(), status)?;
        Ok((found == key, conf.rss_hf))
    }

    /// Whether the device has the table now: as it is, or several times over where its own is larger.
    fn fill_table(&self, attached: &Attached, info: &DeviceInfo) -> Result<bool, DpdkError> {
        const GROUP: usize = dpdk_sys::RTE_ETH_RETA_GROUP_SIZE as usize;
        let entries = usize::from(info.rss_table);
        if entries == 0 || self.table.is_empty() {
            return Ok(false);
        }
        let empty = dpdk_sys::rte_eth_rss_reta_entry64 { mask: 0, reta: [0; GROUP] };
        let mut groups = vec![empty; entries.div_ceil(GROUP)];
        for (index, queue) in (0..entries).zip(self.table.iter().cycle()) {
            let group = &mut groups[index / GROUP];
            group.mask |= 1 << (index % GROUP);
            group.reta[index % GROUP] = *queue;
        }
        // SAFETY: the port runs; `groups` has room for as many entries as the call is told.
        let status = unsafe {
            dpdk_sys::rte_eth_dev_rss_reta_update(attached.id(), groups.as_mut_ptr(), info.rss_table)
        };
        if status == -libc::ENOTSUP {
            return Ok(false);
        }
        DpdkError::check("rte_eth_dev_rss_reta_update", attached.name(), status)?;
        // A smaller table holds the start only, which may be all there is to it.
        let fits = (0..self.table.len()).all(|index| self.table[index] == self.table[index % entries]);
        Ok(fits)
    }
}
