//! What no endpoint sends.

use super::*;
use sluice_conntrack::helpers::HelperEvent;

#[test]
fn h323_g6_h5_slipstream_v2_a_third_partys_address_is_refused() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says_bytes(Client, SETUP.with(["10.0.0.9:5000", CALLED, CALLER]));
        session.says_bytes(Client, FORWARD.with(["10.0.0.9:5000"]));
        session.says_bytes(Client, SETUP_FAST.with([CALLED, CALLER, "10.0.0.9:5000", "10.0.0.9:5001"]));
        assert!(session.expected().is_empty(), "{:?}", session.expected());
        assert_eq!(session.events(HelperEvent::ForeignAddress), 5);
        session.says_bytes(Client, FORWARD.with(["10.0.0.2:5000"]));
        assert_eq!(session.expected(), ["198.51.100.2 > 10.0.0.2 5000"], "its own other port");
    }
}

#[test]
fn h323_g8_ports_of_services_are_not_opened() {
    let mut session = plain(Preset::Classic);
    session.says_bytes(Client, SETUP.with(["10.0.0.2:22", CALLED, CALLER]));
    session.says_bytes(Client, SETUP.with(["10.0.0.2:0", CALLED, CALLER]));
    assert!(session.expected().is_empty());
    assert_eq!(session.events(HelperEvent::PrivilegedPort), 1);
}

#[test]
fn h323_g4_what_is_no_call_turns_the_helper_off() {
    for first in [&b"POST / HTTP/1.1\r\n"[..], &[3, 0, 0, 6, 9, 9], &[3, 0, 0, 3, 0, 0]] {
        let mut session = plain(Preset::Classic);
        session.says_bytes(Client, first);
        session.says_bytes(Client, SETUP.with(["10.0.0.2:5000", CALLED, CALLER]));
        assert!(session.expected().is_empty(), "{first:?}");
    }
}

#[test]
fn h323_h1_cve_2026_23455_a_user_user_element_of_length_0_says_nothing() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says_bytes(Client, [3, 0, 0, 10, 8, 0, 5, 0x7e, 0, 0]);
        session.says_bytes(Client, SETUP.with(["10.0.0.2:5000", CALLED, CALLER]));
        assert_eq!(session.expected().len(), 1);
    }
}

/// Wherever a message ends too early, and whichever bit of it is another: it is read or not, and nothing else happens.
#[test]
fn h323_h2_cve_2024_26851_cve_2020_14305_spoilt_messages_are_read_or_not() {
    let whole = SETUP_FAST.with([CALLED, CALLER, "10.0.0.2:5000", "10.0.0.2:5001"]);
    for preset in PRESETS {
        for place in 4..whole.len() {
            let mut session = plain(preset);
            let mut cut = whole[..place].to_vec();
            cut[2..4].copy_from_slice(&(place as u16).to_be_bytes());
            session.says_bytes(Client, &cut);
            for bit in 0..8 {
                let mut session = plain(preset);
                let mut spoilt = whole.clone();
                spoilt[place] ^= 1 << bit;
                session.says_bytes(Client, &spoilt);
                session.it.check();
            }
        }
    }
}

#[test]
fn h323_h2_what_is_malformed_turns_the_helper_off_but_in_linux() {
    for preset in PRESETS {
        let mut session = plain(preset);
        let mut spoilt = SETUP.with(["10.0.0.2:5000", CALLED, CALLER]);
        let uu = spoilt.iter().position(|byte| *byte == 0x7e).unwrap();
        // The length of the protocol's identifier, in front of all else.
        spoilt[uu + 6] = 0x7f;
        session.says_bytes(Client, &spoilt);
        assert_eq!(session.events(HelperEvent::Malformed), 1);
        session.says_bytes(Client, SETUP.with(["10.0.0.2:5000", CALLED, CALLER]));
        assert_eq!(session.expected().len(), usize::from(preset == Preset::Linux));
    }
}
