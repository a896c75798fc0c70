//! What is said in the sessions that are fuzzed, and what of it may announce a connection.

use sluice_conntrack::helpers::HelperId;

/// The talk of one protocol.
pub(crate) struct Talk {
    pub(crate) helper: HelperId,
    /// What clients and servers say.
    pub(crate) lines: [[&'static [u8]; 16]; 2],
    pub(crate) announcing: Announcing,
}

/// What announces a connection, by who says it.
pub(crate) enum Announcing {
    /// Lines that begin and end so.
    Lines { begins: [&'static [&'static [u8]]; 2], ending: &'static [u8] },
    /// These bytes at any offset, with so many behind them.
    Bytes([Option<(&'static [u8], usize)>; 2]),
}

impl Announcing {
    /// Whether an end has announced something in a text, of which it has sent these bytes.
    pub(crate) fn is_in(&self, end: usize, text: &[u8], sent: &[bool]) -> bool {
        let is_sent = |start: usize, len: usize| sent[start..start + len].iter().all(|sent| *sent);
        match self {
            Self::Lines { begins, ending } => {
                let mut start = 0;
                text.split_inclusive(|byte| *byte == b'\n').any(|line| {
                    let is_whole = is_sent(start, line.len()) && line.ends_with(ending);
                    start += line.len();
                    let is_begin = |word: &&[u8]| {
                        line.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
                    };
                    is_whole && begins[end].iter().any(is_begin)
                })
            }
            Self::Bytes(bytes) => bytes[end].is_some_and(|(bytes, behind)| {
                let len = bytes.len() + behind;
                text.windows(len)
                    .enumerate()
                    .any(|(start, said)| said.starts_with(bytes) && is_sent(start, len))
            }),
        }
    }
}

pub(crate) const FTP: Talk = Talk {
    helper: HelperId::Ftp,
    lines: [
        [
            b"USER me\r\n",
            b"PORT 10,0,0,2,19,137\r\n",
            b"port 10,0,0,2,4,0\r\n",
            b"EPRT |1|10.0.0.2|5001|\r\n",
            b"EPSV\r\n",
            b"EPSV ALL\r\n",
            b"AUTH TLS\r\n",
            b"PORT 1\r\n",
            b"NOOP x\r\n",
            b"\r\n",
            b"LIST\r\n",
            b"POST / HTTP/1.1\r\n",
            b"\xff\xf4\xff\xf2ABOR\r\n",
            b"PORT 10,0,0,3,19,137\r\n",
            b"PORT 10,0,0,2,0,22\r\n",
            b"PO",
        ],
        [
            b"220 ready\r\n",
            b"227 Entering Passive Mode (198,51,100,2,200,10).\r\n",
            b"229 Entering Extended Passive Mode (|||51210|)\r\n",
            b"229 (|1|198.51.100.2|51210|)\r\n",
            b"227-first\r\n",
            b"227 =198,51,100,2,200,1\r\n",
            b"227 x\r\n",
            b"234 go on\r\n",
            b"200 ok\r\n",
            b"text\r\n",
            b"\r\n",
            b"22",
            b"220-x\r\n",
            b"220 y\r\n",
            b"227 (198,51,100,3,200,10)\r\n",
            b"SSH-2.0\r\n",
        ],
    ],
    announcing: Announcing::Lines { begins: [&[b"PORT ", b"EPRT "], &[b"227 ", b"229 "]], ending: b"\r\n" },
};

pub(crate) const IRC: Talk = Talk {
    helper: HelperId::Irc,
    lines: [
        [
            b"NICK joe\r\n",
            b"PRIVMSG bob :\x01DCC SEND file 167772162 5001 1234\x01\r\n",
            b"PRIVMSG bob :\x01DCC CHAT chat 167772162 1024\x01\r\n",
            b"privmsg #x  :\x01DCC TSEND \"a 1 2\" 3405803777 65535 9\r\n",
            b"PRIVMSG bob :\x01DCC SEND file 10.0.0.2 5002 1234\x01\n",
            b"@a=b PRIVMSG bob :\x01DCC SCHAT chat 167772162 5003\x01\r\n",
            b"PRIVMSG bob :\x01DCC SEND file 167772162 0 1234 7\x01\r\n",
            b"PRIVMSG bob :\x01DCC SEND file fd00::2 5001 1234\x01\r\n",
            b"PRIVMSG bob :\x01DCC SEND file 167772162 70000\x01\r\n",
            b"PRIVMSG bob :hello \x01DCC SEND file 167772162 5001 9\x01\r\n",
            b"STARTTLS\r\n",
            b"POST / HTTP/1.1\r\n",
            b"\r\n",
            b"PRIVMSG bob :\x01DCC MOVE file 167772163 5001 1234\x01\r\n",
            b"PRIVMSG bob :\x01DCC SEND file 167772162 22 1234\x01\r\n",
            b"PRIVMSG bob :\x01DC",
        ],
        [
            b":srv 001 joe :hi\r\n",
            b":bob!b@host PRIVMSG joe :\x01DCC SEND file 3325256706 5001 9\x01\r\n",
            b":srv 670 joe :go on\r\n",
            b"PING :1\r\n",
            b"@time=1 :srv NOTICE joe :x\r\n",
            b"PRIVMSG joe :\x01DCC SEND file 3325256706 5001 9\x01\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"ERROR :bye\r\n",
            b":srv",
            b"@",
            b"\r\n",
            b"\n",
            b"NOTICE AUTH :x\r\n",
            b":srv 353 joe = #x :joe bob\r\n",
            b"{}\r\n",
            b":srv PONG x",
        ],
    ],
    announcing: Announcing::Lines { begins: [&[b"PRIVMSG ", b"@a=b PRIVMSG "], &[]], ending: b"\n" },
};

pub(crate) const RTSP: Talk = Talk {
    helper: HelperId::Rtsp,
    lines: [
        [
            b"SETUP rtsp://x/a RTSP/1.0\r\nCSeq: 1\r\n",
            b"Transport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n",
            b"Transport: RTP/AVP;unicast;destination=10.0.0.2;client_port=5002\r\n\r\n",
            b"transport : RTP/AVP/TCP;interleaved=0-1, RTP/SAVP;client_port=5004/5006\r\n\r\n",
            b"Transport: RTP/AVP;client_port=5001-5000\r\n\r\n",
            b"Transport: RTP/AVP;client_port=22-23;destination=10.0.0.3\r\n\r\n",
            b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
            b"ANNOUNCE x RTSP/1.0\r\nContent-Length: 52\r\n\r\n",
            b"Content-Length: 70000\r\n",
            b"Content-Length: 7\r\n",
            b"\r\n",
            b"POST / HTTP/1.1\r\n",
            b"$\0\0\x04data",
            b" continued\r\n",
            b"RTSP/1.0 200 OK\r\n\r\n",
            b"Trans",
        ],
        [
            b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n",
            b"Transport: RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001\r\n\r\n",
            b"Transport: RTP/AVP;destination=203.0.113.1;source=198.51.100.2;server_port=6002\r\n\r\n",
            b"Transport: RTP/AVP;source=192.0.2.1;server_port=6000-6001\r\n\r\n",
            b"Transport: RTP/AVP;server_port=x\r\n\r\n",
            b"RTSP/1.0 454 Session Not Found\r\n\r\n",
            b"RTSP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n",
            b"0123456789",
            b"SET_PARAMETER x RTSP/1.0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"\r\n",
            b"$\x01\0\x02\n\n",
            b"Session: 7\r\n",
            b"no colon\r\n",
            b"RTSP/1.0",
            b"Transport:\r\n",
        ],
    ],
    announcing: Announcing::Lines { begins: [&[b"Transport"], &[b"Transport"]], ending: b"\n" },
};

pub(crate) const SANE: Talk = Talk {
    helper: HelperId::Sane,
    lines: [
        [
            b"\0\0\0\0\x01\0\0\x03\0\0\0\x03me\0",
            b"\0\0\0\x07\0\0\0\x01",
            b"\0\0\0\x02\0\0\0\x05test\0",
            b"\0\0\0\x06\0\0\0\x01",
            b"\0\0\0\x07",
            b"\0\0\0\x01",
            b"\0\0\0\x07\0\0\0\x01\0",
            b"\0",
            b"\0\0\0\x08\0\0\0\x01",
            b"\0\0\0\x0a",
            b"\0\0\0\0\0\0u1",
            b"GET / HTTP/1.1\r\n\r\n",
            b"\0\0\0\0\x02\0\0\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\0\0\0\x03\0\0\0\x01",
            b"\0\0",
        ],
        [
            b"\0\0\0\0\x01\0\0\x03",
            b"\0\0\0\0\0\0u1\0\0\x124\0\0\0\0",
            b"\0\0\0\0\0\0\0\x16\0\0\x124\0\0\0\0",
            b"\0\0\0\x03\0\0\0\0\0\0\x124\0\0\0\0",
            b"\0\0\0\0\0\x01u1",
            b"\0\0\0\0\0\0u",
            b"1",
            b"\0\0\0\0",
            b"\0\0\xff\xff",
            b"\0\0\0\0\0\0\xff\xff\0\0\x124\0\0\0\0",
            b"\0\0\0\0\0\0\0\x01\0\0\0\0",
            b"SANE",
            b"\0",
            b"\0\0\0\x07\0\0\0\x01",
            b"\0\0\0\x0b",
            b"\xff\xff\xff\xff\xff\xff\xff\xff",
        ],
    ],
    announcing: Announcing::Bytes([None, Some((b"\0\0\0\0\0\0", 2))]),
};

pub(crate) const SIP: Talk = Talk {
    helper: HelperId::Sip,
    lines: [
        [
            b"INVITE sip:bob@198.51.100.2 SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.2:40000\r\nCSeq: 1 INVITE\r\n",
            b"Contact: <sip:a@10.0.0.2:40000>\r\n",
            b"Content-Type: application/sdp\r\nContent-Length: 61\r\n\r\n",
            b"v=0\r\nc=IN IP4 10.0.0.2\r\nm=audio 5000 RTP/AVP 0\r\na=rtcp:5007\r\n",
            b"REGISTER sip:h SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.2:40000\r\nCSeq: 1 REGISTER\r\n",
            b"Expires: 60\r\nContent-Length: 0\r\n\r\n",
            b"BYE sip:b@h SIP/2.0\r\nCSeq: 2 BYE\r\nl: 0\r\n\r\n",
            b"\r\n",
            b"Content-Length: 4294967328\r\n",
            b"Content-Length: 9000\r\n\r\n",
            b"m: <sip:a@10.0.0.2:40000>,\r\n <sip:b@10.0.0.2:40000>\r\n",
            b"POST / HTTP/1.1\r\n",
            b"c: application/sdp\r\nl: 62\r\n\r\n",
            b"v=0\r\nc=IN IP4 10.0.0.3\r\nm=video 22 RTP/AVP 0\r\nm=audio 0 x\r\n\r\n\r\n",
            b"OPTIONS sip:b@h SIP/2.0\r\n",
            b"\r\n\r\n",
        ],
        [
            b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\nContact: <sip:b@198.51.100.2:5060>\r\n",
            b"Content-Type: application/sdp\r\nContent-Length: 52\r\n\r\n",
            b"v=0\r\nc=IN IP4 198.51.100.2\r\nm=audio 6000 RTP/AVP 0\r\n",
            b"SIP/2.0 200 OK\r\nCSeq: 1 REGISTER\r\n",
            b"Contact: <sip:a@203.0.113.1:40000>;expires=60\r\nl: 0\r\n\r\n",
            b"Contact: <sip:a@10.0.0.2:40000>;expires=60\r\nl: 0\r\n\r\n",
            b"SIP/2.0 487 Terminated\r\nCSeq: 1 INVITE\r\nl: 0\r\n\r\n",
            b"SIP/2.0 401 No\r\nCSeq: 1 REGISTER\r\nl: 0\r\n\r\n",
            b"\r\n",
            b"INVITE sip:a@203.0.113.1:40000 SIP/2.0\r\nVia: SIP/2.0/TCP 198.51.100.2\r\nCSeq: 1 INVITE\r\n",
            b"Content-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"Via: SIP/2.0/TCP 203.0.113.1:40000;received=203.0.113.1;rport=40000\r\n",
            b"l: -1\r\n",
            b"no colon\r\n",
            b"SIP/2",
        ],
    ],
    announcing: Announcing::Lines { begins: [SIP_ANNOUNCING, SIP_ANNOUNCING], ending: b"\n" },
};

/// Media and registrations; a Contact may go on in the next line.
const SIP_ANNOUNCING: &[&[u8]] = &[b"m=", b"REGISTER "];
