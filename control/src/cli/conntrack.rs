//! `sluice conntrack`: the table of a running daemon, as conntrack(8) shows it.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory};

use super::ask::{Failure, Socket, exit, unexpected};
use crate::listing::Listing;
use crate::output::say;
use crate::socket::protocol::{Answer, Cursor, Request, ShardCounters};
use crate::socket::{Client, Filter};

/// The tracked connections of a running daemon, as conntrack(8) shows them
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  sluice conntrack -L                          every entry
  sluice conntrack -L -p tcp --state SYN_SENT  connections that nobody answers
  sluice conntrack -L -s 10.0.0.5 -o extended  those that one host opened
  sluice conntrack -L -d 2001:db8::/32 -p udp  to one network
  sluice conntrack -L -u UNREPLIED -w 7        unanswered ones of a zone
  sluice conntrack -L --any-nat                translated ones
  sluice conntrack -C                          how many there are
  sluice conntrack -C -p tcp --state TIME_WAIT how many of these
  sluice conntrack -S                          counters of each shard

Filters are those of conntrack(8): an entry is shown if all that are given fit.
The first direction of a line is the original one (-s, -d, --sport, --dport), the
second the reply (-r, -q, --reply-port-src, --reply-port-dst), whose addresses
and ports are those after NAT.

-S prints a line for each shard, by the words of conntrack(8): `found` look-ups
that found an entry, `invalid` INVALID packets, `insert` new entries,
`insert_failed` entries refused and `drop` packets dropped because the table was
full, `early_drop` entries evicted for new ones.

Of conntrack(8)'s commands these three are here: entries cannot be got one by
one, deleted, changed or watched (-G, -D, -F, -U, -E).")]
pub struct ConntrackArgs {
    /// What to do
    #[command(flatten)]
    pub command: ConntrackCommand,

    /// Which entries
    #[command(flatten)]
    pub filter: Filter,

    /// How entries are printed
    #[arg(short, long, value_name = "FORMAT", default_value = "conntrack")]
    pub output: Listing,

    /// Where to ask
    #[command(flatten)]
    pub socket: Socket,
}

/// conntrack(8)'s commands; exactly one.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ConntrackCommand {
    /// List the entries that fit, and how many they are
    #[arg(short = 'L', long)]
    pub dump: bool,

    /// Count the entries, or those that fit
    #[arg(short = 'C', long)]
    pub count: bool,

    /// Show the counters of each shard
    #[arg(short = 'S', long)]
    pub stats: bool,
}

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
        exit(done)
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
    say(&format!("sluice v{}: {shown} flow entries have been shown.", env!("CARGO_PKG_VERSION")));
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
    use clap::Parser;

    use super::*;
    use crate::config::Protocol;
    use crate::socket::{EntryStatus, NatPeer};

    #[derive(Parser)]
    struct Conntrack {
        #[command(flatten)]
        args: ConntrackArgs,
    }

    fn conntrack(line: &str) -> Result<ConntrackArgs, clap::Error> {
        Conntrack::try_parse_from(line.split(' ')).map(|parsed| parsed.args)
    }

    #[test]
    fn what_conntrack_takes_is_taken() {
        let args = conntrack(
            "conntrack -L -p tcp -s 10.0.0.5 --dport 80 -m 0x10/0xf0 -u assured,SEEN_REPLY -f ipv4",
        )
        .unwrap();
        assert!(args.command.dump && !args.command.count);
        assert_eq!(args.filter.proto, Some(Protocol::TCP));
        assert_eq!(args.filter.src.map(|network| network.to_string()), Some("10.0.0.5/32".to_owned()));
        assert_eq!(args.filter.dport, Some(80));
        assert_eq!(args.filter.status, [EntryStatus::Assured, EntryStatus::SeenReply]);
        assert!(conntrack("conntrack -C").unwrap().command.count);
        let lenient = conntrack("conntrack -L -d 10.1.2.3/8").unwrap();
        assert_eq!(lenient.filter.dst.map(|network| network.to_string()), Some("10.0.0.0/8".to_owned()));
        assert_eq!(conntrack("conntrack --dump -o json").unwrap().output, Listing::Json);
    }

    #[test]
    fn an_address_behind_a_translation_may_be_left_out() {
        let filter = |line: &str| conntrack(line).map(|args| args.filter);
        assert_eq!(filter("conntrack -L -n -p tcp").unwrap().src_nat, Some(NatPeer::Any));
        let to = filter("conntrack -L --dst-nat 10.0.0.5:80 -j").unwrap();
        assert_eq!(to.dst_nat, Some(NatPeer::Port("10.0.0.5:80".parse().unwrap())));
        assert_eq!((to.any_nat, to.src_nat), (Some(NatPeer::Any), None));
        assert!(filter("conntrack -L -g somewhere").is_err());
    }

    #[test]
    fn exactly_one_command_is_wanted() {
        assert!(conntrack("conntrack -L -C").is_err());
        assert!(conntrack("conntrack -p tcp").is_err());
    }

    #[test]
    fn counters_look_like_conntracks() {
        let counters =
            ShardCounters { shard: 1, found: 20, invalid: 3, insert: 4, ..ShardCounters::default() };
        let expected = "cpu=1   \tfound=20 invalid=3 insert=4 insert_failed=0 drop=0 early_drop=0";
        assert_eq!(line_of(&counters), expected);
    }
}
