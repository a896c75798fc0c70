//! What `sysctl -a` (or `sysctl net`) says: connection tracking's limits, options and timeouts, and the reverse path filter.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::host::Ports;
use super::report::{Effect, Origin, Report};
use crate::config::{Conntrack, Count, RpFilter, Seconds, TcpTimeouts, Timeouts};

/// A setting of the kernel, and where it is here.
type Setting = (&'static str, fn(&mut Conntrack, u32));

/// A timeout of the kernel, and where it is here.
type Timeout = (&'static str, fn(&mut Timeouts) -> &mut Option<Seconds>);

#[rustfmt::skip]
const OPTIONS: [Setting; 9] = [
    ("nf_conntrack_max", |conntrack, value| conntrack.max_entries = Count(u64::from(value))),
    ("nf_conntrack_expect_max", |conntrack, value| conntrack.max_expectations = value),
    ("nf_conntrack_acct", |conntrack, value| conntrack.accounting = value != 0),
    ("nf_conntrack_timestamp", |conntrack, value| conntrack.timestamp = value != 0),
    ("nf_conntrack_checksum", |conntrack, value| conntrack.checksum = value != 0),
    ("nf_conntrack_tcp_loose", |conntrack, value| conntrack.tcp.loose = value != 0),
    ("nf_conntrack_tcp_be_liberal", |conntrack, value| conntrack.tcp.be_liberal = value != 0),
    ("nf_conntrack_tcp_ignore_invalid_rst", |conntrack, value| conntrack.tcp.ignore_invalid_rst = value != 0),
    ("nf_conntrack_tcp_max_retrans", |conntrack, value| conntrack.tcp.max_retrans = value.try_into().unwrap_or(u8::MAX)),
];

#[rustfmt::skip]
const TIMEOUTS: [Timeout; 25] = [
    ("tcp_timeout_syn_sent", |all| tcp(all, |tcp| &mut tcp.syn_sent)),
    ("tcp_timeout_syn_recv", |all| tcp(all, |tcp| &mut tcp.syn_recv)),
    ("tcp_timeout_established", |all| tcp(all, |tcp| &mut tcp.established)),
    ("tcp_timeout_fin_wait", |all| tcp(all, |tcp| &mut tcp.fin_wait)),
    ("tcp_timeout_close_wait", |all| tcp(all, |tcp| &mut tcp.close_wait)),
    ("tcp_timeout_last_ack", |all| tcp(all, |tcp| &mut tcp.last_ack)),
    ("tcp_timeout_time_wait", |all| tcp(all, |tcp| &mut tcp.time_wait)),
    ("tcp_timeout_close", |all| tcp(all, |tcp| &mut tcp.close)),
    ("tcp_timeout_max_retrans", |all| tcp(all, |tcp| &mut tcp.max_retrans)),
    ("tcp_timeout_unacknowledged", |all| tcp(all, |tcp| &mut tcp.unacknowledged)),
    ("udp_timeout", |all| &mut all.udp.unreplied),
    ("udp_timeout_stream", |all| &mut all.udp.stream),
    ("icmp_timeout", |all| &mut all.icmp),
    ("icmpv6_timeout", |all| &mut all.icmpv6),
    ("generic_timeout", |all| &mut all.generic),
    ("gre_timeout", |all| &mut all.gre.unreplied),
    ("gre_timeout_stream", |all| &mut all.gre.stream),
    ("sctp_timeout_closed", |all| &mut all.sctp.closed),
    ("sctp_timeout_cookie_wait", |all| &mut all.sctp.cookie_wait),
    ("sctp_timeout_cookie_echoed", |all| &mut all.sctp.cookie_echoed),
    ("sctp_timeout_established", |all| &mut all.sctp.established),
    ("sctp_timeout_shutdown_sent", |all| &mut all.sctp.shutdown_sent),
    ("sctp_timeout_shutdown_recd", |all| &mut all.sctp.shutdown_recd),
    ("sctp_timeout_shutdown_ack_sent", |all| &mut all.sctp.shutdown_ack_sent),
    ("sctp_timeout_heartbeat_sent", |all| &mut all.sctp.heartbeat_sent),
];

fn tcp(all: &mut Timeouts, which: fn(&mut TcpTimeouts) -> &mut Option<Seconds>) -> &mut Option<Seconds> {
    which(&mut all.tcp)
}

/// The longest timeout that there is here.
const LONGEST: Seconds = Seconds(20 * 86_400);

/// Takes settings over.
pub(super) fn read(
    file: usize,
    name: &str,
    text: &str,
    conntrack: &mut Conntrack,
    ports: &mut Ports,
    report: &mut Report,
) {
    let mut filters: BTreeMap<&str, u32> = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some((key, value)) = line.split_once('=') else { continue };
        let (key, Ok(value)) = (key.trim(), value.trim().parse::<u32>()) else { continue };
        if let Some(interface) =
            key.strip_prefix("net.ipv4.conf.").and_then(|key| key.strip_suffix(".rp_filter"))
        {
            filters.insert(interface, value);
        }
        let Some(key) = key.strip_prefix("net.netfilter.") else { continue };
        if let Some((_, set)) = OPTIONS.iter().find(|(known, _)| *known == key) {
            set(conntrack, value);
        }
        let timeout = TIMEOUTS.iter().find(|(known, _)| key.strip_prefix("nf_conntrack_") == Some(known));
        if let Some((_, field)) = timeout {
            let given = Seconds(value).clamp(Seconds(1), LONGEST);
            if given != Seconds(value) {
                let (place, text) = (format!("{name}:{number}"), line.trim().to_owned());
                let origin = Rc::new(Origin { order: (file, number), place, text, note: String::new() });
                report.left(&origin, Effect::Other, format!("the timeout becomes {given}"));
            }
            *field(&mut conntrack.timeouts) = Some(given);
        }
    }
    // As in Linux, the larger number of both counts.
    let all = filters.get("all").copied().unwrap_or_default();
    for (kernel, interface) in ports.iter_mut() {
        interface.rp_filter = match filters.get(kernel).copied().unwrap_or_default().max(all) {
            0 => continue,
            1 => Some(RpFilter::Strict),
            _ => Some(RpFilter::Loose),
        };
        let place = format!("{name}: net.ipv4.conf.{kernel}.rp_filter");
        let origin = Origin { order: (file, usize::MAX), place, text: String::new(), note: String::new() };
        report.left(&Rc::new(origin), Effect::Fewer, "the reverse path of IPv6 packets is looked at, too");
    }
}
