"""The parts of a run on one machine: store, gateway, controller, node processes. Started together, watched while
they run, always stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from edgewise.compose.children import Child
from edgewise.compose.config import ControlConfig
from edgewise.compose.keeper import ControlKeeper
from edgewise.compose.pss import tree_pss_mib
from edgewise.compose.supervisor import NodeSupervisor
from edgewise.domain.codec import to_json
from serving.fork_client import NodeExited
from serving.gateway.config import GatewayConfig
from serving.node.config import NodeConfig
from tools.rundir import LOGS, STORE
from tools.store import SPOOL, StoreChild

_PSS_EVERY_S = 5.0
_LOOK_EVERY_S = 0.5
_FULL_BYTES = 64 * 1024  # less room than this, and the next rows may not fit
# Two steps, together well below the ten seconds in which a signal must end everything.
_STOP_CONTROL_S, _STOP_GATEWAY_S = 4.5, 3.5
_STOP_NODES_S, _STOP_STORE_S = 3.0, 3.0


class LocalParts:
    """`say` hears what a person should know; `on_failed` is called once when a part ended without which there is no
    run (`failure` says which)."""

    def __init__(self, run: Path, say: Callable[[str], None], on_failed: Callable[[], None]) -> None:
        self._run, self._say, self._on_failed = run, say, on_failed
        self.store = StoreChild(run / STORE)
        self.gateway = Child("gateway", run / LOGS)
        self.nodes = NodeSupervisor(run / LOGS / "nodes.log", self._node_exited, self._nodes_lost)
        self.control = ControlKeeper(run / LOGS, self.nodes, say)
        self.peak_mib = 0.0
        self.failure = ""
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Start all processes; returns when the store answers and nodes can be forked. Imports run in parallel."""
        self._watch(self._sample_memory())
        await asyncio.gather(self.gateway.start(), self.control.start())
        self.store.start()  # from this thread: a child dies with the thread that started it
        await asyncio.gather(self.nodes.start(), asyncio.to_thread(self.store.wait_ready))
        self._watch(self._watch_store())
        self._watch(self._watch_disk())

    async def spawn_nodes(self, configs: list[NodeConfig]) -> None:
        await self.nodes.spawn_all(configs)

    async def configure_gateway(self, config: GatewayConfig) -> str:
        """Its base URL, once it listens."""
        ready = await self.gateway.configure(to_json(config))
        self._watch(self._watch_gateway())
        return f"http://{config.host}:{ready['port']}"

    async def configure_control(self, config: ControlConfig) -> str:
        """Base URL of the control API, once it answers."""
        return await self.control.configure(config)

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.create_task(work))

    async def _node_exited(self, event: NodeExited) -> None:
        how = f"signal {event.signal}" if event.signal else f"code {event.code}"
        self._say(f"{event.node}: its process ended ({how}); the controller is told")
        await self.control.send({"exited": event.node, "pid": event.pid})

    def _nodes_lost(self) -> None:
        self._fail("the fork server ended, and every node with it")

    async def _watch_gateway(self) -> None:
        self._fail(f"the gateway ended ({await self.gateway.ended()})")

    async def _watch_store(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if not self.store.alive:
                self._say(f"the store ended; the run goes on, and what it would have stored is kept in {SPOOL}")
                return

    async def _watch_disk(self) -> None:
        full = False
        while True:
            was, full = full, await asyncio.to_thread(self._disk_full)
            if full and not was:
                self._say(f"the disk under {self._run} is full; rows are kept in memory until there is room")
            elif was and not full:
                self._say(f"there is room under {self._run} again")
            await asyncio.sleep(_LOOK_EVERY_S)

    def _disk_full(self) -> bool:
        return shutil.disk_usage(self._run).free < _FULL_BYTES

    def _fail(self, why: str) -> None:
        if not self.failure:
            self.failure = why
            self._on_failed()

    async def _sample_memory(self) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, await asyncio.to_thread(tree_pss_mib, os.getpid()))
            await asyncio.sleep(_PSS_EVERY_S)

    async def end_serving(self) -> None:
        """Stop controller and gateway: no prompt is taken any more, those nearly answered are. Never raises."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(
            self.control.stop(_STOP_CONTROL_S), self.gateway.stop(_STOP_GATEWAY_S), return_exceptions=True
        )

    async def stop(self) -> None:
        """In the order in which nobody misses the other: controller and gateway, then nodes and store. One that will
        not stop does not keep the others running. Never raises."""
        await self.end_serving()
        await asyncio.gather(
            self.nodes.stop(_STOP_NODES_S),
            asyncio.to_thread(self.store.stop, _STOP_STORE_S),
            return_exceptions=True,
        )
