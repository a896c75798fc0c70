//! Which cores a thread may run on (`sched_setaffinity(2)`).

use std::ffi::c_int;
use std::mem;

use crate::DpdkError;

/// Pins this thread to `core`, and with it the threads that it starts from then on.
///
/// # Errors
/// The core does not exist or is not allowed.
pub fn pin(core: usize) -> Result<(), DpdkError> {
    let subject = format!("core {core}");
    if core >= libc::CPU_SETSIZE as usize {
        return Err(DpdkError::refused(&subject, "there is no such core"));
    }
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut cores: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the core is below CPU_SETSIZE; the kernel reads a set of the size it is told.
    let status = unsafe {
        libc::CPU_SET(core, &mut cores);
        libc::sched_setaffinity(0, mem::size_of::<libc::cpu_set_t>(), &cores)
    };
    match os_result("sched_setaffinity", &subject, status) {
        Err(DpdkError::Call { errno: libc::EINVAL, .. }) => {
            Err(DpdkError::refused(&subject, "there is no such core, or this process may not use it"))
        }
        result => result,
    }
}

/// The cores that this thread may run on.
pub fn allowed_cores() -> Result<Vec<usize>, DpdkError> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut cores: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes a set of the size it is told.
    let status = unsafe { libc::sched_getaffinity(0, mem::size_of::<libc::cpu_set_t>(), &mut cores) };
    os_result("sched_getaffinity", "", status)?;
    // SAFETY: every core asked for is below CPU_SETSIZE.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&core| unsafe { libc::CPU_ISSET(core, &cores) }).collect())
}

fn os_result(call: &'static str, subject: &str, status: c_int) -> Result<(), DpdkError> {
    match status {
        0 => Ok(()),
        _ => Err(DpdkError::Call {
            call,
            subject: subject.to_owned(),
            errno: std::io::Error::last_os_error().raw_os_error().unwrap_or(0),
        }),
    }
}
