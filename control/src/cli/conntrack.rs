//! `sluice conntrack`: the table of a running daemon, as conntrack(8) shows it.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::args::{ConntrackArgs, Listing};
use super::daemon::{Failure, Socket, unexpected};
use crate::socket::protocol::{Answer, Cursor, Request, ShardCounters};
use crate::socket::{Client, Filter};

impl ConntrackArgs {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        if self.command.stats && self.filter != Filter::default() {
            let message = "-S shows what each shard has counted: filters do not apply to it";
            let mut whole = super::Cli::command();
            whole.build();
            let mut command = whole.find_subcommand("conntrack").cloned().unwrap_or(whole);
            command.error(ErrorKind::ArgumentConflict, message).exit();
        }
        let done = match (self.command.count, self.command.stats) {
            (true, _) => self.count(),
            (_, true) => self.counters(),
            _ => list(&self.socket, &self.filter, self.output),
        };
        super::daemon::exit(done)
    }

    fn count(&self) -> Result<(), Failure> {
        if self.filter != Filter::default() {
            let fitting = entries(&self.socket, &self.filter, self.output, |_| Ok(()))?;
            return Ok(writeln!(io::stdout(), "{fitting}")?);
        }
        match Client::connect(&self.socket.path)?.ask(&Request::Count)? {
            Answer::Count { entries } => Ok(writeln!(io::stdout(), "{entries}")?),
            _ => Err(unexpected()),
        }
    }

    fn counters(&self) -> Result<(), Failure> {
        let Answer::Shards { shards } = Client::connect(&self.socket.path)?.ask(&Request::Shards)? else {
            return Err(unexpected());
        };
        for shard in &shards {
            writeln!(io::stdout(), "{}", line_of(shard))?;
        }
        Ok(())
    }
}

/// Lists the entries that fit, page by page.
pub(super) fn list(socket: &Socket, filter: &Filter, format: Listing) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let shown = entries(socket, filter, format, |line| writeln!(out, "{line}"))?;
    out.flush()?;
    super::say(&format!("sluice v{}: {shown} flow entries have been shown.", env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// Fetches the entries that fit, page by page, and gives how many there are.
fn entries(
    socket: &Socket,
    filter: &Filter,
    format: Listing,
    mut show: impl FnMut(&str) -> io::Result<()>,
) -> Result<usize, Failure> {
    let mut client = Client::connect(&socket.path)?;
    let mut from = Cursor::default();
    let mut fetched = 0;
    loop {
        let request = Request::Entries { filter: Box::new(filter.clone()), format: Some(format), from };
        let Answer::Entries { lines, next } = client.ask(&request)? else { return Err(unexpected()) };
        for line in &lines {
            show(line)?;
        }
        fetched += lines.len();
        match next {
            Some(next) => from = next,
            None => return Ok(fetched),
        }
    }
}

/// As `conntrack -S` writes it, with a shard in the place of a processor.
fn line_of(counters: &ShardCounters) -> String {
    let ShardCounters { shard, found, invalid, insert, insert_failed, drop, early_drop } = counters;
    format!(
        "cpu={shard:<4}\tfound={found} invalid={invalid} insert={insert} insert_failed={insert_failed} \
         drop={drop} early_drop={early_drop}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_look_like_conntracks() {
        let counters =
            ShardCounters { shard: 1, found: 20, invalid: 3, insert: 4, ..ShardCounters::default() };
        let expected = "cpu=1   \tfound=20 invalid=3 insert=4 insert_failed=0 drop=0 early_drop=0";
        assert_eq!(line_of(&counters), expected);
    }
}
