//! SIP (RFC 3261) and the sessions that it sets up by SDP (RFC 8866).
//!
//! A message says in headers where its sender is to be reached, and in a description where media is to come. What it says of
//! its own is expected: calls for whoever registers, RTP and RTCP for whoever describes media. Of a translated connection all
//! that names one of its ends is rewritten to what the other side knows.

mod dialog;
mod headers;
mod media;
mod message;
mod registration;
mod sdp;
mod stream;
mod text;
mod uri;

use super::message_reading::{Reading, Refused};
use super::text::Text;
use super::{Descriptor, ExpectationClass, HelperId, MessageReader, Reads};
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::shard::Shard;
use crate::tuple::{self, Direction, Tuple, protocol};
pub(crate) use dialog::Dialog;
use message::{CSeq, Message, Method, NoMessage, Start};
use std::net::IpAddr;

/// Datagrams are messages, and streams are made of them. Calls come by the protocol of the registration, which says it.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    protocols: &[protocol::UDP, protocol::TCP],
    ports: &[5060],
    classes: &[
        ExpectationClass { read_by: Some(HelperId::Sip), ..class("signalling", 1) },
        class("audio", 4),
        class("video", 4),
        class("image", 2),
    ],
    reads: Reads::Messages(MessageReader {
        measure: stream::measure,
        read: Shard::read_sip,
        read_as_linux: Some(Shard::read_sip_as_linux),
        master_timeout_s: MASTER_TIMEOUT_S,
        may_grow: true,
    }),
};

const fn class(name: &'static str, max_expectations: u8) -> ExpectationClass {
    ExpectationClass { name, ..ExpectationClass::only(protocol::UDP, max_expectations, 180) }
}

/// Incoming calls; media have the classes behind it.
const SIGNALLING: u8 = 0;

/// How long a connection lives that brings a message, in seconds: hours may pass between two of one call.
const MASTER_TIMEOUT_S: u32 = 3600;

/// What is sent to keep a mapping alive, and says nothing (RFC 5626 section 3.5.1).
const KEEPALIVES: [&[u8]; 4] = [b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0"];

/// An address as text has it.
fn address_text(family: Family, address: u128) -> Text {
    Text::of(format_args!("{}", tuple::address(family, address)))
}

/// The same with a port; IPv6 stands in brackets (RFC 3986 section 3.2.2).
fn endpoint_text(family: Family, (address, port): (u128, u16)) -> Text {
    match tuple::address(family, address) {
        IpAddr::V4(address) => Text::of(format_args!("{address}:{port}")),
        IpAddr::V6(address) => Text::of(format_args!("[{address}]:{port}")),
    }
}

impl Shard {
    /// Reads a message.
    ///
    /// # Errors
    /// Why not.
    fn read_sip(&mut self, reading: &mut Reading<'_>) -> Result<(), Refused> {
        let bytes = reading.bytes;
        if KEEPALIVES.contains(&bytes) {
            return Ok(());
        }
        let mut message = match Message::parse(bytes) {
            Ok(message) if message.is_malformed && !reading.is_linux => return Err(reading.malformed()),
            Ok(message) => message,
            Err(NoMessage) if reading.is_linux => return Ok(()),
            Err(NoMessage) => return Err(Refused::Off(HelperEvent::OtherProtocol)),
        };
        // What is behind its length is none of it (RFC 3261 section 18.3).
        if let (false, Some((_, length))) = (reading.is_linux, &message.content_length) {
            if *length > message.body.len() {
                return Err(reading.malformed());
            }
            message.body.end = message.body.start + length;
        }
        self.read_message(reading, &message)
    }

    fn read_message(&mut self, reading: &mut Reading<'_>, message: &Message) -> Result<(), Refused> {
        let cseq = message.cseq.ok_or_else(|| reading.malformed());
        match message.start {
            Start::Request(method, _) => self.read_request(reading, message, method, cseq)?,
            Start::Response(code) => self.read_response(reading, message, code, cseq?)?,
        }
        if reading.announcer.is_translated { self.translate_headers(reading, message) } else { Ok(()) }
    }

    fn read_request(
        &mut self,
        reading: &mut Reading<'_>,
        message: &Message,
        method: Method,
        cseq: Result<CSeq, Refused>,
    ) -> Result<(), Refused> {
        let index = reading.announcer.index;
        self.note_where_answered(reading, message);
        if method == Method::Other {
            return Ok(());
        }
        let CSeq { number, .. } = cseq?;
        if matches!(method, Method::Invite | Method::Bye) {
            self.end_media(index);
        }
        if method.describes_media() {
            self.expect_media(reading, message)?;
        }
        match method {
            Method::Invite => self.table.extend(index).sip.invite = number,
            Method::Register => self.expect_calls(reading, message, number)?,
            _ => {}
        }
        Ok(())
    }

    fn read_response(
        &mut self,
        reading: &mut Reading<'_>,
        message: &Message,
        code: u32,
        CSeq { number, method }: CSeq,
    ) -> Result<(), Refused> {
        let index = reading.announcer.index;
        match (method, code) {
            (Method::Invite | Method::Update | Method::Prack, 100..=299) => {
                self.expect_media(reading, message)
            }
            (Method::Invite | Method::Update | Method::Prack, _) => {
                if self.dialog(index).invite == number {
                    self.end_media(index);
                }
                Ok(())
            }
            (Method::Register, _) => self.conclude_registration(reading, message, code, number),
            _ => Ok(()),
        }
    }

    fn dialog(&self, index: u32) -> Dialog {
        self.table.extension(index).map_or_else(Dialog::default, |extension| extension.sip)
    }

    /// Where the packets of a connection go that are translated so: answers go to the port at which its client waits for them.
    pub(crate) fn answered_at(&self, index: u32, direction: Direction, to: Tuple) -> Tuple {
        match self.dialog(index).answers_at {
            port if port != 0 && direction == Direction::Reply => {
                Tuple { selector: to.selector.with_dport(port), ..to }
            }
            _ => to,
        }
    }
}
