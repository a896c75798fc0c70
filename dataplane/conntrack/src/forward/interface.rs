//! What the router knows about a port, and the reverse path filter there (RFC 3704): whether the source of what comes in could be
//! reached by the same port.

use super::Via;
use crate::ids::{PortId, StackId};
use std::net::IpAddr;

/// A port of the router.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    /// The box's own addresses there, with the lengths of their networks' prefixes.
    pub addresses: Vec<(IpAddr, u8)>,
    /// The largest IP packet that the link takes, in bytes.
    pub mtu: u16,
    /// The network stack behind the port's host side, if it has one.
    pub host: Option<StackId>,
    /// What the sources of packets that come in there are asked for.
    pub rp_filter: RpFilter,
}

/// The sources that a port takes packets from: Linux's `rp_filter`, for both families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RpFilter {
    /// Any.
    #[default]
    Off,
    /// Those that there is a route to, by whatever port, the default route included (RFC 3704 section 2.4).
    Loose,
    /// Those that there is a route to by this port (RFC 3704 section 2.2).
    Strict,
}

impl RpFilter {
    /// Whether a packet may come in by a port whose source is behind these next hops.
    pub(super) fn passes(self, ingress: PortId, next_hops: &[Via]) -> bool {
        match self {
            Self::Off => true,
            Self::Loose => !next_hops.is_empty(),
            Self::Strict => next_hops.iter().any(|via| via.port == ingress),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::link_local;
    use crate::forward::tests::{BOX_MAC, INSIDE, OUTSIDE, action, filtering, send, shard_of, udp};
    use crate::policy::Outcome;
    use crate::verdict::{Action, DropReason, Rejection};

    #[test]
    fn sources_are_looked_up_where_the_port_has_a_reverse_path_filter() {
        // Whether each of off, loose and strict lets a packet pass that comes in by the port inside.
        for (from, to, passes) in [
            ("10.0.0.2", "198.51.100.2", [true, true, true]),
            ("fd00:1::2", "2001:db8:9::2", [true, true, true]),
            ("203.0.113.9", "198.51.100.2", [true, true, false]),
            ("198.51.100.7", "198.51.100.2", [true, true, false]),
            ("2001:db8:9::7", "2001:db8:9::2", [true, true, false]),
            ("192.0.2.1", "198.51.100.2", [true, false, false]),
            ("3fff::1", "2001:db8:9::2", [true, false, false]),
            ("10.0.0.2", "10.0.0.1", [true, true, true]),
            ("192.0.2.1", "10.0.0.1", [true, false, false]),
        ] {
            for (rp_filter, passes) in
                [RpFilter::Off, RpFilter::Loose, RpFilter::Strict].into_iter().zip(passes)
            {
                let mut shard = shard_of(filtering(rp_filter), vec![], Outcome::Accept);
                let (verdict, _) = send(&mut shard, INSIDE, udp(from, to));
                let is_dropped = verdict.action == Action::Drop(DropReason::RpFilter);
                assert_eq!(
                    (!is_dropped, !shard.is_empty()),
                    (passes, passes),
                    "{from} > {to}, {rp_filter:?}"
                );
                let (verdict, _) = send(&mut shard, OUTSIDE, udp("192.0.2.9", "198.51.100.2"));
                assert_ne!(verdict.action, Action::Drop(DropReason::RpFilter), "the other port has none");
            }
        }
    }

    #[test]
    fn what_no_router_passes_on_needs_no_route_back() {
        let mut shard = shard_of(filtering(RpFilter::Strict), vec![], Outcome::Accept);
        shard.join_link(INSIDE, BOX_MAC);
        let own = link_local(BOX_MAC).to_string();
        let reject = Action::Reject(DropReason::Local, Rejection::PortUnreachable);
        assert_eq!(action(&mut shard, udp("fe80::9", &own)), reject);
    }
}
