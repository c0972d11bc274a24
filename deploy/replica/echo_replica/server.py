"""The node server's HTTP API for one replica. A prompt takes as many seconds as its size hint says."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
import uuid
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from echo_replica import answers
from echo_replica.life import BusyError, GoneError, HandedBackError, Replica, Served

PROMPT_PATHS = ("/v1/completions", "/v1/chat/completions", "/v1/images/generations")
LARGEST_BODY = 32 * 1024 * 1024


@dataclass(frozen=True)
class Site:
    """Where the replica lives. `origin` is the run's zero on the monotonic clock."""

    node: str
    memory_gib: float
    origin: float
    replica: Replica


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    address_family = socket.AF_INET

    def __init__(self, address: tuple[str, int], site: Site) -> None:
        super().__init__(address, Handler)
        self.site = site


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "edgewise-echo-replica"
    timeout: ClassVar[float] = 300.0
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every second; a log line each would bury what matters."""

    # --- reading and writing --------------------------------------------------------------------------------

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("content-length") or 0)
        if length > LARGEST_BODY:
            self.close_connection = True
            raise answers.BadRequestError("the body is too large")
        try:
            loaded = json.loads(self.rfile.read(length) or b"{}")
        except ValueError as error:
            raise answers.BadRequestError(f"the body is not JSON: {error}") from error
        if not isinstance(loaded, dict):
            raise answers.BadRequestError("the body must be a JSON object")
        return loaded

    def _send(self, status: int, value: Any, **headers: str) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", "text/plain" if isinstance(value, str) else "application/json")
        self.send_header("content-length", str(len(data)))
        for name, content in headers.items():
            self.send_header(name.replace("_", "-"), content)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(data)

    def _error(self, status: int, code: str, message: str, **headers: str) -> None:
        if self.path.startswith("/v1/"):
            kind = "invalid_request_error" if status < 500 else "server_error"
            shape: dict[str, Any] = {"message": message, "type": kind, "param": None, "code": code}
        else:
            shape = {"code": code, "message": message, "where": self.server.site.node, "hint": ""}
        self._send(status, {"error": shape}, **headers)

    def _client_is_there(self) -> bool:
        """False once the client has closed its end (a readable socket with nothing to read)."""
        readable, _, _ = select.select([self.connection], [], [], 0)
        if not readable:
            return True
        try:
            return bool(self.connection.recv(1, socket.MSG_PEEK))
        except OSError:
            return False

    # --- paths ----------------------------------------------------------------------------------------------

    def do_GET(self) -> None:
        site, facts = self.server.site, self.server.site.replica.facts()
        ready = facts["state"] == "ready"
        if self.path in ("/v2/health/live", "/v2/health/ready"):
            self._send(200, {"live" if self.path.endswith("live") else "ready": True})
        elif self.path.startswith("/v2/models/") and self.path.endswith("/ready"):
            known = self.path == f"/v2/models/{facts['model']}/ready"
            self._send(200 if known and ready else 503 if known else 404, {"ready": known and ready})
        elif self.path == "/v1/models":
            entry = {"id": facts["model"], "object": "model", "owned_by": "edgewise"}
            self._send(200, {"object": "list", "data": [entry]})
        elif self.path == "/v2/repository/index":
            self._index(facts)
        elif self.path == "/edgewise/v1/state":
            self._send(200, _state(site, facts))
        elif self.path == "/metrics":
            self._send(200, answers.metrics(site.node, facts))
        else:
            self._error(404, "not_found", f"no such path {self.path}")

    def do_POST(self) -> None:
        replica = self.server.site.replica
        try:
            body = self._body()
            if self.path in PROMPT_PATHS:
                self._prompt(body)
            elif self.path == "/v2/repository/index":
                self._index(replica.facts())
            elif self.path.split("/")[-2] != replica.model:
                self._error(404, "model_not_found", f"this replica holds {replica.model} only")
            elif self.path == f"/edgewise/v1/models/{replica.model}/drain":
                replica.drain()
                self._send(200, replica.facts())
            elif self.path == f"/v2/repository/models/{replica.model}/load":
                self._send(202 if replica.load() else 200, replica.facts())
            elif self.path == f"/v2/repository/models/{replica.model}/unload":
                replica.unload()
                self._send(200, replica.facts())
            else:
                self._error(404, "not_found", f"no such path {self.path}")
        except answers.BadRequestError as error:
            self._error(400, "bad_input", str(error))
        except BusyError as error:
            self._error(409, "replica_busy", str(error))

    def do_PUT(self) -> None:
        replica = self.server.site.replica
        try:
            shares = self._body()
            if self.path != "/edgewise/v1/shares":
                self._error(404, "not_found", f"no such path {self.path}")
            elif not all(isinstance(s, int | float) and s > 0 for s in shares.values()):
                self._error(400, "bad_input", "a share is a number above 0")
            else:
                replica.share = float(shares.get(replica.model, replica.share))
                self._send(200, {replica.model: replica.share})
        except answers.BadRequestError as error:
            self._error(400, "bad_input", str(error))

    def _index(self, facts: dict[str, Any]) -> None:
        state = "READY" if facts["state"] == "ready" else "UNAVAILABLE"
        self._send(200, [{"name": facts["model"], "state": state, "reason": facts["error"]}])

    def _prompt(self, body: dict[str, Any]) -> None:
        site = self.server.site
        replica, request_id = site.replica, self.headers.get("x-request-id") or uuid.uuid4().hex
        if body.get("model") != replica.model:
            self._error(404, "model_not_found", f"model {body.get('model')!r} is not here, {replica.model} is")
            return
        try:
            seconds = float(self.headers.get("x-edgewise-size-hint") or replica.mean_service_s)
            answer = answers.answer(self.path, request_id, replica.model, body)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise answers.BadRequestError(str(error)) from error
        try:
            served = replica.serve(seconds, self._client_is_there)
        except HandedBackError:
            wait = str(max(1, round(replica.facts()["ready_in_s"])))
            message = f"{replica.model} is {replica.state} here"
            self._error(503, "not_ready", message, retry_after=wait, x_edgewise_handed_back="1")
            return
        except GoneError:
            self.close_connection = True
            return
        if body.get("stream") and self.path != "/v1/images/generations":
            self._stream(request_id, body, served)
        else:
            told = {"x_edgewise_service_ms": f"{served.service_s * 1e3:.1f}"}
            self._send(200, answer, **_told(site, served), **told)

    def _stream(self, request_id: str, body: dict[str, Any], served: Served) -> None:
        self.close_connection = True  # the end of the stream is the end of the connection
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        for name, content in _told(self.server.site, served).items():
            self.send_header(name.replace("_", "-"), content)
        self.end_headers()
        with contextlib.suppress(OSError):
            for chunk in answers.chunks(self.path, request_id, self.server.site.replica.model, body):
                self.wfile.write(chunk)


def _told(site: Site, served: Served) -> dict[str, str]:
    return {
        "x_edgewise_node": site.node,
        "x_edgewise_queue_ms": f"{served.queue_s * 1e3:.1f}",
        "x_edgewise_cold_start": "true" if served.cold else "false",
        "x_edgewise_started_s": f"{served.started_s - site.origin:.3f}",
    }


def _state(site: Site, facts: dict[str, Any]) -> dict[str, Any]:
    """The node server's state document, for the one replica of this pod."""
    held = facts["state"] in ("loading", "ready", "draining")
    rows = [] if facts["state"] == "absent" else [{**facts, "since_s": facts["since_s"] - site.origin}]
    return {
        "node": site.node, "at_s": time.monotonic() - site.origin, "memory_gib": site.memory_gib,
        "memory_used_gib": site.memory_gib if held else 0.0, "speed": 1.0, "pid": os.getpid(), "replicas": rows,
    }  # fmt: skip
