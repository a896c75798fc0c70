//! The host sides of ports: frames on their way between the workers and the box's own network stack.
//!
//! A worker makes no system call for the host, nor waits for it. Frames go as bytes over rings to and from a thread of the
//! control core that reads and writes the kernel's TAP ([`HostEnd`]). They are copied, so that this thread never touches the
//! mempool: who loses its core in the middle of that keeps all others waiting. The buffers are made at start and go round: what
//! was emptied is given back.

use std::io::{ErrorKind, Read, Write};

use dpdk::{Burst, Mbuf, Mempool};
use rtrb::{Consumer, Producer, RingBuffer};
use sluice_conntrack::forward::{MacAddress, is_group};
use sluice_conntrack::wire::ethernet;

/// Frames that wait in each direction, at most: a burst of a TCP sender.
const WAITING: usize = 256;

/// Frames of the host that a worker takes in one round, at most: a quarter of what it takes from a receive queue.
const BUDGET: usize = Burst::CAPACITY / 4;

/// What passed the host side of a port, as this worker saw it. Bytes are those of Ethernet frames, without checksums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    /// Packets that the host has sent.
    pub rx_packets: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Packets of the host dropped because the mempool was empty.
    pub rx_nombuf: u64,
    /// Rounds that left packets of the host waiting, as it had had its share.
    pub rx_paced: u64,
    /// Packets on their way to the host.
    pub tx_packets: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Packets dropped because the host does not take them fast enough.
    pub tx_full: u64,
}

impl HostCounters {
    /// Adds what another worker has seen pass.
    pub const fn add(&mut self, other: Self) {
        self.rx_packets += other.rx_packets;
        self.rx_bytes += other.rx_bytes;
        self.rx_nombuf += other.rx_nombuf;
        self.rx_paced += other.rx_paced;
        self.tx_packets += other.tx_packets;
        self.tx_bytes += other.tx_bytes;
        self.tx_full += other.tx_full;
    }
}

/// A buffer, and how many bytes of a frame are in it.
#[derive(Debug)]
struct Buffer {
    bytes: Box<[u8]>,
    frame_bytes: usize,
}

/// Where frames go into a ring.
#[derive(Debug)]
struct FrameSender {
    full: Producer<Buffer>,
    empty: Consumer<Buffer>,
    /// One that was taken for a frame which did not come.
    spare: Option<Buffer>,
}

/// Where they come out.
#[derive(Debug)]
struct FrameReceiver {
    full: Consumer<Buffer>,
    empty: Producer<Buffer>,
}

/// A ring for frames of so many bytes at most.
fn ring(max_bytes: usize) -> (FrameSender, FrameReceiver) {
    let (full, taken) = RingBuffer::new(WAITING);
    let (mut given_back, empty) = RingBuffer::new(WAITING);
    for _ in 0..WAITING {
        // There is room for all of them.
        let pushed = given_back.push(Buffer { bytes: vec![0; max_bytes].into(), frame_bytes: 0 });
        debug_assert!(pushed.is_ok());
    }
    (FrameSender { full, empty, spare: None }, FrameReceiver { full: taken, empty: given_back })
}

impl FrameSender {
    /// Whether there is room for a frame.
    fn has_room(&self) -> bool {
        self.spare.is_some() || !self.empty.is_empty()
    }

    /// Sends what `write` makes of a buffer, and gives the length of, if it makes anything. False where it does not, or there is
    /// no room.
    fn send(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> bool {
        let Some(mut buffer) = self.spare.take().or_else(|| self.empty.pop().ok()) else { return false };
        match write(&mut buffer.bytes) {
            Some(frame_bytes) => {
                buffer.frame_bytes = frame_bytes;
                // There are no more buffers than the ring has slots.
                self.full.push(buffer).is_ok()
            }
            None => {
                self.spare = Some(buffer);
                false
            }
        }
    }
}

impl FrameReceiver {
    /// Whether a frame waits.
    fn has_more(&self) -> bool {
        !self.full.is_empty()
    }

    /// Shows the next frame, and gives its buffer back.
    fn receive<T>(&mut self, read: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let buffer = self.full.pop().ok()?;
        let shown = read(buffer.bytes.get(..buffer.frame_bytes).unwrap_or_default());
        let pushed = self.empty.push(buffer);
        debug_assert!(pushed.is_ok());
        Some(shown)
    }
}

/// The host side of a port as a worker holds it.
#[derive(Debug)]
pub struct HostSide {
    /// The link-layer address of the TAP, which is that of the port.
    mac: MacAddress,
    to: FrameSender,
    /// What the host sends comes to one worker, which hands on what is another's.
    from: Option<FrameReceiver>,
    pub(crate) counters: HostCounters,
}

/// The end of all workers' rings at the host.
#[derive(Debug)]
pub struct HostEnd {
    from_workers: Vec<FrameReceiver>,
    to_worker: FrameSender,
}

/// The host side of a port with this MAC address and MTU: the part of each of so many workers, of which the one with the number
/// `taker` takes in what the host sends, and the host's end.
pub fn host_sides(mac: MacAddress, mtu: u16, workers: u16, taker: u16) -> (Vec<HostSide>, HostEnd) {
    let max_bytes = ethernet::HEADER_BYTES + usize::from(mtu);
    let (to_worker, from_host) = ring(max_bytes);
    let mut from_host = Some(from_host);
    let side = |worker| {
        let (to, from_worker) = ring(max_bytes);
        let from = from_host.take_if(|_| worker == taker % workers.max(1));
        (HostSide { mac, to, from, counters: HostCounters::default() }, from_worker)
    };
    let (sides, from_workers) = (0..workers).map(side).unzip();
    (sides, HostEnd { from_workers, to_worker })
}

impl HostSide {
    /// Sends the host a packet. False where it does not take it fast enough, or it is larger than the port's packets.
    pub(crate) fn deliver(&mut self, mbuf: &Mbuf) -> bool {
        self.send(std::iter::once(mbuf.head()).chain(mbuf.segments()), mbuf.packet_len())
    }

    /// The same of a frame of the box's own making.
    pub(crate) fn deliver_bytes(&mut self, bytes: &[u8]) -> bool {
        self.send(std::iter::once(bytes), bytes.len())
    }

    fn send<'a>(&mut self, pieces: impl Iterator<Item = &'a [u8]>, frame_bytes: usize) -> bool {
        let mac = self.mac;
        let sent = self.to.send(|buffer| {
            let mut rest = buffer.get_mut(..frame_bytes)?;
            for piece in pieces {
                let (start, behind) = rest.split_at_mut_checked(piece.len())?;
                start.copy_from_slice(piece);
                rest = behind;
            }
            // A host takes only what is sent to it; by which port it came does not matter.
            let destination = buffer.first_chunk_mut::<6>()?;
            if !is_group(destination) {
                *destination = mac;
            }
            Some(frame_bytes)
        });
        if sent {
            self.counters.tx_packets += 1;
            self.counters.tx_bytes += frame_bytes as u64;
        } else {
            self.counters.tx_full += 1;
        }
        sent
    }

    /// Receives what the host has sent, a bounded number of packets, into `burst`.
    pub(crate) fn receive(&mut self, burst: &mut Burst, pool: Mempool) {
        // No more are taken than fit.
        self.take(|bytes| pool.copy_from(bytes).is_some_and(|mbuf| burst.push(mbuf).is_ok()));
    }

    /// Takes what the host has sent, a bounded number of packets; `keep` says whether there is memory for one.
    fn take(&mut self, mut keep: impl FnMut(&[u8]) -> bool) {
        let Some(from) = &mut self.from else { return };
        for _ in 0..BUDGET {
            let Some((is_kept, bytes)) = from.receive(|frame| (keep(frame), frame.len() as u64)) else {
                return;
            };
            if is_kept {
                self.counters.rx_packets += 1;
                self.counters.rx_bytes += bytes;
            } else {
                self.counters.rx_nombuf += 1;
            }
        }
        self.counters.rx_paced += u64::from(from.has_more());
    }
}

/// What an exchange with the host came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Frames that went either way.
    pub frames: usize,
    /// Frames that the host refused.
    pub refused: u64,
}

impl HostEnd {
    /// Takes frames both ways between the workers and the kernel's device, which waits for nothing and gives a frame at a time,
    /// up to as many as wait in a ring.
    pub fn exchange(&mut self, device: &mut (impl Read + Write)) -> Exchanged {
        let mut exchanged = Exchanged::default();
        for from in &mut self.from_workers {
            for _ in 0..WAITING {
                let Some(written) = from.receive(|frame| device.write(frame)) else { break };
                exchanged.frames += 1;
                exchanged.refused += u64::from(written.is_err());
            }
        }
        for _ in 0..WAITING {
            if !self.to_worker.has_room() {
                break;
            }
            let read = |buffer: &mut [u8]| read_frame(device, buffer);
            if !self.to_worker.send(read) {
                break;
            }
            exchanged.frames += 1;
        }
        exchanged
    }

    /// Whether the workers are gone.
    pub fn is_abandoned(&self) -> bool {
        self.from_workers.iter().all(|from| from.full.is_abandoned())
    }
}

/// Reads a frame; `None` where none waits, or the device is gone.
fn read_frame(device: &mut impl Read, buffer: &mut [u8]) -> Option<usize> {
    loop {
        match device.read(buffer) {
            Ok(frame_bytes) => return (frame_bytes >= ethernet::HEADER_BYTES).then_some(frame_bytes),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::io;

    const MAC: MacAddress = [2, 0, 0, 0, 0, 1];

    /// A device of the kernel with frames to be read, and what was written to it.
    #[derive(Default)]
    struct Device {
        waiting: VecDeque<Vec<u8>>,
        written: Vec<Vec<u8>>,
        down: bool,
    }

    impl Read for Device {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let frame = self.waiting.pop_front().ok_or(ErrorKind::WouldBlock)?;
            buffer[..frame.len()].copy_from_slice(&frame);
            Ok(frame.len())
        }
    }

    impl Write for Device {
        fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
            if self.down {
                return Err(ErrorKind::NotConnected.into());
            }
            self.written.push(frame.to_vec());
            Ok(frame.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A frame that is told from others by its last byte.
    fn frame(to: MacAddress, number: u8) -> Vec<u8> {
        [&to[..], &[2, 0, 0, 0, 0, 9], &[8, 0, number]].concat()
    }

    #[test]
    fn each_worker_sends_the_host_what_is_for_it() {
        let (mut sides, mut end) = host_sides(MAC, 1500, 2, 1);
        let group = [1, 0, 0x5e, 0, 0, 5];
        assert!(sides[0].deliver_bytes(&frame([2; 6], 7)) && sides[1].deliver_bytes(&frame(group, 8)));
        let mut device = Device::default();
        assert_eq!(end.exchange(&mut device), Exchanged { frames: 2, refused: 0 });
        assert_eq!(device.written, [frame(MAC, 7), frame(group, 8)], "each to an address that it takes");
        assert_eq!((sides[0].counters.tx_packets, sides[0].counters.tx_bytes), (1, 15));
    }

    #[test]
    fn a_host_that_takes_nothing_costs_its_own_packets() {
        let (mut sides, mut end) = host_sides(MAC, 1500, 1, 0);
        let delivered = (0..2 * WAITING).filter(|_| sides[0].deliver_bytes(&frame(MAC, 1))).count();
        assert_eq!((delivered, sides[0].counters.tx_full), (WAITING, WAITING as u64));
        assert!(!sides[0].deliver_bytes(&vec![0; 1515]), "larger than the MTU");
        let mut device = Device { down: true, ..Device::default() };
        assert_eq!(end.exchange(&mut device).refused, WAITING as u64);
        assert!(sides[0].deliver_bytes(&frame(MAC, 1)));
        assert!(!end.is_abandoned());
        drop(sides);
        assert!(end.is_abandoned());
    }

    #[test]
    fn what_the_host_sends_and_finds_no_memory_is_counted() {
        let (mut sides, mut end) = host_sides(MAC, 1500, 1, 0);
        let waiting = (0..2 * BUDGET).map(|number| frame(MAC, number as u8)).collect();
        end.exchange(&mut Device { waiting, ..Device::default() });
        let mut taken = 0;
        sides[0].take(|_| {
            taken += 1;
            taken <= 3
        });
        let counters = sides[0].counters;
        assert_eq!((counters.rx_packets, counters.rx_bytes), (3, 45));
        assert_eq!((counters.rx_nombuf, counters.rx_paced), (BUDGET as u64 - 3, 1));
        sides[0].take(|_| true);
        assert_eq!(sides[0].counters.rx_packets, 3 + BUDGET as u64, "the buffers went round");
    }

    #[test]
    fn what_the_host_sends_waits_in_the_kernel_where_the_worker_is_late() {
        let (mut sides, mut end) = host_sides(MAC, 1500, 2, 3);
        let waiting = (0..300).map(|number| frame(MAC, number as u8)).collect();
        let mut device = Device { waiting, ..Device::default() };
        assert_eq!(end.exchange(&mut device).frames, WAITING);
        assert_eq!(device.waiting.len(), 300 - WAITING);
        assert!(sides[0].from.is_none());
        let from = sides[1].from.as_mut().unwrap();
        assert_eq!(from.receive(<[u8]>::to_vec), Some(frame(MAC, 0)));
        assert_eq!(end.exchange(&mut device).frames, 1);
    }
}
