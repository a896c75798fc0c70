//! The service manager's side: what systemd is told, where it runs us (sd_notify(3)).
//!
//! Without a service manager none of this does anything, and a message that cannot be sent harms nothing.

use std::time::Duration;

use sd_notify::NotifyState;

/// Packets are forwarded from now on.
pub fn ready() {
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// A reload begins; [`ready`] says that it is over.
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
    }
}

/// The end begins.
pub fn stopping() {
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
}

/// Each worker has just answered, and this is what `systemctl status` shows.
pub fn alive(status: &str) {
    let _ = sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(status)]);
}

/// How often [`alive`] must be said at least, where there is a watchdog.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}
