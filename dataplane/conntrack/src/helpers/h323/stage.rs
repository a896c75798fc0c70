//! What comes of what messages say: expectations, and other addresses where the connection is translated.

use super::grammar::Mark;
use super::per::{Finding, Findings, Stop, Value, find};
use super::q931::{TPKT_BYTES, user_information};
use super::{FORWARDED_CALL, H245_CHANNEL, MEDIA, T120, control, signalling};
use crate::expectations::{ChildNat, SourceMask, Wanted};
use crate::helper_event::HelperEvent;
use crate::helpers::Descriptor;
use crate::helpers::announce::FIRST_UNPRIVILEGED;
use crate::helpers::message_reading::{Reading, Refused};
use crate::helpers::text::Text;
use crate::shard::Shard;
use crate::tuple;
use std::net::IpAddr;
use std::ops::Range;

/// Where an end says that it, or another, is to be reached.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// Where both stand in the message.
    range: Range<usize>,
}

/// What is to be expected at an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    pub(super) class: u8,
    /// Whether it may come several times.
    pub(super) is_permanent: bool,
    pub(super) timeout_s: u32,
}

impl Expected {
    /// Something that comes once.
    const fn once(class: u8) -> Self {
        Self { class, is_permanent: false, timeout_s: super::WAIT_S }
    }

    /// Something that comes several times.
    pub(super) const fn often(class: u8) -> Self {
        Self { class, is_permanent: true, timeout_s: super::WAIT_S }
    }
}

impl Shard {
    /// Reads a message of Q.931.
    pub(super) fn read_q931(&mut self, reading: &mut Reading<'_>) -> Result<(), Refused> {
        if reading.bytes.len() == TPKT_BYTES {
            return Ok(());
        }
        let found = user_information(reading.bytes).map_err(|event| unreadable(reading, event))?;
        let Some(range) = found else { return Ok(()) };
        let findings = read_findings(reading, range, &signalling::USER_INFORMATION)?;
        self.follow_call(reading, &findings)
    }

    /// Reads a message of H.245.
    pub(super) fn read_h245(&mut self, reading: &mut Reading<'_>) -> Result<(), Refused> {
        if reading.bytes.len() == TPKT_BYTES {
            return Ok(());
        }
        let findings = read_findings(reading, TPKT_BYTES..reading.bytes.len(), &control::MESSAGE)?;
        self.follow_call(reading, &findings)
    }

    /// Follows what is said of a call.
    fn follow_call(&mut self, reading: &mut Reading<'_>, findings: &Findings) -> Result<(), Refused> {
        for finding in findings.as_slice() {
            let Some(endpoint) = read_endpoint(reading, finding) else { continue };
            match finding.mark {
                Mark::H245 => self.expect_at(reading, &endpoint, Expected::once(H245_CHANNEL))?,
                Mark::Signalling => self.expect_at(reading, &endpoint, Expected::once(FORWARDED_CALL))?,
                Mark::T120 => self.expect_at(reading, &endpoint, Expected::often(T120))?,
                Mark::Media => self.expect_media_at(reading, &endpoint)?,
                Mark::Peer => self.translate_endpoint(reading, &endpoint)?,
                Mark::Ras | Mark::TimeToLive => {}
            }
        }
        Ok(())
    }

    /// Expects what is to come to an endpoint.
    pub(super) fn expect_at(
        &mut self,
        reading: &mut Reading<'_>,
        endpoint: &Endpoint,
        expected: Expected,
    ) -> Result<(), Refused> {
        let Some(wanted) = self.wanted_at(reading, endpoint, expected) else { return Ok(()) };
        let index = reading.announcer.index;
        if !reading.is_own(Some(endpoint.address)) || !reading.is_hidden() {
            return self.expect_said(reading, &wanted);
        }
        let port = self
            .port_announced_before(index, endpoint.port, &wanted)
            .or_else(|| self.find_port_to_announce(index, &wanted))
            .ok_or_else(|| reading.no_port())?;
        self.expect_said(reading, &wanted.at_port(port))?;
        self.table.extend(index).announced_ports.note(endpoint.port, port);
        write_endpoint(reading, endpoint, wanted.tuple.dst, port)
    }

    /// Expects RTP at an even port and RTCP at the next one, whichever of them an endpoint is (RFC 3550 section 11).
    fn expect_media_at(&mut self, reading: &mut Reading<'_>, endpoint: &Endpoint) -> Result<(), Refused> {
        let first = Endpoint { port: endpoint.port & !1, ..endpoint.clone() };
        let Some(wanted) = self.wanted_at(reading, &first, Expected::once(MEDIA)) else { return Ok(()) };
        let index = reading.announcer.index;
        let is_hidden = reading.is_own(Some(endpoint.address)) && reading.is_hidden();
        let wanted = if is_hidden {
            let port = self
                .port_announced_before(index, first.port, &wanted)
                .or_else(|| self.find_pair_to_announce(index, &wanted, 1))
                .ok_or_else(|| reading.no_port())?;
            wanted.at_port(port)
        } else {
            wanted
        };
        self.expect_said(reading, &wanted)?;
        self.expect_said(reading, &wanted.behind(1))?;
        if is_hidden {
            let port = wanted.tuple.selector.dport();
            self.table.extend(index).announced_ports.note(first.port, port);
            write_endpoint(reading, endpoint, wanted.tuple.dst, port | endpoint.port & 1)?;
        }
        Ok(())
    }

    /// What is wanted at an endpoint; `None` where it is not trusted, or where nothing is to come. Port 0 says that.
    fn wanted_at(
        &mut self,
        reading: &Reading<'_>,
        endpoint: &Endpoint,
        Expected { class, is_permanent, timeout_s }: Expected,
    ) -> Option<Wanted> {
        let Endpoint { address, port, .. } = *endpoint;
        let [own, other] = [reading.announcing, reading.answering];
        let is_own = reading.is_own(Some(address));
        let helper = reading.announcer.helper;
        if port == 0 {
            return None;
        }
        if !is_own && !reading.announcer.loose {
            self.counters.count_event(Some(helper), HelperEvent::ForeignAddress);
            return None;
        }
        if port < FIRST_UNPRIVILEGED && !reading.is_linux {
            self.counters.count_event(Some(helper), HelperEvent::PrivilegedPort);
            return None;
        }
        let protocol = Descriptor::of(helper).classes.get(usize::from(class))?.protocol;
        let dst = if is_own { other.dst } else { tuple::number(address) };
        let selector = own.selector.with_ports(port.into()).with_protocol(protocol);
        let is_translated = reading.announcer.is_translated && is_own;
        Some(Wanted {
            tuple: tuple::Tuple { src: other.src, dst, selector },
            source: SourceMask::AnyPort,
            class,
            one_shot: !is_permanent,
            timeout_ms: timeout_s.saturating_mul(1000),
            nat: is_translated.then(|| ChildNat::following(&own, port)),
            helper: Some(helper),
        })
    }

    /// What a port was announced as, if it can be again.
    fn port_announced_before(&self, index: u32, port: u16, wanted: &Wanted) -> Option<u16> {
        let known = self.announced_ports(index).outside(port);
        known.filter(|known| !self.is_expected_by_others(index, &wanted.at_port(*known)))
    }

    /// Has an endpoint that is one of the connection's ends be what the other side calls it.
    pub(super) fn translate_endpoint(
        &mut self,
        reading: &mut Reading<'_>,
        endpoint: &Endpoint,
    ) -> Result<(), Refused> {
        let index = reading.announcer.index;
        let [own, other] = [reading.announcing, reading.answering];
        let (address, port) = (tuple::number(endpoint.address), endpoint.port);
        let (to, other_port) = if address == own.src {
            let is_this = port == own.selector.sport();
            let known = self.announced_ports(index).outside(port).unwrap_or(port);
            (other.dst, if is_this { other.selector.dport() } else { known })
        } else if address == own.dst {
            let is_this = port == own.selector.dport();
            let known = self.port_behind(index, address, port).unwrap_or(port);
            (other.src, if is_this { other.selector.sport() } else { known })
        } else {
            return Ok(());
        };
        if (to, other_port) == (address, port) {
            Ok(())
        } else {
            write_endpoint(reading, endpoint, to, other_port)
        }
    }
}

/// What the message says, from the byte `start` on.
pub(super) fn read_findings(
    reading: &Reading<'_>,
    range: Range<usize>,
    of: &super::grammar::Type,
) -> Result<Findings, Refused> {
    let encoded = reading.bytes.get(..range.end).unwrap_or_default();
    find(encoded, range.start, of).map_err(|stop| match stop {
        Stop::TooMuch => unreadable(reading, HelperEvent::TooMany),
        Stop::Undescribed | Stop::Malformed => unreadable(reading, HelperEvent::Malformed),
    })
}

/// What cannot be read turns the helper off, but passes by itself in Linux.
const fn unreadable(reading: &Reading<'_>, event: HelperEvent) -> Refused {
    if reading.is_linux { Refused::AsItIs(event) } else { Refused::Off(event) }
}

/// The endpoint that was found, if it is of the connection's family.
pub(super) fn read_endpoint(reading: &Reading<'_>, finding: &Finding) -> Option<Endpoint> {
    let Value::Endpoint { at, address_bytes } = finding.value else { return None };
    let range = at..at + address_bytes + size_of::<u16>();
    let (address, port) = reading.bytes.get(range.clone())?.split_at(address_bytes);
    let address = <[u8; 4]>::try_from(address)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from))
        .ok()
        .filter(|address| reading.is_of_family(*address))?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(Endpoint { address, port, range })
}

/// An endpoint becomes another.
fn write_endpoint(
    reading: &mut Reading<'_>,
    endpoint: &Endpoint,
    address: u128,
    port: u16,
) -> Result<(), Refused> {
    let port = port.to_be_bytes();
    let text = match tuple::address(reading.announcing.family(), address) {
        IpAddr::V4(address) => Text::of_bytes(address.octets().into_iter().chain(port)),
        IpAddr::V6(address) => Text::of_bytes(address.octets().into_iter().chain(port)),
    };
    reading.edit(&endpoint.range, text)
}
