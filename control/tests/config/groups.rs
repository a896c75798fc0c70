//! What is said of groups of addresses that another box may answer for.

use super::*;

const BOXES: &str =
    "cluster: edge, box: a, engine: {url: 'unix:///r'}, peers: {b: {url: 'redis://10.99.0.12:6380'}}";

/// A router with these groups, what else is said of the cluster, and these rules of source NAT.
fn file(groups: &str, rest: &str, nat: &str) -> String {
    format!(
        "version: 1\n\
         interfaces:\n\
         \x20 inside: {{device: 'vdev:net_null0', addresses: [10.0.0.2/24]}}\n\
         \x20 outside: {{device: 'vdev:net_null1'}}\n\
         nat: {{source: [{nat}]}}\n\
         ha: {{{BOXES}, groups: [{groups}]{rest}}}\n"
    )
}

fn group(name: &str, rest: &str) -> String {
    format!("{{name: {name}, prefer: a, standby: b, {rest}}}")
}

const ADDRESSES: &str = "addresses: {inside: 10.0.0.1/24, outside: [203.0.113.1/24, '2001:db8::1/64']}";

#[test]
fn a_group_brings_its_addresses_to_interfaces_and_rules() {
    let routes = "\nroutes: [{to: 0.0.0.0/0, via: 203.0.113.254, dev: outside}]";
    let text = file(&group("g1", ADDRESSES), ", takeover: {resets: 30s}", "{out: outside, masquerade: true}");
    let config = parse(&(text + routes)).unwrap();
    assert_eq!(parse(&config::to_yaml(&config)), Ok(config.clone()));
    assert_eq!(config.forwarding(), config::Forwarding::Routed);
    let pool = format!("{ADDRESSES}, nat: [203.0.113.16/28], share: 50%");
    let rule = "{out: outside, to: [203.0.113.16-203.0.113.19, 203.0.113.1]}";
    assert!(parse(&file(&group("g1", &pool), "", rule)).is_ok());
    assert!(parse(&file("{name: g, prefer: a, addresses: {inside: 10.0.0.1/24}}", "", "")).is_ok());
}

#[test]
fn the_samples_of_two_boxes_are_right_and_have_the_same_group() {
    let read = |name: &str| {
        let path = format!("{}/../deploy/two-boxes/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        config::read(std::path::Path::new(&path)).unwrap_or_else(|error| panic!("{error}")).ha.unwrap()
    };
    let [a, b] = ["a", "b"].map(read);
    assert_eq!(a.groups, b.groups);
    assert!(a.peers.contains_key(&b.name) && b.peers.contains_key(&a.name));
}

#[test]
fn the_samples_of_three_boxes_have_each_group_twice_and_alike() {
    let read = |name: &str| {
        let path = format!("{}/../deploy/three-boxes/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        config::read(std::path::Path::new(&path)).unwrap_or_else(|error| panic!("{error}")).ha.unwrap()
    };
    let boxes = ["a", "b", "c"].map(read);
    let all: Vec<_> = boxes.iter().flat_map(|it| it.groups.iter().map(|group| (&it.name, group))).collect();
    assert_eq!(all.len(), 2 * 4);
    for (name, group) in &all {
        assert_eq!(all.iter().filter(|(_, other)| other == group).count(), 2, "{}", group.name);
        assert!(group.prefer == **name || group.standby.as_ref() == Some(*name));
    }
}

#[test]
fn the_sample_over_tls_is_that_of_its_box_but_for_how_the_boxes_reach_each_other() {
    let read = |name: &str| {
        let path = format!("{}/../deploy/three-boxes/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        config::read(std::path::Path::new(&path)).unwrap_or_else(|error| panic!("{error}"))
    };
    let (plain, mut over_tls) = (read("a"), read("a-tls"));
    let (before, ha) = (plain.ha.clone().unwrap(), over_tls.ha.as_mut().unwrap());
    assert_eq!(ha.engine.user.as_ref(), Some(&ha.name));
    for (name, peer) in &mut ha.peers {
        assert!(matches!(peer.url, config::EngineUrl::Tls(_)) && peer.user.as_ref() == Some(&before.name));
        assert!(
            peer.password_file.is_some() && peer.ca.is_some() && peer.cert.is_some() && peer.key.is_some()
        );
        let at = peer.url.to_string().replace("rediss:", "redis:");
        assert_eq!(at, before.peers[name].url.to_string());
    }
    (ha.engine, ha.peers) = (before.engine, before.peers);
    assert_eq!(over_tls, plain);
}

#[test]
fn what_is_wrong_with_a_group_is_said() {
    let second = |rest: &str| group("g1", ADDRESSES) + ", " + &group("g2", rest);
    let share = |share: &str, last: u8| format!("share: {share}, addresses: {{inside: 10.0.0.{last}/24}}");
    for (groups, nat, said) in [
        (second("addresses: {outside: 203.0.113.1/24}"), "", "203.0.113.1 is in group `g1` already"),
        (
            second("addresses: {outside: 203.0.113.3/24}, nat: [203.0.113.0/29]"),
            "",
            "203.0.113.0-203.0.113.7 is in group `g1` already",
        ),
        (
            group("g1", &format!("{ADDRESSES}, hosts: [10.1.0.0/16]"))
                + ", "
                + &group("g2", "addresses: {outside: 203.0.113.3/24}, hosts: [10.0.0.0/24, 10.1.2.0/24]"),
            "",
            "10.1.2.0-10.1.2.255 is in group `g1` already",
        ),
        (group("g1", ADDRESSES) + ", " + &group("g1", "addresses: {}"), "", "another group is named `g1`"),
        (group("g1", "addresses: {}"), "", "a group without addresses has no traffic"),
        (group("g1", "addresses: {insider: 10.0.0.1/24}"), "", "there is no interface `insider`"),
        (group("g1", "addresses: {inside: 10.0.0.2/24}"), "", "interface `inside` has the address 10.0.0.2"),
        (
            "{name: g, prefer: a, standby: c, addresses: {inside: 10.0.0.1/24}}".to_owned(),
            "",
            "`c` is neither this box (ha.box) nor one of `ha.peers`",
        ),
        (
            "{name: g, prefer: a, standby: a, addresses: {inside: 10.0.0.1/24}}".to_owned(),
            "",
            "`a` is preferred already",
        ),
        (
            "{name: g, prefer: b, addresses: {inside: 10.0.0.1/24}}".to_owned(),
            "",
            "this box, `a`, is neither its `prefer` nor its `standby`",
        ),
        (group("g 1", ADDRESSES), "", "`g 1` cannot be a group's name"),
        (
            group("g1", ADDRESSES),
            "{out: outside, to: 203.0.113.99}",
            "203.0.113.99 is in no group, so that no other box could go on",
        ),
        (
            group("g1", &(ADDRESSES.to_owned() + ", nat: [203.0.113.16/28]")),
            "{out: outside, to: 203.0.113.10-203.0.113.20}",
            "203.0.113.10-203.0.113.20 is in no group",
        ),
        (
            second("addresses: {outside: 203.0.113.2/24}"),
            "{name: out, out: outside, to: [203.0.113.1, 203.0.113.2]}",
            "rule `out` has addresses of the groups `g1` and `g2`",
        ),
        (
            second("addresses: {outside: 203.0.113.2/24}"),
            "{out: outside, masquerade: true}",
            "several groups have addresses at `outside`",
        ),
        (
            group("g1", &share("60%", 1)) + ", " + &group("g2", &share("41%", 3)),
            "",
            "the shares of all groups come to 101% of the table",
        ),
        (group("g1", &share("0%", 1)), "", "`0%` is not a part of a hundred"),
    ] {
        let message = refusal(&file(&groups, "", nat));
        assert!(message.contains(said), "{groups}: {message}");
    }
    let wire = with(&format!("forwarding: wire\nha: {{{BOXES}, groups: [{}]}}", group("g", "addresses: {}")));
    assert!(refusal(&wire).contains("a wire has no addresses that another box could answer for"));
}
