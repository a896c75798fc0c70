//! The slow path: what takes any packet, step by step. It is parsed, tracked, routed, judged, and edited as its verdict asks.

use crate::claim::delegated_in;
use crate::configuration::Configuration;
use crate::connection_counts::Counted;
use crate::entry::Status;
use crate::events::End;
use crate::facts::Facts;
use crate::forward::{Forwarding, RouteResult};
use crate::frame::{Frame, Handed};
use crate::headers::{Headers, Packet, PacketKind};
use crate::ids::{EntryId, Zone};
use crate::nat::{self, Bound, Destination};
use crate::shard::Shard;
use crate::synproxy::Proxied;
use crate::table::{Found, Key};
use crate::track::{Lookup, Tracked};
use crate::tracker::tcp::TcpState;
use crate::tuple::{Direction, protocol};
use crate::unconfirmed::{Attempt, Unconfirmed};
use crate::verdict::{Action, DropReason, Handoff, InvalidReason, State, Verdict};
use crate::wire;

/// A packet that takes the slow path.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) headers: Headers,
    /// Its verdict, where it is not tracked here at all.
    pub(crate) ended: Option<Action>,
    pub(crate) key: Key,
    /// What it was looked up for before.
    pub(crate) found: Option<Found>,
    /// What was tried for its connection before.
    pub(crate) attempt: Attempt,
}

impl Shard {
    /// First pass: headers, zone, exemption from tracking, checksum; fetches the bucket.
    #[inline(never)]
    pub(crate) fn parse<F: Frame>(&self, frame: &F, parsed: &mut Parsed) {
        parsed.ended = self.parse_into(frame, &mut parsed.headers, &mut parsed.key).err();
    }

    #[inline(always)]
    fn parse_into<F: Frame>(&self, frame: &F, headers: &mut Headers, key: &mut Key) -> Result<(), Action> {
        wire::parse_into(frame, headers)?;
        let configuration = &*self.configuration;
        if !configuration.forwarding.is_for_box(frame, headers.l3_offset, &self.macs) {
            return Err(Action::Drop(Forwarding::not_for_box(headers)));
        }
        let exempt = match headers.kind {
            PacketKind::NotIp => return Ok(()),
            PacketKind::Fragment => self.steer_fragment(frame, headers)?,
            _ => false,
        };
        let (zone, is_untracked) = self.look_ahead(frame, || *headers);
        if zone != 0 {
            headers.tuple.selector = headers.tuple.selector.with_zone(zone);
        }
        if headers.protocol == protocol::GRE {
            self.complete_call(frame.head(), headers);
        }
        if exempt || is_untracked {
            headers.kind = PacketKind::Untracked;
            return Ok(());
        }
        if let Some(owner) = self.steering().elsewhere(frame, headers) {
            return Err(Action::Handoff(owner, Handoff::Steering));
        }
        if matches!(headers.kind, PacketKind::Invalid(_)) {
            return Ok(());
        }
        if configuration.settings.checksum && !wire::verify_checksum(frame, headers) {
            headers.kind = PacketKind::Invalid(InvalidReason::BadChecksum);
            return Ok(());
        }
        if configuration.settings.quote_checksum
            && headers.kind == PacketKind::Error
            && !wire::icmp::quotes_undamaged(Packet { headers, head: frame.head() })
        {
            headers.kind = PacketKind::Invalid(InvalidReason::IcmpQuote);
            return Ok(());
        }
        *key = self.table.key(&headers.tuple);
        self.table.index.prefetch(key.hash);
        Ok(())
    }

    /// The zone of a packet, and whether a rule exempts it from tracking. Its facts are asked for only where rules look at it
    /// so early.
    #[inline(always)]
    pub(crate) fn look_ahead<F: Frame>(&self, frame: &F, headers: impl FnOnce() -> Headers) -> (Zone, bool) {
        if self.configuration.policy.looks_ahead() {
            let known = frame.handed().and_then(Handed::zone);
            return self.ask_rules(frame, &headers(), known);
        }
        (self.zone_ahead(frame), false)
    }

    /// The zone of a packet where no rule says it.
    #[inline(always)]
    pub(crate) fn zone_ahead<F: Frame>(&self, frame: &F) -> Zone {
        frame.handed().and_then(Handed::zone).unwrap_or(self.configuration.zone_of(frame.port()))
    }

    #[inline(never)]
    fn ask_rules<F: Frame>(&self, frame: &F, headers: &Headers, known: Option<Zone>) -> (Zone, bool) {
        let Configuration { policy, .. } = &*self.configuration;
        let facts = Facts::of_packet(Packet { headers, head: frame.head() }, frame.port());
        let zone = known.or_else(|| policy.zone(&facts));
        let zone = zone.unwrap_or(self.configuration.zone_of(frame.port()));
        (zone, policy.is_untracked(&Facts { zone, ..facts }))
    }

    /// Last pass: all that is decided about one packet.
    #[inline(never)]
    pub(crate) fn decide_parsed<F: Frame>(&mut self, frame: &mut F, parsed: &Parsed) -> Verdict {
        match delegated_in(frame) {
            None => self.decide(frame, parsed),
            Some(zone) => self.decide_delegated(frame, parsed, zone),
        }
    }

    /// The same about one that another shard has delegated to this one, whose signpost in this zone goes if its connection does not begin.
    #[cold]
    #[inline(never)]
    fn decide_delegated<F: Frame>(&mut self, frame: &mut F, parsed: &Parsed, zone: Zone) -> Verdict {
        let verdict = self.decide(frame, parsed);
        if !self.keeps_delegation(&verdict) {
            self.decline(parsed.headers.tuple, zone);
        }
        verdict
    }

    #[inline(always)]
    fn decide<F: Frame>(&mut self, frame: &mut F, parsed: &Parsed) -> Verdict {
        if let Some(action) = parsed.ended {
            return Verdict::ended(action);
        }
        let headers = &parsed.headers;
        if self.has_groups() && self.is_on_standby(frame, parsed) {
            return Verdict::dropped(DropReason::Standby);
        }
        let packet = Packet { headers, head: frame.head() };
        let tracked = match headers.kind {
            PacketKind::NotIp | PacketKind::Untracked => Tracked::without_entry(State::Untracked),
            PacketKind::Fragment => Tracked::invalid(InvalidReason::Fragment),
            PacketKind::Invalid(reason) => Tracked::invalid(reason),
            PacketKind::Error => self.relate(&parsed.key, packet, frame.handed()),
            PacketKind::Tracked => {
                let found = parsed.found.unwrap_or_else(|| self.find(&parsed.key, &headers.tuple));
                self.track(found, packet, frame.handed())
            }
        };
        self.decide_tracked(frame, parsed, &tracked)
    }

    /// The same once it is known what the packet belongs to.
    #[inline(always)]
    pub(crate) fn decide_tracked<F: Frame>(
        &mut self,
        frame: &mut F,
        parsed: &Parsed,
        tracked: &Tracked,
    ) -> Verdict {
        let headers = &parsed.headers;
        match tracked.lookup {
            Lookup::Elsewhere(shard, by) => Verdict::ended(Action::Handoff(shard, by)),
            Lookup::Apart(index) => self.decide_apart(frame, parsed, tracked, index),
            Lookup::New(replaces) => self.decide_new(frame, parsed, tracked, replaces, None),
            Lookup::Table(index) | Lookup::Syn(index) | Lookup::Ending(index)
                if self.table.entries.at(index).is_rewritten() =>
            {
                self.decide_rewritten(frame, headers, tracked, index)
            }
            Lookup::None | Lookup::Table(_) | Lookup::Syn(_) | Lookup::Ending(_) => {
                let mut verdict = self.route_and_judge(frame, headers, tracked, None);
                self.conclude(frame, headers, tracked, &mut verdict);
                verdict
            }
        }
    }

    /// About a packet of a connection that waits for another shard, or whose numbers a helper has moved.
    #[cold]
    #[inline(never)]
    fn decide_apart<F: Frame>(
        &mut self,
        frame: &mut F,
        parsed: &Parsed,
        found: &Tracked,
        index: u32,
    ) -> Verdict {
        if self.table.entries.at(index).is_pending() {
            return Verdict { entry: Some(self.table.entries.id(index)), ..Verdict::ended(Action::Wait) };
        }
        let direction = found.direction.unwrap_or(Direction::Original);
        if let Some(proxied) = self.proxied(index, &parsed.headers) {
            return self.decide_proxied(frame, parsed, (index, direction), proxied);
        }
        let packet = Packet { headers: &parsed.headers, head: frame.head() };
        let tracked = self.track_adjusted(index, packet, direction, frame.handed());
        self.decide_tracked(frame, parsed, &tracked)
    }

    /// About a packet that opens no connection though it has none.
    #[inline(never)]
    fn decide_untracked<F: Frame>(&mut self, frame: &mut F, headers: &Headers, tracked: &Tracked) -> Verdict {
        let mut verdict = self.route_and_judge(frame, headers, tracked, None);
        self.conclude(frame, headers, tracked, &mut verdict);
        verdict
    }

    /// About the first packet of a connection, whose client has brought a SYN cookie where it is `proxied`.
    #[inline(never)]
    fn decide_new<F: Frame>(
        &mut self,
        frame: &mut F,
        parsed: &Parsed,
        tracked: &Tracked,
        replaces: Option<u32>,
        proxied: Option<&Proxied>,
    ) -> Verdict {
        let headers = &parsed.headers;
        let packet = Packet { headers, head: frame.head() };
        if self.has_groups() && self.is_lost_outside(packet) {
            let action = self.reset_lost();
            return self.verdict(tracked, action);
        }
        let mut unconfirmed = Unconfirmed::new(headers.tuple, replaces);
        unconfirmed.is_proven = proxied.is_some();
        let opened = self.open(packet, &mut unconfirmed);
        // A client sends a cookie back in what else would be picked up in mid-stream, or be INVALID.
        if (unconfirmed.entry.state == TcpState::Established as u8 || opened.is_err())
            && proxied.is_none()
            && let Some(verdict) = self.decide_proven(frame, parsed, tracked, replaces)
        {
            return verdict;
        }
        let packet = Packet { headers, head: frame.head() };
        if let Err(reason) = opened {
            return self.decide_untracked(frame, headers, &Tracked::invalid(reason));
        }
        unconfirmed.delegated = delegated_in(frame).is_some();
        unconfirmed.attempt = parsed.attempt;
        let mut facts = Facts::of_first_packet(packet, frame.port());
        if !self.expectations.is_empty() || parsed.attempt.again {
            self.look_for_expectation(&mut unconfirmed, &mut facts);
        }
        if let Some(assigned) = self.configuration.helpers.assign(&facts) {
            unconfirmed.helper = Some(assigned);
        }
        let mut verdict = self.decide_opened(frame, parsed, tracked, &mut unconfirmed, &mut facts, proxied);
        if let Some(child) = &unconfirmed.child {
            self.conclude_child(child, &mut verdict);
        }
        verdict
    }

    /// The same where it brings a SYN cookie: it becomes the SYN to the server. `None` where it has none.
    #[cold]
    #[inline(never)]
    fn decide_proven<F: Frame>(
        &mut self,
        frame: &mut F,
        parsed: &Parsed,
        tracked: &Tracked,
        replaces: Option<u32>,
    ) -> Option<Verdict> {
        let (headers, proxied) = self.take_cookie(frame, &parsed.headers)?;
        Some(self.decide_new(frame, &Parsed { headers, ..*parsed }, tracked, replaces, Some(&proxied)))
    }

    /// The same when it is known what it is the first packet of.
    #[inline(always)]
    fn decide_opened<F: Frame>(
        &mut self,
        frame: &mut F,
        parsed: &Parsed,
        tracked: &Tracked,
        unconfirmed: &mut Unconfirmed,
        facts: &mut Facts,
        proxied: Option<&Proxied>,
    ) -> Verdict {
        let headers = &parsed.headers;
        let packet = Packet { headers, head: frame.head() };
        if (self.configuration.nat.may_change_destination() || unconfirmed.child.is_some())
            && let Bound::Elsewhere(shard) = self.bind_destination(unconfirmed, facts)
        {
            let Some(handoff) = self.delegate(&headers.tuple, shard) else {
                return Verdict::dropped(DropReason::HoldFull);
            };
            self.make_way(unconfirmed);
            return handoff;
        }
        let translated = facts.has_status(Status::DST_NAT).then_some(facts.destination);
        if translated.is_some() && !nat::is_rewritable(packet, &unconfirmed.reply.invert()) {
            return self.verdict(tracked, Action::Drop(DropReason::NatUnknown));
        }
        let egress = match self.configuration.forwarding.route(frame, headers, translated, &self.macs) {
            RouteResult::Open(egress) => egress,
            RouteResult::Closed(action) => {
                let mut verdict = self.verdict(tracked, action);
                self.conclude(frame, headers, tracked, &mut verdict);
                return verdict;
            }
        };
        let mut counted = Counted::new();
        let (mut verdict, log) =
            self.judge_first(unconfirmed, headers, tracked, facts, &egress, &mut counted);
        if verdict.drop_reason().is_none() {
            self.admit(&parsed.key, packet, unconfirmed, facts, &egress, &mut verdict);
        }
        if !counted.is_empty() {
            self.settle_counted(verdict.entry, &counted);
        }
        if let Some(proxied) = proxied {
            self.begin_proxied(*proxied, &mut verdict);
        }
        self.record_first(&verdict, headers, unconfirmed, log, facts);
        if unconfirmed.helper.is_some()
            && let Some(EntryId { index, .. }) = verdict.entry
        {
            let bound_by = unconfirmed.bound_by;
            return self.conclude_first_helped(frame, headers, tracked, index, bound_by, verdict);
        }
        if let (Action::Forward(_), Some(EntryId { index, .. })) = (verdict.action, verdict.entry)
            && self.table.entries.at(index).is_translated()
        {
            self.rewrite(frame, headers, &self.translated(index, Direction::Original));
        }
        self.conclude(frame, headers, tracked, &mut verdict);
        verdict
    }

    /// What the policy says about a packet on its way, if that is not closed. Its destination may have been translated.
    #[inline(always)]
    pub(crate) fn route_and_judge<F: Frame>(
        &mut self,
        frame: &F,
        headers: &Headers,
        tracked: &Tracked,
        destination: Option<&Destination>,
    ) -> Verdict {
        let packet = Packet { headers, head: frame.head() };
        let translated = destination.map(|to| to.address);
        match self.configuration.forwarding.route(frame, headers, translated, &self.macs) {
            RouteResult::Open(egress) => self.judge(packet, tracked, frame.port(), &egress, destination),
            RouteResult::Closed(action) => self.verdict(tracked, action),
        }
    }

    /// Does to a packet, and to its entry, what its verdict asks for.
    #[inline(always)]
    pub(crate) fn conclude<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        tracked: &Tracked,
        verdict: &mut Verdict,
    ) {
        if !matches!(tracked.lookup, Lookup::Table(_))
            && (!self.configuration.mss_clamp.is_empty() || matches!(tracked.lookup, Lookup::Ending(_)))
        {
            self.conclude_rarer(frame, headers, tracked.lookup, verdict.action);
        }
        verdict.action = self.configuration.forwarding.finish(frame, headers, verdict.action);
    }

    /// Ends the entry that ends with a packet which passes, and clamps the maximum segment size of a SYN that leaves.
    #[inline(never)]
    fn conclude_rarer<F: Frame>(&mut self, frame: &mut F, headers: &Headers, lookup: Lookup, action: Action) {
        if let (Lookup::Ending(index), Action::Forward(_) | Action::Deliver) = (lookup, action) {
            self.end(index, End::Closed);
        }
        if let Action::Forward(egress) = action {
            self.configuration.mss_clamp.apply(frame, headers, egress);
        }
    }
}
