"""The parts of a run on one machine: store, gateway, controller, node processes. Started together, always stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from edgewise.compose.children import Child
from edgewise.compose.config import ControlConfig
from edgewise.compose.launcher import answer_launcher
from edgewise.compose.pss import tree_pss_mib
from edgewise.compose.supervisor import NodeSupervisor
from edgewise.domain.codec import to_json
from serving.fork_client import NodeExited
from serving.gateway.config import GatewayConfig
from serving.node.config import NodeConfig
from tools.rundir import LOGS, STORE
from tools.store import StoreChild

_PSS_EVERY_S = 5.0
# Together below the ten seconds in which a signal must end everything.
_STOP_CONTROL_S, _STOP_GATEWAY_S, _STOP_NODES_S, _STOP_STORE_S = 3.5, 3.5, 3.0, 1.5


class LocalParts:
    """`say` hears what a person should know."""

    def __init__(self, run: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self.store = StoreChild(run / STORE)
        self.gateway = Child("gateway", run / LOGS)
        self.control = Child("control", run / LOGS)
        self.nodes = NodeSupervisor(run / LOGS / "nodes.log", self._node_exited)
        self.peak_mib = 0.0
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Start all processes; returns when the store answers and nodes can be forked. Imports run in parallel."""
        self._tasks.append(asyncio.create_task(self._sample_memory()))
        await asyncio.gather(self.gateway.start(), self.control.start())
        self.store.start()  # from this thread: a child dies with the thread that started it
        await asyncio.gather(self.nodes.start(), asyncio.to_thread(self.store.wait_ready))

    async def spawn_nodes(self, configs: list[NodeConfig]) -> None:
        await self.nodes.spawn_all(configs)

    async def configure_gateway(self, config: GatewayConfig) -> str:
        """Its base URL, once it listens."""
        ready = await self.gateway.configure(to_json(config))
        return f"http://{config.host}:{ready['port']}"

    async def configure_control(self, config: ControlConfig) -> str:
        """Base URL of the control API, once it answers. From then on the controller's spawns are carried out."""
        ready = await self.control.configure(to_json(config))
        lines = self.control.lines()
        self._tasks.append(asyncio.create_task(answer_launcher(lines, self.nodes.spawn, self.control.send)))
        return f"http://{config.host}:{ready['port']}"

    async def _node_exited(self, event: NodeExited) -> None:
        how = f"signal {event.signal}" if event.signal else f"code {event.code}"
        self._say(f"{event.node}: its process ended ({how}); the controller is told")
        await self.control.send({"exited": event.node, "pid": event.pid})

    async def _sample_memory(self) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, await asyncio.to_thread(tree_pss_mib, os.getpid()))
            await asyncio.sleep(_PSS_EVERY_S)

    async def stop(self) -> None:
        """In the order in which nobody misses the other: controller, gateway, nodes, store. Never raises."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await _quietly(self.control.stop(_STOP_CONTROL_S))
        await _quietly(self.gateway.stop(_STOP_GATEWAY_S))
        await _quietly(self.nodes.stop(_STOP_NODES_S))
        await _quietly(asyncio.to_thread(self.store.stop, _STOP_STORE_S))


async def _quietly(work: Awaitable[Any]) -> None:
    """One part that will not stop must not keep the others running."""
    with contextlib.suppress(Exception):
        await work
