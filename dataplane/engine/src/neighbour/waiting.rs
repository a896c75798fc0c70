//! Packets that wait for a neighbour: few of them (RFC 4861 section 7.2.2), but of a datagram in fragments all or none. Its first
//! fragment waits like any packet, the others behind that, in a room that all neighbours share.

use arrayvec::ArrayVec;

/// Packets that wait for one neighbour, at most; a datagram in fragments is one.
const MAX_WAITING: usize = 3;

/// Later fragments that wait for all neighbours, at most: those of eight datagrams that have as many as may be.
pub(super) const MAX_FRAGMENTS: usize = 1024;

/// The end of a chain.
const NONE: u32 = u32::MAX;

/// The packets that wait for one neighbour, in order.
#[derive(Debug)]
pub(super) struct Waiting<P> {
    packets: ArrayVec<(P, Chain), MAX_WAITING>,
    /// Whether the last that came could not wait, as the fragments behind it cannot.
    refuses: bool,
}

/// The first and the last of the fragments that wait behind a packet.
#[derive(Clone, Copy, Debug)]
struct Chain {
    first: u32,
    last: u32,
}

/// The later fragments that wait for any neighbour.
#[derive(Debug)]
pub(super) struct Fragments<P> {
    slots: Vec<(Option<P>, u32)>,
    free: u32,
    /// Packets that wait for any neighbour, those that are no such fragments among them.
    packets: u64,
}

impl<P> Waiting<P> {
    /// None.
    pub(super) const fn new() -> Self {
        Self { packets: ArrayVec::new_const(), refuses: false }
    }

    /// Has a packet wait. A later fragment belongs to the packet before it. Gives how many packets are lost instead: the one, or
    /// with it those of its datagram that have waited.
    pub(super) fn push(&mut self, fragments: &mut Fragments<P>, packet: P, is_later_fragment: bool) -> u64 {
        if !is_later_fragment {
            let chain = Chain { first: NONE, last: NONE };
            self.refuses = self.packets.try_push((packet, chain)).is_err();
            fragments.packets += u64::from(!self.refuses);
            return u64::from(self.refuses);
        }
        let Some((_, chain)) = self.packets.last_mut().filter(|_| !self.refuses) else { return 1 };
        if fragments.push(chain, packet) {
            fragments.packets += 1;
            return 0;
        }
        self.refuses = true;
        let behind = self.packets.pop().map_or(0, |(_, chain)| fragments.release(chain, |_| {}));
        fragments.packets -= behind + 1;
        behind + 2
    }

    /// Hands all packets over, in order; gives how many those were.
    pub(super) fn release(self, fragments: &mut Fragments<P>, mut take: impl FnMut(P)) -> u64 {
        let mut released = 0;
        for (packet, chain) in self.packets {
            take(packet);
            released += 1 + fragments.release(chain, &mut take);
        }
        fragments.packets -= released;
        released
    }
}

impl<P> Fragments<P> {
    pub(super) fn new() -> Self {
        let next = |number| if number < MAX_FRAGMENTS { number as u32 } else { NONE };
        Self { slots: (1..=MAX_FRAGMENTS).map(|number| (None, next(number))).collect(), free: 0, packets: 0 }
    }

    /// Packets that wait for any neighbour.
    pub(super) const fn waiting(&self) -> u64 {
        self.packets
    }

    /// Puts a fragment behind the others of a chain. False where there is no room.
    fn push(&mut self, chain: &mut Chain, packet: P) -> bool {
        let number = self.free;
        let Some((slot, next)) = self.slots.get_mut(number as usize) else { return false };
        *slot = Some(packet);
        self.free = std::mem::replace(next, NONE);
        match self.slots.get_mut(chain.last as usize) {
            Some((_, next)) => *next = number,
            None => chain.first = number,
        }
        chain.last = number;
        true
    }

    /// Hands the fragments of a chain over, in order; gives how many those were.
    fn release(&mut self, chain: Chain, mut take: impl FnMut(P)) -> u64 {
        let (mut number, mut released) = (chain.first, 0);
        while let Some((slot, next)) = self.slots.get_mut(number as usize) {
            let following = std::mem::replace(next, self.free);
            self.free = std::mem::replace(&mut number, following);
            if let Some(packet) = slot.take() {
                take(packet);
                released += 1;
            }
        }
        released
    }
}
