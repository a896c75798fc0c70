//! A capture as frames, for whoever looks at each of them.

use std::path::Path;

use super::{Failure, capture};

/// A packet of a capture.
#[derive(Clone, Debug)]
pub struct CapturedFrame {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// The Ethernet frame, as far as it was captured.
    pub bytes: Vec<u8>,
}

/// All packets of a capture, up to the first that is damaged.
///
/// # Errors
/// The file cannot be read, or is no capture.
pub fn frames(path: &Path) -> Result<Vec<CapturedFrame>, Failure> {
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
