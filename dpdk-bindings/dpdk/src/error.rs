//! What went wrong in DPDK: the call, what it was about, and why.

use std::ffi::{CStr, CString};

use thiserror::Error;

/// A failed control call. The packet path has no errors: it returns counts and options.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DpdkError {
    /// A DPDK function failed.
    #[error("{}{call}: {} (errno {errno})", prefix(subject), text_of(*errno))]
    Call {
        /// The C function.
        call: &'static str,
        /// The device, pool or core it was called for; empty where there is none.
        subject: String,
        /// The error number, positive as in `errno.h`.
        errno: i32,
    },
    /// Refused before DPDK was asked.
    #[error("{subject}: {reason}")]
    Refused {
        /// The device, pool, core or option.
        subject: String,
        /// Why, in a few words.
        reason: String,
    },
}

impl DpdkError {
    /// A call that leaves its error in `rte_errno`.
    pub(crate) fn last(call: &'static str, subject: &str) -> Self {
        // SAFETY: reads a thread-local integer.
        let errno = unsafe { dpdk_sys::dpdk_errno() };
        Self::Call { call, subject: subject.to_owned(), errno }
    }

    /// A call that returns zero (or a count), or a negative error number.
    pub(crate) fn check(call: &'static str, subject: &str, status: i32) -> Result<i32, Self> {
        match status {
            0.. => Ok(status),
            // Some calls return a bare -1 and leave the number in rte_errno.
            -1 => match Self::last(call, subject) {
                Self::Call { errno: 0, .. } => {
                    Err(Self::Call { call, subject: subject.to_owned(), errno: libc::EPERM })
                }
                error => Err(error),
            },
            _ => Err(Self::Call { call, subject: subject.to_owned(), errno: -status }),
        }
    }

    pub(crate) fn refused(subject: &str, reason: impl Into<String>) -> Self {
        Self::Refused { subject: subject.to_owned(), reason: reason.into() }
    }
}

/// `text` for C; refused where it holds a NUL.
pub(crate) fn c_string(text: &str) -> Result<CString, DpdkError> {
    CString::new(text).map_err(|_| DpdkError::refused(&text.replace('\0', "?"), "holds a NUL character"))
}

/// What an error is about, as the beginning of a sentence.
fn prefix(subject: &str) -> String {
    if subject.is_empty() { String::new() } else { format!("{subject}: ") }
}

/// DPDK's words for an error number.
fn text_of(errno: i32) -> String {
    // SAFETY: rte_strerror returns a NUL-terminated text for any number; it stays until this thread calls it again, and is
    // copied before that.
    let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(errno)) };
    text.to_string_lossy().into_owned()
}
