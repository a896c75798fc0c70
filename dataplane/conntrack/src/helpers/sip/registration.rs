//! Registrations (RFC 3261 section 10): who registers is called at the address that it has registered.
//!
//! A REGISTER has such calls expected, inactive as yet. The registrar's answer makes them active, for as long as it grants; an
//! error, or a registration that it no longer names, ends that.

use super::message::Message;
use super::text::{self, HostPort, parameter};
use super::uri::{self, Uri};
use super::{DESCRIPTOR, Reading, Refused, SIGNALLING, endpoint_text};
use crate::entry::Status;
use crate::expectations::{ChildNat, Expectation, Limits, SourceMask, Wanted};
use crate::helper_event::HelperEvent;
use crate::helpers::HelperId;
use crate::shard::Shard;
use crate::tuple::{Tuple, protocol};
use std::ops::Range;

/// Calls are expected of one registration of a connection.
const LIMITS: Limits =
    Limits { of_class: DESCRIPTOR.classes[SIGNALLING as usize].max_expectations as u32, of_helper: u32::MAX };

impl Shard {
    /// Expects calls for whoever registers, by a REGISTER of this number.
    pub(super) fn expect_calls(
        &mut self,
        reading: &mut Reading<'_>,
        message: &Message,
        number: u32,
    ) -> Result<(), Refused> {
        let index = reading.announcer.index;
        // Whom a registration has had called does not register by that.
        if self.table.entries.at(index).status.contains(Status::EXPECTED) {
            return Ok(());
        }
        let Some(contact) = contacts(reading.bytes, message).next() else { return Ok(()) };
        let Some((address, port)) = contact.host.endpoint(reading.announcing.family()) else { return Ok(()) };
        let [own, other] = [reading.announcing, reading.answering];
        if address != own.src {
            // Nobody registers somebody else.
            if !reading.is_linux {
                self.counters.count_event(Some(HelperId::Sip), HelperEvent::ForeignAddress);
            }
            return Ok(());
        }
        let Some(protocol) = transport(reading, &contact.parameters) else { return Ok(()) };
        let Ok(expires) = expires(reading.bytes, &contact, message.expires) else {
            return Err(reading.malformed());
        };
        let own_port = match self.dialog(index).answers_at {
            0 => own.selector.sport(),
            port => port,
        };
        if expires != Some(0) {
            if port != own_port && !reading.is_linux && !reading.announcer.loose {
                self.counters.count_event(Some(HelperId::Sip), HelperEvent::ForeignPort);
                return Ok(());
            }
            let known = (port == own_port).then(|| other.selector.dport());
            let selector = own.selector.with_protocol(protocol).with_ports(port.into());
            let wanted = Wanted {
                tuple: Tuple { src: other.src, dst: other.dst, selector },
                source: SourceMask::AnyPort,
                class: SIGNALLING,
                one_shot: false,
                timeout_ms: DESCRIPTOR.classes[usize::from(SIGNALLING)].timeout_s * 1000,
                nat: reading.announcer.is_translated.then(|| ChildNat::following(&own, port)),
                helper: Some(HelperId::Sip),
            };
            self.expect_calls_at(reading, &wanted, known, &contact.host)?;
        }
        self.table.extend(index).sip.register = number;
        Ok(())
    }

    /// Expects calls at the port of a known name outside, or at one that can be announced.
    fn expect_calls_at(
        &mut self,
        reading: &mut Reading<'_>,
        wanted: &Wanted,
        known: Option<u16>,
        contact: &HostPort,
    ) -> Result<(), Refused> {
        let index = reading.announcer.index;
        let port = match known {
            Some(port) => Some(port),
            None if reading.is_hidden() => self.find_port_to_announce(index, wanted),
            None => Some(wanted.tuple.selector.dport()),
        };
        let Some(port) = port else { return Err(reading.no_port()) };
        let selector = wanted.tuple.selector.with_dport(port);
        let wanted = Wanted { tuple: Tuple { selector, ..wanted.tuple }, ..*wanted };
        let id = self.expect_inactive(index, &wanted, LIMITS)?;
        reading.note_expected(id);
        if reading.is_hidden() {
            let end = (wanted.tuple.dst, port);
            reading.edit(&contact.range, endpoint_text(wanted.tuple.family(), end))?;
        }
        self.counters.count_event(Some(HelperId::Sip), HelperEvent::Expected);
        Ok(())
    }

    /// Takes in what a registrar answers to the REGISTER of this number.
    pub(super) fn conclude_registration(
        &mut self,
        reading: &mut Reading<'_>,
        message: &Message,
        code: u32,
        number: u32,
    ) -> Result<(), Refused> {
        let index = reading.announcer.index;
        // A late answer to an older one says nothing any more.
        if self.dialog(index).register != number || code < 200 {
            return Ok(());
        }
        if code < 300 {
            for contact in contacts(reading.bytes, message) {
                let Some((address, port)) = contact.host.endpoint(reading.announcing.family()) else {
                    continue;
                };
                let Some(protocol) = transport(reading, &contact.parameters) else { continue };
                if address != reading.announcing.dst {
                    continue;
                }
                let Ok(expires) = expires(reading.bytes, &contact, message.expires) else {
                    return Err(reading.malformed());
                };
                match expires {
                    Some(0) | None => break,
                    Some(expires) if self.activate_calls(index, (address, port), protocol, expires)? => {
                        return Ok(());
                    }
                    Some(_) => {}
                }
            }
        }
        self.end_expectations_if(index, |expectation| expectation.class == SIGNALLING);
        Ok(())
    }

    /// Has calls to this address and port come for so many seconds. False where none were expected.
    fn activate_calls(
        &mut self,
        index: u32,
        (address, port): (u128, u16),
        protocol: u8,
        expires_s: u32,
    ) -> Result<bool, Refused> {
        let is_it = |expectation: &Expectation| {
            let Tuple { dst, selector, .. } = expectation.tuple;
            let to = (dst, selector.dport(), selector.protocol());
            expectation.class == SIGNALLING && to == (address, port, protocol)
        };
        let Some(expectation) = self.expectation_of(index, is_it) else { return Ok(false) };
        let timeout_ms = expires_s.saturating_mul(1000);
        self.expect(index, &expectation.wanted(timeout_ms), LIMITS)?;
        Ok(true)
    }
}

/// The contacts of a message, in order.
fn contacts<'a>(bytes: &'a [u8], message: &'a Message) -> impl Iterator<Item = Uri> {
    message.contacts().flat_map(move |value| uri::uris(bytes, value))
}

/// The protocol that a contact's parameters say, or that of the connection; `None` where it is none that is read.
fn transport(reading: &Reading<'_>, parameters: &Range<usize>) -> Option<u8> {
    let Some(range) = parameter(reading.bytes, uri_part(reading.bytes, parameters), "transport") else {
        return Some(reading.announcing.protocol());
    };
    let transport = &reading.bytes[range];
    [(&b"udp"[..], protocol::UDP), (b"tcp", protocol::TCP)]
        .into_iter()
        .find(|(name, _)| transport.eq_ignore_ascii_case(name))
        .map(|(_, protocol)| protocol)
}

/// The parameters of a contact's URI, without those of the header behind it.
fn uri_part(bytes: &[u8], parameters: &Range<usize>) -> Range<usize> {
    let end = bytes[parameters.clone()].iter().position(|byte| *byte == b'>');
    parameters.start..end.map_or(parameters.end, |end| parameters.start + end)
}

/// For how long a contact is registered, in seconds: what it says itself, or else the message. An error where it says no number.
fn expires(bytes: &[u8], contact: &Uri, of_message: Option<u32>) -> Result<Option<u32>, ()> {
    let all = contact.parameters.clone();
    let behind = uri_part(bytes, &all).end..all.end;
    match parameter(bytes, behind, "expires").or_else(|| parameter(bytes, all, "expires")) {
        Some(range) => text::number(&bytes[range]).map(|(seconds, _)| Some(seconds)).ok_or(()),
        None => Ok(of_message),
    }
}
