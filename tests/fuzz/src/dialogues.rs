//! Datagrams that announce connections, through a box with helpers: either end says what its protocol has, well or badly, or any
//! bytes. Each byte says what happens next, and the bytes behind it say how.

use crate::control::{Choice, choose};
use crate::frame::Pair;
use crate::h323::RAS;
use crate::orders::Orders;
use sluice_conntrack::settings::Preset;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Instant, PortId, Shard, State, Verdict, wire};
use std::time::Duration;

/// The bit of the first byte that says that it goes by this file, and the first of three that say what is spoken.
pub(crate) const CHOICE: u8 = 16;
const PROTOCOL: u8 = 5;
const PROTOCOLS: [&Protocol; 5] = [&AMANDA, &SIP, &TALK, &NTALK, &RAS];

/// Orders: below, an end sends one of its texts.
const EDIT: u8 = 0x40;
const RAW: u8 = 0x80;
const WAIT: u8 = 0xf0;

/// Bytes of a text that was edited, at most.
const MAX_BYTES: usize = 1400;

/// What is spoken.
pub(crate) struct Protocol {
    pub(crate) port: u16,
    /// What each end says.
    pub(crate) texts: [&'static [&'static [u8]]; 2],
    /// Connections that one may expect, at most.
    pub(crate) max_expectations: usize,
}

const AMANDA: Protocol = Protocol {
    port: 10_080,
    texts: [
        &[
            b"Amanda 2.4 REQ HANDLE 000-1 SEQ 1\nSERVICE sendbackup\n",
            b"Amanda 2.4 REQ HANDLE 000-1 SEQ 1\nCONNECT DATA 50001\n",
            b"Amanda 2.4 ACK HANDLE 000-1 SEQ 1\n",
            b"GET / HTTP/1.1\r\n\r\n",
        ],
        &[
            b"Amanda 2.4 REP HANDLE 000-1 SEQ 1\nCONNECT DATA 50001 MESG 50002 INDEX 50003\nOPTIONS ;\n",
            b"Amanda 2.4 REP HANDLE 000-1 SEQ 1\nCONNECT DATA 9999 MESG 9998 INDEX 1024 STATE 65535\n",
            b"Amanda 2.4 REP HANDLE 000-1 SEQ 1\nCONNECT DATA 0 MESG 50012 INDEX 70000\n",
            b"Amanda 2.4 REP HANDLE 000-1 SEQ 1\nCONNECT INDEX 22 MESG 50002\n",
            b"Amanda 2.4 ACK\n",
            b"CONNECT DATA 50021 MESG\n",
        ],
    ],
    max_expectations: 4,
};

const SIP: Protocol = Protocol {
    port: 5060,
    texts: [
        &[
            INVITE,
            b"INVITE sip:bob@198.51.100.2 SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.2;rport\r\nf: <sip:a@10.0.0.2>\r\nCSeq: 2 INVITE\r\n\
             m: \"A, B\" <sip:a@10.0.0.2>,\r\n <sip:b@10.0.0.2:5070>\r\nc: application/sdp\r\nl: 96\r\n\r\n\
             v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 0 RTP/AVP 0\r\nm=video 20000 RTP/AVP 0\r\nc=IN IP4 10.0.0.2\r\na=rtcp:9000\r\n",
            b"ACK sip:b@h SIP/2.0\r\nCSeq: 1 ACK\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n--x\r\n\
             Content-Type: application/sdp\r\n\r\nc=IN IP4 10.0.0.2\r\nm=image 18000 udptl t38\r\na=rtcp-mux\r\n--x--\r\n",
            b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@10.0.0.2>\r\n\
             Expires: 3600\r\nContent-Length: 0\r\n\r\n",
            b"REGISTER sip:h SIP/2.0\r\nCSeq: 2 REGISTER\r\nContact: *\r\nExpires: 0\r\n\r\n",
            b"BYE sip:b@h SIP/2.0\r\nCSeq: 3 BYE\r\nRoute: <sip:10.0.0.2;lr>\r\n\r\n",
            b"\r\n\r\n",
            b"CANCEL sip:b@h SIP/2.0\r\nVia: SIP / 2.0 / UDP 10.0.0.2:5070\r\nCSeq: 1 CANCEL\r\n\r\n",
            b"hello",
        ],
        &[
            b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 203.0.113.1:5060;received=203.0.113.1;rport=5060\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:bob@198.51.100.2:5060>\r\nContent-Type: application/sdp\r\n\r\n\
             v=0\r\no=- 1 1 IN IP4 198.51.100.2\r\nc=IN IP4 198.51.100.2\r\nm=audio 26384 RTP/AVP 0\r\n",
            b"SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@203.0.113.1:5060>;expires=60\r\n\r\n",
            b"SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@10.0.0.2>;expires=60\r\n\r\n",
            b"SIP/2.0 487 Terminated\r\nCSeq: 1 INVITE\r\n\r\n",
            b"SIP/2.0 401 No\r\nCSeq: 1 REGISTER\r\n\r\n",
            b"INVITE sip:a@203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.2\r\nCSeq: 1 INVITE\r\n\r\n",
        ],
    ],
    max_expectations: 11,
};

const INVITE: &[u8] = b"INVITE sip:bob@198.51.100.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=1\r\n\
     From: <sip:alice@10.0.0.2>;tag=1\r\nTo: <sip:bob@198.51.100.2>\r\nCSeq: 1 INVITE\r\n\
     Contact: <sip:alice@10.0.0.2:5060>\r\nContent-Type: application/sdp\r\nContent-Length: 108\r\n\r\n\
     v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 16384 RTP/AVP 0\r\n\
     a=rtpmap:0 PCMU/8000\r\n";

/// Of a `sockaddr_in`, what follows its family: 10.0.0.2 at port 5001, the client at the port that it asks from, and the server.
const TALK: Protocol = Protocol {
    port: 517,
    texts: [
        &[
            b"\x03alice\0\0\0\0bob\0\0\0\0\0\0\0\0\0\0\x07\0\0\0\0tty1\0\0\0\0\0\0\0\0\0\0\0\0\
              \0\x02\x13\x89\x0a\0\0\x02\0\0\0\0\0\0\0\0\0\x02\x02\x05\x0a\0\0\x02\0\0\0\0\0\0\0\0",
            b"\x01bob\0\0\0\0\0\0alice\0\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
              \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\x02\x05\x0a\0\0\x03\0\0\0\0\0\0\0\0",
            b"\x01\0\0\0\0\0\0\x07\0\x02\x13\x89\x0a\0\0\x02\0\0\0\0\0\0\0\0",
            b"\0\x01\0\x38\x21\x12\xa4\x42",
        ],
        &[
            b"\x03\0\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\x01\0\0\0\0\0\0\x07\0\x02\x13\x89\xc6\x33\x64\x02\0\0\0\0\0\0\0\0",
            b"\x01\0\0\0\0\0\0\x07\x02\0\0\x16\xc6\x33\x64\x02\0\0\0\0\0\0\0\0",
            b"\x01\x01\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ],
    ],
    max_expectations: 2,
};

const NTALK: Protocol = Protocol {
    port: 518,
    texts: [
        &[
            b"\x01\x03\0\0\0\0\0\x07\0\x02\x13\x89\x0a\0\0\x02\0\0\0\0\0\0\0\0\
              \0\x02\x02\x06\x0a\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\
              alice\0\0\0\0\0\0\0bob\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\x02\x01\0\x04\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
              \0\x02\x02\x06\x0a\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\0\
              bob\0\0\0\0\0\0\0\0\0alice\0\0\0\0\0\0\0tty1\0\0\0\0\0\0\0\0\0\0\0\0more",
            b"\x01\x01\0\0\0\0\0\x07\0\x02\x13\x89\x0a\0\0\x02\0\0\0\0\0\0\0\0",
            b"GET / HTTP/1.1\r\n\r\n",
        ],
        &[
            b"\x01\x03\0\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            b"\x01\x01\0\0\0\0\0\x07\0\x02\x13\x89\xc6\x33\x64\x02\0\0\0\0\0\0\0\0",
            b"\x02\x01\0\x01\0\0\0\x07\0\x02\xff\xff\xc6\x33\x64\x02\0\0\0\0\0\0\0\0bob\0\0\0\0\0\0\0\0\0",
            b"\x01\x01\0\0\0\0\0\x07\0\x0a\x13\x89\xc6\x33\x64\x02\0\0\0\0\0\0\0\0",
            b"\x01\x01\x01\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ],
    ],
    max_expectations: 2,
};

/// The box, and who talks through it.
struct Dialogue {
    shard: Shard,
    now: Instant,
    preset: Preset,
    protocol: &'static Protocol,
    /// What each end sends from and to.
    pairs: [Pair; 2],
}

/// Carries out all orders, and looks at what is expected after each.
pub(crate) fn play(bytes: &[u8]) {
    let mut orders = Orders(bytes);
    let choice = orders.byte();
    let mut dialogue = Dialogue::new(choice, PROTOCOLS[usize::from(choice >> PROTOCOL) % PROTOCOLS.len()]);
    while let Some(order) = orders.next() {
        let end = usize::from(order & 1);
        let texts = dialogue.protocol.texts[end];
        let text = texts[usize::from(order >> 1 & 0x1f) % texts.len()];
        match order {
            0..EDIT => dialogue.says(end, text),
            EDIT..RAW => {
                let (at, removed, inserted) = (orders.byte(), orders.byte(), orders.frame());
                let at = usize::from(at) * 4 % (text.len() + 1);
                let end_at = (at + usize::from(removed)).min(text.len());
                let mut edited = [&text[..at], &inserted, &text[end_at..]].concat();
                edited.truncate(MAX_BYTES);
                dialogue.says(end, &edited);
            }
            RAW..WAIT => dialogue.says(end, &orders.frame()),
            WAIT.. => dialogue.waits(Duration::from_secs(u64::from(order & 0x0f) * 30)),
        }
        dialogue.check();
    }
}

impl Dialogue {
    fn new(choice: u8, protocol: &'static Protocol) -> Self {
        let now = Instant::from_ns(0);
        let port = protocol.port;
        let Choice { shard, preset, server, client } = choose(choice, 256, now);
        let asks = Pair::at(&format!("10.0.0.2:{port}"), &format!("{server}:{port}"));
        let answers = Pair::at(&format!("198.51.100.2:{port}"), &format!("{client}:{port}"));
        Self { shard, now, preset, protocol, pairs: [asks, answers] }
    }

    fn says(&mut self, end: usize, payload: &[u8]) {
        let port = PortId(end as u8);
        let mut frames = [(port, self.pairs[end].datagram(payload).frame())];
        let mut verdicts = [Verdict::dropped(DropReason::Truncated)];
        self.shard.process(self.now, &mut frames, &mut verdicts);
        let headers = wire::parse(&frames[0]).expect("a sound header stays one");
        assert!(wire::verify_checksum(&frames[0], &headers), "checksums stay right");
        let passes = matches!(verdicts[0].action, Action::Forward(_));
        // What a translated server sends unasked is for the box itself.
        let is_unasked = end == 1 && verdicts[0].state == Some(State::New);
        let may_not = self.preset == Preset::Linux || is_unasked || is_refused(&verdicts[0]);
        assert!(passes || may_not, "{:?}", verdicts[0]);
    }

    fn waits(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.shard.expire(self.now, u32::MAX);
    }

    /// What must hold between two orders.
    fn check(&self) {
        self.shard.check_invariants().expect("the shard is sound");
        let mut expected = 0;
        self.shard.list_expectations(0, u32::MAX, |_, _| expected += 1);
        // Both ends may have opened a connection of their own.
        assert!(expected <= 2 * self.protocol.max_expectations, "{expected}");
    }
}

/// Whether that is about a datagram which announces what cannot be expected.
fn is_refused(verdict: &Verdict) -> bool {
    matches!(verdict.drop_reason(), Some(DropReason::ExpectationClash | DropReason::ExpectationFull))
}
