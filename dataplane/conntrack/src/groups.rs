//! Groups: which addresses one box of several answers for at a time, with all connections that go by them.
//!
//! Where a box is on standby for a group, it forwards and answers nothing of it; another box is active. An address belongs to one group for
//! good: what moves between boxes is the role.

use crate::forward::MAX_PORTS;
use crate::ids::{GroupId, PortId};
use crate::time::Instant;
use crate::tuple::{Family, Tuple, number};
use std::net::IpAddr;
use std::time::Duration;

/// Most groups of a box, active and on standby together.
pub const MAX_GROUPS: usize = 32;

/// What a box is for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Another box answers for it, and tells this one of its connections.
    Standby,
    /// This box does.
    Active,
}

/// Some groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupSet(u32);

impl GroupSet {
    /// This group alone.
    pub const fn of(GroupId(group): GroupId) -> Self {
        Self(1 << (group as usize % MAX_GROUPS))
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether a group is one of them.
    pub const fn contains(self, group: GroupId) -> bool {
        self.0 & Self::of(group).0 != 0
    }

    /// These and others.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// These without others.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those of these that are among others.
    #[must_use]
    pub const fn among(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// The first of them.
    pub fn first(self) -> Option<GroupId> {
        (!self.is_empty()).then(|| GroupId(self.0.trailing_zeros() as u8))
    }
}

/// The addresses of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Those that the box has at its ports while it is active, as the port has its own.
    pub addresses: Vec<(PortId, IpAddr)>,
    /// Those that connections are translated to: ranges from the first to the last.
    pub pools: Vec<(IpAddr, IpAddr)>,
    /// Those of hosts whose connections are the group's where they are translated to no address of any: ranges, too.
    pub hosts: Vec<(IpAddr, IpAddr)>,
}

/// For how long a takeover lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// TCP segments of connections that would be translated and that nobody knows are answered by a reset for so long.
    pub resets: Duration,
    /// Connections that the other box has told of and that have been silent are this box's within that time.
    pub adopt: Duration,
}

impl Default for Takeover {
    fn default() -> Self {
        Self { resets: Duration::from_secs(60), adopt: Duration::from_secs(60) }
    }
}

/// Whose addresses are, each range from the first to the last, sorted; none overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges(Vec<(Family, u128, u128, GroupId)>);

impl Ranges {
    fn add(&mut self, id: GroupId, ranges: impl Iterator<Item = (IpAddr, IpAddr)>) {
        self.0.extend(ranges.map(|(first, last)| (Family::of(first), number(first), number(last), id)));
        self.0.sort_unstable();
    }

    fn find(&self, family: Family, address: u128) -> Option<GroupId> {
        let behind = self.0.partition_point(|(of, first, ..)| (*of, *first) <= (family, address));
        let (of, _, last, group) = *self.0.get(behind.checked_sub(1)?)?;
        (of == family && address <= last).then_some(group)
    }
}

/// The groups of a box, ready for look-ups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Their addresses and pools.
    own: Ranges,
    /// Their hosts.
    hosts: Ranges,
    /// Those that have addresses at each port.
    at_ports: [GroupSet; MAX_PORTS],
    /// All that there are.
    all: GroupSet,
    list: Vec<Group>,
    /// What happens when the box becomes active.
    pub takeover: Takeover,
}

impl Groups {
    /// These groups, in the order of their numbers; those behind the [last possible](MAX_GROUPS) are left out.
    pub fn new(mut list: Vec<Group>, takeover: Takeover) -> Self {
        list.truncate(MAX_GROUPS);
        let mut groups = Self { takeover, ..Self::default() };
        for (id, group) in (0..).map(GroupId).zip(&list) {
            groups.all = groups.all.with(GroupSet::of(id));
            for (PortId(port), _) in &group.addresses {
                if let Some(at_port) = groups.at_ports.get_mut(usize::from(*port)) {
                    *at_port = at_port.with(GroupSet::of(id));
                }
            }
            let single = group.addresses.iter().map(|(_, address)| (*address, *address));
            groups.own.add(id, single.chain(group.pools.iter().copied()));
            groups.hosts.add(id, group.hosts.iter().copied());
        }
        groups.list = list;
        groups
    }

    /// All that there are.
    pub const fn all(&self) -> GroupSet {
        self.all
    }

    /// The addresses of a group.
    pub fn get(&self, GroupId(group): GroupId) -> Option<&Group> {
        self.list.get(usize::from(group))
    }

    /// Those that have addresses at a port.
    pub(crate) fn at_port(&self, PortId(port): PortId) -> GroupSet {
        self.at_ports.get(usize::from(port)).copied().unwrap_or_default()
    }

    /// The group of an address, if it has one.
    pub fn of(&self, address: IpAddr) -> Option<GroupId> {
        self.of_number(Family::of(address), number(address))
    }

    /// The same of an address given as its number.
    pub(crate) fn of_number(&self, family: Family, address: u128) -> Option<GroupId> {
        self.own.find(family, address)
    }

    /// The group that two hosts have to do with, if one of them is of one.
    pub(crate) fn of_hosts(&self, family: Family, hosts: [u128; 2]) -> Option<GroupId> {
        hosts.into_iter().find_map(|address| self.hosts.find(family, address))
    }

    /// The group of a connection by the addresses that it is translated to, or that it was made to or from, or else by the hosts at its
    /// ends.
    pub(crate) fn of_addresses(&self, [original, reply]: &[Tuple; 2]) -> Option<GroupId> {
        let family = original.family();
        [reply.dst, original.dst, original.src]
            .into_iter()
            .find_map(|address| self.of_number(family, address))
            .or_else(|| self.of_hosts(family, [original.src, reply.src]))
    }
}

/// The groups of a box, and which of them it is active for.
#[derive(Clone, Copy, Debug)]
pub struct Roles<'a> {
    groups: &'a Groups,
    active: GroupSet,
}

impl<'a> Roles<'a> {
    /// Those.
    pub const fn new(groups: &'a Groups, active: GroupSet) -> Self {
        Self { groups, active }
    }

    /// Whether the box has an address now, if that is one of its own: not one of a group that it is on standby for.
    pub fn has(self, address: IpAddr) -> bool {
        self.groups.of(address).is_none_or(|group| self.active.contains(group))
    }
}

/// What follows when the box becomes active for groups.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Takeovers {
    /// Groups that it became active for of late.
    pub(crate) recent: GroupSet,
    /// When they are so no more.
    pub(crate) until: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn groups() -> Groups {
        let one = Group {
            addresses: vec![(PortId(0), ip("10.0.0.1")), (PortId(1), ip("203.0.113.1"))],
            pools: vec![(ip("203.0.113.16"), ip("203.0.113.31"))],
            hosts: vec![(ip("10.0.1.0"), ip("10.0.1.255"))],
        };
        let other = Group {
            addresses: vec![(PortId(1), ip("203.0.113.2")), (PortId(1), ip("2001:db8::2"))],
            pools: vec![(ip("203.0.113.32"), ip("203.0.113.32"))],
            hosts: vec![(ip("10.0.2.0"), ip("10.0.2.255"))],
        };
        Groups::new(vec![one, other], Takeover::default())
    }

    #[test]
    fn an_address_belongs_to_one_group_or_none() {
        let groups = groups();
        for (address, group) in [
            ("10.0.0.1", Some(0)),
            ("10.0.0.2", None),
            ("203.0.113.2", Some(1)),
            ("203.0.113.15", None),
            ("203.0.113.16", Some(0)),
            ("203.0.113.31", Some(0)),
            ("203.0.113.32", Some(1)),
            ("203.0.113.33", None),
            ("2001:db8::2", Some(1)),
            ("::a00:1", None),
            ("0.0.0.0", None),
        ] {
            assert_eq!(groups.of(ip(address)), group.map(GroupId), "{address}");
        }
        assert_eq!(Groups::default().of(ip("10.0.0.1")), None);
    }

    #[test]
    fn ports_have_the_groups_of_their_addresses() {
        let groups = groups();
        let [one, other] = [0, 1].map(|group| GroupSet::of(GroupId(group)));
        assert_eq!(groups.at_port(PortId(0)), one);
        assert_eq!(groups.at_port(PortId(1)), one.with(other));
        assert!(groups.at_port(PortId(2)).is_empty() && groups.at_port(PortId::LOCAL).is_empty());
        assert_eq!((groups.all(), groups.all().first()), (one.with(other), Some(GroupId(0))));
        assert_eq!(groups.all().without(one).first(), Some(GroupId(1)));
    }

    #[test]
    fn a_connection_belongs_to_the_group_that_it_is_translated_to() {
        let groups = groups();
        let inside = Tuple::new(ip("10.0.0.9"), ip("198.51.100.2"), 6, 4000, 80);
        let reply = Tuple::new(ip("198.51.100.2"), ip("203.0.113.17"), 6, 80, 4000);
        assert_eq!(groups.of_addresses(&[inside, reply]), Some(GroupId(0)));
        assert_eq!(groups.of_addresses(&[inside, inside.invert()]), None);
        let outside = Tuple::new(ip("198.51.100.2"), ip("203.0.113.2"), 6, 4000, 80);
        let server = Tuple::new(ip("10.0.0.8"), ip("198.51.100.2"), 6, 80, 4000);
        assert_eq!(groups.of_addresses(&[outside, server]), Some(GroupId(1)));
        // What is not translated, by the hosts at its ends, whichever has begun.
        for (from, to, group) in [
            ("10.0.1.9", "198.51.100.2", Some(0)),
            ("198.51.100.2", "10.0.2.0", Some(1)),
            ("10.0.1.255", "10.0.2.9", Some(0)),
            ("10.0.3.0", "198.51.100.2", None),
        ] {
            let tuple = Tuple::new(ip(from), ip(to), 6, 4000, 80);
            assert_eq!(groups.of_addresses(&[tuple, tuple.invert()]), group.map(GroupId), "{from} {to}");
        }
        let other = Tuple::new(ip("198.51.100.2"), ip("203.0.113.17"), 6, 80, 4000);
        let host = Tuple::new(ip("10.0.2.9"), ip("198.51.100.2"), 6, 4000, 80);
        assert_eq!(groups.of_addresses(&[host, other]), Some(GroupId(0)), "what it is translated to counts");
        assert_eq!(groups.of(ip("10.0.1.9")), None, "hosts have their addresses themselves");
    }
}
