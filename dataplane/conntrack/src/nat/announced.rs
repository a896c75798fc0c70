//! Ports outside that a helper may announce for a client: where a child of a translated connection is expected.
//!
//! A shard has but the ports for that which it owns by address and port alone, as for mappings, so that no two shards announce
//! the same.

use super::compiled::CompiledRules;
use super::mapping::half;
use super::ports::{choices, draw_from};
use super::rules::PortChoice;
use super::search::hash_of;
use super::state::NatState;
use super::used_ports::around;
use crate::steer::Steering;
use crate::tuple::{Tuple, protocol};

/// Ports that are proposed for one child, at most: as many as Linux tries.
const MAX_PROPOSED: usize = 128;

/// Whether nobody uses the port that is the destination of a child's tuple.
pub(crate) fn is_unused(nat: &NatState, child: &Tuple) -> bool {
    let port = child.selector.dport();
    nat.pools().next_free(child, port..=port, |_| u64::MAX) == Some(port)
}

/// Ports at which a child can be expected that comes to an address outside, the destination of its tuple: that which
/// the tuple says, if the address has it by the rules, then others that nobody uses.
pub(crate) fn ports_to_announce(
    nat: &NatState,
    rules: &CompiledRules,
    steering: &Steering,
    child: &Tuple,
) -> impl Iterator<Item = u16> {
    let wanted = child.selector.dport();
    let ports = rules.ports_of(child.family(), child.dst);
    let range = match child.protocol() {
        // Ids of calls are ports to nobody else.
        protocol::GRE => 1..=u16::MAX,
        _ => choices(child, wanted, ports.unwrap_or(&PortChoice::Preserve)).unwrap_or(wanted..=wanted),
    };
    let base = steering.endpoint_base(&half(child.dst, 0, child.selector));
    let own = move |word| steering.own_ports(base, word);
    let kept = range.contains(&wanted).then_some(wanted..=wanted);
    let drawn = around(&range, draw_from(&range, hash_of(nat.hasher(), child)));
    let next = move |from: u16, to: u16| nat.pools().next_free(child, from..=to, own);
    let parts = kept.into_iter().chain(drawn).flat_map(move |part| {
        let (first, last) = part.into_inner();
        let following = move |port: &u16| port.checked_add(1).and_then(|from| next(from, last));
        std::iter::successors(next(first, last), following)
    });
    parts.take(MAX_PROPOSED)
}
