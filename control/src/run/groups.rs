//! The groups from the control thread's side: what the box is for each, and who may change that.
//!
//! A box that is started anew takes nothing that another one may have: where one stands by, each begins on standby, and whoever decides
//! between them, as keepalived does, promotes one. What the other box says of itself is [heeded](Groups::heed_peer): a box does not become
//! active while it hears another one that is, and of two that are active one steps back ([`super::ha::Fencing`]).

use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use sluice_conntrack::Configuration;
use sluice_conntrack::groups::Role;
use sluice_conntrack::ids::GroupId;
use sluice_engine::command::RoleChange;
use tracing::{error, info, warn};

use super::ha::Fencing;
use super::workers::Workers;
use crate::config::{Config, Group};
use crate::metrics;
use crate::socket::protocol::{GroupState, GroupStatus, Response};

/// Addresses of a group that are announced, at most: a few seconds' worth of frames.
const MAX_ANNOUNCED: usize = 4096;

/// How often is looked whether another box is still heard, where this one is to take its place.
pub const PAUSE: Duration = Duration::from_millis(5);

/// How long a box that is stopped waits for its peer to have been told all.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// Has all workers change what the box is for a group, or none.
pub type Change<'a> = &'a mut dyn FnMut(GroupId, Role) -> Result<(), String>;

/// What the box is for a group.
struct State {
    id: GroupId,
    group: Group,
    role: Role,
    /// Whether the box was promoted last, and not demoted.
    is_promoted: bool,
    /// Whether that was by force, whatever a witness says.
    is_forced: bool,
    /// What its peer and this box tell each other of it.
    fencing: Option<Arc<Fencing>>,
    takeovers: u64,
    depositions: u64,
    /// Whether it became active since that was last asked.
    has_become_active: bool,
}

impl State {
    fn shown(&self) -> GroupState {
        match self.role {
            Role::Standby if self.is_promoted => GroupState::Waiting,
            Role::Standby => GroupState::Standby,
            Role::Active if self.group.standby.is_none() => GroupState::Standalone,
            Role::Active => GroupState::Active,
        }
    }

    /// Why the box cannot be active now, if it cannot.
    fn hindrance(&self, now: Instant) -> Option<&'static str> {
        let fence = self.fencing.as_ref()?.lock();
        match (fence.is_taken(now), fence.may_take(now)) {
            (true, _) => Some("another box says that it is active"),
            (false, false) => {
                Some("the other box's host does not answer yet, nor is the witness' lease this box's")
            }
            (false, true) => None,
        }
    }

    fn set_role(&mut self, role: Role, change: Change<'_>) -> Result<(), String> {
        change(self.id, role)?;
        self.role = role;
        self.has_become_active |= role == Role::Active;
        match role {
            Role::Active => info!("group {}: this box is active", self.group.name),
            Role::Standby => warn!("group {}: this box is on standby", self.group.name),
        }
        Ok(())
    }

    /// The box becomes active.
    fn take(&mut self, change: Change<'_>) -> Result<(), String> {
        if let Some(fencing) = &self.fencing {
            fencing.lock().take();
        }
        let done = self.set_role(Role::Active, change);
        if let (Err(_), Some(fencing)) = (&done, &self.fencing) {
            fencing.lock().stand_by();
        }
        done
    }

    /// The box is on standby from now on: its workers first, then the peer hears of it, at once or behind all that is yet to be told.
    fn leave(&mut self, hands_over: bool, change: Change<'_>) -> Result<(), String> {
        if let Some(fencing) = &self.fencing {
            fencing.lock().leave();
        }
        let done = self.set_role(Role::Standby, change);
        if let Some(fencing) = &self.fencing {
            let mut fence = fencing.lock();
            match done {
                Ok(()) if hands_over => fence.hand_over(),
                Ok(()) => fence.stand_by(),
                Err(_) => fence.stay(),
            }
        }
        done
    }

    /// Steps back, or becomes active, by what the peer says.
    fn heed_peer(&mut self, now: Instant, change: Change<'_>) -> Result<(), String> {
        let Some(fencing) = &self.fencing else { return Ok(()) };
        let mut fence = fencing.lock();
        let (is_deposed, is_offered, is_alone) = (fence.is_deposed(), fence.is_offered(), fence.take_alone());
        let is_free = !fence.is_taken(now) && fence.may_take(now);
        let is_cut_off = fence.is_cut_off(now) && !self.is_forced;
        fence.want(self.is_promoted && self.role == Role::Standby, now);
        drop(fence);
        if is_cut_off {
            warn!("group {}: this box reaches neither the other one nor the witness", self.group.name);
            self.leave(false, change)?;
        } else if is_deposed {
            warn!("group {}: another box is active by a higher term", self.group.name);
            self.leave(false, change)?;
            self.depositions += 1;
        } else if self.role == Role::Standby && (is_offered || self.is_promoted && is_free) {
            self.take(change)?;
            (self.is_promoted, self.takeovers) = (true, self.takeovers + 1);
        } else if is_alone {
            // Neighbours may have heard the other one last.
            change(self.id, Role::Active)?;
        }
        Ok(())
    }
}

/// All groups of the box.
pub struct Groups(Vec<State>);

impl Groups {
    /// Those of a configuration, for each of which the box is active from now on if no other one stands by. What peers say of them is in
    /// `fencings`, by their numbers.
    pub fn start(config: &Config, fencings: &[Arc<Fencing>], change: Change<'_>) -> Groups {
        let groups = config.ha.iter().flat_map(|ha| &ha.groups).cloned();
        let state = |(id, group): (GroupId, _)| State {
            id,
            group,
            role: Role::Standby,
            is_promoted: false,
            is_forced: false,
            fencing: fencings.get(usize::from(id.0)).cloned(),
            takeovers: 0,
            depositions: 0,
            has_become_active: false,
        };
        let mut groups = Groups((0..).map(GroupId).zip(groups).map(state).collect());
        for state in groups.0.iter_mut().filter(|state| state.group.standby.is_none()) {
            if let Err(why) = state.take(change) {
                error!("group {}: it cannot be active: {why}", state.group.name);
            }
        }
        groups
    }

    /// Makes the box active for a group, as soon as no other one is, or has it stand by.
    pub fn change(
        &mut self,
        name: &str,
        role: Role,
        is_forced: bool,
        now: Instant,
        change: Change<'_>,
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
        state.is_forced = is_forced && role == Role::Active;
        if role == Role::Active
            && state.role != role
            && !is_forced
            && let Some(why) = state.hindrance(now)
        {
            state.is_promoted = true;
            return Err(format!(
                "{why} for group `{name}`: this one waits until that changes; --force does not wait"
            ));
        }
        if state.role != role {
            match role {
                Role::Active => state.take(change)?,
                Role::Standby => state.leave(true, change)?,
            }
            state.takeovers += u64::from(role == Role::Active);
        }
        state.is_promoted = role == Role::Active;
        Ok(Response::Groups { groups: self.status() })
    }

    /// Whether the box is to take the place of another one that is active yet.
    pub fn is_waiting(&self) -> bool {
        self.0.iter().any(|state| state.shown() == GroupState::Waiting)
    }

    /// Does what follows from what another box says of itself.
    pub fn heed_peer(&mut self, now: Instant, change: Change<'_>) {
        for state in &mut self.0 {
            if let Err(why) = state.heed_peer(now, change) {
                error!("group {}: it stays as it is: {why}", state.group.name);
            }
        }
    }

    /// Leaves to another box that is heard what this one is active for: it goes on with all connections while this one is not there.
    pub fn hand_over(&mut self, change: Change<'_>) {
        let now = Instant::now();
        let is_heard = |fencing: &Arc<Fencing>| fencing.lock().hears(now);
        let mut leaving = Vec::new();
        for state in self.0.iter_mut().filter(|state| state.role == Role::Active) {
            if let Some(fencing) = state.fencing.clone().filter(is_heard)
                && state.leave(true, change).is_ok()
            {
                leaving.push(fencing);
            }
        }
        while leaving.iter().any(|fencing| fencing.lock().is_handing_over()) && now.elapsed() < LAST_WORDS {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether it has become active for a group since this was last asked.
    pub fn has_become_active(&mut self) -> bool {
        self.0.iter_mut().map(|state| mem::take(&mut state.has_become_active)).filter(|has| *has).count() > 0
    }

    /// Whether it stands by for a group.
    pub fn is_standby(&self, id: GroupId) -> bool {
        self.0.iter().any(|state| state.id == id && state.role == Role::Standby)
    }

    /// What the box is for each.
    pub fn status(&self) -> Vec<GroupStatus> {
        let status = |state: &State| GroupStatus {
            name: state.group.name.clone(),
            state: state.shown(),
            prefer: state.group.prefer.clone(),
            standby: state.group.standby.clone(),
            takeovers: state.takeovers,
            depositions: state.depositions,
        };
        self.0.iter().map(status).collect()
    }

    /// Publishes that.
    pub fn publish(&self) {
        for state in &self.0 {
            let is_active = state.role == Role::Active;
            metrics::group(&state.group.name, is_active, state.takeovers, state.depositions);
        }
    }
}

/// Changes roles on all workers of the packet path.
pub fn on_workers<'a>(
    configuration: &'a Configuration,
    workers: &'a mut Workers,
) -> impl FnMut(GroupId, Role) -> Result<(), String> + 'a {
    move |group, role| {
        let announced = match role {
            Role::Active => configuration.announced(group, MAX_ANNOUNCED),
            Role::Standby => Vec::new(),
        };
        let change = || RoleChange { group, role, announced: announced.clone() };
        workers.change_role(change).map_err(|why| why.to_string())
    }
}

#[cfg(test)]
mod tests;
