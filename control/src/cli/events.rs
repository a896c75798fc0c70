//! `sluice conntrack -E`: what becomes of connections, as it happens.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::SIGINT;
use signal_hook::flag;

use super::ask::{Failure, Socket, unexpected};
use super::entries::Printer;
use crate::listing::Format;
use crate::output::say;
use crate::socket::Client;
use crate::socket::protocol::{EventFilter, Request, Response};

/// How long nothing is asked where nothing has happened.
const PAUSE: Duration = Duration::from_millis(50);

/// Prints events until SIGINT comes, or nobody reads them any more.
pub(super) fn watch(socket: &Socket, filter: EventFilter, format: Format) -> Result<(), Failure> {
    let is_over = Arc::new(AtomicBool::new(false));
    flag::register(SIGINT, Arc::clone(&is_over))?;
    let mut client = Client::connect(&socket.path)?;
    let (filter, mut from, mut shown) = (Box::new(filter), None, 0);
    let mut out = Printer::new(io::stdout().lock(), format);
    let version = env!("CARGO_PKG_VERSION");
    while !is_over.load(Ordering::Relaxed) {
        let request = Request::Events { filter: filter.clone(), format: Some(format), from };
        let Response::Events { lines, lost, next } = client.ask(&request)? else { return Err(unexpected()) };
        from = Some(next);
        lines.iter().try_for_each(|line| out.line(line))?;
        out.flush()?;
        shown += lines.len();
        if lost > 0 {
            say(&format!("sluice v{version}: {lost} flow events have been lost."));
        }
        if lines.is_empty() {
            thread::sleep(PAUSE);
        }
    }
    out.end()?;
    say(&format!("sluice v{version}: {shown} flow events have been shown."));
    Ok(())
}
