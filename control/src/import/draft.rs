//! A configuration in the making: its sections, each rule with what it comes of, and what `sluice check` would refuse taken out.

use std::rc::Rc;

use super::report::{Effect, Origin, Report};
use super::sections::{Item, effect};
use crate::config::{self, Config, Helpers, Path, Problem, Route, Rule, Step};

/// The sections that are lists, beside the rest of the configuration.
pub(super) struct Draft {
    /// The rest; the lists are those below.
    pub config: Config,
    /// Routes.
    pub routes: Vec<Item<Route>>,
    /// Packets that are not tracked.
    pub untracked: Vec<Item<Rule>>,
    /// Zones.
    pub zones: Vec<Item<Rule>>,
    /// Helpers.
    pub helpers: Vec<Item<config::HelperRule>>,
    /// Rules that translate destinations.
    pub destination: Vec<Item<config::NatRule>>,
    /// Rules that translate sources.
    pub source: Vec<Item<config::NatRule>>,
    /// The policy.
    pub policy: Vec<Item<Rule>>,
}

/// The values of a list, without what they come of.
fn values<T: Clone>(items: &[Item<T>]) -> Vec<T> {
    items.iter().map(|(item, _)| item.clone()).collect()
}

impl Draft {
    /// The whole configuration.
    pub(super) fn config(&self) -> Config {
        let mut config = self.config.clone();
        config.routes.list = values(&self.routes);
        config.untracked = values(&self.untracked);
        config.zones = values(&self.zones);
        config.helpers = Helpers::List(values(&self.helpers));
        config.nat.destination = values(&self.destination);
        config.nat.source = values(&self.source);
        config.policy.rules = values(&self.policy);
        config
    }

    /// Takes out what would be refused, and says so.
    ///
    /// # Errors
    /// What is refused cannot be taken out.
    pub(super) fn settle(&mut self, report: &mut Report) -> Result<(), String> {
        loop {
            let mut problems = config::check(&self.config());
            if problems.is_empty() {
                return Ok(());
            }
            // From behind, so that places stay true; of several problems of one rule the first is said.
            problems.sort_by_key(|problem| std::cmp::Reverse(place(&problem.path)));
            let mut last = None;
            for problem in problems {
                let place = place(&problem.path);
                if last != Some(place.clone()) {
                    self.take_out(&problem, report)?;
                }
                last = Some(place);
            }
        }
    }

    fn take_out(&mut self, problem: &Problem, report: &mut Report) -> Result<(), String> {
        let (section, index) = place(&problem.path);
        let refused = || Err(format!("{}: {}", problem.path, problem.message));
        let Some(index) = index else { return refused() };
        let keys: Vec<&str> = section.iter().map(String::as_str).collect();
        let taken = match keys.as_slice() {
            ["routes"] => take(&mut self.routes, index, |_| Effect::Other),
            ["untracked"] => take(&mut self.untracked, index, |_| Effect::Other),
            ["zones"] => take(&mut self.zones, index, |_| Effect::Other),
            ["helpers"] => take(&mut self.helpers, index, |_| Effect::Other),
            ["nat", "destination"] => take(&mut self.destination, index, |_| Effect::Other),
            ["nat", "source"] => take(&mut self.source, index, |_| Effect::Other),
            ["policy", "rules"] => {
                take(&mut self.policy, index, |rule| rule.action.map_or(Effect::Other, effect))
            }
            _ => return refused(),
        };
        match taken {
            Some((Some(origin), effect)) => report.left(&origin, effect, problem.message.clone()),
            Some((None, _)) => {}
            None => return refused(),
        }
        Ok(())
    }
}

/// The section that a problem is in, and the rule of it.
fn place(path: &Path) -> (Vec<String>, Option<usize>) {
    let mut section = Vec::new();
    for step in path.steps() {
        match step {
            Step::Key(key) => section.push(key.clone()),
            Step::Index(index) => return (section, Some(*index)),
        }
    }
    (section, None)
}

fn take<T>(
    items: &mut Vec<Item<T>>,
    index: usize,
    effect: impl Fn(&T) -> Effect,
) -> Option<(Option<Rc<Origin>>, Effect)> {
    (index < items.len()).then(|| {
        let (item, origin) = items.remove(index);
        let effect = effect(&item);
        (origin, effect)
    })
}
