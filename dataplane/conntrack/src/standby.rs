//! What the box is for its groups ([`crate::groups`]): it forwards and answers nothing of those that it is on standby for.
//!
//! Whether a packet is one of such a group is asked on the slow path, before it is tracked. The fast path need not ask: a change of roles
//! begins a generation, so that no judgement of before holds, and a peer's connections never take it. So a change costs the same whatever the
//! table holds.

use crate::entry::Status;
use crate::forward::{Forwarding, is_link_local, is_many};
use crate::frame::Frame;
use crate::groups::{GroupSet, Role, Roles};
use crate::headers::{Packet, PacketKind};
use crate::ids::GroupId;
use crate::shard::Shard;
use crate::slow_path::Parsed;
use crate::tuple::{address, protocol};
use crate::unconfirmed::Unconfirmed;
use crate::verdict::{Action, DropReason, Rejection};
use crate::wire;
use crate::wire::tcp::{Flags, Segment};

impl Shard {
    /// Changes what the box is for a group, at the time that the shard was told last. Nobody looks at any entry: those of a group that it
    /// becomes active for are its own with their next packet, or as [`Self::expire`] comes to them.
    pub fn set_role(&mut self, group: GroupId, role: Role) {
        if self.foreign.active().contains(group) == (role == Role::Active) {
            return;
        }
        self.foreign.set_role(group, role);
        self.begin_generation();
        let group = GroupSet::of(group);
        match role {
            Role::Active => {
                let takeover = self.configuration.groups.takeover;
                self.takeovers.recent = self.takeovers.recent.with(group);
                self.takeovers.until = self.now.after(takeover.resets);
                self.adoption.begin(self.now);
            }
            Role::Standby => self.takeovers.recent = self.takeovers.recent.without(group),
        }
    }

    /// What the box is for a group.
    pub const fn role(&self, group: GroupId) -> Role {
        if self.foreign.active().contains(group) { Role::Active } else { Role::Standby }
    }

    /// What the box is for all groups.
    pub fn roles(&self) -> Roles<'_> {
        Roles::new(&self.configuration.groups, self.foreign.active())
    }

    /// Whether the box has groups. One that has none pays for no more than this.
    #[inline(always)]
    pub(crate) fn has_groups(&self) -> bool {
        !self.configuration.groups.all().is_empty()
    }

    /// What becomes of the first packet of a connection that is bound, where that must not begin: it is bound to an address of another
    /// box's, or was translated by another box before, and may be lost.
    #[cold]
    #[inline(never)]
    pub(crate) fn refuse_by_role(&mut self, packet: Packet<'_>, unconfirmed: &Unconfirmed) -> Option<Action> {
        let bound_to = self.configuration.groups.of_addresses(&[unconfirmed.original, unconfirmed.reply]);
        if bound_to.is_some_and(|group| self.role(group) == Role::Standby) {
            return Some(Action::Drop(DropReason::Standby));
        }
        let is_lost = self.may_be_lost(packet) && unconfirmed.status().intersects(Status::TRANSLATED);
        is_lost.then(|| self.reset_lost())
    }

    /// The groups that the box is on standby for.
    pub(crate) fn standby(&self) -> GroupSet {
        self.configuration.groups.all().without(self.foreign.active())
    }

    /// Whether an entry is a peer's: of a group that this box is on standby for.
    pub(crate) fn is_foreign(&self, index: u32) -> bool {
        match self.told_for(index) {
            Some(group) => self.role(group) == Role::Standby,
            None if self.standby().is_empty() => false,
            None => {
                let group = self.configuration.group_of(&self.table.entries.tuples(index));
                group.is_some_and(|group| self.role(group) == Role::Standby)
            }
        }
    }

    /// Whether a packet is of a group that the box is on standby for: to an address of it, of a connection of it, from or to a host of it, or
    /// else through a port where no group with addresses is active. What is for the box itself, or for a link, is of none.
    #[cold]
    #[inline(never)]
    pub(crate) fn is_on_standby<F: Frame>(&self, frame: &F, parsed: &Parsed) -> bool {
        if self.standby().is_empty() {
            return false;
        }
        let headers = &parsed.headers;
        let (Some(family), Forwarding::Routed(router)) = (headers.family(), &self.configuration.forwarding)
        else {
            return false;
        };
        let groups = &self.configuration.groups;
        let is_standby = |group| self.role(group) == Role::Standby;
        let (source, destination) = wire::own_addresses(Packet { headers, head: frame.head() });
        if let Some(group) = groups.of_number(family, destination) {
            return is_standby(group);
        }
        if frame.port().is_local() {
            return groups.of_number(family, source).is_some_and(is_standby);
        }
        let destination = address(family, destination);
        if is_many(family, crate::tuple::number(destination))
            || is_link_local(destination)
            || router.is_own(destination)
        {
            return false;
        }
        let found = match headers.kind {
            PacketKind::Tracked => {
                parsed.found.unwrap_or_else(|| self.table.search(&parsed.key, &headers.tuple))
            }
            _ => None,
        };
        let known = found.and_then(|(index, _)| {
            self.told_for(index).or_else(|| groups.of_addresses(&self.table.entries.tuples(index)))
        });
        let hosts = [source, crate::tuple::number(destination)];
        match known.or_else(|| groups.of_hosts(family, hosts)) {
            Some(group) => is_standby(group),
            None => {
                let here = groups.at_port(frame.port());
                !here.is_empty() && here.among(self.foreign.active()).is_empty()
            }
        }
    }

    /// Whether a box that has taken over of late gets a segment of a connection that it does not know, and that would be another one
    /// behind its translation: it is not picked up in mid-stream then.
    fn may_be_lost(&self, packet: Packet<'_>) -> bool {
        !self.takeovers.recent.is_empty() && self.now < self.takeovers.until && is_in_mid_stream(packet)
    }

    /// Whether that is so for a packet to the outside of a translation.
    #[cold]
    #[inline(never)]
    pub(crate) fn is_lost_outside(&self, packet: Packet<'_>) -> bool {
        let Packet { headers, .. } = packet;
        self.may_be_lost(packet)
            && headers
                .family()
                .and_then(|family| self.configuration.groups.of_number(family, headers.tuple.dst))
                .is_some_and(|group| self.takeovers.recent.contains(group))
    }

    /// What becomes of such a segment: its sender is told by a reset that the connection is no more.
    #[cold]
    pub(crate) fn reset_lost(&mut self) -> Action {
        self.counters.unknown_resets += 1;
        Action::Reject(DropReason::Takeover, Rejection::TcpReset)
    }
}

/// Whether a packet is a segment that neither opens nor resets a connection over TCP.
fn is_in_mid_stream(packet: Packet<'_>) -> bool {
    packet.headers.protocol == protocol::TCP
        && Segment::parse(&packet).is_some_and(|segment| !segment.flags.intersects(Flags::SYN | Flags::RST))
}
