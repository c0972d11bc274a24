"""A node server whose answers a test chooses: real sockets, no models, every fault on demand."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from edgewise.domain.cluster import ReplicaState
from edgewise.domain.codec import from_json
from edgewise.domain.records import PromptRow
from serving.gateway.config import GatewayConfig
from serving.gateway.server import serve_gateway

Fault = Callable[[web.Request], str]


@dataclass
class GatewayNode:
    """`behave` names what happens to a prompt: ok | back | drop | half | stream | stream-die | slow | bad | error."""

    id: str
    origin: float
    replicas: dict[str, ReplicaState] = field(default_factory=dict)
    ready_in_s: float | None = 0.5
    service_s: float = 0.0
    behave: Fault = lambda _: "ok"
    seen: list[dict[str, Any]] = field(default_factory=list)
    cancelled: int = 0
    running: int = 0
    port: int = 0
    _may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def silence(self) -> None:
        """State polls hang from now on, as if the process were stopped; `speak` ends it."""
        self._may_answer.clear()

    def speak(self) -> None:
        self._may_answer.set()

    async def start(self) -> None:
        self._may_answer.set()
        app = web.Application(client_max_size=64 << 20)
        app.router.add_get("/edgewise/v1/state", self._state)
        for path in ("/v1/completions", "/v1/chat/completions", "/v1/images/generations"):
            app.router.add_post(path, self._prompt)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def kill(self) -> None:
        """Like SIGKILL: connections break, the port refuses."""
        if self._runner is not None:
            for handler in list(self._runner.server.connections if self._runner.server else []):
                if handler.transport is not None:
                    handler.transport.abort()
            await self._runner.cleanup()
            self._runner = None

    async def _state(self, _: web.Request) -> web.Response:
        await self._may_answer.wait()
        rows = [
            {
                "model": model,
                "state": state.value,
                "since_s": 0.0,
                "ready_in_s": self.ready_in_s if state is ReplicaState.LOADING else 0.0,
                "error": "",
                "queued": 0,
                "in_flight": self.running,
                "work_s": self.running * self.service_s,
                "share": 1.0,
                "served": 0,
                "mean_service_s": None,
            }
            for model, state in self.replicas.items()
        ]
        at_s = time.monotonic() - self.origin
        return web.json_response({"node": self.id, "at_s": at_s, "speed": 1.0, "memory_gib": 1.0, "replicas": rows})

    async def _prompt(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append({"path": request.path, "headers": request.headers.copy(), "body": body})
        self.running += 1
        try:
            return await self._answer(request, self.behave(request))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def _answer(self, request: web.Request, what: str) -> web.StreamResponse:
        now = {"x-edgewise-started-s": f"{time.monotonic() - self.origin:.6f}", "x-edgewise-cold-start": "false"}
        if self.service_s:
            await asyncio.sleep(self.service_s)
        transport = request.transport
        assert transport is not None
        match what:
            case "back":
                headers = {"x-edgewise-handed-back": "1", "Retry-After": "1"}
                return web.json_response({"error": {"message": "draining"}}, status=503, headers=headers)
            case "drop":
                transport.abort()
                raise web.HTTPInternalServerError
            case "half":
                transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n{")
                await asyncio.sleep(0.02)
                transport.abort()
                raise web.HTTPInternalServerError
            case "slow":
                await asyncio.sleep(30)
            case "bad":
                return web.json_response({"error": {"message": "prompt too long", "code": "too_long"}}, status=400)
            case "error":
                return web.json_response({"error": {"message": "broken"}}, status=500)
            case "stream" | "stream-die" | "stream-never":
                return await self._stream(request, what, now)
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        return web.json_response({"id": "c", "choices": [{"text": f"from {self.id}"}], "usage": usage}, headers=now)

    async def _stream(self, request: web.Request, what: str, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **headers})
        await response.prepare(request)
        assert request.transport is not None
        if what == "stream-never":
            request.transport.abort()
            return response
        for word in ("a", "b"):
            await response.write(f'data: {{"choices":[{{"text":"{word}"}}]}}\n\n'.encode())
            await asyncio.sleep(0.03)
        if what == "stream-die":
            await response.write(b'data: {"choices":[{"te')  # an event cut in two never reaches the client
            await asyncio.sleep(0.03)
            request.transport.abort()
            return response
        await response.write(b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}\n\n')
        await response.write(b"data: [DONE]\n\n")
        return response


@dataclass
class Room:
    """A running gateway and a client of it."""

    url: str
    session: aiohttp.ClientSession
    config: GatewayConfig
    stop: asyncio.Event
    served: asyncio.Task[None]

    async def ask(self, model: str = "gpt2", **more: Any) -> aiohttp.ClientResponse:
        headers = more.pop("headers", {})
        path = more.pop("path", "/v1/completions")
        body = {"model": model, "prompt": "hello there", "max_tokens": 4, **more}
        response = await self.session.post(self.url + path, json=body, headers=headers)
        await response.read()
        return response

    async def state(self) -> dict[str, Any]:
        async with self.session.get(self.url + "/edgewise/v1/state") as response:
            found: dict[str, Any] = await response.json()
            return found

    def rows(self) -> list[PromptRow]:
        lines = (Path(self.config.run_dir) / "events.jsonl").read_bytes().splitlines()
        return [from_json(PromptRow, line) for line in lines]

    async def until_waiting(self, model: str, count: int) -> None:
        end = time.monotonic() + 10
        while (waiting := (await self.state())["waiting"][model]) != count:
            assert time.monotonic() < end, f"{waiting} wait instead of {count}"
            await asyncio.sleep(0.02)

    async def until(self, met: Callable[[], Any], timeout_s: float = 10.0) -> None:
        end = time.monotonic() + timeout_s
        while not met():
            assert time.monotonic() < end, "it did not come about in time"
            await asyncio.sleep(0.02)

    async def until_alive(self, *nodes: str, timeout_s: float = 10.0) -> None:
        end = time.monotonic() + timeout_s
        while {n["id"] for n in (await self.state())["nodes"] if n["alive"]} != set(nodes):
            assert time.monotonic() < end, "the nodes did not come alive in time"
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(config: GatewayConfig) -> AsyncIterator[Room]:
    """A gateway inside this event loop, stopped at the end."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    served = asyncio.create_task(serve_gateway(config, stop, ready.set_result))
    await asyncio.wait({served, ready}, return_when=asyncio.FIRST_COMPLETED, timeout=60)
    if served.done():
        served.result()
    async with aiohttp.ClientSession() as session:
        try:
            yield Room(f"http://127.0.0.1:{ready.result()}", session, config, stop, served)
        finally:
            stop.set()
            await asyncio.wait_for(served, 20)
