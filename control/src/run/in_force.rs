//! The configuration in force, as it was written: by which file, what its text hashes to, and since when.

use std::fmt::Write as _;
use std::path::PathBuf;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::config::Source;
use crate::socket::protocol::ConfigurationStatus;

/// A text that is in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// The file that it was read from, or that it stands in now.
    pub file: PathBuf,
    /// What it says.
    pub source: Source,
    since: Timestamp,
}

impl InForce {
    /// From now on.
    pub fn now(file: PathBuf, source: Source) -> InForce {
        // Whole seconds are enough, and always are a time.
        let since = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
        InForce { file, source, since }
    }

    /// What is said of it.
    pub fn status(&self) -> ConfigurationStatus {
        ConfigurationStatus {
            file: self.file.clone(),
            sha256: sha256(self.source.text().as_bytes()),
            since: self.since.to_string(),
        }
    }
}

/// As sha256sum(1) prints it.
pub(super) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Config};

    #[test]
    fn the_hash_is_that_of_sha256sum() {
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), known);
        let text = "version: 1\ninterfaces: {a: {device: 'vdev:net_null0'}, b: {device: 'vdev:net_null1'}}\n";
        let (_, source) = config::parse_document::<Config>("box.yaml", text.as_bytes()).unwrap();
        let status = InForce::now(PathBuf::from("/box.yaml"), source).status();
        assert_eq!(status.sha256, sha256(text.as_bytes()));
        assert!(status.since.ends_with('Z') && !status.since.contains('.'), "{}", status.since);
    }
}
