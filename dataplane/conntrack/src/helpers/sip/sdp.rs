//! Session descriptions (SDP, RFC 8866), as far as they say where media is to come: the addresses of `o=` and `c=`, the ports of
//! `m=`, and RTCP's of `a=rtcp` (RFC 3605).

use super::text::{self, number};
use std::net::IpAddr;
use std::ops::Range;

/// Media of one description that are expected, at most, as in Linux.
pub(super) const MAX_MEDIA: usize = 3;

/// Lines that are read, at most. One with more is taken for malformed.
const MAX_LINES: usize = 512;

/// The kinds of media and their expectations' classes.
const KINDS: [(&[u8], u8); 3] = [(b"audio ", 1), (b"video ", 2), (b"image ", 3)];

/// An address, and where it stands.
pub(super) type Placed<T> = (T, Range<usize>);

/// What `a=rtcp` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rtcp {
    pub(super) port: Placed<u32>,
    /// Where it has one of its own.
    pub(super) address: Option<Placed<Option<IpAddr>>>,
}

/// A medium.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Media {
    /// The class of its expectations.
    pub(super) class: u8,
    /// 0 is on hold.
    pub(super) port: Placed<u32>,
    /// What its own `c=` says.
    connection: Option<Placed<Option<IpAddr>>>,
    /// RTCP's port, and its address where it has one of its own.
    pub(super) rtcp: Option<Rtcp>,
    /// Whether RTCP comes to the port of RTP (RFC 5761).
    pub(super) is_rtcp_mux: bool,
    /// Whether nothing is sent (`a=inactive`).
    pub(super) is_inactive: bool,
}

/// A description.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sdp {
    origin: Option<Placed<Option<IpAddr>>>,
    connection: Option<Placed<Option<IpAddr>>>,
    media: [Option<Media>; MAX_MEDIA],
    is_inactive: bool,
    /// Whether it has candidates of ICE (RFC 8839): the ends find out themselves where media goes.
    pub(super) has_ice: bool,
}

impl Sdp {
    /// Reads that which lies in this range. `None` where it is malformed.
    pub(super) fn parse(bytes: &[u8], range: Range<usize>) -> Option<Self> {
        let mut sdp = Self::default();
        let mut media = 0_usize;
        // A medium whose kind nothing is expected of has lines of its own, which concern nobody.
        let mut is_unknown = false;
        let mut at = range.start;
        let lines = bytes.get(range)?.split_inclusive(|byte| *byte == b'\n');
        for (count, line) in lines.enumerate() {
            let start = at + 2;
            at += line.len();
            let line = line.trim_ascii_end();
            let Some((kind, value)) = line.split_at_checked(2).filter(|_| count < MAX_LINES) else {
                if line.is_empty() {
                    continue;
                }
                return None;
            };
            let current = media.checked_sub(1).and_then(|last| sdp.media[last].as_mut());
            match (kind, current) {
                (b"m=", _) => {
                    is_unknown = true;
                    if let Some((kind, class)) = KINDS.iter().find(|(kind, _)| value.starts_with(kind))
                        && media < MAX_MEDIA
                    {
                        let (port, digits) = number(&value[kind.len()..])?;
                        let port = (port, start + kind.len()..start + kind.len() + digits);
                        sdp.media[media] = Some(Media::new(*class, port, sdp.is_inactive));
                        (is_unknown, media) = (false, media + 1);
                    }
                }
                _ if is_unknown => {}
                (b"o=", None) => sdp.origin = address_behind(value, start, 5),
                (b"c=", None) => sdp.connection = address_behind(value, start, 2),
                (b"c=", Some(media)) => media.connection = address_behind(value, start, 2),
                (b"a=", current) => attribute(&mut sdp.has_ice, &mut sdp.is_inactive, current, value, start)?,
                _ => {}
            }
        }
        Some(sdp)
    }

    /// The media, in order.
    pub(super) fn media(&self) -> impl Iterator<Item = &Media> {
        self.media.iter().flatten()
    }

    /// Where a medium is to come: `None` where nothing says that, and `Some(None)` where a name does.
    pub(super) fn address_of(&self, media: &Media) -> Option<Option<IpAddr>> {
        media.connection.as_ref().or(self.connection.as_ref()).map(|(address, _)| *address)
    }

    /// All addresses that it says, and where they stand.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Placed<Option<IpAddr>>> {
        let of_media = self.media().flat_map(|media| {
            let rtcp = media.rtcp.as_ref().and_then(|rtcp| rtcp.address.as_ref());
            media.connection.iter().chain(rtcp)
        });
        self.origin.iter().chain(self.connection.iter()).chain(of_media)
    }
}

impl Media {
    const fn new(class: u8, port: Placed<u32>, is_inactive: bool) -> Self {
        Self { class, port, connection: None, rtcp: None, is_rtcp_mux: false, is_inactive }
    }
}

/// Takes in an attribute of the session or of a medium; `None` where it is malformed.
fn attribute(
    has_ice: &mut bool,
    session_is_inactive: &mut bool,
    media: Option<&mut Media>,
    value: &[u8],
    start: usize,
) -> Option<()> {
    let (name, rest) = match value.iter().position(|byte| *byte == b':') {
        Some(colon) => (&value[..colon], &value[colon + 1..]),
        None => (value, &[][..]),
    };
    match (name, media) {
        (b"candidate", _) => *has_ice = true,
        (b"inactive", None) => *session_is_inactive = true,
        (b"inactive", Some(media)) => media.is_inactive = true,
        (b"sendrecv" | b"sendonly" | b"recvonly", Some(media)) => media.is_inactive = false,
        (b"rtcp-mux", Some(media)) => media.is_rtcp_mux = true,
        (b"rtcp", Some(media)) => {
            let (port, digits) = number(rest)?;
            let start = start + name.len() + 1;
            let address = address_behind(&rest[digits..], start + digits, 3);
            media.rtcp = Some(Rtcp { port: (port, start..start + digits), address });
        }
        _ => {}
    }
    Some(())
}

/// The address behind so many words, of which the last two are `IN` and the kind of address; a multicast address may have a TTL
/// behind it. `None` where there is none.
fn address_behind(value: &[u8], start: usize, words: usize) -> Option<Placed<Option<IpAddr>>> {
    let mut at = 0;
    for _ in 0..words {
        at += value.get(at..)?.iter().position(|byte| *byte == b' ')? + 1;
    }
    let len = value[at..].iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
    let text = &value[at..at + len];
    (len > 0).then(|| (text::address(text), start + at..start + at + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 16384 RTP/AVP 0\r\n\
        a=rtpmap:0 PCMU/8000\r\n";

    fn parse(text: &str) -> Option<Sdp> {
        Sdp::parse(text.as_bytes(), 0..text.len())
    }

    fn texts<'a>(sdp: &Sdp, text: &'a str) -> Vec<&'a str> {
        sdp.addresses().map(|(_, range)| &text[range.clone()]).collect()
    }

    #[test]
    fn addresses_and_ports_are_found_in_their_places() {
        let sdp = parse(CALL).unwrap();
        assert_eq!(texts(&sdp, CALL), ["10.0.0.2"; 2]);
        let [media] = &sdp.media().collect::<Vec<_>>()[..] else { panic!("one medium") };
        assert_eq!((media.class, media.port.0, &CALL[media.port.1.clone()]), (1, 16_384, "16384"));
        assert_eq!(sdp.address_of(media), Some(Some([10, 0, 0, 2].into())));
        assert_eq!(parse(&CALL.replace("\r\n", "\n")).map(|sdp| sdp.media().count()), Some(1));
    }

    #[test]
    fn p10_each_medium_may_have_an_address_of_its_own_and_three_count() {
        let text = format!(
            "{CALL}m=application 9 x y\r\nc=IN IP4 9.9.9.9\r\nm=video 20000/2 RTP/AVP 1\r\nc=IN IP6 2001:db8::1\r\n\
             m=image 20002 udptl t38\r\nm=audio 20004 RTP/AVP 0\r\nc=IN IP4 8.8.8.8\r\n"
        );
        let sdp = parse(&text).unwrap();
        let media: Vec<_> =
            sdp.media().map(|one| (one.class, one.port.0, sdp.address_of(one).unwrap())).collect();
        let own = Some([10, 0, 0, 2].into());
        assert_eq!(
            media,
            [(1, 16_384, own), (2, 20_000, Some("2001:db8::1".parse().unwrap())), (3, 20_002, own)]
        );
        assert_eq!(texts(&sdp, &text), ["10.0.0.2", "10.0.0.2", "2001:db8::1"]);
    }

    #[test]
    fn p13_rtcp_says_its_port_and_may_say_its_address() {
        let text = format!("{CALL}a=rtcp:53020 IN IP4 10.0.0.2\r\na=rtcp-mux\r\n");
        let sdp = parse(&text).unwrap();
        let media = sdp.media().next().unwrap();
        let Rtcp { port: (port, range), address } = media.rtcp.clone().unwrap();
        assert_eq!((port, &text[range], &text[address.unwrap().1]), (53_020, "53020", "10.0.0.2"));
        assert!(media.is_rtcp_mux);
        let text = format!("{CALL}a=rtcp:53020\r\n");
        assert_eq!(parse(&text).unwrap().media().next().unwrap().rtcp.clone().unwrap().address, None);
        assert!(parse(&format!("{CALL}a=rtcp:x\r\n")).is_none());
    }

    #[test]
    fn p11_hold_is_said_of_the_session_or_of_a_medium() {
        let is_inactive = |text: &str| parse(text).unwrap().media().next().unwrap().is_inactive;
        assert!(!is_inactive(CALL));
        assert!(is_inactive(&format!("{CALL}a=inactive\r\n")));
        let of_session = CALL.replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n");
        assert!(is_inactive(&of_session) && !is_inactive(&format!("{of_session}a=sendrecv\r\n")));
    }

    #[test]
    fn names_and_what_is_cut_off_are_no_addresses() {
        let sdp = parse("v=0\nc=IN IP4 host.example.org\nm=audio 5000 RTP/AVP 0\n").unwrap();
        assert_eq!(sdp.address_of(sdp.media().next().unwrap()), Some(None));
        for text in ["v=0\nc=IN IP4\nm=audio 1 x\n", "v=0\nc=\nm=audio 1 x\n", "v=0\nm=audio 1 x\n"] {
            let sdp = parse(text).unwrap();
            assert_eq!(sdp.address_of(sdp.media().next().unwrap()), None, "{text}");
        }
        for text in ["v=0\nm=audio x\n", "v=0\nm=audio 99999999999 x\n", "v=0\nx\n", &"a=x\n".repeat(600)] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
