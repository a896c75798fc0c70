#!/usr/bin/env python3
"""Amanda's own programs at both ends of a backup: amanda.py client TAPE_SERVER, whose amandad is started as by inetd, or amanda.py
server CLIENT DIRECTORY, whose amservice asks for a directory of the client's, and compares what comes.

Both are told by address whom they know. They run as the user that Debian's packages have for them, with files of their own in
front of the machine's: a network namespace that `ip netns exec` enters has mounts of its own.
"""
import contextlib
import os
import pathlib
import re
import select
import socket
import subprocess
import sys
import tempfile

PORT = 10080
USER = ["setpriv", "--reuid", "backup", "--regid", "backup", "--init-groups"]
STREAMS = ["DATA", "MESG", "INDEX", "STATE"]

REQUEST = """<dle>
  <program>GNUTAR</program>
  <disk>{}</disk>
  <level>0</level>
  <auth>bsd</auth>
  <record>NO</record>
  <index>YES</index>
  <datapath>AMANDA</datapath>
</dle>
"""


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def replace(path, text):
    """Has a file of the machine say something else in this namespace."""
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        os.chmod(file.name, 0o644)
        mount("--bind", file.name, path)


def settle(host, address):
    """Amanda's files, and the name of the other host."""
    for directory in ["/var/backups", "/var/log/amanda", "/var/lib/amanda/gnutar-lists"]:
        mount("-t", "tmpfs", "-o", "mode=755,uid=backup,gid=backup", "tmpfs", directory)
    replace("/etc/hosts", f"127.0.0.1 localhost\n{address} {host}\n")
    # It goes by UDP, of which Debian's list says nothing.
    replace("/etc/services", f"amanda {PORT}/udp\n")


def client(server):
    settle("tape-server", server)
    hosts = pathlib.Path("/var/backups/.amandahosts")
    hosts.write_text("tape-server backup amdump\n")
    os.chmod(hosts, 0o600)
    subprocess.run(["chown", "backup:backup", hosts], check=True)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("", PORT))
    while True:
        select.select([udp], [], [])
        subprocess.run([*USER, "/usr/lib/amanda/amandad", "-auth=bsd", "amdump"], stdin=udp, stdout=udp)


def back_up(directory):
    """What comes of a directory, as a tar archive."""
    nothing, _open = os.pipe()
    ends = {stream: os.pipe() for stream in STREAMS}
    came = {end: b"" for end, _ in ends.values()}
    data, messages = ends["DATA"][0], ends["MESG"][0]
    arguments = [argument for stream in STREAMS
                 for argument in ["--stream", f"{stream},{nothing},{ends[stream][1]}"]]
    amservice = subprocess.Popen(
        [*USER, "amservice", *arguments, "disk-client", "bsd", "sendbackup"], text=True,
        stdin=subprocess.PIPE, pass_fds=[nothing, *(end for _, end in ends.values())])
    with amservice.stdin as request:
        request.write(REQUEST.format(directory))
    with contextlib.ExitStack() as stack:
        stack.callback(amservice.wait)
        stack.callback(amservice.kill)
        while True:
            size = re.search(rb"sendbackup: size (\d+)\n(?:.*\n)*sendbackup: end\n", came[messages])
            if size and len(came[data]) >= int(size[1]) * 1024:
                return came[data]
            ready, _, _ = select.select(list(came), [], [], 30)
            assert ready, came[messages]
            for end in ready:
                came[end] += os.read(end, 65536)


def contents(directory):
    return {file.name: file.read_bytes() for file in pathlib.Path(directory).iterdir()}


def server(host, directory):
    settle("disk-client", host)
    archive = back_up(directory)
    with tempfile.TemporaryDirectory() as restored:
        subprocess.run(["tar", "-x", "-C", restored], input=archive, check=True)
        assert contents(restored) == contents(directory)


if __name__ == "__main__":
    role, *rest = sys.argv[1:]
    if role == "client":
        client(*rest)
    else:
        server(*rest)
