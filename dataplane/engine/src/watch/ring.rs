//! The way of watched packets from a worker to whoever listens: a ring of what was decided, and beside it one of bytes, since packets
//! are of any length. Both are bounded; what has no room in either is lost, and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rtrb::{Consumer, Producer, RingBuffer};
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::{Instant, PortId, Verdict};

/// A packet, or its first bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snap {
    /// Bytes of the whole packet.
    pub len: u32,
    /// Those that were kept.
    pub bytes: Vec<u8>,
}

/// A packet, and what was decided about it.
#[derive(Clone, Debug)]
pub struct WatchedPacket {
    /// What was decided.
    pub decided: Decided,
    /// As it came in.
    pub came: Snap,
    /// As it was when it had been decided about: what leaves, if it does.
    pub became: Snap,
}

/// What was decided about a packet.
#[derive(Clone, Copy, Debug)]
pub struct Decided {
    /// When.
    pub at: Instant,
    /// The port that it came in by.
    pub ingress: PortId,
    /// What was decided.
    pub verdict: Verdict,
    /// The entry that it belongs to, as it is then.
    pub entry: Option<EntrySnapshot>,
}

/// How long a packet is, and how much of it is in the ring of bytes.
pub(super) type Lengths = (u32, u32);

/// Both rings, where a worker puts what it tells.
#[derive(Debug)]
pub(super) struct PacketSender {
    packets: Producer<(Decided, [Lengths; 2])>,
    bytes: Producer<u8>,
    lost: Arc<AtomicU64>,
}

/// Both rings, where they are read.
#[derive(Debug)]
pub struct PacketReceiver {
    packets: Consumer<(Decided, [Lengths; 2])>,
    bytes: Consumer<u8>,
    lost: Arc<AtomicU64>,
}

/// Rings with room for so many packets, and for so many bytes of them.
pub(super) fn ring(packets: usize, bytes: usize) -> (PacketSender, PacketReceiver) {
    let (packets, their_packets) = RingBuffer::new(packets);
    let (bytes, their_bytes) = RingBuffer::new(bytes);
    let lost = Arc::new(AtomicU64::new(0));
    let receiver = PacketReceiver { packets: their_packets, bytes: their_bytes, lost: Arc::clone(&lost) };
    (PacketSender { packets, bytes, lost }, receiver)
}

impl PacketSender {
    /// Tells what was decided about a packet, with its length and bytes as it came in and as it became.
    pub(super) fn send(&mut self, decided: Decided, snaps: [(u32, &[u8]); 2]) {
        let kept: usize = snaps.iter().map(|(_, bytes)| bytes.len()).sum();
        if self.packets.is_full() || self.bytes.slots() < kept {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // The bytes come first, so that whoever sees the packet sees them, too.
        for (_, bytes) in snaps {
            let is_in = self.bytes.push_entire_slice(bytes);
            debug_assert!(is_in.is_ok());
        }
        let is_in = self.packets.push((decided, snaps.map(|(len, bytes)| (len, bytes.len() as u32))));
        debug_assert!(is_in.is_ok());
    }
}

impl PacketReceiver {
    /// The next packet, if there is one already.
    pub fn receive(&mut self) -> Option<WatchedPacket> {
        let (decided, lengths) = self.packets.pop().ok()?;
        let [came, became] = lengths.map(|(len, kept)| {
            let mut bytes = vec![0; kept as usize];
            let is_there = self.bytes.pop_entire_slice(&mut bytes);
            debug_assert!(is_there.is_ok());
            Snap { len, bytes }
        });
        Some(WatchedPacket { decided, came, became })
    }

    /// How many were lost since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::DropReason;

    #[test]
    fn packets_of_any_length_come_whole_or_are_counted() {
        let (mut sender, mut receiver) = ring(4, 32);
        let verdict = Verdict::dropped(DropReason::Policy);
        let mut send = |number: u8, came: usize, became: usize| {
            let decided = Decided {
                at: Instant::from_ns(number.into()),
                ingress: PortId(number),
                verdict,
                entry: None,
            };
            let [came, became] = [came, became].map(|kept| vec![number; kept]);
            sender.send(decided, [(100, &came), (200, &became)]);
        };
        let numbers = |receiver: &mut PacketReceiver| -> Vec<u8> {
            std::iter::from_fn(|| receiver.receive())
                .map(|packet| {
                    let PortId(number) = packet.decided.ingress;
                    let all = [&packet.came.bytes[..], &packet.became.bytes].concat();
                    assert!(all.iter().all(|byte| *byte == number), "bytes of another packet");
                    assert_eq!((packet.came.len, packet.became.len), (100, 200));
                    number
                })
                .collect()
        };
        send(1, 10, 10);
        send(2, 10, 3);
        send(3, 0, 0);
        assert_eq!((numbers(&mut receiver), receiver.take_lost()), (vec![1, 3], 1), "32 bytes hold no 33");
        (4..10).for_each(|number| send(number, 1, 2));
        assert_eq!((numbers(&mut receiver), receiver.take_lost()), (vec![4, 5, 6, 7], 2));
    }
}
