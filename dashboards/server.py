"""The local page, served on loopback while somebody watches. Answers GET alone and writes no file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from .page import live_page, plotly_js
from .state import Watcher

HOST, PORT = "127.0.0.1", 8765
# The page may speak to this server and to nobody else.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PortError(ValueError):
    """A port that cannot be had; the message says the way out."""


class Server(ThreadingHTTPServer):
    """Serves one study. `port` None takes 8765, or any free one when that is taken. Raises PortError."""

    daemon_threads = True

    def __init__(self, root: Path, port: int | None = None) -> None:
        self.watcher = Watcher(root)
        try:
            super().__init__((HOST, PORT if port is None else port), _Handler)
        except OSError as error:
            if port is not None:
                raise PortError(
                    f"port {port} of {HOST} cannot be used ({error.strerror}); name another with --port, "
                    "or leave it out to take a free one"
                ) from None
            super().__init__((HOST, 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    @cached_property
    def plotly(self) -> bytes:
        return plotly_js().encode()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = 30

    def do_GET(self) -> None:
        # A name that another site resolves to this machine must not read the study (DNS rebinding).
        if self.headers.get("Host", "").rsplit(":", 1)[0] not in (HOST, "localhost"):
            return self._answer(403, b"this page is for this machine alone\n", "text/plain")
        parts = urlsplit(self.path)
        route: Callable[[str], None] | None = {
            "/": self._page, "/state.json": self._state, "/plotly.js": self._plotly,
        }.get(parts.path)  # fmt: skip
        if route is None:
            return self._answer(404, b"nothing here\n", "text/plain")
        return route(parts.query)

    def _page(self, query: str) -> None:
        try:
            page = live_page(self.server.watcher.state())
        except (ValueError, OSError) as error:  # the folder was moved or damaged under us
            return self._answer(503, f"{error}\n".encode(), "text/plain; charset=utf-8")
        return self._answer(200, page.encode(), "text/html; charset=utf-8")

    def _state(self, query: str) -> None:
        asked = {k: v[0] for k, v in parse_qs(query).items()}
        after = int(asked["after"]) if asked.get("after", "").isdecimal() else -1
        try:
            state = self.server.watcher.state(asked.get("session", ""), after)
        except (ValueError, OSError) as error:
            return self._answer(503, json.dumps({"error": str(error)}).encode(), "application/json")
        return self._answer(200, json.dumps(state, allow_nan=False).encode(), "application/json")

    def _plotly(self, query: str) -> None:
        self._answer(200, self.server.plotly, "text/javascript; charset=utf-8", cache="max-age=86400")

    def _answer(self, code: int, content: bytes, kind: str, cache: str = "no-store") -> None:
        self.send_response(code)
        for name, value in (
            ("Content-Type", kind), ("Content-Length", str(len(content))), ("Cache-Control", cache),
            ("Content-Security-Policy", _POLICY), ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serving(root: Path, port: int | None = None) -> Iterator[str]:
    """The address of a study's page, served from a thread for as long as the block lasts."""
    server = Server(root, port)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def watch(root: Path, port: int | None, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl-C; `ready` is told the address."""
    with Server(root, port) as server:
        ready(server.url)
        try:
            server.serve_forever(poll_interval=0.5)
        except KeyboardInterrupt:
            return
