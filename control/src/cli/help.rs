//! What is told below the options of the commands that ask a daemon.

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

pub const CONNTRACK_HELP: &str = "\
Examples:
  sluice conntrack -L                          every entry
  sluice conntrack -L -p tcp --state SYN_SENT  connections that nobody answers
  sluice conntrack -L -s 10.0.0.5 -o extended  those that one host opened
  sluice conntrack -L -d 2001:db8::/32 -p udp  to one network
  sluice conntrack -L -u UNREPLIED -w 7        unanswered ones of a zone
  sluice conntrack -L --any-nat                translated ones
  sluice conntrack -C                          how many there are
  sluice conntrack -C -p tcp --state TIME_WAIT how many of these
  sluice conntrack -S                          counters of each shard
  sluice conntrack -G -p udp -s 10.0.0.5 -d 192.0.2.1 --sport 4000 --dport 53
                                               one entry, by its tuple in either direction
  sluice conntrack -D -s 10.0.0.5              end all connections of a host
  sluice conntrack -D -p tcp --dport 25 -f ipv6
                                               end these, and print them
  sluice conntrack -F                          end all connections
  sluice conntrack -U -s 10.0.0.5 -m 0x10/0xf0 mark connections
  sluice conntrack -U -p udp --dport 53 -t 10  have them end in ten seconds unless a packet comes
  sluice conntrack -I -p tcp -s 10.0.0.5 -d 192.0.2.1 --sport 4000 --dport 22 -t 1h
                   --state ESTABLISHED -u SEEN_REPLY,ASSURED -n 203.0.113.1:5000
                                               have a connection tracked and translated of which no packet was seen
  sluice conntrack -L -o save > connections    save them
  sluice conntrack -R connections              have them tracked again, here or by another box
  sluice conntrack save connections            save them as a daemon keeps them over a restart, with expectations
  sluice conntrack load connections            have those tracked again
  sluice conntrack -E                          what becomes of connections, as it happens
  sluice conntrack -E -e NEW,DESTROY -p tcp --dport 22 -o timestamp,id
                                               who logs in and out
  sluice conntrack -E expect                   what helpers begin to expect, and what is expected no more
  sluice conntrack -L -o extended,id           with the family, and a number for each
  sluice conntrack -L expect                   what helpers expect
  sluice conntrack -D expect --tuple-dst 10.0.0.5
                                               have nothing more expected for a host
  sluice conntrack -G expect -p tcp --tuple-src 192.0.2.1 --tuple-dst 10.0.0.5 --tuple-port-dst 5001
                                               one of them, if it is there
  sluice conntrack -I expect -p tcp -s 10.0.0.5 -d 192.0.2.1 --sport 40000 --dport 21 -t 60
                   --tuple-src 192.0.2.1 --tuple-dst 10.0.0.5 --tuple-port-dst 5001
                                               expect a connection for another, as its helper would

Filters are those of conntrack(8): an entry is meant if all that are given fit.
The first direction of a line is the original one (-s, -d, --sport, --dport), the
second the reply (-r, -q, --reply-port-src, --reply-port-dst), whose addresses
and ports are those after NAT.

-S prints a line for each shard, by the words of conntrack(8): `found` look-ups
that found an entry, `invalid` INVALID packets, `insert` new entries,
`insert_failed` entries refused and `drop` packets dropped because the table was
full, `early_drop` entries evicted for new ones.

The table `expect` has the expectations of helpers, and those that -I makes. Of
the filters of entries those of protocol, family and zone apply to what is
expected, and -s, -d, --sport and --dport to its master.

What -I makes is met once, from any port of its source unless --tuple-port-src
says which, and counts as one of the helper that its master has. It is over when
its master is.

`save` writes what a daemon tells its peer, too: no text, but all that a connection
needs to go on: windows' scales, tags, helpers, translated text, expectations. `load`
takes what is sound of it, and says of each other record why it is refused. What -o
save prints is text, which conntrack(8) reads as well, and -R reads.

With -U, -m is the new mark: the bits of its mask are cleared and those of its
value flipped. -D and -U fail where no entry fits.

What -I and -A make has the reply tuple that follows from the original one, but for
what -r, -q, --reply-port-src, --reply-port-dst, -n and -g say; no rules of NAT
apply to it and no helper reads it. Windows of TCP are learnt from its packets.

-E prints connections that begin (NEW), that are answered or become assured, whose
state or mark changes or whose timeout -U changes (UPDATES), and that end (DESTROY);
of the table `expect` what begins to be expected (NEW), and is so no more since it was
met, is too old or its master is over (DESTROY). Where more happens than it can print,
no packet waits for it, and it says how many events it has lost.

With -o, `save` prints the options of a command that makes the entry, `id` a number
that it keeps for life, `ktimestamp` when it began (conntrack.timestamp), and
`timestamp` when an event happened.";
