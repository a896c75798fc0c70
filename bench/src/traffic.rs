//! The captures that every program under the macro-benchmark is fed with: each connection's opening, the
//! packets of open connections in both directions, and connections never seen before. Flows come in
//! random order, another for each capture: one flow over and over, or flows in the order of their making,
//! hides the cache misses that a real box has.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use dpdk::pcap;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::connection::{Connection, Endpoint, Frame, OUTSIDE_ADDRESS, Step};

/// Frames built at a time, which bounds the memory that a capture of any length takes.
const FRAMES_AT_A_TIME: usize = 1 << 16;

/// When captures begin: 2026-01-01, in nanoseconds since 1970. A frame comes each microsecond.
const BEGIN_NS: u64 = 1_767_225_600_000_000_000;
const INTERVAL_NS: usize = 1000;

/// What to generate, as options of a command line.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Traffic {
    /// Established connections
    #[arg(long, default_value_t = 65_536)]
    pub connections: u32,
    /// New connections; the mempool of OVS holds 262144 packets
    #[arg(long, default_value_t = 200_000)]
    pub new_connections: u32,
    /// How many connections in a hundred are UDP; the rest is TCP
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u8).range(..=100))]
    pub udp_percent: u8,
    /// Decides tuples and order: the same seed makes the same captures
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Whether servers see all clients at [`OUTSIDE_ADDRESS`], ports kept.
    #[arg(skip)]
    pub snat: bool,
}

/// Where the captures are.
#[derive(Clone, Debug)]
pub struct Captures {
    /// Both directions: all first packets, then all answers, then the third ones.
    pub setup: PathBuf,
    /// One packet of each connection from inside, valid however often it is replayed.
    pub established_inside: PathBuf,
    /// The same from outside.
    pub established_outside: PathBuf,
    /// First packets of connections that are in no other capture.
    pub new_inside: PathBuf,
}

impl Captures {
    /// The captures' names in `directory`.
    pub fn at(directory: &Path) -> Self {
        Captures {
            setup: directory.join("setup.pcap"),
            established_inside: directory.join("established-inside.pcap"),
            established_outside: directory.join("established-outside.pcap"),
            new_inside: directory.join("new-inside.pcap"),
        }
    }
}

impl Traffic {
    /// Writes the captures into `directory`, which must be there.
    pub fn write(&self, directory: &Path) -> io::Result<Captures> {
        let captures = Captures::at(directory);
        let open = 0..self.connections;
        let new = self.connections..self.connections.saturating_add(self.new_connections);
        self.write_capture(&captures.setup, open.clone(), &[Step::Open, Step::Answer, Step::Original])?;
        self.write_capture(&captures.established_inside, open.clone(), &[Step::Original])?;
        self.write_capture(&captures.established_outside, open, &[Step::Reply])?;
        self.write_capture(&captures.new_inside, new, &[Step::Open])?;
        Ok(captures)
    }

    fn write_capture(&self, path: &Path, indices: std::ops::Range<u32>, steps: &[Step]) -> io::Result<()> {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        pcap::write_header(&mut out)?;
        let mut times_ns = (BEGIN_NS..).step_by(INTERVAL_NS);
        let mut indices: Vec<u32> = indices.collect();
        for &step in steps {
            indices.shuffle(&mut self.order(step));
            for some in indices.chunks(FRAMES_AT_A_TIME) {
                let frames: Vec<Frame> = some.par_iter().map(|&index| self.frame(index, step)).collect();
                let mut stamped = frames.iter().zip(&mut times_ns);
                stamped.try_for_each(|(frame, time_ns)| pcap::write_packet(&mut out, time_ns, frame))?;
            }
        }
        out.flush()
    }

    fn frame(&self, index: u32, step: Step) -> Frame {
        let connection = Connection::new(self.seed, index, self.udp_percent);
        let translated = Endpoint { address: OUTSIDE_ADDRESS, ..connection.client };
        if self.snat && !step.from_inside() {
            connection.from_outside(translated).frame(step)
        } else {
            connection.frame(step)
        }
    }

    /// Decides the order of a step's packets, by a stream that no connection uses.
    fn order(&self, step: Step) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(u64::from(u32::MAX) + 1 + step as u64);
        rng
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::connection::FRAME_BYTES;

    const TRAFFIC: Traffic =
        Traffic { connections: 3000, new_connections: 2000, udp_percent: 25, seed: 11, snat: false };

    fn frames(path: &Path) -> Vec<Frame> {
        let bytes = std::fs::read(path).unwrap();
        bytes[24..].chunks(16 + FRAME_BYTES).map(|record| record[16..].try_into().unwrap()).collect()
    }

    /// Source and destination address and port, and the protocol.
    fn tuple(frame: &Frame) -> (Vec<u8>, Vec<u8>, u8) {
        let end =
            |address: usize, port: usize| [&frame[address..address + 4], &frame[port..port + 2]].concat();
        (end(26, 34), end(30, 36), frame[23])
    }

    fn inverted(tuple: (Vec<u8>, Vec<u8>, u8)) -> (Vec<u8>, Vec<u8>, u8) {
        (tuple.1, tuple.0, tuple.2)
    }

    #[test]
    fn both_directions_of_every_connection_are_there_once() {
        let directory = tempfile::tempdir().unwrap();
        let captures = TRAFFIC.write(directory.path()).unwrap();
        let inside: Vec<_> = frames(&captures.established_inside).iter().map(tuple).collect();
        let outside: Vec<_> = frames(&captures.established_outside).iter().map(tuple).map(inverted).collect();
        assert_eq!((inside.len(), outside.len()), (3000, 3000));
        assert_ne!(inside, outside, "each direction has its own order");
        let known: HashSet<_> = inside.into_iter().collect();
        assert_eq!(known.len(), 3000);
        assert_eq!(known, outside.into_iter().collect());

        let new: HashSet<_> = frames(&captures.new_inside).iter().map(tuple).collect();
        assert_eq!(new.len(), 2000);
        assert!(new.is_disjoint(&known));
    }

    #[test]
    fn servers_answer_to_the_translated_address() {
        let directory = tempfile::tempdir().unwrap();
        let captures = Traffic { snat: true, ..TRAFFIC }.write(directory.path()).unwrap();
        let inside: HashSet<_> = frames(&captures.established_inside).iter().map(tuple).collect();
        let outside = frames(&captures.established_outside);
        assert!(outside.iter().all(|frame| frame[30..34] == OUTSIDE_ADDRESS.octets()));
        assert!(inside.iter().all(|(client, _, _)| client[..2] == [198, 18]));
        let ports = |frame: &Frame| [frame[36], frame[37], frame[34], frame[35]];
        let answered: HashSet<_> = outside.iter().map(ports).collect();
        assert!(
            inside.iter().all(|(client, server, _)| {
                answered.contains(&[client[4], client[5], server[4], server[5]])
            })
        );
    }

    #[test]
    fn a_handshake_is_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let captures = TRAFFIC.write(directory.path()).unwrap();
        let setup = frames(&captures.setup);
        let known: HashSet<_> = frames(&captures.established_inside).iter().map(tuple).collect();
        assert_eq!(setup.len(), 9000);
        let tuples = |range: std::ops::Range<usize>| setup[range].iter().map(tuple);
        assert_eq!(tuples(0..3000).collect::<HashSet<_>>(), known);
        assert_eq!(tuples(3000..6000).map(inverted).collect::<HashSet<_>>(), known);
        assert_eq!(tuples(6000..9000).collect::<HashSet<_>>(), known);
    }

    #[test]
    fn the_order_is_random_but_seeded() {
        let order = |seed| {
            let directory = tempfile::tempdir().unwrap();
            let captures = Traffic { seed, ..TRAFFIC }.write(directory.path()).unwrap();
            frames(&captures.established_inside)
        };
        assert_eq!(order(1), order(1));

        let in_order: Vec<Frame> = (0..3000).map(|index| TRAFFIC.frame(index, Step::Original)).collect();
        let shuffled = order(TRAFFIC.seed);
        let in_place = in_order.iter().zip(&shuffled).filter(|(a, b)| a == b).count();
        assert!(in_place < 20, "{in_place} of 3000 packets are where they would be unshuffled");
    }
}
