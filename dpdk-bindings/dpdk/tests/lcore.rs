//! Workers on cores, and errors that name what they are about.

mod common;

use common::eal;
use dpdk::{Burst, Device, Eal, EalOptions, Mempool, MempoolOptions, Port, PortOptions, lcore};

#[test]
fn workers_own_their_queues() {
    let eal = eal();
    assert_eq!(eal.ordinary_pages(), Some("huge pages are switched off"));
    let again = Eal::init(&EalOptions::default()).unwrap_err();
    assert_eq!(again.to_string(), "EAL: DPDK starts only once in a process");

    let pool = Mempool::new(&eal, "packets", &MempoolOptions { mbufs: 4095, ..Default::default() }).unwrap();
    let all = pool.available();
    let device = Device::attach(&eal, "net_null0").unwrap();
    let (port, mut rx, mut tx) = Port::start(device, &PortOptions::default(), &pool).unwrap();
    let (mut rx, mut tx) = (rx.remove(0), tx.remove(0));

    let core = lcore::allowed_cores().unwrap()[0];
    let start = lcore::tsc();
    let worker = lcore::launch(&eal, core, "worker", move || {
        let mut burst = Burst::new();
        let packets: usize = (0..1000)
            .map(|_| {
                lcore::pause();
                rx.receive(&mut burst);
                tx.transmit(&mut burst)
            })
            .sum();
        (lcore::allowed_cores().unwrap(), packets)
    })
    .unwrap();
    assert_eq!(worker.join().unwrap(), (vec![core], 64_000));
    assert!(lcore::tsc() > start && lcore::tsc_hz(&eal) > 1_000_000);
    assert_eq!(port.stats().unwrap().tx_packets, 64_000);
    port.close().unwrap();
    assert_eq!(pool.available(), all, "a worker's cache goes back to the pool");

    let panicked = lcore::launch(&eal, core, "panics", || -> () { panic!("on purpose") }).unwrap();
    assert!(panicked.join().is_err());
    let error = lcore::launch(&eal, 1000, "nowhere", || ()).unwrap_err().to_string();
    assert!(error.starts_with("core 1000: "), "{error}");

    for (arguments, reason) in [
        ("net_nothing0", "net_nothing0: rte_dev_probe: "),
        (
            "vdev:net_pcap9,rx_pcap=/nonexistent.pcap",
            "vdev:net_pcap9,rx_pcap=/nonexistent.pcap: rte_dev_probe: ",
        ),
        ("", "device: has no name"),
        ("net_null0,\0", "net_null0,?: holds a NUL character"),
    ] {
        let error = Device::attach(&eal, arguments).unwrap_err().to_string();
        assert!(error.starts_with(reason), "{error}");
    }
    let device = Device::attach(&eal, "net_null0").unwrap();
    let error =
        Port::start(device, &PortOptions { rx_queues: 2000, ..Default::default() }, &pool).unwrap_err();
    assert!(error.to_string().contains("2000 receive queues are wanted"), "{error}");
    let device = Device::attach(&eal, "net_null0").expect("a device that did not start is gone");
    drop(device);
}
