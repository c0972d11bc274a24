"""Replay and what-if of a run for its control API: the same commands, in a process of its own with less priority.

A controller must not lose a slot to somebody's curiosity: the process takes what is left over, one at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson

from edgewise.domain.errors import BadInput, Refused, RunFailed

NICE, LONGEST_S = 10, 120.0


class RunReplays:
    """Implements serving.control_api.replays.Replays over a run directory."""

    def __init__(self, run: Path) -> None:
        self._run, self._busy = run, asyncio.Lock()

    async def replay(self, slot: int | None, newest: int) -> dict[str, Any]:
        which = ["--newest", str(newest)] if slot is None else ["--slot", str(slot)]
        return await self._ask(which)

    async def what_if(self, slot: int | None, edit: dict[str, Any]) -> dict[str, Any]:
        which = ["--newest", "1"] if slot is None else ["--slot", str(slot)]
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            file.write(orjson.dumps(edit))  # which is YAML, too
            file.flush()
            return await self._ask([*which, "--fork", file.name])

    async def _ask(self, options: list[str]) -> dict[str, Any]:
        if self._busy.locked():
            raise Refused("another replay is being computed", where="replay", hint="try again when it is done")
        async with self._busy:
            return await _command(["replay", str(self._run), "--json", *options])


async def _command(arguments: list[str]) -> dict[str, Any]:
    """The JSON document of an edgewise command. Raises BadInput for its exit code 2, RunFailed when it fails."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "edgewise.cli", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, NICE)
        async with asyncio.timeout(LONGEST_S):
            out, _ = await process.communicate()
    except TimeoutError as error:
        raise RunFailed(f"not done in {LONGEST_S:g} s", where="replay", hint="ask for fewer slots") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    try:
        document: dict[str, Any] = orjson.loads(out)
    except orjson.JSONDecodeError as error:
        raise RunFailed(f"ended with {process.returncode} and no answer", where="replay") from error
    if (wrong := document.get("error")) is not None:
        kind = BadInput if process.returncode == BadInput.exit_code else RunFailed
        # Where the edit was read from says nothing to who sent it.
        where = "edit" if wrong["where"].startswith(tempfile.gettempdir()) and "--fork" in arguments else "replay"
        raise kind(wrong["message"], where=where, hint=wrong["hint"])
    return document
