"""An IRC client that sends a file by DCC, or waits for one: dcc.py send|get SERVER OWN-ADDRESS FILE

Whoever gets the file is `bob`, and says so by a message to `alice`, who then sends hers.
"""
import os
import socket
import struct
import sys

import irc.client


class Client(irc.client.SimpleIRCClient):
    """What both have in common: the library binds to what its host's name leads to, which in a namespace is nothing."""

    def __init__(self, address, file):
        super().__init__()
        socket.gethostname = lambda: address
        self.file = file
        self.count = 0

    def on_disconnect(self, connection, event):
        sys.exit(0)


class Alice(Client):
    def on_welcome(self, connection, event):
        print("registered", flush=True)

    def on_privmsg(self, connection, event):
        with open(self.file, "rb") as file:
            self.content = file.read()
        self.dcc = self.dcc_listen("raw")
        address = irc.client.ip_quad_to_numstr(self.dcc.localaddress)
        offer = f"SEND {os.path.basename(self.file)} {address} {self.dcc.localport} {len(self.content)}"
        connection.ctcp("DCC", "bob", offer)

    def on_dcc_connect(self, connection, event):
        # Its sends may be short ones.
        connection.socket.sendall(self.content)

    def on_dccmsg(self, connection, event):
        # The peer says after each read how much it has.
        if struct.unpack("!I", event.arguments[0][-4:])[0] == len(self.content):
            connection.disconnect()
            self.connection.quit()


class Bob(Client):
    def on_welcome(self, connection, event):
        self.got = open(self.file, "wb")
        connection.privmsg("alice", "ready")

    def on_ctcp(self, connection, event):
        _, _, address, port, _ = event.arguments[1].split()
        self.dcc_connect(irc.client.ip_numstr_to_quad(address), int(port), "raw")

    def on_dccmsg(self, connection, event):
        self.got.write(event.arguments[0])
        self.count += len(event.arguments[0])
        connection.send_bytes(struct.pack("!I", self.count))

    def on_dcc_disconnect(self, connection, event):
        self.got.close()
        self.connection.quit()


role, server, address, file = sys.argv[1:]
client, nick = (Alice, "alice") if role == "send" else (Bob, "bob")
client = client(address, file)
client.connect(server, 6667, nick)
client.start()
