//! Files that are replaced by others in one step: after a crash it is the one or the other, whole.

use std::fs::File;
use std::io;
use std::path::Path;

use tempfile::NamedTempFile;

/// Replaces a file by what `write` writes, and gives what that gives.
///
/// # Errors
/// The disk is full, or the directory may not be written; and what `write` fails by. Then the old file stays.
pub fn replace<T>(path: &Path, write: impl FnOnce(&File) -> io::Result<T>) -> io::Result<T> {
    let directory = match path.parent() {
        Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
        directory => directory.unwrap_or(Path::new("/")),
    };
    let nascent = NamedTempFile::new_in(directory)?;
    let written = write(nascent.as_file())?;
    nascent.as_file().sync_all()?;
    nascent.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()?;
    Ok(written)
}
