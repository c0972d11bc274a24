"""Keeps the controller of a run going: configured once, started again when it ends unasked.

Nodes and gateway serve on by the last plan meanwhile, so a controller that dies costs decisions, never prompts. The
new one goes on from what the run directory says; the clock, the ports and the mode stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from edgewise.compose.children import Child
from edgewise.compose.config import ControlConfig, NodeAddress
from edgewise.compose.launcher import answer_launcher
from edgewise.compose.supervisor import NodeSupervisor
from edgewise.domain.codec import to_json
from edgewise.domain.decision import Mode
from edgewise.domain.errors import EdgewiseError

HUNG_S = 30.0  # a controller whose API is silent for so long is ended and started again
MAX_RESTARTS = 3  # in one run: a controller that dies again and again has a reason that a restart does not cure
_REST_S = 0.5  # before a restart, doubled each time
_PROBE_S = 2.0


class ControlKeeper:
    """Owns the controller process. `say` hears what a person should know. given_up: why it is not started any more,
    empty while it is kept."""

    def __init__(self, logs: Path, nodes: NodeSupervisor, say: Callable[[str], None]) -> None:
        self._logs, self._nodes, self._say = logs, nodes, say
        self._child = Child("control", logs)
        self._config: ControlConfig | None = None
        self._task: asyncio.Task[None] | None = None
        self._last_word = ""
        self.given_up = ""

    async def start(self) -> None:
        """Start the process; it imports and waits for `configure`."""
        await self._child.start()

    async def configure(self, config: ControlConfig) -> str:
        """Base URL of the control API, once it answers. From then on its spawns are carried out, and it is started
        again when it ends."""
        ready = await self._child.configure(to_json(config))
        self._config = replace(config, port=int(ready["port"]))
        self._task = asyncio.create_task(self._keep())
        return f"http://{config.host}:{ready['port']}"

    async def send(self, message: dict[str, Any]) -> None:
        """A line to the controller; nothing when there is none right now."""
        await self._child.send(message)

    async def stop(self, timeout_s: float) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._child.stop(timeout_s)

    async def _keep(self) -> None:
        restarts = 0
        await self._attend()
        while True:
            how = self._last_word or await self._child.ended()
            if restarts >= MAX_RESTARTS:
                self.given_up = f"the controller ended ({how}) and was started again {restarts} times already"
                self._say(f"{self.given_up}; the gateway serves on by the last plan")
                return
            self._say(f"the controller ended ({how}); it is started again, the gateway serves on by the last plan")
            await asyncio.sleep(_REST_S * 2**restarts)
            restarts += 1
            if await self._again():
                await self._attend()

    async def _again(self) -> bool:
        """A new process with what is known now. False when it did not come up."""
        assert self._config is not None
        await self._child.stop(1.0)
        self._child = Child("control", self._logs)
        addresses = tuple(NodeAddress(n, u, self._nodes.pids[n]) for n, u in self._nodes.urls.items())
        self._config = replace(self._config, nodes=addresses)
        try:
            await self._child.start()
            await self._child.configure(to_json(self._config))
        except EdgewiseError as error:
            self._last_word = error.line()
            return False
        for node, pid in self._nodes.gone.items():
            await self._child.send({"exited": node, "pid": pid})
        return True

    async def _attend(self) -> None:
        """Carry out what the controller asks for until it ends."""
        self._last_word = ""
        watching = asyncio.create_task(self._end_when_hung())
        try:
            await answer_launcher(self._heard(), self._nodes.spawn, self._child.send)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _end_when_hung(self) -> None:
        assert self._config is not None
        url = f"http://{self._config.host}:{self._config.port}/control/v1/mode"
        heard_s = time.monotonic()
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PROBE_S)) as http:
            while time.monotonic() - heard_s < HUNG_S:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                    async with http.get(url):
                        heard_s = time.monotonic()
                await asyncio.sleep(_PROBE_S)
        self._last_word = f"silent for {HUNG_S:g} s"
        self._child.kill()

    async def _heard(self) -> AsyncIterator[bytes]:
        async for line in self._child.lines():
            with contextlib.suppress(orjson.JSONDecodeError, LookupError, ValueError, TypeError):
                self._note(orjson.loads(line))
            yield line

    def _note(self, message: dict[str, Any]) -> None:
        """Remember what the next controller must know."""
        assert self._config is not None
        if "mode" in message:
            self._config = replace(self._config, mode=Mode(message["mode"]))
        elif "error" in message:
            self._last_word = str(message["error"]["message"])
