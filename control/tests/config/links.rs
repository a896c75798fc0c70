//! What is said of the links of the box: its host side, routes and neighbours.

use super::*;

#[test]
fn the_box_itself_is_local() {
    let to_box = "policy: {rules: [{out: local, action: accept}]}";
    let from_box = to_box.replace("out:", "in:");
    assert!(parse(&with(to_box)).is_ok());
    assert!(refusal(&with(&from_box)).contains("no interface has a host side"));
    let hosted = |host: &str| with(&from_box).replace("net_null0'", &format!("net_null0', host: {host}"));
    let routed = |host: &str| format!("{}\nforwarding: routed", hosted(host));
    for host in ["true", "{namespace: routing}"] {
        assert!(parse(&routed(host)).is_ok(), "{}", refusal(&routed(host)));
        let resolved = parse(&routed(host)).unwrap();
        assert_eq!(parse(&config::to_yaml(&resolved)), Ok(resolved));
    }
    for (host, said) in [
        ("false", "expected true, or no such key"),
        ("routing", "expected true, or a mapping (namespace)"),
        ("{namespace: a/b}", "cannot be the name of a network namespace"),
        ("{namespaces: a}", "namespace"),
        ("{}", "namespace"),
    ] {
        let message = refusal(&routed(host));
        assert!(message.contains(said), "{host}: {message}");
    }
    assert!(refusal(&hosted("true")).contains("a wire has no host side"));
    let taken = "version: 1\ninterfaces: {eth1: {device: 'vdev:net_af_packet0,iface=eth1', host: true}}";
    assert!(refusal(taken).contains("the kernel has an interface `eth1` already"));
    assert!(parse(&taken.replace("true", "{namespace: routing}")).is_ok());
    let named = "version: 1\ninterfaces: {local: {device: 'vdev:net_null0'}}";
    assert!(refusal(named).contains("cannot be an interface's name"));
}

#[test]
fn routes_are_followed_where_a_host_side_is() {
    let file = |host: &str| {
        format!(
            "version: 1\ninterfaces: {{a: {{device: 'vdev:net_null0', addresses: [10.0.0.1/24]{host}}}}}\nroutes: {{follow: host}}"
        )
    };
    assert!(parse(&file(", host: true")).is_ok());
    let message = refusal(&file(""));
    assert!(message.contains("no interface has a host side whose routes could be followed"), "{message}");
    assert!(message.contains("give one `host: true`"), "{message}");
}

#[test]
fn routes_and_neighbours_are_on_a_link() {
    let file = |rest: &str| {
        let interface = "{device: 'vdev:net_null0', addresses: [10.0.0.1/24]}";
        format!("version: 1\ninterfaces: {{a: {interface}}}\n{rest}")
    };
    let neighbour = |rest: &str| {
        file(&format!("neighbours: [{{address: 10.0.0.2, mac: '02:00:00:00:00:02', dev: a}}{rest}]"))
    };
    assert!(parse(&neighbour("")).is_ok());
    for (wrong, said) in [
        (
            neighbour(", {address: 10.0.0.2, mac: '02:00:00:00:00:03', dev: a}"),
            "there is a neighbour 10.0.0.2 already",
        ),
        (neighbour("").replace("10.0.0.2", "10.9.9.9"), "10.9.9.9 is in no network of interface `a`"),
        (neighbour("").replace("dev: a", "dev: b"), "there is no interface `b`"),
        (neighbour("").replace("02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff"), "is the address of many hosts"),
        (file("routes: [{to: 224.0.0.0/4, dev: a}]"), "multicast is not forwarded"),
        (
            with("forwarding: wire\nneighbours: [{address: 10.0.0.2, mac: '02:00:00:00:00:02', dev: a}]"),
            "has no use for neighbours",
        ),
    ] {
        let message = refusal(&wrong);
        assert!(message.contains(said), "{message}");
    }
}

#[test]
fn a_vlan_is_on_the_link_of_another_interface() {
    let file = |vlan: &str, rest: &str| {
        format!(
            "version: 1\ninterfaces:\n  trunk: {{device: 'vdev:net_null0', mtu: 1400}}\n  lab: {{device: 'vlan:trunk.7', addresses: [10.7.0.1/24], mtu: 1400}}\n  wan.100: {{{vlan}}}\n{rest}"
        )
    };
    let wan = "device: 'vlan:trunk.100', addresses: [203.0.113.1/24], mtu: 1400, host: true";
    let config = parse(&file(wan, "")).unwrap();
    assert_eq!(parse(&config::to_yaml(&config)), Ok(config));
    let bare = "version: 1\ninterfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vlan:a.5'}}";
    assert!(
        config::to_yaml(&config::resolved(parse(bare).unwrap())).contains("forwarding: routed"),
        "no wire"
    );
    for (vlan, rest, said) in [
        ("device: 'vlan:trank.100'", "", "there is no interface `trank`"),
        ("device: 'vlan:trank.100'", "", "did you mean `trunk`?"),
        ("device: 'vlan:trunk.4095'", "", "`4095` is not the number of a VLAN: those are 1 to 4094"),
        ("device: 'vlan:trunk.7', mtu: 1400", "", "interface `lab` has this device already"),
        ("device: 'vlan:lab.8', mtu: 1400", "", "tags in tags (QinQ, IEEE 802.1ad) are not supported"),
        ("device: 'vlan:trunk.8'", "", "the MTU of `trunk` is 1400"),
        ("device: 'vlan:trunk.8', mtu: 1400", "forwarding: wire", "a wire passes frames with all their tags"),
    ] {
        let message = refusal(&file(vlan, rest));
        assert!(message.contains(said), "{vlan}: {message}");
    }
}
