//! IRC: what DCC requests have expected.

mod translated;

use super::session::*;
use super::translated::{inwards, outwards, pool, router};
use super::*;
use sluice_conntrack::helpers::HelperEvent;
use sluice_conntrack::nat::Nat;
use sluice_conntrack::settings::Preset;
use sluice_conntrack::{DropReason, State};

const SERVER: &str = "198.51.100.2:6667";
const REGISTER: &str = "NICK joe\r\nUSER joe 0 * :Joe\r\n";

fn irc() -> Assignment {
    let on = Match { destination_ports: vec![6667..=6667], ..Match::default() };
    Assignment { helper: HelperId::Irc, on, loose: false }
}

/// An offer of a file at this address and port.
fn send(address: &str, port: u16) -> String {
    let address = match address.parse() {
        Ok(std::net::IpAddr::V4(address)) => u32::from(address).to_string(),
        _ => address.to_owned(),
    };
    format!("PRIVMSG bob :\x01DCC SEND file.txt {address} {port} 1234\x01\r\n")
}

/// A session of a client that is registered.
fn registered(mut session: Session) -> Session {
    session.says(Client, REGISTER);
    session.says(Server, ":srv 001 joe :Welcome\r\n");
    session
}

fn open(it: Middlebox, client: &str, server: &str, seen: &str, first: [u32; 2]) -> Session {
    let it = with_helpers(it, [irc()]);
    registered(Session::open(it, Pair::at(client, server), Pair::at(server, seen), first))
}

/// One that is not translated.
fn plain(preset: Preset) -> Session {
    open(Middlebox::of(preset), "10.0.0.2:40000", SERVER, "10.0.0.2:40000", [1000, 5000])
}

/// One of a client whose source becomes this address.
fn masqueraded(preset: Preset, public: &str, first: [u32; 2]) -> Session {
    let it = router(preset, outwards(pool(public)), 1500);
    open(it, "10.0.0.2:40000", SERVER, &format!("{public}:40000"), first)
}

/// One of a client outside with a server inside, which it knows by another address.
fn published(preset: Preset) -> Session {
    let nat =
        Nat { destination: inwards("203.0.113.10", "10.0.0.5").destination, ..outwards(pool("203.0.113.1")) };
    let session = Session::open_from_outside(
        with_helpers(router(preset, nat, 1500), [irc()]),
        Pair::at("198.51.100.9:40000", "203.0.113.10:6667"),
        Pair::at("10.0.0.5:6667", "198.51.100.9:40000"),
        [1000, 5000],
    );
    registered(session)
}

#[test]
fn irc_i1_each_verb_of_an_offer_is_known() {
    for preset in PRESETS {
        for verb in ["SEND", "CHAT", "MOVE", "TSEND", "SCHAT"] {
            let mut session = plain(preset);
            assert_eq!(session.says(Client, &send("10.0.0.2", 5001).replace("SEND", verb)).drop(), None);
            assert_eq!(session.expected(), ["0.0.0.0 > 10.0.0.2 5001"], "{preset:?} {verb}");
        }
        for verb in ["RESUME", "ACCEPT", "send", "REJECT"] {
            let mut session = plain(preset);
            session.says(Client, &send("10.0.0.2", 5001).replace("SEND", verb));
            assert!(session.expected().is_empty(), "{preset:?} {verb}");
        }
    }
}

/// CVE-2022-2663: a server had a client repeat text of its choice in the midst of a message, at the start of a segment even.
#[test]
fn irc_i2_cve_2022_2663_a_request_within_other_text_is_nothing() {
    let offer = send("10.0.0.2", 5001);
    for preset in PRESETS {
        let mut session = plain(preset);
        for text in [
            offer.replace(":\x01", ":look: \x01"),
            offer.replace("PRIVMSG", "NOTICE"),
            offer.replace("PRIVMSG bob", "TOPIC #x"),
            format!("PRIVMSG #x :he said {offer}"),
            format!("PING :{offer}"),
        ] {
            assert_eq!(session.says(Client, &text).drop(), None);
        }
        for text in [format!(":bob!b@host {offer}"), offer.clone(), send("198.51.100.2", 5001)] {
            session.says(Server, &text);
        }
        assert!(session.expected().is_empty(), "{preset:?}");
        assert_eq!(session.events(HelperEvent::Expected), 0);
    }
    let mut session = plain(Preset::Classic);
    session.says(Client, "PONG :");
    session.says(Client, &offer);
    assert!(session.expected().is_empty(), "a segment that begins so is no line");
    session.says(Client, &offer);
    assert_eq!(session.expected().len(), 1);
}

#[test]
fn irc_i3_a_foreign_address_expects_nothing() {
    for preset in PRESETS {
        let mut session = plain(preset);
        for address in ["10.0.0.3", "198.51.100.2", "192.0.2.1", "0.0.0.0"] {
            assert_eq!(session.says(Client, &send(address, 5001)).drop(), None);
        }
        assert!(session.expected().is_empty());
        assert_eq!(session.events(HelperEvent::ForeignAddress), 4);
        session.says(Client, &send("10.0.0.2", 5001));
        assert_eq!(session.expected().len(), 1, "it goes on reading");
        // What it is called outside is its own, too, and stays.
        let mut session = masqueraded(preset, "203.0.113.1", [1000, 5000]);
        let offer = send("203.0.113.1", 5001);
        assert_eq!(session.says(Client, &offer).text, offer);
        assert_eq!(session.expected(), ["0.0.0.0 > 203.0.113.1 5001"]);
    }
}

/// CVE-2026-53268: behind an offer that could not be read the next one was looked for from where that had ended.
#[test]
fn irc_i4_cve_2026_53268_an_offer_without_its_numbers_ends_the_reading() {
    let offer = send("10.0.0.2", 5001);
    let numbers = offer.find("167772162").unwrap();
    for text in [
        format!("{}\x01\r\n", &offer[..numbers]),
        format!("{}SEND SEND SEND SEND SEND\x01\r\n", &offer[..numbers]),
        offer.replace(" 5001 1234", ""),
        offer.replace("5001", "70000000000"),
        offer.replace("file.txt", &"f".repeat(500)),
    ] {
        let mut session = plain(Preset::Classic);
        session.says(Client, &text);
        session.says(Client, &offer);
        assert!(session.expected().is_empty(), "{text:?}");
        assert_eq!(session.events(HelperEvent::Malformed), 1);
    }
    let mut session = plain(Preset::Linux);
    session.says(Client, offer.trim_end());
    assert!(session.expected().is_empty(), "Linux wants the newline");
}

#[test]
fn irc_i5_no_port_but_a_clients_is_opened() {
    for (port, is_read) in [("70000", false), ("65536", false), ("22", true), ("1023", true)] {
        let mut session = plain(Preset::Classic);
        session.says(Client, &send("10.0.0.2", 5001).replace("5001", port));
        assert!(session.expected().is_empty(), "{port}");
        let event = if is_read { HelperEvent::PrivilegedPort } else { HelperEvent::Malformed };
        assert_eq!(session.events(event), 1, "{port}");
        session.says(Client, &send("10.0.0.2", 5001));
        assert_eq!(session.expected().len(), usize::from(is_read), "{port}");
    }
    for (port, expected) in [("70000", 4464), ("22", 22)] {
        let mut session = plain(Preset::Linux);
        session.says(Client, &send("10.0.0.2", 5001).replace("5001", port));
        assert_eq!(session.expected(), [format!("0.0.0.0 > 10.0.0.2 {expected}")]);
    }
}

#[test]
fn irc_i6_file_names_may_have_spaces_and_quotes() {
    let mut session = masqueraded(Preset::Classic, "203.0.113.77", [1000, 5000]);
    let quoted = |address| send(address, 5001).replace("file.txt", "\"my 1 2 file\"");
    assert_eq!(session.says(Client, &quoted("10.0.0.2")).text, quoted("203.0.113.77"));
    assert_eq!(session.expected(), ["0.0.0.0 > 203.0.113.77 5001"]);
}

#[test]
fn irc_i6_reverse_dcc_expects_nothing_until_the_other_end_offers() {
    for preset in PRESETS {
        let mut session = masqueraded(preset, "203.0.113.1", [1000, 5000]);
        let asks = send("10.0.0.2", 0).replace("1234", "1234 7");
        assert_eq!(session.says(Client, &asks).text, asks);
        assert!(session.expected().is_empty());
        session.says(Server, ":bob!b@host PRIVMSG joe :\x01DCC SEND file.txt 3232235777 5005 1234 7\x01\r\n");
        assert!(session.expected().is_empty(), "the client itself connects");
        // And so the other way round: asked for a port, it offers one.
        session.says(Server, ":bob!b@host PRIVMSG joe :\x01DCC SEND file.txt 199 0 1234 7\x01\r\n");
        let offers = |address| send(address, 5001).replace("1234", "1234 7");
        assert_eq!(session.says(Client, &offers("10.0.0.2")).text, offers("203.0.113.1"));
        assert_eq!(session.expected(), ["0.0.0.0 > 203.0.113.1 5001"]);
    }
}

#[test]
fn irc_i6_addresses_of_ipv6_are_written_out() {
    let (client, server) = ("[fd00::2]:40000", "[2001:db8:9::2]:6667");
    let it = router(Preset::Classic, outwards(pool("2001:db8:2::7")), 1500);
    let mut session = open(it, client, server, "[2001:db8:2::7]:40000", [1000, 5000]);
    assert_eq!(session.says(Client, &send("fd00::2", 5001)).text, send("2001:db8:2::7", 5001));
    assert_eq!(session.expected(), [":: > 2001:db8:2::7 5001"]);
    assert_eq!(session.says(Client, &send("10.0.0.2", 5001)).drop(), None);
    assert_eq!(session.events(HelperEvent::ForeignAddress), 1, "the number is an address of IPv4");
    session.says(Client, "QUIT\r\n");
    let mut session = open(Middlebox::of(Preset::Linux), client, server, client, [1000, 5000]);
    session.says(Client, &send("fd00::2", 5001));
    assert!(session.expected().is_empty(), "Linux knows IPv4 alone");
}

#[test]
fn irc_i7_of_nine_offers_the_oldest_gives_way() {
    for preset in PRESETS {
        let mut session = plain(preset);
        for port in 6001..6010 {
            session.says(Client, &send("10.0.0.2", port));
        }
        let mut expected = session.expected();
        expected.sort();
        let eight: Vec<String> = (6002..6010).map(|port| format!("0.0.0.0 > 10.0.0.2 {port}")).collect();
        assert_eq!(expected, eight);
    }
}

#[test]
fn irc_i8_g10_anybody_may_come_once_and_for_five_minutes() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says(Client, &send("10.0.0.2", 5001));
        session.says(Client, &send("10.0.0.2", 5002));
        session.it.reload(firewall());
        let mut connects =
            |from: &str, to: &str| session.it.outside(&Pair::at(from, to).tcp("S", 1, 0)).state;
        assert_eq!(connects("192.0.2.77:30000", "10.0.0.2:5003"), Some(State::New));
        assert_eq!(connects("192.0.2.77:30000", "10.0.0.2:5001"), Some(State::Related));
        assert_eq!(connects("192.0.2.78:30000", "10.0.0.2:5001"), Some(State::New), "it is used up");
        session.it.pass(secs(299));
        assert_eq!(session.expected(), ["0.0.0.0 > 10.0.0.2 5002"]);
        session.it.pass(secs(2));
        assert!(session.expected().is_empty());
    }
}

#[test]
fn irc_i9_tags_in_front_of_a_message_are_passed_over() {
    let tags = "@+draft/reply=123;label=a\\:b ";
    for (preset, is_read) in [(Preset::Classic, true), (Preset::Linux, false)] {
        let mut session = masqueraded(preset, "203.0.113.1", [1000, 5000]);
        let tagged = |address| format!("{tags}{}", send(address, 5001));
        let said = session.says(Client, &tagged("10.0.0.2")).text;
        assert_eq!(said, tagged(if is_read { "203.0.113.1" } else { "10.0.0.2" }));
        assert_eq!(session.expected().len(), usize::from(is_read));
        session.says(Client, "QUIT\r\n");
    }
}

#[test]
fn irc_i9_capabilities_come_first_and_what_is_encrypted_is_left_alone() {
    let fresh = || {
        let it = with_helpers(Middlebox::of(Preset::Classic), [irc()]);
        let pair = Pair::at("10.0.0.2:40000", SERVER);
        Session::open(it, pair, pair.inverse(), [1000, 5000])
    };
    let mut session = fresh();
    session.says(Client, "CAP LS 302\r\n");
    session.says(Server, ":srv CAP * LS :sasl message-tags\r\n");
    session.says(Client, "CAP END\r\nNICK joe\r\n");
    session.says(Client, &send("10.0.0.2", 5001));
    assert_eq!(session.expected().len(), 1);
    let mut session = fresh();
    session.says(Client, "STARTTLS\r\n");
    session.says(Server, ":srv 670 * :STARTTLS successful\r\n");
    session.says(Client, &send("10.0.0.2", 5001));
    assert_eq!((session.expected().len(), session.events(HelperEvent::Encrypted)), (0, 1));
    let mut session = fresh();
    session.says(Client, "\x16\x03\x01\x02\n");
    session.says(Client, &send("10.0.0.2", 5001));
    assert_eq!((session.expected().len(), session.events(HelperEvent::OtherProtocol)), (0, 1));
}

/// NAT slipstreaming: a web page has the browser post a form to port 6667 whose body is padded so that a segment of it begins
/// with an offer.
#[test]
fn irc_g4_slipstream_v1_expects_nothing() {
    let it = with_helpers(Middlebox::of(Preset::Classic), [irc()]);
    let pair = Pair::at("10.0.0.2:40000", SERVER);
    let mut session = Session::open(it, pair, pair.inverse(), [1000, 5000]);
    session.says(Client, "POST / HTTP/1.1\r\nHost: 198.51.100.2:6667\r\nContent-Length: 100000\r\n\r\n");
    for padding in ["a".repeat(1400), REGISTER.to_owned()] {
        session.says(Client, &padding);
        session.says(Client, &send("10.0.0.2", 5001));
        session.says(Client, &format!("\r\n{}", send("10.0.0.2", 5001)));
    }
    assert_eq!((session.expected().len(), session.events(HelperEvent::OtherProtocol)), (0, 1));
}

#[test]
fn irc_g6_only_the_clients_own_address_unless_loose() {
    for preset in PRESETS {
        let it = with_helpers(Middlebox::of(preset), [Assignment { loose: true, ..irc() }]);
        let pair = Pair::at("10.0.0.2:40000", SERVER);
        let mut session = registered(Session::open(it, pair, pair.inverse(), [1000, 5000]));
        session.says(Client, &send("10.0.0.3", 5001));
        assert_eq!(session.expected(), ["0.0.0.0 > 10.0.0.3 5001"]);
    }
}

#[test]
fn irc_g12_g22_linux_drops_no_text() {
    for text in ["PRIVMSG bob :\x01DCC SEND\r\n", "PRIVMSG bob :\x01DCC SEND f", "P", "\x01DCC "] {
        assert_eq!(plain(Preset::Linux).says(Client, text).drop(), None);
    }
}

#[test]
fn irc_g16_g17_what_is_offered_twice_is_waited_for_anew_and_by_one_alone() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says(Client, &send("10.0.0.2", 5001));
        session.it.pass(secs(200));
        session.says(Client, &send("10.0.0.2", 5001));
        session.it.pass(secs(200));
        assert_eq!(session.expected(), ["0.0.0.0 > 10.0.0.2 5001"]);
        let mut other = open(session.it, "10.0.0.2:40001", SERVER, "10.0.0.2:40001", [100, 200]);
        let dropped = other.says(Client, &send("10.0.0.2", 5001));
        assert_eq!(dropped.drop(), Some(DropReason::ExpectationClash));
    }
}

#[test]
fn irc_g11_offers_end_with_their_session() {
    for preset in PRESETS {
        let mut session = plain(preset);
        session.says(Client, &send("10.0.0.2", 5001));
        let [client, _] = session.pairs;
        session.pass(Client, client.tcp("R", session.next[0], 0));
        session.it.pass(secs(11));
        assert!(session.expected().is_empty());
        session.it.check();
    }
}
