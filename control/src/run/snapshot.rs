//! Connections over a restart: they are kept when the daemon is stopped, and put into the tables before the next one's first packet.
//!
//! The file is used once: what a daemon that was killed had, nobody knows.

use std::fs::{self, File};
use std::io::{self, BufReader};

use sluice_conntrack::replica::{Installed, Installing, NotInstalled, Origin, Record};
use sluice_conntrack::{Shard, ShardId};
use sluice_engine::command::{Answer, Command};
use sluice_engine::report::Page;
use tracing::{info, warn};

use super::state::{CONNECTIONS, StateDirectory};
use super::workers::{Filled, Workers};
use crate::snapshot::{Reader, SnapshotError, Writer};

/// Keeps the connections of all workers, which have been drained, in the state directory if there is one.
pub fn keep(state: Option<&StateDirectory>, workers: &mut Workers) {
    let Some(state) = state else { return };
    match state.write_by(CONNECTIONS, |file| write(Writer::new(file)?, workers)) {
        Ok(0) => {}
        Ok(count) => info!("{count} connections are kept for the next start"),
        Err(error) => warn!("{}: connections are not kept: {error}", state.file(CONNECTIONS).display()),
    }
}

fn write(mut writer: Writer<impl io::Write>, workers: &mut Workers) -> io::Result<u64> {
    for shard in 0..workers.count() {
        let mut next = Some(Box::new(Page::from_start()));
        while let Some(page) = next {
            let Some(page) = export(workers, shard, page).transpose().map_err(io::Error::other)? else {
                break;
            };
            page.items().iter().try_for_each(|record| writer.write(*record))?;
            next = page.into_next();
        }
    }
    writer.finish()
}

/// Has a worker fill a page of records.
pub fn export(workers: &mut Workers, shard: u16, page: Box<Page<Record>>) -> Filled<Record> {
    workers.ask_one(shard, Command::Export(page), |answer| match answer {
        Answer::Exported(page) => Some(page),
        _ => None,
    })
}

/// Puts the connections that a state directory has kept into the shards of a box that has not begun yet.
pub fn go_on(state: Option<&StateDirectory>, mut shards: Vec<Shard>) -> Vec<Shard> {
    let Some(path) = state.map(|state| state.file(CONNECTIONS)) else { return shards };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return shards,
        Err(error) => {
            warn!("{}: connections that were kept cannot be read: {error}", path.display());
            return shards;
        }
    };
    let (mut installed, mut refused) = (0_u64, 0_u64);
    let mut reader = Reader::new(BufReader::new(file));
    loop {
        let page = match reader.next_page() {
            Ok(Some(page)) => page,
            Ok(None) => break,
            Err(error) => {
                warn!("{}: not all connections that were kept can be read: {error}", path.display());
                if let SnapshotError::Damaged(..) = error { continue } else { break }
            }
        };
        for (_, record) in page {
            let done = record.is_ok_and(|record| install(&mut shards, record).is_ok());
            if !matches!(record, Ok(Record::Expected(_) | Record::Changed(_))) {
                installed += u64::from(done);
                refused += u64::from(!done);
            }
        }
    }
    if let Err(error) = fs::remove_file(&path) {
        warn!("{}: cannot be removed: {error}", path.display());
    }
    info!("{installed} connections go on, {refused} cannot");
    shards
}

/// Installs a record with the shard that it is for.
fn install(shards: &mut [Shard], record: Record) -> Result<(), NotInstalled> {
    let [original, _] = record.tuples();
    let mut shard = shards[0].steering().owner(&original);
    let mut installing = Installing { record, origin: Origin::Own, is_delegated: false };
    while let Installed::Delegated(home) = shards[usize::from(shard.0)].install(&installing)? {
        (shard, installing.is_delegated) = (home, true);
    }
    exchange(shards);
    Ok(())
}

/// Carries what shards have to say to one another until none has anything to say.
fn exchange(shards: &mut [Shard]) {
    let count = shards.len();
    while shards.iter().any(|shard| !shard.is_silent()) {
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (from, to))) {
            while let Some(message) = shards[from].next_message(ShardId(to as u16)) {
                shards[to].receive(ShardId(from as u16), message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluice_conntrack::expectations::Claims;
    use sluice_conntrack::ids::EntryId;
    use sluice_conntrack::policy::Policy;
    use sluice_conntrack::replica::{Connection, RecordStatus};
    use sluice_conntrack::settings::{Preset, Settings};
    use sluice_conntrack::{Capacity, Configuration, Forwarding, Instant, Steering, Tuple};
    use sluice_memory::Pages;

    use super::*;

    const WORKERS: u16 = 2;
    const ENTRIES: u32 = 4096;

    fn shards() -> Vec<Shard> {
        let claims = Arc::new(Claims::new(WORKERS, ENTRIES).unwrap());
        let shard = |number| {
            let capacity = Capacity { entries: ENTRIES, seed: [1, 2, 3, 4], pages: Pages::Ordinary };
            let settings = Settings::of(Preset::Linux, ENTRIES * u32::from(WORKERS));
            let configuration = Configuration::new(settings, Policy::default(), Forwarding::wire());
            let shard = Shard::new(capacity, configuration, Instant::default()).unwrap();
            let steering = Steering::new(ShardId(number), WORKERS).unwrap();
            shard.with_steering(steering).unwrap().with_claims(Arc::clone(&claims)).unwrap()
        };
        (0..WORKERS).map(shard).collect()
    }

    /// A connection of a client of its own, known outside by a port of its own.
    fn connection(number: u16) -> Record {
        let [high, low] = number.to_be_bytes();
        let server = [198, 51, 100, 2].into();
        Record::State(Connection {
            original: Tuple::new([10, 0, high, low].into(), server, 17, 4000, 53),
            reply: Tuple::new(server, [203, 0, 113, 1].into(), 17, 53, 5000 + number),
            state: 0,
            status: RecordStatus::SEEN_REPLY.union(RecordStatus::SRC_NAT),
            remaining_ms: 3_600_000,
            age_s: 7,
            mark: 0,
            tracker: [0; 8],
            helper: None,
            entry: EntryId::default(),
        })
    }

    fn kept(state: &StateDirectory, count: u16) {
        let write = |file: &mut io::BufWriter<&File>| {
            let mut writer = Writer::new(file)?;
            (0..count).try_for_each(|number| writer.write(connection(number)))?;
            writer.finish()
        };
        assert_eq!(state.write_by(CONNECTIONS, write).unwrap(), u64::from(count));
    }

    #[test]
    fn what_was_kept_goes_on_once() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(root.path()).unwrap();
        kept(&state, 3000);
        let shards = go_on(Some(&state), shards());
        assert_eq!(shards.iter().map(Shard::len).sum::<u32>(), 3000);
        assert!(shards.iter().all(|shard| shard.signposts() > 0), "answers come to either");
        shards.iter().for_each(|shard| shard.check_invariants().unwrap());
        assert!(!state.file(CONNECTIONS).exists());
        assert!(go_on(Some(&state), self::shards()).iter().all(Shard::is_empty));
        assert!(go_on(None, self::shards()).iter().all(Shard::is_empty));
    }

    #[test]
    fn of_a_damaged_file_goes_on_what_can_be_read() {
        let root = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(root.path()).unwrap();
        kept(&state, 1000);
        let bytes = fs::read(state.file(CONNECTIONS)).unwrap();
        state.write(CONNECTIONS, &bytes[..bytes.len() - 100]).unwrap();
        let shards = go_on(Some(&state), shards());
        assert_eq!(shards.iter().map(Shard::len).sum::<u32>(), 512, "what stands in whole entries");
        assert!(!state.file(CONNECTIONS).exists(), "it would do no better another time");
    }
}
