//! A capture as frames, for whoever looks at each of them.

use std::path::Path;

use sluice_conntrack::PortId;

use super::{Failure, ReplayInput, capture};
use crate::config::Config;

/// A packet of a capture.
#[derive(Clone, Debug)]
pub struct CapturedFrame {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// The Ethernet frame, as far as it was captured.
    pub bytes: Vec<u8>,
}

/// The packets of captures that come in by interfaces, in the order of their stamps.
///
/// # Errors
/// There is no such interface, or a file cannot be read or is no capture: in a sentence.
pub fn captured(config: &Config, inputs: &[ReplayInput]) -> Result<Vec<(PortId, CapturedFrame)>, String> {
    let mut all = Vec::new();
    for ReplayInput { interface, file } in inputs {
        let port = config.port(interface);
        let port = port.ok_or_else(|| format!("--in: there is no interface `{interface}`"))?;
        let frames = frames(file).map_err(|why| why.to_string())?;
        all.extend(frames.into_iter().map(|frame| (port, frame)));
    }
    all.sort_by_key(|(_, frame)| frame.time_ns);
    Ok(all)
}

/// All packets of a capture, up to the first that is damaged.
fn frames(path: &Path) -> Result<Vec<CapturedFrame>, Failure> {
    let mut frames = Vec::new();
    let read = capture::read(
        path,
        |_| {},
        |record| {
            let mut bytes = Vec::new();
            record.link.frame(record.bytes, &mut bytes);
            frames.push(CapturedFrame { time_ns: record.time_ns, bytes });
            Ok(())
        },
    );
    read.map_err(|error| Failure::file("read", path, error))?;
    Ok(frames)
}
