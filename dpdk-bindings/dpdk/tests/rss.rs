//! Several queues, and what a device says about spreading packets over them.

mod common;

use common::{Folder, eal, write_capture};
use dpdk::{Device, Mempool, MempoolOptions, Port, PortOptions, Rss, RssGap};

#[test]
fn a_device_tells_what_it_does_not_do() {
    let eal = eal();
    let pool = Mempool::new(&eal, "packets", &MempoolOptions { mbufs: 8191, ..Default::default() }).unwrap();
    let rss = Rss { key: [0x6d, 0x5a].repeat(26), table: (0..128).map(|place| place % 4).collect() };
    let options = PortOptions { rx_queues: 4, tx_queues: 4, rss: Some(rss), ..PortOptions::default() };

    // It takes fields and table, keeps its own key and hashes nothing.
    let device = Device::attach(&eal, "net_null0,no-rx=1").unwrap();
    assert_eq!(device.info().queues_for(4), (4, 4));
    let (port, rx, tx) = Port::start(device, &options, &pool).unwrap();
    assert_eq!((rx.len(), tx.len(), port.rss_gaps()), (4, 4, &[RssGap::Key, RssGap::Hash][..]));
    assert!(!port.hashes());
    drop((rx, tx));
    port.close().unwrap();

    let folder = Folder::new("rss");
    let files = ["a", "b"].map(|name| folder.file(name));
    files.iter().for_each(|file| write_capture(file, &[]));
    let [a, b] = files.map(|file| file.display().to_string());
    let device = Device::attach(&eal, &format!("net_pcap0,rx_pcap={a},rx_pcap={b},tx_pcap={a}.out")).unwrap();
    assert_eq!(device.info().queues_for(4), (2, 1), "its arguments say how many");
    let options = PortOptions { rx_queues: 2, tx_queues: 1, ..options };
    let (port, rx, tx) = Port::start(device, &options, &pool).unwrap();
    assert_eq!(port.rss_gaps(), [RssGap::Unsupported]);
    drop((rx, tx));
    port.close().unwrap();
}
