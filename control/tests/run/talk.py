#!/usr/bin/env python3
"""Hosts of two users of ntalk: talk.py called ADDRESS, or talk.py caller OWN_ADDRESS ADDRESS_OF_THE_CALLED.

The caller has the daemon of the called one announce him, and, as talk does, announce him again. Then the called one looks up the
invitation at the caller's daemon, and calls the caller, who says what he gets back. All are one program on either host: its
daemon, and the user's client.
"""
import socket
import struct
import sys
import threading

PORT = 518
VERSION = 1
LOOK_UP, ANNOUNCE = 1, 3
SUCCESS = 0

# The head of a message, a sockaddr_in, and what is behind two of them in a request: process, names and terminal.
HEAD = struct.Struct(">BBBBI")
ADDRESS = struct.Struct(">HH4s8x")
REST = struct.Struct(">I12s12s16s")
NOWHERE = ("0.0.0.0", 0)


def sockaddr(address):
    return ADDRESS.pack(socket.AF_INET, address[1], socket.inet_aton(address[0]))


def address(message, number):
    """The first or second address of a message."""
    family, port, host = ADDRESS.unpack_from(message, HEAD.size + number * ADDRESS.size)
    assert family == socket.AF_INET, message
    return socket.inet_ntoa(host), port


def datagrams(own, port=0):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(3)
    udp.bind((own, port))
    return udp


def ask(udp, daemon, kind, talk, number=1):
    """Has a daemon answer, which answers to the address that it is told; as talk does, asks again until it does."""
    head, addresses = HEAD.pack(VERSION, kind, 0, 0, number), sockaddr(talk) + sockaddr(udp.getsockname())
    for _ in range(20):
        udp.sendto(head + addresses + REST.pack(1, b"alice", b"bob", b""), daemon)
        try:
            answer, _ = udp.recvfrom(1500)
            break
        except TimeoutError:
            pass
    assert HEAD.unpack_from(answer)[:3] == (VERSION, kind, SUCCESS), answer
    return answer


def serve(udp, invitation, announced):
    """A daemon: tells of an invitation, and has those called, once, who are announced a second time."""
    called = False
    while True:
        request, sender = udp.recvfrom(1500)
        _, kind, _, _, number = HEAD.unpack_from(request)
        assert address(request, 1) == sender, "it is answered where it comes from"
        udp.sendto(HEAD.pack(VERSION, kind, SUCCESS, 0, 1) + sockaddr(invitation), sender)
        if kind == ANNOUNCE and number > 1 and not called:
            called = True
            announced(address(request, 0)[0])


def called(own):
    def call(caller):
        invitation = ask(datagrams(own), (caller, PORT), LOOK_UP, NOWHERE)
        with socket.create_connection(address(invitation, 0), timeout=10, source_address=(own, 0)) as talk:
            talk.sendall(talk.recv(1500))

    daemon = datagrams(own, PORT)
    daemon.settimeout(None)
    serve(daemon, NOWHERE, lambda caller: threading.Thread(target=call, args=(caller,), daemon=True).start())


def caller(own, other):
    listener = socket.create_server((own, 0))
    listener.settimeout(60)
    daemon = datagrams(own, PORT)
    daemon.settimeout(None)
    where = listener.getsockname()
    threading.Thread(target=serve, args=(daemon, where, None), daemon=True).start()
    udp = datagrams(own)
    for number in (1, 2):
        ask(udp, (other, PORT), ANNOUNCE, where, number)
    talk, _ = listener.accept()
    talk.sendall(b"hello")
    assert talk.recv(1500) == b"hello"


if __name__ == "__main__":
    if sys.argv[1] == "called":
        called(sys.argv[2])
    else:
        caller(sys.argv[2], sys.argv[3])
