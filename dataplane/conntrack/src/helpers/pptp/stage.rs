//! What comes of messages about calls: expectations, and of a translated connection other ids.
//!
//! The id of an end whose address is translated is told the other end as another one, so that no two hosts behind one address have the
//! same: the client's is its port outside, as in Linux, and a server's its own if it can be.

use super::calls::{Call, Calls, Message};
use super::{CALL_ID, PEER_CALL_ID};
use crate::expectations::ChildNat;
use crate::helper_event::HelperEvent;
use crate::helpers::announce::{limits, wanted_by};
use crate::helpers::found::Form;
use crate::helpers::line_stage::text_at;
use crate::helpers::reading::{Announcer, Reading};
use crate::helpers::shift::Change;
use crate::nat::announced;
use crate::shard::Shard;
use crate::tuple::{Direction, Tuple, protocol};
use crate::verdict::DropReason;

/// A message and where it is.
struct Spoken<'a> {
    reading: &'a Reading,
    payload: &'a [u8],
    /// Where it begins in the payload; negative where its begin came before.
    start: isize,
}

impl Shard {
    /// Follows what a message says about calls that begins there in the payload, or before it.
    #[cold]
    pub(in crate::helpers) fn read_call(
        &mut self,
        reading: &Reading,
        payload: &[u8],
        message: &Message,
        start: isize,
    ) -> Result<(), DropReason> {
        let Some(mut calls) = self.help.get(reading.part.slot).map(|help| help.calls) else {
            return Ok(());
        };
        let followed = self.follow(&Spoken { reading, payload, start }, &mut calls, message);
        if let Some(help) = self.help.get_mut(reading.part.slot) {
            help.calls = calls;
        }
        followed
    }

    fn follow(
        &mut self,
        spoken: &Spoken<'_>,
        calls: &mut Calls,
        message: &Message,
    ) -> Result<(), DropReason> {
        let Announcer { index, direction: sender, helper, .. } = spoken.reading.part.announcer;
        let receiver = sender.invert();
        let followed = match *message {
            Message::Request { by, id } => {
                if let Some(slot) = calls.of(sender, id) {
                    self.end_calls(index, calls, |other| other == slot);
                }
                let Some(slot) = calls.free() else {
                    self.counters.count_event(Some(helper), HelperEvent::Refused);
                    return Err(DropReason::ExpectationFull);
                };
                self.id_outside(spoken.reading, calls, id, true).and_then(|outside| {
                    self.write_id(spoken, CALL_ID, outside)?;
                    calls.set(slot, Call::asked(by, sender, id, outside));
                    Ok(())
                })
            }
            Message::Reply { to, id, peer, is_granted } => {
                let asked = calls.named(receiver, peer).filter(|slot| {
                    let call = calls.get(*slot);
                    call.asked_by == to && !call.is_granted
                });
                let Some(slot) = asked else { return Ok(()) };
                let mut call = calls.get(slot);
                calls.end(slot);
                if is_granted {
                    let granted = self.id_outside(spoken.reading, calls, id, false).and_then(|outside| {
                        call.set(sender, id, outside);
                        self.write_id(spoken, CALL_ID, outside)
                    });
                    if let Err(event) = granted {
                        self.counters.count_event(Some(helper), event);
                        return Ok(());
                    }
                    call.is_granted = true;
                    self.expect_call(spoken.reading, &call)?;
                    calls.set(slot, call);
                }
                self.write_id(spoken, PEER_CALL_ID, call.own[receiver as usize])
            }
            Message::Clear { id } => self.translate_own(spoken, calls, id).map(|slot| {
                // Nobody has to say that a call is over which has not begun.
                if let Some(slot) = slot.filter(|slot| !calls.get(*slot).is_granted) {
                    calls.end(slot);
                }
            }),
            Message::Disconnect { id } => {
                let translated = match calls.of(sender, id) {
                    Some(_) => self.translate_own(spoken, calls, id),
                    None => self.translate_peer(spoken, calls, id),
                };
                translated.map(|slot| self.end_calls(index, calls, |other| Some(other) == slot))
            }
            Message::Peer { id } => self.translate_peer(spoken, calls, id).map(|_| ()),
            Message::Stop => {
                self.end_calls(index, calls, |_| true);
                Ok(())
            }
        };
        if let Err(event) = followed {
            self.counters.count_event(Some(helper), event);
        }
        Ok(())
    }

    /// Has a message say what the receiver calls an id of its sender. Gives the slot of the call.
    fn translate_own(
        &mut self,
        spoken: &Spoken<'_>,
        calls: &Calls,
        id: u16,
    ) -> Result<Option<usize>, HelperEvent> {
        let sender = spoken.reading.part.announcer.direction;
        let slot = calls.of(sender, id);
        if let Some(slot) = slot {
            self.write_id(spoken, CALL_ID, calls.get(slot).outside[sender as usize])?;
        }
        Ok(slot)
    }

    /// Has a message that says an id of its receiver say that which the receiver gave. Gives the slot of the call.
    fn translate_peer(
        &mut self,
        spoken: &Spoken<'_>,
        calls: &Calls,
        id: u16,
    ) -> Result<Option<usize>, HelperEvent> {
        let receiver = spoken.reading.part.announcer.direction.invert();
        let slot = calls.named(receiver, id);
        if let Some(slot) = slot {
            self.write_id(spoken, CALL_ID, calls.get(slot).own[receiver as usize])?;
        }
        Ok(slot)
    }

    /// What the receiver of a message is to call an id that its sender gives, in a request or in the reply to one.
    fn id_outside(
        &self,
        reading: &Reading,
        calls: &Calls,
        id: u16,
        is_request: bool,
    ) -> Result<u16, HelperEvent> {
        let Announcer { index, direction, helper, .. } = reading.part.announcer;
        let [sender, receiver] =
            [direction, direction.invert()].map(|way| self.table.entries.tuple(index, way));
        if sender.src == receiver.dst {
            return Ok(id);
        }
        let is_clients = direction == Direction::Original && is_request;
        let first = if is_clients { receiver.selector.dport() } else { id };
        let tuple = Tuple {
            src: receiver.src,
            dst: receiver.dst,
            selector: receiver.selector.with_protocol(protocol::GRE).with_ports(first.into()),
        };
        let wanted = wanted_by(helper, 0, tuple, None);
        let is_other_call = |id: u16| calls.named(direction, id).is_some();
        let is_free = |id: u16| !is_other_call(id) && !self.is_expected_by_others(index, &wanted.at_port(id));
        let mut others =
            announced::ports_to_announce(&self.nat, &self.configuration.nat, self.steering(), &tuple);
        match announced::is_unused(&self.nat, &tuple) && is_free(first) {
            true => Ok(first),
            false => others.find(|id| is_free(*id)).ok_or(HelperEvent::NoPort),
        }
    }

    /// Has a message say this id at this offset.
    fn write_id(&mut self, spoken: &Spoken<'_>, at: usize, id: u16) -> Result<(), HelperEvent> {
        let Spoken { reading, payload, start } = *spoken;
        let Announcer { index, is_translated, .. } = reading.part.announcer;
        if !is_translated {
            return Ok(());
        }
        let (from, Some(text)) = text_at(payload, &(at..at + 2), start) else {
            return Err(HelperEvent::Incomplete);
        };
        let family = self.table.entries.at(index).selector.family();
        let inserted = (reading.reader.rewrite)(Form::Port, family, 0, id);
        let change = Change { at: reading.part.seq.wrapping_add(from), port: id, removed: 2, inserted };
        self.change(&reading.part, &change, text)
    }

    /// Expects both directions of a call.
    fn expect_call(&mut self, reading: &Reading, call: &Call) -> Result<(), DropReason> {
        let Announcer { index, helper, is_translated, .. } = reading.part.announcer;
        let mut first = None;
        for direction in [Direction::Original, Direction::Reply] {
            let (tuple, nat) = self.direction_of_call(index, call, direction);
            let wanted = wanted_by(helper, 0, tuple, is_translated.then_some(nat));
            match self.expect(index, &wanted, limits(helper, 0)) {
                Ok(id) => first = first.or(Some(id)),
                Err(unexpected) => {
                    first.map(|first| self.unexpect(first));
                    return Err(unexpected.into());
                }
            }
        }
        self.counters.count_event(Some(helper), HelperEvent::Expected);
        Ok(())
    }

    /// The tuple of one direction of a call, and how it is translated.
    fn direction_of_call(&self, index: u32, call: &Call, direction: Direction) -> (Tuple, ChildNat) {
        let [way, back] = [direction, direction.invert()].map(|way| self.table.entries.tuple(index, way));
        let [sender, receiver] = [direction, direction.invert()].map(|way| way as usize);
        let ports = u32::from(call.own[sender]) << 16 | u32::from(call.outside[receiver]);
        let selector = way.selector.with_protocol(protocol::GRE).with_ports(ports);
        let nat = ChildNat {
            source: back.dst,
            destination: back.src,
            port: call.own[receiver],
            source_port: call.outside[sender],
        };
        (Tuple { selector, ..way }, nat)
    }

    /// Ends calls, with their connections.
    fn end_calls(&mut self, index: u32, calls: &mut Calls, is_over: impl Fn(usize) -> bool) {
        for slot in 0..super::MAX_CALLS {
            let call = calls.get(slot);
            if call.asked_by != 0 && is_over(slot) {
                let ways = [Direction::Original, Direction::Reply];
                let tuples = ways.map(|way| self.direction_of_call(index, &call, way).0);
                if call.is_granted {
                    self.end_expectations_if(index, |expectation| tuples.contains(&expectation.tuple));
                }
                calls.end(slot);
            }
        }
    }
}
