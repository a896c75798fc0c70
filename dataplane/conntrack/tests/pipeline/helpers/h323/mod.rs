//! H.323: registrations (RAS), calls (Q.931) and their channels (H.245) through the box, plain and translated.

mod calls;
mod channels;
mod hostile;
mod registrations;

use super::session::{Client, Server, Session, expected};
use super::translated::{inwards, outwards, pool, router};
use super::*;
use crate::common::h323::*;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::{Preset, Settings};
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, State};

/// The ports that the caller, or the registered endpoint, sends from, and where the other end takes calls.
const CALLER: &str = "10.0.0.2:40000";
const CALLED: &str = "198.51.100.2:1720";
const PUBLIC: &str = "203.0.113.77";

fn on(helper: HelperId, port: u16) -> Assignment {
    Assignment { helper, ..ftp_on(&[port]) }
}

/// All that belongs to H.323.
fn h323() -> [Assignment; 2] {
    [on(HelperId::Ras, 1719), on(HelperId::Q931, 1720)]
}

/// A wire that lets in what is RELATED.
fn wire(preset: Preset) -> Middlebox {
    with_helpers(Middlebox::with(Settings::of(preset, ROOM), firewall()), h323())
}

fn routing(preset: Preset, nat: Nat) -> Middlebox {
    with_helpers(router(preset, nat, 1500), h323())
}

/// A call that is not translated.
fn plain(preset: Preset) -> Session {
    let pair = Pair::at(CALLER, CALLED);
    Session::open(wire(preset), pair, pair.inverse(), [1000, 5000])
}

/// A call from behind one address.
fn masqueraded(preset: Preset) -> Session {
    let server = Pair::at(CALLED, &format!("{PUBLIC}:40000"));
    Session::open(routing(preset, outwards(pool(PUBLIC))), Pair::at(CALLER, CALLED), server, [1000, 5000])
}

/// A call to a host inside, known outside by another address.
fn published(preset: Preset) -> Session {
    Session::open_from_outside(
        routing(preset, inwards("203.0.113.10", "10.0.0.5")),
        Pair::at("198.51.100.9:40000", "203.0.113.10:1720"),
        Pair::at("10.0.0.5:1720", "198.51.100.9:40000"),
        [1000, 5000],
    )
}

/// What is expected, in the order of its text.
fn all(it: &Middlebox) -> Vec<String> {
    let mut all = expected(it);
    all.sort();
    all
}

/// Media between these, at a port and at the next one.
fn media(from: &str, to: &str, port: u16) -> [String; 2] {
    [port, port + 1].map(|port| format!("{from} > {to} {port}"))
}
