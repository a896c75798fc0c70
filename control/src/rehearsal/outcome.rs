//! What has come of a packet, in the words of operators.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use sluice_conntrack::listing::Layout;
use sluice_conntrack::tuple::{address, protocol};
use sluice_conntrack::verdict::{Action, Rejection};
use sluice_conntrack::{DropReason, InvalidReason, PortId, State, wire};

use super::{Came, Named, Names};
use crate::packet::describe;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// It leaves, or is for the box itself.
    Accept,
    /// It ends here, and nobody is told.
    Drop,
    /// It ends here, and its sender is told.
    Reject,
    /// It ends here, and is answered with a SYN cookie.
    Synproxy,
    /// It waits: a fragment for the rest of its datagram, a first packet for another worker.
    Hold,
}

impl Word {
    const fn of(action: Action) -> Word {
        match action {
            Action::Forward(_)
            | Action::Fragment(..)
            | Action::Announce(_)
            | Action::Acknowledge(_)
            | Action::Deliver => Word::Accept,
            Action::Reject(_, Rejection::SynCookie) => Word::Synproxy,
            Action::Reject(..) => Word::Reject,
            Action::Reassemble(_) | Action::Hold(_) | Action::Wait => Word::Hold,
            Action::Drop(_) | Action::Handoff(..) => Word::Drop,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Word::Accept => "accept",
            Word::Drop => "drop",
            Word::Reject => "reject",
            Word::Synproxy => "synproxy",
            Word::Hold => "hold",
        })
    }
}

/// Reasons that the verdict itself says.
const SAID_BY_RULE: [DropReason; 3] = [DropReason::Policy, DropReason::Reject, DropReason::SynCookie];

/// All that there is to say of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What becomes of it.
    pub verdict: Word,
    /// Why it ends here.
    pub reason: Option<DropReason>,
    /// Its state; `None` where it ended before tracking.
    pub state: Option<State>,
    /// Why it is INVALID.
    pub invalid: Option<InvalidReason>,
    /// The rule that decided; `None` where the policy was not asked.
    pub rule: Option<Named>,
    /// The rule that its destination was bound by with this packet.
    pub dnat: Option<Named>,
    /// The rule that its source was bound by with this packet.
    pub snat: Option<Named>,
    /// The interface that it leaves by, or `local`.
    pub out: Option<String>,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// Source and destination as it came in.
    pub came: Option<Ends>,
    /// Source and destination as it left or, where it did not, as the policy saw them.
    pub left: Option<Ends>,
    /// What has left, in words.
    pub sent: Vec<String>,
    /// What the box has said itself, in words.
    pub answer: Option<String>,
    /// The entry that it belongs to, as `conntrack -L` shows it.
    pub entry: Option<String>,
}

/// Who speaks to whom. A port is `None` where the protocol has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The sender.
    pub source: (IpAddr, Option<u16>),
    /// The receiver.
    pub destination: (IpAddr, Option<u16>),
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", end(self.source), end(self.destination))
    }
}

/// An address, with its port if it has one.
pub fn end((address, port): (IpAddr, Option<u16>)) -> String {
    port.map_or_else(|| address.to_string(), |port| SocketAddr::new(address, port).to_string())
}

impl Outcome {
    /// What has come of it, with these names.
    pub fn of(came: &Came, names: &Names) -> Outcome {
        let verdict = &came.verdict;
        let out = match verdict.action {
            Action::Forward(port)
            | Action::Fragment(port, _)
            | Action::Announce(port)
            | Action::Acknowledge(port) => Some(port),
            Action::Deliver => Some(PortId::LOCAL),
            _ => None,
        };
        let (answers, sent): (Vec<_>, Vec<_>) = came.sent.iter().partition(|sent| sent.is_answer);
        let left = sent.first().and_then(|sent| Ends::of_frame(&sent.frame));
        let seen = came.facts.map(|facts| {
            let has_ports = protocol::has_ports(facts.protocol);
            let end = |number, port| (address(facts.family, number), has_ports.then_some(port));
            Ends {
                source: end(facts.source, facts.source_port),
                destination: end(facts.destination, facts.destination_port),
            }
        });
        let named = |rules: &[Named], rule: Option<usize>| rule.and_then(|rule| rules.get(rule)).cloned();
        Outcome {
            verdict: Word::of(verdict.action),
            reason: verdict.drop_reason(),
            state: verdict.state,
            invalid: verdict.invalid,
            rule: came.facts.map(|_| names.rule(verdict.rule).clone()),
            dnat: named(&names.destination, came.bound.destination),
            snat: named(&names.source, came.bound.source),
            out: out.map(|port| names.interface(port).to_owned()),
            via: verdict.next_hop.filter(|_| out.is_some()),
            came: Ends::of_frame(&came.frame),
            left: left.or(seen),
            sent: sent.iter().map(|sent| describe(&sent.frame)).collect(),
            answer: answers.first().map(|sent| describe(&sent.frame)),
            entry: came.entry.map(|entry| {
                let mut line = String::new();
                // Writing to a String cannot fail.
                let _ = entry.write(Layout::Conntrack, &mut line);
                line
            }),
        }
    }

    /// Whether addresses or ports were translated.
    pub fn is_translated(&self) -> bool {
        self.left.is_some() && self.left != self.came
    }
}

impl Ends {
    /// Those of a frame, as they stand in its own headers.
    fn of_frame(frame: &[u8]) -> Option<Ends> {
        let frame = (PortId::default(), frame.to_vec());
        let headers = wire::parse(&frame).ok()?;
        let family = headers.family()?;
        let (source, destination) = wire::addresses(&frame.1, &headers);
        let has_ports = protocol::has_ports(headers.protocol);
        let selector = headers.tuple.selector;
        Some(Ends {
            source: (address(family, source), has_ports.then_some(selector.sport())),
            destination: (address(family, destination), has_ports.then_some(selector.dport())),
        })
    }
}

/// In a line: `accept NEW by web (box.yaml:30), out wan via 203.0.113.254 as 203.0.113.1:40000 -> 192.0.2.1:80`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verdict)?;
        if let Some(reason) = self.reason.filter(|reason| !SAID_BY_RULE.contains(reason)) {
            write!(f, " ({})", reason.label())?;
        }
        if let Some(state) = self.state {
            write!(f, " {}", state.name())?;
        }
        if let Some(invalid) = self.invalid {
            write!(f, " ({})", invalid.label())?;
        }
        if let Some(rule) = &self.rule {
            write!(f, " by {rule}")?;
        }
        if let Some(out) = &self.out {
            write!(f, ", out {out}")?;
        }
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        match self.left.filter(|_| self.is_translated()) {
            Some(left) => write!(f, " as {left}"),
            None => Ok(()),
        }
    }
}
