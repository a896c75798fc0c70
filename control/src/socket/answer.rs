//! What a daemon answers on the control socket.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::capture::CapturePage;
use super::configuration::{Considered, CutPage, RunningConfiguration};
use super::cursor::Cursor;
use super::cuts::Cuts;
use super::export::ExportStatus;
use super::groups::GroupStatus;
use super::ha::HaStatus;
use super::helpers::HelperStatistics;
use super::live::LiveConnection;
use super::log_level::LogLevel;
use super::nat_rules::NatRuleStatistics;
use super::packed::Packed;
use super::pools::PoolStatistics;
use super::ports::PortDescription;
use super::routes::{Neighbour, Route};
use super::sets::SetSummary;
use super::sources::SourceCounts;
use super::statistics::{Counted, ShardCounters, Statistics, Timeout};
use super::trace::TracePage;
use crate::config::{HelperRule, Prefix};

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "response", rename_all = "kebab-case")]
pub enum Response {
    /// A page of entries or of expectations, or what was done to entries on one. It may have no lines and yet not be the last one.
    Entries {
        /// One a line.
        lines: Vec<String>,
        /// Where the next page begins; left out at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<Cursor>,
        /// How many fit and were left as they are, since another box has them and this one stands by; left out where none were.
        #[serde(default, skip_serializing_if = "is_zero")]
        standby: u64,
    },
    /// The connection that packets of a tuple belong to.
    Connection {
        /// The connection, if there is one.
        connection: Option<LiveConnection>,
    },
    /// Events. Those that come behind them are to be asked for within a few seconds.
    Events {
        /// One a line.
        lines: Vec<String>,
        /// How many events between the first that was asked for and the next one are lost, whatever they were.
        lost: u64,
        /// The number of the next event.
        next: u64,
    },
    /// Packets. Those that come behind them are to be asked for within a few seconds.
    Trace(TracePage),
    /// Packets themselves. Those that come behind them are to be asked for within a few seconds.
    Capture(CapturePage),
    /// A page of the table, which may have no records and yet not be the last one.
    Saved {
        /// Its connections, each with what helpers have done beside it behind it.
        records: Vec<Packed>,
        /// Where the next page begins; left out at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<Cursor>,
    },
    /// Records were loaded.
    Loaded {
        /// Those that were not.
        not_loaded: Vec<NotLoaded>,
    },
    /// An entry was made.
    EntryCreated,
    /// There is an entry of its tuple already.
    EntryExists,
    /// An expectation was made.
    ExpectationCreated,
    /// Expectations were deleted.
    ExpectationsDeleted {
        /// How many.
        count: u64,
    },
    /// How many entries there are.
    Count {
        /// Entries of all shards.
        entries: u64,
    },
    /// Each shard's counters.
    Shards {
        /// In the order of their numbers.
        shards: Vec<ShardCounters>,
    },
    /// The daemon at a glance.
    Statistics(Box<Statistics>),
    /// Who has made connections.
    Sources(SourceCounts),
    /// The ports and their links.
    Ports {
        /// In the order of their names.
        ports: Vec<PortDescription>,
    },
    /// The neighbours of the ports.
    Neighbours {
        /// In the order of their ports and addresses.
        neighbours: Vec<Neighbour>,
    },
    /// Routes.
    Routes {
        /// The networks of the ports, then the configured routes in their order.
        routes: Vec<Route>,
        /// The position of the route behind them; left out at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// The route that packets to an address take.
    Route(Route),
    /// The named sets.
    Sets {
        /// In the order of their names.
        sets: Vec<SetSummary>,
    },
    /// Prefixes of a set.
    Set {
        /// In order, IPv4 before IPv6.
        prefixes: Vec<Prefix>,
        /// The position of the one behind them; left out at the end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// A set was changed.
    SetChanged {
        /// Its name.
        set: String,
        /// How many prefixes have come into it.
        added: u64,
        /// How many have left it.
        deleted: u64,
        /// How many it has now.
        prefixes: u64,
    },
    /// Drops by reason.
    Drops {
        /// Packets that ended here, by every reason there is.
        drops: Vec<Counted>,
        /// INVALID packets, which the policy judges, by every reason there is.
        invalid: Vec<Counted>,
    },
    /// What the rules of NAT have bound.
    NatRules {
        /// The rules that translate, in the order in which packets meet them.
        rules: Vec<NatRuleStatistics>,
    },
    /// What the SNAT rules have to give, and what is taken of it.
    Pools {
        /// The rules that translate, in their order.
        pools: Vec<PoolStatistics>,
    },
    /// Helpers: those that the configuration assigns, or the one that was switched.
    Helpers {
        /// In the order of their numbers.
        helpers: Vec<HelperStatistics>,
        /// What assigns them, in the order in which a first packet meets it.
        rules: Vec<HelperRule>,
    },
    /// What the box is for each group.
    Groups {
        /// In the order of the configuration file.
        groups: Vec<GroupStatus>,
    },
    /// The box as one of its cluster.
    HaStatus(Box<HaStatus>),
    /// Who is told of connections.
    ExportStatus(ExportStatus),
    /// The new configuration is in force.
    Reloaded {
        /// How many configurations have been in force since the start.
        revision: u64,
        /// What it cuts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cuts: Option<Cuts>,
    },
    /// The new configuration is in force for a time, unless it is confirmed.
    OnTrial {
        /// How many configurations have been in force since the start.
        revision: u64,
        /// The time.
        seconds: u64,
        /// What it cuts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cuts: Option<Cuts>,
    },
    /// The new configuration is in force for good, and its text is to be in the configured file.
    Applied {
        /// How many configurations have been in force since the start.
        revision: u64,
        /// The configured file.
        file: PathBuf,
        /// The text.
        text: String,
        /// What it cuts; left out where it was in force already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cuts: Option<Cuts>,
    },
    /// The configuration in force.
    Configuration(Box<RunningConfiguration>),
    /// A file was read.
    Considered(Considered),
    /// Connections on a page of the table that it would cut.
    Cuts(CutPage),
    /// How much the log says.
    LogLevel {
        /// The least that it says.
        level: LogLevel,
    },
    /// Timeouts, all of them or the one that was set.
    Timeouts {
        /// In the order of the configuration file.
        timeouts: Vec<Timeout>,
    },
    /// The request could not be served, and nothing was changed.
    Error {
        /// Why, for the user's eyes.
        message: String,
    },
}

/// A record that was not loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotLoaded {
    /// Its number among those of the request, from 0 on.
    pub number: usize,
    /// Why, for the user's eyes.
    pub why: String,
}

impl Response {
    /// The same, of a configuration that cuts these.
    #[must_use]
    pub fn with_cuts(mut self, found: Cuts) -> Self {
        if let Self::Reloaded { cuts, .. } | Self::OnTrial { cuts, .. } | Self::Applied { cuts, .. } =
            &mut self
        {
            *cuts = Some(found);
        }
        self
    }

    /// The answer as it is sent, its newline included.
    pub fn line(&self) -> Vec<u8> {
        // Answers are plain data, so they are always valid JSON.
        let mut line =
            serde_json::to_vec(self).unwrap_or_else(|_| br#"{"response":"error","message":""}"#.to_vec());
        line.push(b'\n');
        line
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}
