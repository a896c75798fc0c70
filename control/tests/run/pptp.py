#!/usr/bin/env python3
"""Ends of PPTP (RFC 2637): pptp.py server ADDRESS, or pptp.py client SERVER OWN_ADDRESS ...

A client makes a call from each of its addresses, all by the same call id, sends packets in all of them, and checks what
comes back. Then it clears the calls. The server sends back what comes in a call.
"""
import itertools
import socket
import struct
import sys
import threading

PORT = 1723
MAGIC = 0x1A2B3C4D
START_REQUEST, START_REPLY = 1, 2
CALL_REQUEST, CALL_REPLY = 7, 8
CLEAR_REQUEST, DISCONNECT_NOTIFY = 12, 13
DONE = 1

# Flags of enhanced GRE: it has a key and a number, and is of version 1. What it carries is PPP.
GRE = struct.Struct(">HHHHI")
FLAGS, PPP = 0x3001, 0x880B

CALL_ID = 7
PACKETS = 20


def receive(stream):
    """The type and the body of the next message."""
    head = stream.recv(12, socket.MSG_WAITALL)
    if len(head) < 12:
        return None, b""
    length, _, magic, kind, _ = struct.unpack(">HHIHH", head)
    assert magic == MAGIC
    return kind, stream.recv(length - 12, socket.MSG_WAITALL)


def send(stream, kind, body):
    stream.sendall(struct.pack(">HHIHH", 12 + len(body), 1, MAGIC, kind, 0) + body)


def tunnel(address):
    """What packets of calls come to at this address, and leave by."""
    gre = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_GRE)
    gre.bind((address, 0))
    gre.settimeout(10)
    return gre


def packet(call, number, payload):
    return GRE.pack(FLAGS, PPP, len(payload), call, number) + payload


def contents(raw):
    """The call and the payload of a packet, behind its IP header."""
    gre = raw[(raw[0] & 15) * 4:]
    flags, protocol, length, call, _ = GRE.unpack_from(gre)
    assert (flags, protocol) == (FLAGS, PPP)
    return call, gre[GRE.size:GRE.size + length]


def serve(address):
    calls, ids = {}, itertools.count(1000)

    def talk(stream):
        while True:
            kind, body = receive(stream)
            if kind is None:
                return
            if kind == START_REQUEST:
                send(stream, START_REPLY, struct.pack(">HBBIIHH128s", 0x100, DONE, 0, 3, 3, 0, 0, b"server"))
            elif kind == CALL_REQUEST:
                call, theirs = next(ids), struct.unpack_from(">H", body)[0]
                calls[call] = theirs
                send(stream, CALL_REPLY, struct.pack(">HHBBHIHHI", call, theirs, DONE, 0, 0, 64000, 64, 0, 0))
            elif kind == CLEAR_REQUEST:
                assert struct.unpack_from(">H", body)[0] == calls[call]
                send(stream, DISCONNECT_NOTIFY, struct.pack(">HBBHH128s", call, 4, 0, 0, 0, b""))

    def echo():
        gre = tunnel(address)
        gre.settimeout(None)
        for number in itertools.count():
            raw, (source, _) = gre.recvfrom(65535)
            call, payload = contents(raw)
            gre.sendto(packet(calls[call], number, payload), (source, 0))

    threading.Thread(target=echo, daemon=True).start()
    with socket.create_server((address, PORT)) as listener:
        while True:
            threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()


def call(server, own):
    """A stream with a call, by which the server knows it, and what its packets go through."""
    gre = tunnel(own)
    stream = socket.create_connection((server, PORT), timeout=10, source_address=(own, 0))
    send(stream, START_REQUEST, struct.pack(">HHIIHH128s", 0x100, 0, 3, 3, 0, 0, b"client"))
    assert receive(stream)[0] == START_REPLY
    request = struct.pack(">HHIIIIHHHH128s", CALL_ID, 1, 300, 10**8, 3, 3, 64, 0, 0, 0, b"")
    send(stream, CALL_REQUEST, request)
    kind, body = receive(stream)
    theirs, ours, result = struct.unpack_from(">HHB", body)
    assert (kind, ours, result) == (CALL_REPLY, CALL_ID, DONE), (kind, ours, result)
    return stream, theirs, gre


def play(server, addresses):
    calls = [(own, *call(server, own)) for own in addresses]
    for number in range(PACKETS):
        for own, _, theirs, gre in calls:
            payload = f"{number} of {own}".encode()
            gre.sendto(packet(theirs, number, payload), (server, 0))
            came = contents(gre.recv(65535))
            assert came == (CALL_ID, payload), (came, payload)
    for _, stream, _, _ in calls:
        send(stream, CLEAR_REQUEST, struct.pack(">HH", CALL_ID, 0))
        assert receive(stream)[0] == DISCONNECT_NOTIFY
        stream.close()


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve(sys.argv[2])
    else:
        play(sys.argv[2], sys.argv[3:])
