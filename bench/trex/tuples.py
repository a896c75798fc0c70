"""The connections that the stateless profiles send: UDP from clients to servers, in the networks that RFC 2544 has for benchmarks.

A connection is one of so many client addresses, client ports and server ports; each list is shuffled with a fixed seed, so that
packets come in an order that no hardware guesses (RFC 4814) and every run is alike. Opening walks through all combinations, each once;
what passes over open connections picks any of them. So neither side needs to know what the other has sent (RFC 9693, 4.1).
"""

import argparse
import random

from trex.stl.api import *

CLIENTS = "198.18.0.1"
SERVER = "198.19.0.1"

# Ports of RFC 4814, 4.1, below those that an operating system keeps to itself. Not so many that all combinations would not fit into a table.
CLIENT_PORTS = range(1024, 1024 + 256)
SERVER_PORTS = range(49152, 49152 + 256)

INITIATOR, RESPONDER = 0, 1


def arguments(tunables, **more):
    """The tunables of a profile, as `start -t` gives them: how many client addresses, bytes of a frame, and what else it has."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=16, help="client addresses, 65,536 connections each; at most 254")
    parser.add_argument("--size", type=int, default=64, help="bytes of a frame with its checksum; at least 64")
    for name, (kind, default, meaning) in more.items():
        parser.add_argument("--" + name, type=kind, default=default, help=meaning)
    chosen = parser.parse_args(tunables)
    if not 1 <= chosen.clients <= 254:
        parser.error("--clients: from 1 to 254")
    if chosen.size < 64:
        parser.error("--size: at least 64")
    return chosen


def connections(clients):
    """How many there are of so many client addresses."""
    return clients * len(CLIENT_PORTS) * len(SERVER_PORTS)


def packet(direction, clients, size, order):
    """Packets of all connections as one side sends them: `order` is "inc", each once, or "random", any of them."""
    choose = random.Random(1)

    def shuffled(values):
        return choose.sample(list(values), len(values))

    first = int.from_bytes(bytes(map(int, CLIENTS.split("."))), "big")
    # Where order is "inc", one goes on when the one before has been through: an odometer, which has each combination once.
    # On one core: several would each begin where the others are.
    fields = [
        STLVmFlowVar("client", size=4, op=order, value_list=shuffled(range(first, first + clients)), split_to_cores=False),
        STLVmFlowVar("server_port", size=2, op=order, value_list=shuffled(SERVER_PORTS), split_to_cores=False,
                     next_var="client" if order == "inc" else None),
        STLVmFlowVar("client_port", size=2, op=order, value_list=shuffled(CLIENT_PORTS), split_to_cores=False,
                     next_var="server_port" if order == "inc" else None),
    ]
    if direction == INITIATOR:
        base = Ether() / IP(src=CLIENTS, dst=SERVER) / UDP(sport=1024, dport=49152)
        places = {"client": "IP.src", "client_port": "UDP.sport", "server_port": "UDP.dport"}
    else:
        base = Ether() / IP(src=SERVER, dst=CLIENTS) / UDP(sport=49152, dport=1024)
        places = {"client": "IP.dst", "client_port": "UDP.dport", "server_port": "UDP.sport"}
    program = fields + [STLVmWrFlowVar(fv_name=name, pkt_offset=place) for name, place in places.items()]
    program.append(STLVmFixChecksumHw(l3_offset="IP", l4_offset="UDP", l4_type=CTRexVmInsFixHwCs.L4_TYPE_UDP))
    base = base / (b"x" * (size - 4 - len(base)))
    return STLPktBuilder(pkt=base, vm=STLScVmRaw(program))
