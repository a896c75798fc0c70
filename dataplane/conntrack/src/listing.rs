//! Listings: one entry a line, in the layouts of conntrack(8) 1.4.7 and of the kernel's files in /proc/net.
//!
//! The layouts differ in little, so one function writes them all from a [`Style`]; JSON has its own.

use crate::entry::{Cold, Entry, Status};
use crate::settings::{Preset, Settings};
use crate::time::{Instant, Tick};
use crate::tracker::gre;
use crate::tracker::sctp::SctpState;
use crate::tracker::tcp::TcpState;
use crate::tuple::{Direction, Family, Tuple, Zone, protocol};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `conntrack -L`.
    Conntrack,
    /// `conntrack -L -o extended`: the family in front.
    Extended,
    /// /proc/net/ip_conntrack of Linux 2.4: no family, no counters, no mark.
    IpConntrack,
    /// /proc/net/nf_conntrack of Linux 6.18.
    NfConntrack,
    /// One JSON object; a key is there when the entry has what it names.
    Json,
}

impl Layout {
    /// The kernel's file that a preset's listing looks like.
    pub const fn proc(preset: Preset) -> Self {
        match preset {
            Preset::Classic => Self::IpConntrack,
            Preset::Linux => Self::NfConntrack,
        }
    }
}

/// Packets and bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes, IP headers included.
    pub bytes: u64,
}

/// An entry as it was at one moment, for whoever wants to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntrySnapshot {
    /// Original tuple.
    pub original: Tuple,
    /// Reply tuple.
    pub reply: Tuple,
    /// State, where the protocol has states.
    pub state: Option<&'static str>,
    /// Whole seconds to its end.
    pub remaining_s: u32,
    /// Status bits.
    pub status: Status,
    /// What has passed in the original and the reply direction; `None` without accounting.
    pub traffic: Option<[Traffic; 2]>,
    /// Timeouts of a GRE entry, which the kernel's own listing shows.
    pub gre_timeouts: Option<gre::Timeouts>,
    /// Connection mark.
    pub mark: u32,
    /// Whole seconds since its birth; `None` without timestamps.
    pub age_s: Option<u32>,
    /// Name of the helper that reads it.
    pub helper: Option<&'static str>,
    /// Original tuple of the entry that expected it.
    pub master: Option<Tuple>,
    /// How many hold the entry: the table, and each entry or expectation that names it as master.
    pub uses: u32,
}

impl EntrySnapshot {
    /// What `entry` with these tuples, the original and the reply one, is at `now`: an entry that has no helper and was
    /// not expected.
    pub fn of(
        entry: &Entry,
        cold: &Cold,
        [original, reply]: [Tuple; 2],
        settings: &Settings,
        now: Instant,
    ) -> Self {
        let remaining_ms = entry.deadline.since_ms(Tick::at(now)).max(0);
        let traffic =
            entry.counters.map(|counter| Traffic { packets: counter.packets(), bytes: counter.bytes() });
        let age_s = now.as_secs().saturating_sub(u64::from(cold.born_s));
        Self {
            original,
            reply,
            state: state_name(original.protocol(), entry.state),
            remaining_s: remaining_ms as u32 / 1000,
            status: entry.status,
            traffic: settings.accounting.then_some(traffic),
            gre_timeouts: (original.protocol() == protocol::GRE).then(|| gre::timeouts(entry)),
            mark: entry.mark,
            age_s: settings.timestamp.then(|| u32::try_from(age_s).unwrap_or(u32::MAX)),
            helper: None,
            master: None,
            uses: 1,
        }
    }

    /// The connection's zone.
    pub const fn zone(&self) -> Zone {
        self.original.selector.zone()
    }

    /// Writes one line, without the newline.
    pub fn write(&self, layout: Layout, out: &mut impl fmt::Write) -> fmt::Result {
        match layout {
            Layout::Conntrack => self.write_text(&CONNTRACK, out),
            Layout::Extended => self.write_text(&Style { family: true, ..CONNTRACK }, out),
            Layout::IpConntrack => self.write_text(&IP_CONNTRACK, out),
            Layout::NfConntrack => self.write_text(&NF_CONNTRACK, out),
            Layout::Json => self.write_json(out),
        }
    }

    fn write_text(&self, style: &Style, out: &mut impl fmt::Write) -> fmt::Result {
        let (family, number) = (self.original.family(), self.original.protocol());
        if style.family {
            write!(out, "{:<8} {} ", family_name(family), family as u8)?;
        }
        let name = protocol_name(number).filter(|_| style.knows(number)).unwrap_or("unknown");
        write!(out, "{name:<8} {number} {} ", self.remaining_s)?;
        if let Some(state) = self.state {
            write!(out, "{state} ")?;
        }
        if let Some(timeouts) = self.gre_timeouts.filter(|_| style.kernel) {
            let (unreplied, stream) = (timeouts.unreplied_ms / 1000, timeouts.stream_ms / 1000);
            write!(out, "timeout={unreplied}, stream_timeout={stream} ")?;
        }
        self.write_direction(Direction::Original, style, out)?;
        if !self.status.has(Status::SEEN_REPLY) {
            out.write_str("[UNREPLIED] ")?;
        }
        self.write_direction(Direction::Reply, style, out)?;
        if self.status.has(Status::ASSURED) {
            out.write_str("[ASSURED] ")?;
        }
        if style.details {
            self.write_details(style, out)?;
        }
        write!(out, "use={}", self.uses + style.readers)
    }

    fn write_direction(&self, direction: Direction, style: &Style, out: &mut impl fmt::Write) -> fmt::Result {
        let tuple = self.tuple(direction);
        out.write_str("src=")?;
        write_address(tuple.source(), style, out)?;
        out.write_str(" dst=")?;
        write_address(tuple.destination(), style, out)?;
        let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
        match Keys::of(tuple.protocol()) {
            Keys::Ports if style.knows(tuple.protocol()) => write!(out, " sport={sport} dport={dport}")?,
            Keys::Query => {
                let [kind, code] = dport.to_be_bytes();
                write!(out, " type={kind} code={code} id={sport}")?;
            }
            Keys::Calls => write!(out, " srckey=0x{sport:x} dstkey=0x{dport:x}")?,
            Keys::Ports | Keys::None => {}
        }
        if let Some(traffic) = self.traffic.filter(|_| style.details) {
            let Traffic { packets, bytes } = traffic[direction as usize];
            write!(out, " packets={packets} bytes={bytes}")?;
        }
        out.write_char(' ')
    }

    fn write_details(&self, style: &Style, out: &mut impl fmt::Write) -> fmt::Result {
        write!(out, "mark={} ", self.mark)?;
        if style.kernel || self.zone() != 0 {
            write!(out, "zone={} ", self.zone())?;
        }
        if let Some(age_s) = self.age_s {
            write!(out, "delta-time={age_s} ")?;
        }
        match self.helper.filter(|_| !style.kernel) {
            Some(helper) => write!(out, "helper={helper} "),
            None => Ok(()),
        }
    }

    // All strings here come from fixed sets or are numbers and addresses: none needs escaping.
    fn write_json(&self, out: &mut impl fmt::Write) -> fmt::Result {
        let number = self.original.protocol();
        write!(out, "{{\"family\":\"{}\",", family_name(self.original.family()))?;
        if let Some(name) = protocol_name(number) {
            write!(out, "\"protocol\":\"{name}\",")?;
        }
        write!(out, "\"number\":{number},\"timeout\":{},", self.remaining_s)?;
        if let Some(state) = self.state {
            write!(out, "\"state\":\"{state}\",")?;
        }
        for (name, direction) in [("original", Direction::Original), ("reply", Direction::Reply)] {
            write!(out, "\"{name}\":{{")?;
            write_json_tuple(self.tuple(direction), out)?;
            if let Some(traffic) = self.traffic {
                let Traffic { packets, bytes } = traffic[direction as usize];
                write!(out, ",\"packets\":{packets},\"bytes\":{bytes}")?;
            }
            out.write_str("},")?;
        }
        out.write_str("\"status\":[")?;
        let names = STATUS_NAMES.iter().filter(|(bit, _)| self.status.has(*bit));
        for (i, (_, name)) in names.enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(out, "{comma}\"{name}\"")?;
        }
        write!(out, "],\"mark\":{},\"zone\":{}", self.mark, self.zone())?;
        if let Some(age_s) = self.age_s {
            write!(out, ",\"age\":{age_s}")?;
        }
        if let Some(helper) = self.helper {
            write!(out, ",\"helper\":\"{helper}\"")?;
        }
        if let Some(master) = &self.master {
            out.write_str(",\"master\":{")?;
            write_json_tuple(master, out)?;
            out.write_char('}')?;
        }
        write!(out, ",\"use\":{}}}", self.uses)
    }

    const fn tuple(&self, direction: Direction) -> &Tuple {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }
}

/// What tells the text layouts apart.
struct Style {
    /// The family stands in front.
    family: bool,
    /// As the kernel prints it: IPv6 addresses in full, the zone always, a GRE entry's timeouts, but no
    /// helper, and DCCP is unknown.
    kernel: bool,
    /// Counters, mark, zone and age are shown.
    details: bool,
    /// Holders of the entry besides [`EntrySnapshot::uses`]: Linux counts whoever reads the file.
    readers: u32,
}

const CONNTRACK: Style = Style { family: false, kernel: false, details: true, readers: 0 };
const IP_CONNTRACK: Style = Style { family: false, kernel: true, details: false, readers: 0 };
const NF_CONNTRACK: Style = Style { family: true, kernel: true, details: true, readers: 1 };

impl Style {
    const fn knows(&self, number: u8) -> bool {
        !(self.kernel && number == protocol::DCCP)
    }
}

/// What listings show of a protocol's tuples besides addresses. conntrack(8) has ports for DCCP, which a tuple has not:
/// they are 0.
enum Keys {
    None,
    Ports,
    Query,
    Calls,
}

impl Keys {
    const fn of(number: u8) -> Self {
        match number {
            protocol::DCCP => Self::Ports,
            _ if protocol::has_ports(number) => Self::Ports,
            protocol::ICMP | protocol::ICMPV6 => Self::Query,
            protocol::GRE => Self::Calls,
            _ => Self::None,
        }
    }
}

const STATUS_NAMES: &[(Status, &str)] = &[
    (Status::SEEN_REPLY, "SEEN_REPLY"),
    (Status::ASSURED, "ASSURED"),
    (Status::CONFIRMED, "CONFIRMED"),
    (Status::SRC_NAT, "SRC_NAT"),
    (Status::DST_NAT, "DST_NAT"),
];

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

const fn protocol_name(number: u8) -> Option<&'static str> {
    Some(match number {
        protocol::ICMP => "icmp",
        protocol::TCP => "tcp",
        protocol::UDP => "udp",
        protocol::DCCP => "dccp",
        protocol::GRE => "gre",
        protocol::ICMPV6 => "icmpv6",
        protocol::SCTP => "sctp",
        protocol::UDPLITE => "udplite",
        _ => return None,
    })
}

fn state_name(number: u8, state: u8) -> Option<&'static str> {
    match number {
        protocol::TCP => TcpState::ALL.get(usize::from(state)).map(|state| state.name()),
        protocol::SCTP => SctpState::ALL.get(usize::from(state)).map(|state| state.name()),
        _ => None,
    }
}

fn write_address(address: IpAddr, style: &Style, out: &mut impl fmt::Write) -> fmt::Result {
    match address {
        IpAddr::V6(v6) if style.kernel => write_unabbreviated(v6, out),
        _ => write!(out, "{address}"),
    }
}

fn write_unabbreviated(address: Ipv6Addr, out: &mut impl fmt::Write) -> fmt::Result {
    let [first, rest @ ..] = address.segments();
    write!(out, "{first:04x}")?;
    rest.iter().try_for_each(|segment| write!(out, ":{segment:04x}"))
}

fn write_json_tuple(tuple: &Tuple, out: &mut impl fmt::Write) -> fmt::Result {
    write!(out, "\"src\":\"{}\",\"dst\":\"{}\"", tuple.source(), tuple.destination())?;
    let (sport, dport) = (tuple.selector.sport(), tuple.selector.dport());
    match Keys::of(tuple.protocol()) {
        Keys::Ports => write!(out, ",\"sport\":{sport},\"dport\":{dport}"),
        Keys::Query => {
            let [kind, code] = dport.to_be_bytes();
            write!(out, ",\"type\":{kind},\"code\":{code},\"id\":{sport}")
        }
        Keys::Calls => write!(out, ",\"srckey\":{sport},\"dstkey\":{dport}"),
        Keys::None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    /// An entry in the making: opened at second 0 by a packet of this tuple, in a shard with these settings.
    struct Case {
        entry: Entry,
        original: Tuple,
        settings: Settings,
    }

    impl Case {
        fn new(src: &str, dst: &str, protocol: u8, sport: u16, dport: u16, timeout_s: u32) -> Self {
            let original = Tuple::new(src.parse().unwrap(), dst.parse().unwrap(), protocol, sport, dport);
            let mut entry = Entry::new_zeroed();
            entry.deadline = Tick::from_u32(timeout_s * 1000);
            Self { entry, original, settings: Settings::of(Preset::Linux, 1) }
        }

        fn state(mut self, state: u8) -> Self {
            self.entry.state = state;
            self
        }

        fn status(mut self, status: &[Status]) -> Self {
            status.iter().for_each(|bit| self.entry.status.set(*bit));
            self
        }

        fn traffic(mut self, original: &[u32], reply: &[u32]) -> Self {
            original.iter().for_each(|bytes| self.entry.counter(Direction::Original).add(*bytes));
            reply.iter().for_each(|bytes| self.entry.counter(Direction::Reply).add(*bytes));
            self
        }

        fn zone(mut self, zone: Zone) -> Self {
            self.original.selector = self.original.selector.with_zone(zone);
            self
        }

        fn gre(mut self) -> Self {
            let context = crate::tracker::Context { settings: &self.settings, now: Tick::default() };
            gre::open(context, &mut self.entry).unwrap();
            self
        }

        fn snapshot(&self, at_ms: u64) -> EntrySnapshot {
            EntrySnapshot::of(
                &self.entry,
                &Cold::new_zeroed(),
                [self.original, self.original.invert()],
                &self.settings,
                Instant::from_ns(at_ms * 1_000_000),
            )
        }

        fn line(&self, layout: Layout, at_ms: u64) -> String {
            line(&self.snapshot(at_ms), layout)
        }
    }

    fn line(snapshot: &EntrySnapshot, layout: Layout) -> String {
        let mut line = String::new();
        snapshot.write(layout, &mut line).unwrap();
        line
    }

    const REPLIED: &[Status] = &[Status::SEEN_REPLY];
    const ASSURED: &[Status] = &[Status::SEEN_REPLY, Status::ASSURED];

    fn ssh(timeout_s: u32, state: TcpState) -> Case {
        Case::new("192.168.1.6", "192.168.1.9", protocol::TCP, 32775, 22, timeout_s).state(state as u8)
    }

    fn netbios(timeout_s: u32) -> Case {
        Case::new("192.168.1.2", "192.168.1.5", protocol::UDP, 137, 1025, timeout_s)
    }

    #[test]
    fn ip_conntrack_shows_the_moments_of_a_connection() {
        let proc = Layout::proc(Preset::Classic);
        assert_eq!(
            ssh(120, TcpState::SynSent).line(proc, 3_000),
            "tcp      6 117 SYN_SENT src=192.168.1.6 dst=192.168.1.9 sport=32775 dport=22 [UNREPLIED] \
             src=192.168.1.9 dst=192.168.1.6 sport=22 dport=32775 use=1"
        );
        assert_eq!(
            ssh(60, TcpState::SynRecv).status(REPLIED).line(proc, 3_000),
            "tcp      6 57 SYN_RECV src=192.168.1.6 dst=192.168.1.9 sport=32775 dport=22 \
             src=192.168.1.9 dst=192.168.1.6 sport=22 dport=32775 use=1"
        );
        assert_eq!(
            ssh(432_000, TcpState::Established).status(ASSURED).line(proc, 1),
            "tcp      6 431999 ESTABLISHED src=192.168.1.6 dst=192.168.1.9 sport=32775 dport=22 \
             src=192.168.1.9 dst=192.168.1.6 sport=22 dport=32775 [ASSURED] use=1"
        );
        let udp = |remaining| {
            format!(
                "udp      17 {remaining} src=192.168.1.2 dst=192.168.1.5 sport=137 dport=1025 \
                 src=192.168.1.5 dst=192.168.1.2 sport=1025 dport=137 [ASSURED] use=1"
            )
        };
        assert_eq!(netbios(180).status(ASSURED).line(proc, 10_000), udp(170));
        assert_eq!(netbios(180).status(ASSURED).line(proc, 5_000), udp(175));
        let ping = Case::new("192.168.1.6", "192.168.1.10", protocol::ICMP, 33029, 8 << 8, 30);
        assert_eq!(
            ping.line(proc, 5_000),
            "icmp     1 25 src=192.168.1.6 dst=192.168.1.10 type=8 code=0 id=33029 [UNREPLIED] \
             src=192.168.1.10 dst=192.168.1.6 type=0 code=0 id=33029 use=1"
        );
    }

    #[test]
    fn ip_conntrack_shows_neither_counters_nor_mark() {
        let mut udp = netbios(30).traffic(&[78], &[]);
        udp.entry.mark = 5;
        assert_eq!(
            udp.line(Layout::IpConntrack, 0),
            "udp      17 30 src=192.168.1.2 dst=192.168.1.5 sport=137 dport=1025 [UNREPLIED] \
             src=192.168.1.5 dst=192.168.1.2 sport=1025 dport=137 use=1"
        );
    }

    const CLIENT: &str = "10.0.0.2";
    const SERVER: &str = "198.51.100.2";

    #[test]
    fn conntrack_lists_each_kind_of_entry() {
        let cases = [
            (
                Case::new(CLIENT, SERVER, protocol::SCTP, 5000, 6000, 10).state(SctpState::Closed as u8),
                "sctp     132 9 CLOSED src=10.0.0.2 dst=198.51.100.2 sport=5000 dport=6000 packets=1 bytes=52 \
                 [UNREPLIED] src=198.51.100.2 dst=10.0.0.2 sport=6000 dport=5000 packets=0 bytes=0 mark=0 use=1",
            ),
            (
                Case::new(CLIENT, SERVER, protocol::ESP, 0, 0, 600),
                "unknown  50 599 src=10.0.0.2 dst=198.51.100.2 packets=1 bytes=52 \
                 [UNREPLIED] src=198.51.100.2 dst=10.0.0.2 packets=0 bytes=0 mark=0 use=1",
            ),
            (
                Case::new(CLIENT, SERVER, protocol::DCCP, 0, 0, 600),
                "dccp     33 599 src=10.0.0.2 dst=198.51.100.2 sport=0 dport=0 packets=1 bytes=52 \
                 [UNREPLIED] src=198.51.100.2 dst=10.0.0.2 sport=0 dport=0 packets=0 bytes=0 mark=0 use=1",
            ),
            (
                Case::new(CLIENT, SERVER, protocol::GRE, 0, 7, 30).gre(),
                "gre      47 29 src=10.0.0.2 dst=198.51.100.2 srckey=0x0 dstkey=0x7 packets=1 bytes=52 \
                 [UNREPLIED] src=198.51.100.2 dst=10.0.0.2 srckey=0x7 dstkey=0x0 packets=0 bytes=0 mark=0 use=1",
            ),
            (
                Case::new("fd00:1::2", "2001:db8:9::2", protocol::ICMPV6, 77, 128 << 8, 30),
                "icmpv6   58 29 src=fd00:1::2 dst=2001:db8:9::2 type=128 code=0 id=77 packets=1 bytes=52 \
                 [UNREPLIED] src=2001:db8:9::2 dst=fd00:1::2 type=129 code=0 id=77 packets=0 bytes=0 mark=0 use=1",
            ),
            (
                Case::new(CLIENT, SERVER, protocol::UDPLITE, 5001, 9, 30).zone(3),
                "udplite  136 29 src=10.0.0.2 dst=198.51.100.2 sport=5001 dport=9 packets=1 bytes=52 \
                 [UNREPLIED] src=198.51.100.2 dst=10.0.0.2 sport=9 dport=5001 packets=0 bytes=0 mark=0 zone=3 \
                 use=1",
            ),
        ];
        for (case, expected) in cases {
            let case = case.traffic(&[52], &[]);
            assert_eq!(case.line(Layout::Conntrack, 1), expected);
            let family = if case.original.source().is_ipv6() { "ipv6     10" } else { "ipv4     2" };
            assert_eq!(case.line(Layout::Extended, 1), format!("{family} {expected}"));
        }
    }

    #[test]
    fn conntrack_shows_age_and_helper_before_the_uses() {
        let mut tcp = ssh(432_000, TcpState::Established).status(ASSURED);
        tcp.settings.accounting = false;
        tcp.settings.timestamp = true;
        tcp.entry.mark = 7;
        let snapshot = EntrySnapshot { helper: Some("ftp"), uses: 2, ..tcp.snapshot(1_999) };
        assert_eq!(
            line(&snapshot, Layout::Conntrack),
            "tcp      6 431998 ESTABLISHED src=192.168.1.6 dst=192.168.1.9 sport=32775 dport=22 \
             src=192.168.1.9 dst=192.168.1.6 sport=22 dport=32775 [ASSURED] mark=7 delta-time=1 helper=ftp use=2"
        );
    }

    #[test]
    fn nf_conntrack_lists_each_kind_of_entry() {
        let v6 = ("fd00:1::2", "2001:db8:9::2");
        let cases = [
            (
                Case::new(CLIENT, SERVER, protocol::TCP, 40000, 80, 432_000)
                    .state(TcpState::Established as u8)
                    .status(ASSURED)
                    .traffic(&[40, 40], &[40]),
                "ipv4     2 tcp      6 432000 ESTABLISHED src=10.0.0.2 dst=198.51.100.2 sport=40000 dport=80 \
                 packets=2 bytes=80 src=198.51.100.2 dst=10.0.0.2 sport=80 dport=40000 packets=1 bytes=40 \
                 [ASSURED] mark=0 zone=0 use=2",
            ),
            (
                Case::new(v6.0, v6.1, protocol::UDP, 40000, 53, 30).traffic(&[1048], &[]),
                "ipv6     10 udp      17 30 src=fd00:0001:0000:0000:0000:0000:0000:0002 \
                 dst=2001:0db8:0009:0000:0000:0000:0000:0002 sport=40000 dport=53 packets=1 bytes=1048 \
                 [UNREPLIED] src=2001:0db8:0009:0000:0000:0000:0000:0002 \
                 dst=fd00:0001:0000:0000:0000:0000:0000:0002 sport=53 dport=40000 packets=0 bytes=0 mark=0 \
                 zone=0 use=2",
            ),
            (
                Case::new(CLIENT, SERVER, protocol::DCCP, 0, 0, 600)
                    .traffic(&[40, 40], &[40])
                    .status(REPLIED),
                "ipv4     2 unknown  33 600 src=10.0.0.2 dst=198.51.100.2 packets=2 bytes=80 \
                 src=198.51.100.2 dst=10.0.0.2 packets=1 bytes=40 mark=0 zone=0 use=2",
            ),
            (
                Case::new(CLIENT, SERVER, protocol::GRE, 0x64, 0xc8, 30).gre().traffic(&[35], &[]),
                "ipv4     2 gre      47 30 timeout=30, stream_timeout=180 src=10.0.0.2 dst=198.51.100.2 \
                 srckey=0x64 dstkey=0xc8 packets=1 bytes=35 [UNREPLIED] src=198.51.100.2 dst=10.0.0.2 \
                 srckey=0xc8 dstkey=0x64 packets=0 bytes=0 mark=0 zone=0 use=2",
            ),
            (
                Case::new(CLIENT, SERVER, protocol::SCTP, 5000, 6000, 3)
                    .state(SctpState::ShutdownAckSent as u8)
                    .status(ASSURED)
                    .traffic(&[228], &[160]),
                "ipv4     2 sctp     132 3 SHUTDOWN_ACK_SENT src=10.0.0.2 dst=198.51.100.2 sport=5000 \
                 dport=6000 packets=1 bytes=228 src=198.51.100.2 dst=10.0.0.2 sport=6000 dport=5000 packets=1 \
                 bytes=160 [ASSURED] mark=0 zone=0 use=2",
            ),
        ];
        for (case, expected) in cases {
            assert_eq!(case.line(Layout::NfConntrack, 0), expected);
        }
    }

    #[test]
    fn nf_conntrack_shows_zone_and_age() {
        let mut udp = netbios(30).zone(3);
        udp.settings.accounting = false;
        udp.settings.timestamp = true;
        assert_eq!(
            udp.line(Layout::proc(Preset::Linux), 2_500),
            "ipv4     2 udp      17 27 src=192.168.1.2 dst=192.168.1.5 sport=137 dport=1025 [UNREPLIED] \
             src=192.168.1.5 dst=192.168.1.2 sport=1025 dport=137 mark=0 zone=3 delta-time=2 use=2"
        );
    }

    #[test]
    fn json_has_what_the_entry_has() {
        let tcp = ssh(432_000, TcpState::Established).status(ASSURED).traffic(&[60, 52], &[60]);
        assert_eq!(
            tcp.line(Layout::Json, 0),
            r#"{"family":"ipv4","protocol":"tcp","number":6,"timeout":432000,"state":"ESTABLISHED","#
                .to_owned()
                + r#""original":{"src":"192.168.1.6","dst":"192.168.1.9","sport":32775,"dport":22,"packets":2,"bytes":112},"#
                + r#""reply":{"src":"192.168.1.9","dst":"192.168.1.6","sport":22,"dport":32775,"packets":1,"bytes":60},"#
                + r#""status":["SEEN_REPLY","ASSURED"],"mark":0,"zone":0,"use":1}"#
        );
        let mut esp = Case::new("fd00::1", "fd00::2", protocol::ESP, 0, 0, 600);
        esp.settings.accounting = false;
        assert_eq!(
            esp.line(Layout::Json, 0),
            r#"{"family":"ipv6","number":50,"timeout":600,"original":{"src":"fd00::1","dst":"fd00::2"},"#
                .to_owned()
                + r#""reply":{"src":"fd00::2","dst":"fd00::1"},"status":[],"mark":0,"zone":0,"use":1}"#
        );
    }

    #[test]
    fn an_entry_past_its_time_has_no_time_left() {
        assert_eq!(netbios(30).snapshot(31_000).remaining_s, 0);
    }
}
