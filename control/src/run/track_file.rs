//! The files by which keepalived knows whether this box may take over (its `track_file`): 1 while another box is active whose connections
//! it does not know, 0 otherwise. systemd writes 2 there when the daemon has ended. A group may have one of its own.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::Ha;

/// How long a box that has begun waits for its peer to be heard at all.
const FIRST_WORD: Duration = Duration::from_secs(3);

/// How long a box does without taking over, at most: a service that begins anew is better than none.
const PATIENCE: Duration = Duration::from_secs(120);

/// What there is to know of the peer of a group, from what is best on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    /// There is nothing that this box should know and does not.
    All,
    /// It has not been heard yet.
    Nothing,
    /// It is active, and not all of its connections are known.
    NotAll,
}

/// The files of a box, each with the numbers of the groups that it is about: its own, or all that have no file of their own.
#[derive(Debug, Default)]
pub struct TrackFiles {
    files: Vec<(TrackFile, Vec<usize>)>,
}

impl TrackFiles {
    /// Those of a box that begins now.
    pub fn of(ha: Option<&Ha>, now: Instant) -> TrackFiles {
        let Some(ha) = ha else { return TrackFiles::default() };
        let own = |index: usize| ha.groups.get(index)?.track_file.as_ref();
        // A box without groups has one that all connections are of.
        let numbers = 0..ha.groups.len().max(1);
        let of_groups = numbers.clone().map(|index| (own(index), vec![index]));
        let rest = numbers.filter(|index| own(*index).is_none()).collect();
        let named = of_groups.chain([(ha.track_file.as_ref(), rest)]);
        let named = named.filter_map(|(path, of)| Some((TrackFile::new(path?.clone(), now), of)));
        TrackFiles { files: named.collect() }
    }

    /// Writes what follows from what is known now of the connections of each group.
    pub fn write(&mut self, known: &[Known], now: Instant) {
        for (file, of) in &mut self.files {
            let worst = of.iter().filter_map(|index| known.get(*index)).max();
            file.write(worst.copied().unwrap_or(Known::All), now);
        }
    }
}

/// A file.
#[derive(Debug)]
struct TrackFile {
    path: PathBuf,
    started: Instant,
    /// Since when the box knows too little.
    since: Option<Instant>,
    /// What is in it, as far as that could be written.
    said: Option<bool>,
}

impl TrackFile {
    /// Of a box that begins now.
    fn new(path: PathBuf, now: Instant) -> TrackFile {
        TrackFile { path, started: now, since: None, said: None }
    }

    /// Writes what follows from what is known now, where it is something else than before.
    fn write(&mut self, known: Known, now: Instant) {
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
        let path = self.path.display();
        match fs::write(&self.path, if is_fit { "0\n" } else { "1\n" }) {
            Ok(()) if is_fit && lacks => {
                warn!(
                    "ha: {path}: not all connections of the other box are known for {PATIENCE:?}; this one may take over without"
                );
            }
            Ok(()) if is_fit => info!("ha: {path}: this box may take over"),
            Ok(()) => {
                info!(
                    "ha: {path}: this box is not to take over yet: it does not know the other's connections"
                );
            }
            Err(error) if self.said.is_some() => warn!("{path}: {error} (track-file)"),
            Err(error) => {
                warn!("{path}: {error} (track-file); keepalived does not hear of this box");
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
    fn a_groups_own_file_says_nothing_of_the_others() {
        use Known::{All, NotAll, Nothing};
        let (directory, now) = (tempfile::tempdir().unwrap(), Instant::now());
        let file = |name: &str, of| (TrackFile::new(directory.path().join(name), now), of);
        let mut files = TrackFiles { files: vec![file("second", vec![1]), file("rest", vec![0, 2])] };
        for (known, second, rest) in [
            ([All, NotAll, All], "1", "0"),
            ([NotAll, All, All], "0", "1"),
            ([All, All, Nothing], "0", "1"),
            ([All, All, All], "0", "0"),
        ] {
            files.write(&known, now);
            let said =
                ["second", "rest"].map(|name| fs::read_to_string(directory.path().join(name)).unwrap());
            assert_eq!(said.each_ref().map(|said| said.trim()), [second, rest], "{known:?}");
        }
    }

    #[test]
    fn a_box_that_never_comes_to_know_all_takes_over_after_a_while() {
        use Known::{All, NotAll};
        let late = PATIENCE.as_secs();
        assert_eq!(said(&[(0, NotAll), (late - 1, NotAll), (late, NotAll), (late + 9, NotAll)]), "1100");
        assert_eq!(said(&[(0, NotAll), (9, All), (late, NotAll), (late + 10, NotAll)]), "1011");
    }
}
