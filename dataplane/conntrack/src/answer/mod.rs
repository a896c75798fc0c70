//! What the box says to the sender of a packet: an echo reply, a TCP reset, an ICMP error.
//!
//! An answer goes back the way the packet came, through the same port to the neighbour that sent the frame. A wire has
//! no address: it speaks in the name of the packet's destination.

mod echo;
mod envelope;
mod error;
mod handshake;
mod pace;
mod reset;
#[cfg(test)]
mod tests;

pub use pace::Pace;

use crate::forward::Forwarding;
use crate::forward::{is_group, is_many};
use crate::frame::Frame;
use crate::headers::{Fragment, Headers, Packet, PacketKind};
use crate::icmp_type;
use crate::ids::PortId;
use crate::shard::Shard;
use crate::tuple::{Family, number, protocol};
use crate::verdict::{Action, DropReason, InvalidReason, Rejection, Verdict};
use crate::wire::{self, udp};
use envelope::Envelope;

impl Shard {
    /// Writes the answer that a verdict asks for as a whole frame into `out`, to be sent through the port that `frame`
    /// came in by; gives its length in bytes. `None` where nothing is to be said, where nothing may be said, and
    /// where the answer does not fit into `out`.
    ///
    /// `frame` is as it came in: the verdict is no forwarding, so it was not edited.
    pub fn answer<F: Frame>(&mut self, frame: &F, verdict: &Verdict, out: &mut [u8]) -> Option<usize> {
        let (reason, rejection) = match verdict.action {
            Action::Deliver => (DropReason::Local, None),
            Action::Reject(reason, rejection) => (reason, Some(rejection)),
            Action::Forward(_)
            | Action::Fragment(..)
            | Action::Drop(_)
            | Action::Handoff(..)
            | Action::Hold(_)
            | Action::Announce(_)
            | Action::Acknowledge(_)
            | Action::Wait
            | Action::Reassemble(_) => return None,
        };
        let headers = &wire::parse(frame).ok()?;
        let as_host = matches!(reason, DropReason::Local | DropReason::Reject | DropReason::SynCookie);
        if !may_be_answered(frame, headers) || as_host && !is_sound(frame, headers) {
            return None;
        }
        // A cookie is no longer than the SYN that asks for it, and who floods the box is not to keep others from theirs.
        let is_paced = rejection.is_some_and(|rejection| rejection != Rejection::SynCookie);
        if is_paced && !self.pace.take(self.now) {
            self.counters.answers_withheld += 1;
            return None;
        }
        let packet = Envelope::back(frame, headers)?;
        let length = match rejection {
            None => echo::write(frame, headers, packet, out),
            Some(Rejection::TcpReset) => reset::write(frame, headers, packet, out),
            Some(Rejection::SynCookie) => self.write_cookie(frame, headers, verdict, out),
            Some(rejection) => {
                let source = self.speaker(frame.port(), headers, reason);
                error::write(
                    frame,
                    headers,
                    source.map_or(packet, |source| packet.from(source)),
                    rejection,
                    out,
                )
            }
        }?;
        self.counters.answers += 1;
        if reason == DropReason::Local {
            // What the box says as a host is part of a connection. What it says as a router is about one, and
            // changes nothing.
            if let Some(id) = verdict.entry {
                self.track_own(&Sent(out.get_mut(..length)?), id);
            }
        }
        Some(length)
    }

    /// Turns an echo request that came in fragments into its reply, where it is held. What the later fragments are to say is then
    /// in the first one. False, and nothing is changed, where nothing is to be said or may be said.
    #[cold]
    pub(crate) fn answer_in_place<F: Frame>(&mut self, datagram: &mut F, verdict: &Verdict) -> bool {
        let Ok(headers) = &wire::parse(datagram) else { return false };
        let is_request = echo::request(datagram.head(), headers).is_some();
        if !is_request || !may_be_answered(datagram, headers) || !is_sound(datagram, headers) {
            return false;
        }
        if !self.pace.take(self.now) {
            self.counters.answers_withheld += 1;
            return false;
        }
        if echo::turn(datagram.head_mut(), headers).is_none() {
            return false;
        }
        self.counters.answers += 1;
        if let Some(id) = verdict.entry {
            self.track_own(datagram, id);
        }
        true
    }

    /// Writes the error about a packet that its next hop does not take, as [`Shard::answer`] does: host unreachable (RFC 1812
    /// section 5.2.7.1, RFC 4861 section 7.2.2). `verdict` is that by which `frame` was forwarded, and so edited: it is
    /// quoted with the addresses and ports that it came with. `None`, too, where nobody knows those any more.
    #[cold]
    pub fn answer_undeliverable<F: Frame>(
        &mut self,
        frame: &mut F,
        verdict: &Verdict,
        out: &mut [u8],
    ) -> Option<usize> {
        if let Some(id) = verdict.entry {
            self.restore(frame, id, verdict.direction?)?;
        }
        let action = Action::Reject(DropReason::NoNeighbour, Rejection::HostUnreachable);
        self.answer(frame, &Verdict { action, ..*verdict }, out)
    }

    /// The address that the box gives as its own in an error; `None` for the one that the packet was sent to.
    fn speaker(&self, port: PortId, headers: &Headers, reason: DropReason) -> Option<u128> {
        match &self.configuration.forwarding {
            Forwarding::Routed(router) if reason != DropReason::Local => {
                router.source(port, headers.family()?).map(number)
            }
            _ => None,
        }
    }
}

/// Whether anything may be said about a packet: never to or about many, nor about an error, nor about a fragment whose
/// ports nobody knows (RFC 1122 section 3.2.2, RFC 4443 section 2.4).
fn may_be_answered<F: Frame>(frame: &F, headers: &Headers) -> bool {
    let Some(family) = headers.family() else { return false };
    let (_, destination) = wire::addresses(frame.head(), headers);
    let is_icmp = protocol::is_icmp(headers.protocol);
    let kind = frame.head().get(usize::from(headers.l4_offset));
    let is_error =
        is_icmp && kind.is_none_or(|kind| icmp_type::class(family, *kind) == icmp_type::Class::Error);
    frame.head().first_chunk().is_some_and(|mac| !is_group(mac))
        && headers.fragment != Fragment::Later
        && headers.kind != PacketKind::Error
        && !is_error
        && !is_many(family, destination)
        && !wire::has_martian_source(frame, headers)
}

/// Whether a packet is as its sender sent it. A host takes no other one in (RFC 1122 sections 3.2.2, 4.1.3.4 and 4.2.2.7), and
/// who answers in the place of one must not either: a damaged packet may be from anybody. Of a fragment nobody can tell.
fn is_sound<F: Frame>(frame: &F, headers: &Headers) -> bool {
    let is_damaged =
        matches!(headers.kind, PacketKind::Invalid(InvalidReason::ShortHeader | InvalidReason::BadLength))
            || lacks_checksum(frame, headers);
    headers.fragment != Fragment::Whole || !is_damaged && wire::verify_checksum(frame, headers)
}

/// Whether a packet is UDP over IPv6 without a checksum. Tracking lets it pass, for there are tunnels that have none (RFC
/// 6935); a host that is not the end of one discards it (RFC 8200 section 8.1).
fn lacks_checksum<F: Frame>(frame: &F, headers: &Headers) -> bool {
    let is_udp = headers.family() == Some(Family::V6) && headers.protocol == protocol::UDP;
    let header = Packet { headers, head: frame.head() }.l4().first_chunk();
    is_udp && header.is_some_and(|header| udp::checksum(header) == 0)
}

/// A frame of the box's own making.
struct Sent<'a>(&'a mut [u8]);

impl Frame for Sent<'_> {
    fn port(&self) -> PortId {
        PortId::LOCAL
    }

    fn head(&self) -> &[u8] {
        self.0
    }

    fn head_mut(&mut self) -> &mut [u8] {
        self.0
    }
}
