"""`edgewise capsule`: one decision in one redacted file, which replays and forks it on any machine.

It holds the slot's thread, that of the epoch whose result it took, what the language model answered there, and the
prompts that came in the seconds after (times, models, sizes: no text exists anywhere in a run).
"""

from __future__ import annotations

import asyncio
import gzip
import platform
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson

from agents.recordings import Call, Failure, Recording, input_hash
from agents.tool_recordings import ToolsDoor
from agents.toolbox import ToolAnswer, Tools
from edgewise.compose.recorded import Recorded
from edgewise.compose.redact import Scrub, redacted, scrubber
from edgewise.compose.replay import Replayed, replayed
from edgewise.control.hindsight import horizon_s
from edgewise.control.ports import ChatModel, ChatReply, ChatRequest, ToolCall, ToolSpec
from edgewise.control.state import EpochResult, Job
from edgewise.domain.codec import from_plain, to_plain
from edgewise.domain.errors import BadInput, ChatUnavailable, RunFailed
from edgewise.domain.records import PromptRow, PromptStatus
from graphs.replay import ReplayTools, Thread, run_again
from graphs.state import Plain, read

FORMAT = "edgewise-capsule/1"
PACKAGES = ("edgewise", "langgraph", "numpy", "numba", "pydantic")
GZIP, MOST_BYTES = b"\x1f\x8b", 64 << 20
LONGER = 1.5  # horizons of prompts: a fork may look further ahead
SIZES = ("input_tokens", "output_tokens", "asked_output_tokens", "images", "steps")


@dataclass(frozen=True, slots=True)
class CapsuleThread:
    id: str
    values: dict[str, Any]
    decided: dict[str, Any] | None = None
    pending: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CapsuleTool:
    """What a planner's tool answered."""

    name: str
    arguments: str
    answer: ToolAnswer


@dataclass(frozen=True, slots=True)
class Capsule:
    """prompts: [arrived_s, model, access node, *SIZES]. row: the line of decisions.jsonl, if there was one."""

    format: str
    slot: int
    made_with: dict[str, str]
    anonymised: bool
    threads: tuple[CapsuleThread, ...]
    row: dict[str, Any] | None = None
    recordings: tuple[Recording, ...] = ()
    prompts: tuple[tuple[Any, ...], ...] = field(default=())
    tools: tuple[CapsuleTool, ...] = ()


def make_capsule(recorded: Recorded, slot: int, anonymise: bool = False) -> tuple[Capsule, Replayed]:
    """The capsule of a slot's decision, and how it replays. Raises BadInput when the slot is not kept."""
    return asyncio.run(_made(recorded, slot, anonymise))


async def _made(recorded: Recorded, slot: int, anonymise: bool) -> tuple[Capsule, Replayed]:
    decision = recorded.decision(slot)
    taken = _epoch_taken(recorded, decision)
    job = read(Job, decision.values, "job")
    nodes = [n.id for n in job.observation.node_specs]
    scrub = scrubber(nodes if anonymise else (), ())
    threads = [_redacted_thread(t, scrub) for t in (taken, decision) if t is not None]
    recordings, tools = await _recordings(recorded, taken, threads[0], scrub) if taken is not None else ((), ())
    row = recorded.rows.get(decision.id)
    capsule = Capsule(
        FORMAT, slot, {**{p: version(p) for p in PACKAGES}, "python": platform.python_version()}, anonymise,
        tuple(CapsuleThread(t.id, t.values, t.decided, t.pending) for t in threads),
        redacted(row, scrub) if row is not None else None,
        recordings,
        tuple(tuple(redacted(x, scrub)) for x in _prompts(recorded.prompts, job, decision)),
        tools,
    )  # fmt: skip
    return capsule, await replayed(opened_capsule(capsule, "capsule"))


def write_capsule(capsule: Capsule, path: Path) -> int:
    """Bytes written; compressed when the name ends in .gz. Raises RunFailed."""
    data = orjson.dumps(to_plain(capsule), option=orjson.OPT_SORT_KEYS)
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    try:
        path.write_bytes(data)
    except OSError as error:
        raise RunFailed(f"cannot write the capsule: {error.strerror}", where=str(path)) from error
    return len(data)


def read_capsule(path: Path) -> Recorded:
    """A capsule as a recorded run of one decision. Raises BadInput for any other file."""
    try:
        data = path.read_bytes()
        plain = orjson.loads(_unpacked(data) if data[:2] == GZIP else data)
    except (OSError, EOFError, ValueError) as error:
        raise BadInput(f"not a capsule: {error}", where=str(path), hint=_HINT) from error
    if not isinstance(plain, dict) or plain.get("format") != FORMAT:
        raise BadInput(f"not a capsule of format {FORMAT}", where=str(path), hint=_HINT)
    return opened_capsule(from_plain(Capsule, plain, str(path)), str(path))


def _unpacked(data: bytes) -> bytes:
    with gzip.open(BytesIO(data)) as file:
        found = file.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES >> 20} MiB unpacked")
    return found


_HINT = "a capsule is written by `edgewise capsule RUN --slot N`"


def opened_capsule(capsule: Capsule, name: str) -> Recorded:
    threads = tuple(Thread(t.id, t.values, t.pending, t.decided, capsule.slot) for t in capsule.threads)
    rows: Mapping[str, dict[str, Any]] = {capsule.row["id"]: capsule.row} if capsule.row else {}
    prompts = tuple(_prompt(i, row) for i, row in enumerate(capsule.prompts))
    return Recorded(name, threads, rows, lambda: CapsuleChat(capsule.recordings), prompts, told_tools(capsule.tools))


class CapsuleChat:
    """Implements ports.ChatModel from the recordings of a capsule, as ReplayChat does from a folder."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._calls = {r.hash: list(r.calls) for r in recordings}

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        calls = self._calls.get(input_hash(request))
        if not calls:
            raise ChatUnavailable("this call was not recorded")
        return _reply(calls.pop(0) if len(calls) > 1 else calls[0])

    async def aclose(self) -> None:
        """Nothing to close."""


class Spy:
    """Hears what another model is asked and how it ends, by the request's key."""

    def __init__(self, inner: ChatModel) -> None:
        self._inner = inner
        self.heard: dict[str, list[Call]] = defaultdict(list)

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        try:
            reply = await self._inner.ask(request, timeout_s)
        except ChatUnavailable as error:
            self.heard[request.key].append(Call(failure=Failure(error.message, error.retry_after_s)))
            raise
        self.heard[request.key].append(Call(reply=reply))
        return reply

    async def aclose(self) -> None:
        await self._inner.aclose()


class Retold:
    """Answers each key's requests in turn with what was heard, and records them under what is asked now."""

    def __init__(self, heard: Mapping[str, Sequence[Call]]) -> None:
        self._heard = {key: list(calls) for key, calls in heard.items()}
        self.recordings: list[Recording] = []

    async def ask(self, request: ChatRequest, timeout_s: float) -> ChatReply:
        calls = self._heard.get(request.key)
        if not calls:
            raise ChatUnavailable("this call was not recorded")
        self.recordings.append(Recording(input_hash(request), request, (calls[0],)))
        return _reply(calls.pop(0))

    async def aclose(self) -> None:
        """Nothing to close."""


class ToldTools:
    """Implements Tools: answers what is known of a call, asks `inner` for the rest and keeps what that said."""

    def __init__(self, inner: Tools, known: dict[tuple[str, str], ToolAnswer]) -> None:
        self._inner, self._known = inner, known

    @property
    def specs(self) -> Sequence[ToolSpec]:
        return self._inner.specs

    async def call(self, call: ToolCall) -> ToolAnswer:
        key = (call.name, call.arguments)
        if key not in self._known:
            self._known[key] = await self._inner.call(call)
        return self._known[key]


def told_tools(tools: Sequence[CapsuleTool]) -> ToolsDoor:
    known = {(t.name, t.arguments): t.answer for t in tools}
    return lambda inner, job, result: ToldTools(inner, known)


async def _recordings(
    recorded: Recorded, epoch: Thread, again: Thread, scrub: Scrub
) -> tuple[tuple[Recording, ...], tuple[CapsuleTool, ...]]:
    """What the epoch's language model said, under the requests that the redacted epoch makes, and what its tools
    answered."""
    spy, heard_tools = Spy(recorded.chat()), dict[tuple[str, str], ToolAnswer]()

    def door(inner: Tools, job: Job, result: EpochResult) -> Tools:
        return ToldTools(recorded.tools(inner, job, result) if recorded.tools else inner, heard_tools)

    await run_again(epoch, ReplayTools(epoch, epoch.settings(), spy, tools=door))
    tools = tuple(
        from_plain(CapsuleTool, redacted(to_plain(CapsuleTool(*key, answer)), scrub))
        for key, answer in heard_tools.items()
    )
    heard = {key: [from_plain(Call, redacted(to_plain(c), scrub)) for c in calls] for key, calls in spy.heard.items()}
    told = Retold(heard)
    await run_again(again, ReplayTools(again, again.settings(), told, tools=told_tools(tools)))
    joined: dict[str, Recording] = {}
    for r in told.recordings:
        before = joined.get(r.hash)
        joined[r.hash] = Recording(r.hash, r.request, (*(before.calls if before else ()), *r.calls))
    return tuple(joined.values()), tools


def _reply(call: Call) -> ChatReply:
    if call.reply is not None:
        return call.reply
    failure = call.failure or Failure("the recorded call has no end")
    raise ChatUnavailable(failure.message, retry_after_s=failure.retry_after_s)


def _epoch_taken(recorded: Recorded, decision: Thread) -> Thread | None:
    """The epoch whose result the decision took, if it is kept."""
    result: Plain | None = decision.values["ticket"].get("result")
    name = (result or {}).get("id", "").removesuffix("-llm")
    return next((t for t in recorded.threads if t.id == name and t.whole), None)


def _redacted_thread(t: Thread, scrub: Scrub) -> Thread:
    decided = redacted(t.decided, scrub) if t.decided is not None and t.decided != t.values.get("decision") else None
    return Thread(t.id, redacted(t.values, scrub), t.pending, decided)


def _prompts(rows: Sequence[PromptRow], job: Job, decision: Thread) -> list[list[Any]]:
    from_s = job.observation.at_s
    until_s = from_s + LONGER * horizon_s(job, decision.settings())
    mine = sorted((r for r in rows if from_s <= r.arrived_s < until_s), key=lambda r: r.arrived_s)
    return [[r.arrived_s, r.model, r.access_node, *(getattr(r, name) for name in SIZES)] for r in mine]


def _prompt(i: int, row: Sequence[Any]) -> PromptRow:
    at_s, model, access = row[:3]
    sizes = dict(zip(SIZES, row[3:], strict=True))
    return PromptRow(str(i), model, access, None, at_s, None, None, PromptStatus.PENDING, None, 0, 0.0, 0.0, **sizes)
