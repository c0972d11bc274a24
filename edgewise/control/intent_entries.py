"""Intents from plain data: what a YAML file, a request or a language model says, checked key by key.

The form is that of the published schema. Beside `from_s` and `until_s` (seconds of the run) there are `from` and
`until`, which also take a time of day ("19:00", the next one) or a date with time ("2026-03-01T19:00"), in local
time unless it says otherwise.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, NoReturn

from edgewise.control.guard import LARGEST_ALPHA
from edgewise.domain.intent import Expected, Intent, LongestWait, Weight
from edgewise.domain.plan import ANY, Floor, ReplicaGoal

Loc = tuple[int | str, ...]
LARGEST_WEIGHT = 100.0
LARGEST_RATE, LARGEST_TIMES = 1e6, 1000.0
MOST_TEXT, MOST_ROWS = 1000, 200
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")


class Fault(ValueError):
    """What is wrong at a place (keys and positions from the top), and what to do."""

    def __init__(self, loc: Loc, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.loc, self.message, self.hint = loc, message, hint


@dataclass(frozen=True, slots=True)
class Moment:
    """A second of the run clock and what the local clock (with its zone) shows then."""

    at_s: float
    shows: datetime

    def clock(self, at_s: float) -> datetime:
        """What the local clock shows at a second of the run."""
        return self.shows + timedelta(seconds=at_s - self.at_s)


@dataclass(frozen=True, slots=True)
class Known:
    """Names an intent may use, and the moment that clock times are read at (None: seconds of the run only)."""

    models: Collection[str]
    nodes: Collection[str]
    moment: Moment | None = None


@dataclass(slots=True)
class _Reader:
    known: Known
    loc: Loc = ()
    seen: set[str] = field(default_factory=set)

    def fail(self, key: Loc, message: str, hint: str = "") -> NoReturn:
        raise Fault((*self.loc, *key), message, hint)

    def number(self, key: str, value: Any, low: float, high: float, above: bool = False) -> float:
        """A finite number in [low, high], or in (low, high]."""
        ok = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not ok or not low <= value <= high or (above and value == low):
            hint = f"a number {'above' if above else 'from'} {low:g} to {high:g}"
            self.fail((key,), f"{key} is {_shown(value)}", hint)
        return float(value)

    def name(self, key: str, value: Any, names: Collection[str], kind: str, any_too: bool = False) -> str:
        if value == ANY and any_too:
            return ANY
        if not isinstance(value, str) or value not in names:
            self.fail((key,), f"unknown {kind} {_shown(value)}", _nearest(str(value), names))
        return value


def intents_of(plain: Any, known: Known) -> tuple[Intent, ...]:
    """The intents of a list of mappings. Those without an id are called intent-1, intent-2, … Raises Fault."""
    if not isinstance(plain, list):
        raise Fault((), "intents are a list", "begin each with a dash")
    out: list[Intent] = []
    for i, entry in enumerate(plain):
        found = intent_of(entry, known, f"intent-{i + 1}", (i,))
        if any(found.id == x.id for x in out):
            raise Fault((i, "id"), f"id {found.id!r} is there twice", "give each an id of its own")
        out.append(found)
    return tuple(out)


def intent_of(plain: Any, known: Known, default_id: str, loc: Loc = ()) -> Intent:
    """One intent. Without a beginning it counts from the moment on (0 where there is none): what it announces turns
    then. Raises Fault for whatever is wrong with it."""
    r = _Reader(known, loc)
    keys = ("id", "text", "from", "from_s", "until", "until_s", *_ROWS, "alpha")
    given = _mapping(r, plain, keys)
    now_s = round(known.moment.at_s, 3) if known.moment is not None else 0.0
    begin_s = _when(r, given, "from", None)
    from_s = now_s if begin_s is None else begin_s
    until_s = _when(r, given, "until", begin_s)
    rows = {key: _rows(r, key, given.get(key), read) for key, read in _ROWS.items()}
    alpha = r.number("alpha", given["alpha"], 0.0, LARGEST_ALPHA) if given.get("alpha") is not None else None
    if not any(rows.values()) and alpha is None:
        r.fail((), "the intent asks for nothing", f"give it one of {', '.join((*_ROWS, 'alpha'))}")
    if until_s is not None and until_s <= from_s:
        r.fail(("until" if "until" in given else "until_s",), "it ends before it begins", "until comes after from")
    return Intent(
        id=_text(r, "id", given.get("id"), 80) or default_id,
        from_s=from_s,
        until_s=until_s,
        text=_text(r, "text", given.get("text"), MOST_TEXT),
        alpha=alpha,
        **rows,
    )


def _weight(r: _Reader, row: Any) -> Weight:
    x = _mapping(r, row, ("model", "weight", "access_node"), ("model", "weight"))
    return Weight(
        r.name("model", x["model"], r.known.models, "model"),
        r.number("weight", x["weight"], 0.0, LARGEST_WEIGHT, above=True),
        r.name("access_node", x.get("access_node") or ANY, r.known.nodes, "node", True),
    )


def _floor(r: _Reader, row: Any) -> Floor:
    x = _mapping(r, row, ("model", "share"), ("model", "share"))
    return Floor(r.name("model", x["model"], r.known.models, "model", True), r.number("share", x["share"], 0.0, 1.0))


def _pin(r: _Reader, row: Any) -> ReplicaGoal:
    x = _mapping(r, row, ("node", "model"), ("node", "model"))
    return ReplicaGoal(
        r.name("node", x["node"], r.known.nodes, "node"), r.name("model", x["model"], r.known.models, "model")
    )


def _wait(r: _Reader, row: Any) -> LongestWait:
    x = _mapping(r, row, ("latency_s", "model"), ("latency_s",))
    return LongestWait(
        r.number("latency_s", x["latency_s"], 0.0, 1e6, above=True),
        r.name("model", x.get("model") or ANY, r.known.models, "model", True),
    )


def _expected(r: _Reader, row: Any) -> Expected:
    x = _mapping(r, row, ("model", "access_node", "rate_per_s", "times"), ("model",))
    rate, times = x.get("rate_per_s"), x.get("times")
    if (rate is None) == (times is None):
        r.fail((), "expected demand needs rate_per_s or times, one of the two", "times: 4 is four times the usual")
    return Expected(
        r.name("model", x["model"], r.known.models, "model"),
        r.name("access_node", x.get("access_node") or ANY, r.known.nodes, "node", True),
        None if rate is None else r.number("rate_per_s", rate, 0.0, LARGEST_RATE),
        None if times is None else r.number("times", times, 0.0, LARGEST_TIMES),
    )


_ROWS: dict[str, Callable[[_Reader, Any], Any]] = {
    "weights": _weight, "floors": _floor, "pins": _pin, "waits": _wait, "demand": _expected,
}  # fmt: skip


def _rows(r: _Reader, key: str, value: Any, read: Callable[[_Reader, Any], Any]) -> tuple[Any, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or len(value) > MOST_ROWS:
        r.fail((key,), f"{key} is a list of at most {MOST_ROWS}", "begin each entry with a dash")
    return tuple(read(_Reader(r.known, (*r.loc, key, i)), row) for i, row in enumerate(value))


def _mapping(r: _Reader, value: Any, keys: Sequence[str], needed: Sequence[str] = ()) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        r.fail((), f"{_shown(value)} is no mapping of keys to values", f"keys: {', '.join(keys)}")
    for key in value:
        if key not in keys:
            r.fail((str(key),), f"unknown key {_shown(key)}", _nearest(str(key), keys))
    for key in needed:
        if value.get(key) is None:
            r.fail((), f"key {key!r} is missing", "add it")
    return dict(value)


def _when(r: _Reader, given: Mapping[str, Any], key: str, after_s: float | None) -> float | None:
    """Run seconds of `from` or `until`, None when not given. after_s: a time of day is the next one after it."""
    if given.get(f"{key}_s") is not None:
        if given.get(key) is not None:
            r.fail((key,), f"both {key} and {key}_s", "give one of the two")
        return r.number(f"{key}_s", given[f"{key}_s"], 0.0, 1e9)
    value = given.get(key)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return r.number(key, value, 0.0, 1e9)
    moment = r.known.moment
    text = value.isoformat() if isinstance(value, datetime) else str(value).strip()
    if moment is None:
        r.fail((key,), f"{key} is {_shown(value)}, and there is no clock to read it by", "give seconds of the run")
    if match := _CLOCK.fullmatch(text):
        begin = moment.shows if after_s is None else moment.clock(after_s)
        found = begin.replace(hour=int(match[1]), minute=int(match[2]), second=int(match[3] or 0), microsecond=0)
        found += timedelta(days=0 if found >= begin else 1)
    else:
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            r.fail((key,), f"{key} is {_shown(value)}", 'seconds, "19:00", or "2026-03-01T19:00"')
        found = found.replace(tzinfo=moment.shows.tzinfo) if found.tzinfo is None else found
    return max(0.0, round(moment.at_s + (found - moment.shows).total_seconds(), 3))


def _text(r: _Reader, key: str, value: Any, most: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str | int) or isinstance(value, bool) or len(str(value)) > most:
        r.fail((key,), f"{key} is a text of at most {most} characters")
    return str(value)


def _nearest(name: str, known: Collection[str]) -> str:
    near = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
