#!/usr/bin/env python3
"""Writes what the fuzzers begin with, from captures: seeds.py DIR PCAP ...

DIR/parse gets one frame a file, DIR/shard runs of frames as orders to a shard (see src/shard.rs), DIR/helpers what an FTP, IRC, RTSP,
SANE, SIP or H.323 client and its server may say and how it is cut (see src/control.rs), what TFTP ends may send (see src/requests.rs) and those
of Amanda, SIP, talk, ntalk and RAS (see src/dialogues.rs), and
DIR/fragments what may become of datagrams that come in fragments (see src/datagrams.rs), and DIR/install what a peer may tell (see
src/install.rs).
"""
import ipaddress
import pathlib
import struct
import sys


def frames(path):
    data = path.read_bytes()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from(order + "I", data, at + 8)[0]
        yield data[at + 16:at + 16 + length]
        at += 16 + length


directory, *captures = map(pathlib.Path, sys.argv[1:])
for target in ("parse", "shard", "helpers", "fragments", "install"):
    (directory / target).mkdir(parents=True, exist_ok=True)
for port, capture in enumerate(captures):
    small = [frame for frame in frames(capture) if len(frame) < 256]
    for number, frame in enumerate(small):
        (directory / "parse" / f"{port}.{number}").write_bytes(b"\0" + frame)
    for start in range(0, len(small), 12):
        # One order a packet, each in a burst of its own: an even number comes from inside.
        orders = b"".join(bytes([0x40 + port, len(frame)]) + frame for frame in small[start:start + 12])
        for choice in (0x07, 0x96):
            name = f"{port}.{start}.{choice:02x}"
            (directory / "shard" / name).write_bytes(bytes([choice]) + orders + b"\xa5\xe0")


def packet(port, *segment, v6=False):
    """A TCP segment between a client at port 0 and a server at port 1, in a burst of its own. Nobody looks at its checksums."""
    flags, seq, ack, options, payload = segment
    ends = ("fd00:1::2", "2001:db8::80") if v6 else ("10.0.0.2", "203.0.113.80")
    source, destination = (ipaddress.ip_address(end).packed for end in ends[::1 - 2 * port])
    sport, dport = (40000, 8080)[::1 - 2 * port]
    tcp = struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 0x50 + (len(options) << 2), flags, 500, 0, 0) + options + payload
    ip = (struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) if v6
          else struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 1, 0x4000, 64, 6, 0)) + source + destination
    frame = bytes(12) + (b"\x86\xdd" if v6 else b"\x08\x00") + ip + tcp
    return bytes([0x40 + port, len(frame)]) + frame


def proxied(v6):
    """What may become of a connection whose SYN is answered with a cookie."""
    offer = b"\x02\x04\x05\x78\x04\x02\x01\x01\x01\x03\x03\x09"
    syn, bring = packet(0, 0x02, 1000, 0, offer, b"", v6=v6), b"\xf8"
    plain_syn, stray = packet(0, 0x02, 1000, 0, b"", b"", v6=v6), packet(0, 0x10, 1001, 5, b"", b"", v6=v6)
    answer = packet(1, 0x12, 700_000, 1001, offer, b"", v6=v6)
    data, answered = packet(0, 0x18, 1001, 700_001, b"", b"GET", v6=v6), packet(1, 0x18, 700_001, 1004, b"", b"OK", v6=v6)
    refused, reset = packet(1, 0x14, 0, 1001, b"", b"", v6=v6), packet(0, 0x04, 1001, 0, b"", b"", v6=v6)
    return {
        "opened": syn + bring + answer + data + answered,
        "plain": plain_syn + bring + answer + answered,
        "again": syn + syn + bring + bring + answer + answer + bring,
        "stray": stray + syn + stray + bring,
        "refused": syn + bring + refused + bring,
        "reset": syn + bring + reset + syn + bring + answer + reset,
        "early": syn + bring + answered + answer,
        "old": syn + b"\xaf\xaf" + bring,
        "reloaded": syn + b"\xc0\x87" + bring + b"\xc0\x27" + answer + data,
    }


for v6 in (False, True):
    for name, orders in proxied(v6).items():
        # Wired and routed, without translation and with it, with a window scale and without.
        for choice in (0x07, 0x0f, 0x87, 0x27, 0xaf):
            (directory / "shard" / f"synproxy-{name}.{v6:d}.{choice:02x}").write_bytes(bytes([choice]) + orders)


def whole(datagram, shard=0, units=26):
    """A datagram in two fragments, the first at one shard and the second at the other."""
    return first(datagram, shard) + last(datagram, 1 - shard, units=units)


def first(datagram, shard=0, start=0, units=10):
    return bytes([datagram | shard << 4, start, units])


def last(datagram, shard=0, start=10, units=26):
    return bytes([datagram | shard << 4, start, 0x20 | units - start])


# Both shards hear what the other says, and take what it hands to them.
STEPS = b"\xb0\xb1" * 12
TIMEOUT = b"\xcf\xcf\xdf\xde"
# What may become of datagrams, by number: 0 and 1 are one connection's, 4 and 7 echo requests, whose answers go to any shard, 5
# and 6 have their port mapped, 8 is for a server inside, 15 for the box.
FRAGMENTS = {
    "two-in-order": b"".join(whole(datagram) + STEPS for datagram in range(16)),
    "two-in-disorder": b"".join(last(datagram, 1) + first(datagram) + STEPS for datagram in range(16)),
    "interleaved": b"".join(map(first, range(16))) + STEPS + b"".join(map(last, range(16))) + STEPS,
    "behind-a-claim": whole(4) + whole(4) + whole(4) + STEPS,
    "beside-whole-packets": b"\x84" + whole(4) + b"\x94" + STEPS + b"\x80" + whole(0) + whole(1) + STEPS,
    "duplicates": first(0) * 2 + first(0, start=2, units=4) + last(0) + last(0) + STEPS,
    "overlap": first(0, units=12) + last(0) + first(0) + TIMEOUT + whole(0) + STEPS,
    "two-ends": last(5) + last(5, units=20) + first(5) + STEPS,
    "other-bytes": first(0) + bytes([0, 10, 0x60 | 16]) + STEPS,
    "odd-length": bytes([0, 0, 0x80 | 11]) + last(0) + STEPS + bytes([5, 0, 0x80 | 11]) + STEPS,
    "mixed-ecn": first(0) + bytes([0x60, 10, 0x20 | 16]) + STEPS,
    "too-late": first(0) + first(5) + b"\xcf" + last(0) + b"\xcf" + last(5) + STEPS,
    "lowered-limits": b"".join(map(first, range(16))) + b"\xe0\x07\x1f\xe1\x07\x1f" + whole(0) + whole(5) + STEPS,
    "full-rings": b"\xf1" + whole(0) + whole(5) + whole(8) + STEPS + b"\xf0" + whole(0) + STEPS,
    "tiny": last(0, start=12) + b"".join(bytes([0, unit, 1]) for unit in reversed(range(12))) + STEPS,
}
for name, orders in FRAGMENTS.items():
    # Wired and routed, with few and with many fragments that may be held, one shard and two.
    for choice in (b"\x07\x00", b"\x80\x00", b"\x80\x07", b"\xa4\x00"):
        for shards in (1, 2):
            path = directory / "fragments" / f"{name}.{choice.hex()}.{shards}"
            path.write_bytes(choice + bytes([shards - 1]) + orders)


def say(*lines, end=0):
    """An end says lines, by their numbers in src/talk.rs."""
    return bytes(line << 1 | end for line in lines)


def send(start, length, end=0):
    """An end sends so many bytes from a place of all that it says."""
    return bytes([0x80 | start >> 8 << 1 | end, start & 0xff, length])


# Each end acknowledges what it has got.
ACKNOWLEDGE = b"\xc0\xc1"
LOGIN = say(0) + send(0, 9) + say(0, end=1) + send(0, 11, end=1) + ACKNOWLEDGE
# What ends may do with their text. The login takes 9 bytes of the client's and 11 of the server's, PORT 22 and the reply 227 49.
CONTROL = {
    "port": LOGIN + say(1, 10) + send(9, 22) + send(31, 6) + ACKNOWLEDGE,
    "passive": LOGIN + say(1, end=1) + send(11, 49, end=1) + ACKNOWLEDGE,
    "extended": LOGIN + say(3, 4) + send(9, 40) + say(2, end=1) + send(11, 60, end=1) + ACKNOWLEDGE,
    "epsv-all": LOGIN + say(5, 1) + send(9, 40) + say(1, end=1) + send(11, 60, end=1) + ACKNOWLEDGE,
    "cut-at-each-byte": LOGIN + say(1) + b"".join(send(9 + at, 1) for at in range(22)) + ACKNOWLEDGE,
    "cut-and-whole-again": LOGIN + say(1, 10) + send(9, 8) + send(17, 14) + send(9, 28) + send(9, 22) + ACKNOWLEDGE,
    "overtaken": LOGIN + say(1, 10) + send(31, 6) + send(9, 22) + send(31, 6) + ACKNOWLEDGE,
    "sent-again": LOGIN + say(1, 1, 10) + (send(9, 22) + send(31, 22)) * 2 + send(9, 60) + ACKNOWLEDGE,
    "part-of-what-was-rewritten": LOGIN + say(1) + send(9, 22) + send(12, 10) + send(9, 12) + ACKNOWLEDGE,
    "five-in-one-segment": LOGIN + say(1, 1, 1, 1, 1, 10) + send(9, 120) + ACKNOWLEDGE,
    "malformed": LOGIN + say(7, 1) + send(9, 30) + ACKNOWLEDGE,
    "privileged-and-foreign": LOGIN + say(13, 14, 1) + send(9, 70) + ACKNOWLEDGE,
    "not-ftp": say(11, 1) + send(0, 17) + send(17, 22) + say(15, end=1) + send(0, 9, end=1) + ACKNOWLEDGE,
    "encrypted": LOGIN + say(6) + send(9, 10) + say(7, end=1) + send(11, 11, end=1) + say(1) + send(19, 22),
    "several-lines": LOGIN + say(4, 9, 1, end=1) + send(11, 80, end=1) + say(5, end=1) + send(88, 40, end=1) + ACKNOWLEDGE,
    "telnet": LOGIN + say(12, 1) + send(9, 40) + ACKNOWLEDGE,
    "forged": LOGIN + b"\xe0\x09\x16PORT 10,0,0,2,19,137\r\n" + say(1) + send(9, 22) + ACKNOWLEDGE,
    "times-out": LOGIN + say(1) + send(9, 22) + b"\xfb" + send(9, 22),
}
# The same of IRC: NICK takes 10 bytes, the server's welcome 18, an offer of a file 50 and one of a chat 45.
HELLO = say(0) + send(0, 10) + say(0, end=1) + send(0, 18, end=1) + ACKNOWLEDGE
IRC = {
    "irc-offer": HELLO + say(1, 12) + send(10, 50) + send(60, 2) + ACKNOWLEDGE,
    "irc-every-offer": HELLO + say(*range(1, 6)) + send(10, 200) + send(210, 80) + ACKNOWLEDGE,
    "irc-cut-at-each-byte": HELLO + say(1) + b"".join(send(10 + at, 1) for at in range(50)) + ACKNOWLEDGE,
    "irc-cut-and-whole-again": HELLO + say(1, 2) + send(10, 30) + send(10, 50) + send(60, 45) + ACKNOWLEDGE,
    "irc-sent-again": HELLO + say(1, 2, 12) + (send(10, 50) + send(60, 45)) * 2 + send(10, 97) + ACKNOWLEDGE,
    "irc-nine-offers": HELLO + say(*[1] * 9) + b"".join(send(10 + 50 * at, 50) for at in range(9)),
    "irc-reverse": HELLO + say(6, 1) + send(10, 120) + say(1, end=1) + send(18, 80, end=1) + ACKNOWLEDGE,
    "irc-quoted-text": HELLO + say(9, 1) + send(10, 120) + ACKNOWLEDGE,
    "irc-malformed": HELLO + say(8, 1) + send(10, 120) + ACKNOWLEDGE,
    "irc-privileged-and-foreign": HELLO + say(13, 14, 7, 1) + send(10, 220) + ACKNOWLEDGE,
    "irc-encrypted": HELLO + say(10, 1) + send(10, 10) + say(2, end=1) + send(18, 22, end=1) + send(20, 50),
    "irc-is-http": say(11, 1) + send(0, 17) + send(17, 50) + ACKNOWLEDGE,
    "irc-times-out": HELLO + say(1) + send(10, 50) + b"\xfb" + send(10, 50),
}
# The same of RTSP: the begin of a request SETUP takes 36 bytes, its end with a transport 52; those of the reply 26 and 74.
ASKED = say(0, 1) + send(0, 36) + send(36, 52) + ACKNOWLEDGE
ANSWERED = ASKED + say(0, 1, end=1) + send(0, 26, end=1) + send(26, 74, end=1) + ACKNOWLEDGE
RTSP = {
    "rtsp-set-up": ANSWERED + say(6) + send(88, 31) + ACKNOWLEDGE,
    "rtsp-more-streams": ANSWERED + say(0, 2, 0, 3) + send(88, 250) + ACKNOWLEDGE,
    "rtsp-cut-at-each-byte": say(0, 1) + b"".join(send(at, 1) for at in range(88)) + ACKNOWLEDGE,
    "rtsp-cut-and-whole-again": say(0, 1, 6) + send(0, 50) + send(0, 88) + send(88, 31) + ACKNOWLEDGE,
    "rtsp-sent-again": ANSWERED + (send(0, 88) + send(26, 74, end=1)) * 2 + ACKNOWLEDGE,
    "rtsp-elsewhere": ASKED + say(0, 2, 0, 3, end=1) + send(0, 250, end=1) + ACKNOWLEDGE,
    "rtsp-body": say(7, 1, 0, 1) + send(0, 47) + send(47, 60) + send(107, 80) + ACKNOWLEDGE,
    "rtsp-bodies": ASKED + say(6, 7, 0, 1, end=1) + send(0, 200, end=1) + ACKNOWLEDGE,
    "rtsp-lengths": say(0, 9, 9, 1, 0, 8, 1) + send(0, 250) + ACKNOWLEDGE,
    "rtsp-malformed": say(0, 4, 0, 1) + send(0, 200) + ACKNOWLEDGE,
    "rtsp-privileged-and-foreign": say(0, 5, 0, 1) + send(0, 220) + ACKNOWLEDGE,
    "rtsp-interleaved": ASKED + say(11, end=1) + send(0, 6, end=1) + say(12, 0, 1) + send(88, 96) + ACKNOWLEDGE,
    "rtsp-is-http": say(11, 0, 1) + send(0, 17) + send(17, 88) + ACKNOWLEDGE,
    "rtsp-times-out": ASKED + b"\xfb" + send(36, 52),
}
# The same of SANE: INIT takes 15 bytes and its reply 8, a request to begin 8, and the reply that names a port 16.
BEGUN = say(0) + send(0, 15) + say(0, end=1) + send(0, 8, end=1) + ACKNOWLEDGE
SCANNED = BEGUN + say(1) + send(15, 8)
SANE = {
    "sane-scan": SCANNED + say(1, end=1) + send(8, 16, end=1) + ACKNOWLEDGE,
    "sane-cut-at-each-byte": BEGUN + say(1) + b"".join(send(15 + at, 1) for at in range(8)) + say(1, end=1)
    + b"".join(send(8 + at, 1, end=1) for at in range(16)) + ACKNOWLEDGE,
    "sane-cut-and-whole-again": SCANNED + say(1, end=1) + send(8, 5, end=1) + send(8, 7, end=1) + send(8, 16, end=1) + ACKNOWLEDGE,
    "sane-sent-again": SCANNED + say(1, end=1) + send(8, 16, end=1) * 2 + send(0, 24, end=1) + ACKNOWLEDGE,
    "sane-overtaken": SCANNED + say(1, end=1) + send(14, 10, end=1) + send(8, 6, end=1) + ACKNOWLEDGE,
    "sane-scans-again": SCANNED + say(1, end=1) + send(8, 16, end=1) + say(1) + send(23, 8) + say(9, end=1) + send(24, 16, end=1),
    "sane-asks-twice": BEGUN + say(1, 1) + send(15, 16) + say(1, 1, end=1) + send(8, 32, end=1) + ACKNOWLEDGE,
    "sane-refused": SCANNED + say(3, end=1) + send(8, 16, end=1) + ACKNOWLEDGE,
    "sane-privileged": SCANNED + say(2, end=1) + send(8, 16, end=1) + ACKNOWLEDGE,
    "sane-odd": SCANNED + say(4, end=1) + send(8, 8, end=1) + say(6) + send(23, 9) + say(1, end=1) + send(16, 16, end=1),
    "sane-unasked": BEGUN + say(1, end=1) + send(8, 16, end=1) + ACKNOWLEDGE,
    "sane-is-http": say(11, 1) + send(0, 18) + send(18, 8) + say(1, end=1) + send(0, 16, end=1) + ACKNOWLEDGE,
    "sane-times-out": SCANNED + b"\xfb" + say(1, end=1) + send(8, 16, end=1),
}
# The same of PPTP: the session's request and its reply take 156 bytes each, a request for a call 168 or 220, the reply 32 or 24.
STARTED = say(0) + send(0, 156) + say(0, end=1) + send(0, 156, end=1) + ACKNOWLEDGE
DIALED = STARTED + say(1) + send(156, 168) + ACKNOWLEDGE
# The reply says the client's id as it is, or as it is known of a masqueraded client.
GRANTED = DIALED + say(1, 2, end=1) + send(156, 64, end=1) + ACKNOWLEDGE
PPTP = {
    "pptp-call": GRANTED + say(7) + send(324, 24) + ACKNOWLEDGE,
    "pptp-call-by-the-server": STARTED + say(4, end=1) + send(156, 220, end=1) + say(3) + send(156, 24) + say(5, end=1) + send(376, 28, end=1),
    "pptp-cleared-before-the-reply": DIALED + say(5) + send(324, 16) + say(1, 2, end=1) + send(156, 64, end=1) + ACKNOWLEDGE,
    "pptp-over-and-called-again": GRANTED + say(6, 7, end=1) + send(220, 255, end=1) + send(475, 41, end=1) + say(1) + send(324, 168)
    + say(1, 2, end=1) + send(516, 64, end=1),
    "pptp-two-calls": STARTED + say(1, 2) + send(156, 168) + send(324, 168) + say(1, 3, end=1) + send(156, 64, end=1) + ACKNOWLEDGE,
    "pptp-nine-calls": STARTED + say(*[1, 2] * 5) + b"".join(send(156 + 168 * at, 168) for at in range(10)),
    "pptp-cut-at-each-byte": DIALED + say(1, end=1) + b"".join(send(156 + at, 1, end=1) for at in range(32)) + ACKNOWLEDGE,
    "pptp-cut-and-whole-again": STARTED + say(1) + send(156, 100) + send(156, 168) + send(256, 68) + send(156, 168) + ACKNOWLEDGE,
    "pptp-sent-again": GRANTED + (send(156, 168) + send(156, 64, end=1)) * 2 + ACKNOWLEDGE,
    "pptp-overtaken": STARTED + say(9, 1) + send(172, 168) + send(156, 16) + send(172, 168) + ACKNOWLEDGE,
    "pptp-refused": DIALED + say(10, 1, end=1) + send(156, 64, end=1) + ACKNOWLEDGE,
    "pptp-stopped": GRANTED + say(8) + send(324, 16) + say(11, end=1) + send(220, 16, end=1) + ACKNOWLEDGE,
    "pptp-short-and-unknown": STARTED + say(12, 13, 1) + send(156, 196) + say(14, 1, end=1) + send(156, 63, end=1) + ACKNOWLEDGE,
    "pptp-too-long": STARTED + say(14, 1) + send(156, 180) + ACKNOWLEDGE,
    "pptp-bad-cookie": DIALED + say(15, 1, end=1) + send(156, 44, end=1) + ACKNOWLEDGE,
    "pptp-unasked": STARTED + say(1, 2, end=1) + send(156, 64, end=1) + ACKNOWLEDGE,
    "pptp-without-a-session": say(1) + send(0, 168) + say(1, 2, end=1) + send(0, 64, end=1) + ACKNOWLEDGE,
    "pptp-is-http": say(11, 1) + send(0, 18) + send(18, 168) + ACKNOWLEDGE,
    "pptp-times-out": GRANTED + b"\xfb" + say(7) + send(324, 24),
}
# The same of SIP over TCP: an INVITE takes 81 + 33 + 53 bytes and its description 61; the answer 74 + 53 and 52.
INVITED = say(0, 1, 2, 3) + send(0, 228)
SIP_STREAM = {
    "sip-tcp-call": INVITED + say(0, 1, 2, end=1) + send(0, 179, end=1) + ACKNOWLEDGE + say(6) + send(228, 40) + ACKNOWLEDGE,
    "sip-tcp-cut-at-each-byte": say(0, 1, 2, 3) + b"".join(send(at, 1) for at in range(228)) + ACKNOWLEDGE,
    "sip-tcp-cut-and-whole-again": say(0, 1, 2, 3) + send(0, 150) + send(150, 78) + send(0, 150) + send(0, 228) + ACKNOWLEDGE,
    "sip-tcp-headers-and-body": say(0, 1, 2, 3) + send(0, 167) + send(0, 167) + send(167, 61) + say(0, 1, 2, 3) + send(228, 228),
    "sip-tcp-overtaken": say(0, 1, 2, 3, 6) + send(100, 168) + send(0, 100) + send(100, 168) + ACKNOWLEDGE,
    "sip-tcp-several": INVITED + say(7, 6, 15, 0, 1, 2, 3) + send(228, 250) + send(478, 60) + ACKNOWLEDGE,
    "sip-tcp-sent-again": (INVITED + send(0, 228)) * 3 + send(100, 255) + ACKNOWLEDGE,
    "sip-tcp-registered": say(4, 1, 5) + send(0, 160) + say(3, 5, end=1) + send(0, 100, end=1) + ACKNOWLEDGE,
    "sip-tcp-long": say(14, 9) + send(0, 60) + say(*[3] * 16) + b"".join(send(at, 250) for at in range(52, 1000, 250)),
    "sip-tcp-lengths": say(0, 8, 15) + send(0, 120) + say(0, 1, 2, 3) + send(110, 240) + ACKNOWLEDGE,
    "sip-tcp-forked": say(0, 10, 12, 13) + send(0, 240) + say(0, 1, 2, 6, end=1) + send(0, 230, end=1) + ACKNOWLEDGE,
    "sip-tcp-is-http": say(11, 0, 1, 2, 3) + send(0, 17) + send(17, 228) + ACKNOWLEDGE,
}
# The same of Q.931 (src/h323.rs): a Setup takes 149 bytes, one with fast start 195, a Connect 105.
Q931 = {
    "q931-call": say(0) + send(0, 149) + say(0, 2, end=1) + send(0, 192, end=1) + say(5) + send(149, 62) + ACKNOWLEDGE,
    "q931-fast-start": say(1) + send(0, 195) + say(3, end=1) + send(0, 151, end=1) + ACKNOWLEDGE,
    "q931-cut-at-each-byte": say(0) + b"".join(send(at, 1) for at in range(149)) + send(0, 149) + ACKNOWLEDGE,
    "q931-cut-and-whole-again": say(0, 5) + send(0, 60) + send(60, 89) + send(0, 60) + send(149, 62) + ACKNOWLEDGE,
    "q931-several": say(6, 0, 6, 4) + send(0, 255) + send(255, 30) + say(8, 1, 2, end=1) + send(0, 197, end=1) + ACKNOWLEDGE,
    "q931-sent-again": (say(0) + send(0, 149)) * 2 + send(149, 149) + ACKNOWLEDGE,
    "q931-forwarded": say(2, 3, 8) + send(0, 146) + send(146, 149) + say(13, end=1) + send(0, 105, end=1) + ACKNOWLEDGE,
    "q931-progress": say(15) + send(0, 141) + say(5, 6, 4, end=1) + send(0, 253, end=1) + send(253, 76, end=1) + ACKNOWLEDGE,
    "q931-without-contents": say(11, 6, 0) + send(0, 163) + say(9, 2, end=1) + send(0, 222, end=1) + ACKNOWLEDGE,
    "q931-malformed": say(12, 0) + send(0, 160) + say(10, 2, end=1) + send(0, 112, end=1) + ACKNOWLEDGE,
    "q931-lengths": say(13, 0) + send(0, 153) + say(11, 2, end=1) + send(0, 114, end=1) + ACKNOWLEDGE,
    "q931-too-long": say(14, 0) + send(0, 153) + say(0) + send(153, 149) + ACKNOWLEDGE,
    "q931-is-http": say(7, 0) + send(0, 17) + send(17, 149) + ACKNOWLEDGE,
    "q931-times-out": say(0) + send(0, 149) + b"\xfb" + send(0, 149) + ACKNOWLEDGE,
}
# The same of H.245: an OpenLogicalChannel takes 23 bytes, or with media 30, its acknowledgement 27, one for T.120 46.
H245 = {
    "h245-channels": say(0, 1) + send(0, 37) + say(0, 2, end=1) + send(0, 57, end=1) + say(4) + send(37, 27) + ACKNOWLEDGE,
    "h245-t120": say(3, 3) + send(0, 92) + say(3, end=1) + send(0, 46, end=1) + ACKNOWLEDGE,
    "h245-cut-at-each-byte": say(2) + b"".join(send(at, 1) for at in range(30)) + send(0, 30) + ACKNOWLEDGE,
    "h245-cut-and-whole-again": say(2, 4) + send(0, 20) + send(20, 37) + send(0, 20) + ACKNOWLEDGE,
    "h245-nine-channels": say(*[1, 2, 4] * 3) + send(0, 240) + ACKNOWLEDGE,
    "h245-ports": say(5, 6, 7, 1) + send(0, 96) + say(5, 6, 11, end=1) + send(0, 77, end=1) + ACKNOWLEDGE,
    "h245-odd": say(8, 10, 11, 1) + send(0, 84) + say(7, 14, 10, 0, end=1) + send(0, 87, end=1) + ACKNOWLEDGE,
    "h245-without-an-end": say(12, 1) + send(0, 32) + say(12, 0, end=1) + send(0, 35, end=1) + ACKNOWLEDGE,
    "h245-lengths": say(14, 1) + send(0, 27) + say(9, 0, end=1) + send(0, 31, end=1) + ACKNOWLEDGE,
    "h245-is-http": say(13, 1) + send(0, 16) + send(16, 23) + say(13, 0, end=1) + send(0, 29, end=1) + ACKNOWLEDGE,
}
# What three bits of the first byte say of the protocol.
TALKS = [CONTROL, IRC, RTSP, SANE, PPTP, SIP_STREAM, Q931, H245]
SESSIONS = [(name, number << 5, orders) for number, talk in enumerate(TALKS) for name, orders in talk.items()]
for name, talk, orders in SESSIONS:
    # Classic and Linux, plain and translated, from the handshake on and picked up; across the wrap of sequence numbers or not.
    for choice in range(talk, talk + 8):
        for first in (b"\x00\x00", b"\xff\xf4"):
            path = directory / "helpers" / f"{name}.{choice}.{first.hex()}"
            path.write_bytes(bytes([choice]) + first + orders)


def asks(number):
    """The client sends a datagram, by its number in src/requests.rs."""
    return bytes([number])


def answers(port, payload=b"\0\x03\0\x01data"):
    """The server sends a datagram from a port of its own."""
    return bytes([0x80 | port, len(payload)]) + payload


WAIT = 0xf0
# What ends of TFTP may do.
REQUESTS = {
    "read": asks(0) + answers(1) + answers(1) + answers(2),
    "write": asks(1) + answers(1, b"\0\x06blksize\x001428\0") + answers(1),
    "asked-again": asks(0) + bytes([WAIT | 2]) + asks(0) + answers(1),
    "single-port": asks(0) + answers(0) + asks(4) + answers(1),
    "malformed": b"".join(asks(number) + asks(0) for number in range(16)) + answers(1),
    "raw": b"\x40\x10\0\x01a\0mail\0x\0\x30\0yz\0" + answers(1),
    "times-out": asks(0) + bytes([WAIT | 15]) + answers(1) + asks(0) + answers(1),
}
for name, orders in REQUESTS.items():
    for choice in range(8, 12):
        (directory / "helpers" / f"{name}.{choice}").write_bytes(bytes([choice]) + orders)


def says(number, end=0):
    """An end sends a text of its protocol, by its number in src/dialogues.rs."""
    return bytes([number << 1 | end])


def edited(number, at, removed, inserted=b"", end=0):
    """The same, with other bytes in the place of some of it; a place is four bytes."""
    return bytes([0x40 | number << 1 | end, at, removed, len(inserted)]) + inserted


# What ends of Amanda may do: the reply names its ports from the 11th place of four bytes on.
AMANDA = {
    "amanda": says(0) + says(0, end=1) + says(4, end=1),
    "amanda-ports": says(0) + says(1, end=1) + says(0, end=1) + bytes([WAIT | 7]) + says(1, end=1),
    "amanda-odd": says(0) + says(2, end=1) + says(3, end=1) + says(0, end=1),
    "amanda-asked-by-the-client": says(1) + says(5, end=1) + says(0, end=1),
    "amanda-cut": says(0) + edited(0, 13, 200, end=1) + edited(0, 12, 200, b"A 5", end=1) + says(0, end=1),
    "amanda-long-numbers": says(0) + edited(0, 13, 0, b"99999999", end=1) + says(0, end=1),
    "not-amanda": says(3) + says(0, end=1),
}
for name, orders in AMANDA.items():
    for choice in range(16, 20):
        (directory / "helpers" / f"{name}.{choice}").write_bytes(bytes([choice]) + orders)

# What ends of talk and ntalk may do: a client has somebody announced, and whoever was looks up the invitation at the same port.
TALK = {
    "announced": says(0) + says(0, end=1) + says(0) + bytes([WAIT | 7]) + says(0, end=1),
    "looked-up": says(1) + says(1, end=1) + says(2, end=1) + bytes([WAIT | 15]) + says(1, end=1),
    "both": says(0) + says(0, end=1) + says(1) + says(1, end=1) + says(3, end=1) + says(4, end=1),
    "answered-by-the-client": says(0) + says(2) + says(0, end=1),
    "cut": says(0) + edited(0, 5, 4, end=1) + says(0, end=1),
    "other-addresses": edited(0, 2, 4, b"\0\x02\0\x16") + edited(1, 2, 8, b"\2\0\x13\x89\xc6\x33\x64\x03", end=1),
    "nobody": edited(0, 11, 16, bytes(16)) + says(0, end=1),
    "something-else": says(3) + says(0, end=1),
}
for name, orders in TALK.items():
    for helper, first in (("talk", 80), ("ntalk", 112)):
        for choice in range(first, first + 4):
            (directory / "helpers" / f"{helper}-{name}.{choice}").write_bytes(bytes([choice]) + orders)

# What ends of SIP may do: the INVITE's description begins at its 77th place of four bytes.
SIP = {
    "sip-call": says(0) + says(0, end=1) + says(0) + says(5),
    "sip-cancelled": says(0) + says(7) + says(3, end=1),
    "sip-hold-and-multipart": says(0) + says(1) + says(2) + says(0, end=1) + bytes([WAIT | 7]) + says(0),
    "sip-registered": says(3) + says(1, end=1) + says(2, end=1) + says(5, end=1) + says(4) + says(1, end=1),
    "sip-refused": says(3) + says(4, end=1) + says(3) + bytes([WAIT | 15]) + says(2, end=1),
    "sip-keepalive": says(6) + says(0) + says(8) + says(0),
    "sip-lengths": b"".join(edited(0, 73, 8, number) + says(0) for number in (b"4294967328", b"-1", b"9", b"")),
    "sip-ports": b"".join(edited(0, 93, 8, text) for text in (b" 65535 x", b" 65536 x", b" 22 RTP/AV", b" x")),
    "sip-long-address": edited(0, 86, 4, b"2001:db8:ffff:ffff:ffff:ffff:ffff:ffff") + says(0),
    "sip-cut": b"".join(edited(0, at, 255) + edited(0, at, 255, b"\r\n\r\n") for at in range(0, 100, 7)),
}
for name, orders in SIP.items():
    for choice in range(48, 52):
        (directory / "helpers" / f"{name}.{choice}").write_bytes(bytes([choice]) + orders)

# What ends of RAS may do.
RAS = {
    "ras-registered": says(0) + says(0, end=1) + says(1) + says(2, end=1) + bytes([WAIT | 2]) + says(2) + says(3, end=1),
    "ras-refused": says(1) + says(4, end=1) + says(1) + says(6) + says(7, end=1) + says(1) + says(9, end=1),
    "ras-calls": says(1) + says(3) + says(5, end=1) + says(4) + says(6, end=1) + says(5) + says(8, end=1),
    "ras-another-gatekeeper": says(0) + says(1, end=1) + says(0) + says(0, end=1),
    "ras-others": says(7) + says(8) + says(1) + says(8, end=1),
    "ras-cut": b"".join(edited(1, at, 255) + edited(1, at, 4, b"\xff\xff") for at in range(24)),
    "ras-times-out": says(1) + bytes([WAIT | 15]) + says(2, end=1) + says(1),
    "not-ras": says(9) + says(1),
}
for name, orders in RAS.items():
    for choice in range(144, 148):
        (directory / "helpers" / f"{name}.{choice}").write_bytes(bytes([choice]) + orders)


# Records by themselves and in stream entries, as src/install.rs reads them; dataplane/conntrack/src/replica says what they are made of.
STATUS = {"seen-reply": 1, "assured": 2, "snat": 4, "dnat": 8, "eif": 16, "mapped": 32, "masqueraded": 64, "open": 128}


def record(original, reply, protocol, *status, kind=1, state=0, remaining_ms=100_000, tracker=bytes(8), helper=0):
    """A record of two tuples, each a source, a destination and their ports, padded to the length of one of IPv6."""
    addresses = [ipaddress.ip_address(address) for tuple in (original, reply) for address in tuple[:2]]
    is_v6 = addresses[0].version == 6
    inverse = (reply[1], reply[0], reply[3], reply[2])
    flags = is_v6 | (original != inverse) << 1
    bits = sum(STATUS[name] for name in status)
    head = struct.pack("<BBBBHHIIIII", kind, flags, protocol, state, 0, bits, remaining_ms, 7, 0, 1, 1)
    narrow = [0] * 4 if is_v6 else [int(address) for address in addresses]
    ports = [sport << 16 | dport for _, _, sport, dport in (original, reply)]
    head += struct.pack("<4I2I", *narrow, *ports) + tracker + bytes([helper, 0, 0, 0])
    return (head + b"".join(int(address).to_bytes(16, "little") for address in addresses if is_v6)).ljust(128, b"\0")


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def stream_entry(kind, sequence, *records):
    body = b"".join(records)
    head = struct.pack("<BBHIQQHHI", 1, 128, len(records), 1, sequence, 1, kind, 0, 0)
    return b"\0" + head[:28] + struct.pack("<I", crc32c(head + body)) + body


def connection(number):
    """A connection over UDP of a client with this number, translated to a port of its own."""
    return record((f"10.0.0.{number}", "192.0.2.1", 4000, 53), ("192.0.2.1", "203.0.113.9", 53, 2000 + number), 17,
                  "seen-reply", "assured", "snat")


TCP = record(("10.0.0.1", "192.0.2.1", 4000, 80), ("192.0.2.1", "10.0.0.1", 80, 4000), 6, "seen-reply", "assured", state=3,
             tracker=bytes([7, 7, 3, 3, 0, 0, 0, 0]))
MAPPED = record(("fd00::1", "2001:db8::1", 4000, 53), ("2001:db8::1", "2001:db8::9", 53, 4000), 17, "seen-reply", "assured",
                "snat", "mapped", "open")
ENTERED = record(("2001:db8::2", "2001:db8::9", 99, 4000), ("fd00::1", "2001:db8::2", 4000, 99), 17, "dnat", "eif")
ASSOCIATION = record(("10.0.0.1", "192.0.2.1", 1, 2), ("192.0.2.1", "10.0.0.1", 2, 1), 132, "seen-reply", "assured", state=4,
                     tracker=bytes([1, 0, 0, 0, 2, 0, 0, 0]))
CALL = record(("10.0.0.1", "192.0.2.1", 5, 6), ("192.0.2.1", "10.0.0.1", 7, 5), 47, "seen-reply", "dnat")
CLASH = record(("10.0.0.77", "192.0.2.1", 4000, 53), ("192.0.2.1", "203.0.113.9", 53, 2001), 17, "seen-reply", "snat")
PING = record(("10.0.0.1", "192.0.2.1", 7, 0x800), ("192.0.2.1", "10.0.0.1", 7, 0), 1, "seen-reply")


CONTROL = record(("10.0.0.1", "192.0.2.1", 4000, 21), ("192.0.2.1", "203.0.113.9", 21, 4000), 6, "seen-reply", "assured",
                 "snat", state=3, tracker=bytes([7, 7, 3, 3, 0, 0, 0, 0]), helper=1)


def helped(kind, of, state, remaining_ms, mark, tracker, body):
    """A record of what the helper of a connection of IPv4 has done: as its own, with 72 bytes behind the head."""
    head = struct.pack("<BBBB", kind, of[1], of[2], state) + of[4:8] + struct.pack("<III", remaining_ms, 0, mark) + of[20:52]
    return head + tracker + bytes(4) + body.ljust(72, b"\0")


# The client's data connection is expected from the server, at a port that the translation has chosen.
EXPECTED = helped(3, CONTROL, 0, 100_000, 0, bytes([1, 0, 6, 1, 5, 0, 0, 0]), b"".join(
    int(ipaddress.ip_address(address)).to_bytes(16, "little")
    for address in ("192.0.2.1", "203.0.113.9", "0.0.0.0", "10.0.0.1")) + struct.pack("<IHH", 5001, 5001, 0))
REWRITTEN = helped(4, CONTROL, 0, 0, 0, bytes([0, 18, 1, 0, 0, 0, 0, 0]),
                   b"203,0,113,9,19,137".ljust(64, b"\0") + struct.pack("<IHH", 1005, 5001, 17))


def end(of):
    return b"\x02" + of[1:3] + bytes(1) + of[4:6] + bytes(22) + of[28:52] + bytes(12) + of[64:]


def installed(*records, own=0):
    return b"".join(bytes([0x40 | own]) + one.ljust(200, b"\0") for one in records)


INSTALL = {
    "each-protocol": installed(TCP, MAPPED, ENTERED, ASSOCIATION, CALL, PING),
    "of-the-box-itself": installed(TCP, MAPPED, ENTERED, ASSOCIATION, CALL, PING, own=1),
    "told-twice": installed(TCP, TCP, MAPPED, MAPPED, ENTERED, ENTERED),
    "and-ended": installed(TCP, MAPPED, ENTERED, end(ENTERED), end(MAPPED), end(TCP)),
    "beyond-the-quota": installed(*(connection(number) for number in range(1, 31))),
    "beyond-the-table": installed(*(connection(number) for number in range(1, 31)), own=1),
    "tuples-that-clash": installed(connection(1), CLASH, connection(1), end(CLASH), end(connection(1))),
    "a-bulk": installed(connection(1), connection(2)) + b"\xd0" + installed(connection(2), connection(3)) + b"\xd1\xcf",
    "taken-over": b"\xe0" + installed(TCP, PING) + b"\xe1\xcb",
    "runs-out": installed(TCP, MAPPED, ENTERED, PING) + b"\xc8\xca\xcb\xcc\xcd",
    "what-helpers-have-done": installed(CONTROL, EXPECTED, REWRITTEN, CONTROL, EXPECTED) + b"\xe0" + installed(EXPECTED, REWRITTEN, end(CONTROL)),
    "helped-and-of-the-box-itself": installed(CONTROL, REWRITTEN, EXPECTED, own=1) + b"\xc8\xcb",
    "a-stream": stream_entry(2, 1) + stream_entry(1, 2, TCP, MAPPED) + stream_entry(0, 3, ENTERED, end(TCP)) + stream_entry(3, 4),
    "a-stream-with-a-gap": stream_entry(0, 1, TCP) + stream_entry(0, 9, MAPPED) + stream_entry(0, 5, end(TCP)) + stream_entry(99, 10),
}
for name, orders in INSTALL.items():
    # Wired and routed, with translation and without, one shard and two.
    for choice in (b"\x03", b"\x82", b"\x97", b"\xce"):
        for shards in (0, 1):
            (directory / "install" / f"{name}.{choice.hex()}.{shards}").write_bytes(choice + bytes([shards]) + orders)
