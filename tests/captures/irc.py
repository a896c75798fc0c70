#!/usr/bin/env python3
"""Two IRC clients for record.sh: alice, inside, offers bob, outside, a file by DCC SEND; bob fetches it.

A DCC offer is a PRIVMSG to the peer, quoted by \\x01: DCC SEND NAME ADDRESS PORT SIZE, where ADDRESS is
the IPv4 address as one decimal number. The receiver connects there, and acknowledges each read by the
number of bytes it has in all, as 32 bits in network order.
"""

import socket
import struct
import sys

SERVER = ("irc.example.org", 6667)
ALICE = "10.0.0.2"
BOB = "198.51.100.3"
FILE = b"".join(b"Line %05d of a file by DCC.\n" % line for line in range(400))


class Client:
    """A connection to the server, registered by a nickname and in the channel where both meet."""

    def __init__(self, nick, server):
        self.stream = socket.create_connection(server)
        self.lines = self.stream.makefile("r", newline="\r\n")
        self.send(f"NICK {nick}")
        self.send(f"USER {nick} 0 * :{nick}")
        self.wait_for(" 001 ")
        self.send("JOIN #sample")

    def send(self, line):
        self.stream.sendall(line.encode() + b"\r\n")

    def wait_for(self, part):
        """Returns the first line that holds `part`; answers the server's PINGs until then."""
        for line in self.lines:
            if line.startswith("PING"):
                self.send("PONG" + line.rstrip()[4:])
            if part in line:
                return line.rstrip()
        raise EOFError(f"the server closed before it sent {part!r}")


def alice():
    client = Client("alice", SERVER)
    client.wait_for("bob")  # among the names of the channel, or as he joins it
    with socket.create_server((ALICE, 0)) as listener:
        address = struct.unpack("!I", socket.inet_aton(ALICE))[0]
        port = listener.getsockname()[1]
        client.send(f"PRIVMSG bob :\x01DCC SEND file.txt {address} {port} {len(FILE)}\x01")
        transfer, _ = listener.accept()
    with transfer:
        transfer.sendall(FILE)
        while struct.unpack("!I", transfer.recv(4, socket.MSG_WAITALL))[0] < len(FILE):
            pass
    client.wait_for("no such line: she stays until the recording ends")


def bob():
    # He shares the server's namespace: of what he does, only the transfer passes the box.
    client = Client("bob", ("198.51.100.2", 6667))
    offer = client.wait_for("DCC SEND").rstrip("\x01").split()
    address, port, size = (int(word) for word in offer[-3:])
    peer = (socket.inet_ntoa(struct.pack("!I", address)), port)
    received = 0
    with socket.create_connection(peer, source_address=(BOB, 0)) as transfer:
        while received < size:
            received += len(transfer.recv(4096))
            transfer.sendall(struct.pack("!I", received))
    client.send("QUIT")


{"alice": alice, "bob": bob}[sys.argv[1]]()
