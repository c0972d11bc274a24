"""LocalCluster: ports.Cluster over node server processes, which it restarts when they die."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import aiohttp

from edgewise.control.ports import Clock
from edgewise.domain.errors import BadInput, ClusterUnavailable, EdgewiseError, UnknownNode
from edgewise.domain.observation import ClusterFacts
from edgewise.domain.world import World
from tools.local.client import NodeClient
from tools.local.facts import NodeHandle, NodeView, Sight, back_off_s, sight_of, view

# A node that has answered this long since its last start is healthy again: its restarts are forgotten.
STEADY_S = 30.0


class Launcher(Protocol):
    """Starts node processes; handed in by the composition root. `spawn` returns the new process's pid and URL
    once it listens, or raises an EdgewiseError. `exited` is whether the newest process of a node is known to be
    dead; it must not block."""

    async def spawn(self, node_id: str) -> tuple[int, str]: ...

    def exited(self, node_id: str) -> bool: ...


@dataclass(eq=False)
class _Room:
    """What the cluster remembers of one node. `since_s`: start (or last restart), run clock."""

    handle: NodeHandle
    since_s: float
    sight: Sight | None = None
    died: bool = False
    restarts: int = 0
    restart: asyncio.Task[None] | None = None
    shares: dict[str, float] = field(default_factory=dict)
    error: str = ""


class LocalCluster:
    """Implements ports.Cluster over the node server API.

    dead_after_s: silence after which a node counts as dead; a node whose process is gone is dead at once.
    poll_timeout_s: longest one `observe` waits for a node; command_timeout_s: longest a command waits.
    Closing it leaves the processes to their launcher.
    """

    def __init__(
        self,
        nodes: Mapping[str, NodeHandle],
        world: World,
        clock: Clock,
        launcher: Launcher,
        *,
        dead_after_s: float = 2.0,
        poll_timeout_s: float = 1.0,
        command_timeout_s: float = 5.0,
    ) -> None:
        self._world = world
        self._clock = clock
        self._launcher = launcher
        self._dead_after_s = dead_after_s
        self._poll_timeout_s = poll_timeout_s
        self._command_timeout_s = command_timeout_s
        self._rooms = {node: _Room(handle, clock.now_s()) for node, handle in nodes.items()}
        self._session: aiohttp.ClientSession | None = None

    def urls(self) -> dict[str, str]:
        """The URL of each node as of now; a restart changes it."""
        return {node: room.handle.url for node, room in self._rooms.items()}

    def restart_errors(self) -> dict[str, str]:
        """Why the last restart of a node failed, for those where it did."""
        return {node: room.error for node, room in self._rooms.items() if room.error}

    async def observe(self) -> ClusterFacts:
        for node, room in self._rooms.items():
            self._tend(node, room)
        views = await asyncio.gather(*(self._look(node, room) for node, room in self._rooms.items()))
        return ClusterFacts(
            at_s=self._clock.now_s(),
            nodes=tuple(v.node for v in views),
            replicas=tuple(r for v in views for r in v.replicas),
        )

    async def load(self, node: str, model: str) -> None:
        await self._known(node, model).load(model)

    async def drain(self, node: str, model: str) -> None:
        await self._known(node, model).drain(model)

    async def unload(self, node: str, model: str) -> None:
        await self._known(node, model).unload(model)

    async def share(self, node: str, shares: Mapping[str, float]) -> None:
        client = self._known(node, *shares)
        for model, share in shares.items():
            if not share > 0:
                raise BadInput(f"the share of {model} must be positive, not {share}", where=node)
        await client.share(shares)
        self._rooms[node].shares.update(shares)

    async def aclose(self) -> None:
        tasks = [room.restart for room in self._rooms.values() if room.restart is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _known(self, node: str, *models: str) -> NodeClient:
        """The client of a node of this cluster, once all names are known and the node is not known to be dead."""
        self._world.node(node)
        for model in models:
            self._world.model(model)
        room = self._rooms.get(node)
        if room is None:
            raise UnknownNode(f"node {node!r} has no process here", hint=f"processes: {', '.join(self._rooms)}")
        if room.died or self._launcher.exited(node):
            raise ClusterUnavailable(
                "the node's process is gone", where=node, retry_after_s=back_off_s(room.restarts)
            )
        return self._client(node, room, self._command_timeout_s)

    def _client(self, node: str, room: _Room, timeout_s: float) -> NodeClient:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return NodeClient(self._session, node, room.handle.url, timeout_s)

    async def _look(self, node: str, room: _Room) -> NodeView:
        if not room.died:
            await self._poll(node, room)
        now_s = self._clock.now_s()
        return view(room.handle, room.sight, now_s, room.since_s, self._dead_after_s, room.died)

    async def _poll(self, node: str, room: _Room) -> None:
        url, sent_s = room.handle.url, self._clock.now_s()
        try:
            state = await self._client(node, room, self._poll_timeout_s).state()
        except EdgewiseError:
            # It may have died during the poll: then say so now, not a whole silence later.
            self._tend(node, room)
            return
        if room.handle.url == url and not room.died:
            room.sight = sight_of(state, sent_s, self._clock.now_s())
            if self._clock.now_s() - room.since_s > STEADY_S:
                room.restarts = 0

    def _tend(self, node: str, room: _Room) -> None:
        """Notices that a process died, and sees to its restart."""
        if room.restart is not None and not room.restart.done():
            return
        if room.died or self._launcher.exited(node):
            if not room.died:
                room.died, room.sight, room.since_s = True, None, self._clock.now_s()
            room.restart = asyncio.create_task(self._restart(node, room))

    async def _restart(self, node: str, room: _Room) -> None:
        await self._clock.sleep(back_off_s(room.restarts))
        room.restarts += 1
        try:
            _, url = await self._launcher.spawn(node)
        except (EdgewiseError, OSError) as error:
            room.error = str(error)
            return
        room.handle = replace(room.handle, url=url)
        room.died, room.sight, room.since_s, room.error = False, None, self._clock.now_s(), ""
        if room.shares:
            # The port says that shares stay until changed; a fresh process has forgotten them.
            with contextlib.suppress(EdgewiseError):
                await self._client(node, room, self._command_timeout_s).share(room.shares)
