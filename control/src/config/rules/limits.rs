//! What must hold for the limits of rules.

use std::time::Duration;

use sluice_conntrack::limits::MAX_REFILL;

use crate::config::path::{Path, Problem};
use crate::config::schema::Rule;

pub(super) fn check(rule: &Rule, path: &Path) -> Vec<Problem> {
    let Some(limit) = &rule.limit else { return Vec::new() };
    let path = path.join("limit");
    let mut problems = Vec::new();
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
    for (key, bits, most) in [("ipv4-prefix", limit.ipv4_prefix, 32), ("ipv6-prefix", limit.ipv6_prefix, 128)]
    {
        if bits > most {
            problems.push(Problem::at(path.join(key), format!("an address has {most} bits")));
        }
    }
    problems
}
