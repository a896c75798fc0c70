//! The inputs, made ready for net_pcap: Ethernet captures in nanoseconds, one for each interface, with their stamps
//! beside them, since net_pcap itself keeps microseconds only.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use dpdk::pcap;

use super::Failure;
use super::capture::{self, Damage, Record, Unreadable};
use super::sides::{Side, Sides};

/// One packet of an input.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Nanoseconds since 1970.
    pub time_ns: u64,
    /// Its number in its capture, from 1.
    pub record: u32,
    /// Whether the capture has only its first bytes. Such a packet is not among the prepared ones.
    pub cut: bool,
}

/// What comes in by one interface.
#[derive(Debug)]
pub struct Input {
    /// The capture it comes from, by its position on the command line.
    pub source: usize,
    /// The prepared capture.
    pub path: PathBuf,
    /// Its packets, in order, and among them those that were cut.
    pub stamps: Vec<Stamp>,
    /// Bytes of the longest frame.
    pub longest: usize,
}

/// A capture on the command line.
#[derive(Debug)]
pub struct Source<'a> {
    /// Its number there.
    pub number: usize,
    /// The file.
    pub path: &'a Path,
    /// The prepared captures to be written: of all packets, or of those from the clients and those from the servers.
    pub targets: Targets,
}

/// Where the packets of a capture come in.
#[derive(Debug)]
pub enum Targets {
    /// By one interface.
    One(PathBuf),
    /// By one or the other, as each connection's first sender says.
    Split {
        /// The side of each connection's first sender.
        client: PathBuf,
        /// The other one.
        server: PathBuf,
    },
}

/// Reads a capture and writes its prepared ones, in the order of its targets. Gives them, and where it is damaged.
/// `read` is told how many bytes of the file are behind.
pub fn prepare(source: &Source<'_>, read: impl FnMut(u64)) -> Result<(Vec<Input>, Option<Damage>), Failure> {
    let paths = match &source.targets {
        Targets::One(path) => vec![path],
        Targets::Split { client, server } => vec![client, server],
    };
    let writers = paths.into_iter().map(|path| Writer::create(source.number, path));
    let mut writers = writers.collect::<Result<Vec<_>, _>>()?;
    let mut sides = Sides::default();
    let mut frame = Vec::new();
    let mut failed = None;
    let damage = capture::read(source.path, read, |record| {
        record.link.frame(record.bytes, &mut frame);
        let writer = match writers.len() {
            1 => 0,
            _ => sides.of(&mut frame) as usize,
        };
        writers[writer].write(&record, &frame).inspect_err(|error| failed = Some((writer, error.kind())))
    });
    let damage = damage.map_err(|error| match (failed, error) {
        (Some((writer, _)), Unreadable::Io(error)) => {
            Failure::file("write", &writers[writer].input.path, error)
        }
        (_, error) => Failure::file("read", source.path, error),
    })?;
    let inputs = writers.into_iter().map(Writer::finish).collect::<Result<_, _>>()?;
    Ok((inputs, damage))
}

/// One prepared capture in the making.
struct Writer {
    file: BufWriter<File>,
    input: Input,
}

impl Writer {
    fn create(source: usize, path: &Path) -> Result<Self, Failure> {
        let start = || {
            let mut file = BufWriter::new(File::create(path)?);
            pcap::write_header(&mut file)?;
            Ok(file)
        };
        let file = start().map_err(|error: io::Error| Failure::file("write", path, error))?;
        Ok(Self { file, input: Input { source, path: path.to_owned(), stamps: Vec::new(), longest: 0 } })
    }

    fn write(&mut self, record: &Record<'_>, frame: &[u8]) -> io::Result<()> {
        let number = u32::try_from(record.number).unwrap_or(u32::MAX);
        self.input.stamps.push(Stamp { time_ns: record.time_ns, record: number, cut: record.cut });
        if record.cut {
            return Ok(());
        }
        self.input.longest = self.input.longest.max(frame.len());
        pcap::write_packet(&mut self.file, record.time_ns, frame)
    }

    fn finish(mut self) -> Result<Input, Failure> {
        self.file.flush().map_err(|error| Failure::file("write", &self.input.path, error))?;
        Ok(self.input)
    }
}

/// An interface that nothing comes in by.
pub fn none(path: PathBuf) -> Result<Input, Failure> {
    Writer::create(usize::MAX, &path)?.finish()
}

const _: () = assert!(Side::Client as usize == 0 && Side::Server as usize == 1);
