//! Packets that are watched: what a worker decides about them, for whoever listens over bounded rings (`ring`). `sluice trace` and
//! `sluice capture` do.
//!
//! While nobody listens, a worker looks at one number for each burst. What may fit a filter (`filter`) is copied before the shard
//! sees it: by its own tuple, or since it may belong to a connection whose tuple is another one. Once it is decided about it is told,
//! with its bytes before and after that, the verdict, and the entry that it belongs to.

mod filter;
mod ring;

use std::ops::Range;

use sluice_conntrack::forward::is_group;
use sluice_conntrack::frame::Frame;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{PortId, Shard, Verdict, wire};

pub use filter::{Sides, WatchFilter, egress};
pub use ring::{Decided, PacketReceiver, Snap, WatchedPacket};

use crate::link::Links;
use ring::PacketSender;

/// How many may watch at one time.
pub const WATCHES: usize = 4;

/// Bytes of a packet that can be kept, at most: more than the largest MTU.
pub const MAX_SNAP_BYTES: usize = 9728;

/// What somebody watches, and where a worker tells it.
#[derive(Debug)]
pub struct Watch {
    filter: WatchFilter,
    snap_bytes: usize,
    sender: PacketSender,
    /// Those packets of the burst which the shard is given that may fit.
    came: Vec<Came>,
    /// Their bytes, as far as they are kept.
    bytes: Vec<u8>,
    /// Those of a packet that has been decided about.
    became: Vec<u8>,
}

/// A packet that may fit, as it came in.
#[derive(Debug)]
struct Came {
    /// Its place in the burst.
    index: usize,
    fit: Fit,
    len: u32,
    bytes: Range<usize>,
}

/// Whether a packet fits that may, as far as it is known before the shard has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fit {
    /// If its connection does.
    Maybe,
    Yes,
}

/// What is watched, and where that is listened to: so many bytes of each packet. There is room for so many packets, and bytes of them,
/// and for bursts of so many.
pub fn watch(
    filter: WatchFilter,
    snap_bytes: usize,
    (packets, bytes): (usize, usize),
    burst: usize,
) -> (Watch, PacketReceiver) {
    let snap_bytes = snap_bytes.min(MAX_SNAP_BYTES);
    let (sender, receiver) = ring::ring(packets, bytes);
    let watch = Watch {
        filter,
        snap_bytes,
        sender,
        came: Vec::with_capacity(burst),
        bytes: Vec::with_capacity(burst * snap_bytes),
        became: Vec::with_capacity(snap_bytes),
    };
    (watch, receiver)
}

impl Watch {
    /// Takes note of packets that are about to be decided about, as many as a burst has.
    fn note<F: Frame>(&mut self, shard: &Shard, frames: &[F]) {
        self.came.clear();
        self.bytes.clear();
        let (takes_all, translates) = (self.filter.takes_all(), !shard.configuration().nat.is_empty());
        for (index, frame) in frames.iter().take(self.came.capacity()).enumerate() {
            if !self.filter.fits_ingress(frame.port()) {
                continue;
            }
            let fit = if takes_all { Some(Fit::Yes) } else { self.fit(frame, translates) };
            let Some(fit) = fit else { continue };
            let (len, begin) = (frame.len_bytes() as u32, self.bytes.len());
            keep(frame, self.snap_bytes, &mut self.bytes);
            self.came.push(Came { index, fit, len, bytes: begin..self.bytes.len() });
        }
    }

    /// Whether a packet may fit. Those of TCP and UDP are of a connection of another tuple only where there is translation.
    #[inline]
    fn fit<F: Frame>(&self, frame: &F, translates: bool) -> Option<Fit> {
        let glance = wire::glance(frame.head());
        let others = (glance.is_none() || translates).then_some(Fit::Maybe);
        let tuple = glance.or_else(|| wire::parse(frame).ok().map(|headers| headers.tuple));
        match tuple {
            Some(tuple) if self.filter.fits(&tuple) || self.filter.fits(&tuple.invert()) => Some(Fit::Yes),
            _ => others,
        }
    }

    /// Tells what was decided about them.
    fn tell<F: Frame>(&mut self, shard: &Shard, links: &Links, frames: &[F], verdicts: &[Verdict]) {
        for came in &self.came {
            let (Some(frame), Some(verdict)) = (frames.get(came.index), verdicts.get(came.index)) else {
                continue;
            };
            let is_wanted = !self.filter.drops || verdict.drop_reason().is_some();
            let Sides { received, sent } = self.filter.sides_of(frame.port(), verdict);
            // The worker that a packet goes to tells of it.
            if !is_wanted || !(received || sent) || matches!(verdict.action, Action::Handoff(..)) {
                continue;
            }
            let is_of_one = |tuple| self.filter.fits(&tuple);
            if came.fit == Fit::Maybe
                && !verdict.entry.and_then(|id| shard.original_of(id)).is_some_and(is_of_one)
            {
                continue;
            }
            self.became.clear();
            keep(frame, self.snap_bytes, &mut self.became);
            if let Some(port) = egress(verdict) {
                address(links, port, verdict, &mut self.became);
            }
            let decided = Decided {
                at: shard.now(),
                ingress: frame.port(),
                verdict: *verdict,
                entry: verdict.entry.and_then(|id| shard.snapshot_of(id)),
            };
            let bytes = self.bytes.get(came.bytes.clone()).unwrap_or_default();
            self.sender.send(decided, [(came.len, bytes), (frame.len_bytes() as u32, &self.became)]);
        }
    }
}

/// Appends a packet, or its first bytes.
fn keep<F: Frame>(frame: &F, most: usize, into: &mut Vec<u8>) {
    let mut left = most;
    for segment in std::iter::once(frame.head()).chain(frame.tail()) {
        let kept = segment.get(..left).unwrap_or(segment);
        into.extend_from_slice(kept);
        left -= kept.len();
    }
}

/// Writes the MAC addresses into a packet that a host on its links gives it behind its verdict; zeros stand for a neighbour that is not
/// known yet.
fn address(links: &Links, egress: PortId, verdict: &Verdict, bytes: &mut [u8]) {
    let own = links.ports.get(egress).map(|port| port.mac);
    if let (Some(own), Some(neighbours), Some(next)) = (own, &links.neighbours, verdict.next_hop)
        && let Some((destination, rest)) = bytes.split_first_chunk_mut()
        && let Some(source) = rest.first_chunk_mut()
    {
        let known = neighbours.peek(egress, next);
        *destination = known.or_else(|| is_group(destination).then_some(*destination)).unwrap_or_default();
        *source = own;
    }
}

/// All that is watched.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    slots: [Option<Box<Watch>>; WATCHES],
    used: usize,
}

impl Watches {
    /// Has this watched in a slot, or nothing any more; gives what was watched there.
    pub(crate) fn set(&mut self, slot: usize, watch: Option<Box<Watch>>) -> Option<Box<Watch>> {
        let before = match self.slots.get_mut(slot) {
            Some(slot) => std::mem::replace(slot, watch),
            None => watch,
        };
        self.used = self.slots.iter().flatten().count();
        before
    }

    /// Takes note of packets that are about to be decided about.
    #[inline(always)]
    pub(crate) fn note<F: Frame>(&mut self, shard: &Shard, frames: &[F]) {
        if self.used > 0 {
            self.note_all(shard, frames);
        }
    }

    /// Tells what was decided about them.
    #[inline(always)]
    pub(crate) fn tell<F: Frame>(
        &mut self,
        shard: &Shard,
        links: &Links,
        frames: &[F],
        verdicts: &[Verdict],
    ) {
        if self.used > 0 {
            self.tell_all(shard, links, frames, verdicts);
        }
    }

    #[cold]
    #[inline(never)]
    fn note_all<F: Frame>(&mut self, shard: &Shard, frames: &[F]) {
        self.slots.iter_mut().flatten().for_each(|watch| watch.note(shard, frames));
    }

    #[cold]
    #[inline(never)]
    fn tell_all<F: Frame>(&mut self, shard: &Shard, links: &Links, frames: &[F], verdicts: &[Verdict]) {
        self.slots.iter_mut().flatten().for_each(|watch| watch.tell(shard, links, frames, verdicts));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::Tuple;
    use sluice_conntrack::policy::Prefix;

    /// A UDP packet from 10.0.0.2 to 192.0.2.1, port 443.
    fn frame() -> (PortId, Vec<u8>) {
        let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
        frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 2, 192, 0, 2, 1]);
        frame.extend([0x9c, 0x40, 1, 187, 0, 8, 0, 0]);
        (PortId(0), frame)
    }

    fn to_port(port: u16) -> WatchFilter {
        WatchFilter {
            protocol: Some(17),
            source: Some(Prefix::new([10, 0, 0, 0].into(), 8)),
            destination_port: Some(port),
            ..WatchFilter::default()
        }
    }

    #[test]
    fn a_filter_is_about_either_direction_and_the_connection() {
        let client = Tuple::new([10, 0, 0, 2].into(), [192, 0, 2, 1].into(), 17, 40000, 443);
        let outside = Tuple::new([192, 0, 2, 1].into(), [203, 0, 113, 1].into(), 17, 443, 5555);
        assert!(to_port(443).fits(&client) && !to_port(443).fits(&outside));
        let fit = |port, translates, frame: &(PortId, Vec<u8>)| {
            let (watch, _receiver) = watch(to_port(port), 64, (1, 1), 1);
            watch.fit(frame, translates)
        };
        assert_eq!((fit(443, false, &frame()), fit(80, false, &frame())), (Some(Fit::Yes), None));
        assert_eq!(fit(80, true, &frame()), Some(Fit::Maybe), "its connection may have another tuple");
        let mut back = frame();
        back.1[26..34].rotate_left(4);
        back.1[34..38].rotate_left(2);
        assert_eq!(fit(443, false, &back), Some(Fit::Yes));
        let mut error = frame();
        error.1[23] = 1;
        assert_eq!(fit(443, false, &error), Some(Fit::Maybe), "an ICMP error is about a connection");
    }

    #[test]
    fn nobody_who_watches_is_in_the_way_of_another() {
        let mut watches = Watches::default();
        let boxed = |port| Some(Box::new(watch(to_port(port), 64, (1, 1), 1).0));
        assert!(watches.set(0, boxed(1)).is_none() && watches.set(3, boxed(2)).is_none());
        assert_eq!(watches.set(3, boxed(3)).unwrap().filter, to_port(2));
        assert_eq!(watches.set(4, boxed(4)).unwrap().filter, to_port(4), "there is no such slot");
        assert_eq!((watches.set(0, None).unwrap().filter, watches.used), (to_port(1), 1));
    }
}
