#!/usr/bin/env python3
"""Stands in for pppd at both ends of PPTP, for want of a kernel with PPP: ppp.py call SERVER OWN-ADDRESS, or as pptpd starts it.

pptpd gives it a terminal, pptp-linux a socket. What goes over both are frames of PPP in HDLC-like framing (RFC 1662). The
server's end says something first, as pppd does, and then sends back what comes. The client's end sends packets and checks what
comes back, says so, and hangs up when it has been told to.
"""
import os
import select
import signal
import socket
import subprocess
import sys
import tty

FLAG, ESCAPE, FLIPPED = 0x7E, 0x7D, 0x20
# Address and control, then the protocol: LCP, and IPv4.
LCP, IPV4 = b"\xff\x03\xc0\x21", b"\xff\x03\x00\x21"

PACKETS = 20
# Packets of a call may be lost as it begins, as pppd knows. So each is sent again after so long, this often at most.
PATIENCE_S, TRIES = 1, 60
# How long pptp-linux has to hang up.
HANG_UP_S = 10


def fcs(payload):
    """The check sequence of RFC 1662, appendix C.2."""
    value = 0xFFFF
    for byte in payload:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x8408 if value & 1 else 0)
    return (value ^ 0xFFFF).to_bytes(2, "little")


def framed(payload):
    frame = bytearray([FLAG])
    for byte in payload + fcs(payload):
        if byte < 0x20 or byte in (FLAG, ESCAPE):
            frame += bytes([ESCAPE, byte ^ FLIPPED])
        else:
            frame.append(byte)
    return bytes(frame) + bytes([FLAG])


def payloads(descriptor):
    """What comes, until the other side has gone."""
    frame, flip = bytearray(), 0
    while True:
        try:
            received = os.read(descriptor, 4096)
        except OSError:
            return
        if not received:
            return
        for byte in received:
            if byte == FLAG:
                payload = bytes(frame[:-2])
                if frame:
                    assert fcs(payload) == frame[-2:], frame.hex()
                    yield payload
                frame.clear()
            elif byte == ESCAPE:
                flip = FLIPPED
            else:
                frame.append(byte ^ flip)
                flip = 0


def answer():
    tty.setraw(0)
    os.write(0, framed(LCP + b"here is the server"))
    for payload in payloads(0):
        os.write(0, framed(payload))


def exchange(line, received, payload):
    for _ in range(TRIES):
        line.sendall(framed(payload))
        while select.select([line], [], [], PATIENCE_S)[0]:
            if next(received) == payload:
                return
    sys.exit(f"no answer to {payload}")


def call(server, own):
    # Where pptp-linux keeps its sockets: `ip netns exec` has given this process mounts of its own.
    os.makedirs("/run/pptp", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "pptp", "/run/pptp"], check=True)
    line, end = socket.socketpair()
    program = ["pptp", server, "--nolaunchpppd", "--nohostroute", "--localbind", own]
    pptp = subprocess.Popen(program, stdin=end, stdout=subprocess.DEVNULL)
    end.close()
    received = payloads(line.fileno())
    for number in range(PACKETS):
        exchange(line, received, IPV4 + f"{number} of {own}".encode())
    print("talked", flush=True)
    sys.stdin.read()
    pptp.send_signal(signal.SIGTERM)
    try:
        sys.exit(pptp.wait(HANG_UP_S))
    except subprocess.TimeoutExpired:
        # Its handler logs, and waits for itself for good where the signal comes while it logs.
        pptp.kill()


if __name__ == "__main__":
    if sys.argv[1] == "call":
        call(*sys.argv[2:])
    else:
        answer()
