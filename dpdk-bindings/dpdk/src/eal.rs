//! DPDK's environment (EAL): started once per process, on huge pages where there are some.
//!
//! No device is probed at start: each is attached by name later ([`crate::Device::attach`]). EAL shares
//! nothing with other processes (no shared configuration, no telemetry socket, huge pages unlinked), so
//! any number of processes run side by side and a crash leaves nothing behind. It is never shut down:
//! memory and threads end with the process.

use std::ffi::{CString, c_char, c_int};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::DpdkError;
use crate::affinity::allowed_cores;
use crate::error::c_string;

/// How DPDK is started.
#[derive(Debug, Clone)]
pub struct EalOptions {
    /// Memory for pools and queues in MiB, taken at start. Below 512 DPDK itself may not start.
    pub memory_mb: u32,
    /// Whether huge pages may be used. Where too few are free, ordinary pages are used instead and
    /// [`Eal::ordinary_pages`] says why.
    pub huge_pages: bool,
}

impl Default for EalOptions {
    fn default() -> Self {
        Self { memory_mb: 1024, huge_pages: true }
    }
}

/// The proof that DPDK runs in this process. Pools and devices can be made only with it.
#[derive(Debug)]
pub struct Eal {
    ordinary_pages: Option<String>,
}

static STARTED: AtomicBool = AtomicBool::new(false);

impl Eal {
    /// Starts DPDK; the calling thread becomes its main lcore, on the cores that it may run on now
    /// ([`crate::lcore::pin`]). Workers get theirs from [`crate::lcore::launch`].
    ///
    /// # Errors
    /// A second call in the same process is refused, also after a failed first one: DPDK cannot start twice.
    pub fn init(options: &EalOptions) -> Result<Self, DpdkError> {
        let ordinary_pages = why_ordinary_pages(options);
        let arguments = arguments(options, &allowed_cores()?, ordinary_pages.is_some())?;
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(DpdkError::refused("EAL", "DPDK starts only once in a process"));
        }

        // EAL keeps pointers into its arguments, so they are never freed.
        let argv: &mut [*mut c_char] = Vec::leak(arguments.into_iter().map(CString::into_raw).collect());
        // SAFETY: argv holds argv.len() NUL-terminated texts that live for ever; STARTED lets only one
        // thread ever get here.
        let status = unsafe { dpdk_sys::rte_eal_init(argv.len() as c_int, argv.as_mut_ptr()) };
        if status < 0 {
            return Err(DpdkError::last("rte_eal_init", ""));
        }
        Ok(Self { ordinary_pages })
    }

    /// Why DPDK runs on ordinary pages, or `None` where it runs on huge pages.
    pub fn ordinary_pages(&self) -> Option<&str> {
        self.ordinary_pages.as_deref()
    }
}

fn arguments(
    options: &EalOptions,
    main_cores: &[usize],
    ordinary_pages: bool,
) -> Result<Vec<CString>, DpdkError> {
    let cores = main_cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
    let mut arguments: Vec<String> = vec![
        "dpdk".into(),
        // One lcore, which floats over the main cores; workers register later.
        format!("--lcores=0@({cores})"),
        "-m".into(),
        options.memory_mb.to_string(),
        "--no-telemetry".into(),
        // An allow list with no real device: devices are attached by name.
        "--allow=0000:00:00.0".into(),
        // Errors, to standard error: those that come back as a DpdkError say less.
        "--log-level=*:error".into(),
    ];
    if ordinary_pages {
        arguments.extend(["--no-huge".into(), "--no-shconf".into()]);
    } else {
        arguments.push("--in-memory".into());
    }
    arguments.iter().map(|argument| c_string(argument)).collect()
}

/// EAL cannot be started a second time without huge pages, so the choice is made before it starts.
fn why_ordinary_pages(options: &EalOptions) -> Option<String> {
    if !options.huge_pages {
        return Some("huge pages are switched off".into());
    }
    let free_mb = free_huge_pages_kb(Path::new("/sys/kernel/mm/hugepages")) / 1024;
    let needed_mb = u64::from(options.memory_mb);
    (free_mb < needed_mb).then(|| format!("{needed_mb} MiB of huge pages are needed, {free_mb} MiB are free"))
}

/// The free huge pages of all sizes below `sysfs`, in KiB; none where it cannot be read.
fn free_huge_pages_kb(sysfs: &Path) -> u64 {
    let Ok(sizes) = fs::read_dir(sysfs) else { return 0 };
    sizes
        .flatten()
        .filter_map(|size| {
            let kb: u64 =
                size.file_name().to_str()?.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let free: u64 =
                fs::read_to_string(size.path().join("free_hugepages")).ok()?.trim().parse().ok()?;
            kb.checked_mul(free)
        })
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_arguments() {
        let options = EalOptions { memory_mb: 2048, ..EalOptions::default() };
        let text = |ordinary_pages| {
            let arguments = arguments(&options, &[3, 5], ordinary_pages).unwrap();
            arguments.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let common = "dpdk --lcores=0@(3,5) -m 2048 --no-telemetry --allow=0000:00:00.0 --log-level=*:error";
        assert_eq!(text(true), format!("{common} --no-huge --no-shconf"));
        assert_eq!(text(false), format!("{common} --in-memory"));
    }

    #[test]
    fn huge_pages_can_be_switched_off() {
        let options = EalOptions { huge_pages: false, ..EalOptions::default() };
        assert_eq!(why_ordinary_pages(&options).as_deref(), Some("huge pages are switched off"));
    }

    #[test]
    fn no_sysfs_means_no_huge_pages() {
        assert_eq!(free_huge_pages_kb(Path::new("/nonexistent")), 0);
    }
}
