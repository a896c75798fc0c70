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

use super::edits::{Edit, Edits};
use super::reading::Announcer;
use super::text::Text;
use super::{Descriptor, ExpectationClass, HelperId, Reads};
use crate::expectations::{ExpectationId, Limits, Unexpected, Wanted};
use crate::family::Family;
use crate::helper_event::HelperEvent;
use crate::settings::Preset;
use crate::shard::Shard;
use crate::tuple::{self, Direction, Tuple, protocol};
use crate::verdict::DropReason;
pub(crate) use dialog::Dialog;
use message::{CSeq, Message, Method, NoMessage, Start};
use std::net::IpAddr;
use std::ops::Range;

/// Datagrams are messages, and streams are made of them. Calls come by the protocol of the registration, which says it.
pub(super) const DESCRIPTOR: Descriptor = Descriptor {
    name: "sip",
    protocols: &[protocol::UDP, protocol::TCP],
    ports: &[5060],
    classes: &[
        ExpectationClass { is_read: true, ..class("signalling", 1) },
        class("audio", 4),
        class("video", 4),
        class("image", 2),
    ],
    reads: Reads::Sip,
};

const fn class(name: &'static str, max_expectations: u8) -> ExpectationClass {
    ExpectationClass { name, ..ExpectationClass::only(protocol::UDP, max_expectations, 180) }
}

/// Incoming calls; media have the classes behind it.
const SIGNALLING: u8 = 0;

/// How long a connection lives that brings a message, in seconds: hours may pass between two of one call.
pub(super) const MASTER_TIMEOUT_S: u32 = 3600;

/// What is sent to keep a mapping alive, and says nothing (RFC 5626 section 3.5.1).
const KEEPALIVES: [&[u8]; 4] = [b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0"];

/// Expectations that one message makes, at most.
const MAX_EXPECTED: usize = 2 * sdp::MAX_MEDIA;

/// Why a message is not, or no longer, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::helpers) enum Refused {
    /// The helper has to be off from here on.
    Off(HelperEvent),
    /// The message stays as it is, and nothing of it is expected.
    AsItIs(HelperEvent),
    /// It must not leave.
    Dropped(DropReason),
}

impl From<DropReason> for Refused {
    fn from(reason: DropReason) -> Self {
        Self::Dropped(reason)
    }
}

impl From<Unexpected> for Refused {
    fn from(unexpected: Unexpected) -> Self {
        Self::Dropped(unexpected.into())
    }
}

/// A message that is read.
struct Reading<'a> {
    announcer: Announcer,
    /// Its tuple, and the one of answers as they come in.
    announcing: Tuple,
    answering: Tuple,
    is_linux: bool,
    bytes: &'a [u8],
    edits: &'a mut Edits,
    /// What it has had expected.
    expected: [Option<ExpectationId>; MAX_EXPECTED],
}

impl Reading<'_> {
    /// What Linux drops and others let pass unread.
    const fn malformed(&self) -> Refused {
        if self.is_linux {
            Refused::Dropped(DropReason::HelperMalformed)
        } else {
            Refused::Off(HelperEvent::Malformed)
        }
    }

    /// Whether its sender's address has another name outside.
    fn is_hidden(&self) -> bool {
        self.announcing.src != self.answering.dst
    }

    /// What is said of ports that are all taken.
    const fn no_port(&self) -> Refused {
        if self.is_linux {
            Refused::Dropped(DropReason::ExpectationClash)
        } else {
            Refused::AsItIs(HelperEvent::NoPort)
        }
    }

    fn is_of_family(&self, address: IpAddr) -> bool {
        Family::of(address) == self.announcing.family()
    }

    /// Whether that is its sender's address, or what that is called outside.
    fn is_own(&self, address: Option<IpAddr>) -> bool {
        let number = address.filter(|address| self.is_of_family(*address)).map(tuple::number);
        number == Some(self.announcing.src) || !self.is_linux && number == Some(self.answering.dst)
    }

    /// Has a text become another, unless it is that already or was rewritten before.
    fn edit(&mut self, range: &Range<usize>, inserted: Text) -> Result<(), Refused> {
        let edit = Edit { at: range.start, removed: range.len(), inserted };
        let is_same = self.bytes.get(range.clone()) == Some(inserted.as_bytes());
        if is_same || self.edits.has(range.start) || self.edits.add(edit) {
            Ok(())
        } else {
            Err(Refused::AsItIs(HelperEvent::TooLong))
        }
    }

    fn note_expected(&mut self, id: ExpectationId) {
        if let Some(free) = self.expected.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(id);
        }
    }
}

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
    /// Why not; nothing of it is expected then, nor is any of its text to change.
    pub(super) fn read_sip(
        &mut self,
        announcer: &Announcer,
        bytes: &[u8],
        edits: &mut Edits,
    ) -> Result<(), Refused> {
        if KEEPALIVES.contains(&bytes) {
            return Ok(());
        }
        let Announcer { index, direction, .. } = *announcer;
        let [announcing, answering] =
            [direction, direction.invert()].map(|way| self.table.entries.tuple(index, way));
        let is_linux = self.configuration.settings.preset == Preset::Linux;
        let announcer = *announcer;
        let mut reading = Reading {
            announcer,
            announcing,
            answering,
            is_linux,
            bytes,
            edits,
            expected: Default::default(),
        };
        let mut message = match Message::parse(bytes) {
            Ok(message) if message.is_malformed && !is_linux => return Err(reading.malformed()),
            Ok(message) => message,
            Err(NoMessage) if is_linux => return Ok(()),
            Err(NoMessage) => return Err(Refused::Off(HelperEvent::OtherProtocol)),
        };
        // What is behind its length is none of it (RFC 3261 section 18.3).
        if let (false, Some((_, length))) = (is_linux, &message.content_length) {
            if *length > message.body.len() {
                return Err(reading.malformed());
            }
            message.body.end = message.body.start + length;
        }
        let read = self.read_message(&mut reading, &message);
        if read.is_ok() && !reading.edits.as_slice().is_empty() {
            self.counters.count_event(Some(HelperId::Sip), HelperEvent::Rewritten);
        }
        if read.is_err() {
            reading.expected.into_iter().flatten().for_each(|id| {
                self.unexpect(id);
            });
        }
        read
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

    /// Expects something that a message says, as long as that is read.
    fn expect_said(&mut self, reading: &mut Reading<'_>, wanted: &Wanted) -> Result<(), Refused> {
        let class = &DESCRIPTOR.classes[usize::from(wanted.class)];
        let limits = Limits { of_class: class.max_expectations.into(), ..Limits::default() };
        if self.is_expected_alike_by_others(reading.announcer.index, wanted) {
            return Ok(());
        }
        let id = self.expect(reading.announcer.index, wanted, limits)?;
        reading.note_expected(id);
        self.counters.count_event(Some(HelperId::Sip), HelperEvent::Expected);
        Ok(())
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
