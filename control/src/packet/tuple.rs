//! The tuple by which a frame belongs to a connection: that of its headers, in the zone that it comes to.

use sluice_conntrack::facts::Facts;
use sluice_conntrack::headers::{Headers, Packet, PacketKind};
use sluice_conntrack::{Configuration, PortId, Tuple, wire};

/// What rules see of a packet before it is tracked, its zone among that.
pub fn early_facts(configuration: &Configuration, ingress: PortId, head: &[u8], headers: &Headers) -> Facts {
    let mut facts = Facts::of_packet(Packet { headers, head }, ingress);
    let port = ingress.behind().unwrap_or(ingress);
    let of_port = configuration.zones.get(usize::from(port.0)).copied().unwrap_or_default();
    facts.zone = configuration.policy.zone(&facts).unwrap_or(of_port);
    facts
}

/// The tuple that a frame which comes in by a port is looked up by; `None` where it is not tracked. That of an ICMP error goes its way.
pub fn tuple(configuration: &Configuration, ingress: PortId, frame: Vec<u8>) -> Option<Tuple> {
    let frame = (ingress, frame);
    let headers = wire::parse(&frame).ok()?;
    if !matches!(headers.kind, PacketKind::Tracked | PacketKind::Error) {
        return None;
    }
    let facts = early_facts(configuration, ingress, &frame.1, &headers);
    let selector = headers.tuple.selector.with_zone(facts.zone);
    (!configuration.policy.is_untracked(&facts)).then_some(Tuple { selector, ..headers.tuple })
}
