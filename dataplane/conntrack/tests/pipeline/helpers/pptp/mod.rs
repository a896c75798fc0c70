//! PPTP: calls that a control connection announces, and their packets, translated and not.

mod life;
mod messages;

use super::session::*;
use super::translated::{inwards, outwards, pool, router};
use super::*;
use crate::common::pptp::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::listing::Layout;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::{DropReason, State};

const A: &str = "10.0.0.2";
const SERVER: &str = "198.51.100.2";
const PUBLIC: &str = "203.0.113.77";

fn pptp() -> Assignment {
    let on = Match { destination_ports: vec![1723..=1723], ..Match::default() };
    Assignment { helper: HelperId::Pptp, on, loose: false }
}

fn started(mut session: Session) -> Session {
    session.says_bytes(Client, start());
    session.says_bytes(Server, crate::common::pptp::started());
    session
}

/// A session that is not translated.
fn plain(preset: Preset) -> Session {
    let it = with_helpers(Middlebox::with(Settings::of(preset, ROOM), accept_all()), [pptp()]);
    let pair = Pair::at("10.0.0.2:40000", "198.51.100.2:1723");
    started(Session::open(it, pair, pair.inverse(), [1000, 5000]))
}

fn masqueraded(preset: Preset) -> Session {
    client_of(with_helpers(router(preset, outwards(pool(PUBLIC)), 1500), [pptp()]), A, 40000)
}

/// Another client behind that address.
fn client_of(it: Middlebox, host: &str, port: u16) -> Session {
    let client = Pair::at(&format!("{host}:{port}"), "198.51.100.2:1723");
    let server = Pair::at("198.51.100.2:1723", &format!("{PUBLIC}:{port}"));
    started(Session::open(it, client, server, [1000, 5000]))
}

/// A server inside, known outside by another address.
fn published(preset: Preset) -> Session {
    let session = Session::open_from_outside(
        with_helpers(router(preset, inwards("203.0.113.10", "10.0.0.5"), 1500), [pptp()]),
        Pair::at("198.51.100.9:40000", "203.0.113.10:1723"),
        Pair::at("10.0.0.5:1723", "198.51.100.9:40000"),
        [1000, 5000],
    );
    started(session)
}

/// The client calls with this id, the server grants it with that.
fn call(session: &mut Session, client: u16, server: u16) -> [Vec<u8>; 2] {
    let asked = session.says_bytes(Client, out_call(client)).bytes();
    let granted = session.says_bytes(Server, out_granted(server, id(&asked))).bytes();
    [asked, granted]
}

/// What is expected: who sends to whom, with the ids of both.
fn calls(it: &Middlebox) -> Vec<String> {
    let mut calls = vec![];
    it.shard.list_expectations(0, u32::MAX, |_, snapshot| {
        let tuple = snapshot.expectation.tuple;
        let (from, to) = (tuple.selector.sport(), tuple.selector.dport());
        calls.push(format!("{} {from} > {} {to}", tuple.source(), tuple.destination()));
    });
    calls.sort();
    calls
}

/// What becomes of a packet of a call: its state, whom it comes from and goes to, and by which id.
fn goes(it: &mut Middlebox, port: PortId, from: &str, to: &str, id: u16) -> String {
    let mut frames = [(port, gre(from, to, id).frame())];
    let verdict = it.burst(&mut frames)[0];
    let frame = &frames[0].1;
    let address = |at: usize| frame[at..at + 4].iter().map(u8::to_string).collect::<Vec<_>>().join(".");
    let id = u16::from_be_bytes([frame[40], frame[41]]);
    format!("{:?} {} > {} {id}", verdict.state.unwrap(), address(26), address(30))
}

fn gre_lines(it: &Middlebox) -> Vec<String> {
    let line = |entry: &sluice_conntrack::listing::EntrySnapshot| {
        let mut line = String::new();
        entry.write(Layout::Conntrack, &mut line).unwrap();
        line
    };
    it.entries().iter().map(|(_, entry)| line(entry)).filter(|line| line.starts_with("gre")).collect()
}

#[test]
fn pptp_q1_clients_with_equal_ids_have_others_outside() {
    for preset in PRESETS {
        let mut first = masqueraded(preset);
        let [asked, granted] = call(&mut first, 5, 9);
        assert_eq!((id(&asked), id(&granted), peer(&granted)), (40000, 9, 5));
        let mut second = client_of(first.it, "10.0.0.3", 40001);
        let [asked, granted] = call(&mut second, 5, 9);
        assert_eq!((id(&asked), id(&granted), peer(&granted)), (40001, 9, 5));
        let it = &mut second.it;
        for (host, outside) in [(A, 40000), ("10.0.0.3", 40001)] {
            let to = |state, to| format!("{state} {SERVER} > {host} {to}");
            assert_eq!(goes(it, OUTSIDE, SERVER, PUBLIC, outside), to("Related", 5));
            assert_eq!(goes(it, INSIDE, host, SERVER, 9), format!("Established {PUBLIC} > {SERVER} 9"));
            assert_eq!(goes(it, OUTSIDE, SERVER, PUBLIC, outside), to("Established", 5));
        }
        assert_eq!(gre_lines(it).len(), 2);
        assert!(calls(it).is_empty());
        it.check();
    }
}

#[test]
fn pptp_q2_either_end_may_begin_and_both_directions_are_one_connection() {
    for preset in PRESETS {
        for first in [0, 1] {
            let mut session = plain(preset);
            call(&mut session, 100, 200);
            assert_eq!(
                calls(&session.it),
                [format!("{A} 100 > {SERVER} 200"), format!("{SERVER} 200 > {A} 100")]
            );
            let it = &mut session.it;
            it.reload(firewall());
            let ways = [(INSIDE, A, SERVER, 200), (OUTSIDE, SERVER, A, 100)];
            for (number, state) in [(first, "Related"), (1 - first, "Established"), (first, "Established")] {
                let (port, from, to, id) = ways[number];
                assert_eq!(goes(it, port, from, to, id), format!("{state} {from} > {to} {id}"));
            }
            assert!(calls(it).is_empty());
            let [one, other] = [(A, 100), (SERVER, 200)];
            let [one, other] = if first == 0 { [one, other] } else { [other, one] };
            let tuple = |from: (&str, u16), to: (&str, u16)| {
                format!("src={} dst={} srckey=0x{:x} dstkey=0x{:x}", from.0, to.0, from.1, to.1)
            };
            let lines = gre_lines(it);
            let [line] = &lines[..] else { panic!("{lines:?}") };
            assert!(line.starts_with(&format!("gre      47 180 {}", tuple(one, other))), "{line}");
            assert!(line.contains(&tuple(other, one)) && line.contains("[ASSURED]"), "{line}");
            it.check();
        }
    }
}

#[test]
fn pptp_q2_a_packet_before_the_reply_is_new_and_what_comes_after_it_related() {
    for preset in PRESETS {
        for mut session in [plain(preset), masqueraded(preset)] {
            let asked = session.says_bytes(Client, out_call(5)).bytes();
            let outside = id(&asked);
            let to = session.pairs[1].destination.ip().to_string();
            let early = goes(&mut session.it, OUTSIDE, SERVER, &to, outside);
            assert!(early.starts_with("New"), "{early}");
            session.says_bytes(Server, out_granted(9, outside));
            assert_eq!(
                goes(&mut session.it, OUTSIDE, SERVER, &to, outside),
                format!("Related {SERVER} > {A} 5")
            );
            assert!(goes(&mut session.it, INSIDE, A, SERVER, 9).starts_with("Established"));
            session.it.check();
        }
    }
}

#[test]
fn pptp_q4_a_server_may_call_either_way() {
    for preset in PRESETS {
        for mut session in [plain(preset), masqueraded(preset)] {
            let is_translated = session.pairs[1].destination.ip().to_string() == PUBLIC;
            session.says_bytes(Server, in_call(9));
            let granted = session.says_bytes(Client, in_granted(5, 9)).bytes();
            let outside = id(&granted);
            assert_eq!((outside, peer(&granted)), (5, 9), "a server's call leaves the client its id");
            assert_eq!(id(&session.says_bytes(Server, in_connected(outside)).bytes()), 5);
            let to = if is_translated { PUBLIC } else { A };
            assert_eq!(
                goes(&mut session.it, OUTSIDE, SERVER, to, outside),
                format!("Related {SERVER} > {A} 5")
            );
            session.says_bytes(Server, out_call(19));
            let granted = session.says_bytes(Client, out_granted(15, 19)).bytes();
            let outside = id(&granted);
            assert_eq!(
                goes(&mut session.it, OUTSIDE, SERVER, to, outside),
                format!("Related {SERVER} > {A} 15")
            );
            assert_eq!(gre_lines(&session.it).len(), 2);
            session.it.check();
        }
    }
}

#[test]
fn pptp_q5_a_connection_has_several_calls_and_eight_at_most() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        let mut outside = vec![];
        for number in 0..8 {
            let [asked, granted] = call(&mut session, number, 100 + number);
            assert_eq!(peer(&granted), number);
            outside.push(id(&asked));
        }
        assert_eq!((outside[0], calls(&session.it).len()), (40000, 16));
        for (number, outside) in (0..).zip(&outside) {
            let seen = goes(&mut session.it, OUTSIDE, SERVER, PUBLIC, *outside);
            assert_eq!(seen, format!("Related {SERVER} > {A} {number}"));
        }
        outside.dedup();
        assert_eq!((outside.len(), gre_lines(&session.it).len()), (8, 8));
        let seq = session.next[0];
        assert_eq!(session.sends_bytes(Client, seq, out_call(8)).drop(), Some(DropReason::ExpectationFull));
        assert_eq!(session.events(HelperEvent::Refused), 1);
        session.it.check();
    }
}

#[test]
fn pptp_q7_packets_of_no_call_are_as_without_a_helper() {
    for preset in PRESETS {
        let mut session = plain(preset);
        call(&mut session, 5, 9);
        for (port, from, to, id) in
            [(INSIDE, A, SERVER, 10), (OUTSIDE, SERVER, A, 9), (INSIDE, "10.0.0.3", SERVER, 9)]
        {
            let seen = goes(&mut session.it, port, from, to, id);
            assert!(seen.starts_with("New"), "{seen}");
        }
        assert_eq!(calls(&session.it).len(), 2);
        let version_0 =
            Pair::at("10.0.0.2:0", "198.51.100.2:0").packet(47, vec![0x20, 0, 8, 0, 0, 0, 0, 9], None);
        assert_eq!(session.it.inside(&version_0).state, Some(State::New));
        session.it.check();
    }
}

#[test]
fn pptp_a_server_inside_is_called_by_what_is_known_of_it() {
    for preset in PRESETS {
        for first in [0, 1] {
            let mut session = published(preset);
            let [asked, granted] = call(&mut session, 5, 9);
            assert_eq!((id(&asked), peer(&granted)), (5, 5), "the client is not translated");
            let outside = id(&granted);
            assert_eq!(outside, 9, "nobody else has it");
            let (client, public, inside) = ("198.51.100.9", "203.0.113.10", "10.0.0.5");
            let it = &mut session.it;
            for (number, state) in [(first, "Related"), (1 - first, "Established")] {
                let seen = match number {
                    0 => goes(it, OUTSIDE, client, public, outside),
                    _ => goes(it, INSIDE, inside, client, 5),
                };
                let whom = [format!("{client} > {inside} 9"), format!("{public} > {client} 5")];
                assert_eq!(seen, format!("{state} {}", whom[number]));
            }
            assert_eq!(gre_lines(it).len(), 1);
            it.check();
        }
    }
}
