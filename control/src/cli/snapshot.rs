//! `sluice conntrack save` and `load`: the table as records that a daemon can go on by, in a file.
//!
//! They are those of [`crate::snapshot`], which a daemon keeps over a restart and peers tell one another. A load takes what is sound, and
//! says of the rest why it is refused.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, IsTerminal, Read, Write};
use std::path::Path;

use clap::{Args, Subcommand};
use sluice_conntrack::Tuple;
use sluice_conntrack::replica::Record;

use super::ask::{Failure, Socket, unexpected};
use super::entries::done;
use crate::output::say;
use crate::replace::replace;
use crate::snapshot::{Reader, SnapshotError, Writer};
use crate::socket::protocol::{Cursor, Request, Response};
use crate::socket::{Client, Packed};

/// Records of a request: as many of IPv6 and with text behind them as are well below [`crate::socket::MAX_REQUEST_BYTES`].
const RECORDS_PER_REQUEST: usize = 48;

/// Refused records of which each is told; of more only how many there are.
const MAX_TOLD: u64 = 20;

/// What is done with the whole table.
#[derive(Clone, Debug, Subcommand)]
pub enum SnapshotCommand {
    /// Save all connections, translations and expectations of helpers, so that `load` goes on by them
    Save(SnapshotFile),
    /// Have the connections of a file that `save` has written tracked again, here or by another box
    Load(SnapshotFile),
}

/// Where the records are.
#[derive(Clone, Debug, Args)]
pub struct SnapshotFile {
    /// The file; `-` is standard output or input
    #[arg(default_value = "-")]
    file: String,

    /// Where to ask
    #[command(flatten)]
    socket: Socket,
}

impl SnapshotCommand {
    /// Does it.
    pub(super) fn run(&self) -> Result<(), Failure> {
        match self {
            Self::Save(SnapshotFile { file, socket }) => save(&mut Client::connect(&socket.path)?, file),
            Self::Load(SnapshotFile { file, socket }) => load(&mut Client::connect(&socket.path)?, file),
        }
    }
}

fn save(client: &mut Client, file: &str) -> Result<(), Failure> {
    if file == "-" {
        let out = io::stdout();
        if out.is_terminal() {
            return Err(Failure::Other(
                "records are no text: name a file, or a pipe to take them".to_owned(),
            ));
        }
        done(save_to(client, out.lock())?, "saved");
        return Ok(());
    }
    let path = Path::new(file);
    // A device or a pipe is written to; a file becomes another one when all is in that.
    let saved = match fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            File::options().write(true).open(path).and_then(|file| save_to(client, &file))
        }
        _ => replace(path, |file| save_to(client, file)),
    };
    done(saved.map_err(|error| Failure::Other(format!("{file}: {error}")))?, "saved");
    Ok(())
}

/// Saves page by page; gives how many connections there were.
fn save_to(client: &mut Client, out: impl Write) -> io::Result<usize> {
    let mut writer = Writer::new(BufWriter::new(out))?;
    let mut next = Some(Cursor::default());
    while let Some(from) = next {
        let answer = client.ask(&Request::Save { from }).map_err(io::Error::other)?;
        let Response::Saved { records, next: behind } = answer else {
            return Err(io::Error::other(unexpected().to_string()));
        };
        for packed in &records {
            for record in packed.records().map_err(io::Error::other)? {
                writer.write(record.map_err(io::Error::other)?)?;
            }
        }
        next = behind;
    }
    Ok(writer.finish()? as usize)
}

fn load(client: &mut Client, file: &str) -> Result<(), Failure> {
    let unread = |error: io::Error| Failure::Other(format!("{file}: {error}"));
    let input: Box<dyn Read> = match file {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(file).map_err(unread)?),
    };
    let mut reader = Reader::new(BufReader::new(input));
    let mut loading =
        Loading { client, file, batch: Vec::new(), refused: None, loaded: 0, reasons: BTreeMap::new() };
    let read = loading.take_all(&mut reader);
    done(loading.loaded, "loaded");
    let is_whole = read?;
    let reasons: Vec<_> =
        loading.reasons.iter().map(|(why, count)| format!("{count} because {why}")).collect();
    match (reasons.is_empty(), is_whole) {
        (true, true) => Ok(()),
        (true, false) => Err(Failure::Other(format!("not all of {file} could be read"))),
        (false, _) => Err(Failure::Other(format!("records of {file} were refused: {}", reasons.join("; ")))),
    }
}

/// A file that is being loaded.
struct Loading<'a> {
    client: &'a mut Client,
    file: &'a str,
    /// Records by their numbers in the file, which the daemon is given next: of connections, or of what is told beside them.
    batch: Vec<(u64, Record)>,
    /// The last connection, if it was refused.
    refused: Option<[Tuple; 2]>,
    /// How many connections were loaded.
    loaded: usize,
    /// How many records were refused by which reason.
    reasons: BTreeMap<String, u64>,
}

impl Loading<'_> {
    /// Has all records loaded that can be read; false where some cannot, which is told.
    fn take_all(&mut self, reader: &mut Reader<impl Read>) -> Result<bool, Failure> {
        let mut is_whole = true;
        loop {
            match reader.next_page() {
                Ok(None) => break,
                Ok(Some(page)) => {
                    for (number, record) in page {
                        match record {
                            Ok(record) => self.take(number, record)?,
                            Err(why) => self.refuse(number, &why.to_string()),
                        }
                    }
                }
                Err(why) => {
                    say(&format!("{}: {why}", self.file));
                    is_whole = false;
                    if !matches!(why, SnapshotError::Damaged(..)) {
                        break;
                    }
                }
            }
        }
        self.send()?;
        Ok(is_whole)
    }

    /// Has a record loaded, sooner or later. What is told beside a connection is so only if that was.
    fn take(&mut self, number: u64, record: Record) -> Result<(), Failure> {
        let is_beside = |record: &Record| !matches!(record, Record::State(_));
        let is_other = self.batch.first().is_some_and(|(_, first)| is_beside(first) != is_beside(&record));
        if is_other || self.batch.len() == RECORDS_PER_REQUEST {
            self.send()?;
        }
        if is_beside(&record) && self.refused == Some(record.tuples()) {
            self.refuse(number, "its connection was refused");
        } else {
            self.batch.push((number, record));
        }
        Ok(())
    }

    /// Has those loaded that wait.
    fn send(&mut self) -> Result<(), Failure> {
        let batch = std::mem::take(&mut self.batch);
        let Some((_, last)) = batch.last() else { return Ok(()) };
        let records: Vec<Record> = batch.iter().map(|(_, record)| *record).collect();
        let request = Request::Load { records: Packed::of(&records) };
        let Response::Loaded { not_loaded } = self.client.ask(&request)? else { return Err(unexpected()) };
        let is_refused = |number: usize| not_loaded.iter().any(|it| it.number == number);
        if matches!(last, Record::State(_)) {
            self.refused = is_refused(batch.len() - 1).then(|| last.tuples());
            self.loaded += batch.len().saturating_sub(not_loaded.len());
        }
        for refused in not_loaded {
            if let Some((number, _)) = batch.get(refused.number) {
                self.refuse(*number, &refused.why);
            }
        }
        Ok(())
    }

    fn refuse(&mut self, number: u64, why: &str) {
        if self.reasons.values().sum::<u64>() < MAX_TOLD {
            say(&format!("{}: record {number}: {why}", self.file));
        }
        *self.reasons.entry(why.to_owned()).or_default() += 1;
    }
}
