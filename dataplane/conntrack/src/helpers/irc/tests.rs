//! What of IRC offers a connection, line by line, and segment by segment in Linux.

use super::*;
use crate::helpers::found::Match;

fn line(text: &str, direction: Direction, is_first: bool) -> Found {
    let line = Line { bytes: text.as_bytes(), direction, is_first, is_resumed: false };
    inspect(&line, &mut HelperMemory::default())
}

fn client(text: &str) -> Found {
    line(text, Direction::Original, false)
}

/// Address, port and text of an offer; the text is found in the line again.
fn says(found: Found, text: &str) -> Option<(String, u16, &str)> {
    match found {
        Found::Announced(Announced { address, port, range, .. }) => {
            Some((address.unwrap().to_string(), port, &text[range]))
        }
        _ => None,
    }
}

/// Bytes from 1 on in a string stand for themselves, `^A` for CTCP's.
fn ctcp(text: &str) -> String {
    text.replace("^A", "\x01")
}

const MALFORMED: Found = Found::Off(HelperEvent::Malformed);
const OTHER: Found = Found::Off(HelperEvent::OtherProtocol);

#[test]
fn offers_are_read_in_all_their_clothes() {
    for (text, address, port, range) in [
        ("PRIVMSG bob :^ADCC SEND file 167772162 5001 1234^A\r\n", "10.0.0.2", 5001, "167772162 5001"),
        ("privmsg bob :^ADCC CHAT chat 167772162 5001^A\r\n", "10.0.0.2", 5001, "167772162 5001"),
        ("PRIVMSG a,b  :^ADCC MOVE f 0 65535^A\n", "0.0.0.0", 65_535, "0 65535"),
        ("PRIVMSG bob :^ADCC TSEND f  4294967295  1024 9\r\n", "255.255.255.255", 1024, "4294967295  1024"),
        ("PRIVMSG bob :^ADCC SCHAT chat fd00::2 5001^A\r\n", "fd00::2", 5001, "fd00::2 5001"),
        ("PRIVMSG bob :^ADCC SEND f 10.0.0.2 5001 9^A\r\n", "10.0.0.2", 5001, "10.0.0.2 5001"),
        (
            "PRIVMSG bob :^ADCC SEND \"my file 1 2\" 167772162 5001 9^A\r\n",
            "10.0.0.2",
            5001,
            "167772162 5001",
        ),
        ("@a=b;c PRIVMSG bob :^ADCC SEND f 167772162 5001^A\r\n", "10.0.0.2", 5001, "167772162 5001"),
        ("PRIVMSG bob :^ADCC SEND f 167772162 5001 9 token^A\r\n", "10.0.0.2", 5001, "167772162 5001"),
    ] {
        let text = ctcp(text);
        assert_eq!(says(client(&text), &text), Some((address.to_owned(), port, range)), "{text:?}");
        assert_eq!(line(&text, Direction::Reply, false), Found::Nothing);
        assert_eq!(line(&text, Direction::Original, true), OTHER, "nobody begins with it");
    }
}

#[test]
fn what_is_no_offer_is_nothing() {
    for text in [
        "PRIVMSG bob :hello ^ADCC SEND f 167772162 5001^A\r\n",
        "PRIVMSG bob :\"^ADCC SEND f 167772162 5001^A\r\n",
        "PRIVMSG bob ^ADCC SEND f 167772162 5001^A\r\n",
        "PRIVMSG bob :^A DCC SEND f 167772162 5001^A\r\n",
        "PRIVMSG bob :^Adcc SEND f 167772162 5001^A\r\n",
        "PRIVMSG bob :^ADCC send f 167772162 5001^A\r\n",
        "PRIVMSG bob :^ADCC SENDS f 167772162 5001^A\r\n",
        "PRIVMSG bob :^ADCC RESUME f 5001 9^A\r\n",
        "PRIVMSG bob :^ADCC ACCEPT f 5001 9^A\r\n",
        "PRIVMSG bob :^ADCC^A\r\n",
        "PRIVMSG\r\n",
        "NOTICE bob :^ADCC SEND f 167772162 5001^A\r\n",
        "TOPIC #x :^ADCC SEND f 167772162 5001^A\r\n",
        ":joe PRIVMSG bob :^ADCC SEND f 167772162 5001^A\r\n",
        // Reverse DCC: the other end is to offer a port.
        "PRIVMSG bob :^ADCC SEND f 167772162 0 1234 7^A\r\n",
        "PRIVMSG bob :^ADCC SEND f 199 0 1234 7^A\r\n",
        "\r\n",
    ] {
        assert_eq!(client(&ctcp(text)), Found::Nothing, "{text:?}");
    }
}

#[test]
fn what_begins_like_an_offer_and_is_none_is_malformed() {
    let long = format!("PRIVMSG bob :^ADCC SEND {} 167772162 5001^A\r\n", "f".repeat(480));
    let cut = "PRIVMSG bob :^ADCC SEND f 167772162 5001^A";
    for text in [
        "PRIVMSG bob :^ADCC SEND\r\n",
        "PRIVMSG bob :^ADCC SEND f^A\r\n",
        "PRIVMSG bob :^ADCC SEND f 167772162^A\r\n",
        "PRIVMSG bob :^ADCC SEND f 167772162 ^A\r\n",
        "PRIVMSG bob :^ADCC SEND f 167772162 x^A\r\n",
        "PRIVMSG bob :^ADCC SEND f 167772162 +5001^A\r\n",
        "PRIVMSG bob :^ADCC SEND f 167772162 70000^A\r\n",
        "PRIVMSG bob :^ADCC SEND f 4294967296 5001^A\r\n",
        "PRIVMSG bob :^ADCC SEND f -167772162 5001^A\r\n",
        "PRIVMSG bob :^ADCC SEND f 10.0.0 5001^A\r\n",
        "PRIVMSG bob :^ADCC SEND my file 167772162 5001^A\r\n",
        "PRIVMSG bob :^ADCC SEND \"my file 167772162 5001^A\r\n",
        "PRIVMSG bob :^ADCC SEND f 167772162\t5001^A\r\n",
        &long,
        cut,
    ] {
        assert_eq!(client(&ctcp(text)), MALFORMED, "{text:?}");
    }
}

#[test]
fn the_first_words_tell_irc_from_what_it_is_not() {
    for text in ["CAP LS 302\r\n", "nick joe\n", "PASS x\r\n", "@label=1 USER joe 0 * :joe\r\n"] {
        assert_eq!(line(text, Direction::Original, true), Found::Nothing, "{text}");
    }
    for text in
        ["POST / HTTP/1.1\r\n", "GET / HTTP/1.0\r\n", "\r\n", "@x\r\n", "\x16\x03\x01\n", "JOIN #x\r\n"]
    {
        assert_eq!(line(text, Direction::Original, true), OTHER, "{text}");
    }
    for text in [":srv NOTICE * :hi\r\n", "NOTICE AUTH :x\r\n", "PING :1\r\n", ":srv 001 joe :hi\r\n", "\r\n"]
    {
        assert_eq!(line(text, Direction::Reply, false), Found::Nothing, "{text}");
    }
    for text in ["Host: x\r\n", "{}\r\n", ":srv\r\n", "\x16\x03\x01\n"] {
        for direction in [Direction::Original, Direction::Reply] {
            assert_eq!(line(text, direction, false), OTHER, "{text}");
        }
    }
    assert_eq!(line(":srv 670 joe :go on\r\n", Direction::Reply, false), Found::Off(HelperEvent::Encrypted));
    let tags = format!("@{}", "x".repeat(LINE_BYTES - 1));
    assert_eq!(client(&tags), Found::Nothing, "tags that are longer than is kept");
}

#[test]
fn what_may_come_to_offer_is_known_from_its_first_byte_on() {
    let text = ctcp("@a=b PRIVMSG bob :^ADCC SEND f 167772162");
    for start in [0, 5] {
        for end in start + 1..text.len() {
            let piece = &text.as_bytes()[start..end];
            assert!(may_announce(piece, Direction::Original), "{piece:?}");
            assert!(!may_announce(piece, Direction::Reply));
        }
    }
    for text in ["PING", "PRIVMSG bob :h", "PRIVMSG bob :^Ax", "NOTICE", "@a=b J"] {
        assert!(!may_announce(ctcp(text).as_bytes(), Direction::Original), "{text}");
    }
}

#[test]
fn an_address_is_written_in_the_form_it_had() {
    let v6 = 0x2001_0db8_0002_0000_0000_0000_0000_0001;
    for (form, family, address, expected) in [
        (Form::Decimal, Family::V4, 0xcb00_7101, "3405803777 5001"),
        (Form::Plain, Family::V4, 0xcb00_7101, "203.0.113.1 5001"),
        (Form::Plain, Family::V6, v6, "2001:db8:2::1 5001"),
        (Form::Plain, Family::V6, u128::MAX, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 5001"),
    ] {
        assert_eq!(rewrite(form, family, address, 5001).as_bytes(), expected.as_bytes());
    }
}

/// The port of 10.0.0.2 that Linux expects somebody at.
fn own_port(direction: Direction, family: Family, text: &str) -> Option<u16> {
    match linux::inspect(ctcp(text).as_bytes(), direction, family) {
        Match::Full(Announced { address, port, .. }) => {
            (address == Some([10, 0, 0, 2].into())).then_some(port)
        }
        Match::None => None,
        Match::Partial => panic!("nothing is dropped: {text:?}"),
    }
}

/// What the kernel makes of each text.
#[test]
fn linux_reads_what_begins_a_segment() {
    for (text, expected) in [
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162 5001 1234^A\r\n", Some(5001)),
        ("privmsg bob :^ADCC SEND file.txt 167772162 5002 1234^A\r\n", Some(5002)),
        ("  \r\n PRIVMSG bob :^ADCC SEND file.txt 167772162 5003 1234^A\r\n", Some(5003)),
        ("PRIVMSG bob :hello :^ADCC SEND file.txt 167772162 5004 1234^A\r\n", None),
        ("NOTICE bob :^ADCC SEND file.txt 167772162 5005 1234^A\r\n", None),
        ("@tag PRIVMSG bob :^ADCC SEND file.txt 167772162 5006 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC send file.txt 167772162 5007 1234^A\r\n", None),
        ("PRIVMSG bob :^Adcc SEND file.txt 167772162 5008 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162 70000 1234^A\r\n", Some(4464)),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162 0 1234 7^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162 22 1234^A\r\n", Some(22)),
        ("PRIVMSG bob :^ADCC SEND file.txt 4462739458 5010 1234^A\r\n", Some(5010)),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162 5013 1234^A", None),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162 5015x1234^A\r\n", Some(5015)),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162^A\r\n", None),
        ("PRIVMSG b :^ADCC CHAT c 167772162 5^A\r\n", Some(5)),
        ("NICK x\r\nPRIVMSG bob :^ADCC SEND file.txt 167772162 5018 1234^A\r\n", None),
        ("PRIVMSG bob :hi\r\nPRIVMSG bob :^ADCC SEND file.txt 167772162 5019 1234^A\r\n", None),
        ("PRIVMSG  bob :^ADCC SEND file.txt 167772162 5020 1234^A\r\n", Some(5020)),
        ("PRIVMSG bob ^ADCC SEND file.txt 167772162 5021 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC RESUME file.txt 167772162 5023 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt 0167772162 05024 1234^A\r\n", Some(5024)),
        ("PRIVMSG bob :^ADCC SEND  167772162 5027 1234^A\r\n", Some(5027)),
        ("PRIVMSG bob :^ADCC SEND a\nb 167772162 5029 1234^A\r\n", Some(5029)),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162\t5030 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SENDfile.txt 167772162 5031 1234^A\r\n", None),
        ("PRIVMSG bob :x^ADCC SEND file.txt 167772162 5032 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162 \n5033 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt\n167772162 5034 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162 5036", None),
        // The numbers that these come to are those of another address.
        ("PRIVMSG bob :^ADCC SEND \"a b\" 167772162 5011 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND ab  167772162   5012 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162x 5014 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt 10.0.0.2 5022 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt -167772162 5028 1234^A\r\n", None),
        ("PRIVMSG bob :^ADCC SEND file.txt 167772162 5037\n", Some(5037)),
        ("PRIVMSG bob :^ADCC SEND x 167772162 5^A\n", Some(5)),
    ] {
        assert_eq!(own_port(Direction::Original, Family::V4, text), expected, "{text:?}");
        for (direction, family) in [(Direction::Reply, Family::V4), (Direction::Original, Family::V6)] {
            assert_eq!(own_port(direction, family, text), None);
        }
    }
}
