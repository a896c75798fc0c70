//! A live trace: what a worker decides about packets, for whoever listens over a bounded ring.
//!
//! While nobody does, a worker looks at one pointer for each burst. What is traced is copied before the shard sees it and once it is
//! decided about: its first bytes, the verdict, and the entry that it belongs to. What the ring has no room for is lost, and counted.

use sluice_conntrack::events::{Receiver, Sender, ring};
use sluice_conntrack::frame::Frame;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::policy::Prefix;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Instant, PortId, Shard, Tuple, Verdict, wire};

/// Bytes of a packet that are kept: all headers of nearly every packet.
pub const SNAP_BYTES: usize = 256;

/// Which packets are traced: those that all of it fits, in their own tuple, the inverse of that, or the original tuple of their
/// connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceFilter {
    /// The port that they come in by.
    pub ingress: Option<PortId>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Source addresses.
    pub source: Option<Prefix>,
    /// Destination addresses.
    pub destination: Option<Prefix>,
    /// Source port.
    pub source_port: Option<u16>,
    /// Destination port.
    pub destination_port: Option<u16>,
    /// Only what is dropped or rejected.
    pub drops: bool,
}

impl TraceFilter {
    /// Whether nothing has to be known of tuples.
    fn takes_all(&self) -> bool {
        *self == Self { ingress: self.ingress, drops: self.drops, ..Self::default() }
    }

    fn fits(&self, tuple: &Tuple) -> bool {
        let in_prefix = |prefix: &Prefix, address| prefix.contains(tuple.family(), address);
        self.protocol.is_none_or(|protocol| protocol == tuple.protocol())
            && self.source.is_none_or(|prefix| in_prefix(&prefix, tuple.src))
            && self.destination.is_none_or(|prefix| in_prefix(&prefix, tuple.dst))
            && self.source_port.is_none_or(|port| port == tuple.selector.sport())
            && self.destination_port.is_none_or(|port| port == tuple.selector.dport())
    }
}

/// The first bytes of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Snap {
    /// Bytes of the whole packet.
    pub len: u32,
    kept: u16,
    head: [u8; SNAP_BYTES],
}

impl Snap {
    fn of<F: Frame>(frame: &F) -> Self {
        let head = frame.head();
        let kept = head.len().min(SNAP_BYTES);
        let mut snap = Self { len: frame.len_bytes() as u32, kept: kept as u16, head: [0; SNAP_BYTES] };
        snap.head[..kept].copy_from_slice(&head[..kept]);
        snap
    }

    /// Those that were kept.
    pub fn head(&self) -> &[u8] {
        self.head.get(..usize::from(self.kept)).unwrap_or_default()
    }
}

/// What was decided about a packet.
#[derive(Clone, Debug)]
pub struct TraceRecord {
    /// When.
    pub at: Instant,
    /// The port that it came in by.
    pub ingress: PortId,
    /// As it came in.
    pub came: Snap,
    /// As it was when it had been decided about: what leaves, if it does.
    pub became: Snap,
    /// What was decided.
    pub verdict: Verdict,
    /// The entry that it belongs to, as it is then.
    pub entry: Option<EntrySnapshot>,
}

/// Where a worker puts what it traces.
#[derive(Debug)]
pub struct Trace {
    filter: TraceFilter,
    sender: Sender<TraceRecord>,
    /// The packets of the burst that the shard is given, as they came.
    came: Vec<(Snap, Option<Tuple>)>,
}

/// A trace, and where it is listened to; there is room for so many records, and for bursts of so many packets.
pub fn trace(filter: TraceFilter, room: usize, burst: usize) -> (Trace, Receiver<TraceRecord>) {
    let (sender, receiver) = ring(room);
    (Trace { filter, sender, came: Vec::with_capacity(burst) }, receiver)
}

impl Trace {
    /// Takes note of packets that are about to be decided about, as many as a burst has.
    #[cold]
    #[inline(never)]
    pub(crate) fn note<F: Frame>(&mut self, frames: &[F]) {
        self.came.clear();
        let most = self.came.capacity();
        let tuple = |frame: &F| match self.filter.takes_all() {
            true => None,
            false => wire::parse(frame).ok().map(|headers| headers.tuple),
        };
        self.came.extend(frames.iter().take(most).map(|frame| (Snap::of(frame), tuple(frame))));
    }

    /// Tells what was decided about them.
    #[cold]
    #[inline(never)]
    pub(crate) fn tell<F: Frame>(&mut self, shard: &Shard, frames: &[F], verdicts: &[Verdict]) {
        for ((frame, verdict), (came, tuple)) in frames.iter().zip(verdicts).zip(&self.came) {
            // The worker that it goes to tells of it.
            if matches!(verdict.action, Action::Handoff(..)) {
                continue;
            }
            let entry = verdict.entry.and_then(|id| shard.snapshot_of(id));
            if self.fits(frame.port(), tuple.as_ref(), verdict, entry.as_ref()) {
                let (at, ingress, became) = (shard.now(), frame.port(), Snap::of(frame));
                self.sender.send(TraceRecord { at, ingress, came: *came, became, verdict: *verdict, entry });
            }
        }
    }

    fn fits(
        &self,
        ingress: PortId,
        tuple: Option<&Tuple>,
        verdict: &Verdict,
        entry: Option<&EntrySnapshot>,
    ) -> bool {
        let Self { filter, .. } = self;
        let original = entry.map(|entry| entry.original);
        let tuples = [tuple.copied(), tuple.map(|tuple| tuple.invert()), original];
        filter.ingress.is_none_or(|port| port == ingress)
            && (!filter.drops || verdict.drop_reason().is_some())
            && (filter.takes_all() || tuples.iter().flatten().any(|tuple| filter.fits(tuple)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_about_either_direction_and_the_connection() {
        let client = Tuple::new([10, 0, 0, 2].into(), [192, 0, 2, 1].into(), 6, 40000, 443);
        let outside = Tuple::new([192, 0, 2, 1].into(), [203, 0, 113, 1].into(), 6, 443, 5555);
        let filter = TraceFilter {
            protocol: Some(6),
            source: Some(Prefix::new([10, 0, 0, 0].into(), 8)),
            destination_port: Some(443),
            ..TraceFilter::default()
        };
        let (trace, _receiver) = trace(filter, 1, 1);
        let passed = Verdict::ended(Action::Forward(PortId(1)));
        let fits = |tuple: &Tuple| trace.fits(PortId(0), Some(tuple), &passed, None);
        assert!(fits(&client) && fits(&client.invert()));
        assert!(
            !fits(&outside)
                && !fits(&Tuple::new([10, 0, 0, 2].into(), [192, 0, 2, 1].into(), 17, 40000, 443))
        );
    }
}
