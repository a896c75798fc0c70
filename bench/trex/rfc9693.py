#!/usr/bin/env python3
"""Measures a stateful box by RFC 9693: the maximum connection establishment rate, and the capacity of its table.

    rfc9693.py rate --server 192.0.2.1 --clients 16
    rfc9693.py capacity --server 192.0.2.1 --rate 200000

TRex runs in stateless mode (`t-rex-64 -i`), its port 0 before the side that may open connections and port 1 behind it. Between two
trials the table has to be empty: `--flush` is what empties it, `ssh box sluice conntrack -F` by default.
"""

import argparse
import pathlib
import shlex
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
CONNECTIONS_A_CLIENT = 65_536


def highest(passes, low, high, resolution):
    """The highest number at which a trial passes, to within so many, by halving; None where even the lowest fails (RFC 9693, 4.5)."""
    if not passes(low):
        return None
    if passes(high):
        return high
    while high - low > resolution:
        middle = (low + high) // 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low


def capacity(passes, first, most):
    """The most clients' worth of connections that a table holds: doubled until a trial fails, then halved (RFC 9693, 4.9)."""
    holds = first
    if not passes(holds):
        return None
    while holds < most:
        tried = min(2 * holds, most)
        if not passes(tried):
            return highest(passes, holds, tried, 1)
        holds = tried
    return holds


class Trex:
    """Port 0 opens connections, port 1 sends back over each of them what validates it."""

    def __init__(self, server, flush):
        from trex.stl.api import STLClient, STLProfile

        self.profile = STLProfile
        self.flush = flush
        self.client = STLClient(server=server)
        self.client.connect()
        self.client.reset(ports=[0, 1])

    def opens(self, clients, rate):
        """Whether every connection is opened at this rate, and every one of them is there after that."""
        subprocess.run(self.flush, check=True)
        return self.arrive(0, clients, rate) and self.arrive(1, clients, rate)

    def arrive(self, port, clients, rate):
        """Whether all packets from one port come out at the other."""
        profile = self.profile.load_py(str(HERE / "stl_open.py"), direction=port, port_id=port, clients=clients, back=port)
        self.client.remove_all_streams(ports=[0, 1])
        self.client.add_streams(profile.get_streams(), ports=[port])
        self.client.clear_stats()
        self.client.start(ports=[port], mult="%dpps" % rate, core_mask=[1])
        # A second for what is still on its way (RFC 2544, 24, asks for two after the last).
        self.client.wait_on_traffic(ports=[port], rx_delay_ms=2000)
        stats = self.client.get_stats()
        sent, received = stats[port]["opackets"], stats[1 - port]["ipackets"]
        print("  %s: %d connections at %d/s, sent %d, received %d"
              % ("back" if port else "open", clients * CONNECTIONS_A_CLIENT, rate, sent, received))
        return sent == received == clients * CONNECTIONS_A_CLIENT


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", choices=["rate", "capacity"])
    parser.add_argument("--server", required=True, help="where TRex runs")
    parser.add_argument("--flush", default="ssh box sluice conntrack -F", help="what empties the table")
    parser.add_argument("--clients", type=int, default=16, help="client addresses, 65,536 connections each; with capacity, the most")
    parser.add_argument("--rate", type=int, default=10_000_000, help="connections a second: the highest, or that of each trial")
    chosen = parser.parse_args()
    box = Trex(chosen.server, shlex.split(chosen.flush))
    if chosen.figure == "rate":
        found = highest(lambda rate: box.opens(chosen.clients, rate), 1000, chosen.rate, 1000)
        unit = "connections a second"
    else:
        found = capacity(lambda clients: box.opens(clients, chosen.rate), 1, chosen.clients)
        found = found and found * CONNECTIONS_A_CLIENT
        unit = "connections, to within %d" % CONNECTIONS_A_CLIENT
    if found is None:
        sys.exit("even the lowest trial lost connections: look at the box's `sluice drops`, and at the links")
    print(found, unit)


if __name__ == "__main__":
    main()
