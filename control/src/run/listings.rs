//! What workers list page by page, as answers to clients.

use sluice_conntrack::expectations::Unexpected;
use sluice_conntrack::listing::{ExpectationSnapshot, Layout};
use sluice_engine::command::Unanswered;
use sluice_engine::report::{Listed, ListedExpectation, Page};

use super::lines::{Lines, line};
use super::workers::{Filled, Workers};
use crate::socket::protocol::{Cursor, Response};
use crate::socket::{ExpectationFilter, Filter, NewExpectation};

/// Pages of a worker's in one answer to a client: some hundred kilobytes of text at most.
const PAGES_PER_ANSWER: usize = 8;

/// Entries from a position in the table on, as many as a few pages hold.
pub fn entries(
    workers: &mut Workers,
    filter: &Filter,
    lines: &Lines,
    from: Cursor,
) -> Result<Response, Unanswered> {
    let mut shown = Vec::new();
    let next = pages(workers, Workers::list, from, |_, listed| {
        let fitting = listed.iter().filter(|(_, entry)| filter.matches(entry));
        shown.extend(fitting.map(|listed| lines.entry(from.shard, listed)));
        Ok(())
    })?;
    Ok(Response::Entries { lines: shown, next, standby: 0 })
}

/// Expectations from a position on, as many as a few pages hold.
pub fn expectations(
    workers: &mut Workers,
    filter: &ExpectationFilter,
    layout: Layout,
    from: Cursor,
) -> Result<Response, Unanswered> {
    let mut lines = Vec::new();
    let next = pages(workers, Workers::list_expectations, from, |_, listed| {
        let fitting = listed.iter().filter(|(_, expectation)| filter.matches(expectation));
        lines.extend(fitting.map(|(_, expectation)| line(|out| expectation.write(layout, out))));
        Ok(())
    })?;
    Ok(Response::Entries { lines, next, standby: 0 })
}

/// Expects what an operator wants.
pub fn expect(workers: &mut Workers, new: &NewExpectation) -> Result<Response, Unanswered> {
    let refused = |message: &str| Response::Error { message: message.to_owned() };
    let (master, wanted) = match new.lower() {
        Ok(lowered) => lowered,
        Err(message) => return Ok(Response::Error { message }),
    };
    Ok(match workers.expect(&master, &wanted)? {
        Some(Ok(_)) => Response::ExpectationCreated,
        None => refused(
            "master conntrack not found: -p, -s, -d, --sport and --dport (and -w) are those of a connection's original direction",
        ),
        Some(Err(Unexpected::Clash)) => {
            refused("what the same packet could meet is expected already (`sluice conntrack -L expect`)")
        }
        Some(Err(Unexpected::Full)) => {
            refused("too many are expected: conntrack.max-expectations says how many may be")
        }
    })
}

/// Ends the expectations that a client means.
pub fn delete_expectations(
    workers: &mut Workers,
    filter: &ExpectationFilter,
) -> Result<Response, Unanswered> {
    let count = end_expectations(workers, |expectation| filter.matches(expectation))?;
    Ok(Response::ExpectationsDeleted { count })
}

/// Ends the expectations that fit; gives how many those were.
pub fn end_expectations(
    workers: &mut Workers,
    fits: impl Fn(&ExpectationSnapshot) -> bool,
) -> Result<u64, Unanswered> {
    let mut count = 0;
    for shard in 0..workers.count() {
        let mut next = Some(Box::new(Page::from_start()));
        while let Some(page) = next {
            let Some(page) = workers.list_expectations(shard, page).transpose()? else { break };
            let fits = |(_, expectation): &&ListedExpectation| fits(expectation);
            let ids = page.items().iter().filter(fits).map(|(id, _)| *id).collect();
            count += workers.unexpect(shard, ids)? as u64;
            next = page.into_next();
        }
    }
    Ok(count)
}

/// Visits the next pages of the worker that a position is in, which has them filled by `list`, one by one, from there on; gives the position behind them, `None` at the end.
pub fn pages<T: Listed>(
    workers: &mut Workers,
    mut list: impl FnMut(&mut Workers, u16, Box<Page<T>>) -> Filled<T>,
    from: Cursor,
    mut visit: impl FnMut(&mut Workers, &[T]) -> Result<(), Unanswered>,
) -> Result<Option<Cursor>, Unanswered> {
    let mut position = from.position;
    for _ in 0..PAGES_PER_ANSWER {
        let Some(page) = list(workers, from.shard, Box::new(Page::from(position))) else { return Ok(None) };
        let page = page?;
        visit(workers, page.items())?;
        match page.next() {
            Some(next) => position = next,
            None => {
                let next = Cursor { shard: from.shard.saturating_add(1), position: 0 };
                return Ok((next.shard < workers.count()).then_some(next));
            }
        }
    }
    Ok(Some(Cursor { position, ..from }))
}
