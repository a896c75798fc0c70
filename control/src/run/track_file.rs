//! The file by which keepalived knows whether this box may take over (its `track_file`): 1 while another box is active whose connections
//! it does not know, 0 otherwise. systemd writes 2 there when the daemon has ended.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{info, warn};

/// How long a box that has begun waits for its peer to be heard at all.
const FIRST_WORD: Duration = Duration::from_secs(3);

/// How long a box does without taking over, at most: a service that begins anew is better than none.
const PATIENCE: Duration = Duration::from_secs(120);

/// What there is to know of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It has not been heard yet.
    Nothing,
    /// It is active, and not all of its connections are known.
    NotAll,
    /// There is nothing that this box should know and does not.
    All,
}

/// The file.
#[derive(Debug)]
pub struct TrackFile {
    path: PathBuf,
    started: Instant,
    /// Since when the box knows too little.
    since: Option<Instant>,
    /// What is in it, as far as that could be written.
    said: Option<bool>,
}

impl TrackFile {
    /// Of a box that begins now.
    pub fn new(path: PathBuf, now: Instant) -> TrackFile {
        TrackFile { path, started: now, since: None, said: None }
    }

    /// Writes what follows from what is known now, where it is something else than before.
    pub fn write(&mut self, known: Known, now: Instant) {
        let lacks = match known {
            Known::Nothing => now.duration_since(self.started) < FIRST_WORD,
            Known::NotAll => true,
            Known::All => false,
        };
        self.since = lacks.then(|| self.since.unwrap_or(now));
        let is_fit = self.since.is_none_or(|since| now.duration_since(since) >= PATIENCE);
        if self.said == Some(is_fit) {
            return;
        }
        match fs::write(&self.path, if is_fit { "0\n" } else { "1\n" }) {
            Ok(()) if is_fit && lacks => {
                warn!(
                    "ha: not all connections of the other box are known for {PATIENCE:?}; this one may take over without"
                );
            }
            Ok(()) if is_fit => info!("ha: this box may take over"),
            Ok(()) => info!("ha: this box is not to take over yet: it does not know the other's connections"),
            Err(error) if self.said.is_some() => warn!("{}: {error} (ha.track-file)", self.path.display()),
            Err(error) => {
                warn!(
                    "{}: {error} (ha.track-file); keepalived does not hear of this box",
                    self.path.display()
                );
            }
        }
        self.said = Some(is_fit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in the file after each of these.
    fn said(known: &[(u64, Known)]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let (path, begin) = (directory.path().join("track"), Instant::now());
        let mut file = TrackFile::new(path.clone(), begin);
        let read = |(after_s, known): &(u64, Known)| {
            file.write(*known, begin + Duration::from_secs(*after_s));
            fs::read_to_string(&path).unwrap().trim().to_owned()
        };
        known.iter().map(read).collect()
    }

    #[test]
    fn a_box_takes_over_when_it_knows_all_or_nobody_is_there() {
        use Known::{All, NotAll, Nothing};
        assert_eq!(said(&[(0, Nothing), (1, NotAll), (2, All), (9, All), (10, NotAll), (11, All)]), "110010");
        assert_eq!(said(&[(0, Nothing), (2, Nothing), (3, Nothing), (9, NotAll)]), "1101");
    }

    #[test]
    fn a_box_that_never_comes_to_know_all_takes_over_after_a_while() {
        use Known::{All, NotAll};
        let late = PATIENCE.as_secs();
        assert_eq!(said(&[(0, NotAll), (late - 1, NotAll), (late, NotAll), (late + 9, NotAll)]), "1100");
        assert_eq!(said(&[(0, NotAll), (9, All), (late, NotAll), (late + 10, NotAll)]), "1011");
    }
}
