"""A flood of SYNs that nobody goes on with, from random sources, beside whatever else is sent.

    start -f stl_flood.py -p 0 -m 100kpps
"""

from trex.stl.api import *

import tuples


class Flood:
    def get_streams(self, direction, **others):
        if direction != tuples.INITIATOR:
            return []
        base = Ether() / IP(src="198.18.128.0", dst=tuples.SERVER) / TCP(sport=1024, dport=80, flags="S")
        program = [
            STLVmFlowVar("source", min_value="198.18.128.0", max_value="198.18.255.255", size=4, op="random"),
            STLVmFlowVar("port", min_value=1024, max_value=65535, size=2, op="random"),
            STLVmFlowVar("sequence", min_value=0, max_value=0xFFFFFFFF, size=4, op="random"),
            STLVmWrFlowVar(fv_name="source", pkt_offset="IP.src"),
            STLVmWrFlowVar(fv_name="port", pkt_offset="TCP.sport"),
            STLVmWrFlowVar(fv_name="sequence", pkt_offset="TCP.seq"),
            STLVmFixChecksumHw(l3_offset="IP", l4_offset="TCP", l4_type=CTRexVmInsFixHwCs.L4_TYPE_TCP),
        ]
        base = base / (b"\0" * (60 - len(base)))
        return [STLStream(packet=STLPktBuilder(pkt=base, vm=STLScVmRaw(program)), mode=STLTXCont(pps=1000))]


def register():
    return Flood()
