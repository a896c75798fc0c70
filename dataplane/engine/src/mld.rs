//! Multicast listener discovery for IPv6 (RFC 3810, RFC 2710), the listener's part: which groups the box is in on its links.
//!
//! Who looks for the MAC address of an address asks its solicited-node group, and a switch that snoops MLD passes that on
//! only where somebody has said to be in it (RFC 4861 section 7.2.1). So the groups are reported unasked when a
//! configuration brings them, twice in case one report is lost, and whenever a querier asks.

use std::net::Ipv6Addr;
use std::time::Duration;

use ahash::RandomState;
use arrayvec::ArrayVec;
use sluice_conntrack::headers::Headers;
use sluice_conntrack::tuple::protocol;
use sluice_conntrack::wire::icmp::LISTENER_QUERY;
use sluice_conntrack::wire::{self, bytes, ethernet, field};
use sluice_conntrack::{Frame, Instant, PortId};

use crate::icmpv6::{self, Node, multicast_mac};

const REPORT_V1: u8 = 131;
const REPORT: u8 = 143;

/// All routers that know MLD version 2 listen there (RFC 3810 section 5.2.14).
const MLD_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);

/// The number of the header of hop-by-hop options (RFC 8200 section 4.3).
const HOP_BY_HOP: u8 = 0;
/// Hop-by-hop options: next header ICMPv6, length 0, the router alert of MLD (RFC 2711), padding.
const ROUTER_ALERT: [u8; 8] = [protocol::ICMPV6, 0, 5, 2, 0, 0, 1, 0];
/// No router passes the message on.
const HOP_LIMIT: u8 = 1;

/// Groups in one report, which fits into IPv6's smallest MTU.
const MAX_RECORDS: usize = 60;
const RECORD_BYTES: usize = 20;
/// The longest report as a whole frame.
const LONGEST_BYTES: usize = ethernet::HEADER_BYTES + 40 + 8 + 8 + MAX_RECORDS * RECORD_BYTES;

/// A report as a whole frame.
pub(crate) type Bytes = ArrayVec<u8, LONGEST_BYTES>;

/// No answer comes sooner, so that whoever asks all the time does not get more than ten a second.
const MIN_DELAY: Duration = Duration::from_millis(100);

/// How often groups are reported unasked (RFC 3810 section 9.1), and within which time (section 9.11).
const ROBUSTNESS: u8 = 2;
const UNSOLICITED_INTERVAL: Duration = Duration::from_secs(1);

/// What a report is for, and with that its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// Nobody has asked.
    Unsolicited,
    /// A querier has.
    Answer,
    /// A querier of version 1 has, which takes one group a message.
    AnswerV1,
}

impl Report {
    const fn max_groups(self) -> usize {
        match self {
            Self::Unsolicited | Self::Answer => MAX_RECORDS,
            Self::AnswerV1 => 1,
        }
    }
}

/// What a querier asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Query {
    /// The one group that it asks for, if not for all.
    pub(crate) group: Option<Ipv6Addr>,
    report: Report,
    /// The answer is to come within this time.
    max_delay: Duration,
}

/// Reads a query, if that is one which a listener must not ignore (RFC 3810 sections 5.1.14 and 6.2).
pub(crate) fn read<F: Frame>(frame: &F) -> Option<Query> {
    let headers: Headers = wire::parse(frame).ok()?;
    let l3 = frame.head().get(usize::from(headers.l3_offset)..)?;
    let l4 = frame.head().get(usize::from(headers.l4_offset)..)?.get(..headers.l4_len as usize)?;
    let message: &[u8; 24] = l4.first_chunk()?;
    let (source, _) = wire::addresses(frame.head(), &headers);
    let is_query =
        headers.protocol == protocol::ICMPV6 && message[field::icmp::TYPE_AND_CODE] == [LISTENER_QUERY, 0];
    let has_alert = l3.get(field::ipv6::NEXT_HEADER) == Some(&HOP_BY_HOP)
        && l3.get(field::ipv6::DESTINATION.end..).is_some_and(has_router_alert);
    if !is_query
        || headers.ttl != HOP_LIMIT
        || !has_alert
        || !Ipv6Addr::from(source).is_unicast_link_local()
        || !wire::verify_checksum(frame, &headers)
    {
        return None;
    }
    let code = u16::from_be_bytes(bytes::get(message, field::mld::MAX_RESPONSE_CODE)?);
    let group = Ipv6Addr::from(bytes::get::<16>(message, field::mld::GROUP)?);
    let (report, ms) = match l4.len() {
        24 => (Report::AnswerV1, u32::from(code)),
        // A floating-point number beyond 15 bits (RFC 3810 section 5.1.3).
        28.. if code & 0x8000 != 0 => {
            (Report::Answer, (u32::from(code & 0xfff) | 0x1000) << ((code >> 12 & 7) + 3))
        }
        28.. => (Report::Answer, u32::from(code)),
        _ => return None,
    };
    let group = (!group.is_unspecified()).then_some(group);
    Some(Query { group, report, max_delay: Duration::from_millis(ms.into()) })
}

/// Whether the first of the hop-by-hop options in a header are the router alert.
fn has_router_alert(header: &[u8]) -> bool {
    matches!(header.first_chunk::<8>(), Some([_, _, 5, 2, 0, 0, ..] | [_, _, 1, 0, 5, 2, ..]))
}

/// Writes a report of some groups, as many as go into one message; gives how many went.
pub(crate) fn write(report: Report, own: Node, groups: impl Iterator<Item = Ipv6Addr>) -> (Bytes, usize) {
    // The mode of a group: changed to, or is, "from any source" (RFC 3810 section 5.2.12).
    let mode = if report == Report::Unsolicited { 4 } else { 2 };
    let groups: ArrayVec<Ipv6Addr, MAX_RECORDS> = groups.take(report.max_groups()).collect();
    let mut icmp = ArrayVec::<u8, { 8 + MAX_RECORDS * RECORD_BYTES }>::new();
    let to = match (report, groups.first()) {
        (Report::AnswerV1, Some(group)) => {
            icmp.extend([REPORT_V1, 0, 0, 0, 0, 0, 0, 0]);
            icmp.extend(group.octets());
            *group
        }
        _ => {
            icmp.extend([REPORT, 0, 0, 0, 0, 0, 0, groups.len() as u8]);
            for group in &groups {
                icmp.extend([mode, 0, 0, 0].into_iter().chain(group.octets()));
            }
            MLD_ROUTERS
        }
    };
    let bytes = icmpv6::frame(own, (to, multicast_mac(to)), HOP_LIMIT, &ROUTER_ALERT, &mut icmp);
    (bytes, groups.len())
}

/// The report that a port has to make.
#[derive(Clone, Copy, Debug)]
struct Pending {
    report: Report,
    due: Instant,
    /// How many of its groups have been reported so far.
    reported: usize,
}

/// One port.
#[derive(Clone, Copy, Debug, Default)]
struct Listener {
    pending: Option<Pending>,
    /// How often its groups are still to be reported unasked.
    unsolicited: u8,
}

/// The box as a listener on all its ports.
#[derive(Debug)]
pub(crate) struct Listeners {
    ports: Vec<Listener>,
    random: RandomState,
    /// Random numbers drawn.
    drawn: u64,
    /// When something may be due next; `None` where nothing is to come.
    next: Option<Instant>,
}

impl Listeners {
    /// A listener on so many ports.
    pub(crate) fn new(ports: usize, random: RandomState) -> Self {
        Self { ports: vec![Listener::default(); ports], random, drawn: 0, next: Some(Instant::default()) }
    }

    /// The groups may be others than before: they are reported unasked.
    pub(crate) fn announce(&mut self) {
        let listener = Listener { pending: None, unsolicited: ROBUSTNESS };
        self.ports.fill(listener);
        self.next = Some(Instant::default());
    }

    /// A querier asks on a port: the answer comes at random within its time, or earlier if one is to come already.
    pub(crate) fn receive(&mut self, now: Instant, port: PortId, query: Query) {
        let due = now.after(self.random_up_to(query.max_delay).max(MIN_DELAY));
        let Some(listener) = self.ports.get_mut(usize::from(port.0)) else { return };
        // A querier of version 1 can read no other report.
        let is_told = |report| query.report != Report::AnswerV1 || report == Report::AnswerV1;
        let sooner = listener
            .pending
            .is_some_and(|pending| is_told(pending.report) && (pending.reported > 0 || pending.due <= due));
        if !sooner {
            listener.pending = Some(Pending { report: query.report, due, reported: 0 });
            self.next = Some(self.next.map_or(due, |next| next.min(due)));
        }
    }

    /// The next message of a report that is due at `now`: its port, its form and how many groups were reported before.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(PortId, Report, usize)> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        for number in 0..self.ports.len() {
            let listener = self.ports[number];
            if listener.pending.is_none() && listener.unsolicited > 0 {
                let delay = self.random_up_to(UNSOLICITED_INTERVAL);
                // The first at once: whoever wants the box now does not wait.
                let due = if listener.unsolicited == ROBUSTNESS { now } else { now.after(delay) };
                let pending = Pending { report: Report::Unsolicited, due, reported: 0 };
                self.ports[number] =
                    Listener { pending: Some(pending), unsolicited: listener.unsolicited - 1 };
            }
        }
        let pending = |number: usize| self.ports[number].pending;
        let first = (0..self.ports.len()).filter_map(|number| Some((pending(number)?.due, number))).min();
        self.next = first.map(|(due, _)| due);
        let (_, number) = first.filter(|(due, _)| *due <= now)?;
        let Pending { report, reported, .. } = pending(number)?;
        Some((PortId(number as u8), report, reported))
    }

    /// So many groups of the report that is due at a port went with this message; without any, the report is complete.
    pub(crate) fn reported(&mut self, port: PortId, groups: usize) {
        let Some(listener) = self.ports.get_mut(usize::from(port.0)) else { return };
        match &mut listener.pending {
            Some(pending) if groups > 0 => pending.reported += groups,
            _ => listener.pending = None,
        }
    }

    fn random_up_to(&mut self, most: Duration) -> Duration {
        self.drawn += 1;
        let random = self.random.hash_one(self.drawn) as u32;
        most.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_conntrack::forward::MacAddress;

    const PORT: PortId = PortId(1);
    const MAC: MacAddress = [2, 0, 0, 0, 0, 1];
    const OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 1);

    fn group(number: u128) -> Ipv6Addr {
        Ipv6Addr::from(0xff02_0000_0000_0000_0000_0001_ff00_0000 + number)
    }

    /// A query of `source` with this hop limit, these hop-by-hop options, code and bytes behind the group.
    fn query(source: Ipv6Addr, hop_limit: u8, options: [u8; 8], code: u16, rest: &[u8]) -> (PortId, Vec<u8>) {
        let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let mut icmp = vec![LISTENER_QUERY, 0, 0, 0];
        icmp.extend(code.to_be_bytes().into_iter().chain([0; 18]).chain(rest.iter().copied()));
        let to = (to, multicast_mac(to));
        let frame = icmpv6::frame::<LONGEST_BYTES>((source, MAC), to, hop_limit, &options, &mut icmp);
        (PORT, frame.to_vec())
    }

    fn read_delay(code: u16, rest: &[u8]) -> Option<(Report, u64)> {
        let query = read(&query(OWN, 1, ROUTER_ALERT, code, rest))?;
        Some((query.report, query.max_delay.as_millis() as u64))
    }

    #[test]
    fn a_query_says_within_which_time_and_in_which_form() {
        assert_eq!(read_delay(10_000, &[]), Some((Report::AnswerV1, 10_000)));
        assert_eq!(read_delay(10_000, &[2, 125, 0, 0]), Some((Report::Answer, 10_000)));
        assert_eq!(read_delay(0x8000, &[2, 125, 0, 0]), Some((Report::Answer, 0x1000 << 3)));
        assert_eq!(read_delay(0xffff, &[2, 125, 0, 0]), Some((Report::Answer, 0x1fff << 10)));
        assert_eq!(read_delay(10_000, &[2, 125]), None);
    }

    #[test]
    fn a_query_that_a_router_may_have_passed_on_is_ignored() {
        let global = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
        let padding = [protocol::ICMPV6, 0, 1, 4, 0, 0, 0, 0];
        for (source, hop_limit, options) in
            [(global, 1, ROUTER_ALERT), (OWN, 2, ROUTER_ALERT), (OWN, 1, padding)]
        {
            assert_eq!(read(&query(source, hop_limit, options, 1000, &[])), None);
        }
        let (port, mut damaged) = query(OWN, 1, ROUTER_ALERT, 1000, &[]);
        damaged[70] ^= 1;
        assert_eq!(read(&(port, damaged)), None);
    }

    /// Where a report goes, and its ICMP message.
    fn sent(report: Report, groups: impl Iterator<Item = Ipv6Addr>) -> (Ipv6Addr, Vec<u8>, usize) {
        let (bytes, written) = write(report, (OWN, MAC), groups);
        let frame = (PORT, bytes.to_vec());
        let headers = wire::parse(&frame).unwrap();
        assert!(wire::verify_checksum(&frame, &headers));
        assert_eq!((headers.protocol, headers.ttl, &frame.1[6..12]), (protocol::ICMPV6, 1, &MAC[..]));
        let (source, to) = wire::addresses(&frame.1, &headers);
        assert_eq!((Ipv6Addr::from(source), &frame.1[..2]), (OWN, &[0x33, 0x33][..]));
        assert!(has_router_alert(&frame.1[54..62]));
        (to.into(), frame.1[usize::from(headers.l4_offset)..].to_vec(), written)
    }

    #[test]
    fn a_report_has_a_record_for_each_group_as_far_as_they_fit() {
        let (to, message, written) = sent(Report::Answer, (1..=2).map(group));
        assert_eq!((to, written, message.len()), (MLD_ROUTERS, 2, 8 + 2 * 20));
        assert_eq!((message[0], &message[6..12]), (REPORT, &[0, 2, 2, 0, 0, 0][..]));
        assert_eq!((&message[12..28], message[28]), (&group(1).octets()[..], 2));
        let (_, message, written) = sent(Report::Unsolicited, (0..100).map(group));
        assert_eq!((written, message.len(), message[8]), (60, 8 + 60 * 20, 4));
        let (to, message, written) = sent(Report::AnswerV1, (7..9).map(group));
        assert_eq!(
            (to, written, message[0], &message[8..]),
            (group(7), 1, REPORT_V1, &group(7).octets()[..])
        );
    }

    fn at(ms: u64) -> Instant {
        Instant::default().after(Duration::from_millis(ms))
    }

    /// The reports from one time to another, each of so many messages, looked for every 10 ms.
    fn reports(
        listeners: &mut Listeners,
        times: std::ops::Range<u64>,
        messages: usize,
    ) -> Vec<(u64, Report)> {
        let mut made = Vec::new();
        for ms in times.step_by(10) {
            while let Some((port, report, before)) = listeners.due(at(ms)) {
                listeners.reported(port, if before < messages { 1 } else { 0 });
                if before == 0 && port == PORT {
                    made.push((ms, report));
                }
            }
        }
        made
    }

    fn listeners() -> Listeners {
        Listeners::new(2, RandomState::with_seeds(1, 2, 3, 4))
    }

    #[test]
    fn groups_are_reported_twice_unasked() {
        let mut listeners = listeners();
        assert_eq!(reports(&mut listeners, 0..1000, 3), []);
        listeners.announce();
        let made = reports(&mut listeners, 1000..10_000, 3);
        assert!(
            matches!(made[..], [(1000, Report::Unsolicited), (1001..=2010, Report::Unsolicited)]),
            "{made:?}"
        );
    }

    #[test]
    fn whoever_asks_is_answered_once_in_time() {
        let mut listeners = listeners();
        let asked =
            |max_ms| Query { group: None, report: Report::Answer, max_delay: Duration::from_millis(max_ms) };
        for _ in 0..5 {
            listeners.receive(at(0), PORT, asked(2000));
        }
        let made = reports(&mut listeners, 0..5000, 3);
        assert!(matches!(made[..], [(..=2010, Report::Answer)]), "{made:?}");
        listeners.receive(at(5000), PORT, asked(0));
        listeners.receive(at(5000), PORT, Query { report: Report::AnswerV1, ..asked(500) });
        let made = reports(&mut listeners, 5000..6000, 3);
        assert!(matches!(made[..], [(_, Report::AnswerV1)]), "{made:?}");
        // Asked all the time, and at once.
        let many: Vec<_> = (6000..7000)
            .flat_map(|ms| {
                listeners.receive(at(ms), PORT, asked(0));
                reports(&mut listeners, ms..ms + 1, 3)
            })
            .collect();
        assert!((8..=10).contains(&many.len()), "{many:?}");
    }
}
