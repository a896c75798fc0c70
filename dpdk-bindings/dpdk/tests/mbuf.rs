//! Packets and bursts by themselves: room at the end, chains, ownership, and a pool that runs dry.

mod common;

use common::{eal, frame};
use dpdk::{Burst, Checksum, Mbuf, Mempool, MempoolOptions};

#[test]
fn packets_and_bursts() {
    let eal = eal();
    let options = MempoolOptions { mbufs: 255, cache: 0, ..MempoolOptions::default() };
    let pool = Mempool::new(&eal, "packets", &options).unwrap();

    grows(&pool);
    chains(&pool);
    splices(&pool);
    bursts(&pool);
    runs_dry(&pool);

    let error = Mempool::new(&eal, "packets", &options).unwrap_err().to_string();
    assert_eq!(error, "packets: rte_pktmbuf_pool_create: File exists (errno 17)");
}

fn grows(pool: &Mempool) {
    let mut mbuf = pool.alloc().unwrap();
    assert_eq!((mbuf.packet_len(), mbuf.head().len(), mbuf.segment_count()), (0, 0, 1));
    assert_eq!((mbuf.ip_checksum(), mbuf.l4_checksum()), (Checksum::Unknown, Checksum::Unknown));
    assert_eq!(mbuf.rss_hash(), None);

    mbuf.append(4).unwrap().copy_from_slice(b"head");
    mbuf.append(5).unwrap().copy_from_slice(b" tail");
    assert_eq!((mbuf.head(), mbuf.packet_len()), (&b"head tail"[..], 9));

    // The 2048 bytes of the segment, and not one more.
    assert_eq!(mbuf.append(2040), None);
    assert_eq!(mbuf.append(2039).map(|room| room.len()), Some(2039));
    assert_eq!((mbuf.packet_len(), mbuf.append(1)), (2048, None));
    assert_eq!(mbuf.append(usize::MAX), None);
}

fn chains(pool: &Mempool) {
    let all = pool.available();
    let bytes = frame(9, 5000);
    let mut mbuf = pool.copy_from(&bytes).unwrap();
    assert_eq!(pool.available(), all - 3);
    assert_eq!((mbuf.packet_len(), mbuf.head().len(), mbuf.segment_count()), (5000, 2048, 3));
    assert_eq!(mbuf.segments().map(<[u8]>::len).collect::<Vec<_>>(), [2048, 904]);
    assert_eq!(mbuf.segments().next(), Some(&bytes[2048..4096]));

    // The begin is the head's.
    assert!(mbuf.trim_front(4));
    assert_eq!((mbuf.packet_len(), mbuf.head()), (4996, &bytes[4..2048]));
    assert!(!mbuf.trim_front(2045), "the head has one byte less");

    // So is the room before it: DPDK's headroom, and what was taken away.
    let headroom = 128 + 4;
    assert!(!mbuf.extend_front(headroom + 1) && !mbuf.extend_front(usize::MAX));
    assert!(mbuf.extend_front(4));
    assert_eq!((mbuf.packet_len(), mbuf.head()), (5000, &bytes[..2048]), "the bytes are there still");
    assert!(mbuf.extend_front(headroom - 4) && !mbuf.extend_front(1));
    assert_eq!((mbuf.packet_len(), mbuf.head().len()), (5128, 2176));
    assert!(mbuf.trim_front(headroom));

    // The end is the last segment's.
    mbuf.append(2).unwrap().copy_from_slice(b"zz");
    assert_eq!((mbuf.packet_len(), mbuf.head().len()), (4998, 2044));
    assert_eq!(mbuf.segments().last().unwrap().last_chunk(), Some(b"zz"));
    drop(mbuf);
    assert_eq!(pool.available(), all);
    assert_eq!(pool.copy_from(&[]).map(|mbuf| mbuf.packet_len()), Some(0));
}

fn splices(pool: &Mempool) {
    let all = pool.available();
    let bytes = frame(9, 5000);
    let whole = |mbuf: &Mbuf| [mbuf.head()].into_iter().chain(mbuf.segments()).collect::<Vec<_>>().concat();
    // What is taken away: in the head, at its end, over two and over three segments, at the end, and nothing.
    for (at, removed) in [(0, 9), (60, 8), (2040, 8), (2040, 16), (2040, 2100), (4990, 10), (5000, 0)] {
        for inserted in [&b""[..], b"198,51,100,7", &[7; 100]] {
            let mut mbuf = pool.copy_from(&bytes).unwrap();
            let mut expected = bytes.clone();
            expected.splice(at..at + removed, inserted.iter().copied());
            assert!(mbuf.splice(at, removed, inserted), "{at} {removed}");
            assert_eq!((whole(&mbuf), mbuf.packet_len()), (expected, 4900 + 100 - removed + inserted.len()));
            assert_eq!(usize::from(mbuf.segment_count()), 1 + mbuf.segments().count());
            assert!(mbuf.segments().all(|segment| !segment.is_empty()));
        }
    }
    // The head has no room behind its bytes, and the 128 bytes of its headroom before them.
    let mut mbuf = pool.copy_from(&bytes).unwrap();
    assert!(mbuf.splice(60, 8, &[7; 136]));
    assert!(
        !mbuf.splice(60, 136, &[7; 137]) && !mbuf.splice(5129, 0, b"") && !mbuf.splice(1, usize::MAX, b"")
    );
    assert_eq!((mbuf.packet_len(), &mbuf.head()[60..196]), (5128, &[7; 136][..]));
    drop(mbuf);
    assert_eq!(pool.available(), all);
}

fn bursts(pool: &Mempool) {
    let all = pool.available();
    let numbered = |i: usize| pool.copy_from(&[i as u8]).unwrap();
    let number = |mbuf: &Mbuf| usize::from(mbuf.head()[0]);

    let mut burst = Burst::new();
    for i in 0..Burst::CAPACITY {
        burst.push(numbered(i)).unwrap();
    }
    assert_eq!(burst.push(numbered(99)).map_err(|mbuf| number(&mbuf)), Err(99));
    burst.iter_mut().for_each(|mbuf| mbuf.head_mut()[0] += 100);
    let mut other = Burst::new();
    for mbuf in burst.drain().take(10) {
        other.push(mbuf).unwrap();
    }
    assert!(burst.is_empty());
    assert_eq!(pool.available(), all - 10, "those not taken are freed");
    assert_eq!(other.iter().map(number).take(4).collect::<Vec<_>>(), [100, 101, 102, 103]);
    drop(other);
    assert_eq!(pool.available(), all);
}

fn runs_dry(pool: &Mempool) {
    let all = pool.available();
    let taken: Vec<Mbuf> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((taken.len(), pool.available()), (255, 0));
    assert!(pool.copy_from(b"x").is_none());
    drop(taken);
    // A chain for which the pool is too small leaves nothing behind.
    assert!(pool.copy_from(&vec![0; 256 * 2048]).is_none());
    assert_eq!(pool.available(), all);
}
