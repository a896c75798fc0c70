//! Connections whose translation gets stale: a configuration that takes the place of another one would give them another, if they began
//! by it.
//!
//! They go on with the one that they have, as in Linux: what a connection's first packet was given holds for all of it. Whether rules
//! may give a translation is found out without drawing one, so that of a pool any address counts as the connection's.

use crate::configuration::Configuration;
use crate::connection_counts::Counter;
use crate::cut::Change;
use crate::entry::Status;
use crate::facts::Facts;
use crate::ids::PortId;
use crate::limits::Limiter;
use crate::policy::Outcome;
use crate::shard::Shard;
use crate::tuple::{Direction, protocol};

impl Shard {
    /// Whether a connection has a translation, or has none, by the configuration in force, and would have another by the one that takes its
    /// place. One that did not begin by rules, but by what its master or a mapping of its server's says, is none of those, and neither is one
    /// that would not begin at all.
    pub(crate) fn gets_stale(&self, index: u32, change: &Change) -> bool {
        let status = self.table.entries.at(index).status;
        if !change.may_translate_otherwise() || status.intersects(Status::EXPECTED.union(Status::EIF)) {
            return false;
        }
        let is_given = |configuration, port| self.is_given_by(configuration, index, port);
        let ports = self.ways_in(index, Direction::Original, &change.before.forwarding);
        let mut given = ports.into_iter().filter(|port| is_given(&change.before, *port) == Some(true));
        let is_stale = |port| is_given(&change.after, port) == Some(false);
        given.next().is_some_and(is_stale) && given.all(is_stale)
    }

    /// Whether rules may give a connection what it has, if it begins with a packet by a port; `None` where that does not pass.
    fn is_given_by(&self, configuration: &Configuration, index: u32, ingress: PortId) -> Option<bool> {
        let [original, reply] = self.table.entries.tuples(index);
        let has_destination = self.table.entries.at(index).status.contains(Status::DST_NAT);
        let first = Facts::of_first(&original, ingress);
        if !configuration.may_lead(&first, &original, &reply).unwrap_or(!has_destination) {
            return Some(false);
        }
        let egress = configuration.forwarding.way_out(ingress, &original, reply.src)?;
        let mut seen = Facts { egress: Some(egress.port), ..first };
        if has_destination {
            let has_ports = protocol::has_ports(original.protocol());
            seen.set_translated_destination(reply.src, has_ports.then(|| reply.selector.sport()));
        }
        let limiter = Limiter { limits: &self.limits, now: self.now, again: true };
        let mut counted = self.table.counted(index);
        let mut counter = Counter::looking(&self.connection_counts, &mut counted);
        let decision = configuration.policy.judge(&mut seen, &limiter, &mut counter).decision;
        if matches!(configuration.policy.outcome(decision).0, Outcome::Drop | Outcome::Reject) {
            return None;
        }
        Some(configuration.may_offer((&first, &seen), &egress, &original, &reply))
    }
}
