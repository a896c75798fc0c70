//! The names of streams in the Redis of a box.

use sluice_conntrack::ids::GroupId;

/// The group that all connections are of while a box has none.
pub const GROUP: GroupId = GroupId(0);

/// How that is called.
const GROUP_NAME: &str = "all";

/// The streams of a group of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// What the box tells of its connections.
    pub told: String,
    /// What its peers ask it for.
    pub asked: String,
}

impl Keys {
    /// Those of a box of a cluster.
    pub fn of(cluster: &str, name: &str) -> Self {
        let told = format!("sluice:{cluster}:{name}:{GROUP_NAME}");
        Self { asked: format!("{told}:req"), told }
    }
}
