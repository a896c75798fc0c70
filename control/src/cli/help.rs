//! What is told below the options of the commands that ask a daemon for numbers.

use sluice_conntrack::{DropReason, InvalidReason};

pub(super) const STATS_HELP: &str = "\
A packet that is dropped before tracking has no state; `sluice drops` has the
reason. `rx missed` and `rx nombuf` are packets that a device dropped because
its receive queues were full (of net_af_packet: the kernel's ring) or no mbuf was
free, `rx errors` those that arrived broken, `tx full` those that found its
transmit queue full. `tx errors` are packets that a device took and could not
send; they are counted as sent, too. A rule is shown by its name, or `#` and its index in
policy.rules; its counters go on over a reload that keeps the rule as it is.

With --watch each interval has its rates, a second: `went` is what became of all
packets, `rules` the packets that each rule has decided (those of established
connections among them), `lost` the rx missed, errors, nombuf and tx full of a port.
What stands still is left out.
  sluice stats --watch              every second, until it is interrupted
  sluice stats --watch 10s --count 6";

pub(super) const PORTS_HELP: &str = "\
The link state is the device's own report, and that of the kernel's interface
below it (net_af_packet, net_tap): it is down, too, where that does not run or
has been deleted (`ip link`). net_af_packet and net_pcap report 10 Gbit/s
whatever the speed is. An unknown speed is `-`. Packets and bytes of a port are in `sluice stats`.";

pub(super) const NEIGHBOURS_HELP: &str = "\
A line for each neighbour: its address, the interface (`dev`), its MAC address
(`lladdr`) and its state (RFC 4861 section 7.3.2): INCOMPLETE is asked for,
REACHABLE has spoken not long ago, STALE has spoken and nothing was sent there
since, PROBE is in use and asked again, PERMANENT is set by `neighbours` in the
configuration. DELAY is shown as PROBE. A neighbour of several workers is shown
once, as the one shows it that knows most. A wire has none.";

/// What each reason of `sluice drops` means.
pub(super) fn reasons() -> String {
    let drops = DropReason::ALL.iter().map(|reason| (reason.label(), reason.meaning()));
    let invalid = InvalidReason::ALL.iter().map(|reason| (reason.label(), reason.meaning()));
    let line = |(label, meaning): (&str, &str)| format!("  {label:<16} {meaning}\n");
    format!(
        "Reasons for drops, all of them final:\n{}\nReasons to call a packet INVALID, which the policy then judges:\n{}",
        drops.map(line).collect::<String>(),
        invalid.map(line).collect::<String>()
    )
}

pub(super) const NAT_RULES_HELP: &str = "\
A line for each rule that translates, by its name, or `destination-0`, `source-2`
with its list and index, in the order in which packets meet them. `bound` is the
connections whose destination or source it has chosen, which the policy has let
pass; they are counted from the first reload on that has the rule as it is.";

pub(super) const POOLS_HELP: &str = "\
A line for each SNAT rule (nat.source) that translates, by its name, or
`source-2` with its index. `addresses` is how many it translates to; `1201/64512`
is ports in use of the size of the pool, by protocol: tcp, udp, and all others
with ports or identifiers (SCTP, ICMP). A port is reused for connections to different servers, as in Linux, so
an exhausted pool refuses only connections to a server that every port is in use
towards; `exhausted` counts them. Each worker counts its own ports: one that two
workers use, towards different servers, is counted twice. Rules with the same
addresses share a pool, and show the same ports in use. Where a rule names no
ports, its pool counts 1024-65535, the range of clients' ports. A 1:1 network
(prefix translation) preserves ports and has no pool: `-`. `bound` and
`exhausted` are counted from the first reload on that has the rule as it is.";

pub(super) const OWNED_HELP: &str = "\
Examples:
  sluice nat who-owned 203.0.113.10:40123 @2026-11-30T09:15:00Z
  sluice nat who-owned 203.0.113.10:40123/tcp @2h
  sluice nat who-owned --journal /mnt/old '[2001:db8::1]:443' @2026-11-30T09:15:00+01:00

The NAT journal is asked (export.journal), which needs no running daemon if
--journal says where it is. A port serves several connections towards different
servers, so there may be several lines. [start] is when a connection began, [stop]
when it ended, [seen] when it was last known to go on. A gap is a time of which
the journal does not know everything: what it hides may have been. What has just
happened is in the journal a second later.";

pub(super) const EXPORT_HELP: &str = "\
`written` are records that the sink was given, `lost` events that it was not told
of: it was too slow, or the workers' rings were full.";

pub(super) const OWNER_HELP: &str = "\
The address and port are those that the other side sees: what a client's source
was translated to, or what is translated to a server behind the box. A port
serves several connections towards different servers, so there may be several
lines. For ICMP the port is the identifier.";
