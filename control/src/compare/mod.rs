//! `sluice compare`: the same packets through the kernel, with the rules of a Linux box, and through Sluice, with what has become of them.
//!
//! Time stands still on both sides: packets come in one behind the other, and no timeout passes between two of them.

mod kernel;
mod router;

use std::thread;

use serde::Serialize;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{Instant, PortId, wire};

use crate::packet::describe;
use crate::rehearsal::{Came, Outcome, Rehearsal, Subject};
use kernel::Kernel;
pub use kernel::Rules;

/// A frame, and the interface that it leaves by.
type Leaving = (PortId, Vec<u8>);

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It leaves, as so many frames.
    Leaves(Vec<Leaving>),
    /// It is for the box itself, and may go there.
    ForBox,
    /// It ends here, and its sender is told.
    Refused,
    /// It ends here, or waits for other fragments.
    Ends,
}

/// A packet that the two sides do not treat alike.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    /// Its number, from 1.
    pub number: usize,
    /// It, in words.
    pub packet: String,
    /// What the kernel does with it.
    pub kernel: String,
    /// What Sluice does.
    pub sluice: String,
}

/// What has come of a comparison.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// How many packets have left, were for the box, refused and ended, alike on both sides.
    pub alike: [usize; 4],
    /// All others.
    pub differences: Vec<Difference>,
}

/// Has frames come in by ports, in their order, on both sides.
///
/// # Errors
/// The kernel's side cannot be made, or there is no memory for Sluice's: in a sentence.
pub fn compare(
    subject: &Subject,
    rules: &[Rules],
    frames: Vec<(PortId, Vec<u8>)>,
) -> Result<Comparison, String> {
    // The thread goes to a network namespace, and never comes back.
    let both_sides = || {
        let mut kernel = Kernel::new(&subject.config, rules)?;
        let mut rehearsal = Rehearsal::new(&subject.configuration, Instant::from_ns(1_000_000_000))
            .map_err(|why| format!("no memory for a table: {why}"))?;
        let mut comparison = Comparison::default();
        for (number, (port, mut frame)) in (1..).zip(frames) {
            let ingress = subject.untag(port, &mut frame);
            let in_kernel = kernel.send(ingress, frame.clone())?;
            let came = rehearsal.send(ingress, vec![frame]);
            let here = Fate::of(&came);
            if here.is_like(&in_kernel) {
                comparison.alike[here.number()] += 1;
                continue;
            }
            let outcome = Outcome::of(&came, &subject.names);
            let sent = outcome.sent.first().map(|sent| format!(": {sent}")).unwrap_or_default();
            let same_words = in_kernel.say(subject) == here.say(subject);
            let bytes = if same_words { here.first_other_byte(&in_kernel) } else { String::new() };
            comparison.differences.push(Difference {
                number,
                packet: format!("in {} {}", subject.names.interface(ingress), describe(&came.frame)),
                kernel: in_kernel.say(subject),
                sluice: format!("{outcome}{sent}{bytes}"),
            });
        }
        Ok(comparison)
    };
    thread::scope(|scope| {
        let thread = scope.spawn(both_sides);
        thread.join().unwrap_or_else(|_| Err("the comparison has failed".to_owned()))
    })
}

impl Fate {
    /// That of a packet here.
    fn of(came: &Came) -> Fate {
        match came.verdict.action {
            Action::Deliver => Fate::ForBox,
            Action::Forward(port) if PortId::LOCAL.covers(port) => Fate::ForBox,
            Action::Reject(..) => Fate::Refused,
            Action::Forward(_) | Action::Fragment(..) | Action::Announce(_) | Action::Acknowledge(_) => {
                let passed = came.sent.iter().filter(|sent| !sent.is_answer);
                Fate::Leaves(passed.map(|sent| (sent.port, sent.frame.clone())).collect())
            }
            Action::Drop(_)
            | Action::Reassemble(_)
            | Action::Handoff(..)
            | Action::Hold(_)
            | Action::Wait => Fate::Ends,
        }
    }

    const fn number(&self) -> usize {
        match self {
            Fate::Leaves(_) => 0,
            Fate::ForBox => 1,
            Fate::Refused => 2,
            Fate::Ends => 3,
        }
    }

    /// Whether two packets come to the same, whomever their frames are addressed to on the link.
    fn is_like(&self, other: &Fate) -> bool {
        match (self, other) {
            (Fate::Leaves(these), Fate::Leaves(those)) => {
                let alike = |(this, that): (&Leaving, &Leaving)| {
                    this.0 == that.0 && ip_packet(this) == ip_packet(that)
                };
                these.len() == those.len() && these.iter().zip(those).all(alike)
            }
            _ => self == other,
        }
    }

    fn say(&self, subject: &Subject) -> String {
        match self {
            Fate::Leaves(sent) => {
                let say = |(port, frame): &Leaving| {
                    format!("out {}: {}", subject.names.interface(*port), describe(frame))
                };
                format!("accept, {}", sent.iter().map(say).collect::<Vec<_>>().join(", "))
            }
            Fate::ForBox => "accept, out local".to_owned(),
            Fate::Refused => "reject".to_owned(),
            Fate::Ends => "drop".to_owned(),
        }
    }

    /// Where two packets differ that words do not tell apart.
    fn first_other_byte(&self, other: &Fate) -> String {
        let (Fate::Leaves(these), Fate::Leaves(those)) = (self, other) else { return String::new() };
        let pairs = these.iter().zip(those).map(|(this, that)| (ip_packet(this), ip_packet(that)));
        let differ = |(this, that): (&[u8], &[u8])| {
            let at = this.iter().zip(that).position(|(this, that)| this != that);
            (this != that).then(|| at.unwrap_or(this.len().min(that.len())))
        };
        let at = pairs.map(differ).find_map(|at| at);
        at.map(|at| format!(", other from byte {at} of the IP packet on")).unwrap_or_default()
    }
}

/// The IP packet of a frame, without what fills a short frame up.
fn ip_packet(leaving: &Leaving) -> &[u8] {
    let (_, frame) = leaving;
    let Ok(headers) = wire::parse(leaving) else { return frame };
    let packet = frame.get(usize::from(headers.l3_offset)..).unwrap_or_default();
    packet.get(..headers.l3_len as usize).unwrap_or(packet)
}
