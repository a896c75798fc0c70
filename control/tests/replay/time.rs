//! Capture time is the clock.

use super::scratch::{OPEN, Packet, S, START, Scratch, pcap, syn, udp, udp_answer};

fn table(inside: &[Packet], outside: &[Packet]) -> Vec<String> {
    let scratch = Scratch::new(OPEN).input("inside", &pcap(inside)).input("outside", &pcap(outside));
    let replayed = scratch.with("-oproc").replay();
    replayed.adds_up(inside, outside);
    replayed.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn three_seconds_after_a_syn_117_are_left() {
    let lines = table(&[(START, syn(32775)), (START + 3 * S, udp(9, 0))], &[]);
    let syn_sent = "tcp      6 117 SYN_SENT src=192.168.1.6 dst=192.168.1.9 sport=32775 dport=22 [UNREPLIED] \
                    src=192.168.1.9 dst=192.168.1.6 sport=22 dport=32775 use=1";
    assert!(lines.iter().any(|line| line == syn_sent), "{lines:#?}");
}

#[test]
fn an_entry_ends_to_the_millisecond() {
    let ports = |lines: Vec<String>| lines.iter().filter(|line| line.contains("sport=7 ")).count();
    let first = START / 1_000_000 * 1_000_000;
    let before = first + 30 * S - 1;
    assert_eq!(ports(table(&[(first, udp(7, 0)), (before, udp(8, 0))], &[])), 1);
    assert_eq!(ports(table(&[(first, udp(7, 0)), (first + 30 * S, udp(8, 0))], &[])), 0);
}

#[test]
fn captures_are_merged_by_time_to_the_nanosecond() {
    let inside = [(START, udp(7, 0)), (START + 2, udp(7, 0))];
    let outside = [(START + 1, udp_answer(7)), (START + 3, udp_answer(7))];
    let scratch = Scratch::new(OPEN).input("outside", &pcap(&outside)).input("inside", &pcap(&inside));
    let replayed = scratch.replay();
    replayed.adds_up(&inside, &outside);
    assert_eq!(replayed.traced("interface"), ["inside", "outside", "inside", "outside"]);
    assert_eq!(replayed.traced("state"), ["NEW", "ESTABLISHED", "ESTABLISHED", "ESTABLISHED"]);
    assert_eq!(replayed.traced("direction"), ["original", "reply", "original", "reply"]);
}

#[test]
fn a_clock_that_runs_backwards_stands_still() {
    let inside = [(START + 5 * S, syn(1)), (START, udp(7, 0)), (START + 8 * S, udp(8, 0))];
    let lines = table(&inside, &[]);
    assert!(lines.iter().any(|line| line.starts_with("tcp      6 117 SYN_SENT")), "{lines:#?}");
    assert!(lines.iter().any(|line| line.starts_with("udp      17 27 ")), "{lines:#?}");
}

#[test]
fn years_between_two_packets_pass_at_once() {
    let lines = table(&[(S, syn(1)), (START, udp(7, 0))], &[]);
    assert_eq!(lines.len(), 1, "{lines:#?}");
}
