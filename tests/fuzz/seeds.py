#!/usr/bin/env python3
"""Writes what the fuzzers begin with, from captures: seeds.py DIR PCAP ...

DIR/parse gets one frame a file, DIR/shard runs of frames as orders to a shard (see src/shard.rs).
"""
import pathlib
import struct
import sys


def frames(path):
    data = path.read_bytes()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at = 24
    while at + 16 <= len(data):
        length = struct.unpack_from(order + "I", data, at + 8)[0]
        yield data[at + 16:at + 16 + length]
        at += 16 + length


directory, *captures = map(pathlib.Path, sys.argv[1:])
for target in ("parse", "shard"):
    (directory / target).mkdir(parents=True, exist_ok=True)
for port, capture in enumerate(captures):
    small = [frame for frame in frames(capture) if len(frame) < 256]
    for number, frame in enumerate(small):
        (directory / "parse" / f"{port}.{number}").write_bytes(b"\0" + frame)
    for start in range(0, len(small), 12):
        # One order a packet, each in a burst of its own: an even number comes from inside.
        orders = b"".join(bytes([0x40 + port, len(frame)]) + frame for frame in small[start:start + 12])
        for choice in (0x07, 0x96):
            name = f"{port}.{start}.{choice:02x}"
            (directory / "shard" / name).write_bytes(bytes([choice]) + orders + b"\xa5\xe0")
