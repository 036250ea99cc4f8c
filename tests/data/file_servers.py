"""Servers of files for tests of remote sources: HTTP with ranges, and XRootD where it is there."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
import time
from collections import Counter
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


class FileServer(ThreadingHTTPServer):
    """Serves `folder` over HTTP and counts the bytes of bodies it sends.

    `trouble` says what it does wrong with the next requests of a path: a status to answer with,
    or "drop" to break off in the middle of a body, or "short" to send half of the file as all.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.sent = 0
        self.asked: Counter[str] = Counter()
        self.trouble: dict[str, list[int | str]] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """A client that goes away is no trouble of ours."""


class Handler(SimpleHTTPRequestHandler):
    """One request."""

    server: FileServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, *words):
        super().__init__(*words, directory=str(words[2].folder))

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        self.server.asked[self.path] += 1
        path = Path(self.translate_path(self.path))
        trouble = self._trouble()
        if isinstance(trouble, int):
            self.send_error(trouble)
        elif path.is_file():
            self._answer(path, trouble)
        else:
            super().do_GET()

    def do_HEAD(self):
        path = Path(self.translate_path(self.path))
        pending = self.server.trouble.get(self.path, [])
        if pending and isinstance(pending[0], int):
            self.send_error(pending[0])
        elif path.is_file():
            self._head(200, path.stat().st_size)
        else:
            super().do_HEAD()

    def _trouble(self) -> int | str:
        pending = self.server.trouble.get(self.path, [])
        return pending.pop(0) if pending else ""

    def _head(self, status, size, more=()):
        self.send_response(status)
        for name, value in (("Accept-Ranges", "bytes"), ("Content-Length", size), *more):
            self.send_header(name, str(value))
        self.end_headers()

    def _answer(self, path, trouble):
        whole, asked = path.stat().st_size, RANGE.match(self.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2] or whole)) if asked else (0, whole)
        with path.open("rb") as stream:
            stream.seek(first)
            content = stream.read(last + 1 - first)
        half = content[: len(content) // 2]
        if trouble == "short":
            content = half
        if asked:
            place = f"bytes {first}-{first + len(content) - 1}/{whole}"
            self._head(206, len(content), [("Content-Range", place)])
        else:
            self._head(200, len(content))
        if trouble == "drop":
            content = half
            self.close_connection = True
        self.wfile.write(content)
        self.server.sent += len(content)


@contextlib.contextmanager
def serving(folder: Path):
    """Yield a server of `folder` on a free port."""
    with FileServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


XROOTD = """
xrd.port {port}
xrd.network nodnr
all.export /
oss.localroot {folder}
all.adminpath {place}
all.pidpath {place}
xrd.trace off
"""


@contextlib.contextmanager
def xrootd_serving(folder: Path, place: Path):
    """Yield the address of an XRootD server of `folder`; its own files go into `place`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configuration = place / "xrootd.cfg"
    configuration.write_text(XROOTD.format(port=port, folder=folder, place=place))
    words = [shutil.which("xrootd"), "-c", str(configuration), "-l", str(place / "log")]
    if os.geteuid() == 0:  # it refuses to run as root
        for path in (place, *place.rglob("*")):
            shutil.chown(path, "nobody")
        words += ["-R", "nobody"]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=place
    ) as server:
        try:
            _wait_for(port, server, place)
            yield f"root://localhost:{port}/"
        finally:
            server.terminate()


def _wait_for(port: int, server: "subprocess.Popen[bytes]", place: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    logs = [path.read_text(errors="replace") for path in place.rglob("log*") if path.is_file()]
    raise AssertionError("\n".join(logs) or "xrootd says nothing")
