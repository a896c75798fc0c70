//! Workers on cores of their own, and the processor's clock.

use std::sync::mpsc;
use std::thread::{self, JoinHandle};

pub use crate::affinity::{allowed_cores, pin};
use crate::{DpdkError, Eal};

/// A running worker.
#[derive(Debug)]
pub struct Lcore<T> {
    thread: JoinHandle<Option<T>>,
}

impl<T> Lcore<T> {
    /// Waits for the worker's result; an `Err` is the payload of its panic.
    pub fn join(self) -> thread::Result<T> {
        self.thread.join().map(|value| value.expect("a worker that could not start is no Lcore"))
    }
}

/// Runs `work` on a new thread that is pinned to `core` and registered with DPDK, so that it has its own
/// cache in every pool.
///
/// # Errors
/// The core does not exist or is not allowed, or DPDK has no lcore left (it has 128).
pub fn launch<T: Send + 'static>(
    _eal: &Eal,
    core: usize,
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Lcore<T>, DpdkError> {
    let (ready, started) = mpsc::sync_channel(1);
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let registered = pin(core).and_then(|()| Registered::new(core));
            let (lcore, status) = match registered {
                Ok(lcore) => (Some(lcore), Ok(())),
                Err(error) => (None, Err(error)),
            };
            // launch waits for this, so it is there to receive it.
            ready.send(status).ok();
            let _lcore = lcore?;
            Some(work())
        })
        .map_err(|error| DpdkError::refused(&format!("core {core}"), format!("no thread: {error}")))?;
    started
        .recv()
        .unwrap_or_else(|_| Err(DpdkError::refused(&format!("core {core}"), "thread ended early")))?;
    Ok(Lcore { thread })
}

/// Runs `work` on a thread that is pinned to `core`, and waits for it: memory that it touches first lies near that core.
///
/// # Errors
/// The core does not exist or is not allowed, or `work` panics.
pub fn visit<T: Send>(core: usize, work: impl FnOnce() -> T + Send) -> Result<T, DpdkError> {
    let refused = || DpdkError::refused(&format!("core {core}"), "the work there panicked");
    thread::scope(|scope| scope.spawn(|| pin(core).map(|()| work())).join()).map_err(|_| refused())?
}

/// This thread's place among DPDK's lcores, until it is dropped.
struct Registered;

impl Registered {
    fn new(core: usize) -> Result<Self, DpdkError> {
        // SAFETY: EAL runs (launch had the token) and this thread is new, so it is not registered yet.
        match unsafe { dpdk_sys::rte_thread_register() } {
            0 => Ok(Self),
            _ => Err(DpdkError::last("rte_thread_register", &format!("core {core}"))),
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        // SAFETY: this thread was registered by `new`: the value never leaves launch's closure.
        unsafe { dpdk_sys::rte_thread_unregister() }
    }
}

/// The processor's time-stamp counter, in cycles.
pub fn tsc() -> u64 {
    // SAFETY: reads a counter.
    unsafe { dpdk_sys::rte_rdtsc() }
}

/// Cycles of [`tsc`] in a second, as EAL measured them when it started.
pub fn tsc_hz(_eal: &Eal) -> u64 {
    // SAFETY: EAL runs (the token), so the frequency is known.
    unsafe { dpdk_sys::rte_get_tsc_hz() }
}

/// Tells the processor that this is a spin loop.
pub fn pause() {
    // SAFETY: a hint without effect on memory.
    unsafe { dpdk_sys::rte_pause() }
}
