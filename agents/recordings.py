"""Every call of a language model on disk, keyed by the hash of its input, and a model that answers from there."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import tempfile
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgewise.control.ports import ChatModel, ChatReply, ChatRequest
from edgewise.domain.codec import from_json, to_json, to_plain
from edgewise.domain.errors import BadInput, ChatUnavailable

# The newest are kept: far more than the decisions that checkpoints can make again.
KEPT_FILES = 10_000
PRUNED_EVERY = 500  # calls

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that ended in ChatUnavailable."""

    message: str
    retry_after_s: float | None = None
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Call:
    """One call's end: reply or failure. late: whoever asked had given up by then and heard neither."""

    reply: ChatReply | None = None
    failure: Failure | None = None
    late: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """One file: an input and what came of it, in order when the same was asked more than once."""

    hash: str
    request: ChatRequest
    calls: tuple[Call, ...]


def input_hash(request: ChatRequest) -> str:
    """SHA-256 over everything the model is given, hex."""
    return hashlib.sha256(to_json(to_plain(request))).hexdigest()


def recording_path(folder: Path, request: ChatRequest) -> Path:
    return folder / f"{request.key}-{input_hash(request)[:16]}.json"


class RecordingChat:
    """Implements ports.ChatModel: passes every call to `inner` and stores it in `folder`. A folder that cannot be
    written costs the recording (logged), not the answer."""

    def __init__(self, inner: ChatModel, folder: Path) -> None:
        self._inner = inner
        self._folder = folder
        self._writing = asyncio.Lock()
        self._stored = 0
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        try:
            reply = await self._inner.ask(request, timeout_s)
        except ChatUnavailable as error:
            await self._keep(request, Call(failure=Failure(error.message, error.retry_after_s, error.asked)))
            raise
        except asyncio.CancelledError:
            self._behind(self._store(request, Call(failure=Failure("no answer"), late=True)))
            raise
        await self._keep(request, Call(reply=reply))
        return reply

    async def aclose(self) -> None:
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._inner.aclose()

    async def _keep(self, request: ChatRequest, call: Call) -> None:
        """Stores the call. Whoever asked may give up while it is written: then that is what happened."""
        try:
            await asyncio.shield(self._behind(self._store(request, call)))
        except asyncio.CancelledError:
            self._behind(self._store(request, replace(call, late=True), instead=True))
            raise

    def _behind(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _store(self, request: ChatRequest, call: Call, instead: bool = False) -> None:
        async with self._writing:
            try:
                await asyncio.to_thread(_append, self._folder, request, call, instead)
                self._stored += 1
                if self._stored % PRUNED_EVERY == 0:
                    await asyncio.to_thread(prune, self._folder)
            except (OSError, ValueError) as error:  # ValueError: text that has no encoding
                _log.warning("a language model call was not recorded in %s: %s", self._folder, error)


class ReplayChat:
    """Implements ports.ChatModel from a folder of recordings: the same input gets the same end, the n-th time the
    n-th (then the last). ChatUnavailable where there is none. Opens no socket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._asked: dict[str, int] = {}

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        path = recording_path(self._folder, request)
        recording = await asyncio.to_thread(_read, path)
        if recording is None or not recording.calls:
            raise ChatUnavailable("this call was not recorded", where=str(path))
        nth = self._asked.get(recording.hash, 0)
        self._asked[recording.hash] = nth + 1
        call = recording.calls[min(nth, len(recording.calls) - 1)]
        return end_of(call, str(path))

    async def aclose(self) -> None:
        """Nothing to close."""


def end_of(call: Call, where: str = "") -> ChatReply:
    """How the call ended for whoever asked: the reply, ChatUnavailable, or TimeoutError."""
    if call.late:
        raise TimeoutError("whoever asked had given up")
    if call.reply is not None:
        return call.reply
    failure = call.failure or Failure("the recorded call has no end")
    raise ChatUnavailable(failure.message, where=where, retry_after_s=failure.retry_after_s, asked=failure.asked)


def _append(folder: Path, request: ChatRequest, call: Call, instead: bool = False) -> None:
    """Adds a call to its file, or puts it in the place of the last one that is the same but for `late`; atomically: a
    reader sees the file before or after, never half of it."""
    path = recording_path(folder, request)
    before = _read(path)
    calls = list(before.calls) if before else []
    if instead and (same := replace(call, late=False)) in calls:
        calls[len(calls) - 1 - calls[::-1].index(same)] = call
    else:
        calls.append(call)
    recording = Recording(input_hash(request), request, tuple(calls))
    write_atomically(path, to_json(recording))


def prune(folder: Path, kept: int = KEPT_FILES) -> None:
    """Deletes the oldest recordings beyond `kept`, of models and of tools."""
    files = sorted(((p.stat().st_mtime, p) for p in folder.glob("*.json")), reverse=True)
    for _, path in files[kept:]:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Makes the folder where there is none. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(path: Path) -> Recording | None:
    try:
        return from_json(Recording, path.read_bytes(), str(path))
    except (OSError, BadInput):
        return None
