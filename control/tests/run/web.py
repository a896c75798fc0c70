"""A web server that keeps what is put, gives it back, and tells clients the address it sees them under."""

import http.server
import socket


class Server(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


class Handler(http.server.BaseHTTPRequestHandler):
    kept = {}

    def do_PUT(self):
        self.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(self.client_address[0].removeprefix("::ffff:").encode())

    def do_GET(self):
        self.answer(self.kept[self.path])

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


Server(("::", 8080), Handler).serve_forever()
