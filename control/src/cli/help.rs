//! What is told below the options of the commands that ask a daemon for numbers.

use sluice_conntrack::{DropReason, InvalidReason};

pub(super) const STATS_HELP: &str = "\
A packet that ends before tracking has no state; `sluice drops` says why it did.
`rx missed` are packets that a device dropped because its queues were full, `rx
nombuf` because no mbuf was free; `tx full` are those that it did not take. A
rule goes by its name, or `#` and its place in policy.rules; rules are counted
anew after a reload.";

pub(super) const PORTS_HELP: &str = "\
A link is as the device knows it; net_af_packet and net_pcap call theirs up at
10 Gbit/s whatever the kernel says (`ip link`). A speed that is not known is
`-`. What came in and went out is in `sluice stats`.";

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

pub(super) const POOLS_HELP: &str = "\
A line for each rule of nat.source that translates: by its name, or source- and
its place. `1201/64512` are ports in use of all that there are. One port serves
connections towards several servers, so a pool at its end refuses only those to
a server that all ports lead to already; `exhausted` counts them. Each worker
counts the ports it uses for itself: one that two workers use, towards different
servers, is two. Rules that share addresses share their ports, and show the
same ones as in use. Where a rule says nothing about ports, those above 1023 are
counted, which clients have. A 1:1 network keeps ports and has none to count:
`-`. `bound` and `exhausted` begin anew with a reload.";

pub(super) const OWNER_HELP: &str = "\
The address and port are those that the other side sees: what a client's source
was translated to, or what is translated to a server behind the box. A port
serves several connections towards different servers, so there may be several
lines. For ICMP the port is the identifier.";
