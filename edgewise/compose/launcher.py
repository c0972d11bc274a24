"""Starting node processes from another process than their parent.

Nodes are forked by the process that runs the demo, so that they outlive a controller that dies; the controller asks
for a restart over the pipe it was configured through. One JSON object per line:
    controller → parent  {"spawn": node, "call": n} | {"mode": "active"}
    parent → controller  {"call": n, "pid": …, "url": …} | {"call": n, "error": {…}} | {"exited": node, "pid": …}
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import orjson

from edgewise.domain.errors import ClusterUnavailable, EdgewiseError

SPAWN_TIMEOUT_S = 30.0


class PipeLauncher:
    """The controller's side; implements the launcher of tools.local."""

    def __init__(self, send: Callable[[dict[str, Any]], None], pids: Mapping[str, int]) -> None:
        self._send = send
        self._pids = dict(pids)
        self._calls = itertools.count()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._exited: set[str] = set()

    async def spawn(self, node_id: str) -> tuple[int, str]:
        call = next(self._calls)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[call] = future
        self._send({"spawn": node_id, "call": call})
        try:
            async with asyncio.timeout(SPAWN_TIMEOUT_S):
                answer = await future
        except TimeoutError as error:
            raise ClusterUnavailable("the node was not started in time", where=node_id) from error
        finally:
            self._waiting.pop(call, None)
        if "error" in answer:
            raise ClusterUnavailable(answer["error"]["message"], where=node_id, hint=answer["error"]["hint"])
        self._pids[node_id] = int(answer["pid"])
        self._exited.discard(node_id)
        return int(answer["pid"]), str(answer["url"])

    def exited(self, node_id: str) -> bool:
        return node_id in self._exited

    def hear(self, line: bytes) -> None:
        """Take one line of the parent's."""
        message = orjson.loads(line)
        if "exited" in message:
            # Word of a process that was replaced meanwhile is old news.
            if message["pid"] == self._pids.get(message["exited"]):
                self._exited.add(message["exited"])
            return
        future = self._waiting.get(message.get("call", -1))
        if future is not None and not future.done():
            future.set_result(message)


async def answer_launcher(
    lines: AsyncIterator[bytes],
    spawn: Callable[[str], Awaitable[tuple[int, str]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """The parent's side: carry out each spawn asked for on `lines`. Returns when the lines have ended and every spawn
    is done: one that was asked for by a controller that died must not be forgotten half-way."""
    tasks: set[asyncio.Task[None]] = set()

    async def one(message: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"call": message["call"]}
        try:
            pid, url = await spawn(message["spawn"])
            answer |= {"pid": pid, "url": url}
        except EdgewiseError as error:
            answer |= error.as_dict()
        with contextlib.suppress(ConnectionError):
            await send(answer)

    try:
        async for line in lines:
            with contextlib.suppress(orjson.JSONDecodeError):
                message = orjson.loads(line)
                if "spawn" in message:
                    task = asyncio.create_task(one(message))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
