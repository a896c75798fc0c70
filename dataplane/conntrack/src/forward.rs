//! Where a packet leaves.

use crate::frame::PortId;

/// Most ports of a box.
pub const MAX_PORTS: usize = 16;

/// How packets pass from port to port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarding {
    /// A wire: what comes in by a port leaves by its peer, untouched.
    Wire {
        /// The peer of each port.
        peers: [PortId; MAX_PORTS],
    },
}

impl Forwarding {
    /// A wire between ports 0 and 1.
    pub const fn wire() -> Self {
        let mut peers = [PortId(0); MAX_PORTS];
        peers[0] = PortId(1);
        Self::Wire { peers }
    }

    /// The port by which a packet that came in by `ingress` leaves.
    pub fn egress(&self, ingress: PortId) -> PortId {
        match self {
            Self::Wire { peers } => peers.get(usize::from(ingress.0)).copied().unwrap_or_default(),
        }
    }
}
