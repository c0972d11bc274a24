"""A decision made again, held against what was recorded: where they part, in words.

What may differ is taken out by the rules named here, and nothing else is:
seconds      what a language model's call took (the recording has it, a failed call is timed by us)
carried-out  what became of changes that were pending, and what the routers said: that is after the decision
afterwards   outcome and hindsight, written into the record slots later
person       what a person made of it: the gate's word is compared
fields       a field that records had not yet when it was recorded counts as its default
digits       figures that agree to nine digits are equal (another processor may round the last one differently)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgewise.control.decide import Pool
from edgewise.control.state import EpochResult, Job, NodeOrder
from edgewise.domain.codec import from_plain
from edgewise.domain.decision import Decision
from edgewise.domain.errors import BadInput
from graphs.state import Plain, dump
from tools.rundir import decision_of, decision_row

# Channels of each graph in the order they are made, and the node that makes each.
SLOT_CHANNELS = (("observe", "job"), ("schedule", "pool"), ("deploy", "orders"), ("gate", "decision"))
EPOCH_CHANNELS = (("observe", "job"), ("propose", "result"))
KINDS: dict[str, type[Any]] = {
    "job": Job, "pool": Pool, "orders": NodeOrder, "decision": Decision, "result": EpochResult,
}  # fmt: skip
AFTERWARDS = frozenset({"realised", "approval", "seconds"})
DIGITS = 1e-9
MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class Difference:
    """node: of the graph, where the two part first; empty where that is not known. diff: lines."""

    node: str
    diff: str


def differences(recorded: Mapping[str, Any], again: Mapping[str, Any], channels: Sequence[tuple[str, str]],
                decided: Plain | None = None) -> Difference | None:  # fmt: skip
    """The first channel of two states that is not the same; None when all are. decided: the recorded gate's word,
    where the state has another by now."""
    for node, channel in channels:
        if channel not in recorded and channel not in again:
            continue
        was = decided if channel == "decision" and decided is not None else recorded.get(channel)
        was = _with_fields(was, channel)
        lines = list(unlike(was, again.get(channel), channel))
        if lines:
            return Difference(_cause(node, lines), _text(lines))
    return None


def row_difference(row: Plain, again: Plain) -> Difference | None:
    """A line of decisions.jsonl against the same line made again."""
    try:
        row = decision_row(decision_of(row))
    except BadInput as error:
        return Difference("", f"decisions.jsonl: {error.message}")
    lines = list(unlike(row, again, "decisions.jsonl"))
    return Difference("", _text(lines)) if lines else None


def _with_fields(was: Any, channel: str) -> Any:
    """The recorded value with every field that its record has now; as it is where it is no such record."""
    try:
        if isinstance(was, list):
            return [dump(from_plain(KINDS[channel], x)) for x in was]
        return dump(from_plain(KINDS[channel], was)) if was is not None else None
    except BadInput:
        return was


def unlike(was: Any, now: Any, at: str) -> Iterator[str]:
    """Lines that say where two plain values differ, by the rules above."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(was.keys() | now.keys()):
            if key not in AFTERWARDS:
                yield from unlike(*_kept(key, was.get(key), now.get(key)), f"{at}.{key}")
    elif isinstance(was, list | tuple) and isinstance(now, list | tuple):
        yield from _unlike_lists(list(was), list(now), at)
    elif not same(was, now):
        yield f"{at}: recorded {_short(was)}, replayed {_short(now)}"


def same(was: Any, now: Any) -> bool:
    if isinstance(was, float) or isinstance(now, float):
        numbers = isinstance(was, int | float) and isinstance(now, int | float)
        return numbers and math.isclose(was, now, rel_tol=DIGITS, abs_tol=1e-12)
    return bool(was == now)


def _unlike_lists(was: list[Any], now: list[Any], at: str) -> Iterator[str]:
    if len(was) == len(now):
        for i, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from unlike(a, b, f"{at}[{_label(a, i)}]")
        return
    gone, new = [x for x in was if x not in now], [x for x in now if x not in was]
    yield f"{at}: recorded {len(was)}, replayed {len(now)}"
    yield from (f"{at}: only recorded: {_short(x)}" for x in gone)
    yield from (f"{at}: only replayed: {_short(x)}" for x in new)


def _kept(key: str, was: Any, now: Any) -> tuple[Any, Any]:
    """Both without what the rules take out."""
    if key == "notes" and isinstance(was, list) and isinstance(now, list):
        return [x for x in was if not _routers(x)], [x for x in now if not _routers(x)]
    if key == "changes" and isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        pairs = [_settled(a, b) for a, b in zip(was, now, strict=True)]
        return [a for a, _ in pairs], [b for _, b in pairs]
    return was, now


def _settled(was: Any, now: Any) -> tuple[Any, Any]:
    if not (isinstance(was, dict) and isinstance(now, dict)) or now.get("status") != "pending":
        return was, now
    # decisions.jsonl names the reason `why`, as its `detail` is the change's.
    after = {"status", "why"} if "why" in now else {"status"} if "kind" in now else {"status", "detail"}
    return {k: v for k, v in was.items() if k not in after}, {k: v for k, v in now.items() if k not in after}


def _routers(note: Any) -> bool:
    return isinstance(note, str) and note.startswith("router: ")


def _cause(node: str, lines: Sequence[str]) -> str:
    if node == "observe" and all(line.startswith("job.cases") for line in lines):
        return "recall"
    return node


def _label(value: Any, index: int) -> str:
    """An element by its name, where it has one."""
    if isinstance(value, dict):
        names = [value[k] for k in ("source", "from", "plan", "access_node", "node", "model", "kind") if k in value]
        words = [x for x in names if isinstance(x, str) and x]
        if words:
            return " ".join(words)
    return str(index)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        value = {k: v for k, v in value.items() if not isinstance(v, dict | list)}
        return " ".join(f"{k}={v}" for k, v in value.items())[:160]
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:157]}…"


def _text(lines: Sequence[str]) -> str:
    more = len(lines) - MOST_LINES
    return "\n".join([*lines[:MOST_LINES], *([f"… and {more} more"] if more > 0 else [])])
