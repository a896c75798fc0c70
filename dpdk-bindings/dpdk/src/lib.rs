//! Safe DPDK: what a packet worker needs of it, with ownership in place of conventions.
//!
//! | Type | Is | Shared? |
//! |---|---|---|
//! | [`Eal`] | the proof that DPDK runs; one per process | by reference |
//! | [`Mempool`] | where mbufs come from; lives as long as the process | `Copy`, any thread |
//! | [`Device`] | an Ethernet device, attached and not yet running | one owner |
//! | [`Port`] | a running device: its facts, link and counters | one owner, any thread |
//! | [`RxQueue`], [`TxQueue`] | one hardware queue | one owner, moves to its worker |
//! | [`Burst`] | up to 64 mbufs, freed in bulk | one owner |
//! | [`Mbuf`] | one packet of one or more segments | one owner, never cloned |
//!
//! ```no_run
//! use dpdk::{Burst, Device, Eal, EalOptions, Mempool, MempoolOptions, Port, PortOptions};
//!
//! fn main() -> Result<(), dpdk::DpdkError> {
//!     let eal = Eal::init(&EalOptions::default())?;
//!     let device = Device::attach(&eal, "vdev:net_pcap0,rx_pcap=in.pcap,tx_pcap=out.pcap")?;
//!     let pool_options = MempoolOptions { socket: device.info().socket, ..MempoolOptions::default() };
//!     let pool = Mempool::new(&eal, "packets", &pool_options)?;
//!     let (port, mut rx, mut tx) = Port::start(device, &PortOptions::default(), &pool)?;
//!     let mut burst = Burst::new();
//!     while rx[0].receive(&mut burst) > 0 {
//!         tx[0].transmit(&mut burst);
//!         burst.clear(); // what the device did not take is dropped
//!     }
//!     drop((rx, tx));
//!     port.close()
//! }
//! ```

mod affinity;
mod burst;
mod device;
mod eal;
mod error;
mod kernel;
pub mod lcore;
mod mbuf;
mod mempool;
pub mod pcap;
mod port;
mod queue;
mod rss;
mod tap;

pub use burst::{Burst, Drain};
pub use device::{Device, DeviceInfo};
pub use eal::{Eal, EalOptions};
pub use error::DpdkError;
pub use mbuf::{Checksum, Mbuf, Segments};
pub use mempool::{Mempool, MempoolOptions};
pub use port::{Link, Port, PortOptions, PortStats};
pub use queue::{RxQueue, TxQueue};
pub use rss::{Rss, RssGap};
pub use tap::Tap;
