//! What must hold for the limits of rules.

use std::time::Duration;

use sluice_conntrack::connection_counts::MAX_CONNECTIONS;
use sluice_conntrack::limits::MAX_REFILL;

use crate::config::path::{Path, Problem};
use crate::config::schema::{Connections, Limit, Rule, State};

pub(super) fn check(rule: &Rule, path: &Path) -> Vec<Problem> {
    let limit = rule.limit.iter().flat_map(|limit| packets(limit, &path.join("limit")));
    let counted = rule.connections.iter();
    let counted =
        counted.flat_map(|connections| self::connections(connections, rule, &path.join("connections")));
    limit.chain(counted).collect()
}

fn packets(limit: &Limit, path: &Path) -> Vec<Problem> {
    let mut problems = prefixes(limit.ipv4_prefix, limit.ipv6_prefix, path);
    let too_long =
        || Duration::checked_mul(limit.rate.interval(), limit.burst).is_none_or(|it| it > MAX_REFILL);
    if limit.burst == 0 {
        problems.push(Problem::at(
            path.join("burst"),
            "a limit lets one packet at once through, at least".to_owned(),
        ));
    } else if too_long() {
        let message = format!("{} at {} take longer than 30 days to come again", limit.burst, limit.rate);
        problems.push(Problem::at(path.join("burst"), message));
    }
    problems
}

/// Only packets that open connections are asked about: no other pays for it.
fn connections(connections: &Connections, rule: &Rule, path: &Path) -> Vec<Problem> {
    let mut problems = prefixes(connections.ipv4_prefix, connections.ipv6_prefix, path);
    let states: Vec<State> = rule.state.iter().flat_map(|states| states.iter().copied()).collect();
    if states != [State::New] {
        let message = "connections are counted as they begin".to_owned();
        problems.push(Problem::at(path.clone(), message).expected("`state: new`".to_owned()).on_key());
    }
    if !(1..=MAX_CONNECTIONS).contains(&connections.most) {
        let message = format!("a box has 1 to {MAX_CONNECTIONS} connections");
        problems.push(Problem::at(path.join("most"), message));
    }
    problems
}

/// Lengths of prefixes that there are.
fn prefixes(ipv4: u8, ipv6: u8, path: &Path) -> Vec<Problem> {
    let lengths = [("ipv4-prefix", ipv4, 32), ("ipv6-prefix", ipv6, 128)];
    let too_long = lengths.into_iter().filter(|(_, bits, most)| bits > most);
    too_long
        .map(|(key, _, most)| Problem::at(path.join(key), format!("an address has {most} bits")))
        .collect()
}
