//! A device that is full: what it does not take stays with the caller, in order.

mod common;

use common::{eal, frame};
use dpdk::{Burst, Device, Mempool, MempoolOptions, Port, PortOptions};

#[test]
fn unsent_packets_stay_in_the_burst() {
    let eal = eal();
    let pool = Mempool::new(&eal, "packets", &MempoolOptions { mbufs: 4095, ..Default::default() }).unwrap();
    let all = pool.available();
    // Its one queue is a ring of 1023 packets that comes back as the receive queue.
    let device = Device::attach(&eal, "net_ring0").unwrap();
    let (port, mut rx, mut tx) = Port::start(device, &PortOptions::default(), &pool).unwrap();

    let mut burst = Burst::new();
    let mut sent = 0;
    let mut made = 0;
    loop {
        while burst.room() > 0 {
            burst.push(pool.copy_from(&frame(made as u8, 60 + made)).unwrap()).unwrap();
            made += 1;
        }
        let taken = tx[0].transmit(&mut burst);
        sent += taken;
        assert_eq!(burst.len(), made - sent);
        if taken < Burst::CAPACITY {
            break;
        }
    }
    assert!(sent > 0 && !burst.is_empty(), "the ring takes some packets of the last burst");
    for (i, mbuf) in burst.iter().enumerate() {
        assert_eq!(mbuf.packet_len(), 60 + sent + i);
    }
    assert_eq!(tx[0].transmit(&mut burst), 0);

    // What was taken comes out as it went in, the burst is filled up behind what it holds.
    burst.clear();
    burst.push(pool.alloc().unwrap()).unwrap();
    assert_eq!(rx[0].receive(&mut burst), Burst::CAPACITY - 1);
    let mut received = 0;
    loop {
        for mbuf in burst.drain().filter(|mbuf| mbuf.packet_len() > 0) {
            assert_eq!(mbuf.head(), frame(received as u8, 60 + received));
            received += 1;
        }
        if rx[0].receive(&mut burst) == 0 {
            break;
        }
    }
    assert_eq!(received, sent);
    assert_eq!(pool.available(), all);
    drop((rx, tx));
    port.close().unwrap();
}
