"""Which packets pass a rule set of nft: asks the kernel, in the network namespace that this runs in.

    kernel.py RULES.nft PROBES

PROBES has a line for each packet: the interface that it comes in by, and the frame in hexadecimal, which the IPv4 identification
tells apart. Prints a JSON object: the rule set as nft lists it, and the identifications of the packets that passed.
"""

import json
import os
import socket
import subprocess
import sys
import time

WATCH = """
table ip watch {
    set met { typeof ip id; flags dynamic; size 65535; }
    set passed { typeof ip id; flags dynamic; size 65535; }
    chain first { type filter hook prerouting priority -500; add @met { ip id }; }
    chain input { type filter hook input priority 2000; add @passed { ip id }; }
    chain forward { type filter hook forward priority 2000; add @passed { ip id }; }
    chain silence { type filter hook output priority -500; drop; }
}
"""


def run(*command, given=None):
    done = subprocess.run(command, input=given, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def members(name):
    listed = json.loads(run("nft", "-j", "list", "set", "ip", "watch", name))["nftables"]
    return [element for item in listed if "set" in item for element in item["set"].get("elem", [])]


def make_router():
    for family in ("default", "all"):
        write(f"/proc/sys/net/ipv6/conf/{family}/disable_ipv6", "1")
        write(f"/proc/sys/net/ipv4/conf/{family}/rp_filter", "0")
    for number in range(3):
        port, cable = f"eth{number}", f"cable{number}"
        run("ip", "link", "add", port, "address", f"02:00:00:00:0{number}:01", "type", "veth", "peer", "name", cable)
        run("ip", "link", "set", cable, "up")
        run("ip", "link", "set", port, "up")
        run("ip", "address", "add", f"10.0.{number}.1/24", "dev", port)
        for host in range(2, 10):
            mac = f"02:00:00:00:0{number}:0{host}"
            run("ip", "neighbour", "add", f"10.0.{number}.{host}", "lladdr", mac, "dev", port, "nud", "permanent")
    write("/proc/sys/net/ipv4/ip_forward", "1")


def main():
    rules, probes = sys.argv[1:]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # so that packets keep their order
    make_router()
    run("nft", "-f", rules)
    ruleset = run("nft", "-j", "list", "ruleset")
    run("nft", "-f", "-", given=WATCH)
    frames = [line.split() for line in open(probes)]
    cables = {}
    for number in range(3):
        cables[f"eth{number}"] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        cables[f"eth{number}"].bind((f"cable{number}", 0))
    for interface, frame in frames:
        cables[interface].send(bytes.fromhex(frame))
    for _ in range(200):
        if len(members("met")) == len(frames):
            break
        time.sleep(0.05)
    else:
        sys.exit("not all packets came")
    print(json.dumps({"ruleset": ruleset, "passed": members("passed")}))


main()
