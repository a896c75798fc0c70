//! The groups from the control thread's side: what the box is for each, and who may change that.
//!
//! A box that is started anew takes nothing that another one may have: where one stands by, each begins on standby, and whoever decides
//! between them, as keepalived does, promotes one.

use sluice_conntrack::Configuration;
use sluice_conntrack::groups::Role;
use sluice_conntrack::ids::GroupId;
use sluice_engine::command::RoleChange;
use tracing::{error, info, warn};

use super::workers::Workers;
use crate::config::{Config, Group};
use crate::metrics;
use crate::socket::protocol::{GroupState, GroupStatus, Response};

/// Addresses of a group that are announced, at most: a few seconds' worth of frames.
const MAX_ANNOUNCED: usize = 4096;

/// What the box is for a group.
struct State {
    id: GroupId,
    group: Group,
    role: Role,
    takeovers: u64,
}

impl State {
    fn shown(&self) -> GroupState {
        match self.role {
            Role::Standby => GroupState::Standby,
            Role::Active if self.group.standby.is_none() => GroupState::Standalone,
            Role::Active => GroupState::Active,
        }
    }
}

/// All groups of the box.
pub struct Groups(Vec<State>);

impl Groups {
    /// Those of a configuration, for each of which the box is active from now on if no other one stands by.
    pub fn start(config: &Config, configuration: &Configuration, workers: &mut Workers) -> Groups {
        let groups = config.ha.iter().flat_map(|ha| &ha.groups).cloned();
        let state = |(id, group)| State { id, group, role: Role::Standby, takeovers: 0 };
        let mut groups = Groups((0..).map(GroupId).zip(groups).map(state).collect());
        for state in groups.0.iter_mut().filter(|state| state.group.standby.is_none()) {
            if let Err(why) = set_role(state, Role::Active, configuration, workers) {
                error!("group {}: it cannot be active: {why}", state.group.name);
            }
        }
        groups
    }

    /// Makes the box active for a group, or has it stand by.
    pub fn change(
        &mut self,
        name: &str,
        role: Role,
        is_forced: bool,
        configuration: &Configuration,
        workers: &mut Workers,
    ) -> Result<Response, String> {
        let names: Vec<&str> = self.0.iter().map(|state| state.group.name.as_str()).collect();
        let unknown = match names.as_slice() {
            [] => format!("there is no group `{name}`, nor any other (ha.groups)"),
            names => format!("there is no group `{name}`; the groups are: {}", names.join(", ")),
        };
        let state = self.0.iter_mut().find(|state| state.group.name == name).ok_or(unknown)?;
        if role == Role::Standby && state.group.standby.is_none() && !is_forced {
            return Err(format!("no other box stands by for group `{name}`: --force leaves it to nobody"));
        }
        if state.role != role {
            set_role(state, role, configuration, workers)?;
            state.takeovers += u64::from(role == Role::Active);
        }
        Ok(Response::Groups { groups: self.status() })
    }

    /// What the box is for each.
    pub fn status(&self) -> Vec<GroupStatus> {
        let status = |state: &State| GroupStatus {
            name: state.group.name.clone(),
            state: state.shown(),
            prefer: state.group.prefer.clone(),
            standby: state.group.standby.clone(),
            takeovers: state.takeovers,
        };
        self.0.iter().map(status).collect()
    }

    /// Publishes that.
    pub fn publish(&self) {
        for state in &self.0 {
            metrics::group(&state.group.name, state.role == Role::Active, state.takeovers);
        }
    }
}

/// All workers change it, or none does.
fn set_role(
    state: &mut State,
    role: Role,
    configuration: &Configuration,
    workers: &mut Workers,
) -> Result<(), String> {
    let announced = match role {
        Role::Active => configuration.announced(state.id, MAX_ANNOUNCED),
        Role::Standby => Vec::new(),
    };
    let change = || RoleChange { group: state.id, role, announced: announced.clone() };
    workers.change_role(change).map_err(|why| why.to_string())?;
    state.role = role;
    match role {
        Role::Active => info!("group {}: this box is active", state.group.name),
        Role::Standby => warn!("group {}: this box is on standby", state.group.name),
    }
    Ok(())
}
