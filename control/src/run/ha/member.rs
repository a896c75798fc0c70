//! The groups that a box has a part in, as the threads of its cluster share them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use sluice_conntrack::groups::Role;
use sluice_conntrack::ids::GroupId;

use super::fence::Fencing;
use super::lease::Lease;
use super::shared::{Heard, Spoken};
use crate::config::Ha;
use crate::run::track_file::Known;

/// How the group is called that all connections of a box are of that has none.
const ALL: &str = "all";

/// A group: what this box tells of it and is told.
#[derive(Debug)]
pub struct Member {
    /// Its number, by which workers know it.
    pub id: GroupId,
    /// Its name, by which the boxes know it.
    pub name: String,
    /// The other box, if one has a part in it.
    pub other: Option<String>,
    /// Which of the two is active.
    pub fencing: Arc<Fencing>,
    /// What this box has told.
    pub spoken: Spoken,
    /// What the other one has.
    pub heard: Heard,
}

impl Member {
    fn new(id: GroupId, name: &str, other: Option<&String>, fencing: Fencing) -> Arc<Self> {
        Arc::new(Self {
            id,
            name: name.to_owned(),
            other: other.cloned(),
            fencing: Arc::new(fencing),
            spoken: Spoken::default(),
            heard: Heard::default(),
        })
    }

    /// Those of a box, by their numbers. A box without groups shares all its connections with its only peer.
    pub fn all(ha: &Ha) -> Vec<Arc<Self>> {
        if ha.groups.is_empty() {
            let fencing = Fencing::new(false, false);
            return vec![Self::new(GroupId(0), ALL, ha.peers.keys().next(), fencing)];
        }
        let member = |(id, group): (GroupId, &crate::config::Group)| {
            let is_preferred = group.prefer == ha.name;
            let other = if is_preferred { group.standby.as_ref() } else { Some(&group.prefer) };
            let fencing = Fencing::new(true, is_preferred);
            fencing.lock().lease = other.and(ha.witness.as_ref()).map(|_| Lease::default());
            Self::new(id, &group.name, other, fencing)
        };
        (0..).map(GroupId).zip(&ha.groups).map(member).collect()
    }

    /// What this box knows of the other one's connections, as far as that matters before it takes over.
    pub fn known(&self, now: Instant) -> Known {
        let fence = self.fencing.lock();
        match fence.peer() {
            _ if !fence.follows() || self.other.is_none() => Known::All,
            None => Known::Nothing,
            Some(_) if fence.is_taken(now) && !self.heard.is_synced.load(Relaxed) => Known::NotAll,
            Some(_) => Known::All,
        }
    }

    /// What the other box is, as far as it has said.
    pub fn peer_role(&self) -> Option<Role> {
        self.fencing.lock().peer()
    }
}
