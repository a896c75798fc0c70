//! What is decided about the packets of connections that are translated or have a helper.
//!
//! Rules and routes see where a packet goes once its destination is translated. A helper reads what the policy lets pass, as it
//! came in; then text, numbers and addresses are rewritten together.

use crate::entry::Status;
use crate::events::End;
use crate::frame::Frame;
use crate::headers::{Headers, Packet, PacketKind};
use crate::ids::PortId;
use crate::nat::{self, BoundBy, Destination};
use crate::shard::Shard;
use crate::track::Tracked;
use crate::tuple::Direction;
use crate::verdict::{Action, DropReason, Verdict};
use crate::wire;

impl Shard {
    /// About a packet of a translated connection or of one that has a helper, or an error about one.
    #[inline(never)]
    pub(crate) fn decide_rewritten<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        tracked: &Tracked,
        index: u32,
    ) -> Verdict {
        if self.table.entries.at(index).status.contains(Status::HELPER) {
            return self.decide_helped(frame, headers, tracked, index);
        }
        let direction = tracked.direction.unwrap_or(Direction::Original);
        if headers.kind == PacketKind::Error {
            return self.decide_error(frame, headers, tracked, index, direction);
        }
        let to = self.translated(index, direction);
        let mut verdict = if nat::is_rewritable(Packet { headers, head: frame.head() }, &to) {
            self.route_and_judge(frame, headers, tracked, Some(&Destination::of(&to)))
        } else {
            self.verdict(tracked, Action::Drop(DropReason::NatUnknown))
        };
        if let Action::Forward(_) = verdict.action {
            self.rewrite(frame, headers, &to);
        }
        self.conclude(frame, headers, tracked, &mut verdict);
        verdict
    }

    /// About a packet of a connection that has a helper, translated or not.
    #[inline(always)]
    fn decide_helped<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        tracked: &Tracked,
        index: u32,
    ) -> Verdict {
        let direction = tracked.direction.unwrap_or(Direction::Original);
        let is_translated = self.table.entries.at(index).is_translated();
        if headers.kind == PacketKind::Error && is_translated {
            return self.decide_error(frame, headers, tracked, index, direction);
        }
        let to = is_translated.then(|| self.translated(index, direction));
        let destination = to.as_ref().map(Destination::of);
        let mut verdict = self.route_and_judge(frame, headers, tracked, destination.as_ref());
        let mut headers = *headers;
        if let (Action::Forward(egress), PacketKind::Tracked) = (verdict.action, headers.kind)
            && let Err(reason) = self.help_and_translate(frame, &mut headers, (index, direction), egress)
        {
            verdict.refuse(Action::Drop(reason));
        }
        self.conclude(frame, &headers, tracked, &mut verdict);
        verdict
    }

    /// Has the helper of a connection read a packet that leaves by `egress`, and translates it.
    ///
    /// # Errors
    /// Why it must not leave.
    #[inline(always)]
    pub(crate) fn help_and_translate<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &mut Headers,
        (index, direction): (u32, Direction),
        egress: PortId,
    ) -> Result<(), DropReason> {
        self.help(frame, headers, index, direction, egress)?;
        if self.table.entries.at(index).is_translated() {
            let to = self.answered_at(index, direction, self.translated(index, direction));
            self.rewrite(frame, headers, &to);
        }
        Ok(())
    }

    /// About an error about a packet of a translated connection.
    #[cold]
    fn decide_error<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        tracked: &Tracked,
        index: u32,
        direction: Direction,
    ) -> Verdict {
        let mut edit = self.error_edit(index, direction);
        let destination = edit.dst.map(|address| Destination { address, port: None });
        let mut verdict = if wire::icmp::is_translatable(Packet { headers, head: frame.head() }) {
            self.route_and_judge(frame, headers, tracked, destination.as_ref())
        } else {
            self.verdict(tracked, Action::Drop(DropReason::NatUnknown))
        };
        if let Action::Forward(egress) = verdict.action {
            let packet = Packet { headers, head: frame.head() };
            edit.src = edit.src.map(|src| self.public_sender(packet, frame.port(), egress).unwrap_or(src));
            self.rewrite_error(frame, headers, &edit);
        }
        self.conclude(frame, headers, tracked, &mut verdict);
        verdict
    }

    /// Does what the verdict on the first packet of a connection with a helper asks for, and ends the connection where that refuses
    /// the packet. Where it is held, its addresses are translated, and it counts for the rules that it was bound by, when it is let go.
    #[inline(never)]
    pub(crate) fn conclude_first_helped<F: Frame>(
        &mut self,
        frame: &mut F,
        headers: &Headers,
        tracked: &Tracked,
        index: u32,
        bound_by: BoundBy,
        mut verdict: Verdict,
    ) -> Verdict {
        let mut headers = *headers;
        if let Action::Forward(egress) | Action::Hold(egress) = verdict.action
            && let Err(reason) = self.help(frame, &mut headers, index, Direction::Original, egress)
        {
            // In Linux the helper is asked before the connection is confirmed. The signpost of one that has not begun is let go of
            // with its packet.
            self.table.entries.at_mut(index).status.remove(Status::DELEGATED);
            self.end(index, End::Refused);
            verdict = Verdict { entry: None, ..verdict };
            verdict.refuse(Action::Drop(reason));
        } else if !matches!(verdict.action, Action::Hold(_)) {
            self.rule_counters.count_bound(bound_by);
        }
        if let Action::Forward(_) = verdict.action
            && self.table.entries.at(index).is_translated()
        {
            self.rewrite(frame, &headers, &self.translated(index, Direction::Original));
        }
        self.conclude(frame, &headers, tracked, &mut verdict);
        verdict
    }
}
