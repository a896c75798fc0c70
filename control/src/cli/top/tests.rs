//! The screen of given statistics.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::rates::Rates;
use super::sight::Drops;
use super::*;
use crate::socket::protocol::{
    Counted, Mbufs, PoolStatistics, PortCounts, PortStatistics, SourceCount, SourceCounts, Statistics,
    WorkerStatistics,
};

/// What a daemon has counted after so many seconds.
fn statistics(seconds: u64) -> Statistics {
    let worker = |busy: u64| WorkerStatistics {
        entries: 1500 * seconds,
        inserts: 2000 * seconds,
        held: 3,
        handed_off: 100 * seconds,
        busy_ns: busy * seconds,
        idle_ns: (100 - busy) * seconds,
    };
    Statistics {
        version: "1.2.3".to_owned(),
        uptime_s: 93_784,
        revision: 4,
        entries: 3000 * seconds,
        entries_limit: 10_000,
        packets: vec![Counted { name: "ESTABLISHED".to_owned(), packets: 1_500_000 * seconds }],
        ports: vec![PortStatistics {
            name: "inside".to_owned(),
            rx_packets: 1_500_000 * seconds,
            rx_bytes: 125_000_000 * seconds,
            tx_packets: 1200 * seconds,
            tx_bytes: 100 * seconds,
            rx_missed: 7 * seconds,
            ..PortStatistics::default()
        }],
        workers: vec![worker(97), worker(5)],
        mbufs: Mbufs { available: 1000, size: 8000 },
        ..Statistics::default()
    }
}

fn sight() -> Sight {
    let (before, after) = (statistics(1), statistics(2));
    let pool = |name: &str, tcp, bound| PoolStatistics {
        pool: name.to_owned(),
        ports: PortCounts { tcp: 64_512, udp: 64_512, other: 0 },
        used: PortCounts { tcp, udp: 16, other: 0 },
        bound,
        ..PoolStatistics::default()
    };
    let drops = |reason: &str, rate, total| Drops { reason: reason.to_owned(), rate, total };
    let source = |address: &str, entries| SourceCount { source: address.parse().unwrap(), entries };
    Sight {
        rates: Rates::between(&before, &after, Duration::from_secs(1)),
        statistics: after,
        drops: vec![drops("policy", 12.0, 900), drops("no-route", 0.0, 5000), drops("rp-filter", 40.0, 41)],
        pools: vec![pool("guests", 100, 9), pool("office", 64_000, 3)],
        sources: SourceCounts {
            sampled: 200,
            sources: vec![source("10.0.0.7", 150), source("2001:db8::5", 50)],
        },
    }
}

const SCREEN: &str = "\
sluice 1.2.3, up 1d2h, configuration 4, sorted by rate
entries 6000 of 10000 (60.0%), +3000/s, 4000/s new; mbufs 7000 of 8000 in use
packets 1500k/s, 1000Mbit/s received; 52/s dropped; ESTABLISHED 1500k

port               rx packets/s     rx bit/s tx packets/s     tx bit/s    lost/s
inside                    1500k        1000M         1200          800         7

worker   busy     entries     held handed off/s    source                           part   entries
0       97.0%        3000        3          100    10.0.0.7                        75.0%      4500
1        5.0%        3000        3          100    2001:db8::5                     25.0%      1500

drops                           /s        total    pool              full          tcp          udp
rp-filter                       40           41    office           99.2%  64.0k/64.5k     16/64.5k
policy                          12          900    guests            0.2%    100/64.5k     16/64.5k
no-route                         0         5000
";

#[test]
fn the_screen_shows_what_there_is() {
    assert_eq!(plain(&sight(), Sort::Rate), SCREEN);
    let mut terminal = Terminal::new(TestBackend::new(100, 60)).unwrap();
    terminal.draw(|frame| draw(&sight(), Sort::Rate, frame.area(), frame.buffer_mut())).unwrap();
    let rows: Vec<String> = SCREEN.lines().map(|line| format!("{line:<100}")).collect();
    let shown = terminal.backend().buffer();
    for (row, expected) in shown.content.chunks(100).zip(&rows) {
        assert_eq!(&row.iter().map(|cell| cell.symbol()).collect::<String>(), expected);
    }
}

#[test]
fn keys_sort_the_lists() {
    let first = |letter: char, column: &str| {
        let text = plain(&sight(), Sort::by_key(letter).unwrap());
        let mut lines = text.lines().skip_while(|line| !line.contains(column));
        let at = lines.next().unwrap().find(column).unwrap();
        lines.next().unwrap()[at..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(['r', 't', 'n'].map(|key| first(key, "drops ")), ["rp-filter", "no-route", "no-route"]);
    assert_eq!(['r', 't', 'n'].map(|key| first(key, "pool ")), ["office", "guests", "guests"]);
    assert_eq!(Sort::by_key('x'), None);
}

#[test]
fn a_small_screen_shows_as_much_as_it_has_room_for() {
    for (columns, rows) in [(1, 1), (20, 4), (79, 24), (300, 3)] {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
        terminal.draw(|frame| draw(&sight(), Sort::Rate, frame.area(), frame.buffer_mut())).unwrap();
        let first = terminal.backend().buffer().content[0].symbol();
        assert_eq!(first, "s", "{columns} columns and {rows} rows");
    }
}
