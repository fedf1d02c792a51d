# SPDX-License-Identifier: Apache-2.0
"""A tiny web server for the demo, run as a script: it answers with its own name.

Standard library only, since it runs without the package's environment.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_name = ""

    def do_GET(self) -> None:
        """200 with the server's name, whatever is asked for."""
        body = f"hello from {self.server_name}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: health checks come every second."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


def main() -> None:
    """``web_server.py NAME ADDRESS PORT``."""
    name, address, port = sys.argv[1:]
    handler = type("Answer", (_Answer,), {"server_name": name})
    _Server((address, int(port)), handler).serve_forever()


if __name__ == "__main__":
    main()
