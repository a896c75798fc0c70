//! What must hold for those who are told of connections.

use crate::config::path::{Path, Problem};
use crate::config::schema::Config;
use crate::config::values::{Endpoint, Seconds, Size};

/// The least that a journal is of use in: 16 segments of 1 MiB.
const LEAST_SIZE: Size = Size(16 << 20);

/// Age is told by segment, and one goes on for an hour.
const LEAST_KEEP: Seconds = Seconds(3600);

/// A round past all connections takes an eighth of it.
const LEAST_ACTIVE_TIMEOUT: Seconds = Seconds(10);

/// Each has a thread and a queue.
const MAX_RECEIVERS: usize = 8;

pub(super) fn check(config: &Config) -> Vec<Problem> {
    let section = Path::root().join("export");
    let mut problems = Vec::new();
    if let Some(journal) = &config.export.journal {
        let path = section.join("journal");
        if !journal.directory.is_absolute() {
            let message = format!("`{}` is not a path from the root", journal.directory.display());
            problems.push(Problem::at(path.join("directory"), message));
        }
        if journal.size < LEAST_SIZE {
            let message = format!("{} is too little; the least is {LEAST_SIZE}", journal.size);
            problems.push(Problem::at(path.join("size"), message));
        }
        if journal.keep < LEAST_KEEP {
            let message = format!("{} is too short; the least is {LEAST_KEEP}", journal.keep);
            problems.push(Problem::at(path.join("keep"), message));
        }
    }
    for (number, ipfix) in config.export.ipfix.iter().enumerate() {
        if matches!(ipfix.to, Endpoint::Unix(_)) {
            let message = "IPFIX goes over UDP or TCP".to_owned();
            problems.push(Problem::at(section.join("ipfix").join(number).join("to"), message));
        }
    }
    for (number, ipfix) in config.export.ipfix.iter().enumerate() {
        let timeout = ipfix.active_timeout;
        if timeout > Seconds(0) && timeout < LEAST_ACTIVE_TIMEOUT {
            let path = section.join("ipfix").join(number).join("active-timeout");
            let message = format!("{timeout} is too short; the least is {LEAST_ACTIVE_TIMEOUT}");
            problems.push(
                Problem::at(path, message).help(Some("0 has flows told of when they end alone".to_owned())),
            );
        }
    }
    let receivers = config.export.syslog.len() + config.export.ipfix.len();
    if receivers > MAX_RECEIVERS {
        let message = format!("{receivers} are too many who are told; the most is {MAX_RECEIVERS}");
        problems.push(Problem::at(section, message));
    }
    problems
}
