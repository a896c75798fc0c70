//! Which packets are watched.

use sluice_conntrack::policy::Prefix;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{PortId, Tuple, Verdict};

/// Where a packet is watched: as it came in, and as it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sides {
    /// As it came in.
    pub received: bool,
    /// As it leaves, if it does.
    pub sent: bool,
}

/// Which packets are watched: those that all of it fits, in their own tuple, the inverse of that, or the original tuple of their
/// connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchFilter {
    /// The ports at which packets are watched, as they come in or leave there; all, where none is named.
    pub at: Vec<PortId>,
    /// On which of these ways.
    pub sides: Sides,
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

/// All packets, on either way.
impl Default for WatchFilter {
    fn default() -> Self {
        Self {
            at: Vec::new(),
            sides: Sides { received: true, sent: true },
            ingress: None,
            protocol: None,
            source: None,
            destination: None,
            source_port: None,
            destination_port: None,
            drops: false,
        }
    }
}

impl WatchFilter {
    /// Whether nothing has to be known of tuples.
    pub(super) fn takes_all(&self) -> bool {
        let Self { protocol, source, destination, source_port, destination_port, .. } = self;
        protocol.is_none()
            && (source.is_none() && destination.is_none())
            && (source_port.is_none() && destination_port.is_none())
    }

    /// Whether a packet may be watched that has come in by a port.
    pub(super) fn fits_ingress(&self, ingress: PortId) -> bool {
        self.ingress.is_none_or(|port| port.covers(ingress)) && (self.sides.sent || self.is_at(ingress))
    }

    /// Whether the ends of a tuple fit: what takes least to find out comes first, since most packets do not.
    #[inline]
    pub(super) fn fits(&self, tuple: &Tuple) -> bool {
        let in_prefix = |prefix: &Prefix, address| prefix.contains(tuple.family(), address);
        self.protocol.is_none_or(|protocol| protocol == tuple.protocol())
            && self.source_port.is_none_or(|port| port == tuple.selector.sport())
            && self.destination_port.is_none_or(|port| port == tuple.selector.dport())
            && self.source.is_none_or(|prefix| in_prefix(&prefix, tuple.src))
            && self.destination.is_none_or(|prefix| in_prefix(&prefix, tuple.dst))
    }

    /// Where a packet is watched that has come in by a port and about which this was decided.
    pub fn sides_of(&self, ingress: PortId, verdict: &Verdict) -> Sides {
        Sides {
            received: self.sides.received && self.is_at(ingress),
            sent: self.sides.sent && egress(verdict).is_some_and(|port| self.is_at(port)),
        }
    }

    fn is_at(&self, port: PortId) -> bool {
        self.at.is_empty() || self.at.iter().any(|at| at.covers(port))
    }
}

/// The port that a packet leaves by, if it does.
pub const fn egress(verdict: &Verdict) -> Option<PortId> {
    match verdict.action {
        Action::Forward(port)
        | Action::Fragment(port, _)
        | Action::Announce(port)
        | Action::Acknowledge(port) => Some(port),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::DropReason;

    #[test]
    fn a_packet_is_watched_where_it_comes_in_and_where_it_leaves() {
        let [inside, outside, other] = [0, 1, 2].map(PortId);
        let passed = Verdict::ended(Action::Forward(outside));
        let dropped = Verdict::dropped(DropReason::Policy);
        let sides = |received, sent, at: &[PortId], verdict| {
            let filter =
                WatchFilter { at: at.to_vec(), sides: Sides { received, sent }, ..WatchFilter::default() };
            let Sides { received, sent } = filter.sides_of(inside, verdict);
            [received, sent]
        };
        assert_eq!(sides(true, true, &[], &passed), [true, true]);
        assert_eq!(sides(true, true, &[inside, other], &passed), [true, false]);
        assert_eq!(sides(true, true, &[outside], &passed), [false, true]);
        assert_eq!(sides(true, true, &[], &dropped), [true, false]);
        assert_eq!(sides(false, true, &[], &passed), [false, true]);
        assert_eq!(sides(true, false, &[outside], &passed), [false, false]);
        let host = Verdict::ended(Action::Forward(outside.host_side()));
        assert_eq!(
            sides(true, true, &[PortId::LOCAL], &host),
            [false, true],
            "any host side is the box itself"
        );
    }
}
