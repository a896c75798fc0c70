//! The state directory: what outlives the daemon. systemd makes it and names it (`StateDirectory=`, `STATE_DIRECTORY`).
//!
//! It has the last configuration that was in force, as [`LAST_GOOD`], so that a start with a file that is wrong goes on
//! with that instead of leaving the network without its middlebox; what its sets have from files it has in files beside it, since those may
//! be what is wrong. And it has the key that translated connections draw their
//! ports by, as [`NAT_KEY`]: those that go on when the daemon has started anew draw the same again. From a stop to the next start it has
//! the connections themselves ([`CONNECTIONS`]).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use tracing::warn;

use super::in_force::sha256;
use crate::config::{self, Config};
use crate::replace::replace;

/// The file of the last configuration that was in force, every default written out.
pub const LAST_GOOD: &str = "last-good.yaml";

/// How the files of its sets begin and end; what is between says what is in them.
const SET: [&str; 2] = ["last-good-", ".set"];

/// The file of the key of translation, for the daemon alone.
pub const NAT_KEY: &str = "nat-key";

/// The file of the connections that there were when the daemon was stopped.
pub const CONNECTIONS: &str = "connections";

/// For the daemon and its group.
const DIRECTORY_MODE: u32 = 0o750;

/// The directory.
#[derive(Clone, Debug)]
pub struct StateDirectory(PathBuf);

impl StateDirectory {
    /// At this path; it is made where there is none.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> io::Result<StateDirectory> {
        fs::DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        Ok(StateDirectory(path.to_owned()))
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The key of translation, which is made at the first start, and again where the file is damaged.
    ///
    /// # Errors
    /// The file can be neither read nor written, or the system gives no random numbers.
    pub fn nat_key(&self) -> io::Result<[u64; 4]> {
        match fs::read(self.file(NAT_KEY)) {
            Ok(bytes) => {
                if let Ok(key) = <[u8; 32]>::try_from(bytes) {
                    return Ok(words(key));
                }
                warn!("{}: damaged, made anew", self.file(NAT_KEY).display());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        // It may be read by its owner alone, as every file that is nascent.
        self.write(NAT_KEY, &key)?;
        Ok(words(key))
    }

    /// Replaces a file by another in one step: after a crash it is the one or the other, whole.
    ///
    /// # Errors
    /// The disk is full, or the directory may not be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.write_by(name, |file| file.write_all(bytes))
    }

    /// The same with what `write` writes; gives what that gives.
    ///
    /// # Errors
    /// Those, and what `write` fails by: then the old file stays.
    pub fn write_by<T>(
        &self,
        name: &str,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<T>,
    ) -> io::Result<T> {
        replace(&self.file(name), |file| {
            let mut file = BufWriter::new(file);
            let written = write(&mut file)?;
            file.flush()?;
            Ok(written)
        })
    }
}

/// Writes a configuration, every default written out, and files of what is in its sets, in front of it: at any time it and its sets are there,
/// whole.
///
/// # Errors
/// The disk is full, or the directory may not be written.
fn write_last_good(directory: &StateDirectory, mut config: Config) -> io::Result<()> {
    let mut sets = BTreeSet::new();
    for set in config.sets.values_mut().filter(|set| set.file.is_some()) {
        let mut text = String::new();
        for prefix in set.elements.list() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{prefix}");
        }
        let name = SET.join(&sha256(text.as_bytes()));
        if !directory.file(&name).exists() {
            directory.write(&name, text.as_bytes())?;
        }
        // Seen from the configuration's own directory.
        set.file = Some(PathBuf::from(&name));
        sets.insert(name);
    }
    directory.write(LAST_GOOD, config::to_yaml(&config).as_bytes())?;
    let [begin, end] = SET;
    for file in fs::read_dir(&directory.0)? {
        let name = file?.file_name().to_string_lossy().into_owned();
        if name.starts_with(begin) && name.ends_with(end) && !sets.contains(&name) {
            fs::remove_file(directory.file(&name))?;
        }
    }
    Ok(())
}

fn words(key: [u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// Writes each configuration that is in force as [`LAST_GOOD`], on a thread of its own: a slow disk keeps nobody waiting
/// but the daemon's end.
#[derive(Debug)]
pub struct LastGood {
    configurations: Option<Sender<Config>>,
    writer: Option<JoinHandle<()>>,
}

impl LastGood {
    /// Begins.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(directory: StateDirectory) -> io::Result<LastGood> {
        let (configurations, received) = mpsc::channel::<Config>();
        let write = move || {
            for mut config in &received {
                // Only the newest matters.
                config = received.try_iter().last().unwrap_or(config);
                if let Err(error) = write_last_good(&directory, config) {
                    let file = directory.file(LAST_GOOD);
                    warn!("{}: the configuration in force is not kept: {error}", file.display());
                }
            }
        };
        let writer = thread::Builder::new().name("last-good".to_owned()).spawn(write)?;
        Ok(LastGood { configurations: Some(configurations), writer: Some(writer) })
    }

    /// Has this one written.
    pub fn keep(&self, config: Config) {
        if let Some(configurations) = &self.configurations {
            // The writer ends only with its owner.
            let _ = configurations.send(config);
        }
    }
}

impl Drop for LastGood {
    fn drop(&mut self) {
        self.configurations = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_last_one_is_kept_and_is_the_same_configuration() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(&root.path().join("state/of/sluice")).unwrap();
        let text = include_str!("../../tests/config/good.in/box.yaml");
        let good = config::parse("box.yaml", text.as_bytes()).unwrap();
        let last_good = LastGood::start(directory.clone()).unwrap();
        last_good.keep(Config::new(good.interfaces.clone()));
        last_good.keep(good.clone());
        drop(last_good);
        let kept = config::read(&directory.file(LAST_GOOD)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(kept, good);
        let files: Vec<_> = fs::read_dir(root.path().join("state/of/sluice")).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
    }

    #[test]
    fn what_is_in_sets_is_kept_whatever_becomes_of_their_files() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(&root.path().join("state")).unwrap();
        let list = root.path().join("list.txt");
        let read = |prefixes: &str| {
            fs::write(&list, prefixes).unwrap();
            let text = format!(
                "version: 1\ninterfaces: {{a: {{device: 'vdev:net_null0'}}, b: {{device: 'vdev:net_null1'}}}}\n\
                 sets: {{all: {{file: {0}}}, bad: {{file: {0}, prefixes: 10.0.0.1}}, own: {{prefixes: 10.0.0.2}}}}",
                list.display()
            );
            config::parse("box.yaml", text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
        };
        let files = || fs::read_dir(root.path().join("state")).unwrap().count();
        for prefixes in ["192.0.2.0/24\n", "192.0.2.0/24\n2001:db8::/32\n"] {
            let good = read(prefixes);
            write_last_good(&directory, good.clone()).unwrap();
            fs::write(&list, "192.0.2.0/33\n").unwrap();
            let kept = config::read(&directory.file(LAST_GOOD)).unwrap_or_else(|error| panic!("{error}"));
            for (name, set) in &good.sets {
                assert_eq!(kept.sets[name].elements, set.elements, "{name}");
            }
            assert_eq!(files(), 3, "the configuration, and what is in two sets of it");
            // A start by that keeps it.
            write_last_good(&directory, kept.clone()).unwrap();
            assert_eq!((config::read(&directory.file(LAST_GOOD)).ok().as_ref(), files()), (Some(&kept), 3));
        }
        write_last_good(&directory, Config::new(read("").interfaces)).unwrap();
        assert_eq!(files(), 1);
    }

    #[test]
    fn the_key_of_translation_stays_the_same_and_is_the_daemons_alone() {
        let root = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(root.path()).unwrap();
        let key = directory.nat_key().unwrap();
        assert_eq!(directory.nat_key().unwrap(), key);
        let mode = fs::metadata(directory.file(NAT_KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(directory.file(NAT_KEY), "cut off").unwrap();
        let other = directory.nat_key().unwrap();
        assert_ne!(other, key);
        assert_eq!(directory.nat_key().unwrap(), other);
    }
}
