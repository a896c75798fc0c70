#!/usr/bin/env python3
"""Writes what the profiles send into captures, as TRex would, so that a box can be tried with them without TRex.

    frames.py DIRECTORY

Into inside.pcap and outside.pcap go, one client address: all connections opened at the first second, all validated from the other
side at the second, and some thousand packets of either direction over open ones from the third on; flood.pcap has a thousand SYNs.
Fails where a profile cannot be loaded, or says something that this does not understand. What it writes is the same each time.
"""

import pathlib
import random
import struct
import sys

import lbr_trex_client  # has `trex` found
from trex.stl.api import STLProfile

import astf_http
import rfc9693

HERE = pathlib.Path(__file__).parent
SECOND_NS = 1_000_000_000


def streams(profile, direction, **tunables):
    loaded = STLProfile.load_py(str(HERE / (profile + ".py")), direction=direction, port_id=direction, **tunables)
    return [stream.to_json() | {"frame": stream.get_pkt()} for stream in loaded.get_streams()]


def checksum(*parts):
    data = b"".join(parts)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data[: len(data) & ~1]))
    total += data[-1] << 8 if len(data) & 1 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Variable:
    """A flow variable: of a list or a range, in order or at random."""

    def __init__(self, said):
        self.bytes, self.order, self.next = said["size"], said["op"], said.get("next_var")
        self.values = said.get("value_list") or range(said["min_value"], said["max_value"] + 1)
        self.position = 0
        # What another one turns, stands still but for that.
        self.is_turned = False

    def turn(self, variables):
        """One on; where that is back at the beginning, the next one as well."""
        self.position = (self.position + 1) % len(self.values)
        if self.position == 0 and self.next:
            variables[self.next].turn(variables)


def frames(stream, how_many, choose):
    """The first so many of a stream."""
    variables, writes, fixes = {}, [], []
    for said in stream["vm"]["instructions"]:
        if said["type"] == "flow_var":
            variables[said["name"]] = Variable(said)
        elif said["type"] == "write_flow_var":
            assert said["is_big_endian"] and not said["add_value"], said
            writes.append((said["pkt_offset"], said["name"]))
        elif said["type"] == "fix_checksum_hw":
            fixes.append((said["l2_len"], said["l3_len"]))
        else:
            sys.exit("unknown instruction: %s" % said)
    for variable in variables.values():
        if variable.next:
            variables[variable.next].is_turned = True
    for _ in range(how_many):
        frame = bytearray(stream["frame"])
        for offset, name in writes:
            variable = variables[name]
            at_random = variable.order == "random"
            value = choose.choice(variable.values) if at_random else variable.values[variable.position]
            frame[offset : offset + variable.bytes] = value.to_bytes(variable.bytes, "big")
        for variable in variables.values():
            if variable.order == "inc" and not variable.is_turned:
                variable.turn(variables)
        for ip, header_bytes in fixes:
            l4 = ip + header_bytes
            end = ip + int.from_bytes(frame[ip + 2 : ip + 4], "big")
            frame[ip + 10 : ip + 12] = b"\0\0"
            frame[ip + 10 : ip + 12] = checksum(frame[ip:l4]).to_bytes(2, "big")
            field = l4 + {6: 16, 17: 6}[frame[ip + 9]]
            frame[field : field + 2] = b"\0\0"
            pseudo = frame[ip + 12 : ip + 20] + struct.pack("!BBH", 0, frame[ip + 9], end - l4)
            frame[field : field + 2] = checksum(pseudo, frame[l4:end]).to_bytes(2, "big")
        yield bytes(frame)


def write(path, packets):
    with open(path, "wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
        for stamp_ns, frame in packets:
            file.write(struct.pack("<IIII", *divmod(stamp_ns, SECOND_NS), len(frame), len(frame)) + frame)


def spread(second, packets):
    """These within a second of the capture."""
    packets = list(packets)
    return [(second * SECOND_NS + place * SECOND_NS // len(packets), frame) for place, frame in enumerate(packets)]


def main(directory):
    choose = random.Random(1)
    (opening,) = streams("stl_open", 0, clients=1)
    (back,) = streams("stl_open", 1, clients=1, back=1)
    assert not streams("stl_open", 1, clients=1) and not streams("stl_open", 0, clients=1, back=1)
    once = opening["mode"]["total_pkts"]
    assert once == back["mode"]["total_pkts"] == rfc9693.CONNECTIONS_A_CLIENT
    inside = spread(1, frames(opening, once, choose))
    outside = spread(2, frames(back, once, choose))
    for stream, probe in zip(streams("stl_established", 0, clients=1), streams("stl_established", 1, clients=1)):
        inside += spread(3, frames(stream, 2000, choose))
        outside += spread(3, frames(probe, 2000, choose))
    write(directory / "inside.pcap", sorted(inside))
    write(directory / "outside.pcap", sorted(outside))
    (flood,) = streams("stl_flood", 0)
    write(directory / "flood.pcap", spread(1, frames(flood, 1000, choose)))

    # What has no frames without a server: that it is loaded, and says what it was asked for.
    said = astf_http.register().get_profile(["--requests", "3", "--response", "5000", "--hold-ms", "20"]).to_json()
    client, server = (program["commands"] for program in said["program_list"])
    assert [command["name"] for command in client] == ["tx", "rx", "delay"] * 3, client
    assert [command["name"] for command in server] == ["rx", "tx"] * 3 + ["nc"], server
    assert all(command["min_bytes"] > 5000 for command in client if command["name"] == "rx"), client

    # The procedures, on boxes that are known.
    assert abs(rfc9693.highest(lambda rate: rate <= 734_567, 1000, 10_000_000, 1000) - 734_567) <= 1000
    assert rfc9693.highest(lambda rate: False, 1000, 10_000_000, 1000) is None
    assert rfc9693.highest(lambda rate: True, 1000, 10_000_000, 1000) == 10_000_000
    assert [rfc9693.capacity(lambda clients: clients <= most, 1, 200) for most in (0, 1, 76, 500)] == [None, 1, 76, 200]


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
