//! The `conntrack` section: the table, the trackers' options, the timeouts.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::values::{Count, Seconds, Size};

/// Connection tracking.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping of conntrack keys")]
pub struct Conntrack {
    /// Most connections at one time. The memory for them is taken at start.
    #[garde(custom(sensible_entries))]
    pub max_entries: Count,

    /// Most connections that helpers expect at one time.
    #[garde(range(min = 1, max = MAX_EXPECTATIONS))]
    pub max_expectations: u32,

    /// Count packets and bytes of each connection, per direction.
    #[garde(skip)]
    pub accounting: bool,

    /// Keep each connection's start time, for `delta-time=` in listings.
    #[garde(skip)]
    pub timestamp: bool,

    /// Whose behaviour and timeouts: `classic` is the firewall of the Iptables Tutorial, `linux` is kernel 6.18.
    #[garde(skip)]
    pub preset: Preset,

    /// Verify checksums; a packet whose checksum is wrong is INVALID.
    #[garde(skip)]
    pub checksum: bool,

    /// Verify the checksum of the IPv4 header that an ICMP error quotes, too; some routers quote one that is wrong.
    #[garde(skip)]
    pub quote_checksum: bool,

    /// Answer a first packet that finds no slot in the table, or no port to be translated to, with ICMP prohibited.
    #[garde(skip)]
    pub reject_when_full: bool,

    /// Options of the TCP tracker.
    #[garde(skip)]
    pub tcp: Tcp,

    /// Datagrams that come in fragments, which are held until they are whole.
    #[garde(dive)]
    pub fragments: Fragments,

    /// How long an idle connection is remembered, by protocol and state. What is left out is as the preset says.
    #[garde(dive)]
    pub timeouts: Timeouts,
}

impl Default for Conntrack {
    fn default() -> Conntrack {
        Conntrack {
            max_entries: Count(1_000_000),
            max_expectations: 4096,
            accounting: true,
            timestamp: false,
            preset: Preset::Classic,
            checksum: true,
            quote_checksum: false,
            reject_when_full: false,
            tcp: Tcp::default(),
            fragments: Fragments::default(),
            timeouts: Timeouts::default(),
        }
    }
}

/// A shard has room for so many.
const MAX_EXPECTATIONS: u32 = 65_536;
/// The most that a table's entry numbers can name, and more than any box holds.
const MAX_ENTRIES: Count = Count(100_000_000);
/// Fewer than this leaves early drop nothing to choose from.
const LEAST_ENTRIES: Count = Count(16);

fn sensible_entries(count: &Count, _: &()) -> garde::Result {
    match (LEAST_ENTRIES..=MAX_ENTRIES).contains(count) {
        true => Ok(()),
        false => Err(garde::Error::new(format!(
            "{count} entries are out of range; a table holds {LEAST_ENTRIES} to {MAX_ENTRIES}"
        ))),
    }
}

/// Whose behaviour and timeouts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// The firewall of the Iptables Tutorial.
    Classic,
    /// Linux 6.18.
    Linux,
}

/// Options of the TCP tracker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping of TCP options")]
pub struct Tcp {
    /// Pick up connections whose opening was not seen.
    pub loose: bool,

    /// Let segments outside the window pass instead of calling them INVALID.
    pub be_liberal: bool,

    /// Retransmissions of one segment without an answer until the `max-retrans` timeout applies.
    pub max_retrans: u8,

    /// Let a reset pass whose sequence number is in the window but not exactly the expected one.
    pub ignore_invalid_rst: bool,

    /// Check sequence numbers against the window. Without it any segment at all may open a connection.
    pub window_tracking: bool,
}

impl Default for Tcp {
    fn default() -> Tcp {
        Tcp {
            loose: true,
            be_liberal: false,
            max_retrans: 3,
            ignore_invalid_rst: false,
            window_tracking: true,
        }
    }
}

/// What may be held of datagrams that come in fragments, and for how long. What is beyond is dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping of fragment limits")]
pub struct Fragments {
    /// Memory for held packets, each of which counts as 2K at least; one source gets a quarter. More than at start only after a
    /// restart.
    #[garde(custom(sensible_memory))]
    pub memory: Size,

    /// Most fragments of one datagram.
    #[garde(range(min = 2))]
    pub per_datagram: u16,

    /// Most unfinished datagrams of one source (an IPv4 address, an IPv6 /64), shared out among the workers; the oldest gives way.
    #[garde(range(min = 1))]
    pub per_source: u16,

    /// How long the fragments of an IPv4 datagram are waited for.
    #[garde(custom(sensible_wait))]
    pub ipv4_timeout: Seconds,

    /// How long those of an IPv6 datagram are.
    #[garde(custom(sensible_wait))]
    pub ipv6_timeout: Seconds,

    /// Pass fragments untracked, each by itself, and hold none: on an asymmetric wire, where some of a datagram's fragments never
    /// come by. Rules see no ports of them, but can match `state: untracked`. For `forwarding: wire` alone.
    #[garde(skip)]
    pub untracked: bool,
}

impl Default for Fragments {
    fn default() -> Fragments {
        Fragments {
            memory: Size(16 << 20),
            per_datagram: 128,
            per_source: 64,
            ipv4_timeout: Seconds(30),
            ipv6_timeout: Seconds(60),
            untracked: false,
        }
    }
}

/// Room for the longest datagram of each of four sources in the smallest usual fragments.
const MIN_FRAGMENT_MEMORY: Size = Size(1 << 20);
/// Half of the packets that a box of default size has.
const MAX_FRAGMENT_MEMORY: Size = Size(1 << 30);

fn sensible_memory(memory: &Size, _: &()) -> garde::Result {
    match (MIN_FRAGMENT_MEMORY..=MAX_FRAGMENT_MEMORY).contains(memory) {
        true => Ok(()),
        false => Err(garde::Error::new(format!(
            "{memory} is out of range; fragments take {MIN_FRAGMENT_MEMORY} to {MAX_FRAGMENT_MEMORY}"
        ))),
    }
}

/// Nobody sends the rest of a datagram so much later.
const MAX_WAIT: Seconds = Seconds(3600);

fn sensible_wait(timeout: &Seconds, _: &()) -> garde::Result {
    match (Seconds(1)..=MAX_WAIT).contains(timeout) {
        true => Ok(()),
        false => Err(garde::Error::new(format!(
            "{timeout} is out of range; fragments are waited for 1s to {MAX_WAIT}"
        ))),
    }
}

/// 20 days: deadlines are kept in 32 bits of milliseconds, of which half tell past from future.
const LONGEST_TIMEOUT: Seconds = Seconds(20 * 86_400);

fn sensible_timeout(timeout: &Option<Seconds>, _: &()) -> garde::Result {
    match timeout {
        Some(Seconds(0)) => {
            Err(garde::Error::new("a timeout of 0 would forget the connection at once; the least is 1s"))
        }
        Some(long) if *long > LONGEST_TIMEOUT => {
            Err(garde::Error::new(format!("{long} is too long a timeout; the most is {LONGEST_TIMEOUT}")))
        }
        _ => Ok(()),
    }
}

/// A struct of timeouts: each key optional, documented, and within bounds.
macro_rules! timeouts {
    ($(#[$struct_doc:meta])* $name:ident { $($(#[$doc:meta])* $key:ident,)* }) => {
        $(#[$struct_doc])*
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping of timeouts")]
        pub struct $name {$(
            $(#[$doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            #[garde(custom(sensible_timeout))]
            pub $key: Option<Seconds>,
        )*}
    };
}

/// Timeouts by protocol.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema, Validate)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default, expecting = "a mapping of protocols")]
pub struct Timeouts {
    /// TCP, by state.
    #[garde(dive)]
    pub tcp: TcpTimeouts,

    /// UDP and UDP-Lite.
    #[garde(dive)]
    pub udp: UdpTimeouts,

    /// ICMP queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(custom(sensible_timeout))]
    pub icmp: Option<Seconds>,

    /// ICMPv6 queries.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(custom(sensible_timeout))]
    pub icmpv6: Option<Seconds>,

    /// SCTP, by state.
    #[garde(dive)]
    pub sctp: SctpTimeouts,

    /// GRE.
    #[garde(dive)]
    pub gre: GreTimeouts,

    /// Every other protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[garde(custom(sensible_timeout))]
    pub generic: Option<Seconds>,
}

timeouts! {
    /// TCP timeouts, by state.
    TcpTimeouts {
        /// No state yet (classic only).
        none,
        /// SYN seen.
        syn_sent,
        /// SYN and SYN/ACK seen.
        syn_recv,
        /// Open.
        established,
        /// FIN seen.
        fin_wait,
        /// FIN seen and acknowledged.
        close_wait,
        /// FIN seen from both sides.
        last_ack,
        /// Both FINs acknowledged.
        time_wait,
        /// Reset.
        close,
        /// SYN seen from both sides (LISTEN in old listings).
        syn_sent2,
        /// Ends a connection that only retransmits.
        max_retrans,
        /// Ends a connection whose last data stays unacknowledged.
        unacknowledged,
    }
}

timeouts! {
    /// Timeouts of a protocol without states.
    UdpTimeouts {
        /// No answer yet, or a single exchange.
        unreplied,
        /// Packets keep going both ways.
        stream,
    }
}

timeouts! {
    /// SCTP timeouts, by state.
    SctpTimeouts {
        /// ABORT or SHUTDOWN COMPLETE seen.
        closed,
        /// INIT seen.
        cookie_wait,
        /// COOKIE ECHO seen.
        cookie_echoed,
        /// Open.
        established,
        /// SHUTDOWN seen from the original side.
        shutdown_sent,
        /// SHUTDOWN seen from the reply side.
        shutdown_recd,
        /// SHUTDOWN ACK seen.
        shutdown_ack_sent,
        /// Picked up by a HEARTBEAT.
        heartbeat_sent,
    }
}

timeouts! {
    /// GRE timeouts.
    GreTimeouts {
        /// No answer yet.
        unreplied,
        /// Packets went both ways.
        stream,
    }
}
