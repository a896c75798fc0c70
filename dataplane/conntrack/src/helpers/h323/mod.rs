//! H.323: calls that take several connections, each of which announces others.
//!
//! An endpoint registers with a gatekeeper and asks it for calls by RAS over UDP, calls by Q.931 over TCP, and opens the channels of a
//! call by H.245: over a connection of its own, in messages of Q.931 (tunnelled), or in the first of them (fast start). As in Linux
//! each of the three protocols is a helper. What they say is encoded by PER (`per.rs`): of that the addresses are found, which have a
//! fixed length, so that no message becomes longer.

mod control;
mod grammar;
mod per;
mod q931;
mod ras;
mod registration;
mod signalling;
mod stage;

use super::messages::{Extent, Measured};
use super::{Descriptor, ExpectationClass, HelperId, MessageReader, Reads};
use crate::helper_event::HelperEvent;
use crate::shard::Shard;
use crate::tuple::protocol;

/// How long what a call needs is waited for, in seconds, as in Linux.
const WAIT_S: u32 = 240;

/// Registration, admission and status, of a gatekeeper.
pub(super) const RAS: Descriptor = Descriptor {
    protocols: &[protocol::UDP],
    ports: &[1719],
    classes: &[
        ExpectationClass { read_by: Some(HelperId::Q931), ..class("registration", protocol::TCP, 4) },
        ExpectationClass { read_by: Some(HelperId::Q931), ..class("call", protocol::TCP, 32) },
        ExpectationClass { read_by: Some(HelperId::Ras), ..class("ras", protocol::UDP, 4) },
    ],
    reads: Reads::Messages(MessageReader { measure: is_no_stream, read: Shard::read_ras, ..READER }),
};

/// Call signalling.
pub(super) const Q931: Descriptor = Descriptor {
    protocols: &[protocol::TCP],
    ports: &[1720],
    classes: &[
        MEDIA_CLASS,
        T120_CLASS,
        ExpectationClass { read_by: Some(HelperId::H245), ..class("h245", protocol::TCP, 4) },
        ExpectationClass { read_by: Some(HelperId::Q931), ..class("call", protocol::TCP, 4) },
    ],
    reads: Reads::Messages(MessageReader { read: Shard::read_q931, ..READER }),
};

/// Control of a call. It has no port of its own: such connections are expected.
pub(super) const H245: Descriptor = Descriptor {
    protocols: &[protocol::TCP],
    ports: &[],
    classes: &[MEDIA_CLASS, T120_CLASS],
    reads: Reads::Messages(MessageReader { read: Shard::read_h245, ..READER }),
};

const READER: MessageReader = MessageReader {
    measure: q931::measure,
    read: Shard::read_h245,
    read_as_linux: None,
    master_timeout_s: 0,
    may_grow: false,
};

/// RTP and RTCP of four channels in each direction.
const MEDIA_CLASS: ExpectationClass = class("media", protocol::UDP, 16);
const T120_CLASS: ExpectationClass = class("t120", protocol::TCP, 2);

const fn class(name: &'static str, protocol: u8, max_expectations: u8) -> ExpectationClass {
    ExpectationClass { name, ..ExpectationClass::only(protocol, max_expectations, WAIT_S) }
}

/// Classes of Q.931 and H.245.
const MEDIA: u8 = 0;
const T120: u8 = 1;
const H245_CHANNEL: u8 = 2;
const FORWARDED_CALL: u8 = 3;

/// RAS has datagrams alone.
const fn is_no_stream(_: &mut Measured, _: &[u8]) -> Extent {
    Extent::None(HelperEvent::OtherProtocol)
}
