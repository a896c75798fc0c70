"""A switch (IEEE 802.1Q): switch.py TRUNK ID=PORT... takes frames between a trunk, where they have tags, and access ports, where they
have none."""

import select
import socket
import struct
import sys

SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING = 263, 8, 4
ETH_P_ALL = 3
TP_STATUS_VLAN_VALID = 1 << 4
AUXDATA = struct.Struct("IIIHHHH")


def opened(device):
    """All frames of a device, and where they go out."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    # The kernel takes a tag off as a frame comes in, and says so beside the frame.
    port.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    port.bind((device, 0))
    return port


def receive(port):
    """The next frame and its VLAN; none where it is one that this host sends."""
    frame, beside, _, (_, _, kind, *_) = port.recvmsg(65536, 256)
    if kind == PACKET_OUTGOING:
        return None, None
    for level, what, data in beside:
        if (level, what) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = AUXDATA.unpack(data[: AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                return frame, tci & 0xFFF
    return frame, None


def main(trunk, *access):
    trunk = opened(trunk)
    ports = {int(vlan): opened(port) for vlan, port in (entry.split("=") for entry in access)}
    while True:
        for ready in select.select([trunk, *ports.values()], [], [])[0]:
            frame, tag = receive(ready)
            if frame is None:
                continue
            if ready is trunk:
                if tag in ports:
                    ports[tag].send(frame)
                continue
            vlan = next(vlan for vlan, port in ports.items() if port is ready)
            trunk.send(frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:])


main(*sys.argv[1:])
