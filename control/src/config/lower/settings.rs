//! From the section `conntrack` to the settings of tracking, and back to a file with every key written out.

use sluice_conntrack::settings;
use sluice_conntrack::tracker::sctp::SctpState;
use sluice_conntrack::tracker::tcp::TcpState;

use crate::config::schema::{Config, Conntrack, Fragments, Preset, Timeouts};
use crate::config::values::Seconds;

/// A timeout in the file, and the same in the settings.
type Timeout = (fn(&mut Timeouts) -> &mut Option<Seconds>, fn(&mut settings::Timeouts) -> &mut u32);

#[rustfmt::skip]
const TIMEOUTS: [Timeout; 26] = [
    (|t| &mut t.tcp.none, |s| &mut s.tcp_ms[TcpState::None as usize]),
    (|t| &mut t.tcp.syn_sent, |s| &mut s.tcp_ms[TcpState::SynSent as usize]),
    (|t| &mut t.tcp.syn_recv, |s| &mut s.tcp_ms[TcpState::SynRecv as usize]),
    (|t| &mut t.tcp.established, |s| &mut s.tcp_ms[TcpState::Established as usize]),
    (|t| &mut t.tcp.fin_wait, |s| &mut s.tcp_ms[TcpState::FinWait as usize]),
    (|t| &mut t.tcp.close_wait, |s| &mut s.tcp_ms[TcpState::CloseWait as usize]),
    (|t| &mut t.tcp.last_ack, |s| &mut s.tcp_ms[TcpState::LastAck as usize]),
    (|t| &mut t.tcp.time_wait, |s| &mut s.tcp_ms[TcpState::TimeWait as usize]),
    (|t| &mut t.tcp.close, |s| &mut s.tcp_ms[TcpState::Close as usize]),
    (|t| &mut t.tcp.syn_sent2, |s| &mut s.tcp_ms[TcpState::SynSent2 as usize]),
    (|t| &mut t.tcp.max_retrans, |s| &mut s.tcp_max_retrans_ms),
    (|t| &mut t.tcp.unacknowledged, |s| &mut s.tcp_unacknowledged_ms),
    (|t| &mut t.udp.unreplied, |s| &mut s.udp_unreplied_ms),
    (|t| &mut t.udp.stream, |s| &mut s.udp_stream_ms),
    (|t| &mut t.icmp, |s| &mut s.icmp_ms),
    (|t| &mut t.icmpv6, |s| &mut s.icmpv6_ms),
    (|t| &mut t.sctp.closed, |s| &mut s.sctp_ms[SctpState::Closed as usize]),
    (|t| &mut t.sctp.cookie_wait, |s| &mut s.sctp_ms[SctpState::CookieWait as usize]),
    (|t| &mut t.sctp.cookie_echoed, |s| &mut s.sctp_ms[SctpState::CookieEchoed as usize]),
    (|t| &mut t.sctp.established, |s| &mut s.sctp_ms[SctpState::Established as usize]),
    (|t| &mut t.sctp.shutdown_sent, |s| &mut s.sctp_ms[SctpState::ShutdownSent as usize]),
    (|t| &mut t.sctp.shutdown_recd, |s| &mut s.sctp_ms[SctpState::ShutdownRecd as usize]),
    (|t| &mut t.sctp.shutdown_ack_sent, |s| &mut s.sctp_ms[SctpState::ShutdownAckSent as usize]),
    (|t| &mut t.sctp.heartbeat_sent, |s| &mut s.sctp_ms[SctpState::HeartbeatSent as usize]),
    (|t| &mut t.gre.unreplied, |s| &mut s.gre_unreplied_ms),
    (|t| &mut t.gre.stream, |s| &mut s.gre_stream_ms),
];
const GENERIC: Timeout = (|t| &mut t.generic, |s| &mut s.generic_ms);

fn all_timeouts() -> impl Iterator<Item = Timeout> {
    TIMEOUTS.into_iter().chain([GENERIC])
}

/// The settings of tracking: the preset's, with what the file says otherwise.
pub fn settings(conntrack: &Conntrack) -> settings::Settings {
    let preset = match conntrack.preset {
        Preset::Classic => settings::Preset::Classic,
        Preset::Linux => settings::Preset::Linux,
    };
    let max_entries = u32::try_from(conntrack.max_entries.0).unwrap_or(u32::MAX);
    let mut settings = settings::Settings {
        tcp: settings::TcpOptions {
            loose: conntrack.tcp.loose,
            be_liberal: conntrack.tcp.be_liberal,
            ignore_invalid_rst: conntrack.tcp.ignore_invalid_rst,
            max_retrans: conntrack.tcp.max_retrans,
            window_tracking: conntrack.tcp.window_tracking,
        },
        checksum: conntrack.checksum,
        quote_checksum: conntrack.quote_checksum,
        reject_when_full: conntrack.reject_when_full,
        accounting: conntrack.accounting,
        timestamp: conntrack.timestamp,
        max_expectations: conntrack.max_expectations,
        fragments: fragments(&conntrack.fragments),
        ..settings::Settings::of(preset, max_entries)
    };
    let mut written = conntrack.timeouts.clone();
    for (in_file, in_settings) in all_timeouts() {
        if let Some(Seconds(seconds)) = *in_file(&mut written) {
            *in_settings(&mut settings.timeouts) = seconds.saturating_mul(1000);
        }
    }
    settings
}

fn fragments(fragments: &Fragments) -> settings::FragmentLimits {
    settings::FragmentLimits {
        memory_bytes: u32::try_from(fragments.memory.0).unwrap_or(u32::MAX),
        fragments: fragments.per_datagram,
        datagrams: fragments.per_source.into(),
        timeout_ms: fragments.ipv4_timeout.0.saturating_mul(1000),
        timeout_v6_ms: fragments.ipv6_timeout.0.saturating_mul(1000),
        untracked: fragments.untracked,
    }
}

/// The configuration with everything written out that is otherwise filled in: forwarding, and the preset's timeouts.
#[must_use]
pub fn resolved(mut config: Config) -> Config {
    config.forwarding = Some(config.forwarding());
    let mut settings = settings(&config.conntrack);
    for (in_file, in_settings) in all_timeouts() {
        let seconds = *in_settings(&mut settings.timeouts) / 1000;
        *in_file(&mut config.conntrack.timeouts) = (seconds > 0).then_some(Seconds(seconds));
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rest: &str) -> Conntrack {
        let interfaces = "{inside: {device: 'vdev:net_null0'}, outside: {device: 'vdev:net_null1'}}";
        let text = format!("version: 1\ninterfaces: {interfaces}\n{rest}");
        crate::config::parse("test", text.as_bytes()).unwrap_or_else(|error| panic!("{error}")).conntrack
    }

    #[test]
    fn an_empty_file_gives_the_presets() {
        for (name, preset) in [("classic", settings::Preset::Classic), ("linux", settings::Preset::Linux)] {
            let config = config(&format!("conntrack: {{preset: {name}, max-entries: 500K}}"));
            assert_eq!(settings(&config), settings::Settings::of(preset, 500_000));
        }
    }

    #[test]
    fn each_timeout_lands_in_a_place_of_its_own() {
        let mut file = Timeouts::default();
        for (number, (in_file, _)) in all_timeouts().enumerate() {
            *in_file(&mut file) = Some(Seconds(1000 + number as u32));
        }
        let settings = settings(&Conntrack { timeouts: file, ..Conntrack::default() });
        for (number, (_, in_settings)) in all_timeouts().enumerate() {
            assert_eq!(*in_settings(&mut settings.timeouts.clone()), 1_000_000 + 1000 * number as u32);
        }
    }

    #[test]
    fn a_timeout_keeps_its_name() {
        let config = config("conntrack: {timeouts: {tcp: {close-wait: 7s}, sctp: {established: 9s}}}");
        let timeouts = settings(&config).timeouts;
        assert_eq!(timeouts.tcp_ms[TcpState::CloseWait as usize], 7_000);
        assert_eq!(timeouts.sctp_ms[SctpState::Established as usize], 9_000);
    }
}
