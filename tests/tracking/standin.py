"""Stand-ins for a W&B server on loopback: dead, mute, broken, half-dead; and a small one that works."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def closed_port() -> Iterator[str]:
    """Nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def mute() -> Iterator[str]:
    """Accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def _serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass

    def answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))


@contextmanager
def broken() -> Iterator[str]:
    """Answers 500 to everything."""

    class Broken(_Handler):
        def do_GET(self) -> None:
            self.body()
            self.answer(500, {"error": "down"})

        do_POST = do_GET

    with _serving(Broken) as url:
        yield url


@contextmanager
def half_dead(status: int | None) -> Iterator[str]:
    """Says it is healthy, then fails every real request with a status (None: never answers)."""
    release = threading.Event()

    class HalfDead(_Handler):
        def do_GET(self) -> None:
            self.answer(200, {})

        def do_POST(self) -> None:
            self.body()
            if status is None:
                release.wait(60)
            else:
                self.answer(status, {"errors": [{"message": "no"}]})

    with _serving(HalfDead) as url:
        try:
            yield url
        finally:
            release.set()


class Requests(list[tuple[str, dict[str, Any]]]):
    """What a working server was asked: (operation or path, variables or body)."""

    def of(self, name: str) -> list[dict[str, Any]]:
        return [body for called, body in self if called == name]


@contextmanager
def working(*, mute_after: str | None = None) -> Iterator[tuple[str, Requests]]:
    """Answers what the SDK asks for one run; goes mute for good after an operation named `mute_after`."""
    requests, dead, release = Requests(), threading.Event(), threading.Event()

    class Working(_Handler):
        def do_GET(self) -> None:
            self.answer(200, {})

        def do_PUT(self) -> None:
            self.body()
            self.answer(200, {})

        def do_POST(self) -> None:
            raw = self.body()
            if dead.is_set():
                release.wait(60)
                return
            sent = json.loads(gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw)
            name = sent.get("operationName") or self.path
            requests.append((name, sent.get("variables", sent)))
            host = f"http://127.0.0.1:{self.server.server_address[1]}"  # type: ignore[str-bytes-safe]
            self.answer(200, {"data": _data(name, sent.get("variables", {}), host)})
            if name == mute_after:
                dead.set()

    with _serving(Working) as url:
        try:
            yield url, requests
        finally:
            release.set()


def _data(operation: str, variables: dict[str, Any], host: str) -> dict[str, Any]:
    entity = {"id": "e", "name": variables.get("entity") or "someone"}
    project = {"id": "p", "name": variables.get("project"), "entity": entity}
    if operation == "RunResumeStatus":
        return {"model": {**project, "bucket": None}}
    if operation == "UpsertBucket":
        bucket = {"id": "r", "name": variables["name"], "displayName": variables.get("displayName")}
        return {
            "upsertBucket": {
                "bucket": {**bucket, "project": project, "historyLineCount": 0},
                "inserted": True,
            }
        }
    if operation == "CreateRunFiles":
        files = [{"name": name, "uploadUrl": f"{host}/upload/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
    return {}
