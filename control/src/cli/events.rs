//! `sluice conntrack -E`: what becomes of connections, or of expectations, as it happens.

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
use crate::socket::protocol::{EventFilter, ExpectationEventFilter, Request, Response};

/// How long nothing is asked where nothing has happened.
const PAUSE: Duration = Duration::from_millis(50);

/// What becomes of connections.
pub(super) fn watch(socket: &Socket, filter: EventFilter, format: Format) -> Result<(), Failure> {
    let filter = Box::new(filter);
    print(socket, "flow", format, |from| Request::Events {
        filter: filter.clone(),
        format: Some(format),
        from,
    })
}

/// What becomes of expectations.
pub(super) fn watch_expectations(
    socket: &Socket,
    filter: ExpectationEventFilter,
    format: Format,
) -> Result<(), Failure> {
    let filter = Box::new(filter);
    print(socket, "expectation", format, |from| Request::ExpectationEvents {
        filter: filter.clone(),
        format: Some(format),
        from,
    })
}

/// Prints events of something until SIGINT comes, or nobody reads them any more.
fn print(
    socket: &Socket,
    what: &str,
    format: Format,
    request: impl Fn(Option<u64>) -> Request,
) -> Result<(), Failure> {
    let is_over = Arc::new(AtomicBool::new(false));
    flag::register(SIGINT, Arc::clone(&is_over))?;
    let mut client = Client::connect(&socket.path)?;
    let (mut from, mut shown) = (None, 0);
    let mut out = Printer::new(io::stdout().lock(), format);
    let version = env!("CARGO_PKG_VERSION");
    while !is_over.load(Ordering::Relaxed) {
        let answer = client.ask(&request(from))?;
        let Response::Events { lines, lost, next } = answer else { return Err(unexpected()) };
        from = Some(next);
        lines.iter().try_for_each(|line| out.line(line))?;
        out.flush()?;
        shown += lines.len();
        if lost > 0 {
            say(&format!("sluice v{version}: {lost} {what} events have been lost."));
        }
        if lines.is_empty() {
            thread::sleep(PAUSE);
        }
    }
    out.end()?;
    say(&format!("sluice v{version}: {shown} {what} events have been shown."));
    Ok(())
}
