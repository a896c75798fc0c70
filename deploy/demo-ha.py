"""Traffic of demo-ha.sh: a server that sends back what comes, and a client that sees how long each kind of traffic stands still.

usage: demo-ha.py serve PORT | measure ADDRESS PORT CONNECTIONS SECONDS SESSION SUMMARY RUN | watch PROCESSOR

The client opens the TCP connections, a flow of UDP, iperf3 and SESSION, a command that gives back what it is given. It prints a line when
all of them are under way, and reads one just before the box ends. When iperf3 has ended it prints a table, and adds to SUMMARY, of JSON, what
came of this RUN. Beside what stood still there is the same of the machine's processors, each of which something asks each millisecond: a guest whose
host lets its processors rest for a tenth of a second has the traffic rest as long, whatever the boxes do.
"""
import json
import os
import select
import selectors
import shlex
import socket
import subprocess
import sys
import time

# Seconds between two bytes on each TCP connection, two datagrams, and two keys of the session.
TCP_PERIOD = 1.0
UDP_PERIOD = 0.001
KEY_PERIOD = 0.01
# Seconds until a connection that does not answer is lost.
PATIENCE = 10
# What stands still from within so many seconds of the end of a box on does so for that.
AT_ONCE = 1.0
# Seconds of an interval that iperf3 counts: the shortest that it knows.
INTERVAL = 0.1


def serve(port):
    """Sends back what comes, of TCP and of UDP."""
    listener = socket.create_server(("", int(port)), backlog=4096)
    flows = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flows.bind(("", int(port)))
    ready = selectors.DefaultSelector()
    for one in (listener, flows):
        ready.register(one, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is listener:
                ready.register(listener.accept()[0], selectors.EVENT_READ)
            elif key.fileobj is flows:
                flows.sendto(*flows.recvfrom(2048))
            else:
                send_back(key.fileobj, ready)


def send_back(connection, ready):
    try:
        data = connection.recv(2048)
    except ConnectionError:
        data = b""
    if data:
        connection.sendall(data)
    else:
        ready.unregister(connection)
        connection.close()


class Stillness:
    """The longest time between two answers since the box was killed: for that, and later."""

    def __init__(self):
        self.last = time.monotonic()
        self.longest = self.later = 0.0

    def answered(self, now, killed):
        if killed is not None and now > killed:
            if self.last < killed + AT_ONCE:
                self.longest = max(self.longest, now - self.last)
            else:
                self.later = max(self.later, now - self.last)
        self.last = now


def watch(processor):
    """Says how long a processor stood still since it was told of the end of a box, and later, when there is no more to be told."""
    os.sched_setaffinity(0, {int(processor)})
    still, killed = Stillness(), None
    while True:
        told, _, _ = select.select([sys.stdin], [], [], UDP_PERIOD)
        now = time.monotonic()
        still.answered(now, killed)
        if told:
            if not sys.stdin.readline():
                break
            killed = now
    print(still.longest, still.later)


class Processors:
    """Those of the machine, each of which is watched."""

    def __init__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.watched = [
            subprocess.Popen([sys.executable, __file__, "watch", str(one)], **pipes)
            for one in sorted(os.sched_getaffinity(0))
        ]

    def killed(self):
        for one in self.watched:
            one.stdin.write("killed\n")
            one.stdin.flush()

    def stood_still(self):
        """Seconds that one of them stood still for the end of the box, and later."""
        said = [one.communicate()[0].split() for one in self.watched]
        return [max(map(float, each)) for each in zip(*said)]


class Connection:
    """A TCP connection, on which a byte is asked for at a time."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, PATIENCE)
        self.socket.setblocking(False)
        self.asked = None
        self.answers = 0
        self.is_lost = False

    def ask(self, now):
        if self.asked is not None or self.is_lost:
            return
        self.asked = now
        try:
            self.socket.send(b"?")
        except OSError:
            self.is_lost = True

    def take(self, now):
        """How long the answer took; `None` if there was none."""
        try:
            came = self.socket.recv(2048)
        except OSError:
            came = b""
        if not came or self.asked is None:
            self.is_lost = True
            return None
        took, self.asked = now - self.asked, None
        self.answers += 1
        return took


class Client:
    """All traffic of the demonstration, and what became of it."""

    def __init__(self, address, connections, seconds, session):
        self.ready = selectors.DefaultSelector()
        self.connections = [Connection(address) for _ in range(connections)]
        self.flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.flow.connect(address)
        self.flow.setblocking(False)
        self.session = subprocess.Popen(shlex.split(session), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        for one in self.connections:
            self.ready.register(one.socket, selectors.EVENT_READ, lambda now, one=one: self.take_tcp(one, now))
        self.ready.register(self.flow, selectors.EVENT_READ, self.take_udp)
        self.ready.register(self.session.stdout, selectors.EVENT_READ, self.take_keys)
        self.ready.register(sys.stdin, selectors.EVENT_READ, self.take_word)
        self.killed = None
        self.processors = Processors()
        self.longest_tcp = 0.0
        self.udp, self.keys = Stillness(), Stillness()
        self.is_session_lost = False
        self.begun = time.monotonic()
        self.load = b""
        self.is_loaded = True
        self.iperf3_command = ["iperf3", "-c", address[0], "-R", "-J", "-b", "50M", "-i", str(INTERVAL), "-t", str(seconds)]

    def begin_load(self):
        """Starts iperf3, which comes to its end by itself."""
        self.begun = time.monotonic()
        self.iperf3 = subprocess.Popen(self.iperf3_command, stdout=subprocess.PIPE)
        self.ready.register(self.iperf3.stdout, selectors.EVENT_READ, self.take_load)

    def take_tcp(self, one, now):
        took = one.take(now)
        if one.is_lost:
            self.ready.unregister(one.socket)
        elif self.killed is not None and now > self.killed:
            self.longest_tcp = max(self.longest_tcp, took)

    def take_udp(self, now):
        try:
            self.flow.recv(2048)
        except OSError:
            return
        self.udp.answered(now, self.killed)

    def take_keys(self, now):
        if self.session.stdout.read(2048):
            self.keys.answered(now, self.killed)
        else:
            self.is_session_lost = True
            self.ready.unregister(self.session.stdout)

    def take_word(self, now):
        sys.stdin.readline()
        self.killed = now
        self.processors.killed()
        self.ready.unregister(sys.stdin)

    def take_load(self, _):
        piece = self.iperf3.stdout.read1(65536)
        self.load += piece
        if not piece:
            self.ready.unregister(self.iperf3.stdout)
            self.is_loaded = False

    def is_under_way(self):
        return all(one.answers for one in self.connections) and self.keys.last > self.begun

    def run(self):
        """Keeps all of it busy until iperf3 ends, and waits for the last answers."""
        asked_tcp = asked_udp = asked_keys = time.monotonic()
        turn, said = 0, False
        while self.is_loaded:
            now = time.monotonic()
            while asked_tcp < now:
                self.connections[turn % len(self.connections)].ask(now)
                turn += 1
                asked_tcp += TCP_PERIOD / len(self.connections)
            if asked_udp < now:
                asked_udp = now + UDP_PERIOD
                self.send_datagram()
            if asked_keys < now and not self.is_session_lost:
                asked_keys = now + KEY_PERIOD
                self.press_key()
            self.take_in(UDP_PERIOD)
            if not said and self.is_under_way():
                said = True
                self.begin_load()
                print("under way", flush=True)
        # All are asked at once at last, which takes a while: a datagram whose answer waits for that has not stood still.
        self.ready.unregister(self.flow)
        if not self.is_session_lost:
            self.ready.unregister(self.session.stdout)
        end = time.monotonic() + PATIENCE
        for one in self.connections:
            one.ask(time.monotonic())
        while time.monotonic() < end and any(one.asked and not one.is_lost for one in self.connections):
            self.take_in(UDP_PERIOD)

    def send_datagram(self):
        try:
            self.flow.send(b"?")
        except OSError:
            pass

    def press_key(self):
        try:
            self.session.stdin.write(b"k")
        except BrokenPipeError:
            self.is_session_lost = True

    def take_in(self, timeout):
        for key, _ in self.ready.select(timeout):
            key.data(time.monotonic())

    def iperf3_stood_still(self):
        """Seconds in which iperf3 received nothing since the box was killed, in steps of its intervals; `None` if it failed."""
        report = json.loads(self.load)
        if "error" in report or not report["intervals"]:
            return None
        longest = still = 0.0
        for interval in (each["sum"] for each in report["intervals"]):
            is_after = self.killed is not None and self.begun + interval["end"] > self.killed
            still = still + interval["seconds"] if is_after and interval["bytes"] == 0 else 0.0
            longest = max(longest, still)
        return longest

    def is_answered(self):
        """Whether datagrams were still sent back at the end."""
        return time.monotonic() - self.udp.last < PATIENCE

    def lost(self):
        return sum(one.is_lost or one.asked is not None for one in self.connections)


def measure(address, port, connections, seconds, session, summary, run):
    client = Client((address, int(port)), int(connections), seconds, session)
    client.run()
    if client.killed is None:
        sys.exit("the traffic came to its end before the box was killed: the machine is too busy")
    load, host = client.iperf3_stood_still(), client.processors.stood_still()
    client.session.kill()
    count, lost = len(client.connections), client.lost()
    ms = lambda still: "-" if still is None else f"{still * 1000:.0f} ms"
    rows = [
        ("", "connections", "survived", "stood still", "later"),
        ("UDP, a datagram each millisecond", 1, int(client.is_answered()), ms(client.udp.longest), ms(client.udp.later)),
        ("TCP, a request a second, the slowest", count, count - lost, ms(client.longest_tcp), ""),
        ("iperf3, 50 Mbit/s, in steps of 100 ms", 1, int(load is not None), ms(load), ""),
        ("SSH, a key each 10 ms", 1, int(not client.is_session_lost), ms(client.keys.longest), ms(client.keys.later)),
        ("the machine's processors", "", "", *map(ms, host)),
    ]
    for what, opened, survived, still, later in rows:
        print(f"{what:40} {opened:>11} {survived:>9} {still:>13} {later:>9}")
    write_figures(summary, run, lost, round(client.udp.longest * 1000))


def write_figures(summary, run, lost, still_ms):
    """Puts those of a run beside those of others; of Sluice, connections that any of them lost are lost."""
    try:
        with open(summary, encoding="utf-8") as file:
            figures = json.load(file)
    except FileNotFoundError:
        figures = {"ha_connections_lost": 0}
    if run == "conntrackd":
        figures |= {"ha_conntrackd_connections_lost": lost, "ha_conntrackd_takeover_box_ms": still_ms}
    else:
        figures["ha_connections_lost"] += lost
        figures[f"ha_takeover_{run}_ms"] = still_ms
    with open(summary, "w", encoding="utf-8") as file:
        json.dump(figures, file, indent=2)


PROGRAMS = {"serve": serve, "measure": measure, "watch": watch}
PROGRAMS[sys.argv[1]](*sys.argv[2:])
