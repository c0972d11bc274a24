"""Starts real node server processes with tiny models; the launcher that tests hand to LocalCluster."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from edgewise.domain.world import World
from serving.checkpoints import Source
from serving.fork_client import ForkServer
from serving.node.config import NodeConfig
from tools.local import NodeHandle

T = TypeVar("T")
START_S = 240.0  # importing the model libraries from a cold disk on a busy machine


class ForkedLauncher:
    """Implements tools.local.Launcher over serving's fork server, which belongs to one event loop: it lives in a
    thread with its own, so that one warmed parent serves tests with loops of their own. Close it to end all."""

    def __init__(self, world: World, sources: Mapping[str, Source], origin: float, log: Path) -> None:
        self._world = world
        self._sources = dict(sources)
        self._origin = origin
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._fork = ForkServer(log=log)
        self._pids: dict[str, int] = {}
        self._ended: set[int] = set()

    def start(self, tiny: Path) -> dict[str, NodeHandle]:
        """Writes the tiny checkpoints into `tiny` and starts all nodes of the world."""
        self._call(self._fork.start())
        asyncio.run_coroutine_threadsafe(self._hear_exits(), self._loop)
        self._call(self._fork.make_tiny(tiny))
        return {spec.id: NodeHandle(self._call(self._spawn(spec.id))[1], spec) for spec in self._world.nodes}

    async def spawn(self, node_id: str) -> tuple[int, str]:
        spawned = asyncio.run_coroutine_threadsafe(self._spawn(node_id), self._loop)
        return await asyncio.wrap_future(spawned)

    def exited(self, node_id: str) -> bool:
        return self._pids[node_id] in self._ended

    def pid(self, node_id: str) -> int:
        return self._pids[node_id]

    def close(self) -> None:
        self._call(self._fork.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_S)
        self._loop.close()

    async def _spawn(self, node_id: str) -> tuple[int, str]:
        config = NodeConfig(self._world.node(node_id), self._world.models, self._sources, self._origin)
        spawned = await self._fork.spawn(config)
        self._pids[node_id] = spawned.pid
        return spawned.pid, f"http://127.0.0.1:{spawned.port}"

    async def _hear_exits(self) -> None:
        async for gone in self._fork.exits():
            self._ended.add(gone.pid)

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(START_S)
