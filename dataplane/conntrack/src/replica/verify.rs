//! Verifying: whether this box would let a connection begin that a peer tells of. A peer with another policy, or a hostile one, gains nothing
//! then that the policy here does not give.

use super::record::{Connection, RecordStatus};
use super::{NotInstalled, Origin};
use crate::configuration::Verify;
use crate::connection_counts::{Counted, Counter};
use crate::facts::Facts;
use crate::forward::Forwarding;
use crate::ids::PortId;
use crate::limits::Limiter;
use crate::policy::Outcome;
use crate::shard::Shard;
use crate::tuple::{address, protocol};

impl Shard {
    /// The connection of a record as it may be here: with the mark that the rules give it, where a peer is to be verified.
    ///
    /// # Errors
    /// The policy would not let it begin, or no packet of it has a way here.
    pub(super) fn verified(
        &self,
        connection: &Connection,
        origin: Origin,
    ) -> Result<Connection, NotInstalled> {
        if origin == Origin::Own || self.configuration.verify == Verify::None {
            return Ok(*connection);
        }
        // Whoever has text of a connection changed says what its ends read.
        if connection.status.contains(RecordStatus::SHIFTED) {
            return Err(NotInstalled::Policy);
        }
        let mut facts = self.facts_of_first(connection).ok_or(NotInstalled::Policy)?;
        let policy = &self.configuration.policy;
        // It takes no part of any limit: its first packet has, where it came.
        let limiter = Limiter { limits: &self.limits, now: self.now, again: true };
        let mut counted = Counted::new();
        let mut counter = Counter::new(&self.connection_counts, &mut counted);
        let judgement = policy.judge(&mut facts, &limiter, &mut counter);
        // Connections are counted by what walks the rules for their packets.
        counted.iter().for_each(|key| self.connection_counts.give_back(*key));
        match policy.outcome(judgement.decision) {
            (Outcome::Accept | Outcome::Synproxy, _) => {
                Ok(Connection { mark: facts.mark().unwrap_or(0), ..*connection })
            }
            (Outcome::Drop | Outcome::Reject, _) => Err(NotInstalled::Policy),
        }
    }

    /// What rules would see of its first packet, behind the translation of its destination: of one that comes by the port that its client
    /// is behind, and leaves by the one that its server is behind. `None` where there is no such way.
    fn facts_of_first(&self, connection: &Connection) -> Option<Facts> {
        let Connection { original, reply, status, .. } = connection;
        let (ingress, egress) = self.way_of(connection)?;
        let mut facts = Facts::of_first(original, ingress);
        if status.contains(RecordStatus::DST_NAT) {
            let has_ports = protocol::has_ports(original.protocol());
            let (to, port) = (reply.src, has_ports.then(|| reply.selector.sport()));
            match self.configuration.may_lead(&facts, original, reply) {
                Some(true) => facts.set_translated_destination(to, port),
                Some(false) | None => facts.set_destination(to, port),
            }
        }
        facts.egress = Some(egress);
        Some(facts)
    }

    /// The ports by which its first packet would come and leave.
    fn way_of(&self, connection: &Connection) -> Option<(PortId, PortId)> {
        let Forwarding::Routed(router) = &self.configuration.forwarding else { return None };
        let family = connection.original.family();
        let [client, server] =
            [connection.original.src, connection.reply.src].map(|number| address(family, number));
        match [client, server].map(|end| router.port_towards(end)) {
            [Some(ingress), Some(egress)] => Some((ingress, egress)),
            [Some(ingress), None] if router.is_own(server) => Some((ingress, router.local_side(ingress))),
            [None, Some(egress)] if router.is_own(client) => Some((router.local_side(egress), egress)),
            _ => None,
        }
    }
}
