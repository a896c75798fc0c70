//! From the groups of the file to those that a shard knows.

use std::time::Duration;

use sluice_conntrack::groups::{Group, Groups, Takeover};
use sluice_conntrack::ids::GroupId;

use crate::config::schema::{self, Config, Ha};
use crate::config::values::{AddressRange, InterfaceAddress};

/// How much of the table the groups have whose share nobody says: the rest is for connections of the box itself.
const ALL_SHARES: u32 = 90;

/// The groups of a configuration, in the order of the file.
pub(super) fn groups(config: &Config) -> Groups {
    let Some(ha) = &config.ha else { return Groups::default() };
    let group = |group: &schema::Group| {
        let addresses = group.addresses.iter().flat_map(|(name, list)| {
            let port = config.port(name);
            list.iter().filter_map(move |InterfaceAddress(own)| Some((port?, own.addr())))
        });
        let ranges = |list: &[AddressRange]| list.iter().map(|range| (range.first, range.last)).collect();
        Group { addresses: addresses.collect(), pools: ranges(&group.nat), hosts: ranges(&group.hosts) }
    };
    let seconds = |of: crate::config::values::Seconds| Duration::from_secs(of.0.into());
    let takeover = Takeover { resets: seconds(ha.takeover.resets), adopt: seconds(ha.takeover.adopt) };
    Groups::new(ha.groups.iter().map(group).collect(), takeover)
}

/// How many connections of each group a shard with room for so many entries keeps for a peer.
pub fn quotas(ha: &Ha, entries: u32) -> impl Iterator<Item = (GroupId, u32)> {
    let said: u32 = ha.groups.iter().filter_map(|group| group.share).map(|share| u32::from(share.0)).sum();
    let unsaid = ha.groups.iter().filter(|group| group.share.is_none()).count() as u32;
    let rest = ALL_SHARES.saturating_sub(said) / unsaid.max(1);
    (0..).map(GroupId).zip(&ha.groups).map(move |(id, group)| {
        let share = group.share.map_or(rest, |share| share.0.into());
        (id, (u64::from(entries) * u64::from(share) / 100) as u32)
    })
}

#[cfg(test)]
mod tests {
    use super::super::lower;
    use super::*;

    const BOXES: &str =
        "cluster: edge, box: a, engine: {url: 'unix:///r'}, peers: {b: {url: 'redis://10.0.0.2:1'}}";

    fn config(groups: &str, nat: &str) -> Config {
        let text = format!(
            "version: 1\nforwarding: routed\n\
             interfaces: {{inside: {{device: 'vdev:net_null0'}}, outside: {{device: 'vdev:net_null1'}}}}\n\
             nat: {{source: [{nat}]}}\n\
             ha: {{{BOXES}, groups: [{groups}]}}"
        );
        crate::config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn a_groups_addresses_are_the_boxs_own_and_the_first_at_their_ports() {
        let config = config(
            "{name: g, prefer: a, standby: b, addresses: {inside: 10.0.0.1/24, outside: [203.0.113.1/24]}, nat: [203.0.113.8/31]}",
            "{out: outside, masquerade: true}",
        );
        let lowered = lower(&config).unwrap();
        let id = |text: &str| lowered.groups.of(text.parse().unwrap());
        for own in ["10.0.0.1", "203.0.113.1", "203.0.113.8", "203.0.113.9"] {
            assert_eq!(id(own), Some(GroupId(0)), "{own}");
        }
        assert_eq!(id("203.0.113.10"), None);
        let own = ["10.0.0.1", "203.0.113.1"].map(|text| text.parse::<std::net::IpAddr>().unwrap());
        assert_eq!(lowered.source_addresses(), own);
        assert_eq!(lowered.announced(GroupId(0), 9).len(), 2, "the pool is of no rule");
    }

    #[test]
    fn groups_share_the_table_and_leave_room_for_the_box() {
        let group = |name: &str, share: &str, last: u8| {
            format!(
                "{{name: {name}, prefer: a, standby: b, {share} addresses: {{inside: 10.0.{last}.1/24, outside: 203.0.{last}.1/24}}}}"
            )
        };
        let file = config(&[group("x", "", 1), group("y", "", 2)].join(", "), "");
        let quotas = |config: &Config| -> Vec<u32> {
            super::quotas(config.ha.as_ref().unwrap(), 1000).map(|(_, quota)| quota).collect()
        };
        assert_eq!(quotas(&file), [450, 450]);
        let file = config(&[group("x", "share: 80%,", 1), group("y", "", 2)].join(", "), "");
        assert_eq!(quotas(&file), [800, 100]);
    }
}
