//! What workers are told when the box becomes something else for a group.

use std::net::IpAddr;

use sluice_conntrack::PortId;
use sluice_conntrack::groups::Role;
use sluice_conntrack::ids::GroupId;

/// What a box becomes for a group.
#[derive(Debug)]
pub struct RoleChange {
    /// The group.
    pub group: GroupId,
    /// What it is for it from now on.
    pub role: Role,
    /// The addresses that it announces as its own, each at its port, where it becomes active. As an answer: those that were announced before.
    pub announced: Vec<(PortId, IpAddr)>,
}
