#!/usr/bin/env python3
"""Ends of H.323 (ITU-T H.225.0, H.245): h323.py called ADDRESS, h323.py caller OWN_ADDRESS CALLED, or, for calls through a gatekeeper,
h323.py gatekeeper ADDRESS and h323.py registered OWN_ADDRESS GATEKEEPER.

A call is Setup and Connect, then each end opens a channel of sound over H.245 and sends it packets of RTP and RTCP, which the other
one sends back. They come to where an end has said, from any of the other's ports. Who is registered waits to be called by its gatekeeper.
"""
import contextlib
import select
import socket
import sys

SIGNALLING, REGISTRATION = 1720, 1719
PACKETS = 20

# Messages as an encoder of ASN.1 has made them. Where eeeeee01ee01 stands an endpoint belongs, where eeeeee02ee02 another.
# Setup: destCallSignalAddress, sourceCallSignalAddress, with h245Address the third. Connect: h245Address.
SETUP = (
    "030000950802123405a104038893a52806616c696365007e007b0520f8060008914a000400eeeeee03ee030240040061006c"
    "00690063006501807a4422c0b500534c0470686f6e6502312e30000100807500eeeeee01ee0100000102030405060708090a"
    "0b0c0d0e0f00dd0d8000000700eeeeee02ee021100000102030405060708090a0b0c0d0e0f010001000100010010800100"
)
CONNECT = (
    "030000690802123407a104038893a52806616c696365007e004f0522c0060008914a000400eeeeee01ee0122c0b500534c04"
    "70686f6e6502312e3000000102030405060708090a0b0c0d0e0f1f0c001100000102030405060708090a0b0c0d0e0f010001"
    "0010800100"
)
# OpenLogicalChannel: mediaControlChannel. OpenLogicalChannelAck: mediaChannel, mediaControlChannel.
OPEN = "03000017030000640c6013800a04000100eeeeee01ee01"
OPEN_ACK = "0300001b22c000640680101c0000eeeeee01ee0100eeeeee02ee02"
# RegistrationRequest: callSignalAddress, rasAddress. RegistrationConfirm: callSignalAddress of the gatekeeper.
REGISTRATION_REQUEST = (
    "0ec00006060008914a0004800100eeeeee01ee010100eeeeee02ee0222c0b500534c0470686f6e6502312e30000240040061"
    "006c00690063006501807a44020067006b60b500534c0470686f6e6502312e30340b0002000100010001000100"
)
REGISTRATION_CONFIRM = (
    "12c00006060008914a00040100eeeeee01ee010240040061006c00690063006501807a44020067006b100031003200330034"
    "005f0065006e00640070260a000001000100"
)


def place(number):
    return f"eeeeee{number:02x}ee{number:02x}"


def message(template, *endpoints):
    for number, (host, port) in enumerate(endpoints, 1):
        template = template.replace(place(number), socket.inet_aton(host).hex() + f"{port:04x}")
    return bytes.fromhex(template)


def endpoints(template, said):
    """The endpoints of a message that is like the template but for them, in the order of their numbers."""
    assert len(said) == len(template) // 2, (template, said.hex())
    found = []
    for number in range(1, 4):
        at = template.find(place(number)) // 2
        if at >= 0:
            found.append((socket.inet_ntoa(said[at:at + 4]), int.from_bytes(said[at + 4:at + 6], "big")))
    return found


def receive(stream):
    """The next message: how long it is stands in front of it (RFC 1006)."""
    head = stream.recv(4, socket.MSG_WAITALL)
    return head + stream.recv(int.from_bytes(head[2:], "big") - 4, socket.MSG_WAITALL)


def datagrams(own, port=0):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(10)
    udp.bind((own, port))
    return udp


def media(own):
    """Sockets of RTP, whose port is even, and of RTCP at the next one."""
    while True:
        rtp = datagrams(own)
        port = rtp.getsockname()[1]
        if port % 2 == 0:
            with contextlib.suppress(OSError):
                return rtp, datagrams(own, port + 1)


def channels(h245, own, sends_first):
    """Opens a channel to either end, and sends through it."""
    rtp, rtcp = media(own)
    h245.sendall(message(OPEN, rtcp.getsockname()))
    [their_rtcp] = endpoints(OPEN, receive(h245))
    h245.sendall(message(OPEN_ACK, rtp.getsockname(), rtcp.getsockname()))
    [their_rtp, same] = endpoints(OPEN_ACK, receive(h245))
    assert same == their_rtcp, (same, their_rtcp)
    for number in range(PACKETS):
        for udp, to in [(rtp, their_rtp), (rtcp, their_rtcp)]:
            payload = f"{number} to {to}".encode()
            if sends_first:
                udp.sendto(payload, to)
                came, (source, _) = udp.recvfrom(1500)
                assert (came, source) == (payload, to[0]), (came, source, to)
            else:
                came, (source, _) = udp.recvfrom(1500)
                assert source == to[0], (source, to)
                udp.sendto(came, to)
    h245.sendall(b"end.")
    assert h245.recv(4, socket.MSG_WAITALL) == b"end."


def call(own, called):
    """Calls an end."""
    with socket.create_server((own, 0)) as unused, \
            socket.create_connection(called, timeout=10, source_address=(own, 0)) as q931:
        q931.sendall(message(SETUP, called, (own, SIGNALLING), unused.getsockname()))
        [h245] = endpoints(CONNECT, receive(q931))
        with socket.create_connection(h245, timeout=10, source_address=(own, 0)) as h245:
            channels(h245, own, sends_first=True)


def answer(listener, own):
    """Answers one call."""
    q931, _ = listener.accept()
    with q931, socket.create_server((own, 0)) as h245:
        [called, _, _] = endpoints(SETUP, receive(q931))
        assert called == listener.getsockname(), called
        q931.sendall(message(CONNECT, h245.getsockname()))
        h245, _ = h245.accept()
        with h245:
            channels(h245, own, sends_first=False)


def gatekeeper(own):
    """Confirms registrations, and calls whoever is registered."""
    ras = datagrams(own, REGISTRATION)
    while True:
        ready, _, _ = select.select([ras], [], [])
        said, source = ready[0].recvfrom(1500)
        [signalling, their_ras] = endpoints(REGISTRATION_REQUEST, said)
        assert their_ras == source, (their_ras, source)
        ras.sendto(message(REGISTRATION_CONFIRM, (own, SIGNALLING)), source)
        call(own, signalling)


def registered(own, keeper):
    """Registers, and is called."""
    with datagrams(own) as ras, socket.create_server((own, 0)) as listener:
        ras.sendto(message(REGISTRATION_REQUEST, listener.getsockname(), ras.getsockname()), (keeper, REGISTRATION))
        [_] = endpoints(REGISTRATION_CONFIRM, ras.recv(1500))
        answer(listener, own)


def serve(own):
    with socket.create_server((own, SIGNALLING)) as listener:
        while True:
            answer(listener, own)


if __name__ == "__main__":
    role, *addresses = sys.argv[1:]
    if role == "called":
        serve(*addresses)
    elif role == "caller":
        call(addresses[0], (addresses[1], SIGNALLING))
    elif role == "gatekeeper":
        gatekeeper(*addresses)
    else:
        registered(*addresses)
