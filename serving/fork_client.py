"""The client of the fork server, for the composition root. Imports no torch."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgewise.domain.codec import to_plain
from edgewise.domain.errors import ClusterUnavailable, SetupError
from serving.node.config import NodeConfig
from tools.process import start_process

START_S = 180.0  # importing torch from a cold disk on a slow machine
STOP_S = 8.0


@dataclass(frozen=True, slots=True)
class Spawned:
    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class NodeExited:
    """A node process ended: by `signal` (0: none), else with exit code `code`."""

    node: str
    pid: int
    signal: int
    code: int


class ForkServer:
    """Starts the fork server as a child and talks to it. `log`: file its and its nodes' stderr is appended to
    (None: ours). Belongs to one event loop."""

    def __init__(self, log: Path | None = None, threads: int = 1) -> None:
        self.import_s = 0.0
        self._log = log
        self._threads = threads
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None]
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}  # by node id or folder
        self._exits: asyncio.Queue[NodeExited | None] = asyncio.Queue()

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def start(self, timeout_s: float = START_S) -> None:
        """Returns when the libraries are imported. Raises SetupError."""
        self._ready = asyncio.get_running_loop().create_future()
        command = (sys.executable, "-m", "serving.forkserver", "--threads", str(self._threads))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with contextlib.ExitStack() as files:
            log: BinaryIO | None = files.enter_context(self._log.open("ab")) if self._log else None
            # Its own session: a Ctrl-C at the terminal is ours to handle, in our order.
            self._process = await start_process(
                *command, stdin=PIPE, stdout=PIPE, stderr=log, env=environment, start_new_session=True
            )
        self._reader = asyncio.create_task(self._read(self._process))
        try:
            await asyncio.wait_for(self._ready, timeout_s)
        except (TimeoutError, ClusterUnavailable) as error:
            await self.stop()
            where = str(self._log) if self._log else "fork server"
            raise SetupError("the fork server did not start", where=where, hint="run `edgewise doctor`") from error

    async def spawn(self, config: NodeConfig) -> Spawned:
        """Fork a node process. It listens when this returns; on another port when `config.port` is taken.
        Raises ClusterUnavailable."""
        answer = await self._ask(config.node.id, {"cmd": "spawn", "config": to_plain(config)})
        return Spawned(pid=answer["pid"], port=answer["port"])

    async def make_tiny(self, folder: Path) -> None:
        """Write the tiny checkpoints that are missing in `folder`. Raises SetupError."""
        try:
            await self._ask(str(folder), {"cmd": "tiny", "folder": str(folder)})
        except ClusterUnavailable as error:
            raise SetupError(error.message, hint=error.hint) from error

    async def exits(self) -> AsyncIterator[NodeExited]:
        """Every node process that ends, as it happens; ends when the fork server does. One consumer."""
        while (event := await self._exits.get()) is not None:
            yield event

    async def stop(self, timeout_s: float = STOP_S) -> None:
        """End all nodes and the fork server, by force past `timeout_s`. Safe to call again."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        if not self._ready.done():
            process.kill()  # it is importing, hears nothing, and has no children yet
        try:
            await asyncio.wait_for(process.wait(), timeout_s)
        except TimeoutError:
            process.kill()  # its children die with it
            await process.wait()
        if self._reader is not None:
            await self._reader

    async def _ask(self, key: str, command: dict[str, Any]) -> dict[str, Any]:
        if self._process is None or self._process.stdin is None:
            raise ClusterUnavailable("the fork server is not running")
        if key in self._answers:
            raise ClusterUnavailable(f"{key} was asked for already")
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[key] = answer
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            await self._process.stdin.drain()
            return await answer
        except ConnectionError as error:
            raise ClusterUnavailable("the fork server has ended") from error
        finally:
            self._answers.pop(key, None)

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            self._hear(json.loads(line))
        gone = ClusterUnavailable("the fork server has ended")
        if not self._ready.done():
            self._ready.set_exception(gone)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(gone)
        self._exits.put_nowait(None)

    def _hear(self, event: dict[str, Any]) -> None:
        match event:
            case {"event": "ready", "import_s": float(seconds)}:
                self.import_s = seconds
                if not self._ready.done():
                    self._ready.set_result(None)
            case {"event": "exited", "node": node, "pid": pid, "signal": number, "code": code}:
                self._exits.put_nowait(NodeExited(node, pid, number, code))
            case {"event": "spawned", "node": key} | {"event": "made", "folder": key}:
                self._settle(key, event, None)
            case {"event": "refused", "node": key, "message": message, "hint": hint}:
                self._settle(key, event, ClusterUnavailable(message, hint=hint))

    def _settle(self, key: str, event: dict[str, Any], error: ClusterUnavailable | None) -> None:
        answer = self._answers.get(key)
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(event)
        else:
            answer.set_exception(error)
