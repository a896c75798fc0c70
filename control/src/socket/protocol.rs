//! What is said on the control socket: one JSON object a line, a request from the client, its answer from the daemon.
//!
//! Nobody keeps anything for a client between two requests: a listing is asked for page by page, each request with
//! the position where the last page ended.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use super::answer::{NotLoaded, Response};
pub use super::capture::{CapturePage, CapturePoint, CaptureRequest, CapturedPacket};
pub use super::configuration::{
    ConfigurationStatus, Considered, CutConnection, CutPage, CutsRequest, RunningConfiguration, TrialStatus,
};
pub use super::cursor::Cursor;
pub use super::cuts::{CutCount, Cuts};
pub use super::event_filter::{EventFilter, EventName, ExpectationEventFilter};
pub use super::export::{ExportStatus, JournalStatus, SinkStatus};
pub use super::groups::{GroupState, GroupStatus};
pub use super::ha::{
    EngineStatus, HaStatus, InstallFailures, LeaseStatus, PeerStatus, StreamStatus, WitnessStatus,
};
pub use super::helpers::HelperStatistics;
pub use super::live::{LiveConnection, PacketTuple};
pub use super::log_level::LogLevel;
pub use super::nat_rules::{NatRuleStatistics, NatSide};
pub use super::new_entry::Update;
pub use super::pools::{PoolStatistics, PortCounts};
pub use super::ports::{PortDescription, PortStatistics};
pub use super::routes::{Neighbour, NextHop, Route, RouteKind};
pub use super::sets::{SetChange, SetSummary};
pub use super::sources::{SourceCount, SourceCounts};
pub use super::statistics::{
    Balance, Counted, Mbufs, RuleStatistics, ShardCounters, Statistics, Timeout, WorkerStatistics,
};
pub use super::trace::{TracePage, TraceRequest};
use super::{ExpectationFilter, Filter, NewConnection, NewExpectation, Packed};
use crate::listing::Format;

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// A page of the table.
    Entries {
        /// Which entries.
        #[serde(default)]
        filter: Box<Filter>,
        /// How they are written; conntrack(8)'s way unless told otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
        /// Where the page begins.
        #[serde(default)]
        from: Cursor,
    },
    /// The entry of one tuple.
    Entry {
        /// Protocol, addresses, ports and zone of the original direction, or of the reply.
        filter: Box<Filter>,
        /// How it is written; conntrack(8)'s way unless told otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
    },
    /// The connection that packets of a tuple belong to, with all of its state.
    Connection(PacketTuple),
    /// Delete entries on a page of the table.
    DeleteEntries {
        /// Which entries.
        #[serde(default)]
        filter: Box<Filter>,
        /// How those that were deleted are written; conntrack(8)'s way unless told otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
        /// Where the page begins.
        #[serde(default)]
        from: Cursor,
    },
    /// Delete all entries on a page of the table, and write none of them.
    FlushEntries {
        /// Where the page begins.
        #[serde(default)]
        from: Cursor,
    },
    /// Change entries on a page of the table.
    UpdateEntries {
        /// Which entries.
        #[serde(default)]
        filter: Box<Filter>,
        /// What is changed.
        update: Update,
        /// How those that were changed are written; conntrack(8)'s way unless told otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
        /// Where the page begins.
        #[serde(default)]
        from: Cursor,
    },
    /// Make an entry.
    CreateEntry(NewConnection),
    /// A page of the table, as records that a daemon can go on by.
    Save {
        /// Where the page begins.
        #[serde(default)]
        from: Cursor,
    },
    /// Go on by these records: make their connections, and what helpers have done beside those.
    Load {
        /// The records, in the order in which they were saved.
        records: Packed,
    },
    /// What becomes of connections from now on, or from an event on that an answer names.
    Events {
        /// Which events.
        #[serde(default)]
        filter: Box<EventFilter>,
        /// How they are written; conntrack(8)'s way unless told otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
        /// The number of the first event.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
    },
    /// What becomes of expectations from now on, or from an event on that an answer names.
    ExpectationEvents {
        /// Which events.
        #[serde(default)]
        filter: Box<ExpectationEventFilter>,
        /// How they are written; conntrack(8)'s way unless told otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
        /// The number of the first event.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
    },
    /// What becomes of packets from now on, or from one on that an answer names.
    Trace(Box<TraceRequest>),
    /// Packets themselves from now on, or from a record on that an answer names.
    Capture(Box<CaptureRequest>),
    /// A page of what is expected.
    Expectations {
        /// Which expectations.
        #[serde(default)]
        filter: Box<ExpectationFilter>,
        /// How they are written; conntrack(8)'s way unless told otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        format: Option<Format>,
        /// Where the page begins.
        #[serde(default)]
        from: Cursor,
    },
    /// Expect something for a connection.
    Expect(Box<NewExpectation>),
    /// Expect these no more.
    DeleteExpectations {
        /// Which expectations.
        #[serde(default)]
        filter: Box<ExpectationFilter>,
    },
    /// How many entries there are.
    Count,
    /// Each shard's counters, in conntrack(8)'s words.
    Shards,
    /// The daemon at a glance.
    Statistics,
    /// Who has made how many of some of the connections.
    Sources {
        /// Another number is a sample of others.
        #[serde(default)]
        phase: u32,
    },
    /// The ports and their links.
    Ports,
    /// The neighbours of the ports.
    Neighbours,
    /// Routes, as many as an answer has room for.
    Routes {
        /// The first of them, by its position among all.
        #[serde(default)]
        from: u64,
    },
    /// The route that packets to an address take.
    Route {
        /// The destination.
        to: IpAddr,
    },
    /// The named sets.
    Sets,
    /// Prefixes of a set, as many as an answer has room for.
    Set {
        /// Its name.
        name: String,
        /// The first of them, by its position.
        #[serde(default)]
        from: u64,
    },
    /// Change what is in a set until the next reload.
    ChangeSet {
        /// Its name.
        name: String,
        /// How.
        change: SetChange,
    },
    /// Drops by reason.
    Drops,
    /// What the rules of NAT have bound.
    NatRules,
    /// What the SNAT rules have to give, and what is taken of it.
    Pools,
    /// The helpers, and what came of them.
    Helpers,
    /// Switch a helper on or off until the next reload.
    SwitchHelper {
        /// Its name.
        name: String,
        /// Whether it is to be on.
        on: bool,
    },
    /// The box as one of its cluster.
    HaStatus,
    /// Who is told of connections.
    ExportStatus,
    /// Make the box active for a group, or have it stand by.
    ChangeRole {
        /// The group's name.
        group: String,
        /// Whether it is to be active.
        active: bool,
        /// Whatever speaks against it.
        #[serde(default)]
        force: bool,
    },
    /// Read the configuration file anew and put it in force.
    Reload,
    /// Put in force what another file says.
    Apply {
        /// The file, from the root; the daemon reads it.
        file: PathBuf,
        /// Seconds until what was in force before comes back, unless it is confirmed; it does not where this is left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        confirm_within_s: Option<u32>,
    },
    /// Keep in force what is on trial.
    Confirm,
    /// The configuration in force.
    Configuration,
    /// Read a file as for a reload, and put nothing of it in force.
    Consider {
        /// The file, from the root; the daemon reads it.
        file: PathBuf,
    },
    /// Connections on a page of the table that a configuration which is considered would cut.
    Cuts(CutsRequest),
    /// How much the log says.
    LogLevel {
        /// The least that it says from now on; left out, it goes on as it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        level: Option<LogLevel>,
    },
    /// All timeouts.
    Timeouts,
    /// Change a timeout until the next reload.
    SetTimeout {
        /// Its name, as [`Timeout::name`].
        name: String,
        /// Its value, as in the configuration file: `90`, `5m`, `5d`.
        value: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::Listing;

    fn request(line: &str) -> Result<Request, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_plain_to_write_by_hand() {
        assert_eq!(request(r#"{"request":"count"}"#), Ok(Request::Count));
        let entries = Request::Entries { filter: Box::default(), format: None, from: Cursor::default() };
        assert_eq!(request(r#"{"request":"entries"}"#), Ok(entries));
        let filtered = r#"{"request":"entries","filter":{"proto":"tcp","dport":80},"format":"json"}"#;
        let Ok(Request::Entries { filter, format, .. }) = request(filtered) else { panic!() };
        assert_eq!((filter.dport, format), (Some(80), Some(Format::of(Listing::Json))));
    }

    #[test]
    fn what_is_not_known_is_refused() {
        assert!(request(r#"{"request":"explode"}"#).unwrap_err().contains("explode"));
        assert!(request(r#"{"request":"entries","fliter":{}}"#).unwrap_err().contains("fliter"));
        assert!(request(r#"{"request":"entries","filter":{"prot":6}}"#).unwrap_err().contains("prot"));
        assert!(request("[]").is_err() && request("").is_err());
    }

    #[test]
    fn answers_survive_the_way() {
        let answers = [
            Response::Entries {
                lines: vec!["a \"b\"".to_owned()],
                next: Some(Cursor { shard: 1, position: 9 }),
                standby: 2,
            },
            Response::Statistics(Box::new(Statistics { uptime_s: 3, ..Statistics::default() })),
            Response::Error { message: "two\nlines".to_owned() },
        ];
        for answer in answers {
            let line = serde_json::to_string(&answer).unwrap();
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Response>(&line).unwrap(), answer);
        }
    }
}
