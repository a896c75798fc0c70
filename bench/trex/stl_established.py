"""Packets over open connections, both ways, in random order: RFC 9693's second phase, for throughput, loss and delay.

    start -f stl_established.py -m 1mpps -t --clients 16

stl_open.py has opened them before, with as many `--clients`. Each way has a stream that measures delay beside it.
"""

from trex.stl.api import *

import tuples


class Established:
    def get_streams(self, direction, port_id, tunables, **others):
        chosen = tuples.arguments(tunables)
        packets = tuples.packet(direction, chosen.clients, chosen.size, "random")
        # A frame that carries a time stamp has 16 bytes more than the smallest.
        probes = tuples.packet(direction, chosen.clients, max(chosen.size, 80), "random")
        return [
            STLStream(packet=packets, mode=STLTXCont(pps=1000)),
            STLStream(packet=probes, mode=STLTXCont(pps=1000),
                      flow_stats=STLFlowLatencyStats(pg_id=7 + port_id)),
        ]


def register():
    return Established()
