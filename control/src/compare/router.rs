//! What Linux has to be told to be the router that a configuration describes: lines of `ip -batch`, and sysctls.

use std::fmt::Write as _;

use crate::config::{Config, Forwarding, InterfaceAddress, RpFilter};

/// Commands for ip(8), one a line, once each interface has a TAP of its name, be it a VLAN or not. No neighbour is ever asked for (`arp
/// off`): every frame that leaves is addressed to the interface itself.
///
/// # Errors
/// The kernel cannot be such a box.
pub fn commands(config: &Config) -> Result<String, String> {
    if config.forwarding() != Forwarding::Routed {
        return Err("a wire has no counterpart in the kernel: only what routes can be compared".to_owned());
    }
    let mut lines = "link set lo up\n".to_owned();
    for (name, interface) in &config.interfaces {
        // Writing to a String cannot fail.
        let _ = writeln!(lines, "link set {name} arp off mtu {} up", interface.mtu);
        for InterfaceAddress(own) in &interface.addresses {
            let nodad = if own.addr().is_ipv6() { " nodad" } else { "" };
            let _ = writeln!(lines, "address add {own} dev {name}{nodad}");
        }
    }
    for route in &config.routes.list {
        let via = route.via.map(|via| format!(" via {via} onlink")).unwrap_or_default();
        let _ = writeln!(lines, "route add {}{via} dev {}", route.prefix().0.trunc(), route.dev);
    }
    Ok(lines)
}

/// Sysctls by their paths under /proc/sys, before there is any interface.
pub fn sysctls(config: &Config) -> Vec<(String, String)> {
    let conntrack = &config.conntrack;
    let on = |on: bool| u8::from(on).to_string();
    let mut sysctls = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv6/conf/default/accept_dad", "0"),
        // All errors are sent, since it is seen by them that a packet was refused.
        ("net/ipv4/icmp_ratelimit", "0"),
        ("net/ipv4/icmp_msgs_per_sec", "1000000"),
        ("net/ipv4/conf/all/send_redirects", "0"),
        ("net/ipv4/conf/default/send_redirects", "0"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv6/icmp/ratelimit", "0"),
    ]
    .map(|(path, value)| (path.to_owned(), value.to_owned()))
    .to_vec();
    sysctls.extend([
        ("net/netfilter/nf_conntrack_checksum".to_owned(), on(conntrack.checksum)),
        ("net/netfilter/nf_conntrack_tcp_be_liberal".to_owned(), on(conntrack.tcp.be_liberal)),
        ("net/netfilter/nf_conntrack_tcp_loose".to_owned(), on(conntrack.tcp.loose)),
    ]);
    sysctls
}

/// Sysctls of the interfaces, once they are there.
pub fn interface_sysctls(config: &Config) -> Vec<(String, String)> {
    let filter = |filter| match filter {
        RpFilter::Strict => "1".to_owned(),
        RpFilter::Loose => "2".to_owned(),
    };
    let filters = config.interfaces.iter().filter_map(|(name, interface)| {
        Some((format!("net/ipv4/conf/{name}/rp_filter"), filter(interface.rp_filter?)))
    });
    filters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const BOX: &str = "version: 1
interfaces:
  lan: { device: vdev:net_tap0, addresses: [10.0.0.1/24, 2001:db8::1/64], mtu: 1400 }
  guests: { device: vlan:lan.20, addresses: [10.20.0.1/24], mtu: 1280 }
  wan: { device: vdev:net_tap1, addresses: [203.0.113.1/24], rp-filter: strict }
routes: [{ to: 0.0.0.0/0, via: 203.0.113.254, dev: wan }]
";

    #[test]
    fn the_kernel_becomes_the_box_of_the_file() {
        let config = config::parse("box.yaml", BOX.as_bytes()).unwrap();
        let lines = "link set lo up
link set guests arp off mtu 1280 up
address add 10.20.0.1/24 dev guests
link set lan arp off mtu 1400 up
address add 10.0.0.1/24 dev lan
address add 2001:db8::1/64 dev lan nodad
link set wan arp off mtu 1500 up
address add 203.0.113.1/24 dev wan
route add 0.0.0.0/0 via 203.0.113.254 onlink dev wan
";
        assert_eq!(commands(&config).as_deref(), Ok(lines));
        assert_eq!(interface_sysctls(&config), [("net/ipv4/conf/wan/rp_filter".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn a_wire_is_refused() {
        let wire = "version: 1\ninterfaces: { a: { device: vdev:net_tap0 }, b: { device: vdev:net_tap1 } }\n";
        assert!(
            commands(&config::parse("wire.yaml", wire.as_bytes()).unwrap()).unwrap_err().contains("wire")
        );
    }
}
