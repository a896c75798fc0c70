//! What of FTP announces a connection, line by line.

use super::*;

fn line(bytes: &[u8], direction: Direction, is_first: bool) -> Line<'_> {
    Line { bytes, direction, is_first, is_resumed: false }
}

fn client(text: &str) -> Found {
    inspect(&line(text.as_bytes(), Direction::Original, false), &mut HelperMemory::default())
}

fn server(text: &str) -> Found {
    inspect(&line(text.as_bytes(), Direction::Reply, false), &mut HelperMemory::default())
}

/// Address, port and text of an announcement; the text is found in the line again.
fn says(found: Found, text: &str) -> Option<(String, u16, &str)> {
    match found {
        Found::Announced(Announced { address, port, range, .. }) => {
            let address = address.map_or_else(String::new, |address| address.to_string());
            Some((address, port, &text[range]))
        }
        _ => None,
    }
}

const MALFORMED: Found = Found::Off(HelperEvent::Malformed);
const OTHER: Found = Found::Off(HelperEvent::OtherProtocol);

#[test]
fn commands_announce_in_any_case() {
    for (text, address, port, range) in [
        ("PORT 10,0,0,2,19,137\r\n", "10.0.0.2", 5001, "10,0,0,2,19,137"),
        ("pOrT 0,0,0,0,0,0\r\n", "0.0.0.0", 0, "0,0,0,0,0,0"),
        ("EPRT |1|10.0.0.2|5001|\r\n", "10.0.0.2", 5001, "|1|10.0.0.2|5001|"),
        ("eprt !2!fd00::2!65535!\r\n", "fd00::2", 65_535, "!2!fd00::2!65535!"),
        ("EPRT |2|::ffff:10.0.0.2|1024|\r\n", "::ffff:10.0.0.2", 1024, "|2|::ffff:10.0.0.2|1024|"),
        ("\u{ff}PORT 10,0,0,2,19,137\r\n", "", 0, ""),
    ] {
        let expected = (!address.is_empty()).then(|| (address.to_owned(), port, range));
        assert_eq!(says(client(text), text), expected, "{text}");
    }
    let telnet = b"\xff\xf4\xff\xf2PORT 10,0,0,2,19,137\r\n";
    let Found::Announced(Announced { range, .. }) =
        inspect(&line(telnet, Direction::Original, false), &mut HelperMemory::default())
    else {
        panic!("Telnet commands in front are passed over")
    };
    assert_eq!(&telnet[range], b"10,0,0,2,19,137");
}

#[test]
fn replies_announce_in_many_clothes() {
    for (text, address, port, range) in [
        (
            "227 Entering Passive Mode (198,51,100,2,200,10).\r\n",
            "198.51.100.2",
            51_210,
            "198,51,100,2,200,10",
        ),
        ("227 Passive =198,51,100,2,200,1\r\n", "198.51.100.2", 51_201, "198,51,100,2,200,1"),
        ("227 On 2 links: 198,51,100,2,200,1\r\n", "198.51.100.2", 51_201, "198,51,100,2,200,1"),
        ("229 Entering Extended Passive Mode (|||51210|)\r\n", "", 51_210, "|||51210|"),
        ("229 Entering (!!!51210!) now\r\n", "", 51_210, "!!!51210!"),
        ("229 Entering (|1|198.51.100.2|51210|)\r\n", "198.51.100.2", 51_210, "|1|198.51.100.2|51210|"),
    ] {
        assert_eq!(says(server(text), text), Some((address.to_owned(), port, range)), "{text}");
    }
}

#[test]
fn what_is_malformed_announces_nothing() {
    for text in [
        "PORT 10,0,0,2,19\r\n",
        "PORT 10,0,0,2,300,1\r\n",
        "PORT 10,0,0,256,19,137\r\n",
        "PORT 10,0,0,02,19,137\r\n",
        "PORT  10,0,0,2,19,137\r\n",
        "PORT 10,0,0,2,19,137 \r\n",
        "PORT 10, 0,0,2,19,137\r\n",
        "PORT 10,0,0,2,19,137,1\r\n",
        "PORT 10,0,0,2,19,137\n",
        "PORT 10,0,0,2,19,137",
        "PORT 10,0,0,2,19,99999999999\r\n",
        "PORT\r\n",
        "PORT / HTTP/1.1\r\n",
        "EPRT |1|10.0.0.2|5003\r\n",
        "EPRT |3|10.0.0.2|5005|\r\n",
        "EPRT |1|10.0.0.2|70000|\r\n",
        "EPRT |1|10.0.0.2|05001|\r\n",
        "EPRT |1|10.0.0.256|5001|\r\n",
        "EPRT |1|fd00::2|5001|\r\n",
        "EPRT |||5001|\r\n",
        "EPRT 1110.0.0.2150011\r\n",
        "EPRT |1|10.0.0.2|5001|x\r\n",
    ] {
        assert_eq!(client(text), MALFORMED, "{text}");
    }
    for text in [
        "227 Entering Passive Mode (198,51,100,2,200).\r\n",
        "227 Entering Passive Mode (198,51,100,2,200,10,3).\r\n",
        "227 Entering Passive Mode (198,51,100,2,200,10).\n",
        "227 Entering Passive Mode (198,51,100,2,200,5",
        "227\r\n",
        "229 Entering Extended Passive Mode |||51210|\r\n",
        "229 (|||51210)\r\n",
        "229 (|||0x12|)\r\n",
        "229 (||1.2.3.4|5|)\r\n",
    ] {
        assert_eq!(server(text), MALFORMED, "{text}");
    }
}

#[test]
fn only_the_side_whose_words_they_are_announces() {
    assert_eq!(server("PORT 198,51,100,2,19,137\r\n"), OTHER);
    assert_eq!(client("227 Entering Passive Mode (10,0,0,2,200,10)\r\n"), OTHER);
    assert_eq!(client("PORTS 10,0,0,2,19,142\r\n"), Found::Nothing);
    assert_eq!(server("150 227 (198,51,100,2,200,4)\r\n"), Found::Nothing);
    assert_eq!(client("STOU\r\n"), Found::Nothing);
}

#[test]
fn only_the_last_line_of_a_reply_counts() {
    let mut memory = HelperMemory::default();
    let mut read = |text: &str| inspect(&line(text.as_bytes(), Direction::Reply, false), &mut memory);
    for text in [
        "227-Entering Passive Mode (198,51,100,2,200,1)\r\n",
        "227-Entering Passive Mode (198,51,100,2,200,2)\r\n",
        " Entering Passive Mode (198,51,100,2,200,3)\r\n",
        "229 Entering (|||51210|)\r\n",
        "no code\r\n",
    ] {
        assert_eq!(read(text), Found::Nothing, "{text}");
    }
    let last = "227 Entering Passive Mode (198,51,100,2,200,4)\r\n";
    assert_eq!(says(read(last), last).map(|(_, port, _)| port), Some(51_204));
    assert_eq!(read("no code\r\n"), OTHER, "the reply is over");
}

#[test]
fn after_epsv_all_nothing_else_announces() {
    let mut memory = HelperMemory::default();
    let mut read =
        |text: &'static str, direction| inspect(&line(text.as_bytes(), direction, false), &mut memory);
    for text in ["EPSV\r\n", "EPSV 1\r\n", "EPSV 2\r\n"] {
        assert_eq!(read(text, Direction::Original), Found::Nothing);
    }
    assert!(matches!(read("PORT 10,0,0,2,19,137\r\n", Direction::Original), Found::Announced(_)));
    read("epsv all\r\n", Direction::Original);
    for text in ["PORT 10,0,0,2,19,137\r\n", "EPRT |1|10.0.0.2|5001|\r\n", "PORT x\r\n"] {
        assert_eq!(read(text, Direction::Original), Found::Nothing, "{text}");
    }
    assert_eq!(read("227 Entering (198,51,100,2,200,1)\r\n", Direction::Reply), Found::Nothing);
    assert!(matches!(read("229 Entering (|||51210|)\r\n", Direction::Reply), Found::Announced(_)));
}

#[test]
fn the_first_words_tell_ftp_from_what_it_is_not() {
    let first = |text: &str, direction| {
        inspect(&line(text.as_bytes(), direction, true), &mut HelperMemory::default())
    };
    for text in ["USER anonymous\r\n", "auth tls\r\n", "FEAT\r\n", "QUIT\n"] {
        assert_eq!(first(text, Direction::Original), Found::Nothing, "{text}");
    }
    for text in [
        "POST / HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "EHLO me\r\n",
        "\r\n",
        "\x16\x03\x01\n",
        "LIST\r\n",
        "USERS x\r\n",
    ] {
        assert_eq!(first(text, Direction::Original), OTHER, "{text}");
    }
    for text in ["SSH-2.0-OpenSSH\r\n", "HTTP/1.1 200 OK\r\n", "\r\n", "22 x\r\n", "2200 x\r\n", "* OK\r\n"] {
        assert_eq!(first(text, Direction::Reply), OTHER, "{text}");
    }
    assert_eq!(client("Host: example.org\r\n"), OTHER, "nor does it go on like this");
    assert_eq!(client("\r\n"), Found::Nothing);
    assert_eq!(server("234 AUTH TLS OK\r\n"), Found::Off(HelperEvent::Encrypted));
}

#[test]
fn what_may_come_to_announce_is_known_from_its_first_byte_on() {
    for (text, direction) in [("PORT 1", Direction::Original), ("eprt |", Direction::Original)] {
        assert!((0..text.len()).all(|len| may_announce(&text.as_bytes()[..len], direction)));
        assert!(!may_announce(&text.as_bytes()[..1], direction.invert()));
    }
    assert!(may_announce(b"22", Direction::Reply) && may_announce(b"227 x", Direction::Reply));
    for (text, direction) in
        [("PASV", Direction::Original), ("226", Direction::Reply), ("227-", Direction::Reply)]
    {
        assert!(!may_announce(text.as_bytes(), direction));
    }
}

#[test]
fn an_address_is_written_in_the_form_it_had() {
    let v4 = u128::from(Ipv4Addr::new(203, 0, 113, 1).to_bits());
    let v6 = "2001:db8:2::1".parse::<Ipv6Addr>().unwrap().to_bits();
    for (form, family, address, expected) in [
        (Form::Numbers, Family::V4, v4, "203,0,113,1,19,137"),
        (Form::Extended, Family::V4, v4, "|1|203.0.113.1|5001|"),
        (Form::Extended, Family::V6, v6, "|2|2001:0db8:0002:0000:0000:0000:0000:0001|5001|"),
        (Form::ExtendedPort, Family::V6, v6, "|||5001|"),
    ] {
        assert_eq!(rewrite(form, family, address, 5001).as_bytes(), expected.as_bytes());
    }
}

#[test]
fn linux_drops_what_matches_partially_and_takes_what_wraps_around() {
    use crate::helpers::found::Match;
    use linux::inspect;
    let of = |text: &str, direction, family| inspect(text.as_bytes(), direction, family);
    let port = |found| match found {
        Match::Full(Announced { port, .. }) => Some(port),
        Match::None | Match::Partial => None,
    };
    for (text, expected) in [
        ("PORT 10,0,0,2,19,137\r\n", Some(5001)),
        ("PORTS 10,0,0,2,19,142\r\n", Some(5006)),
        ("PORT 10,0,0,2,0,0\r\n", Some(0)),
        ("PORT 10,0,0,2,300,1\r\n", Some(11_265)),
        ("EPRT ,1,10.0.0.2,5004,\r\n", Some(5004)),
        ("EPRT |1|10.0.0.2|70000|\r\n", Some(4464)),
    ] {
        assert_eq!(port(of(text, Direction::Original, Family::V4)), expected, "{text}");
    }
    for text in [
        "P",
        "PORT",
        "PORT 10,0,0,2,19\r\n",
        "PORT 10,0,0,2,19,137",
        "PORT  10,0,0,2,19,138\r\n",
        "PORT 10,0,0,2,19,139 \r\n",
        "PORT 10, 0,0,2,19,140\r\n",
        "PORT 10,0,0,2,19,141\n",
        "EPRT |1|10.0.0.2|0|\r\n",
        "EPRT |1|10.0.0.2|5003\r\n",
        "EPRT |3|10.0.0.2|5005|\r\n",
        "EPRT |2|fd00::2|5005|\r\n",
    ] {
        assert_eq!(of(text, Direction::Original, Family::V4), Match::Partial, "{text}");
    }
    for text in ["PASV\r\n", "USER PORT\r\n", "", "227 (1,2,3,4,5,6)\r\n"] {
        assert_eq!(of(text, Direction::Original, Family::V4), Match::None, "{text}");
    }
    let reply = |text| of(text, Direction::Reply, Family::V6);
    assert_eq!(port(reply("227 Passive =198,51,100,2,200,1\r\n")), Some(51_201));
    assert_eq!(port(reply("229 Entering (|||51210|)\r\n")), Some(51_210));
    assert_eq!((reply("227-first line\r\n"), reply("227 none\r\n")), (Match::None, Match::Partial));
    let longest = "EPRT |2|fd00::2|5001|\r\n";
    assert_eq!(port(of(longest, Direction::Original, Family::V6)), Some(5001));
}
