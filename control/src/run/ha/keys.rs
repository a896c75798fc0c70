//! The names of streams in the Redis of a box.

/// The streams of a group of a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// What the box tells of the group's connections.
    pub told: String,
    /// What the other box of the group asks it for.
    pub asked: String,
}

impl Keys {
    /// Those of a group of a box of a cluster.
    pub fn of(cluster: &str, name: &str, group: &str) -> Self {
        let told = format!("sluice:{cluster}:{name}:{group}");
        Self { asked: format!("{told}:req"), told }
    }
}
