//! What clients have done to entries, page by page: each page is a few entries of one worker, between two of its bursts.

use std::thread;
use std::time::Duration;

use sluice_conntrack::entry::Status;
use sluice_conntrack::{EntryUpdate, NotInserted, Tuple};
use sluice_engine::command::Unanswered;
use sluice_engine::report::ListedEntry;

use super::lines::Lines;
use super::listings::pages;
use super::workers::Workers;
use crate::config::Mark;
use crate::socket::protocol::{Cursor, LiveConnection, PacketTuple, Response, Update};
use crate::socket::{self, Filter, NewConnection};

/// How often, and how long each time, the answer of another worker to a new entry's claim is waited for.
const CLAIM_LOOKS: u32 = 200;
const CLAIM_PAUSE: Duration = Duration::from_millis(1);

fn refused(message: &str) -> Response {
    Response::Error { message: message.to_owned() }
}

/// The entry of the tuple that a filter names.
pub fn get(workers: &mut Workers, filter: &Filter, lines: &Lines) -> Result<Response, Unanswered> {
    let tuple = match socket::tuple(filter) {
        Ok(tuple) => tuple,
        Err(message) => return Ok(Response::Error { message }),
    };
    Ok(match workers.get(&tuple)? {
        Some((shard, listed)) => {
            Response::Entries { lines: vec![lines.entry(shard, &listed)], next: None, standby: 0 }
        }
        None => refused("such conntrack doesn't exist"),
    })
}

/// The connection that packets of a tuple belong to, with its state.
pub fn connection(workers: &mut Workers, tuple: &PacketTuple, lines: &Lines) -> Result<Response, Unanswered> {
    let tuple = match tuple.lower() {
        Ok(tuple) => tuple,
        Err(message) => return Ok(refused(&message)),
    };
    let Some((shard, listed)) = workers.get(&tuple)? else {
        return Ok(Response::Connection { connection: None });
    };
    let state = workers.export_one(shard, &tuple)?;
    let connection = Some(LiveConnection::new(lines.entry(shard, &listed), shard, state));
    Ok(Response::Connection { connection })
}

/// Deletes the entries that fit, on a few pages from a position in the table on.
pub fn delete(
    workers: &mut Workers,
    filter: &Filter,
    lines: &Lines,
    from: Cursor,
) -> Result<Response, Unanswered> {
    act(workers, filter, from, Workers::delete, Some(lines))
}

/// Deletes all entries there.
pub fn flush(workers: &mut Workers, from: Cursor) -> Result<Response, Unanswered> {
    act(workers, &Filter::default(), from, Workers::delete, None)
}

/// Changes the entries that fit, on a few pages from a position in the table on.
pub fn update(
    workers: &mut Workers,
    filter: &Filter,
    update: Update,
    lines: &Lines,
    from: Cursor,
) -> Result<Response, Unanswered> {
    if update.timeout.is_some_and(|timeout| timeout.0 == 0) {
        return Ok(refused("an entry with a timeout of 0 expires at once: delete it (-D)"));
    }
    let update = EntryUpdate {
        mark: update.mark.map(|Mark { value, mask }| (value, mask)),
        timeout_ms: update.timeout.map(|timeout| timeout.0.saturating_mul(1000)),
    };
    let change = |workers: &mut Workers, shard, entries| workers.update(shard, entries, update);
    act(workers, filter, from, change, Some(lines))
}

/// Does something to the entries that fit, and writes those that were still there, if it is said how. Those that this box stands by for are
/// left alone: the other one has them, and tells of them again.
fn act(
    workers: &mut Workers,
    filter: &Filter,
    from: Cursor,
    mut action: impl FnMut(&mut Workers, u16, Vec<ListedEntry>) -> Result<Vec<ListedEntry>, Unanswered>,
    lines: Option<&Lines>,
) -> Result<Response, Unanswered> {
    let (mut written, mut standby) = (Vec::new(), 0);
    let next = pages(workers, Workers::list, from, |workers, listed| {
        let fitting = listed.iter().filter(|(_, entry)| filter.matches(entry)).copied();
        let (left, fitting): (Vec<_>, _) = fitting.partition(|(_, entry)| entry.is_standby);
        standby += left.len() as u64;
        let done = action(workers, from.shard, fitting)?;
        if let Some(lines) = lines {
            written.extend(done.iter().map(|listed| lines.entry(from.shard, listed)));
        }
        Ok(())
    })?;
    Ok(Response::Entries { lines: written, next, standby })
}

/// Makes an entry.
pub fn create(workers: &mut Workers, new: &NewConnection) -> Result<Response, Unanswered> {
    let new = match new.lower() {
        Ok(new) => new,
        Err(message) => return Ok(Response::Error { message }),
    };
    match workers.insert(&new)? {
        Ok(_) if is_agreed(workers, &new.original)? => Ok(Response::EntryCreated),
        Ok(_) => Ok(refused("such conntrack exists: its reply tuple is another's")),
        Err(NotInserted::Exists) => Ok(Response::EntryExists),
        Err(NotInserted::Full) => Ok(refused("the table is full (conntrack.max-entries)")),
        Err(NotInserted::Malformed) => Ok(refused("no packet has tuples and a state like these")),
        Err(NotInserted::Standby) => {
            Ok(refused("this box stands by for its group: make it on the box that is active"))
        }
        Err(NotInserted::Busy) => Ok(refused("too many connections wait for another worker; try again")),
    }
}

/// Waits until the worker that its answers come to, if that is another one, has agreed to the connection of an original tuple, which was
/// made just now; false if it has not.
pub fn is_agreed(workers: &mut Workers, original: &Tuple) -> Result<bool, Unanswered> {
    for _ in 0..CLAIM_LOOKS {
        match workers.get(original)? {
            Some((_, (_, entry))) if entry.status.contains(Status::PENDING) => thread::sleep(CLAIM_PAUSE),
            found => return Ok(found.is_some()),
        }
    }
    Err(Unanswered::Late)
}
