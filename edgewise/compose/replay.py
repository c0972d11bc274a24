"""`edgewise replay`: the decisions of a run made again from its checkpoints and recordings, and held against what was
recorded. Nothing is written, no socket is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langsmith.run_helpers import tracing_context

from edgewise.compose.recorded import Recorded
from edgewise.domain.decision import Decision
from edgewise.domain.errors import BadInput, EdgewiseError
from graphs.comparing import EPOCH_CHANNELS, SLOT_CHANNELS, Difference, differences, row_difference
from graphs.proposing import Heard
from graphs.replay import ReplayTools, Thread, run_again
from graphs.state import read
from tools.rundir import decision_row

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SlotDifference:
    slot: int
    node: str
    diff: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """slots: those made again, each with the epoch it started, if any. older: slots whose checkpoints were not kept.
    notes: what else could not be made again, in words."""

    slots: int
    different: tuple[SlotDifference, ...]
    older: int = 0
    notes: tuple[str, ...] = ()

    @property
    def identical(self) -> int:
        return self.slots - len({d.slot for d in self.different})

    def as_dict(self) -> dict[str, Any]:
        different = [{"slot": d.slot, "node": d.node, "diff": d.diff} for d in self.different]
        return {"slots": self.slots, "identical": self.identical, "different": different}


def replay(
    recorded: Recorded, slot: int | None = None, say: Say = lambda _: None, newest: int | None = None
) -> Replayed:
    """Every recorded decision again, or those of one slot or of the newest. Raises BadInput when there is none."""
    return asyncio.run(replayed(recorded, slot, say, newest))


async def replayed(
    recorded: Recorded, slot: int | None = None, say: Say = lambda _: None, newest: int | None = None
) -> Replayed:
    """As `replay`, in a running loop."""
    threads = [t for t in recorded.threads if t.whole and slot in (None, t.slot)]
    if newest is not None:
        asked = set(sorted({t.slot for t in threads})[-newest:])
        threads = [t for t in threads if t.slot in asked]
    if not threads:
        raise _none(recorded, slot)
    heard = await asyncio.to_thread(recorded.heard)
    found: list[SlotDifference] = []
    with tracing_context(enabled=False):  # a tracer configured for other programs would be a socket
        for i, thread in enumerate(threads):
            parted = await _again(thread, heard, recorded)
            if parted is not None:
                found.append(SlotDifference(thread.slot, parted.node, _named(thread, parted.diff)))
            say(f"{i + 1} of {len(threads)} decisions replayed, {len(found)} different")
    slots = {t.slot for t in threads}
    older, notes = (0, ()) if slot is not None or newest is not None else recorded.missing()
    return Replayed(len(slots), tuple(sorted(found, key=lambda d: d.slot)), older, notes)


async def _again(thread: Thread, heard: Heard, recorded: Recorded) -> Difference | None:
    """Where the thread, made again, parts from its record. What stops it from being made again is a difference."""
    try:
        state = await run_again(thread, ReplayTools(thread, thread.settings(), heard))
    except EdgewiseError as error:
        return Difference("", f"cannot be made again: {error.line()}")
    except Exception as error:
        return Difference("", f"cannot be made again: {type(error).__name__}: {error}")
    if not thread.is_slot:
        return differences(thread.values, state, EPOCH_CHANNELS)
    parted = differences(thread.values, state, SLOT_CHANNELS, thread.decided)
    row = recorded.rows.get(thread.id)
    if parted is not None or row is None or row.get("approval"):
        return parted
    return row_difference(row, decision_row(read(Decision, state, "decision")))


def _named(thread: Thread, diff: str) -> str:
    return diff if thread.is_slot else f"epoch {thread.id}\n{diff}"


def _none(recorded: Recorded, slot: int | None) -> BadInput:
    known = sorted({t.slot for t in recorded.threads if t.whole})
    if slot is not None and known:
        return BadInput(f"no decision of slot {slot} is kept", where=recorded.name,
                        hint=f"there are slots {known[0]} to {known[-1]}")  # fmt: skip
    return BadInput("no decision that could be replayed", where=recorded.name,
                    hint="it holds no whole checkpoint; was it recorded by an earlier version?")  # fmt: skip


def lines_of(found: Replayed, name: str) -> Sequence[str]:
    """For a person."""
    lines = [f"{name}: {found.slots} slots replayed, {found.identical} identical, {len(found.different)} different"]
    for d in found.different:
        where = f"slot {d.slot}" + (f", {d.node}" if d.node else "")
        lines += [f"{where}:", *(f"  {line}" for line in d.diff.splitlines())]
    return [*lines, *remarks(found)]


def remarks(found: Replayed) -> Sequence[str]:
    """What was not replayed."""
    older = [f"{found.older} older slots are not kept"] if found.older else []
    return [*older, *found.notes]
