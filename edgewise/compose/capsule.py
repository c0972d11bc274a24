"""`edgewise capsule`: one decision in one redacted file, which replays and forks it on any machine.

It holds the slot's thread, that of the epoch whose result it took, what the language model answered there, and the
prompts that came in the seconds after (times, models, sizes: no text exists anywhere in a run).
"""

from __future__ import annotations

import asyncio
import gzip
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson

from agents.recordings import Recording
from agents.tool_recordings import ToolRecord
from edgewise.compose.recorded import Recorded
from edgewise.compose.redact import Scrub, redacted, scrubber
from edgewise.compose.replay import Replayed, replayed
from edgewise.compose.retelling import CapsuleChat, capsule_tools, retold
from edgewise.control.hindsight import horizon_s
from edgewise.control.state import Job
from edgewise.domain.codec import from_plain, to_plain
from edgewise.domain.errors import BadInput, RunFailed
from edgewise.domain.records import PromptRow, PromptStatus
from graphs.proposing import Heard
from graphs.replay import Thread
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
class Capsule:
    """prompts: [arrived_s, model, access node, *SIZES]. row: the line of decisions.jsonl, if there was one.
    recordings, tools, promql: what agents heard."""

    format: str
    slot: int
    made_with: dict[str, str]
    anonymised: bool
    threads: tuple[CapsuleThread, ...]
    row: dict[str, Any] | None = None
    recordings: tuple[Recording, ...] = ()
    tools: tuple[ToolRecord, ...] = ()
    promql: bool = False
    prompts: tuple[tuple[Any, ...], ...] = field(default=())


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
    told = await retold(
        recorded.heard(), zip((t for t in (taken, decision) if t is not None), threads, strict=True), scrub
    )
    row = recorded.rows.get(decision.id)
    capsule = Capsule(
        FORMAT, slot, {**{p: version(p) for p in PACKAGES}, "python": platform.python_version()}, anonymise,
        tuple(CapsuleThread(t.id, t.values, t.decided, t.pending) for t in threads),
        redacted(row, scrub) if row is not None else None,
        told.recordings,
        told.tools,
        told.promql,
        tuple(tuple(redacted(x, scrub)) for x in _prompts(recorded.prompts, job, decision)),
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
    return Recorded(
        name,
        threads,
        rows,
        lambda: Heard(CapsuleChat(capsule.recordings), capsule_tools(capsule.tools), capsule.promql),
        prompts,
    )


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
