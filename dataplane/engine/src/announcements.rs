//! What the box says unasked of the addresses of a group that it has become active for: that it has them now (RFC 5227 section 2.3, RFC 4861
//! section 7.2.6). Each is said a few times, for a frame may be lost, and a few at once, for a pool may be large.

use std::net::IpAddr;
use std::time::Duration;

use dpdk::Mempool;
use sluice_conntrack::groups::{GroupSet, MAX_GROUPS, Role};
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::{Forwarding, Instant, PortId, Shard};

use crate::own_addresses::OnLink;
use crate::ports::Ports;
use crate::role_change::RoleChange;

/// How often each address is announced.
const ROUNDS: u8 = 3;

/// From the begin of a round to that of the next.
const PERIOD: Duration = Duration::from_millis(100);

/// Addresses that are announced in one round of a worker.
const AT_ONCE: usize = 16;

/// What is announced of a group.
#[derive(Clone, Debug, Default)]
struct Announcement {
    /// The addresses, each at its port.
    addresses: Vec<(PortId, IpAddr)>,
    /// The next of them.
    next: usize,
    rounds_left: u8,
    /// When the round has begun, or is to begin.
    begins: Instant,
}

/// What is announced of all groups.
#[derive(Debug)]
pub(crate) struct Announcements {
    of_groups: Vec<Announcement>,
    /// The groups that are not done.
    pending: GroupSet,
}

impl Default for Announcements {
    fn default() -> Self {
        Self { of_groups: vec![Announcement::default(); MAX_GROUPS], pending: GroupSet::default() }
    }
}

impl Announcements {
    /// The box has become something else for a group.
    pub(crate) fn change_role(&mut self, now: Instant, change: &mut RoleChange) {
        match change.role {
            Role::Active => self.begin(now, change.group, &mut change.announced),
            Role::Standby => self.pending = self.pending.without(GroupSet::of(change.group)),
        }
    }

    /// Sends what is due through the ports of a router.
    pub(crate) fn send(&mut self, now: Instant, shard: &Shard, ports: &mut Ports, pool: Mempool) {
        let Forwarding::Routed(router) = &shard.configuration().forwarding else { return };
        for (port, own) in self.due(now) {
            let Some(mac) = ports.get(*port).map(|port| port.mac) else { continue };
            let on_link = OnLink { port: *port, mac, router, roles: shard.roles() };
            if let Some(bytes) = on_link.announcement(*own) {
                ports.send_message(*port, &bytes, pool);
            }
        }
    }

    /// Begins to announce these addresses of a group, and leaves those in their place that were announced before.
    fn begin(&mut self, now: Instant, group: GroupId, addresses: &mut Vec<(PortId, IpAddr)>) {
        if let Some(announcement) = self.of_groups.get_mut(usize::from(group.0)) {
            std::mem::swap(&mut announcement.addresses, addresses);
            (announcement.next, announcement.rounds_left, announcement.begins) = (0, ROUNDS, now);
            self.pending = self.pending.with(GroupSet::of(group));
        }
    }

    /// The addresses that are to be announced now, a few at most.
    fn due(&mut self, now: Instant) -> &[(PortId, IpAddr)] {
        if self.pending.is_empty() {
            return &[];
        }
        let mut groups = (0..).map(GroupId).zip(&mut self.of_groups);
        let is_due =
            |(group, it): &(GroupId, &mut Announcement)| self.pending.contains(*group) && it.begins <= now;
        let Some((group, it)) = groups.find(is_due) else { return &[] };
        let first = it.next;
        it.next = (first + AT_ONCE).min(it.addresses.len());
        let last = it.next;
        if last == it.addresses.len() {
            (it.next, it.begins) = (0, it.begins.after(PERIOD).max(now));
            it.rounds_left = it.rounds_left.saturating_sub(1);
            if it.rounds_left == 0 {
                self.pending = self.pending.without(GroupSet::of(group));
            }
        }
        &it.addresses[first..last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(count: u8) -> Vec<(PortId, IpAddr)> {
        (0..count).map(|number| (PortId(0), [203, 0, 113, number].into())).collect()
    }

    fn at(ms: u64) -> Instant {
        Instant::from_ns(ms * 1_000_000)
    }

    #[test]
    fn each_address_is_announced_three_times_100_ms_apart() {
        let mut it = Announcements::default();
        assert!(it.due(at(5)).is_empty());
        it.begin(at(5), GroupId(1), &mut addresses(2));
        let mut said = vec![];
        for ms in 5..1000 {
            if it.due(at(ms)).len() == 2 {
                said.push(ms);
            }
        }
        assert_eq!(said, [5, 105, 205]);
    }

    #[test]
    fn many_addresses_take_several_turns_and_two_groups_do_not_meet() {
        let mut it = Announcements::default();
        it.begin(at(0), GroupId(0), &mut addresses(40));
        it.begin(at(0), GroupId(1), &mut addresses(1));
        let mut turns: Vec<usize> = (0..4).map(|_| it.due(at(0)).len()).collect();
        assert_eq!(turns, [16, 16, 8, 1]);
        let mut change = RoleChange { group: GroupId(0), role: Role::Standby, announced: vec![] };
        it.change_role(at(0), &mut change);
        turns = (1..400).map(|ms| it.due(at(ms)).len()).filter(|len| *len > 0).collect();
        assert_eq!(turns, [1, 1], "the other group's alone");
    }

    #[test]
    fn what_was_announced_before_comes_back() {
        let mut it = Announcements::default();
        let (mut first, mut second) = (addresses(3), addresses(5));
        it.begin(at(0), GroupId(0), &mut first);
        assert!(first.is_empty());
        it.begin(at(0), GroupId(0), &mut second);
        assert_eq!(second.len(), 3);
        it.begin(at(0), GroupId(99), &mut second);
        assert_eq!(second.len(), 3, "there is no such group");
    }
}
