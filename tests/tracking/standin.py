"""Stand-ins for a W&B server on loopback: dead, mute, broken, half-dead; and a small one that works."""

from __future__ import annotations

import gzip
import json
import re
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
    """What a working server was asked: (operation or path, variables or body); `store` is what it keeps."""

    store: Store

    def of(self, name: str) -> list[dict[str, Any]]:
        return [body for called, body in self if called == name]

    def rows(self, run: str) -> list[dict[str, Any]]:
        """The history of a run as the server would keep it: each row at the offset that it was sent for."""
        kept: dict[int, dict[str, Any]] = {}
        for part in self._streamed(run, "wandb-history.jsonl"):
            for offset, row in enumerate(part["content"], part["offset"]):
                kept[offset] = json.loads(row)
        return [kept[offset] for offset in sorted(kept)]

    def summary(self, run: str) -> dict[str, Any]:
        """The last summary of a run."""
        sent = [
            json.loads(row) for part in self._streamed(run, "wandb-summary.json") for row in part["content"]
        ]
        return sent[-1] if sent else {}

    def _streamed(self, run: str, file: str) -> list[dict[str, Any]]:
        bodies = [body for path, body in self if path.endswith(f"/{run}/file_stream")]
        return [body["files"][file] for body in bodies if file in (body.get("files") or {})]


class Store:
    """What the server keeps, so that a run that comes back is continued and not begun anew."""

    def __init__(self, requests: Requests) -> None:
        self.requests = requests
        self.runs: dict[str, dict[str, Any]] = {}
        self.views: dict[str, dict[str, Any]] = {}

    def answer(self, operation: str, sent: dict[str, Any], host: str, query: str) -> dict[str, Any]:
        """The data of a GraphQL operation. A nameless one is known by the fields that it asks for."""
        entity = {"id": "e", "name": sent.get("entity") or sent.get("entityName") or "someone"}
        project = {"id": "p", "name": sent.get("project") or sent.get("projectName"), "entity": entity}
        if operation == "RunResumeStatus":
            return {"model": {**project, "bucket": self._resumed(sent["name"])}}
        if operation == "UpsertBucket":
            return {"upsertBucket": self._bucket(sent, project)}
        if operation == "CreateRunFiles":
            files = [{"name": name, "uploadUrl": f"{host}/upload/{name}"} for name in sent["files"]]
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}}
        if operation == "CreateArtifact":  # committed: the server has these bytes, nothing need be uploaded
            artifact = {
                "id": "a",
                "state": "COMMITTED",
                "artifactSequence": {"id": "q", "latestArtifact": None},
            }
            return {"createArtifact": {"artifact": artifact}}
        if operation == "ArtifactType":
            return {"project": None}  # no artifact of that name yet
        if operation == "ProjectInternalId":
            return {"project": {"id": "p", "internalId": "1"}}
        if operation.lower() in ("upsertview", "upsertview2"):
            return {"upsertView": self._view(sent)}
        if operation in ("Viewer", "GetViewer") or "viewer" in query:
            team = {
                "edges": [{"node": {"name": "someone"}}],
                "pageInfo": {"endCursor": None, "hasNextPage": False},
            }
            viewer = {"id": "v", "entity": "someone", "username": "someone", "name": "someone", "admin": False,
                      "email": "", "flags": "{}", "apiKeys": team, "teams": team, "deletedAt": None}  # fmt: skip
            return {"viewer": viewer, "serverInfo": {"cliVersionInfo": {}, "latestLocalVersionInfo": None}}
        if "models(" in query:
            page = {"endCursor": None, "hasNextPage": False}
            return {"models": {"edges": [], "pageInfo": page}}
        if "upsertModel" in query:
            model = {"id": "p", "name": sent.get("name"), "entityName": entity["name"]}
            return {"upsertModel": {"project": model, "model": model, "inserted": True}}
        if "runs(filters:" in query:
            return {"project": self._listed(sent, project)}
        if "run(name:" in query:
            return {
                "project": {
                    **project,
                    "internalId": "1",
                    "run": self._run(sent.get("name") or sent.get("run")),
                }
            }
        return {}

    def _bucket(self, sent: dict[str, Any], project: dict[str, Any]) -> dict[str, Any]:
        name = sent.get("name") or next(
            (n for n, run in self.runs.items() if run["id"] == sent.get("id")), "?"
        )
        new = name not in self.runs
        run = self.runs.setdefault(
            name, {"id": f"id-{name}", "tags": [], "group": "", "jobType": "", "displayName": ""}
        )
        told = {"tags": sent.get("tags"), "group": sent.get("groupName"), "jobType": sent.get("jobType"),
                "displayName": sent.get("displayName"), "config": sent.get("config")}  # fmt: skip
        run |= {key: value for key, value in told.items() if value is not None}
        run.setdefault("project", project["name"])
        bucket = {"id": run["id"], "name": name, "displayName": run["displayName"], "project": project}
        return {"bucket": {**bucket, "historyLineCount": len(self.requests.rows(name))}, "inserted": new}

    def _resumed(self, name: str) -> dict[str, Any] | None:
        if name not in self.runs:
            return None
        rows = self.requests.rows(name)
        return {
            "id": self.runs[name]["id"], "name": name, "historyLineCount": len(rows), "eventsLineCount": 0,
            "logLineCount": 0, "historyTail": json.dumps([json.dumps(row) for row in rows[-1:]]),
            "eventsTail": "[]", "summaryMetrics": json.dumps(self.requests.summary(name)),
            "config": self.runs[name].get("config") or "{}", "tags": self.runs[name]["tags"],
            "displayName": self.runs[name]["displayName"], "wandbConfig": '{"t": {}}',
        }  # fmt: skip

    def _listed(self, sent: dict[str, Any], project: dict[str, Any]) -> dict[str, Any] | None:
        """The runs of a project, of one group where the filter asks for it; nothing for an unknown project."""
        inside = {name: run for name, run in self.runs.items() if run.get("project") == project["name"]}
        group = json.loads(sent["filters"]).get("group")
        names = [name for name, run in inside.items() if group in (None, run["group"])]
        edges = [{"node": self._run(name), "cursor": name} for name in names]
        page = {"endCursor": None, "hasNextPage": False}
        listed = {"internalId": "1", "runCount": len(edges), "readOnly": False}
        known = inside or any(view["project"]["name"] == project["name"] for view in self.views.values())
        return {**listed, "runs": {"edges": edges, "pageInfo": page}} if known else None

    def _run(self, name: str | None) -> dict[str, Any] | None:
        run = self.runs.get(name or "")
        if run is None:
            return None
        return {
            "id": run["id"], "tags": run["tags"], "name": name, "displayName": run["displayName"], "sweepName": None,
            "state": "finished", "config": run.get("config") or "{}", "group": run["group"], "jobType": run["jobType"], "commit": None,
            "readOnly": False, "createdAt": "2026-01-01T00:00:00", "heartbeatAt": "2026-01-01T00:00:00",
            "description": "", "notes": "", "systemMetrics": "{}",
            "summaryMetrics": json.dumps(self.requests.summary(str(name))),
            "historyLineCount": len(self.requests.rows(str(name))),
            "user": {"name": "someone", "username": "someone"}, "historyKeys": None, "projectId": "1",
        }  # fmt: skip

    def _view(self, sent: dict[str, Any]) -> dict[str, Any]:
        new = not sent.get("id")
        view = {
            "id": sent.get("id") or f"view{len(self.views)}", "type": sent["type"], "name": sent["name"],
            "displayName": sent["displayName"], "description": sent.get("description"), "spec": sent["spec"],
            "project": {"id": "p", "name": sent["projectName"], "entityName": sent["entityName"]},
            "updatedAt": "2026-01-01T00:00:00",
        }  # fmt: skip
        self.views[view["id"]] = view
        return {"view": view, "inserted": new}


@contextmanager
def working(
    *,
    mute_after: str | None = None,
    mute_on: str | None = None,
    delay: float = 0.0,
    refuse: str | None = None,
) -> Iterator[tuple[str, Requests]]:
    """Answers what the SDK asks; goes mute for good after an operation named `mute_after` or on `mute_on`.

    `delay` is how long each answer to a request takes, in seconds; `refuse` names an operation, or
    the end of a path, that is answered 403.
    """
    requests, dead, release = Requests(), threading.Event(), threading.Event()
    store = requests.store = Store(requests)

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
                return None
            if delay:
                release.wait(delay)
            try:
                sent = json.loads(
                    gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
                )
            except ValueError:  # the SDK's telemetry, which is no JSON
                return self.answer(200, {})
            query = sent.get("query") or ""
            name = sent.get("operationName") or _operation(query) or self.path
            if name == mute_on:
                dead.set()
                release.wait(60)
                return None
            if refuse is not None and name.endswith(refuse):
                return self.answer(403, {"errors": [{"message": "no"}]})
            variables = sent.get("variables") or {}
            requests.append((name, variables if query else sent))
            host = f"http://127.0.0.1:{self.server.server_address[1]}"  # type: ignore[str-bytes-safe]
            self.answer(200, {"data": store.answer(name, variables, host, query)})
            if name == mute_after:
                dead.set()
            return None

    with _serving(Working) as url:
        try:
            yield url, requests
        finally:
            release.set()


def _operation(query: str) -> str:
    found = re.match(r"\s*(?:query|mutation)\s+(\w+)", query)
    return found[1] if found else ""
