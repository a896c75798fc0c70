//! What is said of groups on the control socket.

use serde::{Deserialize, Serialize};
use sluice_conntrack::groups::Role;

/// What a box is for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GroupState {
    /// Another box answers for it, or is to.
    Standby,
    /// The same, as long as that one is heard to be active: this box was promoted and takes its place then.
    Waiting,
    /// This box does.
    Active,
    /// This box does, and no other stands by.
    Standalone,
}

impl GroupState {
    /// As listings show it.
    pub fn name(self) -> &'static str {
        match self {
            GroupState::Standby => "standby",
            GroupState::Waiting => "waiting",
            GroupState::Active => "active",
            GroupState::Standalone => "standalone",
        }
    }
}

impl From<Role> for GroupState {
    fn from(role: Role) -> GroupState {
        match role {
            Role::Standby => GroupState::Standby,
            Role::Active => GroupState::Active,
        }
    }
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// What this box is for it.
    pub state: GroupState,
    /// The box that is active for it while all is well.
    pub prefer: String,
    /// The box that takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<String>,
    /// How often this box became active.
    pub takeovers: u64,
    /// How often it stepped back because another one was active by a higher term.
    pub depositions: u64,
}
