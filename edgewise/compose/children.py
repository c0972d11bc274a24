"""Long-running parts as child processes: configuration in on stdin, one line {"ready": …} out on stdout.

A child imports while its parent does other things and reads its configuration last. It dies with its parent. Its
stderr goes to a log file in the run directory.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson

from edgewise.domain.errors import BadInput, EdgewiseError, RunFailed, SetupError
from tools.process import start_process

_ERRORS: dict[str, type[EdgewiseError]] = {e.code: e for e in (BadInput, SetupError, RunFailed)}


class Child:
    """One part of the run, `python -m edgewise.compose.child ROLE`."""

    def __init__(self, role: str, log_dir: Path) -> None:
        self.role = role
        self._log_path = log_dir / f"{role}.log"
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it; it imports and waits for `configure`."""
        with self._log_path.open("ab") as log:
            self._process = await start_process(
                sys.executable,
                "-m",
                "edgewise.compose.child",
                self.role,
                str(os.getpid()),
                stdin=PIPE,
                stdout=PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the parent alone, which stops the parts in order
            )

    async def configure(self, config: bytes, timeout_s: float = 60.0) -> dict[str, Any]:
        """Send its configuration (JSON on one line) and wait for its word that it is ready."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(config + b"\n")
            await self._process.stdin.drain()
            async with asyncio.timeout(timeout_s):
                line = await self._process.stdout.readline()
            answer = orjson.loads(line) if line else None
        except (TimeoutError, ConnectionError, orjson.JSONDecodeError) as error:
            raise RunFailed(f"the {self.role} did not start: {self.tail() or error}", where=self.role) from error
        if not isinstance(answer, dict):
            raise RunFailed(f"the {self.role} did not start: {self.tail()}", where=self.role)
        if "error" in answer:
            said = answer["error"]
            kind = _ERRORS.get(said["code"], RunFailed)
            raise kind(said["message"], where=said["where"], hint=said["hint"])
        ready: dict[str, Any] = answer["ready"]
        return ready

    async def ended(self) -> str:
        """Wait for its end. How it ended, in words."""
        assert self._process is not None
        code = await self._process.wait()
        if code < 0:
            return f"signal {-code}"
        words = self.tail()
        return f"exit code {code}" + (f": {words}" if code and words else "")

    async def lines(self) -> AsyncIterator[bytes]:
        """What it says on stdout after `configure`, line by line, until it ends."""
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            yield line

    async def send(self, message: dict[str, Any]) -> None:
        """One JSON line to its stdin; nothing when it is gone."""
        if not self.alive or self._process is None or self._process.stdin is None:
            return
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(orjson.dumps(message) + b"\n")
            await self._process.stdin.drain()

    def kill(self) -> None:
        """SIGKILL, at once."""
        with contextlib.suppress(ProcessLookupError):
            if self._process is not None:
                self._process.kill()

    async def stop(self, timeout_s: float) -> bool:
        """SIGTERM, then SIGKILL past the timeout. True when it ended by itself."""
        process = self._process
        if process is None or process.returncode is not None:
            return True
        process.terminate()
        try:
            async with asyncio.timeout(timeout_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            return False
        return True

    def tail(self) -> str:
        """The last line of its log."""
        try:
            lines = self._log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        return lines[-1][:300] if lines else ""
