//! What is said about calls, and the calls of one control connection, as far as they were asked for.

use crate::tuple::Direction;
use zerocopy::FromZeros;

/// Calls that one control connection may have at a time. Clients have one each; Linux knows no more.
pub(super) const MAX_CALLS: usize = 8;

/// What is said about calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// By this message, for a call of this id of the sender's.
    Request { by: u16, id: u16 },
    /// To that message: the call of the receiver's id `peer` has this one of the sender's, if it is granted.
    Reply { to: u16, id: u16, peer: u16, is_granted: bool },
    /// The call of the sender's id is not wanted any more.
    Clear { id: u16 },
    /// The call of this id has ended: the sender's own, or the receiver's as some servers have it.
    Disconnect { id: u16 },
    /// Something about the call of this id of the receiver's.
    Peer { id: u16 },
    /// All calls are over.
    Stop,
}

/// A call; arrays of two are by the direction in which an end sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromZeros)]
#[repr(C)]
pub(super) struct Call {
    /// The id that each end gave it.
    pub(super) own: [u16; 2],
    /// What the other end calls that.
    pub(super) outside: [u16; 2],
    /// The type of the message that has asked for it; 0 where there is no call.
    pub(super) asked_by: u16,
    /// Who has asked, as the number of a direction.
    asker: u8,
    /// Whether it was granted: then both ids are known.
    pub(super) is_granted: bool,
}

impl Call {
    /// A call that is asked for.
    pub(super) fn asked(by: u16, asker: Direction, id: u16, outside: u16) -> Self {
        let mut call = Self { asked_by: by, asker: asker as u8, ..Self::default() };
        call.set(asker, id, outside);
        call
    }

    /// Gives it the id of an end.
    pub(super) const fn set(&mut self, end: Direction, id: u16, outside: u16) {
        self.own[end as usize] = id;
        self.outside[end as usize] = outside;
    }

    /// Whether the id of an end is known.
    const fn knows(&self, end: Direction) -> bool {
        self.asked_by != 0 && (self.is_granted || self.asker == end as u8)
    }
}

/// All of them.
#[derive(Clone, Copy, Debug, Default, FromZeros)]
#[repr(C)]
pub(crate) struct Calls([Call; MAX_CALLS]);

impl Calls {
    /// All calls that there are, by their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Call)> {
        self.0.iter().enumerate().filter(|(_, call)| call.asked_by != 0)
    }

    /// The call of an end's own id.
    pub(super) fn of(&self, end: Direction, id: u16) -> Option<usize> {
        let mut calls = self.iter().filter(|(_, call)| call.knows(end));
        calls.find(|(_, call)| call.own[end as usize] == id).map(|(slot, _)| slot)
    }

    /// The call of an end's id as the other one calls it.
    pub(super) fn named(&self, end: Direction, id: u16) -> Option<usize> {
        let mut calls = self.iter().filter(|(_, call)| call.knows(end));
        calls.find(|(_, call)| call.outside[end as usize] == id).map(|(slot, _)| slot)
    }

    /// What is in a slot.
    pub(super) const fn get(&self, slot: usize) -> Call {
        self.0[slot]
    }

    /// A call stands in a slot from now on.
    pub(super) const fn set(&mut self, slot: usize, call: Call) {
        self.0[slot] = call;
    }

    /// The call in a slot has ended.
    pub(super) fn end(&mut self, slot: usize) {
        self.0[slot] = Call::default();
    }

    /// A slot for another call.
    pub(super) fn free(&self) -> Option<usize> {
        self.0.iter().position(|call| call.asked_by == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Original, Reply};

    #[test]
    fn a_call_is_known_by_the_ids_that_were_said() {
        let mut calls = Calls::default();
        let slot = calls.free().unwrap();
        calls.set(slot, Call::asked(7, Original, 5, 105));
        assert_eq!((calls.of(Original, 5), calls.named(Original, 105)), (Some(slot), Some(slot)));
        assert_eq!((calls.of(Reply, 0), calls.of(Original, 105)), (None, None), "what was not said is no id");
        let mut call = calls.get(slot);
        call.set(Reply, 9, 9);
        call.is_granted = true;
        calls.set(slot, call);
        assert_eq!(calls.of(Reply, 9), Some(slot));
        calls.end(slot);
        assert_eq!((calls.of(Original, 5), calls.iter().count()), (None, 0));
    }
}
