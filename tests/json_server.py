"""A small HTTP server on this host that answers in JSON, for the clients of services."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar


class JsonServer(ThreadingHTTPServer):
    """A server at a free port of the loopback interface."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def address(self) -> str:
        """Where a client finds it."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Keep silent of a client that hangs up, as some do."""


class JsonHandler(BaseHTTPRequestHandler):
    """One request: its body, and an answer to it."""

    protocol_version = "HTTP/1.1"

    def body(self) -> bytes:
        """Return what came with the request."""
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def answer(self, content: object, status: int = 200) -> None:
        """Send `content` as JSON."""
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def log_message(self, *words: object) -> None:
        """Keep silent."""


Served = TypeVar("Served", bound=JsonServer)


@contextmanager
def serving(server: Served) -> Iterator[Served]:
    """Serve until this ends."""
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()
