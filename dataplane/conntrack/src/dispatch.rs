//! What is done with a packet once it is decided about: it comes to its end, is handed to another shard, or is held until
//! another shard knows its connection ([`crate::exchange`]), or until the rest of its datagram has come ([`crate::fragments`]).
//!
//! The rules are here and nowhere else: workers over DPDK's queues and rings, the model checker and the simulations are
//! *hosts* that run them, each with packets and rings of its own.

mod acknowledgement;
mod datagram;
mod host;
mod messages;

pub use host::Host;
pub use messages::flush_messages;

use crate::exchange::Answered;
use crate::fragments::DatagramId;
use crate::frame::{Frame, Handed};
use crate::hold::{Held, Waiting};
use crate::ids::ShardId;
use crate::pipeline::BURST;
use crate::shard::Shard;
use crate::time::Instant;
use crate::verdict::{Action, DropReason, FragmentOffsets, Handoff, Verdict};
use acknowledgement::acknowledge;
use datagram::{Completed, Datagrams};
use messages::{announce, flush_messages_to, others};
use std::iter;

/// How often a packet is handed on before it is dropped. One is steered once, and goes by a signpost or back again each time
/// that its connection has begun or ended at that very moment.
pub const MAX_HOPS: u8 = 16;

/// What a shard's packets wait for, and where they go.
#[derive(Debug)]
pub struct Dispatcher<P> {
    held: Held<Load<P>>,
    datagrams: Datagrams<P>,
}

/// What is decided about at once, and then goes its way together.
#[derive(Debug)]
enum Load<P> {
    Packet(P),
    /// A datagram whose fragments have all come.
    Datagram(DatagramId),
}

impl<P: Frame> Dispatcher<P> {
    /// That of a shard.
    pub fn new(shard: &Shard) -> Self {
        Self { held: Held::new(shard.steering().shards()), datagrams: Datagrams::new(shard) }
    }

    /// Packets that are held.
    pub fn held(&self) -> usize {
        let datagrams = self.held.iter().filter(|load| matches!(load, Load::Datagram(_))).count();
        self.held.len() - datagrams + self.datagrams.fragments() as usize
    }

    /// Looks at all that is held.
    ///
    /// # Errors
    /// What does not hold.
    #[doc(hidden)]
    pub fn check_invariants(&self) -> Result<(), String> {
        let waiting = self.held.iter().filter(|load| matches!(load, Load::Datagram(_))).count();
        match self.datagrams.check_invariants()? {
            whole if whole == waiting => Ok(()),
            whole => Err(format!("{waiting} of {whole} datagrams that are whole wait for a claim")),
        }
    }

    /// Does with packets what their verdicts say, in their order. With a fragment that makes its datagram whole the verdict becomes
    /// that on the datagram.
    #[inline]
    pub fn apply_burst<'a, H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        mut packets: impl Iterator<Item = (P, &'a mut Verdict)>,
    ) {
        while let Some((packet, verdict)) = packets.next() {
            let behind = match verdict.action {
                Action::Reassemble(offsets) => {
                    self.reassemble(now, shard, host, (packet, offsets, verdict), &mut packets)
                }
                _ => Some((packet, verdict)),
            };
            if let Some((packet, verdict)) = behind {
                self.apply(now, shard, host, packet, verdict);
            }
        }
    }

    /// The same with one packet.
    #[inline]
    pub fn apply<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        packet: P,
        verdict: &mut Verdict,
    ) {
        match verdict.action {
            Action::Forward(_) | Action::Reject(..) | Action::Drop(_) => {
                host.finish(now, shard, packet, verdict);
            }
            Action::Fragment(egress, mtu) => {
                self.datagrams.fragment_packet(now, shard, host, packet, verdict, (egress, mtu));
            }
            Action::Deliver => {
                shard.count_delivery();
                host.finish(now, shard, packet, verdict);
            }
            Action::Handoff(to, by) => hand_off(now, shard, host, packet, to, by),
            Action::Hold(_) => self.hold(now, shard, host, Load::Packet(packet), verdict, 0),
            Action::Wait => self.wait(now, shard, host, Load::Packet(packet), verdict),
            Action::Reassemble(offsets) => {
                self.reassemble(now, shard, host, (packet, offsets, verdict), &mut iter::empty());
            }
            Action::Announce(egress) => {
                announce(shard, host);
                verdict.action = Action::Forward(egress);
                host.finish(now, shard, packet, verdict);
            }
            Action::Acknowledge(egress) => {
                if let Some(made) = acknowledge(shard, host, &packet, verdict) {
                    host.reply(shard, made);
                }
                verdict.action = Action::Forward(egress);
                host.finish(now, shard, packet, verdict);
            }
        }
    }

    /// The same with a packet or a datagram, whose connection was refused its reply tuple so often.
    fn apply_to_load<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        load: Load<P>,
        verdict: &mut Verdict,
        tries: u8,
    ) {
        match (load, verdict.action) {
            (load, Action::Hold(_)) => self.hold(now, shard, host, load, verdict, tries),
            (load, Action::Wait) => self.wait(now, shard, host, load, verdict),
            (Load::Datagram(id), Action::Announce(egress)) => {
                announce(shard, host);
                verdict.action = Action::Forward(egress);
                self.datagrams.finish(now, shard, host, id, verdict);
            }
            (Load::Packet(packet), _) => self.apply(now, shard, host, packet, verdict),
            (Load::Datagram(id), Action::Handoff(to, by)) => {
                self.datagrams.hand_off(now, shard, host, id, to, by);
            }
            (Load::Datagram(id), Action::Fragment(egress, mtu)) => {
                self.datagrams.fragment(now, shard, host, id, verdict, (egress, mtu));
            }
            (Load::Datagram(id), _) => self.datagrams.finish(now, shard, host, id, verdict),
        }
    }

    /// Ends what has expired of the datagrams whose fragments are held, at most `budget` steps of it. False when there is more to do.
    pub fn expire<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        budget: u32,
    ) -> bool {
        self.datagrams.expire(now, shard, host, budget)
    }

    /// Holds a fragment and those that come right behind it, and decides about the datagrams that are whole with them: as about
    /// packets that come together. Gives what comes behind them.
    #[cold]
    #[inline(never)]
    fn reassemble<'a, H: Host<Packet = P>, I: Iterator<Item = (P, &'a mut Verdict)>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        (packet, offsets, verdict): (P, FragmentOffsets, &'a mut Verdict),
        packets: &mut I,
    ) -> Option<I::Item> {
        let limits = shard.fragment_limits();
        let mut whole = Completed::new();
        let (mut packet, mut offsets, mut verdict) = (packet, offsets, verdict);
        let behind = loop {
            if let Some(id) = self.datagrams.add(now, shard, host, (packet, offsets), &limits, verdict) {
                whole.push((id, verdict));
                if whole.is_full() {
                    break None;
                }
            }
            match packets.next() {
                Some((next, of_next)) if let Action::Reassemble(at) = of_next.action => {
                    (packet, offsets, verdict) = (next, at, of_next);
                }
                other => break other,
            }
        };
        if !whole.is_empty() {
            self.decide_datagrams(now, shard, host, &mut whole);
        }
        shard.count_fragments_held(self.datagrams.fragments());
        behind
    }

    /// Decides about datagrams that are whole, and does with each what its verdict says.
    #[inline(never)]
    fn decide_datagrams<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        whole: &mut Completed<'_>,
    ) {
        let mut decided = [Verdict::dropped(DropReason::Truncated); BURST];
        let decided = &mut decided[..whole.len()];
        let ids = whole.iter().map(|(id, _)| *id);
        self.datagrams.read_all(ids, |frames| shard.process(now, frames, decided));
        for ((id, verdict), decided) in whole.iter_mut().zip(decided) {
            **verdict = *decided;
            self.apply_to_load(now, shard, host, Load::Datagram(*id), verdict, 0);
            shard.count_reassembled();
        }
    }

    /// Takes in what other shards say, and does what packets have waited for. Gives the number of messages, and the
    /// verdict on the last packet that waits no more.
    pub fn receive<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
    ) -> (usize, Option<Verdict>) {
        let (mut messages, mut verdict) = (0, None);
        for from in others(shard) {
            for _ in 0..H::LANE {
                let Some(message) = host.receive(from) else { break };
                messages += 1;
                if let Some(answered) = shard.receive(from, message) {
                    verdict = self.take_up_held(now, shard, host, answered).or(verdict);
                }
            }
        }
        if messages > 0 {
            flush_messages(shard, host);
        }
        if shard.exchange.wants_room() {
            let room = others(shard).map(|to| host.lane_room(to)).min();
            shard.exchange.set_room(room.unwrap_or_default());
        }
        (messages, verdict)
    }

    /// Takes up the packets that have waited for a claim, in order: the first of the connection and those behind it.
    fn take_up_held<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        answered: Answered,
    ) -> Option<Verdict> {
        let mut last = None;
        let mut chain = self.held.take(answered.entry);
        while let Some(Waiting { packet: mut load, first }) = self.held.next(&mut chain) {
            let (mut verdict, tries) = match &mut load {
                Load::Packet(packet) => take_up(now, shard, packet, first, answered.granted),
                Load::Datagram(id) => {
                    self.datagrams.read(*id, |whole| take_up(now, shard, whole, first, answered.granted))
                }
            };
            self.apply_to_load(now, shard, host, load, &mut verdict, tries);
            last = Some(verdict);
        }
        shard.count_fragments_held(self.datagrams.fragments());
        last
    }

    /// Holds the first packet of a connection until its claim, the one after `tries` that were refused, is answered.
    #[inline(never)]
    fn hold<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        load: Load<P>,
        verdict: &Verdict,
        tries: u8,
    ) {
        let first = Some((*verdict, tries));
        if let Err(load) = self.push(shard, verdict, Waiting { packet: load, first }) {
            if let Some(entry) = verdict.entry {
                shard.abandon(entry);
            }
            self.end(now, shard, host, load, DropReason::HoldFull);
        }
    }

    /// Holds a packet that came behind the first of its connection.
    #[inline(never)]
    fn wait<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        load: Load<P>,
        verdict: &Verdict,
    ) {
        if let Err(load) = self.push(shard, verdict, Waiting { packet: load, first: None }) {
            match &load {
                Load::Packet(packet) => shard.turn_away(packet),
                Load::Datagram(id) => self.datagrams.read(*id, |whole| shard.turn_away(whole)),
            }
            self.end(now, shard, host, load, DropReason::HoldFull);
        }
    }

    fn push(&mut self, shard: &Shard, verdict: &Verdict, waiting: Waiting<Load<P>>) -> Result<(), Load<P>> {
        match verdict.entry.and_then(|entry| Some((entry, shard.answers(entry)?))) {
            Some((entry, answers)) => self.held.push(entry, answers, waiting),
            None => Err(waiting.packet),
        }
    }

    /// Drops what was on its way.
    fn end<H: Host<Packet = P>>(
        &mut self,
        now: Instant,
        shard: &mut Shard,
        host: &mut H,
        load: Load<P>,
        reason: DropReason,
    ) {
        match load {
            Load::Packet(packet) => end(now, shard, host, packet, reason),
            Load::Datagram(id) => self.datagrams.end(now, shard, host, id, reason),
        }
    }
}

/// The verdict on what has waited for a claim that was granted or refused, and how many were refused so far. `first` is known
/// of the first packet of a connection; one behind it is decided about now.
fn take_up<F: Frame>(
    now: Instant,
    shard: &mut Shard,
    frame: &mut F,
    first: Option<(Verdict, u8)>,
    granted: bool,
) -> (Verdict, u8) {
    match first {
        Some((verdict, tries)) if granted => (shard.release(frame, &verdict), tries),
        Some((verdict, tries)) => (shard.bind_again(now, frame, &verdict, tries + 1), tries + 1),
        None => (shard.process_one(now, frame), 0),
    }
}

/// Hands a packet to another shard.
#[inline(never)]
fn hand_off<H: Host>(
    now: Instant,
    shard: &mut Shard,
    host: &mut H,
    packet: H::Packet,
    to: ShardId,
    by: Handoff,
) {
    let hops = packet.handed().map_or(0, |handed| handed.hops) + 1;
    // What the other shard is to know before it looks the packet up goes first.
    flush_messages_to(shard, host, to);
    let handed = Handed { from: shard.steering().own(), by, hops };
    let refused = if hops > MAX_HOPS {
        Err((packet, DropReason::HandoffLoop))
    } else if shard.has_messages(to) {
        Err((packet, DropReason::HandoffFull))
    } else {
        host.hand_off(to, handed, packet).map_err(|packet| (packet, DropReason::HandoffFull))
    };
    if let Err((packet, reason)) = refused {
        if let Handoff::Delegation(zone) = by {
            shard.take_back(&packet, to, zone);
        }
        end(now, shard, host, packet, reason);
    }
}

/// Drops a packet that was on its way.
fn end<H: Host>(now: Instant, shard: &mut Shard, host: &mut H, packet: H::Packet, reason: DropReason) {
    shard.count_drops(reason, 1);
    host.finish(now, shard, packet, &Verdict::dropped(reason));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::Configuration;
    use crate::exchange::Message;
    use crate::forward::Forwarding;
    use crate::ids::PortId;
    use crate::policy::Policy;
    use crate::settings::{Preset, Settings};
    use crate::shard::Capacity;
    use crate::steer::Steering;
    use crate::tuple::Tuple;
    use sluice_memory::Pages;

    /// Other shards that go on speaking for ever.
    struct Talkative {
        heard: usize,
    }

    impl Host for Talkative {
        type Packet = (PortId, Vec<u8>);

        const LANE: usize = 16;

        fn finish(&mut self, _: Instant, _: &mut Shard, _: Self::Packet, _: &Verdict) {}

        fn reply(&mut self, _: &mut Shard, _: Self::Packet) {}

        fn make(&mut self, _: PortId, _: &[u8]) -> Option<Self::Packet> {
            None
        }

        fn receive(&mut self, _: ShardId) -> Option<Message> {
            self.heard += 1;
            let tuple = Tuple::new([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, self.heard as u16, 53);
            Some(Message::Release(tuple))
        }
    }

    #[test]
    fn a_round_ends_however_much_others_say() {
        let configuration =
            Configuration::new(Settings::of(Preset::Linux, 100), Policy::default(), Forwarding::wire());
        let capacity = Capacity { entries: 100, seed: [1, 2, 3, 4], pages: Pages::Ordinary };
        let shard = Shard::new(capacity, configuration, Instant::default()).unwrap();
        let mut shard = shard.with_steering(Steering::new(ShardId(1), 3).unwrap()).unwrap();
        let mut host = Talkative { heard: 0 };
        let mut dispatcher = Dispatcher::new(&shard);
        let heard = dispatcher.receive(Instant::default(), &mut shard, &mut host);
        assert_eq!((heard, host.heard), ((2 * Talkative::LANE, None), 2 * Talkative::LANE));
    }
}
