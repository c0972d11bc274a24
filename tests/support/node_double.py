"""A node server without models: the same HTTP API over the in-memory cluster, in a process of its own.

    python -m tests.support.node_double --node n1 --world world.json --origin 123.4 [--break-load MODEL]

Prints its URL as the first line on stdout and ends when its stdin closes, so it never outlives who started it.
A prompt takes the seconds its `x-edgewise-size-hint` header says.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from edgewise.domain.codec import from_json
from edgewise.domain.errors import EdgewiseError, NotReady
from edgewise.domain.world import World
from tests.support.fake_clock import FakeClock
from tests.support.fake_cluster import DONE, FakeCluster


class WallClock(FakeClock):
    """The fake's clock on real time: timers fire when the event loop gets to them."""

    def __init__(self, origin: float) -> None:
        super().__init__()
        self._origin = origin

    def now_s(self) -> float:
        return time.monotonic() - self._origin

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def call_at(self, when_s: float, action: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(max(0.0, when_s - self.now_s()), action)


class NodeDouble:
    def __init__(self, node: str, world: World, origin: float, broken: list[str]) -> None:
        self.node = node
        self.clock = WallClock(origin)
        self.cluster = FakeCluster(world, self.clock)
        self._broken = broken

    def app(self) -> web.Application:
        app = web.Application(middlewares=[_our_errors])
        app.add_routes(
            [
                web.get("/edgewise/v1/state", self.state),
                web.post("/v2/repository/models/{model}/load", self.load),
                web.post("/v2/repository/models/{model}/unload", self.unload),
                web.post("/edgewise/v1/models/{model}/drain", self.drain),
                web.put("/edgewise/v1/shares", self.share),
                web.post("/v1/completions", self.complete),
            ]
        )
        return app

    async def state(self, _: web.Request) -> web.Response:
        facts = await self.cluster.observe()
        node = next(n for n in facts.nodes if n.node == self.node)
        loads = {x.model: x for x in self.cluster.loads() if x.node == self.node}
        shares = self.cluster.shares(self.node)
        replicas = [
            {
                "model": r.model,
                "state": r.state.value,
                "since_s": r.since_s,
                "ready_in_s": r.ready_in_s,
                "error": r.error,
                "queued": loads[r.model].queued,
                "in_flight": loads[r.model].in_flight,
                "work_s": loads[r.model].work_s,
                "share": shares.get(r.model, 1.0),
                "served": 0,
                "mean_service_s": None,
            }
            for r in facts.replicas
            if r.node == self.node
        ]
        return web.json_response(
            {
                "node": self.node,
                "at_s": self.clock.now_s(),
                "memory_gib": node.memory_gib,
                "memory_used_gib": node.memory_used_gib,
                "speed": self.cluster.world.node(self.node).speed,
                "pid": os.getpid(),
                "replicas": replicas,
            }
        )

    async def load(self, request: web.Request) -> web.Response:
        model = request.match_info["model"]
        if model in self._broken:
            self.cluster.break_load(self.node, model)
        await self.cluster.load(self.node, model)
        return web.json_response({}, status=202)

    async def unload(self, request: web.Request) -> web.Response:
        await self.cluster.unload(self.node, request.match_info["model"])
        return web.json_response({})

    async def drain(self, request: web.Request) -> web.Response:
        await self.cluster.drain(self.node, request.match_info["model"])
        return web.json_response({})

    async def share(self, request: web.Request) -> web.Response:
        await self.cluster.share(self.node, await request.json())
        return web.json_response({})

    async def complete(self, request: web.Request) -> web.Response:
        model = (await request.json())["model"]
        self.cluster.world.model(model)
        seconds = float(request.headers.get("x-edgewise-size-hint", "0.05"))
        if await self.cluster.send(self.node, model, seconds) != DONE:
            raise NotReady(f"{model} is not ready", where=self.node, retry_after_s=1.0)
        return web.json_response({"model": model, "choices": [{"index": 0, "text": "a word"}]})


@web.middleware
async def _our_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except EdgewiseError as error:
        headers = {"x-edgewise-handed-back": "1", "Retry-After": "1"} if isinstance(error, NotReady) else {}
        return web.json_response(error.as_dict(), status=error.http_status, headers=headers)


async def _serve(double: NodeDouble) -> None:
    # A client that goes away must free what its prompt held, as in the real node.
    runner = web.AppRunner(double.app(), handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    sys.stdout.write(f"http://127.0.0.1:{port}\n")
    sys.stdout.flush()
    stdin = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    await stdin.read()
    await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", required=True)
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--origin", type=float, required=True)
    parser.add_argument("--break-load", action="append", default=[])
    args = parser.parse_args()
    world = from_json(World, args.world.read_bytes(), where=str(args.world))
    own = World((world.node(args.node),), world.models, world.network, world.host_cores)
    asyncio.run(_serve(NodeDouble(args.node, own, args.origin, args.break_load)))


if __name__ == "__main__":
    main()
