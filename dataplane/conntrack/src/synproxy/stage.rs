//! What is decided about packets of connections that begin with a SYN cookie.

use super::segment::{Header, Options, syn_options};
use super::{ClientOffer, Proxied};
use crate::entry::Status;
use crate::events::End;
use crate::facts::Facts;
use crate::frame::Frame;
use crate::headers::{Headers, Packet, PacketKind};
use crate::helpers::Slot;
use crate::ids::EntryId;
use crate::nat::Destination;
use crate::shard::Shard;
use crate::slow_path::Parsed;
use crate::tuple::{Direction, Family, protocol};
use crate::unconfirmed::Unconfirmed;
use crate::verdict::{Action, DropReason, Rejection, Verdict};
use crate::wire::tcp::{Flags, HEADER_BYTES, Segment};

/// Flags that say what a segment is for.
const KIND: Flags = Flags::SYN.union(Flags::ACK).union(Flags::RST).union(Flags::FIN);

impl Proxied {
    /// The SYN that its server gets.
    fn syn(&self) -> Header {
        let offer = self.offer();
        // The window of a SYN is never scaled (RFC 7323 section 2.2).
        let window = u32::from(self.window) << offer.wscale.unwrap_or(0);
        Header {
            seq: self.isn,
            ack: 0,
            flags: Flags::SYN,
            window: window.min(u16::MAX.into()) as u16,
            options: syn_options(&offer),
        }
    }
}

impl Shard {
    /// What becomes of the first packet of a connection that has brought no cookie to where one is asked for.
    #[cold]
    pub(crate) fn ask_for_cookie(&mut self, facts: &Facts, unconfirmed: &Unconfirmed) -> Action {
        if Flags(facts.tcp_flags).intersection(KIND) != Flags::SYN {
            return Action::Drop(DropReason::BadSynCookie);
        }
        // What is closed would take in the ACK.
        self.make_way(unconfirmed);
        Action::Reject(DropReason::SynCookie, Rejection::SynCookie)
    }

    /// Takes the cookie of a TCP segment that belongs to no connection, and makes the segment the SYN to the server. `None` where it has
    /// none, or no good one, and is as it was.
    pub(crate) fn take_cookie<F: Frame>(
        &self,
        frame: &mut F,
        headers: &Headers,
    ) -> Option<(Headers, Proxied)> {
        let is_tcp = headers.protocol == protocol::TCP && headers.kind == PacketKind::Tracked;
        if !is_tcp || !self.configuration.policy.has_synproxy() {
            return None;
        }
        let Segment { seq, ack, window, flags, .. } =
            Segment::parse(&Packet { headers, head: frame.head() })?;
        if flags.intersection(KIND) != Flags::ACK {
            return None;
        }
        let cookie = ack.wrapping_sub(1);
        let open = |isn: u32| {
            let offer: ClientOffer = self.cookies.open(self.now, &headers.tuple, isn, cookie)?;
            Some(Proxied::new(isn, cookie, window, offer))
        };
        // One whose ACK was lost asks, byte by byte or without any, whether the window has opened (RFC 9293 section 3.8.6.1).
        let proxied = open(seq.wrapping_sub(1)).or_else(|| open(seq))?;
        let mut headers = *headers;
        proxied.syn().replace(frame, &mut headers).then_some((headers, proxied))
    }

    /// Has a connection that was admitted, if it was, go on as its client's cookie says.
    #[cold]
    pub(crate) fn begin_proxied(&mut self, proxied: Proxied, verdict: &mut Verdict) {
        let Some(EntryId { index, .. }) = verdict.entry else { return };
        let slot = self.take_help(index);
        if slot == Slot::NONE {
            self.table.entries.at_mut(index).status.remove(Status::DELEGATED);
            self.end(index, End::Refused);
            verdict.entry = None;
            return verdict.refuse(self.no_room(DropReason::TableFull));
        }
        self.table.extend(index).proxied = proxied;
        self.table.entries.at_mut(index).status.insert(Status::SEQ_ADJUST.union(Status::HELPER));
        self.counters.syn_cookies_accepted += 1;
    }

    /// How the connection at `index` began, if this packet is one of its handshakes: then it goes [its own way](Self::decide_proxied).
    pub(crate) fn proxied(&self, index: u32, headers: &Headers) -> Option<Proxied> {
        let proxied = self.table.extension(index)?.proxied;
        let is_tracked = proxied.is_some && headers.kind == PacketKind::Tracked;
        is_tracked.then_some(proxied)
    }

    /// About a packet of a connection that began with a SYN cookie.
    #[inline(never)]
    pub(crate) fn decide_proxied<F: Frame>(
        &mut self,
        frame: &mut F,
        parsed: &Parsed,
        (index, direction): (u32, Direction),
        proxied: Proxied,
    ) -> Verdict {
        let packet = Packet { headers: &parsed.headers, head: frame.head() };
        let segment = Segment::parse(&packet);
        let flags = segment.map_or(Flags::default(), |segment| segment.flags.intersection(KIND));
        let is_answer = direction == Direction::Reply && flags == Flags::SYN.union(Flags::ACK);
        match (proxied.is_answered, direction, segment) {
            (_, Direction::Reply, Some(segment)) if is_answer => {
                self.decide_answer(frame, parsed, index, proxied, (segment.seq, segment.window))
            }
            (true, ..) => self.decide_adjusted(frame, parsed, index, direction),
            (false, Direction::Original, Some(segment)) if !flags.contains(Flags::RST) => {
                // It says again what the box has said in its name, and the rest when its window is open.
                let window = if flags == Flags::ACK { segment.window } else { proxied.window };
                self.table.extend(index).proxied.window = window;
                let mut again = *parsed;
                if !proxied.syn().replace(frame, &mut again.headers) {
                    return self.refuse_proxied(index, direction);
                }
                self.decide_adjusted(frame, &again, index, direction)
            }
            (false, Direction::Reply, Some(segment)) if flags.contains(Flags::RST) => {
                // The server refuses: the client knows other numbers.
                let handed = frame.handed();
                let tracked = self.track_adjusted(index, packet, direction, handed);
                self.move_numbers(index, proxied.cookie.wrapping_add(1).wrapping_sub(segment.seq));
                self.decide_tracked(frame, parsed, &tracked)
            }
            (false, Direction::Original, _) => self.decide_adjusted(frame, parsed, index, direction),
            (false, Direction::Reply, _) => self.refuse_proxied(index, direction),
        }
    }

    fn decide_adjusted<F: Frame>(
        &mut self,
        frame: &mut F,
        parsed: &Parsed,
        index: u32,
        direction: Direction,
    ) -> Verdict {
        let packet = Packet { headers: &parsed.headers, head: frame.head() };
        let tracked = self.track_adjusted(index, packet, direction, frame.handed());
        self.decide_tracked(frame, parsed, &tracked)
    }

    /// About a packet that fits neither handshake.
    fn refuse_proxied(&self, index: u32, direction: Direction) -> Verdict {
        Verdict {
            entry: Some(self.table.entries.id(index)),
            direction: Some(direction),
            ..Verdict::dropped(DropReason::BadSynCookie)
        }
    }

    /// About the server's SYN/ACK, which becomes what opens the client's window.
    fn decide_answer<F: Frame>(
        &mut self,
        frame: &mut F,
        parsed: &Parsed,
        index: u32,
        proxied: Proxied,
        syn_ack: (u32, u16),
    ) -> Verdict {
        let (seq, window) = syn_ack;
        if proxied.is_answered && proxied.answered != seq {
            return self.refuse_proxied(index, Direction::Reply);
        }
        let mut headers = parsed.headers;
        let packet = Packet { headers: &headers, head: frame.head() };
        let tracked = self.track_adjusted(index, packet, Direction::Reply, frame.handed());
        if tracked.entry() != Some(index) {
            return self.decide_tracked(frame, parsed, &tracked);
        }
        let is_translated = self.table.entries.at(index).is_translated();
        let to = is_translated.then(|| Destination::of(&self.translated(index, Direction::Reply)));
        let mut verdict = self.route_and_judge(frame, &headers, &tracked, to.as_ref());
        let Action::Forward(egress) = verdict.action else {
            self.conclude(frame, &headers, &tracked, &mut verdict);
            return verdict;
        };
        let update = Header {
            seq: seq.wrapping_add(1),
            ack: proxied.isn.wrapping_add(1),
            flags: Flags::ACK,
            window: if proxied.has_wscale {
                window >> self.configuration.policy.largest_wscale()
            } else {
                window
            },
            options: Options::new(),
        };
        let found = (index, Direction::Reply);
        let mut opens = self.help(frame, &mut headers, index, Direction::Reply, egress);
        if opens.is_ok() && !update.replace(frame, &mut headers) {
            opens = Err(DropReason::BadSynCookie);
        }
        if opens.is_ok() {
            if !proxied.is_answered {
                self.agree(index, Proxied { answered: seq, is_answered: true, ..proxied });
            }
            opens = self.help_and_translate(frame, &mut headers, found, egress);
        }
        if let Err(reason) = opens {
            verdict.refuse(Action::Drop(reason));
        }
        self.conclude(frame, &headers, &tracked, &mut verdict);
        if let Action::Forward(egress) = verdict.action {
            verdict.action = Action::Acknowledge(egress);
        }
        verdict
    }

    /// Server and box are agreed: what the box acknowledges is tracked, and numbers are moved from now on.
    fn agree(&mut self, index: u32, proxied: Proxied) {
        let tuple = self.table.entries.tuple(index, Direction::Original);
        let mut head = [0; HEADER_BYTES];
        let ack = Header {
            seq: proxied.isn.wrapping_add(1),
            ack: proxied.answered.wrapping_add(1),
            flags: Flags::ACK,
            window: proxied.window,
            options: Options::new(),
        };
        ack.write(&mut head);
        let l3_len = if tuple.family() == Family::V4 { 40 } else { 60 };
        let headers = Headers {
            tuple,
            kind: PacketKind::Tracked,
            protocol: protocol::TCP,
            l3_len,
            l4_len: HEADER_BYTES as u32,
            ..Headers::default()
        };
        let packet = Packet { headers: &headers, head: &head };
        self.track_found(index, packet, Direction::Original, None);
        self.table.extend(index).proxied = proxied;
        self.move_numbers(index, proxied.shift());
    }

    /// From now on the server's numbers are moved by so much.
    fn move_numbers(&mut self, index: u32, by: u32) {
        let slot = self.table.extend(index).help;
        self.help.begin_shift(slot, Direction::Reply, by);
    }
}
