//! Captures in, captures out: what net_pcap reads is what it writes, in one piece.

mod common;

use common::{Folder, eal, frame, read_capture, write_capture};
use dpdk::{Burst, Device, Mempool, MempoolOptions, Port, PortOptions};

#[test]
fn packets_pass_from_capture_to_capture() {
    let folder = Folder::new("net-pcap");
    let (input, output) = (folder.file("in.pcap"), folder.file("out.pcap"));
    // More than a burst, with frames of exactly one segment, of one byte more, and of several segments.
    let lengths = [60, 1514, 2048, 2049, 9000].into_iter().cycle().take(150);
    let packets: Vec<Vec<u8>> = lengths.enumerate().map(|(i, len)| frame(i as u8, len)).collect();
    write_capture(&input, &packets);

    let eal = eal();
    let pool = Mempool::new(&eal, "packets", &MempoolOptions { mbufs: 4095, ..Default::default() }).unwrap();
    let all = pool.available();
    assert_eq!(all, 4095);

    let arguments = format!("vdev:net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display());
    let device = Device::attach(&eal, &arguments).unwrap();
    assert_eq!(device.info().name, "net_pcap0");
    assert_eq!(device.info().driver, "net_pcap");
    let (port, mut rx, mut tx) =
        Port::start(device, &PortOptions { mtu: Some(9000), ..Default::default() }, &pool).unwrap();
    assert_eq!(port.mtu(), 9000);
    assert!(port.link().unwrap().up);

    let mut burst = Burst::new();
    let mut seen = 0;
    while rx[0].receive(&mut burst) > 0 {
        for mbuf in &mut burst {
            let expected = &packets[seen];
            assert_eq!(mbuf.packet_len(), expected.len());
            let pieces: Vec<u8> =
                std::iter::once(mbuf.head()).chain(mbuf.segments()).flatten().copied().collect();
            assert_eq!(&pieces, expected, "packet {seen}");
            assert_eq!(mbuf.segment_count() > 1, expected.len() > 2048);
            assert_eq!(mbuf.rss_hash(), None);
            mbuf.head_mut()[0] = 0xee;
            seen += 1;
        }
        let count = burst.len();
        assert_eq!(tx[0].transmit(&mut burst), count);
        assert!(burst.is_empty());
    }
    assert_eq!(seen, packets.len());
    assert_eq!(pool.available(), all, "every packet went back to its pool");
    let stats = port.stats().unwrap();
    assert_eq!((stats.rx_packets, stats.tx_packets), (150, 150));

    drop((rx, tx));
    port.close().unwrap();
    let written = read_capture(&output);
    assert_eq!(written.len(), packets.len());
    for (written, mut expected) in written.into_iter().zip(packets) {
        expected[0] = 0xee;
        assert_eq!(written, expected);
    }

    // A closed device can be attached anew, and a packet held past its port is still sound.
    let (port, mut rx, _tx) =
        Port::start(Device::attach(&eal, &arguments).unwrap(), &PortOptions::default(), &pool).unwrap();
    assert!(rx[0].receive(&mut burst) > 0);
    let error = port.close().unwrap_err();
    assert!(error.to_string().contains("still held"), "{error}");
    drop((rx, _tx));
    assert_eq!(burst.as_slice()[1].head(), frame(1, 1514));
    drop(burst);
    assert_eq!(pool.available(), all);
}
