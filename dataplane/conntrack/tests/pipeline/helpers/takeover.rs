//! Connections that helpers read, and what they expect, on another box that was told of them.

use super::session::*;
use super::translated::{PORT, masqueraded, outwards, pool, router};
use super::*;
use sluice_conntrack::groups::Role;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::ids::GroupId;
use sluice_conntrack::replica::{Installed, Installing, NotInstalled, Origin, Record, Replicate, Teller};
use sluice_conntrack::settings::Preset;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, State, Verify};

const GROUP: GroupId = GroupId(0);
const PASSIVE: &str = "227 Entering Passive Mode (198,51,100,2,200,10)\r\n";

/// Has a box tell others of its connections from now on.
fn telling(mut session: Session) -> Session {
    session.it.shard.tell_by(Some(Box::new(Teller::new(Replicate::Assured, ROOM).unwrap())));
    session
}

/// A session, of which a box is told from its begin on.
fn plain() -> (Session, Middlebox) {
    let it = ftp_box(Preset::Classic);
    let session = telling(Session::unopened(
        it,
        Pair::at("10.0.0.2:40000", "198.51.100.2:21"),
        Pair::at("198.51.100.2:21", "10.0.0.2:40000"),
        [1000, 5000],
    ));
    (session, standby(ftp_box(Preset::Classic)))
}

fn standby(mut it: Middlebox) -> Middlebox {
    it.shard.set_quota(GROUP, ROOM / 2);
    it
}

fn install(it: &mut Middlebox, record: Record) -> Result<Installed, NotInstalled> {
    it.shard.install(&Installing { record, origin: Origin::Peer(GROUP), is_delegated: false })
}

/// Tells one box what the other has to tell.
fn tell(session: &mut Session, standby: &mut Middlebox) -> Vec<Record> {
    let told: Vec<_> = std::iter::from_fn(|| session.it.shard.export()).collect();
    for record in &told {
        assert_eq!(install(standby, *record), Ok(Installed::Here), "{record:?}");
    }
    standby.check();
    told
}

/// The session goes on through the other box; gives the first one.
fn take_over(session: &mut Session, mut standby: Middlebox) -> Middlebox {
    tell(session, &mut standby);
    standby.shard.set_role(GROUP, Role::Active);
    std::mem::replace(&mut session.it, standby)
}

#[test]
fn what_was_announced_before_a_takeover_is_related_behind_it() {
    let (mut session, standby) = plain();
    session.handshake();
    let mut session = session.logged_in();
    session.says(Client, "PASV\r\n");
    session.says(Server, PASSIVE);
    let expected = session.expected();
    assert_eq!(expected, ["10.0.0.2 > 198.51.100.2 51210"]);
    take_over(&mut session, standby);
    assert_eq!(session.expected(), expected);
    let data = Pair::at("10.0.0.2:40001", "198.51.100.2:51210");
    let verdict = session.it.inside(&data.tcp("S", 1, 0));
    assert_eq!((verdict.state, verdict.action), (Some(State::Related), Action::Forward(OUTSIDE)));
    assert!(session.expected().is_empty(), "it was met");
    // The helper reads on, from where it sees a line end.
    session.says(Client, "TYPE I\r\n");
    session.says(Client, "PORT 10,0,0,2,19,137\r\n");
    assert_eq!(session.expected(), ["198.51.100.2 > 10.0.0.2 5001"]);
    session.it.check();
}

#[test]
fn what_is_expected_no_more_is_not_expected_elsewhere() {
    let (mut session, mut standby) = plain();
    session.handshake();
    let mut session = session.logged_in();
    session.says(Server, PASSIVE);
    tell(&mut session, &mut standby);
    assert_eq!(expected(&standby).len(), 1);
    session.says(Server, "227 Entering Passive Mode (198,51,100,2,200,11)\r\n");
    tell(&mut session, &mut standby);
    assert_eq!(expected(&standby), session.expected());
    session.it.pass(secs(301));
    assert!(session.expected().is_empty());
    tell(&mut session, &mut standby);
    assert!(expected(&standby).is_empty());
    // And with its master the rest goes.
    session.says(Server, PASSIVE);
    tell(&mut session, &mut standby);
    assert_eq!(expected(&standby).len(), 1);
    session.it.shard.delete(|_| true);
    tell(&mut session, &mut standby);
    assert!(expected(&standby).is_empty() && standby.shard.is_empty());
}

#[test]
fn who_is_told_of_the_table_is_told_of_what_is_expected() {
    let (mut session, mut standby) = plain();
    session.handshake();
    let mut session = session.logged_in();
    session.says(Server, PASSIVE);
    while session.it.shard.export().is_some() {}
    let mut visited = 0;
    let next = session.it.shard.tell_page(GROUP, 0, u32::MAX, |_| visited += 1);
    let noted = session.it.shard.teller().unwrap().noted();
    assert_eq!((next, visited), (None, 0), "more than its state is to be told of it");
    assert!(!session.it.shard.teller().unwrap().has_told(noted));
    assert_eq!(tell(&mut session, &mut standby).len(), 2);
    assert!(session.it.shard.teller().unwrap().has_told(noted));
    assert_eq!(expected(&standby), session.expected());
}

/// A client whose source becomes this address, and another box by the same rules that is told of it.
fn translated(public: &str) -> (Session, Middlebox) {
    let session = telling(masqueraded(Preset::Classic, public, [1000, 5000]));
    (session, standby(router(Preset::Classic, outwards(pool(public)), 1500)))
}

#[test]
fn text_that_became_longer_goes_on_with_right_numbers() {
    for (public, said) in [("203.0.113.77", "203,0,113,77"), ("1.2.3.4", "1,2,3,4")] {
        let (mut session, standby) = translated(public);
        session.says(Client, PORT);
        session.says(Server, "200 PORT\r\n");
        let first = take_over(&mut session, standby);
        assert!(first.shard.len() == 1 && session.it.shard.len() == 1);
        let data = Pair::at("198.51.100.2:20", &format!("{public}:5001"));
        let (verdict, to) = session.it.reaches(OUTSIDE, &data.tcp("S", 1, 0));
        assert_eq!((verdict.state, to.as_str()), (Some(State::Related), "10.0.0.2:5001"));
        // What `says` passes is what comes next at the other end, and all of it is acknowledged.
        for _ in 0..3 {
            session.says(Client, "NOOP\r\n");
            session.says(Server, "200 OK\r\n");
        }
        let again = session.says(Client, "PORT 10,0,0,2,19,138\r\n");
        assert_eq!(again.text, format!("PORT {said},19,138\r\n"));
        session.says(Server, "200 PORT\r\n");
        assert_eq!(session.it.shard.counters().invalid.iter().sum::<u64>(), 0);
        session.it.check();
    }
}

#[test]
fn text_that_was_not_acknowledged_becomes_the_same_when_it_is_sent_again() {
    let (mut session, standby) = translated("203.0.113.77");
    session.says(Client, PORT);
    session.says(Server, "200 PORT\r\n");
    let seq = session.next[0];
    let before = session.sends(Client, seq, PORT);
    take_over(&mut session, standby);
    let again = session.sends(Client, seq, PORT);
    assert_eq!((again.seq, &again.text), (before.seq, &before.text), "the server had not heard it");
    let behind = session.sends(Client, seq + PORT.len() as u32, "NOOP\r\n");
    assert_eq!(behind.seq, before.seq + before.text.len() as u32);
    assert_eq!(session.events(HelperEvent::Rewritten), 0, "it was before");
}

#[test]
fn who_restarts_goes_on_with_text_and_with_what_is_expected() {
    let (mut session, mut next) = translated("203.0.113.77");
    session.says(Client, PORT);
    session.says(Server, "200 PORT\r\n");
    let (mut saved, shard) = (vec![], &session.it.shard);
    assert_eq!(shard.export_page(0, u32::MAX, |record| saved.push(record)), None);
    let [Record::State(_), Record::Changed(_), Record::Expected(_)] = saved[..] else { panic!("{saved:?}") };
    // A page ends behind a connection, with all that is told beside it.
    let mut page = vec![];
    shard.export_page(0, 1, |record| page.push(record));
    assert_eq!(page, saved);
    for record in saved {
        let installing = Installing { record, origin: Origin::Own, is_delegated: false };
        assert_eq!(next.shard.install(&installing), Ok(Installed::Here), "{record:?}");
    }
    let before = session.expected();
    session.it = next;
    assert_eq!(session.expected(), before);
    session.says(Client, "NOOP\r\n");
    session.says(Server, "200 OK\r\n");
    let (verdict, to) = {
        let data = Pair::at("198.51.100.2:20", "203.0.113.77:5001");
        session.it.reaches(OUTSIDE, &data.tcp("S", 1, 0))
    };
    assert_eq!((verdict.state, to.as_str()), (Some(State::Related), "10.0.0.2:5001"));
    assert_eq!(session.it.shard.counters().invalid.iter().sum::<u64>(), 0);
    session.it.check();
}

#[test]
fn a_box_that_verifies_expects_nothing_that_a_peer_says() {
    let (mut session, mut standby) = translated("203.0.113.77");
    standby.change(|configuration| configuration.verify = Verify::Policy);
    session.says(Client, PORT);
    let told: Vec<_> = std::iter::from_fn(|| session.it.shard.export()).collect();
    assert_eq!(told.len(), 3, "its state, its text and what it expects");
    for record in told {
        assert_eq!(install(&mut standby, record), Err(NotInstalled::Policy), "{record:?}");
    }
    assert!(standby.shard.is_empty());
}

#[test]
fn what_is_told_of_beside_no_connection_is_refused() {
    let (mut session, mut standby) = translated("203.0.113.77");
    session.says(Client, PORT);
    let told: Vec<_> = std::iter::from_fn(|| session.it.shard.export()).collect();
    for record in &told[1..] {
        assert_eq!(install(&mut standby, *record), Err(NotInstalled::Unknown), "{record:?}");
    }
    // Nor is it beside one of this box's own.
    for record in &told {
        install(&mut standby, *record).unwrap();
    }
    standby.shard.set_role(GROUP, Role::Active);
    for record in &told[1..] {
        assert_eq!(install(&mut standby, *record), Err(NotInstalled::Active));
    }
    assert_eq!(session.it.shard.counters().drops[DropReason::ExpectationClash as usize], 0);
    standby.check();
}
