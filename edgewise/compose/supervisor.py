"""The node processes of a demo: forked from one warmed parent, restarted when asked, always stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from edgewise.domain.errors import ClusterUnavailable
from serving.fork_client import ForkServer, NodeExited
from serving.node.config import NodeConfig


class NodeSupervisor:
    """Owns the fork server. `on_exit` hears of every process that ended unasked, `on_lost` that the fork server did
    (its nodes die with it). gone: nodes whose newest process has ended, by its pid."""

    def __init__(
        self, log_path: Path, on_exit: Callable[[NodeExited], Awaitable[None]], on_lost: Callable[[], None]
    ) -> None:
        self._forks = ForkServer(log=log_path)
        self._on_exit, self._on_lost = on_exit, on_lost
        self.gone: dict[str, int] = {}
        self._configs: dict[str, NodeConfig] = {}
        self.pids: dict[str, int] = {}
        self.urls: dict[str, str] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._stopping = False

    async def start(self) -> None:
        """Start the warmed parent; returns when its imports are done."""
        await self._forks.start()
        self._watcher = asyncio.create_task(self._watch())

    async def spawn_all(self, configs: list[NodeConfig]) -> None:
        self._configs = {c.node.id: c for c in configs}
        await asyncio.gather(*(self.spawn(node) for node in self._configs))

    async def limit_cpu(self, limits: Mapping[str, float]) -> None:
        """Hold each node to its part of a core, now and after every restart. Raises ClusterUnavailable."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
            for node, cores in limits.items():
                self._configs[node] = replace(self._configs[node], cpu_limit=cores)
                try:
                    async with http.put(f"{self.urls[node]}/edgewise/v1/limits", json={"cpu": cores}) as answer:
                        answer.raise_for_status()
                except (aiohttp.ClientError, TimeoutError) as error:
                    raise ClusterUnavailable(f"no CPU limit could be set: {error}", where=node) from error

    async def spawn(self, node: str) -> tuple[int, str]:
        """Fork one node; on a restart it gets its old port back when that is free. Its pid and URL."""
        config = self._configs[node]
        if node in self.urls:
            config = replace(config, port=urlsplit(self.urls[node]).port or 0)
        spawned = await self._forks.spawn(config)
        self.pids[node], self.urls[node] = spawned.pid, f"http://{config.host}:{spawned.port}"
        self.gone.pop(node, None)
        return spawned.pid, self.urls[node]

    async def _watch(self) -> None:
        async for event in self._forks.exits():
            if not self._stopping:
                self.gone[event.node] = event.pid
                await self._on_exit(event)
        if not self._stopping:
            self._on_lost()

    async def stop(self, timeout_s: float) -> None:
        self._stopping = True
        await self._forks.stop(timeout_s)
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
