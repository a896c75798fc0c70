"""What hosts of the tests say to one another: servers that send back what comes, and clients that check it.

usage: peers.py tcp-server PORT | tcp-client ADDRESS PORT CONNECTIONS | udp-server PORT | udp-client ADDRESS PORT FLOWS [BYTES]

A TCP client keeps all its connections busy. For each line on standard input it prints one when every connection has sent
a whole block since, and got it back. It closes the connections, and ends, when its input does.

A UDP client asks on one flow after the other, each until it is answered, and prints how many were. It asks in so many
bytes, or more.
"""
import os
import socket
import sys
import threading

ANY = "::"
BLOCK = 16384
# Longer than any datagram.
DATAGRAM = 65536
# Seconds until a client gives up.
PATIENCE = 60


def tcp_server(port):
    with socket.create_server((ANY, int(port)), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        while True:
            threading.Thread(target=send_back, args=[server.accept()[0]], daemon=True).start()


def send_back(connection):
    with connection:
        while data := connection.recv(BLOCK):
            connection.sendall(data)


class Connection(threading.Thread):
    def __init__(self, address, port, turned):
        super().__init__(daemon=True)
        self.socket = socket.create_connection((address, int(port)), PATIENCE)
        self.turned = turned
        self.rounds = 0
        self.closing = False

    def run(self):
        with self.socket:
            while not self.closing:
                self.send_and_get()
                with self.turned:
                    self.rounds += 1
                    self.turned.notify_all()
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.recv(1)

    def send_and_get(self):
        block = os.urandom(BLOCK)
        self.socket.sendall(block)
        back = b""
        while len(back) < BLOCK:
            piece = self.socket.recv(BLOCK - len(back))
            if not piece:
                raise ConnectionError("the server has closed")
            back += piece
        if back != block:
            raise ConnectionError("other bytes came back")


def tcp_client(address, port, connections):
    turned = threading.Condition()
    opened = [Connection(address, port, turned) for _ in range(int(connections))]
    for connection in opened:
        connection.start()
    for _ in sys.stdin:
        with turned:
            # A round that has begun does not count.
            goals = [connection.rounds + 2 for connection in opened]
            if not turned.wait_for(lambda: all_reached(opened, goals), PATIENCE):
                sys.exit("a connection is stuck")
        print("whole", flush=True)
    for connection in opened:
        connection.closing = True
    for connection in opened:
        connection.join()


def all_reached(connections, goals):
    return all(connection.rounds >= goal for connection, goal in zip(connections, goals))


def udp_server(port):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as server:
        server.bind((ANY, int(port)))
        while True:
            server.sendto(*server.recvfrom(DATAGRAM))


def asked(flow, question):
    """Whether the answer has come within a second."""
    flow.send(question)
    try:
        return flow.recv(DATAGRAM) == question
    except TimeoutError:
        return False


def udp_client(address, port, flows, length=0):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    # All of them stay open, so that each has a port of its own.
    sockets = []
    for number in range(int(flows)):
        flow = socket.socket(family, socket.SOCK_DGRAM)
        flow.settimeout(1)
        flow.connect((address, int(port)))
        sockets.append(flow)
        question = (b"%d" % number).ljust(int(length), b"?")
        if not any(asked(flow, question) for _ in range(PATIENCE)):
            sys.exit("no answer")
    print(len(sockets))


PROGRAMS = {"tcp-server": tcp_server, "tcp-client": tcp_client, "udp-server": udp_server, "udp-client": udp_client}
PROGRAMS[sys.argv[1]](*sys.argv[2:])
