//! What the box says in a handshake in the name of others ([`crate::synproxy`]): a SYN/ACK for a server, an ACK for a client.

use super::envelope::Envelope;
use super::may_be_answered;
use crate::frame::Frame;
use crate::headers::{Headers, Packet};
use crate::policy::RuleAction;
use crate::shard::Shard;
use crate::synproxy::{ClientOffer, Header, Options, Proxied, syn_options};
use crate::tuple::{Direction, Family, protocol};
use crate::verdict::Verdict;
use crate::wire::tcp::{Flags, Segment};
use crate::wire::{self, field};

impl Shard {
    /// The SYN/ACK with a cookie for a SYN: it lets nobody send anything yet.
    pub(super) fn write_cookie<F: Frame>(
        &mut self,
        frame: &F,
        headers: &Headers,
        verdict: &Verdict,
        out: &mut [u8],
    ) -> Option<usize> {
        let rule = self.configuration.policy.rules.get(usize::from(verdict.rule?.0))?;
        let RuleAction::Synproxy(ref rule) = rule.action else { return None };
        let segment = Segment::parse(&Packet { headers, head: frame.head() })?;
        let family = headers.family()?;
        let offer = ClientOffer::of(&segment, family, rule);
        let cookie = self.cookies.make(self.now, &headers.tuple, segment.seq, &offer);
        let (longer, headers_len) = if family == Family::V4 { (0, 40) } else { (20, 60) };
        let room = self.configuration.forwarding.mtu(frame.port()).saturating_sub(headers_len);
        let own = ClientOffer {
            mss: rule.mss.saturating_sub(longer).min(room),
            wscale: rule.wscale.filter(|_| offer.wscale.is_some()),
            ..offer
        };
        let answer = Header {
            seq: cookie,
            ack: segment.seq.wrapping_add(1),
            flags: Flags::SYN | Flags::ACK,
            window: 0,
            options: syn_options(&own),
        };
        let length = write(&answer, [segment.dport, segment.sport], Envelope::back(frame, headers)?, out)?;
        self.counters.syn_cookies_sent += 1;
        Some(length)
    }

    /// Writes the ACK in the name of a client by which its server's handshake is done, back to where the server's SYN/ACK came from, which
    /// `frame` was. Gives its length in bytes; `None` where it does not fit into `out`.
    #[cold]
    pub(crate) fn acknowledge<F: Frame>(
        &self,
        frame: &F,
        verdict: &Verdict,
        out: &mut [u8],
    ) -> Option<usize> {
        let headers = &wire::parse(frame).ok().filter(|headers| may_be_answered(frame, headers))?;
        let index = verdict.entry?.index;
        let Proxied { isn, answered, window, .. } = self.table.extension(index)?.proxied;
        let came = self.table.entries.tuple(index, Direction::Reply);
        let envelope = Envelope::back(frame, headers)?.between(came.dst, came.src);
        let (seq, ack) = (isn.wrapping_add(1), answered.wrapping_add(1));
        let answer = Header { seq, ack, flags: Flags::ACK, window, options: Options::new() };
        write(&answer, [came.selector.dport(), came.selector.sport()], envelope, out)
    }
}

fn write(header: &Header, [sport, dport]: [u16; 2], envelope: Envelope<'_>, out: &mut [u8]) -> Option<usize> {
    envelope.write(protocol::TCP, field::tcp::CHECKSUM, out, |out| {
        let length = header.write(out)?;
        out[field::ports::SOURCE].copy_from_slice(&sport.to_be_bytes());
        out[field::ports::DESTINATION].copy_from_slice(&dport.to_be_bytes());
        Some(length)
    })
}
