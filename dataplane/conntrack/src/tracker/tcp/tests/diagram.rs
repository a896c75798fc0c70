//! docs/tcp-states.md is made of the transitions, and kept equal to them.

use crate::tracker::tcp::TcpState;
use crate::tracker::tcp::table::{Move, SegmentKind, TRANSITIONS, Transition};
use crate::tuple::Direction;
use std::fmt::Write;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tcp-states.md");

const HEAD: &str = "# TCP states

What each kind of segment does to a tracked connection, from the transitions in
`dataplane/conntrack/src/tracker/tcp/table.rs`. *Original* is the direction of the first packet. What none
of them covers is INVALID. What has no arrow is in the table below.

The arrows from the start are first segments. A SYN is always NEW. With `loose` on so is a plain ACK, in the
classic preset also a SYN/ACK or a FIN/ACK, and without window tracking anything at all.

```mermaid
stateDiagram-v2
";

const NOTES: &str = "\
Any reset that fits leads to CLOSE. Four cases need more than the state:

* An ignored SYN that is answered by a SYN/ACK begins the handshake anew: SYN_RECV.
* An ignored SYN in LAST_ACK may be answered by a challenge ACK (RFC 5961), which changes nothing.
* When both ends have sent a SYN, an ACK of either completes the handshake.
* A new connection takes the place of an old one only if a FIN, or a reset by the SYN's sender, has closed it.

";

const fn kind_name(kind: SegmentKind) -> &'static str {
    match kind {
        SegmentKind::None => "no flags",
        SegmentKind::Syn => "SYN",
        SegmentKind::SynAck => "SYN/ACK",
        SegmentKind::Fin => "FIN",
        SegmentKind::Ack => "ACK",
        SegmentKind::Rst => "RST",
    }
}

const fn directions(transition: &Transition) -> &'static str {
    match transition.directions {
        [Direction::Original] => "original",
        [Direction::Reply] => "reply",
        _ => "both",
    }
}

/// The arrows between states: resets, which lead from everywhere to CLOSE, are one.
fn arrows() -> String {
    let mut text = String::new();
    for transition in TRANSITIONS {
        let Move::To(to) = transition.to else { continue };
        let label = format!("{} {}", directions(transition), kind_name(transition.kind));
        for &from in transition.from.iter().filter(|&&from| from != to && transition.kind != SegmentKind::Rst)
        {
            let from = if from == TcpState::None { "[*]" } else { from.name() };
            writeln!(text, "    {from} --> {}: {label}", to.name()).unwrap();
        }
    }
    text + "    CLOSE --> [*]\n    TIME_WAIT --> [*]\n"
}

fn rows() -> String {
    let mut text =
        String::from("| direction | segment | in state | becomes | because |\n|---|---|---|---|---|\n");
    for transition in TRANSITIONS {
        let from: Vec<&str> = transition.from.iter().map(|state| state.name()).collect();
        let to = match transition.to {
            Move::To(state) => state.name(),
            Move::Ignore => "(passes, not counted)",
            Move::Reopen => "(a new connection)",
            Move::Invalid => "INVALID",
        };
        let (way, kind) = (directions(transition), kind_name(transition.kind));
        writeln!(text, "| {way} | {kind} | {} | {to} | {} |", from.join(", "), transition.why).unwrap();
    }
    text
}

/// Run with `BLESS=1` to write the page.
#[test]
fn the_page_shows_the_transitions() {
    let page = format!("{HEAD}{}```\n\n{NOTES}{}", arrows(), rows());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(PATH, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(PATH).unwrap_or_default(), page, "run this test with BLESS=1");
}
