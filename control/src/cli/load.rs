//! `sluice conntrack -R FILE`: makes the connections that `conntrack -L -o save` has written, Linux's or Sluice's, so that a box takes
//! the place of another without a reset.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use clap::{Args, Command};

use super::ask::{Failure, Socket};
use super::entries;
use crate::output::say;
use crate::socket::{Client, ClientError, NewConnection};

/// Makes the connections of a file, or of standard input where its name is `-`: each line has the options of `-A` or `-I`. A line that
/// cannot be done is told, and those behind it are done. `made` is the connection that options make, and whether by `-A`.
pub(super) fn load<A: Args>(socket: &Socket, path: &str, made: Made<A>) -> Result<(), Failure> {
    let unread = |error: io::Error| Failure::Other(format!("{path}: {error}"));
    let input: Box<dyn BufRead> = match path {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(BufReader::new(File::open(path).map_err(unread)?)),
    };
    let mut client = Client::connect(&socket.path)?;
    let mut parser = parser::<A>();
    let (mut created, mut refused) = (0, 0);
    for (number, line) in (1..).zip(input.lines()) {
        let line = line.map_err(unread)?;
        if line.trim_start().starts_with('#') || line.trim().is_empty() {
            continue;
        }
        match parse(&mut parser, &line, made)
            .and_then(|(new, is_add)| entries::create_by(&mut client, new, is_add))
        {
            Ok(is_new) => created += usize::from(is_new),
            Err(Failure::Daemon(error @ (ClientError::Unreachable(..) | ClientError::Broken(..)))) => {
                entries::done(created, "created");
                return Err(error.into());
            }
            Err(failure) => {
                say(&format!("{path}:{number}: {failure}"));
                refused += 1;
            }
        }
    }
    entries::done(created, "created");
    if refused == 0 { Ok(()) } else { Err(Failure::Other(format!("{refused} lines of {path} were refused"))) }
}

/// The connection that options make, and whether by `-A`; `None` where they make none.
pub(super) type Made<A> = fn(&A) -> Option<Result<(NewConnection, bool), String>>;

/// What reads lines.
fn parser<A: Args>() -> Command {
    A::augment_args(Command::new("conntrack").no_binary_name(true).disable_help_flag(true))
}

/// The connection that a line has made, and whether by `-A`.
fn parse<A: Args>(parser: &mut Command, line: &str, made: Made<A>) -> Result<(NewConnection, bool), Failure> {
    let problem = |error: clap::Error| {
        let message = error.to_string();
        let first = message.lines().next().unwrap_or_default();
        Failure::Other(first.strip_prefix("error: ").unwrap_or(first).to_owned())
    };
    let matches = parser.try_get_matches_from_mut(line.split_ascii_whitespace()).map_err(problem)?;
    match made(&A::from_arg_matches(&matches).map_err(problem)?) {
        Some(made) => made.map_err(Failure::Other),
        None => Err(Failure::Other("a line makes an entry: -A or -I, and its tuple".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::conntrack::ConntrackArgs;
    use sluice_conntrack::entry::Status;

    fn parsed(line: &str) -> Result<(NewConnection, bool), String> {
        parse(&mut parser::<ConntrackArgs>(), line, ConntrackArgs::made)
            .map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_linux_has_saved_is_read() {
        let tcp = "-A -t 431999 -u SEEN_REPLY,ASSURED -s 10.0.0.5 -d 192.0.2.1 -r 192.0.2.1 -n 203.0.113.1 -p tcp \
                   --sport 4000 --dport 22 --reply-port-src 22 --reply-port-dst 5000 --state ESTABLISHED";
        let (new, is_add) = parsed(tcp).unwrap();
        let new = new.lower().unwrap();
        assert!(is_add && new.status == Status::SEEN_REPLY.union(Status::ASSURED));
        assert_eq!((new.state, new.timeout_ms), (3, 431_999_000));
        assert_eq!((new.reply.destination(), new.reply.selector.dport()), ([203, 0, 113, 1].into(), 5000));
        let echo = "-A -t 29 -u SEEN_REPLY -s ::1 -d ::2 -r ::2 -q ::1 -p icmpv6 --icmp-type 128 --icmp-code 0 --icmp-id 7";
        assert!(parsed(echo).unwrap().0.lower().is_ok());
        assert!(!parsed("-I -t 9 -s 10.0.0.5 -d 192.0.2.1 -p udp --sport 1 --dport 2").unwrap().1);
    }

    /// `conntrack -L -o save` of conntrack-tools 1.4.7 and kernel 6.18: echoes, TCP, UDP, translated and not, answered and not.
    const RECORDED: &str = include_str!("../../tests/import/connections");

    #[test]
    fn a_dump_of_the_kernels_table_is_read() {
        let made: Vec<_> = RECORDED.lines().map(|line| parsed(line).unwrap().0.lower().unwrap()).collect();
        assert_eq!(made.len(), 6);
        let translated: Vec<_> = made.iter().filter(|new| new.reply != new.original.invert()).collect();
        let [snat, dnat] = translated[..] else { panic!("two are translated: {translated:?}") };
        assert_eq!((snat.reply.destination(), snat.timeout_ms), ([203, 0, 113, 1].into(), 29_000));
        assert_eq!((dnat.reply.source(), dnat.reply.selector.sport()), ([192, 0, 2, 1].into(), 8080));
        assert_eq!((dnat.timeout_ms, dnat.status), (431_999_000, Status::SEEN_REPLY.union(Status::ASSURED)));
        assert_eq!(made.iter().filter(|new| new.status == Status::default()).count(), 1);
    }

    #[test]
    fn what_makes_no_entry_is_refused() {
        for (line, said) in [
            ("-L -p tcp", "-A or -I"),
            ("-A expect -p tcp", "-A or -I"),
            ("-R other", "-A or -I"),
            ("-s 10.0.0.5", "required"),
            ("-A -p tcp", "--timeout"),
            ("-A -t 60 -p tcp --sport 1 --dport 2", "--src"),
            ("-A -t 60 -s 10.0.0.5 -d 192.0.2.1 -p udp --sport x --dport 2", "'x'"),
            ("-A -t 60 -s 10.0.0.5 -d 192.0.2.1 -p udp --sport 1 --dport 2 --what", "--what"),
            ("--help", "--help"),
            ("expect it all", "'it'"),
            ("save it", "-A or -I"),
        ] {
            let message = parsed(line).unwrap_err();
            assert!(message.contains(said) && !message.contains('\n'), "{line}: {message}");
        }
    }
}
