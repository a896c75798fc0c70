//! What a helper does, without a protocol: tests say what a connection announces.

use super::Pair;
use super::frame::{TCP, UDP};
use sluice_conntrack::expectations::{ChildNat, Limits, SourceMask, Wanted};
use sluice_conntrack::helpers::HelperId;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Shard, Tuple, Verdict};
use std::net::IpAddr;
use std::slice;

/// The tuple of a TCP segment.
pub fn tuple(pair: Pair) -> Tuple {
    let Pair { source, destination } = pair;
    Tuple::new(source.ip(), destination.ip(), TCP, source.port(), destination.port())
}

/// That a connection like this is expected, from any port, once.
pub fn wanted(child: Pair) -> Wanted {
    Wanted {
        tuple: tuple(child),
        source: SourceMask::AnyPort,
        class: 0,
        one_shot: true,
        timeout_ms: 300_000,
        nat: None,
        helper: Some(HelperId::Ftp),
    }
}

/// What a packet has announced.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// Original tuple of its connection.
    pub master: Tuple,
    /// From where to where a child comes, from any port.
    pub from: IpAddr,
    pub to: (IpAddr, u16),
    /// Source and destination that it gets, and the port of that.
    pub becomes: (IpAddr, IpAddr, u16),
}

/// Expects a datagram at this port of whoever has sent a packet, from whomever it goes to, if it is to leave: one for each connection.
/// Where that cannot be the packet is dropped.
pub fn announce(shard: &mut Shard, port: u16, verdict: &mut Verdict) -> Option<Announced> {
    let id = verdict.entry.filter(|_| matches!(verdict.action, Action::Forward(_)))?;
    let mut entry = None;
    shard.list(id.index, 1, |_, found| entry = Some(found));
    let EntrySnapshot { original, reply, .. } = entry?;
    let mut wanted = Wanted {
        tuple: Tuple::new(reply.source(), reply.destination(), UDP, 0, port),
        nat: Some(ChildNat::following(&original, port)),
        ..wanted(Pair::of(reply.source(), 0, reply.destination(), port))
    };
    let is_public = reply.destination() != original.source();
    let public = if is_public { shard.port_to_announce_for(&original, &wanted)? } else { port };
    wanted.tuple.selector = wanted.tuple.selector.with_dport(public);
    let limits = Limits { of_class: 1, ..Limits::default() };
    if let Err(reason) = shard.expect_for(&original, &wanted, limits)? {
        shard.count_drops(reason.into(), 1);
        *verdict = Verdict::dropped(reason.into());
        return None;
    }
    shard.hold_back(slice::from_mut(verdict));
    Some(Announced {
        master: original,
        from: reply.source(),
        to: (reply.destination(), public),
        becomes: (original.destination(), original.source(), port),
    })
}
