"""Sends packets into a box from both sides, and says what came out.

usage: exchange.py INSIDE_MAC OUTSIDE_MAC     (in the namespace of the far ends, `to-inside` and `to-outside`)

One line per packet on standard input: the side it goes in by, the layer-3 packet, and a second packet, the marker,
that is known to pass. Both are sent; when the marker has come out, so has all that the first one caused. One line per
packet on standard output: what came out before the marker, as `SIDE:PACKET`.
"""
import socket
import sys

IPV4 = b"\x08\x00"
PACKET_IGNORE_OUTGOING = 23
SOL_PACKET = 263
OTHER = {"inside": "outside", "outside": "inside"}


def plain(packet):
    """Without TTL and header checksum, which a router changes and a wire does not."""
    return packet[:8] + b"\0" + packet[9:10] + b"\0\0" + packet[12:]


def main():
    macs = {side: bytes.fromhex(mac.replace(":", "")) for side, mac in zip(OTHER, sys.argv[1:])}
    ends = {}
    for side in OTHER:
        end = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        end.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        end.bind(("to-" + side, 3))
        end.settimeout(60)
        ends[side] = end
    for line in sys.stdin:
        side, packet, marker = line.split()
        head = macs[side] + b"\x02\0\0\0\0\x77" + IPV4
        for l3 in (packet, marker):
            ends[side].send(head + bytes.fromhex(l3))
        out = []
        while True:
            frame = ends[OTHER[side]].recv(65535)
            if frame[12:14] != IPV4:
                continue
            l3 = plain(frame[14:14 + int.from_bytes(frame[16:18], "big")])
            if l3 == plain(bytes.fromhex(marker)):
                break
            out.append(f"{OTHER[side]}:{l3.hex()}")
        print(" ".join(out), flush=True)


main()
