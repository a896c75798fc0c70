//! The box between the oracle's two sides: one shard, and a clock that the script moves.

use anyhow::{Context as _, Result, anyhow};
use serde_json::{Value, json};
use sluice::config::Config;
use sluice_conntrack::listing::EntrySnapshot;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Capacity, DropReason, Instant, PortId, Shard, Verdict};
use sluice_memory::Pages;
use std::time::Duration;

use super::{entries, hex};

/// The sides, in the order of their port numbers.
pub const SIDES: [&str; 2] = ["inside", "outside"];

const ETHERNET_BYTES: usize = 14;

/// An answer is an ICMP error at most, or an echo reply as long as the request.
const MAX_ANSWER_BYTES: usize = 65_536;

/// A shard and its time.
#[derive(Debug)]
pub struct Router {
    /// The shard, the same that a worker runs.
    pub shard: Shard,
    /// The time by the script.
    pub now: Instant,
    /// Entries made since the table was last looked at, as they were when they were made.
    pub born: Vec<Value>,
}

impl Router {
    /// A box with this configuration and an empty table.
    pub fn new(file: &Config) -> Result<Self> {
        let configuration = Box::new(lower(file)?);
        let entries = configuration.settings.max_entries;
        let capacity = Capacity { entries, seed: [1, 2, 3, 4], pages: Pages::Ordinary };
        let now = Instant::from_ns(0).after(Duration::from_secs(1));
        Ok(Self { shard: Shard::new(capacity, configuration, now)?, now, born: Vec::new() })
    }

    /// Puts another configuration in force.
    pub fn configure(&mut self, file: &Config) -> Result<()> {
        self.shard.configure(Box::new(lower(file)?));
        Ok(())
    }

    /// Deletes entries.
    pub fn delete(&mut self, wanted: impl FnMut(&EntrySnapshot) -> bool) {
        self.shard.delete(wanted);
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: f64) -> Result<Value> {
        let step = Duration::try_from_secs_f64(seconds)?;
        self.now = self.now.after(step);
        while !self.shard.expire(self.now, u32::MAX) {}
        Ok(json!({ "out": [], "ct": [], "why": [] }))
    }

    /// Sends a layer-3 packet in from one side, and says what came out and how it was classified.
    pub fn send(&mut self, side: &str, l3: &[u8]) -> Result<Value> {
        let port = SIDES.iter().position(|name| *name == side).context("no such side")?;
        let mut frames = [(PortId(port as u8), ethernet(l3))];
        let mut verdicts = [Verdict::dropped(DropReason::Policy)];
        let inserts = self.shard.counters().inserts;
        self.shard.process(self.now, &mut frames, &mut verdicts);
        let [verdict] = verdicts;
        if self.shard.counters().inserts > inserts {
            self.born.extend(entries::find(self, verdict.entry));
        }
        let [frame] = &frames;
        let mut answer = [0; MAX_ANSWER_BYTES];
        let out = match verdict.action {
            Action::Forward(egress) => {
                let side = SIDES.get(usize::from(egress.0)).context("no such port")?;
                Some(json!({ "side": side, "l3": l3_hex(&frame.1), "local": false }))
            }
            _ => self
                .shard
                .answer(frame, &verdict, &mut answer)
                .map(|length| json!({ "side": side, "l3": l3_hex(&answer[..length]), "local": true })),
        };
        let classified = verdict.state.map(|state| {
            let direction = verdict.direction.map(|direction| ["orig", "reply"][direction as usize]);
            json!({ "state": state.name(), "dir": direction, "len": unpadded(l3).len() })
        });
        let why = verdict.invalid.map(|reason| reason.label());
        Ok(
            json!({ "out": Vec::from_iter(out), "ct": Vec::from_iter(classified), "why": Vec::from_iter(why) }),
        )
    }
}

fn lower(file: &Config) -> Result<sluice_conntrack::Configuration> {
    sluice::config::lower(file).map_err(|problem| anyhow!("{problem:?}"))
}

/// A frame around a layer-3 packet.
fn ethernet(l3: &[u8]) -> Vec<u8> {
    let kind: u16 = if l3.first().is_some_and(|byte| byte >> 4 == 6) { 0x86dd } else { 0x0800 };
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    frame.extend(kind.to_be_bytes());
    frame.extend(l3);
    frame
}

/// The layer-3 packet in a frame.
fn l3_hex(frame: &[u8]) -> String {
    hex(unpadded(frame.get(ETHERNET_BYTES..).unwrap_or_default()))
}

/// A packet without what a link may put behind it.
fn unpadded(l3: &[u8]) -> &[u8] {
    let length = match l3 {
        [first, _, high, low, ..] if first >> 4 == 4 => usize::from(u16::from_be_bytes([*high, *low])),
        [first, _, _, _, high, low, ..] if first >> 4 == 6 => {
            40 + usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => l3.len(),
    };
    &l3[..length.min(l3.len())]
}
