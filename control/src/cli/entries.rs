//! `sluice conntrack` of the table `conntrack`: entries are listed, got, deleted, changed and made.

use std::io::{self, BufWriter, Write};

use sluice_conntrack::listing::{XML_BEGIN, XML_END};

use super::ask::{Failure, Socket, unexpected};
use crate::config::Seconds;
use crate::listing::{Format, Listing};
use crate::output::say;
use crate::socket::protocol::{Cursor, Request, Response, Update};
use crate::socket::{Client, Filter, NewConnection, required};

/// What `-I` and `-A` are to make.
///
/// # Errors
/// What of its options is missing, or cannot be.
pub(super) fn wanted(
    filter: &Filter,
    timeout: Option<Seconds>,
    vtags: [Option<u32>; 2],
) -> Result<NewConnection, String> {
    let vtags = vtags.map(Option::unwrap_or_default);
    let timeout = required("timeout", timeout)?;
    let new = NewConnection { entry: Box::new(filter.clone()), timeout, vtags };
    new.lower().map(|_| new)
}

/// `-L`.
pub(super) fn list(socket: &Socket, filter: &Filter, format: Format) -> Result<(), Failure> {
    let filter = Box::new(filter.clone());
    let (shown, _) = print(socket, format, |from| Request::Entries {
        filter: filter.clone(),
        format: Some(format),
        from,
    })?;
    done(shown, "shown");
    Ok(())
}

/// `-C` of those that fit.
pub(super) fn count(socket: &Socket, filter: &Filter) -> Result<(), Failure> {
    let filter = Box::new(filter.clone());
    let request = |from| Request::Entries { filter: filter.clone(), format: None, from };
    let (fitting, _) = page_by_page(socket, request, |_| Ok(()))?;
    Ok(writeln!(io::stdout(), "{fitting}")?)
}

/// `-G`.
pub(super) fn get(socket: &Socket, filter: &Filter, format: Format) -> Result<(), Failure> {
    let filter = Box::new(filter.clone());
    let (shown, _) =
        print(socket, format, |_| Request::Entry { filter: filter.clone(), format: Some(format) })?;
    done(shown, "shown");
    Ok(())
}

/// `-D`. As of conntrack(8), it has failed where nothing fits.
pub(super) fn delete(socket: &Socket, filter: &Filter, format: Format) -> Result<(), Failure> {
    let filter = Box::new(filter.clone());
    let deleted = print(socket, format, |from| Request::DeleteEntries {
        filter: filter.clone(),
        format: Some(format),
        from,
    })?;
    done_to_some(deleted, "deleted")
}

/// `-U`, of which the same holds.
pub(super) fn update(
    socket: &Socket,
    filter: &Filter,
    update: Update,
    format: Format,
) -> Result<(), Failure> {
    let filter = Box::new(filter.clone());
    let request =
        |from| Request::UpdateEntries { filter: filter.clone(), update, format: Some(format), from };
    done_to_some(print(socket, format, request)?, "updated")
}

/// `-F`.
pub(super) fn flush(socket: &Socket) -> Result<(), Failure> {
    let (_, standby) = page_by_page(socket, |from| Request::FlushEntries { from }, |_| Ok(()))?;
    say(&format!("sluice v{}: connection tracking table has been emptied.", env!("CARGO_PKG_VERSION")));
    left_alone(standby);
    Ok(())
}

/// `-I`, and `-A`, which is content where there is one.
pub(super) fn create(socket: &Socket, new: NewConnection, is_add: bool) -> Result<(), Failure> {
    let is_new = create_by(&mut Client::connect(&socket.path)?, new, is_add)?;
    done(usize::from(is_new), "created");
    Ok(())
}

/// Says how many entries something was done to.
pub(super) fn done(entries: usize, what: &str) {
    say(&format!("sluice v{}: {entries} flow entries have been {what}.", env!("CARGO_PKG_VERSION")));
}

/// Says how many entries nothing was done to, because another box has them.
fn left_alone(standby: u64) {
    if standby > 0 {
        say(&format!("{standby} more are of another box, for which this one stands by: do it there."));
    }
}

fn done_to_some((entries, standby): (usize, u64), what: &str) -> Result<(), Failure> {
    done(entries, what);
    left_alone(standby);
    if entries == 0 { Err(Failure::Nothing) } else { Ok(()) }
}

/// Prints the answers, a line for each entry; gives how many those are, and how many fit and were left alone.
fn print(
    socket: &Socket,
    format: Format,
    request: impl FnMut(Cursor) -> Request,
) -> Result<(usize, u64), Failure> {
    let mut out = Printer::new(BufWriter::new(io::stdout().lock()), format);
    let entries = page_by_page(socket, request, |line| out.line(line))?;
    out.end()?;
    Ok(entries)
}

/// Where lines are printed, those of XML within an element.
pub(super) struct Printer<W> {
    out: W,
    is_xml: bool,
    /// Whether there have been any.
    begun: bool,
}

impl<W: Write> Printer<W> {
    /// To print lines of a format.
    pub(super) fn new(out: W, format: Format) -> Self {
        Self { out, is_xml: format.listing == Listing::Xml, begun: false }
    }

    /// Prints a line.
    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        if self.is_xml && !self.begun {
            writeln!(self.out, "{XML_BEGIN}")?;
        }
        self.begun = true;
        writeln!(self.out, "{line}")
    }

    /// Has what was printed seen.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// No more lines come.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.is_xml && self.begun {
            writeln!(self.out, "{XML_END}")?;
        }
        self.out.flush()
    }
}

/// Asks page by page; gives how many lines were answered, and how many entries were left alone.
fn page_by_page(
    socket: &Socket,
    mut request: impl FnMut(Cursor) -> Request,
    mut show: impl FnMut(&str) -> io::Result<()>,
) -> Result<(usize, u64), Failure> {
    let (mut client, mut from) = (Client::connect(&socket.path)?, Cursor::default());
    let (mut answered, mut left) = (0, 0);
    loop {
        let Response::Entries { lines, next, standby } = client.ask(&request(from))? else {
            return Err(unexpected());
        };
        lines.iter().try_for_each(|line| show(line))?;
        answered += lines.len();
        left += standby;
        match next {
            Some(next) => from = next,
            None => return Ok((answered, left)),
        }
    }
}

/// Has a connection made. True where there is none of its tuple yet; whoever only wants it to be there (`-A`) is content if there is.
pub(super) fn create_by(client: &mut Client, new: NewConnection, is_add: bool) -> Result<bool, Failure> {
    match client.ask(&Request::CreateEntry(new))? {
        Response::EntryCreated => Ok(true),
        Response::EntryExists if is_add => Ok(false),
        Response::EntryExists => Err(Failure::Other("such conntrack exists, try -U to update".to_owned())),
        _ => Err(unexpected()),
    }
}
