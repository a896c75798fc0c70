//! Registrations: who registers takes calls from his gatekeeper, for as long as both say.

use super::*;
use sluice_conntrack::helpers::HelperEvent;

const GATEKEEPER: &str = "198.51.100.2:1719";
const ENDPOINT: &str = "10.0.0.2:2719";
const OUTSIDE_ENDPOINT: &str = "203.0.113.77:2719";

fn pair() -> Pair {
    Pair::at(ENDPOINT, GATEKEEPER)
}

fn to_public() -> Pair {
    Pair::at(GATEKEEPER, OUTSIDE_ENDPOINT)
}

fn masquerading(preset: Preset) -> Middlebox {
    routing(preset, outwards(pool(PUBLIC)))
}

impl Middlebox {
    /// Carries a message; gives what it becomes.
    #[track_caller]
    fn tells(&mut self, from: PortId, pair: Pair, message: &[u8]) -> Vec<u8> {
        let mut frames = [(from, pair.datagram(message).frame())];
        let verdict = self.burst(&mut frames)[0];
        assert!(matches!(verdict.action, Action::Forward(_)), "{verdict:?}");
        let [(_, frame)] = frames;
        frame[frame.len() - message.len()..].to_vec()
    }
}

/// For how many seconds calls are expected.
fn waits(it: &Middlebox) -> Vec<u32> {
    let mut waits = vec![];
    it.shard.list_expectations(0, u32::MAX, |_, snapshot| waits.push(snapshot.remaining_ms / 1000));
    waits
}

#[test]
fn h323_h6_who_registers_is_called_by_the_gatekeeper_alone() {
    for preset in PRESETS {
        let mut it = wire(preset);
        it.tells(INSIDE, pair(), &REGISTRATION_REQUEST.with(["10.0.0.2:1720", ENDPOINT]));
        assert_eq!((all(&it), waits(&it)), (vec!["198.51.100.2 > 10.0.0.2 1720".to_owned()], vec![300]));
        let call = |from: &str| Pair::at(from, "10.0.0.2:1720").tcp("S", 1, 0);
        assert_eq!(it.outside(&call("198.51.100.9:6000")).state, Some(State::New), "a stranger");
        for port in [6000, 6001] {
            let called = it.outside(&call(&format!("198.51.100.2:{port}")));
            assert_eq!(called.state, Some(State::Related), "as often as it likes");
        }
        it.check();
    }
}

#[test]
fn h323_h6_a_registration_lives_as_long_as_is_said() {
    for preset in PRESETS {
        let mut it = wire(preset);
        it.tells(INSIDE, pair(), &REGISTRATION_REQUEST_60.with(["10.0.0.2:1720", ENDPOINT]));
        assert_eq!(waits(&it), [60]);
        it.tells(OUTSIDE, pair().inverse(), &REGISTRATION_CONFIRM_90.with([CALLED]));
        assert_eq!(waits(&it), [90]);
        it.pass(secs(89));
        assert_eq!(it.entry().remaining_s, 1, "and so does its connection");
        it.tells(INSIDE, pair(), &REGISTRATION_REQUEST.with(["10.0.0.2:1720", ENDPOINT]));
        it.tells(OUTSIDE, pair().inverse(), &REGISTRATION_CONFIRM.with([CALLED]));
        assert_eq!(waits(&it), [300], "which is meant where nothing is said");
        it.pass(secs(301));
        assert!(all(&it).is_empty());
        it.check();
    }
}

#[test]
fn h323_a_registration_ends_when_it_is_refused_or_given_up() {
    for preset in PRESETS {
        for (from, last) in [
            (INSIDE, UNREGISTRATION_REQUEST.with(["10.0.0.2:1720"])),
            (OUTSIDE, UNREGISTRATION_REQUEST.with(["10.0.0.2:1720"])),
            (OUTSIDE, REGISTRATION_REJECT.with([])),
            (OUTSIDE, UNREGISTRATION_CONFIRM.with([])),
        ] {
            let mut it = wire(preset);
            it.tells(INSIDE, pair(), &REGISTRATION_REQUEST.with(["10.0.0.2:1720", ENDPOINT]));
            it.tells(from, if from == INSIDE { pair() } else { pair().inverse() }, &last);
            assert!(all(&it).is_empty());
        }
    }
}

#[test]
fn h323_a_masqueraded_endpoint_registers_its_address_outside() {
    for preset in PRESETS {
        let mut it = masquerading(preset);
        let said = it.tells(INSIDE, pair(), &GATEKEEPER_REQUEST.with([ENDPOINT]));
        assert_eq!(said, GATEKEEPER_REQUEST.with([OUTSIDE_ENDPOINT]));
        it.tells(OUTSIDE, to_public(), &GATEKEEPER_CONFIRM.with([GATEKEEPER]));
        assert!(all(&it).is_empty(), "it answers from where it was asked");
        let said = it.tells(INSIDE, pair(), &REGISTRATION_REQUEST.with(["10.0.0.2:1720", ENDPOINT]));
        assert_eq!(said, REGISTRATION_REQUEST.with(["203.0.113.77:1720", OUTSIDE_ENDPOINT]));
        let call = Pair::at("198.51.100.2:6000", "203.0.113.77:1720");
        let (verdict, to) = it.reaches(OUTSIDE, &call.tcp("S", 1, 0));
        assert_eq!((state(verdict), &*to), (State::Related, "10.0.0.2:1720"));
        // Another endpoint behind that address is called at another port.
        let other = Pair::at("10.0.0.3:2720", GATEKEEPER);
        let said = it.tells(INSIDE, other, &REGISTRATION_REQUEST.with(["10.0.0.3:1720", "10.0.0.3:2720"]));
        let at = said.windows(4).position(|bytes| bytes == [203, 0, 113, 77]).unwrap();
        let port = u16::from_be_bytes([said[at + 4], said[at + 5]]);
        assert_ne!(port, 1720);
        let call = Pair::at("198.51.100.2:6001", &format!("{PUBLIC}:{port}"));
        let (verdict, to) = it.reaches(OUTSIDE, &call.tcp("S", 1, 0));
        assert_eq!((state(verdict), &*to), (State::Related, "10.0.0.3:1720"));
        it.check();
    }
}

#[test]
fn h323_a_call_to_a_registered_endpoint_is_read() {
    for preset in PRESETS {
        let mut it = masquerading(preset);
        it.tells(INSIDE, pair(), &REGISTRATION_REQUEST.with(["10.0.0.2:1720", ENDPOINT]));
        let caller = Pair::at("198.51.100.2:6000", "203.0.113.77:1720");
        let called = Pair::at("10.0.0.2:1720", "198.51.100.2:6000");
        let mut call = Session::open_from_outside(it, caller, called, [1000, 5000]);
        let said = call.says_bytes(Server, CONNECT.with(["10.0.0.2:7000"]));
        assert_eq!(said.bytes(), CONNECT.with(["203.0.113.77:7000"]));
        let channel = Pair::at("198.51.100.2:6001", "203.0.113.77:7000");
        let (verdict, to) = call.it.reaches(OUTSIDE, &channel.tcp("S", 1, 0));
        assert_eq!((state(verdict), &*to), (State::Related, "10.0.0.2:7000"));
    }
}

#[test]
fn h323_the_gatekeeper_tells_where_calls_go() {
    for preset in PRESETS {
        for message in [
            ADMISSION_CONFIRM.with(["198.51.100.2:1721"]),
            LOCATION_CONFIRM.with(["198.51.100.2:1721", GATEKEEPER]),
        ] {
            let mut it = wire(preset);
            let asked = ADMISSION_REQUEST.with([CALLED, "10.0.0.2:1720"]);
            assert_eq!(it.tells(INSIDE, pair(), &asked), asked);
            it.tells(OUTSIDE, pair().inverse(), &message);
            assert_eq!(all(&it), ["10.0.0.2 > 198.51.100.2 1721"]);
            // A call there is read.
            let pair = Pair::at(CALLER, "198.51.100.2:1721");
            let mut call = Session::open(it, pair, pair.inverse(), [1000, 5000]);
            call.says_bytes(Client, SETUP.with(["10.0.0.2:5000", "198.51.100.2:1721", CALLER]));
            assert!(call.expected().contains(&"198.51.100.2 > 10.0.0.2 5000".to_owned()));
        }
    }
}

#[test]
fn h323_the_addresses_of_a_masqueraded_endpoint_are_translated_in_all_messages() {
    for preset in PRESETS {
        let mut it = masquerading(preset);
        it.tells(INSIDE, pair(), &REGISTRATION_REQUEST.with(["10.0.0.2:1720", ENDPOINT]));
        let outside = "203.0.113.77:1720";
        for (said, heard) in [
            (ADMISSION_REQUEST.with([CALLED, "10.0.0.2:1720"]), ADMISSION_REQUEST.with([CALLED, outside])),
            (LOCATION_REQUEST.with([ENDPOINT]), LOCATION_REQUEST.with([OUTSIDE_ENDPOINT])),
            (
                INFO_RESPONSE.with([ENDPOINT, "10.0.0.2:1720"]),
                INFO_RESPONSE.with([OUTSIDE_ENDPOINT, outside]),
            ),
            (UNREGISTRATION_REQUEST.with(["10.0.0.2:1720"]), UNREGISTRATION_REQUEST.with([outside])),
        ] {
            assert_eq!(it.tells(INSIDE, pair(), &said), heard);
        }
        // A call that is answered: the gatekeeper says the endpoint's address back.
        it.tells(INSIDE, pair(), &REGISTRATION_REQUEST.with(["10.0.0.2:1720", ENDPOINT]));
        let said = it.tells(OUTSIDE, to_public(), &ADMISSION_CONFIRM.with([outside]));
        assert_eq!(said, ADMISSION_CONFIRM.with(["10.0.0.2:1720"]));
    }
}

#[test]
fn h323_g6_h5_third_parties_are_expected_only_where_the_helper_is_loose() {
    for preset in PRESETS {
        for is_loose in [false, true] {
            let mut it = wire(preset);
            it.change(|configuration| {
                let loose = h323().map(|assignment| Assignment { loose: is_loose, ..assignment });
                configuration.helpers = Helpers::new(loose.into());
            });
            it.tells(INSIDE, pair(), &ADMISSION_REQUEST.with([CALLED, "10.0.0.2:1720"]));
            it.tells(OUTSIDE, pair().inverse(), &ADMISSION_CONFIRM.with(["198.51.100.9:1721"]));
            let expected = if is_loose { vec!["10.0.0.2 > 198.51.100.9 1721".to_owned()] } else { vec![] };
            assert_eq!(all(&it), expected);
            assert_eq!(it.shard.counters().helper_event(HelperEvent::ForeignAddress), u64::from(!is_loose));
        }
    }
}

#[test]
fn h323_ipv6_endpoints_register() {
    for preset in PRESETS {
        let mut it = wire(preset);
        let pair = Pair::at("[fd00::2]:2719", "[2001:db8:9::2]:1719");
        it.tells(INSIDE, pair, &REGISTRATION_REQUEST_V6.with(["[fd00::2]:1720", "[fd00::2]:2719"]));
        assert_eq!(all(&it), ["2001:db8:9::2 > fd00::2 1720"]);
    }
}

#[test]
fn h323_ras_a_published_gatekeeper_has_its_address_outside() {
    for preset in PRESETS {
        let mut it = routing(preset, inwards("203.0.113.10", "10.0.0.5"));
        let asked = Pair::at("198.51.100.9:2719", "203.0.113.10:1719");
        let answered = Pair::at("10.0.0.5:1719", "198.51.100.9:2719");
        it.tells(OUTSIDE, asked, &GATEKEEPER_REQUEST.with(["198.51.100.9:2719"]));
        let said = it.tells(INSIDE, answered, &GATEKEEPER_CONFIRM.with(["10.0.0.5:1719"]));
        assert_eq!(said, GATEKEEPER_CONFIRM.with(["203.0.113.10:1719"]));
        let said = it.tells(INSIDE, answered, &GATEKEEPER_CONFIRM.with(["10.0.0.5:1721"]));
        assert_eq!(said, GATEKEEPER_CONFIRM.with(["203.0.113.10:1721"]));
        let again = Pair::at("198.51.100.9:2719", "203.0.113.10:1721");
        let (verdict, to) =
            it.reaches(OUTSIDE, &again.datagram(&GATEKEEPER_REQUEST.with(["198.51.100.9:2719"])));
        assert_eq!((state(verdict), &*to), (State::Related, "10.0.0.5:1721"));
        let said = it.tells(INSIDE, answered, &ADMISSION_CONFIRM.with(["10.0.0.5:1720"]));
        assert_eq!(said, ADMISSION_CONFIRM.with(["203.0.113.10:1720"]));
    }
}

#[test]
fn h323_g4_a_datagram_that_is_no_ras_turns_the_helper_off() {
    let mut it = wire(Preset::Classic);
    it.tells(INSIDE, pair(), &[0x7c; 20]);
    it.tells(INSIDE, pair(), &REGISTRATION_REQUEST.with(["10.0.0.2:1720", ENDPOINT]));
    assert!(all(&it).is_empty());
    assert_eq!(it.shard.counters().helper_event(HelperEvent::Malformed), 1);
}
