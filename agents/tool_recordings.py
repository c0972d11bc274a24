"""Tool calls on disk, keyed by the hash of their input, and tools that answer from there.

Most of the planner's tools are pure functions of their job, so a replay could run them again; but what they said
then, and how long it took, is what the conversation went by, and a later version may say it differently.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.recordings import write_atomically
from agents.toolbox import ToolAnswer, Tools
from edgewise.control.ports import ToolCall, ToolSpec
from edgewise.control.state import EpochResult, Job
from edgewise.domain.codec import from_json, to_json, to_plain
from edgewise.domain.errors import BadInput

_log = logging.getLogger(__name__)

# Wraps the tools of one decision; given its job and the optimiser's result.
ToolsDoor = Callable[[Tools, Job, EpochResult], Tools]


@dataclass(frozen=True, slots=True)
class ToolRecord:
    """One file: a call, the hash of the state it was about, and the answer."""

    hash: str
    name: str
    arguments: str
    state: str
    answer: ToolAnswer


def state_hash(job: Job, result: EpochResult) -> str:
    """SHA-256 over all that a tool's answer depends on beside its arguments and the settings, hex."""
    return hashlib.sha256(to_json(to_plain(job)) + to_json(to_plain(result))).hexdigest()


def call_hash(state: str, call: ToolCall) -> str:
    return hashlib.sha256(to_json([state, call.name, call.arguments])).hexdigest()


def record_path(folder: Path, call_id: str) -> Path:
    return folder / f"tool-{call_id[:16]}.json"


class _Folder:
    """The tools of one decision, and the folder of their records."""

    def __init__(self, inner: Tools, job: Job, result: EpochResult, folder: Path) -> None:
        self._inner, self._folder, self._state = inner, folder, state_hash(job, result)

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return self._inner.specs


class RecordingTools(_Folder):
    """Implements Tools: passes calls to `inner` and stores each answer. A folder that cannot be written costs the
    record (logged), not the answer."""

    async def call(self, call: ToolCall) -> ToolAnswer:
        answer = await self._inner.call(call)
        name = call_hash(self._state, call)
        record = ToolRecord(name, call.name, call.arguments, self._state, answer)
        try:
            await asyncio.to_thread(write_atomically, record_path(self._folder, name), to_json(record))
        except (OSError, ValueError) as error:
            _log.warning("a tool call was not recorded in %s: %s", self._folder, error)
        return answer


class ReplayTools(_Folder):
    """Implements Tools from a folder of records; a call that was not recorded is passed to `inner`."""

    async def call(self, call: ToolCall) -> ToolAnswer:
        path = record_path(self._folder, call_hash(self._state, call))
        try:
            return from_json(ToolRecord, await asyncio.to_thread(path.read_bytes), str(path)).answer
        except (OSError, BadInput):
            return await self._inner.call(call)


def recording(folder: Path) -> ToolsDoor:
    """For graphs.ports.Ports.tools: every call is recorded in `folder`."""
    return lambda inner, job, result: RecordingTools(inner, job, result, folder)


def replaying(folder: Path) -> ToolsDoor:
    """For graphs.ports.Ports.tools: calls are answered from `folder`."""
    return lambda inner, job, result: ReplayTools(inner, job, result, folder)
