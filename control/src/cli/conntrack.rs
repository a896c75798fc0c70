//! `sluice conntrack`: the table of a running daemon, as conntrack(8) shows it.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, ValueEnum};

use super::ask::{Failure, Socket, exit, unexpected};
use super::snapshot::SnapshotCommand;
use super::{entries, events, expect, help, load};
use crate::config::Seconds;
use crate::listing::{Format, Listing};
use crate::socket::protocol::{
    EventFilter, EventName, ExpectationEventFilter, Request, Response, ShardCounters, Update,
};
use crate::socket::{self, Client, ExpectationFilter, Filter, NewConnection};

/// The tracked connections of a running daemon, as conntrack(8) shows them
#[derive(Clone, Debug, Args)]
#[command(after_help = help::CONNTRACK_HELP)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ConntrackArgs {
    /// What is done with the whole table
    #[command(subcommand)]
    snapshot: Option<SnapshotCommand>,

    /// What to do
    #[command(flatten)]
    pub command: ConntrackCommand,

    /// Which table
    #[arg(value_enum, default_value_t, value_name = "TABLE")]
    pub table: Table,

    /// Which entries
    #[command(flatten)]
    pub filter: Filter,

    /// Which expectations
    #[command(flatten)]
    pub expectations: ExpectationFilter,

    /// How long what -I makes lives or is waited for, and what -U changes lives on: seconds, or a number with one of the units s, m, h, d
    #[arg(short, long, value_name = "SECONDS")]
    pub timeout: Option<Seconds>,

    /// Verification tag of SCTP packets in the original direction, of what -I makes
    #[arg(long, value_name = "TAG")]
    pub orig_vtag: Option<u32>,

    /// Verification tag of SCTP packets in the reply direction
    #[arg(long, value_name = "TAG")]
    pub reply_vtag: Option<u32>,

    /// Which events; several are separated by commas
    #[arg(short, long, value_name = "EVENTS", value_delimiter = ',', ignore_case = true)]
    pub event_mask: Vec<EventName>,

    /// How entries are printed: conntrack, extended, save, xml, json or proc, and with them id, ktimestamp, timestamp and labels,
    /// separated by commas
    #[arg(short, long, value_name = "FORMAT", default_value = "conntrack")]
    pub output: Format,

    /// What conntrack(8) does with labels, which are not kept here
    #[command(flatten)]
    labels: Labels,

    /// Where to ask
    #[command(flatten)]
    pub socket: Socket,
}

/// conntrack(8)'s options of labels, so that whoever gives one is told what there is instead.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
struct Labels {
    #[arg(short, long, hide = true)]
    label: Option<String>,
    #[arg(long, hide = true)]
    label_add: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1)]
    label_del: Option<Option<String>>,
}

impl Labels {
    const NONE: Self = Self { label: None, label_add: None, label_del: None };
}

/// conntrack(8)'s tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Table {
    /// Tracked connections
    #[default]
    Conntrack,
    /// Connections that helpers expect
    Expect,
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

    /// Have a connection tracked, as -I does, unless there is one of its tuple
    #[arg(short = 'A', long)]
    pub add: bool,

    /// Have all connections of a file tracked that `-L -o save` has written, of this box or by conntrack(8); `-` is standard input
    #[arg(short = 'R', long, value_name = "FILE")]
    pub load_file: Option<String>,

    /// Have a connection tracked, by its tuple; of `expect`: have one expected, of these addresses and ports (--tuple-...), for the
    /// one of -s, -d, --sport and --dport
    #[arg(short = 'I', long)]
    pub create: bool,

    /// Show the entry of this tuple, in either direction, or the expectation of these addresses and ports
    #[arg(short = 'G', long)]
    pub get: bool,

    /// Delete the entries or expectations that fit
    #[arg(short = 'D', long)]
    pub delete: bool,

    /// Delete all entries or expectations
    #[arg(short = 'F', long)]
    pub flush: bool,

    /// Print what becomes of connections or expectations as it happens, until SIGINT
    #[arg(short = 'E', long)]
    pub event: bool,

    /// Give the entries that fit another mark (--mark) or timeout (--timeout)
    #[arg(short = 'U', long)]
    pub update: bool,
}

impl ConntrackCommand {
    /// Whether it makes an entry or an expectation.
    const fn makes(&self) -> bool {
        self.create || self.add
    }
}

impl ConntrackArgs {
    /// Does it.
    pub fn run(&self) -> ExitCode {
        if let Some(snapshot) = &self.snapshot {
            return exit(snapshot.run());
        }
        if let Some((kind, message)) = self.problem() {
            let mut whole = super::Cli::command();
            whole.build();
            let mut command = whole.find_subcommand("conntrack").cloned().unwrap_or(whole);
            command.error(kind, message).exit();
        }
        exit(match self.table {
            Table::Conntrack => self.entries(),
            Table::Expect => self.expect(),
        })
    }

    /// What of the command line does not go together, or is missing.
    fn problem(&self) -> Option<(ErrorKind, String)> {
        let conflict = |message: &str| Some((ErrorKind::ArgumentConflict, message.to_owned()));
        let missing = |message| Some((ErrorKind::MissingRequiredArgument, message));
        let ConntrackCommand { stats, flush, get, update, event, add, .. } = self.command;
        let (create, load) = (self.command.makes(), self.command.load_file.is_some());
        let is_filtered = !self.filter.is_empty() || self.expectations != ExpectationFilter::default();
        let ExpectationFilter { mask_src, mask_dst, .. } = self.expectations;
        match self.table {
            _ if self.labels != Labels::NONE => {
                conflict("labels are not kept: a mark has 32 bits, which --mark sets and filters by")
            }
            _ if stats && is_filtered => {
                conflict("-S shows what each shard has counted: filters do not apply to it")
            }
            _ if flush && is_filtered => conflict("-F deletes all: filters go with -D"),
            _ if load && is_filtered => conflict("-R makes all that a file has: filters go with the listing"),
            _ if self.timeout.is_some() && !create && !update => {
                conflict("--timeout goes with -I, -A and -U")
            }
            _ if !self.event_mask.is_empty() && !event => conflict("--event-mask goes with -E"),
            _ if self.vtags() != [None; 2] && !(create && self.table == Table::Conntrack) => {
                conflict("--orig-vtag and --reply-vtag go with -I and -A")
            }
            Table::Conntrack
                if self.expectations
                    != (ExpectationFilter { mask_src, mask_dst, ..ExpectationFilter::default() }) =>
            {
                conflict("--tuple-src and its like are for the table `expect`")
            }
            Table::Conntrack if mask_src.is_some() && self.filter.src.is_none() => {
                conflict("--mask-src is of the address of --src")
            }
            Table::Conntrack if mask_dst.is_some() && self.filter.dst.is_none() => {
                conflict("--mask-dst is of the address of --dst")
            }
            Table::Conntrack if (create || get) && (mask_src.is_some() || mask_dst.is_some()) => {
                conflict("--mask-src and --mask-dst filter: one entry has whole addresses")
            }
            Table::Conntrack if create => {
                entries::wanted(&self.filter, self.timeout, self.vtags()).err().and_then(missing)
            }
            Table::Conntrack if get => socket::tuple(&self.filter).err().and_then(missing),
            Table::Conntrack if update && self.timeout.is_none() && self.filter.mark.is_none() => {
                missing("-U changes the mark (`--mark`) or the timeout (`--timeout`)".to_owned())
            }
            Table::Conntrack => None,
            Table::Expect if stats => conflict("-S has no table"),
            Table::Expect if add || load => conflict("-A and -R are for the table `conntrack`"),
            Table::Expect
                if ![Listing::Conntrack, Listing::Extended, Listing::Json, Listing::Proc]
                    .map(Format::of)
                    .contains(&Format { timestamp: self.output.timestamp && !event, ..self.output }) =>
            {
                conflict("expectations have the layouts conntrack, json and proc")
            }
            Table::Expect if update => conflict("-U is for the table `conntrack`"),
            Table::Expect if !self.filter.fits_expectations() => conflict(
                "expectations have protocol, family, zone, and -s, -d, --sport and --dport of their master",
            ),
            Table::Expect => {
                let filter = self.expectation_filter();
                let checked = match (create, get) {
                    (true, _) => expect::wanted(&filter, self.timeout).map(|_| ()),
                    (_, true) => expect::check_get(&filter),
                    _ => Ok(()),
                };
                checked.err().and_then(missing)
            }
        }
    }

    /// The connection that is made, and whether by `-A`.
    pub(super) fn made(&self) -> Option<Result<(NewConnection, bool), String>> {
        Some(self.new_connection()?.map(|new| (new, self.command.add)))
    }

    /// The connection that `-I` or `-A` makes.
    ///
    /// # Errors
    /// What of it is missing, or cannot be.
    fn new_connection(&self) -> Option<Result<NewConnection, String>> {
        if !self.command.makes() || self.table != Table::Conntrack {
            return None;
        }
        Some(match self.problem() {
            Some((_, message)) => Err(message),
            None => entries::wanted(&self.entry_filter(), self.timeout, self.vtags()),
        })
    }

    fn vtags(&self) -> [Option<u32>; 2] {
        [self.orig_vtag, self.reply_vtag]
    }

    /// Of the table `conntrack`.
    fn entries(&self) -> Result<(), Failure> {
        let (socket, filter) = (&self.socket, self.entry_filter());
        if let Some(new) = self.new_connection() {
            return entries::create(socket, new.map_err(Failure::Other)?, self.command.add);
        }
        match &self.command {
            ConntrackCommand { load_file: Some(path), .. } => load::load(socket, path, Self::made),
            ConntrackCommand { get: true, .. } => entries::get(socket, &filter, self.output),
            ConntrackCommand { delete: true, .. } => entries::delete(socket, &filter, self.output),
            ConntrackCommand { flush: true, .. } => entries::flush(socket),
            ConntrackCommand { update: true, .. } => {
                // Here the mark is what entries get, and says nothing of which they are.
                let update = Update { mark: filter.mark, timeout: self.timeout };
                entries::update(socket, &Filter { mark: None, ..filter }, update, self.output)
            }
            ConntrackCommand { event: true, .. } => {
                let filter = EventFilter { kinds: self.event_mask.clone(), entry: filter };
                events::watch(socket, filter, self.output)
            }
            ConntrackCommand { count: true, .. } if filter.is_empty() => self.count(),
            ConntrackCommand { count: true, .. } => entries::count(socket, &filter),
            ConntrackCommand { stats: true, .. } => self.counters(),
            _ => entries::list(socket, &filter, self.output),
        }
    }

    /// What filters entries; masks are options of both tables.
    fn entry_filter(&self) -> Filter {
        let ExpectationFilter { mask_src, mask_dst, .. } = self.expectations;
        Filter { mask_src, mask_dst, ..self.filter.clone() }
    }

    /// Of the table `expect`.
    fn expect(&self) -> Result<(), Failure> {
        let (socket, filter) = (&self.socket, self.expectation_filter());
        match self.command {
            ConntrackCommand { create: true, .. } => {
                let new = expect::wanted(&filter, self.timeout).map_err(Failure::Other)?;
                expect::create(socket, new)
            }
            ConntrackCommand { get: true, .. } => expect::get(socket, &filter, self.output),
            ConntrackCommand { delete: true, .. } => expect::delete(socket, filter, false),
            ConntrackCommand { flush: true, .. } => expect::delete(socket, filter, true),
            ConntrackCommand { count: true, .. } => expect::count(socket, &filter),
            ConntrackCommand { event: true, .. } => {
                let filter = ExpectationEventFilter { kinds: self.event_mask.clone(), expectation: filter };
                events::watch_expectations(socket, filter, self.output)
            }
            _ => expect::list(socket, &filter, self.output).map(|_| ()),
        }
    }

    /// Both halves of what filters expectations.
    fn expectation_filter(&self) -> ExpectationFilter {
        ExpectationFilter { master: self.filter.clone(), ..self.expectations.clone() }
    }

    fn count(&self) -> Result<(), Failure> {
        match Client::connect(&self.socket.path)?.ask(&Request::Count)? {
            Response::Count { entries } => Ok(writeln!(io::stdout(), "{entries}")?),
            _ => Err(unexpected()),
        }
    }

    fn counters(&self) -> Result<(), Failure> {
        let Response::Shards { shards } = Client::connect(&self.socket.path)?.ask(&Request::Shards)? else {
            return Err(unexpected());
        };
        for shard in &shards {
            writeln!(io::stdout(), "{}", line_of(shard))?;
        }
        Ok(())
    }
}

/// As `conntrack -S` writes it, with a shard instead of a processor.
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
    use crate::socket::{EntryStatus, NatPeer, Source};

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
        let listing = conntrack("conntrack --dump -o json").unwrap().output.listing;
        assert_eq!(listing, Listing::Json);
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
    fn expectations_are_a_table_of_their_own() {
        let args =
            conntrack("conntrack -L expect --tuple-dst 10.0.0.5 --mask-src 0.0.0.0 -s 10.0.0.0/8").unwrap();
        assert_eq!((args.table, args.problem()), (Table::Expect, None));
        assert_eq!(args.expectations.mask_src, Some([0, 0, 0, 0].into()));
        assert_eq!(conntrack("conntrack -L").unwrap().table, Table::Conntrack);
        for line in [
            "-F",
            "-D",
            "-D conntrack -s 10.0.0.0 --mask-src 255.0.0.255",
            "-U conntrack -m 1",
            "-F expect",
            "-D expect",
            "-C expect",
            "-D expect -p tcp --dport 21",
            "-E expect -e NEW,DESTROY --dport 21 -o timestamp",
        ] {
            assert_eq!(conntrack(&format!("conntrack {line}")).unwrap().problem(), None, "{line}");
        }
        for line in [
            "-F -p tcp",
            "-U",
            "-U -p tcp",
            "-U expect -m 1",
            "-L -t 60",
            "-L --mask-src 255.0.0.0",
            "-L --orig-vtag 1",
            "-L -e NEW",
            "-E expect -o xml",
            "-L expect -o timestamp",
            "-L expect -o xml",
            "-G -p tcp -s 10.0.0.5",
            "-I -p tcp -s 10.0.0.5 -d 192.0.2.1 --sport 1 --dport 2 -t 60",
            "-F expect -p tcp",
            "-S expect",
            "-S -p tcp",
            "-L --tuple-src 10.0.0.5",
            "-L expect --state ESTABLISHED",
            "-L expect -n",
            "-L expect -t 60",
            "-I",
            "-G -p tcp",
        ] {
            assert!(conntrack(&format!("conntrack {line}")).unwrap().problem().is_some(), "{line}");
        }
    }

    /// What is said of options of `-I` that are missing or cannot be.
    fn refused(options: &str) -> String {
        conntrack(&format!("conntrack {options}"))
            .unwrap()
            .problem()
            .map(|(_, message)| message)
            .unwrap_or_default()
    }

    #[test]
    fn an_expectation_is_made_of_whole_tuples() {
        let master = "-I expect -p tcp -s 10.0.0.5 -d 192.0.2.1 --sport 40000 --dport 21";
        let child = "--tuple-src 192.0.2.1 --tuple-dst 10.0.0.5 --tuple-port-dst 5001";
        let wanted = |options: &str| {
            let args = conntrack(&format!("conntrack {master} {child} -t 1m {options}")).unwrap();
            assert_eq!(args.problem(), None, "{options}");
            expect::wanted(&args.expectation_filter(), args.timeout).unwrap().source
        };
        assert_eq!(wanted("-w 7"), Source::AnyPort);
        assert_eq!(wanted("--tuple-port-src 20"), Source::Exact);
        assert_eq!(wanted("--tuple-port-src 20 --mask-port-src 0"), Source::AnyPort);
        assert_eq!(wanted("--mask-src 0.0.0.0 --mask-dst 255.255.255.255"), Source::Any);
        for (options, said) in [
            (format!("{master} {child}"), "--timeout"),
            (format!("{master} -t 60"), "--tuple-src"),
            (format!("-I expect -p tcp {child} -t 60"), "--src"),
            (format!("-I expect {child} -t 60"), "--proto"),
            (format!("{master} --tuple-src 192.0.2.0/24 {} -t 60", &child[22..]), "192.0.2.0/24"),
            (format!("{master} {child} -t 60 --mask-src 255.255.0.0"), "--mask-src 0.0.0.0"),
            (format!("{master} {child} -t 60 --mask-port-dst 0"), "--mask-port-dst"),
            ("-G expect -p tcp --tuple-src 192.0.2.1".to_owned(), "--tuple-dst"),
        ] {
            assert!(refused(&options).contains(said), "{options}: {}", refused(&options));
        }
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
