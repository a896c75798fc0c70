//! Which open connections a configuration cuts, as it is said on the control socket: counts by reason.

use std::fmt;

use serde::{Deserialize, Serialize};
use sluice_conntrack::cut::Cut;

/// How many connections are cut for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutCount {
    /// The reason: `lost-address`, `route-changed`, `no-route`, `zone`, `untracked`, `policy`.
    pub reason: String,
    /// Connections.
    pub connections: u64,
}

/// Connections that are cut, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cuts {
    /// All of them.
    pub connections: u64,
    /// Those of each reason that there are any of.
    pub by_reason: Vec<CutCount>,
    /// Whether there was no time to look at all connections.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub incomplete: bool,
}

impl Cuts {
    /// Counts some more.
    pub fn count(&mut self, cut: Cut, connections: u64) {
        if connections == 0 {
            return;
        }
        self.connections += connections;
        let reason = cut.label();
        match self.by_reason.iter_mut().find(|count| count.reason == reason) {
            Some(count) => count.connections += connections,
            None => self.by_reason.push(CutCount { reason: reason.to_owned(), connections }),
        }
    }

    /// Adds those of another part of the table.
    pub fn add(&mut self, other: &Self) {
        for cut in Cut::ALL {
            let of_reason = |count: &&CutCount| count.reason == cut.label();
            self.count(cut, other.by_reason.iter().find(of_reason).map_or(0, |count| count.connections));
        }
        self.incomplete |= other.incomplete;
    }
}

/// `it cuts 5 connections: 3 policy, 2 lost-address`.
impl fmt::Display for Cuts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.connections {
            0 => write!(out, "it cuts no connection")?,
            1 => write!(out, "it cuts 1 connection")?,
            more => write!(out, "it cuts {more} connections")?,
        }
        for (number, CutCount { reason, connections }) in self.by_reason.iter().enumerate() {
            let separator = if number == 0 { ": " } else { ", " };
            write!(out, "{separator}{connections} {reason}")?;
        }
        if self.incomplete {
            write!(out, "; there was no time to look at all")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_in_words() {
        let mut cuts = Cuts::default();
        assert_eq!(cuts.to_string(), "it cuts no connection");
        cuts.count(Cut::Policy, 0);
        cuts.count(Cut::Policy, 1);
        assert_eq!(cuts.to_string(), "it cuts 1 connection: 1 policy");
        let mut other = Cuts { incomplete: true, ..Cuts::default() };
        other.count(Cut::LostAddress, 2);
        other.count(Cut::Policy, 1);
        cuts.add(&other);
        let text = "it cuts 4 connections: 2 policy, 2 lost-address; there was no time to look at all";
        assert_eq!(cuts.to_string(), text);
    }
}
