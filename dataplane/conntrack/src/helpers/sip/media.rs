//! Media that a message describes: RTP and, at the next port unless it says another, RTCP (RFC 3550 section 11).
//!
//! Both are expected of the other side. Where the describing side's address is hidden, both come to ports of the address outside,
//! and the description says those.

use super::message::Message;
use super::sdp::{Media, Rtcp, Sdp};
use super::{DESCRIPTOR, Reading, Refused, SIGNALLING, address_text};
use crate::expectations::{ChildNat, SourceMask, Wanted};
use crate::helper_event::HelperEvent;
use crate::helpers::HelperId;
use crate::helpers::announce::FIRST_UNPRIVILEGED;
use crate::helpers::text::Text;
use crate::shard::Shard;
use crate::tuple::{self, Tuple, protocol};
use std::net::IpAddr;
use std::ops::Range;

/// Ports of a medium.
#[derive(Clone, Copy, Debug)]
struct MediaPorts {
    rtp: u16,
    rtcp: Option<u16>,
}

impl MediaPorts {
    /// Whether RTCP comes to the next port.
    fn are_neighbours(self) -> bool {
        self.rtcp.is_some() && self.rtcp == self.rtp.checked_add(1)
    }
}

impl Shard {
    /// Media that was described before is expected no more.
    pub(super) fn end_media(&mut self, index: u32) {
        self.end_expectations_if(index, |expectation| expectation.class != SIGNALLING);
    }

    /// Expects the media that a message describes.
    pub(super) fn expect_media(
        &mut self,
        reading: &mut Reading<'_>,
        message: &Message,
    ) -> Result<(), Refused> {
        let Some(range) = description(reading, message) else { return Ok(()) };
        let Some(sdp) = Sdp::parse(reading.bytes, range) else { return Err(reading.malformed()) };
        if sdp.has_ice && reading.is_hidden() && !reading.is_linux {
            return Ok(());
        }
        for media in sdp.media() {
            let address = sdp.address_of(media).ok_or_else(|| reading.malformed())?;
            if let Some(ports) = self.ports_of(reading, media)? {
                self.expect_medium(reading, media, ports, address)?;
            }
        }
        if reading.is_hidden() {
            let own = Some(tuple::address(reading.announcing.family(), reading.announcing.src));
            let public = address_text(reading.announcing.family(), reading.answering.dst);
            for (address, range) in sdp.addresses() {
                if *address == own {
                    reading.edit(range, public)?;
                }
            }
            correct_length(reading, message)?;
        }
        Ok(())
    }

    /// The ports at which a medium is to come; `None` where it is not.
    fn ports_of(&mut self, reading: &Reading<'_>, media: &Media) -> Result<Option<MediaPorts>, Refused> {
        let (port, _) = media.port;
        let Ok(port) = u16::try_from(port) else { return Err(reading.malformed()) };
        if port == 0 || media.is_inactive && !reading.is_linux {
            return Ok(None);
        }
        if port < FIRST_UNPRIVILEGED {
            if reading.is_linux {
                return Err(reading.malformed());
            }
            self.counters.count_event(Some(HelperId::Sip), HelperEvent::PrivilegedPort);
            return Ok(None);
        }
        if reading.is_linux {
            let rtp = port & !1;
            return Ok(Some(MediaPorts { rtp, rtcp: Some(rtp + 1) }));
        }
        let rtcp = match &media.rtcp {
            _ if media.is_rtcp_mux => None,
            None => port.checked_add(1),
            Some(Rtcp { port: (rtcp, _), address }) => {
                let is_elsewhere = address.as_ref().is_some_and(|(address, _)| !reading.is_own(*address));
                let rtcp = u16::try_from(*rtcp).ok().filter(|rtcp| *rtcp >= FIRST_UNPRIVILEGED);
                rtcp.filter(|_| !is_elsewhere)
            }
        };
        Ok(Some(MediaPorts { rtp: port, rtcp }))
    }

    fn expect_medium(
        &mut self,
        reading: &mut Reading<'_>,
        media: &Media,
        ports: MediaPorts,
        address: Option<IpAddr>,
    ) -> Result<(), Refused> {
        let [own, other] = [reading.announcing, reading.answering];
        let is_own = reading.is_own(address);
        let elsewhere = address.filter(|address| reading.announcer.loose && reading.is_of_family(*address));
        let Some(dst) = is_own.then_some(other.dst).or(elsewhere.map(tuple::number)) else {
            if address.is_some_and(|address| !address.is_unspecified()) {
                self.counters.count_event(Some(HelperId::Sip), HelperEvent::ForeignAddress);
            }
            return Ok(());
        };
        let selector = own.selector.with_protocol(protocol::UDP);
        let is_translated = reading.announcer.is_translated && is_own;
        let wanted = move |inside: u16, outside: u16| Wanted {
            tuple: Tuple { src: other.src, dst, selector: selector.with_ports(outside.into()) },
            source: SourceMask::AnyPort,
            class: media.class,
            one_shot: true,
            timeout_ms: DESCRIPTOR.classes[usize::from(media.class)].timeout_s * 1000,
            nat: is_translated.then(|| ChildNat::following(&own, inside)),
            helper: Some(HelperId::Sip),
        };
        let outside =
            if is_own && reading.is_hidden() { self.find_outside(reading, ports, &wanted)? } else { ports };
        self.expect_said(reading, &wanted(ports.rtp, outside.rtp))?;
        if let (Some(inside), Some(outside)) = (ports.rtcp, outside.rtcp) {
            self.expect_said(reading, &wanted(inside, outside))?;
        }
        if outside.rtp != ports.rtp {
            reading.edit(&media.port.1, Text::of(format_args!("{}", outside.rtp)))?;
        }
        match (&media.rtcp, outside.rtcp) {
            (Some(Rtcp { port: (said, range), .. }), Some(port))
                if *said != u32::from(port) && !reading.is_linux =>
            {
                reading.edit(range, Text::of(format_args!("{port}")))
            }
            _ => Ok(()),
        }
    }

    /// The ports outside that media is announced at: those of before, or such as can be announced.
    fn find_outside(
        &mut self,
        reading: &Reading<'_>,
        inside: MediaPorts,
        wanted: &impl Fn(u16, u16) -> Wanted,
    ) -> Result<MediaPorts, Refused> {
        let index = reading.announcer.index;
        let announced = self.announced_ports(index);
        let known = |port: u16| {
            announced.outside(port).filter(|known| !self.is_expected_by_others(index, &wanted(port, *known)))
        };
        let find = |port: u16| known(port).or_else(|| self.find_port_to_announce(index, &wanted(port, port)));
        let outside = if inside.are_neighbours() {
            let pair = known(inside.rtp)
                .or_else(|| self.find_pair_to_announce(index, &wanted(inside.rtp, inside.rtp), 1));
            pair.map(|rtp| MediaPorts { rtp, rtcp: rtp.checked_add(1) })
        } else {
            let rtcp = inside.rtcp.map(find);
            match (find(inside.rtp), rtcp) {
                (Some(rtp), None) => Some(MediaPorts { rtp, rtcp: None }),
                (Some(rtp), Some(Some(rtcp))) if rtcp != rtp => Some(MediaPorts { rtp, rtcp: Some(rtcp) }),
                _ => None,
            }
        };
        let outside = outside.ok_or_else(|| reading.no_port())?;
        let announced = &mut self.table.extend(index).announced_ports;
        announced.note(inside.rtp, outside.rtp);
        if let (Some(inside_rtcp), Some(rtcp), false) = (inside.rtcp, outside.rtcp, inside.are_neighbours()) {
            announced.note(inside_rtcp, rtcp);
        }
        Ok(outside)
    }
}

/// Where the description lies in a message; `None` where it has none. In Linux it is whatever begins like one.
fn description(reading: &Reading<'_>, message: &Message) -> Option<Range<usize>> {
    const TYPE: &[u8] = b"application/sdp";
    let body = message.body.clone();
    let bytes = reading.bytes;
    if reading.is_linux {
        let mut at = body.start;
        let line = bytes[body.clone()].split_inclusive(|byte| *byte == b'\n').find_map(|line| {
            at += line.len();
            line.starts_with(b"v=").then(|| at - line.len())
        });
        return line.map(|start| start..body.end);
    }
    let kind = &bytes[message.content_type.clone()?];
    let is = |kind: &[u8], wanted: &[u8]| {
        kind.get(..wanted.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(wanted))
    };
    if is(kind, TYPE) {
        return (!body.is_empty()).then_some(body);
    }
    is(kind, b"multipart/").then(|| part(bytes, body, |kind| is(kind, TYPE)))?
}

/// The part of a body of several (RFC 2046 section 5.1) whose type is wanted. Each begins with headers, and ends before a line that
/// begins with two hyphens.
fn part(bytes: &[u8], body: Range<usize>, is_wanted: impl Fn(&[u8]) -> bool) -> Option<Range<usize>> {
    const NAME: &[u8] = b"content-type:";
    let (mut in_headers, mut is_it, mut start) = (false, false, None);
    let mut at = body.start;
    for line in bytes[body].split_inclusive(|byte| *byte == b'\n') {
        let begin = at;
        at += line.len();
        let text = line.trim_ascii_end();
        if text.starts_with(b"--") {
            if let Some(start) = start {
                return Some(start..begin);
            }
            (in_headers, is_it) = (true, false);
        } else if in_headers && text.is_empty() {
            in_headers = false;
            start = is_it.then_some(at);
        } else if in_headers && text.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            is_it = is_wanted(text[NAME.len()..].trim_ascii_start());
        }
    }
    start.map(|start| start..at)
}

/// Has Content-Length say what the body has become.
fn correct_length(reading: &mut Reading<'_>, message: &Message) -> Result<(), Refused> {
    let Some((range, length)) = &message.content_length else { return Ok(()) };
    let grown = reading.edits.grown_from(message.body.start);
    if grown == 0 {
        return Ok(());
    }
    let length = (*length as i64 + i64::from(grown)).max(0);
    reading.edit(range, Text::of(format_args!("{length}")))
}
