//! What is [followed](super::follow), put in force: a new router is made of it on a thread of its own, however many routes there
//! are, and all workers take it between two bursts. What changes meanwhile waits for the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use sluice_conntrack::{Configuration, PortId};
use tracing::error;

use super::background::{Background, Work};
use super::named_port::NamedPort;
use super::workers::Workers;
use super::{Event, RunError, follow};
use crate::config::{self, Config, Followed, FollowedRoute, Problem, Rerouted};
use crate::metrics;

/// What is followed.
pub struct Rerouting {
    events: SyncSender<Event>,
    /// What each network stack has, as it was heard last.
    latest: Vec<Arc<Followed>>,
    /// Whether that is not in force yet.
    is_new: bool,
    /// The router that is being made, for a configuration of this revision.
    making: Option<(Background<Result<Rerouted, Problem>>, u64)>,
    /// The kernel's routes that are in force.
    pub routes: Vec<FollowedRoute>,
}

impl Rerouting {
    /// Begins to follow the stacks behind the host sides, if the configuration says so.
    ///
    /// # Errors
    /// The system gives no threads.
    pub fn start(
        config: &Config,
        ports: &[NamedPort],
        events: SyncSender<Event>,
    ) -> Result<Rerouting, RunError> {
        let mut stacks: BTreeMap<Option<String>, follow::PortsByIndex> = BTreeMap::new();
        for (number, port) in (0..).map(PortId).zip(ports) {
            if let Some(host) = port.host.as_ref().filter(|_| config.routes.follow.is_some()) {
                stacks.entry(host.place().namespace).or_default().insert(host.index(), number);
            }
        }
        let latest = vec![Arc::default(); stacks.len()];
        for (stack, (namespace, ports)) in stacks.into_iter().enumerate() {
            let events = events.clone();
            let tell = move |followed| events.send(Event::Followed(stack, Arc::new(followed))).is_ok();
            follow::start(namespace, ports, tell)
                .map_err(|why| RunError::Other(format!("routes.follow: {why}")))?;
        }
        Ok(Rerouting { events, latest, is_new: false, making: None, routes: Vec::new() })
    }

    /// Takes up what a stack has, and goes on.
    pub fn hear(&mut self, stack: usize, followed: Arc<Followed>, config: &Config, revision: u64) {
        if let Some(latest) = self.latest.get_mut(stack) {
            self.is_new |= *latest != followed;
            *latest = followed;
        }
        self.go_on(config, revision);
    }

    /// What is followed now.
    pub fn latest(&self) -> Vec<Arc<Followed>> {
        self.latest.clone()
    }

    /// Another configuration has come in force with these routes of the kernel's, by which everything is to be looked at again.
    pub fn configured(&mut self, routes: Vec<FollowedRoute>) {
        self.routes = routes;
        self.is_new = !self.latest.is_empty();
    }

    /// Begins to make a router if there is something new, and none is being made.
    pub fn go_on(&mut self, config: &Config, revision: u64) {
        if self.making.is_some() || !self.is_new {
            return;
        }
        let (config, latest) = (config.clone(), self.latest());
        let make = move || config::reroute(&config, &latest);
        match Background::start("control-routes", self.events.clone(), Work::Routes, make) {
            Ok(making) => {
                self.making = Some((making, revision));
                self.is_new = false;
            }
            Err(why) => error!("routes: nothing was changed: {why}"),
        }
    }

    /// Puts in force with all workers what has been made for a configuration of the file, of this revision, and gives it, unless
    /// another has come in force meanwhile. Why nothing has changed is logged. To be asked behind [`Work::Routes`].
    pub fn finish(
        &mut self,
        (config, revision): (&Config, u64),
        configuration: &Configuration,
        workers: &mut Workers,
    ) -> Option<Arc<Configuration>> {
        let (making, made_for) = self.making.take()?;
        let made = making.join();
        if made_for != revision {
            self.is_new = true;
            return None;
        }
        let made = made.ok_or_else(|| "making a router failed; this is a fault of sluice".to_owned());
        let put = |made: Result<Rerouted, Problem>| {
            let wrong = |problem: Problem| problem.message;
            let Rerouted { router, routes } = made.map_err(wrong)?;
            let next = Arc::new(configuration.with_router(router, config::nat(config).map_err(wrong)?));
            workers.reroute(&next).map_err(|why| why.to_string())?;
            Ok((next, routes))
        };
        match made.and_then(put) {
            Ok((next, routes)) => {
                metrics::rerouted(routes.len());
                self.routes = routes;
                Some(next)
            }
            Err(why) => {
                error!("routes: nothing was changed: {why}");
                None
            }
        }
    }
}
