//! Huge pages for as long as a benchmark runs.

use std::fs;
use std::io;

const COUNT: &str = "/proc/sys/vm/nr_hugepages";
const MEMORY: &str = "/proc/meminfo";

/// Huge pages that were added to the machine's, taken away again when dropped. What others have added or
/// taken away in the meantime stays as they left it.
pub struct HugePages {
    added: u64,
}

impl HugePages {
    /// Sees to it that `bytes` of huge pages of the machine's default size are free. None where the kernel
    /// does not have them to give, or this user may not ask.
    pub fn reserve(bytes: u64) -> Option<Self> {
        let page_bytes = memory_field("Hugepagesize:")? * 1024;
        let missing = |free: u64| bytes.div_ceil(page_bytes).saturating_sub(free);
        let before = count().ok()?;
        let pages = HugePages { added: missing(memory_field("HugePages_Free:")?) };
        if pages.added > 0 {
            fs::write(COUNT, (before + pages.added).to_string()).ok()?;
        }
        // Where the kernel found fewer than it was asked for, they go back by the drop.
        (missing(memory_field("HugePages_Free:")?) == 0).then_some(pages)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if self.added > 0
            && let Ok(now) = count()
            && let Err(error) = fs::write(COUNT, now.saturating_sub(self.added).to_string())
        {
            eprintln!("cannot give back {} huge pages: {error}", self.added);
        }
    }
}

fn count() -> io::Result<u64> {
    fs::read_to_string(COUNT)?.trim().parse().map_err(io::Error::other)
}

/// A number of /proc/meminfo.
fn memory_field(name: &str) -> Option<u64> {
    let text = fs::read_to_string(MEMORY).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
