//! What is said in the sessions that are fuzzed, and what of it may announce a connection.

use sluice_conntrack::helpers::HelperId;

/// The talk of one protocol.
pub(crate) struct Talk {
    pub(crate) helper: HelperId,
    /// What clients and servers say.
    pub(crate) lines: [[&'static [u8]; 16]; 2],
    /// What announcements begin with, by who makes them, and what they end with.
    pub(crate) announcing: [&'static [&'static [u8]]; 2],
    pub(crate) ending: &'static [u8],
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
    announcing: [&[b"PORT ", b"EPRT "], &[b"227 ", b"229 "]],
    ending: b"\r\n",
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
    announcing: [&[b"PRIVMSG ", b"@a=b PRIVMSG "], &[]],
    ending: b"\n",
};
