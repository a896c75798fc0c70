//! Helpers that an operator switches off and on while connections have them.

use super::session::*;
use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::settings::Preset;
use std::sync::Arc;

const PORT: &str = "PORT 10,0,0,2,19,137\r\n";
const EXPECTED: &str = "198.51.100.2 > 10.0.0.2 5001";

fn switch(it: &mut Middlebox, helper: HelperId, is_on: bool) {
    let changed = it.shard.configuration().with_helper_switched(helper, is_on);
    it.shard.amend(Arc::new(changed));
}

#[test]
fn off_it_reads_nothing_more() {
    for preset in PRESETS {
        let mut session = Session::plain(preset).logged_in();
        switch(&mut session.it, HelperId::Ftp, false);
        assert_eq!(session.says(Client, PORT).drop(), None);
        assert_eq!((session.expected(), session.events(HelperEvent::SwitchedOff)), (vec![], 1));
        switch(&mut session.it, HelperId::Ftp, true);
        session.says(Client, PORT);
        assert_eq!(session.expected(), [""; 0], "what it has missed it cannot make up for");
        session.it.check();
    }
}

#[test]
fn on_again_it_goes_on_with_those_that_said_nothing_meanwhile() {
    for preset in PRESETS {
        let mut session = Session::plain(preset).logged_in();
        switch(&mut session.it, HelperId::Ftp, false);
        session.acknowledge(Client);
        switch(&mut session.it, HelperId::Ftp, true);
        session.says(Client, PORT);
        assert_eq!(session.expected(), [EXPECTED]);
    }
}

#[test]
fn off_it_is_given_to_no_connection() {
    let mut it = ftp_box(Preset::Classic);
    switch(&mut it, HelperId::Ftp, false);
    it.inside(&Pair::v4(40_000, 21).tcp("S", 1000, 0));
    switch(&mut it, HelperId::Ftp, true);
    it.inside(&Pair::v4(40_001, 21).tcp("S", 1000, 0));
    let helpers: Vec<_> = it.entries().iter().map(|(_, entry)| entry.helper).collect();
    assert_eq!(helpers, [None, Some("ftp")]);
    let counters = it.shard.counters();
    let number = HelperId::Ftp as usize;
    assert_eq!((counters.helper_connections[number], counters.helper_assignments[number]), (1, 1));
}

#[test]
fn another_that_is_on_goes_on() {
    let mut session = Session::plain(Preset::Classic).logged_in();
    switch(&mut session.it, HelperId::Tftp, false);
    session.says(Client, PORT);
    assert_eq!(session.expected(), [EXPECTED]);
}
