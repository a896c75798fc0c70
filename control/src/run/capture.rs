//! `sluice capture`: packets themselves, as they come in and as they leave, each with what was decided about it.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sluice_conntrack::PortId;
use sluice_engine::command::Unanswered;
use sluice_engine::watch::{Decided, MAX_SNAP_BYTES, Sides, Snap, WatchedPacket, egress};

use super::journal::JournalPage;
use super::trace::outcome;
use super::watches::{Watched, Watches};
use super::workers::Workers;
use crate::config::Config;
use crate::rehearsal::Names;
use crate::socket::protocol::{CapturePage, CaptureRequest, CapturedPacket, Response};

/// The packets that were captured from a number on; without a number none, from when on there are some.
pub fn answer(
    watches: &mut Watches,
    workers: &mut Workers,
    config: &Config,
    names: impl FnOnce() -> Names,
    request: &CaptureRequest,
) -> Result<Response, Unanswered> {
    let filter = match request.lower(config) {
        Ok(filter) => filter,
        Err(message) => return Ok(Response::Error { message }),
    };
    let snap_bytes = request.snap_bytes.map_or(MAX_SNAP_BYTES, |bytes| bytes as usize);
    // A worker keeps some bytes of what it watches: so many that the headers can be read, which the comment is made of.
    let watched = Watched { filter: filter.clone(), snap_bytes: snap_bytes.max(LEAST_SNAP_BYTES) };
    let captured = |_, packet: &WatchedPacket, at, names: &Names| {
        let Decided { ingress, verdict, .. } = &packet.decided;
        let Sides { received, sent } = filter.sides_of(*ingress, verdict);
        let comment = outcome(packet, names).to_string();
        let side = |port: PortId, sent: bool, snap: &Snap| CapturedPacket {
            time_ns: nanoseconds(at),
            interface: names.interface(port).to_owned(),
            sent,
            len: snap.len,
            bytes: BASE64_STANDARD.encode(snap.bytes.get(..snap_bytes).unwrap_or(&snap.bytes)),
            comment: comment.clone(),
        };
        let came = received.then(|| side(*ingress, false, &packet.came));
        let left = egress(verdict).filter(|_| sent).map(|port| side(port, true, &packet.became));
        came.into_iter().chain(left)
    };
    Ok(match watches.page(workers, names, watched, request.from, captured)? {
        Ok(JournalPage { lines, lost, next }) => {
            Response::Capture(CapturePage { packets: lines, lost, next })
        }
        Err(message) => Response::Error { message },
    })
}

/// All headers of nearly every packet.
const LEAST_SNAP_BYTES: usize = 256;

/// Since 1970.
fn nanoseconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64
}
