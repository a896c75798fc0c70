"""Whole TCP connections, opened, used and closed, of the form of HTTP: the traffic of RFC 9411, sections 7.2 to 7.5, also through NAT.

    start -f astf_http.py -m 1000 -t --response 1024 --requests 1

What each section measures is a choice of these tunables; docs/load-tests.md has the table.
"""

import argparse

from trex.astf.api import *

REQUEST = b"GET /object HTTP/1.1\r\nHost: server\r\nUser-Agent: load\r\n\r\n"
HEADER = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"


class Http:
    def get_profile(self, tunables, **others):
        parser = argparse.ArgumentParser()
        parser.add_argument("--response", type=int, default=1024, help="bytes of an object")
        parser.add_argument("--requests", type=int, default=1, help="requests on a connection, one after another")
        parser.add_argument("--hold-ms", type=int, default=0, help="milliseconds between a response and what follows")
        parser.add_argument("--mss", type=int, default=1460, help="maximum segment size of both sides")
        chosen = parser.parse_args(tunables)
        if chosen.response < 0 or chosen.requests < 1 or chosen.hold_ms < 0:
            parser.error("--response and --hold-ms: not below 0; --requests: not below 1")

        header = HEADER % chosen.response
        answered = len(header) + chosen.response
        client, server = ASTFProgram(), ASTFProgram()
        for _ in range(chosen.requests):
            client.send(REQUEST)
            client.recv(answered, clear=True)
            if chosen.hold_ms:
                client.delay(1000 * chosen.hold_ms)
            server.recv(len(REQUEST), clear=True)
            server.send(header, size=answered, fill=b"x")
        # Whoever closes first has TIME_WAIT: the client, as with HTTP/1.1.
        server.wait_for_peer_close()

        addresses = ASTFIPGen(
            dist_client=ASTFIPGenDist(ip_range=["198.18.0.1", "198.18.15.254"], distribution="seq"),
            dist_server=ASTFIPGenDist(ip_range=["198.19.0.1", "198.19.0.254"], distribution="seq"),
            glob=ASTFIPGenGlobal(ip_offset="0.0.16.0"),
        )
        settings = ASTFGlobalInfo()
        settings.tcp.mss = chosen.mss
        template = ASTFTemplate(
            client_template=ASTFTCPClientTemplate(program=client, ip_gen=addresses, port=80, cps=1),
            server_template=ASTFTCPServerTemplate(program=server, assoc=ASTFAssociationRule(port=80)),
        )
        return ASTFProfile(default_ip_gen=addresses, templates=template,
                           default_c_glob_info=settings, default_s_glob_info=settings)


def register():
    return Http()
