//! What an operator can set about tracking: presets, timeouts, the options of TCP, limits.
//!
//! A plain value. The control plane makes one from its YAML; changing it while running touches an
//! entry when it is next refreshed.

use crate::tracker::sctp::SctpState;
use crate::tracker::tcp::TcpState;

/// Which firewall Sluice behaves like. A preset fixes behaviour and the default timeouts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preset {
    /// The firewall of the Iptables Tutorial: an answered ICMP query's entry ends, an unreachable error
    /// ends the attempt it quotes, UDP is assured by the first packet after an answer, any segment may be NEW.
    #[default]
    Classic,
    /// Linux 6.18.
    Linux,
}

/// Timeouts of entries, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// After entering each TCP state, by [`TcpState`] number.
    pub tcp_ms: [u32; TcpState::COUNT],
    /// TCP, from the `max-retrans`th retransmission on, and while a window is zero.
    pub tcp_max_retrans_ms: u32,
    /// TCP, established, while data is unacknowledged.
    pub tcp_unacknowledged_ms: u32,
    /// UDP and UDP-Lite before an answer.
    pub udp_unreplied_ms: u32,
    /// UDP and UDP-Lite, assured.
    pub udp_stream_ms: u32,
    /// ICMP queries.
    pub icmp_ms: u32,
    /// ICMPv6 queries.
    pub icmpv6_ms: u32,
    /// GRE before an answer.
    pub gre_unreplied_ms: u32,
    /// GRE, assured.
    pub gre_stream_ms: u32,
    /// After entering each SCTP state, by [`SctpState`] number.
    pub sctp_ms: [u32; SctpState::COUNT],
    /// Protocols without a tracker of their own.
    pub generic_ms: u32,
}

impl Timeouts {
    /// The timeouts of a preset.
    pub const fn of(preset: Preset) -> Self {
        let (none, close_wait, udp_stream) = match preset {
            Preset::Classic => (1800, 43_200, 180),
            Preset::Linux => (0, 60, 120),
        };
        Self {
            tcp_ms: seconds([none, 120, 60, 432_000, 120, close_wait, 30, 120, 10, 120]),
            tcp_max_retrans_ms: 300_000,
            tcp_unacknowledged_ms: 300_000,
            udp_unreplied_ms: 30_000,
            udp_stream_ms: udp_stream * 1000,
            icmp_ms: 30_000,
            icmpv6_ms: 30_000,
            gre_unreplied_ms: 30_000,
            gre_stream_ms: 180_000,
            sctp_ms: seconds([0, 10, 3, 3, 210, 3, 3, 3, 30]),
            generic_ms: 600_000,
        }
    }
}

const fn seconds<const N: usize>(secs: [u32; N]) -> [u32; N] {
    let mut ms = secs;
    let mut i = 0;
    while i < N {
        ms[i] *= 1000;
        i += 1;
    }
    ms
}

/// Options of the TCP tracker, with Linux's meanings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOptions {
    /// Whether a connection may be picked up in mid-stream.
    pub loose: bool,
    /// Whether segments outside the window pass.
    pub be_liberal: bool,
    /// Whether a reset inside the window passes without the exact sequence number.
    pub ignore_invalid_rst: bool,
    /// Retransmissions after which [`Timeouts::tcp_max_retrans_ms`] holds.
    pub max_retrans: u8,
    /// Whether windows are tracked at all. Without, any segment can be NEW.
    pub window_tracking: bool,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            loose: true,
            be_liberal: false,
            ignore_invalid_rst: false,
            max_retrans: 3,
            window_tracking: true,
        }
    }
}

/// Bytes of the buffers that held fragments are counted in: the usual size of an mbuf. A packet takes one at least, however small
/// it is.
pub const FRAGMENT_BUFFER_BYTES: u32 = 2048;

/// What may be held of datagrams that come in fragments, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentLimits {
    /// Bytes of packets in all shards, each of which counts as the buffers of 2 KiB that it takes; never more than the shards were
    /// made with. One source has a quarter of it.
    pub memory_bytes: u32,
    /// Fragments of one datagram. 65,535 bytes are 119 of them where the MTU is 576.
    pub fragments: u16,
    /// Unfinished datagrams of one source in all shards: an IPv4 address, an IPv6 network of 64 bits.
    pub datagrams: u32,
    /// Milliseconds in which a datagram is to become whole.
    pub timeout_ms: u32,
    /// The same of IPv6 (RFC 8200 section 4.5).
    pub timeout_v6_ms: u32,
    /// Whether fragments pass untracked instead, each by itself: for a wire that sees but some of them.
    pub untracked: bool,
}

impl Default for FragmentLimits {
    fn default() -> Self {
        Self {
            memory_bytes: 16 << 20,
            fragments: 128,
            datagrams: 64,
            timeout_ms: 30_000,
            timeout_v6_ms: 60_000,
            untracked: false,
        }
    }
}

/// All settings of tracking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The behaviour.
    pub preset: Preset,
    /// The timeouts.
    pub timeouts: Timeouts,
    /// The TCP tracker's options.
    pub tcp: TcpOptions,
    /// Whether L4 checksums are verified.
    pub checksum: bool,
    /// Whether the checksum of an IPv4 header that an ICMP error quotes is verified, too (RFC 5508 section 4.1).
    pub quote_checksum: bool,
    /// Whether the sender of a first packet is told when that finds no room: no slot in the table, no port to be
    /// translated to (RFC 5508 section 6).
    pub reject_when_full: bool,
    /// Whether packets and bytes are counted per entry and direction.
    pub accounting: bool,
    /// Whether listings show how long an entry has lived.
    pub timestamp: bool,
    /// Most entries in the tables of all shards; never more than the capacity they were made with.
    pub max_entries: u32,
    /// Most expectations in the tables of all shards, of which there is room for 65,536.
    pub max_expectations: u32,
    /// What is held of datagrams that come in fragments.
    pub fragments: FragmentLimits,
}

impl Settings {
    /// The settings of a preset, for at most `max_entries` entries.
    pub fn of(preset: Preset, max_entries: u32) -> Self {
        Self {
            preset,
            timeouts: Timeouts::of(preset),
            tcp: TcpOptions::default(),
            checksum: true,
            quote_checksum: false,
            reject_when_full: false,
            accounting: true,
            timestamp: false,
            max_entries,
            max_expectations: 4096,
            fragments: FragmentLimits::default(),
        }
    }
}
