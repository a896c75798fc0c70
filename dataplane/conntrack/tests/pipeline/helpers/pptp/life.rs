//! How calls end, and how long they live.

use super::*;

#[test]
fn pptp_q3_a_call_that_is_cleared_is_expected_no_more_and_another_one_is() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        session.says_bytes(Client, out_call(5));
        assert_eq!(id(&session.says_bytes(Client, clear(5)).bytes()), 40000);
        session.says_bytes(Server, out_granted(9, 40000));
        assert!(calls(&session.it).is_empty(), "cleared before the reply");
        for (server, says) in [(10, 10), (11, 40000)] {
            // Some servers say by the client's id that a call is over.
            call(&mut session, 5, server);
            goes(&mut session.it, INSIDE, A, SERVER, server);
            assert_eq!(gre_lines(&session.it).len(), 1);
            session.says_bytes(Client, clear(5));
            assert_eq!(gre_lines(&session.it).len(), 1, "until the server says that it is over");
            let heard = session.says_bytes(Server, disconnected(says)).bytes();
            assert_eq!(id(&heard), if says == 40000 { 5 } else { says });
            assert!(gre_lines(&session.it).is_empty());
            assert!(goes(&mut session.it, INSIDE, A, SERVER, server).starts_with("New"));
            session.it.shard.delete(|entry| entry.master.is_none() && entry.helper.is_none());
        }
        session.it.check();
    }
}

#[test]
fn pptp_q3_a_refused_call_is_not_expected() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        session.says_bytes(Client, out_call(5));
        let refused = session.says_bytes(Server, message(8, 32, &[9, 40000, 0x0400])).bytes();
        assert_eq!((peer(&refused), calls(&session.it).len()), (5, 0));
        call(&mut session, 5, 9);
        assert_eq!(calls(&session.it).len(), 2);
    }
}

#[test]
fn pptp_q8_calls_end_with_their_connection() {
    for preset in PRESETS {
        for how in 0..3 {
            let mut session = masqueraded(preset);
            call(&mut session, 5, 9);
            goes(&mut session.it, INSIDE, A, SERVER, 9);
            call(&mut session, 6, 10);
            match how {
                0 => session.says_bytes(Client, message(3, 16, &[0x0100])).verdict.state.map(|_| ()).unwrap(),
                1 => assert_eq!(session.it.shard.delete(|entry| entry.helper.is_some()), 1),
                _ => {
                    for _ in 0..40 {
                        goes(&mut session.it, OUTSIDE, SERVER, PUBLIC, 40000);
                        goes(&mut session.it, INSIDE, A, SERVER, 9);
                        session.it.pass(secs(20));
                    }
                    assert_eq!(gre_lines(&session.it).len(), 1, "by its packets it lives");
                    session.it.pass(secs(500_000));
                }
            }
            assert!(calls(&session.it).is_empty() && gre_lines(&session.it).is_empty(), "{how}");
            assert!(goes(&mut session.it, INSIDE, A, SERVER, 9).starts_with("New"));
            session.it.check();
        }
    }
}

#[test]
fn pptp_q9_timers_are_those_of_gre_and_an_idle_call_comes_again() {
    for preset in PRESETS {
        let mut session = masqueraded(preset);
        call(&mut session, 5, 9);
        assert!(goes(&mut session.it, INSIDE, A, SERVER, 9).starts_with("Related"));
        assert!(gre_lines(&session.it)[0].starts_with("gre      47 30 "));
        goes(&mut session.it, OUTSIDE, SERVER, PUBLIC, 40000);
        goes(&mut session.it, INSIDE, A, SERVER, 9);
        assert!(gre_lines(&session.it)[0].starts_with("gre      47 180 "));
        for idle in [200, 1000, 3000] {
            session.it.pass(secs(idle));
            assert!(gre_lines(&session.it).is_empty());
            let back = goes(&mut session.it, OUTSIDE, SERVER, PUBLIC, 40000);
            assert_eq!(back, format!("Related {SERVER} > {A} 5"));
        }
        assert_eq!(session.events(HelperEvent::Met), 1);
        session.it.check();
    }
}
