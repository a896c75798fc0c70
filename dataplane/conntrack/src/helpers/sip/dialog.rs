//! What is remembered of a connection that brings SIP: Linux's `nf_ct_sip_master`.

use zerocopy::FromZeros;

/// Ports of media that a connection remembers.
const MAX_PORTS: usize = 4;

/// What is remembered of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
pub(crate) struct Dialog {
    /// Numbers of its last INVITE and REGISTER.
    pub(crate) invite: u32,
    pub(crate) register: u32,
    /// The port at which its client waits for answers, where it is not the one that it sends from; else 0.
    pub(crate) answers_at: u16,
    /// The port that is forgotten next.
    next: u16,
    /// Ports that were announced, and what they are outside: media that is described again stays where it is.
    ports: [[u16; 2]; MAX_PORTS],
}

impl Dialog {
    /// What a port was announced as, if it was.
    pub(crate) fn announced(&self, inside: u16) -> Option<u16> {
        self.ports
            .iter()
            .find(|[port, _]| *port == inside)
            .map(|[_, outside]| *outside)
            .filter(|port| *port != 0)
    }

    /// Takes note of what a port is announced as.
    pub(crate) fn note_announced(&mut self, inside: u16, outside: u16) {
        let known = self.ports.iter().position(|[port, _]| *port == inside);
        let slot = known.unwrap_or_else(|| {
            self.next = (self.next + 1) % MAX_PORTS as u16;
            usize::from(self.next)
        });
        self.ports[slot] = [inside, outside];
    }
}
