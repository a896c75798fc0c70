//! A frame in a shard's hands, with what its device or another shard says about it.

use sluice_conntrack::{Frame, Handed, PortId};

/// The frame.
#[derive(Clone, Debug)]
pub struct Received {
    pub port: PortId,
    pub bytes: Vec<u8>,
    pub rss_hash: Option<u32>,
    pub handed: Option<Handed>,
}

impl Received {
    /// A frame from a device that says nothing about it.
    pub const fn new(port: PortId, bytes: Vec<u8>) -> Self {
        Self { port, bytes, rss_hash: None, handed: None }
    }
}

impl Frame for Received {
    fn port(&self) -> PortId {
        self.port
    }

    fn head(&self) -> &[u8] {
        &self.bytes
    }

    fn head_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn splice(&mut self, at: usize, removed: usize, inserted: &[u8]) -> bool {
        let has = at <= self.bytes.len() && removed <= self.bytes.len() - at;
        if has {
            self.bytes.splice(at..at + removed, inserted.iter().copied());
        }
        has
    }

    fn rss_hash(&self) -> Option<u32> {
        self.rss_hash
    }

    fn handed(&self) -> Option<Handed> {
        self.handed
    }
}
