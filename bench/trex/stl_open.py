"""Opens every connection once, from the Initiator: RFC 9693's first phase, and what its establishment rate is measured with.

    start -f stl_open.py -p 0 -m 100kpps --pin -t --clients 16

With `--back`, the Responder sends one packet over each of them instead, which validates that they are there (RFC 9693, 4.4).
"""

from trex.stl.api import *

import tuples


class Open:
    def get_streams(self, direction, tunables, **others):
        chosen = tuples.arguments(tunables, back=(int, 0, "1: back from the Responder"))
        sender = tuples.RESPONDER if chosen.back else tuples.INITIATOR
        if direction != sender:
            return []
        once = tuples.connections(chosen.clients)
        return [STLStream(packet=tuples.packet(sender, chosen.clients, chosen.size, "inc"),
                          mode=STLTXSingleBurst(pps=1000, total_pkts=once))]


def register():
    return Open()
