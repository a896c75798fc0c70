//! Registrations: who registers is called, for as long as the registrar grants.

use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::{DropReason, State};

fn register(number: u32, contact: &str, more: &[&str]) -> String {
    let cseq = format!("CSeq: {number} REGISTER");
    let contact = format!("Contact: {contact}");
    let first =
        ["Via: SIP/2.0/UDP 10.0.0.2:5060;branch=1", "From: <sip:a@ex.org>;tag=1", "To: <sip:a@ex.org>"];
    message("REGISTER sip:198.51.100.2 SIP/2.0", &[&first[..], &[&cseq, &contact], more].concat(), "")
}

fn granted(code: u32, number: u32, contact: &str, more: &[&str]) -> String {
    register(number, contact, more)
        .replace("REGISTER sip:198.51.100.2 SIP/2.0", &format!("SIP/2.0 {code} Whatever"))
}

const CONTACT: &str = "<sip:a@10.0.0.2:5060>";

/// For how many seconds calls are expected, and whether they may come.
fn waits(it: &Middlebox) -> Vec<(u32, bool)> {
    let mut waits = vec![];
    it.shard.list_expectations(0, u32::MAX, |_, snapshot| {
        let mut line = String::new();
        snapshot.write(sluice_conntrack::listing::Layout::NfConntrack, &mut line).unwrap();
        assert!(line.contains("sip/signalling"), "{line}");
        waits.push((snapshot.remaining_ms / 1000, !line.contains("INACTIVE")));
    });
    waits
}

/// A call from another port of the proxy.
fn call() -> Pair {
    Pair::at("198.51.100.2:6000", "10.0.0.2:5060")
}

#[test]
fn sip_p8_calls_come_once_the_registrar_grants_it_as_often_as_they_like() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &register(1, CONTACT, &["Expires: 3600"]));
        assert_eq!((all(&it), waits(&it)), (vec![to_phone(5060)], vec![(180, false)]));
        assert_eq!(it.carries(OUTSIDE, call(), b"OPTIONS"), (Some(State::New), None), "not yet");
        it.says(OUTSIDE, phone().inverse(), &granted(200, 1, CONTACT, &["Expires: 3600"]));
        assert_eq!((all(&it), waits(&it)), (vec![to_phone(5060)], vec![(3600, true)]));
        for port in [6000, 6001] {
            let mut call = call();
            call.source.set_port(port);
            let text = request("INVITE", "198.51.100.2:6000", 1, &sdp("198.51.100.2", 26_384));
            let passed = it.passes(OUTSIDE, &call.datagram(text.as_bytes()));
            assert_eq!(passed.state, Some(State::Related));
            assert!(all(&it).contains(&to_proxy(26_384)), "and SIP is read there");
        }
        it.check();
    }
}

#[test]
fn sip_p8_the_pinhole_lives_as_long_as_granted() {
    for preset in PRESETS {
        for (contact, header, granted_s) in [
            ("<sip:a@10.0.0.2:5060>;expires=60", "Expires: 3600", 60),
            ("<sip:a@10.0.0.2:5060;expires=70>", "Expires: 3600", 70),
            ("<sip:x@192.0.2.1>;expires=9, <sip:a@10.0.0.2>;expires=90", "X: y", 90),
        ] {
            let mut it = wire_with_helper(preset);
            it.says(INSIDE, phone(), &register(1, CONTACT, &["Expires: 3600"]));
            it.says(OUTSIDE, phone().inverse(), &granted(200, 1, contact, &[header]));
            assert_eq!(waits(&it), [(granted_s, true)], "{contact}");
            it.pass(secs(u64::from(granted_s) + 1));
            assert!(all(&it).is_empty());
        }
    }
}

#[test]
fn sip_p8_only_a_final_response_to_the_last_request_counts() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &register(1, CONTACT, &["Expires: 3600"]));
        it.says(INSIDE, phone(), &register(2, CONTACT, &["Expires: 3600"]));
        it.says(OUTSIDE, phone().inverse(), &granted(200, 1, CONTACT, &["Expires: 3600"]));
        it.says(OUTSIDE, phone().inverse(), &granted(100, 2, CONTACT, &["Expires: 3600"]));
        assert_eq!(waits(&it), [(180, false)]);
        it.says(OUTSIDE, phone().inverse(), &granted(401, 2, CONTACT, &[]));
        assert!(all(&it).is_empty(), "an error ends it");
        it.says(INSIDE, phone(), &register(3, CONTACT, &["Expires: 3600"]));
        it.says(OUTSIDE, phone().inverse(), &granted(200, 3, CONTACT, &["Expires: 3600"]));
        assert_eq!(waits(&it), [(3600, true)]);
        it.check();
    }
}

#[test]
fn sip_p8_a_registration_that_is_given_up_ends_with_the_answer() {
    for preset in PRESETS {
        let mut it = wire_with_helper(preset);
        it.says(INSIDE, phone(), &register(1, CONTACT, &["Expires: 3600"]));
        it.says(OUTSIDE, phone().inverse(), &granted(200, 1, CONTACT, &["Expires: 3600"]));
        it.says(INSIDE, phone(), &register(2, CONTACT, &["Expires: 0"]));
        assert_eq!(waits(&it), [(3600, true)]);
        it.says(OUTSIDE, phone().inverse(), &granted(200, 2, "*", &["Expires: 0"]));
        assert!(all(&it).is_empty());
    }
}

#[test]
fn sip_p8_nobody_registers_somebody_else() {
    for preset in PRESETS {
        for contact in
            ["<sip:a@10.0.0.3:5060>", "<sip:a@example.org>", "*", "<sip:a@10.0.0.2;transport=tls>", "<tel:1>"]
        {
            let mut it = wire_with_helper(preset);
            it.says(INSIDE, phone(), &register(1, contact, &["Expires: 3600"]));
            assert!(all(&it).is_empty(), "{contact}");
        }
        let mut it = wire_with_helper(preset);
        let bad = register(1, "<sip:a@10.0.0.2>;expires=soon", &[]);
        let passed = it.passes(INSIDE, &phone().datagram(bad.as_bytes()));
        let dropped = (preset == Preset::Linux).then_some(DropReason::HelperMalformed);
        assert_eq!(passed.drop, dropped);
    }
}

#[test]
fn sip_p9_the_port_is_that_of_the_connection_unless_the_helper_is_loose() {
    let text = register(1, "<sip:a@10.0.0.2:3389>", &["Expires: 3600"]);
    let mut it = wire_with_helper(Preset::Classic);
    it.says(INSIDE, phone(), &text);
    assert!(all(&it).is_empty());
    assert_eq!(it.helper_events(HelperEvent::ForeignPort), 1);
    let loose = Assignment { loose: true, ..sip_on(&[5060]) };
    for mut it in [with_helpers(wire_with_helper(Preset::Classic), [loose]), wire_with_helper(Preset::Linux)]
    {
        it.says(INSIDE, phone(), &text);
        assert_eq!(all(&it), [to_phone(3389)]);
    }
}

#[test]
fn sip_g20_a_masqueraded_phone_is_called_at_the_address_outside() {
    for preset in PRESETS {
        let mut it = masquerading(preset);
        let said = it.says(INSIDE, phone(), &register(1, CONTACT, &["Expires: 3600"]));
        assert!(said.contains("Via: SIP/2.0/UDP 203.0.113.1:5060;branch=1\r\n"), "{said}");
        assert!(said.contains("Contact: <sip:a@203.0.113.1:5060>\r\n"), "{said}");
        assert_eq!(all(&it), ["198.51.100.2 > 203.0.113.1 5060"]);
        let public = "<sip:a@203.0.113.1:5060>;expires=600";
        let heard = it.says(OUTSIDE, to_public(), &granted(200, 1, public, &[]));
        assert!(heard.contains("Contact: <sip:a@10.0.0.2:5060>;expires=600\r\n"), "{heard}");
        assert_eq!(waits(&it), [(600, true)]);
        let call = Pair::at("198.51.100.2:6000", "203.0.113.1:5060");
        let text =
            request("INVITE", "198.51.100.2:6000", 1, "").replace("bob@198.51.100.2 ", "a@203.0.113.1 ");
        let passed = it.passes(OUTSIDE, &call.datagram(text.as_bytes()));
        assert_eq!(passed.state, Some(State::Related));
        assert_eq!(passed.pair, Some(Pair::at("198.51.100.2:6000", "10.0.0.2:5060")));
        assert!(passed.text.starts_with("INVITE sip:a@10.0.0.2:5060 SIP/2.0\r\n"), "{}", passed.text);
        it.check();
    }
}

#[test]
fn sip_g20_another_port_of_a_masqueraded_phone_gets_one_outside() {
    for preset in PRESETS {
        let loose = Assignment { loose: true, ..sip_on(&[5060]) };
        let mut it = with_helpers(masquerading(preset), [loose]);
        let said = it.says(INSIDE, phone(), &register(1, "<sip:a@10.0.0.2:5070>", &["Expires: 3600"]));
        assert!(said.contains("Contact: <sip:a@203.0.113.1:5070>\r\n"), "{said}");
        it.says(OUTSIDE, to_public(), &granted(200, 1, "<sip:a@203.0.113.1:5070>", &["Expires: 60"]));
        let call = Pair::at("198.51.100.2:6000", "203.0.113.1:5070");
        let reached = it.carries(OUTSIDE, call, b"\r\n\r\n");
        assert_eq!(reached, (Some(State::Related), Some(Pair::at("198.51.100.2:6000", "10.0.0.2:5070"))));
    }
}
