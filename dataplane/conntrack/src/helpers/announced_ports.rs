//! Ports that a connection has announced, and what they are outside: what is announced again stays where it is.

use zerocopy::FromZeros;

/// Ports that a connection remembers.
const MAX_PORTS: usize = 8;

/// The last of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub(crate) struct AnnouncedPorts {
    /// The place of the one that is forgotten next.
    next: u32,
    /// Inside and outside.
    ports: [[u16; 2]; MAX_PORTS],
}

impl AnnouncedPorts {
    /// What a port was announced as, if it was.
    pub(crate) fn outside(&self, inside: u16) -> Option<u16> {
        self.ports
            .iter()
            .find(|[port, _]| *port == inside)
            .map(|[_, outside]| *outside)
            .filter(|port| *port != 0)
    }

    /// Takes note of what a port is announced as.
    pub(crate) fn note(&mut self, inside: u16, outside: u16) {
        let known = self.ports.iter().position(|[port, _]| *port == inside);
        let place = known.unwrap_or_else(|| {
            self.next = (self.next + 1) % MAX_PORTS as u32;
            self.next as usize
        });
        self.ports[place] = [inside, outside];
    }
}
