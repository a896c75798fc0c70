//! Lines, byte by byte.

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
        status.iter().for_each(|bit| self.entry.status.insert(*bit));
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
            Case::new(CLIENT, SERVER, protocol::DCCP, 0, 0, 600).traffic(&[40, 40], &[40]).status(REPLIED),
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
        r#"{"family":"ipv4","protocol":"tcp","number":6,"timeout":432000,"state":"ESTABLISHED","#.to_owned()
            + r#""original":{"src":"192.168.1.6","dst":"192.168.1.9","sport":32775,"dport":22,"packets":2,"bytes":112},"#
            + r#""reply":{"src":"192.168.1.9","dst":"192.168.1.6","sport":22,"dport":32775,"packets":1,"bytes":60},"#
            + r#""status":["SEEN_REPLY","ASSURED"],"mark":0,"zone":0,"use":1}"#
    );
    let seqadj = Seqadj { correction_pos: 1022, offset_before: 3, offset_after: -1 };
    let ftp =
        EntrySnapshot { helper: Some("ftp"), seqadj: Some([seqadj, Seqadj::default()]), ..tcp.snapshot(0) };
    let shown = line(&ftp, Layout::Json);
    let original =
        r#""bytes":112,"seqadj":{"correction_pos":1022,"offset_before":3,"offset_after":-1}},"reply":"#;
    assert!(shown.contains(original) && shown.contains(r#""zone":0,"helper":"ftp","use":1}"#), "{shown}");
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

/// conntrack(8)'s own lines for entries that it was told to make.
fn made() -> [(Case, &'static str); 4] {
    let both = [Status::SEEN_REPLY, Status::ASSURED];
    [
        (
            Case::new("10.0.0.1", "10.0.0.2", 6, 1000, 80, 299).state(3).status(&both),
            "-A -t 299 -u SEEN_REPLY,ASSURED -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p tcp --sport 1000 \
             --dport 80 --reply-port-src 80 --reply-port-dst 1000 --state ESTABLISHED",
        ),
        (
            Case::new("10.0.0.1", "10.0.0.2", 1, 77, 8 << 8, 29),
            "-A -t 29 -u UNSET -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p icmp --icmp-type 8 --icmp-code 0 \
             --icmp-id 77",
        ),
        (
            Case::new("10.0.0.1", "10.0.0.2", 47, 1, 2, 29).zone(5),
            "-A -t 29 -u UNSET -w 5 -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p gre --srckey 1 --dstkey 2 \
             --reply-key-src 2 --reply-key-dst 1",
        ),
        (
            Case::new("10.0.0.1", "10.0.0.2", 99, 0, 0, 29),
            "-A -t 29 -u UNSET -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -q 10.0.0.1 -p 99",
        ),
    ]
}

#[test]
fn an_entry_is_saved_as_a_command() {
    for (case, expected) in made() {
        assert_eq!(case.line(Layout::Save, 0), expected);
    }
    let translated = Case::new("10.0.0.1", "10.0.0.2", 17, 1001, 53, 29).status(&[Status::SRC_NAT]);
    let reply = Tuple::new([10, 0, 0, 2].into(), [192, 0, 2, 1].into(), 17, 53, 5000);
    assert_eq!(
        line(&EntrySnapshot { reply, ..translated.snapshot(0) }, Layout::Save),
        "-A -t 29 -u UNSET -s 10.0.0.1 -d 10.0.0.2 -r 10.0.0.2 -n 192.0.2.1 -p udp --sport 1001 --dport 53 \
         --reply-port-src 53 --reply-port-dst 5000"
    );
}

fn moment() -> Moment {
    Moment {
        unix_ns: 1_795_968_273_569_877_598,
        year: 2026,
        month: 11,
        day: 29,
        weekday: 0,
        hour: 16,
        minute: 4,
        second: 33,
    }
}

#[test]
fn what_is_asked_for_besides_stands_where_conntrack_has_it() {
    let mut case = Case::new("10.0.0.1", "10.0.0.2", 17, 1000, 53, 29);
    case.settings.timestamp = true;
    let extras = Extras { id: Some(3_496_004_716), start: Some(moment()), ..Extras::default() };
    let mut line = String::new();
    case.snapshot(0).write_with(Layout::Extended, &extras, &mut line).unwrap();
    assert_eq!(
        line,
        "ipv4     2 udp      17 29 src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=53 packets=0 bytes=0 [UNREPLIED] \
         src=10.0.0.2 dst=10.0.0.1 sport=53 dport=1000 packets=0 bytes=0 mark=0 delta-time=0 \
         [start=Sun Nov 29 16:04:33 2026] use=1 id=3496004716"
    );
    line.clear();
    case.snapshot(0).write_with(Layout::Xml, &extras, &mut line).unwrap();
    assert_eq!(
        line,
        "<flow><meta direction=\"original\"><layer3 protonum=\"2\" protoname=\"ipv4\"><src>10.0.0.1</src>\
         <dst>10.0.0.2</dst></layer3><layer4 protonum=\"17\" protoname=\"udp\"><sport>1000</sport>\
         <dport>53</dport></layer4><counters><packets>0</packets><bytes>0</bytes></counters></meta>\
         <meta direction=\"reply\"><layer3 protonum=\"2\" protoname=\"ipv4\"><src>10.0.0.2</src>\
         <dst>10.0.0.1</dst></layer3><layer4 protonum=\"17\" protoname=\"udp\"><sport>53</sport>\
         <dport>1000</dport></layer4><counters><packets>0</packets><bytes>0</bytes></counters></meta>\
         <meta direction=\"independent\"><timeout>29</timeout><mark>0</mark><use>1</use><id>3496004716</id>\
         <unreplied/><timestamp><start>1795968273569877598</start></timestamp><deltatime>0</deltatime></meta></flow>"
    );
}

#[test]
fn an_event_shows_what_conntrack_shows_of_it() {
    let event = |case: &Case, kind, layout, extras: &Extras| {
        let mut line = String::new();
        case.snapshot(0).write_event(kind, layout, extras, &mut line).unwrap();
        line
    };
    let none = Extras::default();
    let syn = Case::new("10.0.0.1", "10.0.0.2", 6, 1000, 80, 120).state(1).traffic(&[60], &[]);
    let tuples = "src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=80 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 \
                  sport=80 dport=1000";
    assert_eq!(
        event(&syn, EventKind::New, Layout::Conntrack, &none),
        format!("    [NEW] tcp      6 120 SYN_SENT {tuples}")
    );
    let timed = Extras { id: Some(7), at: Some(moment()), ..none };
    assert_eq!(
        event(&syn, EventKind::Update, Layout::Extended, &timed),
        format!("[1795968273.569877]\t [UPDATE] ipv4     2 tcp      6 120 SYN_SENT {tuples} id=7")
    );
    let over = Case::new("10.0.0.1", "10.0.0.2", 17, 1000, 53, 0).traffic(&[58], &[]);
    assert_eq!(
        event(&over, EventKind::Destroy, Layout::Conntrack, &none),
        "[DESTROY] udp      17 src=10.0.0.1 dst=10.0.0.2 sport=1000 dport=53 packets=1 bytes=58 [UNREPLIED] \
         src=10.0.0.2 dst=10.0.0.1 sport=53 dport=1000 packets=0 bytes=0"
    );
    let xml = event(&syn, EventKind::New, Layout::Xml, &timed);
    for part in
        ["<flow type=\"new\">", "</layer4></meta>", "<timeout>120</timeout><id>7</id><unreplied/></meta>"]
    {
        assert!(xml.contains(part), "{part} in {xml}");
    }
    let when = "<when><hour>16</hour><min>04</min><sec>33</sec><wday>1</wday><day>29</day><month>11</month>\
                <year>2026</year></when></flow>";
    assert!(xml.ends_with(when), "{xml}");
    let json = event(&syn, EventKind::Destroy, Layout::Json, &none);
    assert!(
        json.starts_with("{\"event\":\"destroy\",\"entry\":{\"family\":\"ipv4\"") && json.ends_with("}}")
    );
}
