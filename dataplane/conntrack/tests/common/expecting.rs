//! What a helper does, without a protocol: tests say what a connection announces.

use super::Pair;
use super::frame::TCP;
use sluice_conntrack::Tuple;
use sluice_conntrack::expectations::{SourceMask, Wanted};
use sluice_conntrack::helpers::HelperId;

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
