//! `sluice ha notify`: keepalived's word for a running daemon (its `vrrp_notify_fifo_script`), and the daemon's end for keepalived.
//!
//! It stays as long as keepalived, so that neither a takeover nor the word of a death waits for a process to start. A killed daemon takes a
//! while to end, the longer the more memory and the more ports there are to give back, and only then does systemd hear of it. Its
//! connections are closed before: when this one is, and the process is on its way out, no thread of it forwards anything any more.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};

use super::ask::{Failure, Socket, exit};
use crate::output::say;
use crate::socket::Client;
use crate::socket::protocol::Request;

/// How often is looked whether a daemon listens where none does.
const RETRY: Duration = Duration::from_millis(250);

/// How long a daemon whose connection is closed has to be seen on its way out, and how often is looked.
const LAST_LOOK: Duration = Duration::from_millis(50);
const LOOK: Duration = Duration::from_millis(1);

/// What a track file says of a daemon that has ended.
const ENDED: &str = "2\n";

/// `PF_EXITING`: what the kernel says of a thread that ends (`flags` of proc_pid_stat(5), include/linux/sched.h).
const EXITING: u64 = 4;

/// What `sluice ha notify` is given.
#[derive(Clone, Debug, Args)]
pub struct NotifyArgs {
    /// A file that keepalived tracks: 2 is written there as soon as the daemon has died
    #[arg(long = "track-file", value_name = "PATH")]
    track_files: Vec<PathBuf>,

    /// The pipe of keepalived (`vrrp_notify_fifo`), which it gives itself
    fifo: PathBuf,

    /// How to ask
    #[command(flatten)]
    socket: Socket,
}

impl NotifyArgs {
    /// Does what keepalived says until it ends.
    pub fn run(self) -> ExitCode {
        let NotifyArgs { track_files, fifo, socket } = self;
        let watched = socket.path.clone();
        thread::spawn(move || watch(&watched, &track_files));
        exit(obey(&fifo, &socket.path))
    }
}

/// One is done after the other, so that what was told last holds.
fn obey(fifo: &Path, socket: &Path) -> Result<(), Failure> {
    for line in BufReader::new(File::open(fifo)?).lines() {
        let line = line?;
        let Some((group, active)) = told(&line) else { continue };
        let request = Request::ChangeRole { group: group.to_owned(), active, force: false };
        if let Err(why) = Client::connect(socket).and_then(|mut client| client.ask(&request)) {
            say(&format!("sluice: {line}: {why}"));
        }
    }
    Ok(())
}

/// The group that a line is about, and whether the box is to be active for it: `INSTANCE "name" state priority`.
fn told(line: &str) -> Option<(&str, bool)> {
    let (group, rest) = line.strip_prefix("INSTANCE \"")?.split_once("\" ")?;
    match rest.split(' ').next()? {
        "MASTER" => Some((group, true)),
        "BACKUP" | "FAULT" | "STOP" => Some((group, false)),
        _ => None,
    }
}

/// Writes into the files when a daemon has died, for as long as there is one after the other.
fn watch(socket: &Path, track_files: &[PathBuf]) {
    loop {
        match UnixStream::connect(socket).and_then(outlived) {
            // It closes connections on which nothing is said for long.
            Ok(false) => continue,
            Ok(true) => track_files.iter().for_each(|file| {
                if let Err(why) = fs::write(file, ENDED) {
                    say(&format!("sluice: {}: {why}", file.display()));
                }
            }),
            Err(_) => {}
        }
        thread::sleep(RETRY);
    }
}

/// Waits until the daemon closes a connection on which nothing is said; whether it did so because it died.
fn outlived(mut connection: UnixStream) -> io::Result<bool> {
    let daemon = getsockopt(&connection, PeerCredentials)?.pid();
    // One that is reset has ended, too.
    while connection.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
    let closed = Instant::now();
    while closed.elapsed() < LAST_LOOK {
        if is_ending(daemon) {
            return Ok(true);
        }
        thread::sleep(LOOK);
    }
    Ok(false)
}

/// Whether a process is gone or ends. One that this one cannot see is neither.
fn is_ending(process: i32) -> bool {
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => flags(&stat).is_some_and(|flags| flags & EXITING != 0),
        Err(error) => process > 0 && error.kind() == io::ErrorKind::NotFound,
    }
}

/// The flags of a process: the seventh field behind its name, which may have anything in it.
fn flags(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(6)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_keepalived_says_of_instances_counts() {
        for (line, means) in [
            ("INSTANCE \"g1\" MASTER 254", Some(("g1", true))),
            ("INSTANCE \"g1\" BACKUP 254", Some(("g1", false))),
            ("INSTANCE \"g 1\" FAULT 0", Some(("g 1", false))),
            ("INSTANCE \"g1\" STOP 254", Some(("g1", false))),
            ("INSTANCE \"g1\" MASTER_RX_LOWER_PRI 254", None),
            ("GROUP \"g1\" MASTER 254", None),
            ("INSTANCE g1 MASTER", None),
            ("INSTANCE \"g1\"", None),
            ("", None),
        ] {
            assert_eq!(told(line), means, "{line}");
        }
    }

    #[test]
    fn a_process_ends_when_the_kernel_says_so() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        assert!(!is_ending(pid));
        child.kill().unwrap();
        while !is_ending(pid) {}
        child.wait().unwrap();
        assert!(is_ending(pid) && !is_ending(0));
        assert_eq!(flags("7 (a) b) R 1 7 7 0 -1 4194308 9"), Some(4_194_308));
        assert_eq!(flags("7 (a"), None);
    }

    #[test]
    fn who_closes_a_connection_and_lives_has_not_died() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let connection = UnixStream::connect(&path).unwrap();
        drop(listener.accept().unwrap());
        assert!(!outlived(connection).unwrap());
    }
}
