//! Datagrams that announce connections, through a box with helpers: either end says what its protocol has, well or badly, or any
//! bytes. Each byte says what happens next, and the bytes behind it say how.

use crate::control::{Choice, choose};
use crate::frame::Pair;
use crate::orders::Orders;
use sluice_conntrack::settings::Preset;
use sluice_conntrack::verdict::Action;
use sluice_conntrack::{DropReason, Instant, PortId, Shard, State, Verdict, wire};
use std::time::Duration;

/// The bit of the first byte that says that it goes by this file, and the one that says that SIP is spoken.
pub(crate) const CHOICE: u8 = 16;
const SPEAKS_SIP: u8 = 32;

/// Orders: below, an end sends one of its texts.
const EDIT: u8 = 0x40;
const RAW: u8 = 0x80;
const WAIT: u8 = 0xf0;

/// Bytes of a text that was edited, at most.
const MAX_BYTES: usize = 1400;

/// What is spoken.
struct Protocol {
    port: u16,
    /// What each end says.
    texts: [&'static [&'static str]; 2],
    /// Connections that one may expect, at most.
    max_expectations: usize,
}

const AMANDA: Protocol = Protocol {
    port: 10_080,
    texts: [
        &[
            "Amanda 2.4 REQ HANDLE 000-1 SEQ 1\nSERVICE sendbackup\n",
            "Amanda 2.4 REQ HANDLE 000-1 SEQ 1\nCONNECT DATA 50001\n",
            "Amanda 2.4 ACK HANDLE 000-1 SEQ 1\n",
            "GET / HTTP/1.1\r\n\r\n",
        ],
        &[
            "Amanda 2.4 REP HANDLE 000-1 SEQ 1\nCONNECT DATA 50001 MESG 50002 INDEX 50003\nOPTIONS ;\n",
            "Amanda 2.4 REP HANDLE 000-1 SEQ 1\nCONNECT DATA 9999 MESG 9998 INDEX 1024 STATE 65535\n",
            "Amanda 2.4 REP HANDLE 000-1 SEQ 1\nCONNECT DATA 0 MESG 50012 INDEX 70000\n",
            "Amanda 2.4 REP HANDLE 000-1 SEQ 1\nCONNECT INDEX 22 MESG 50002\n",
            "Amanda 2.4 ACK\n",
            "CONNECT DATA 50021 MESG\n",
        ],
    ],
    max_expectations: 4,
};

const SIP: Protocol = Protocol {
    port: 5060,
    texts: [
        &[
            INVITE,
            "INVITE sip:bob@198.51.100.2 SIP/2.0\r\nv: SIP/2.0/UDP 10.0.0.2;rport\r\nf: <sip:a@10.0.0.2>\r\nCSeq: 2 INVITE\r\n\
             m: \"A, B\" <sip:a@10.0.0.2>,\r\n <sip:b@10.0.0.2:5070>\r\nc: application/sdp\r\nl: 96\r\n\r\n\
             v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 0 RTP/AVP 0\r\nm=video 20000 RTP/AVP 0\r\nc=IN IP4 10.0.0.2\r\na=rtcp:9000\r\n",
            "ACK sip:b@h SIP/2.0\r\nCSeq: 1 ACK\r\nContent-Type: multipart/mixed;boundary=x\r\n\r\n--x\r\n\
             Content-Type: application/sdp\r\n\r\nc=IN IP4 10.0.0.2\r\nm=image 18000 udptl t38\r\na=rtcp-mux\r\n--x--\r\n",
            "REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@10.0.0.2>\r\n\
             Expires: 3600\r\nContent-Length: 0\r\n\r\n",
            "REGISTER sip:h SIP/2.0\r\nCSeq: 2 REGISTER\r\nContact: *\r\nExpires: 0\r\n\r\n",
            "BYE sip:b@h SIP/2.0\r\nCSeq: 3 BYE\r\nRoute: <sip:10.0.0.2;lr>\r\n\r\n",
            "\r\n\r\n",
            "CANCEL sip:b@h SIP/2.0\r\nVia: SIP / 2.0 / UDP 10.0.0.2:5070\r\nCSeq: 1 CANCEL\r\n\r\n",
            "hello",
        ],
        &[
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 203.0.113.1:5060;received=203.0.113.1;rport=5060\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:bob@198.51.100.2:5060>\r\nContent-Type: application/sdp\r\n\r\n\
             v=0\r\no=- 1 1 IN IP4 198.51.100.2\r\nc=IN IP4 198.51.100.2\r\nm=audio 26384 RTP/AVP 0\r\n",
            "SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@203.0.113.1:5060>;expires=60\r\n\r\n",
            "SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@10.0.0.2>;expires=60\r\n\r\n",
            "SIP/2.0 487 Terminated\r\nCSeq: 1 INVITE\r\n\r\n",
            "SIP/2.0 401 No\r\nCSeq: 1 REGISTER\r\n\r\n",
            "INVITE sip:a@203.0.113.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.2\r\nCSeq: 1 INVITE\r\n\r\n",
        ],
    ],
    max_expectations: 11,
};

const INVITE: &str = "INVITE sip:bob@198.51.100.2 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2:5060;branch=1\r\n\
     From: <sip:alice@10.0.0.2>;tag=1\r\nTo: <sip:bob@198.51.100.2>\r\nCSeq: 1 INVITE\r\n\
     Contact: <sip:alice@10.0.0.2:5060>\r\nContent-Type: application/sdp\r\nContent-Length: 108\r\n\r\n\
     v=0\r\no=- 1 1 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 16384 RTP/AVP 0\r\n\
     a=rtpmap:0 PCMU/8000\r\n";

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
    let protocol = if choice & SPEAKS_SIP == 0 { &AMANDA } else { &SIP };
    let mut dialogue = Dialogue::new(choice, protocol);
    while let Some(order) = orders.next() {
        let end = usize::from(order & 1);
        let texts = dialogue.protocol.texts[end];
        let text = texts[usize::from(order >> 1 & 0x1f) % texts.len()].as_bytes();
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
