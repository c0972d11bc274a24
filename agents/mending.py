"""Bringing answers into shape: what is clear is kept, the rest is dropped and noted. What all agents need. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.answer import Names
from agents.names import nearest

MAX_NOTES = 12


@dataclass(frozen=True, slots=True)
class Cut:
    """Not usable; `reason` says why in words the model can act on."""

    reason: str


@dataclass(slots=True)
class Notes:
    """Collects what was changed, bounded."""

    names: Names
    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        if len(self.lines) < MAX_NOTES and line not in self.lines:
            self.lines.append(line)

    def node(self, value: Any) -> str | None:
        return self._known(value, self.names.nodes, "node")

    def model(self, value: Any) -> str | None:
        return self._known(value, self.names.models, "model")

    def _known(self, value: Any, known: tuple[str, ...], kind: str) -> str | None:
        name = nearest(value, known) if isinstance(value, str) else None
        if name is None:
            self.add(f"unknown {kind} {clean_text(str(value), 40)!r} dropped")
        elif name != value:
            self.add(f"{kind} {clean_text(value, 40)!r} read as {name!r}")
        return name


def clean_text(text: str, limit: int) -> str:
    """One printable line of at most `limit` characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())[:limit].rstrip()


def entries(value: Any, keys: tuple[str, ...]) -> Iterable[tuple[Any, Any]]:
    """(node, what is under the first of `keys`) of a list of objects, or the items of a mapping by node."""
    if isinstance(value, Mapping):
        if "node" not in value:
            yield from value.items()
            return
        value = [value]
    for entry in value if isinstance(value, list) else []:
        if isinstance(entry, Mapping) and "node" in entry:
            yield entry["node"], next((entry[k] for k in keys if k in entry), None)


def number(value: Any, low: float, high: float, what: str, notes: Notes) -> float | None:
    """A finite number in [low, high], also when it came as a string; None (noted) otherwise."""
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:
        notes.add(f"{what} {clean_text(str(value), 20)!r} is not a number from {low:g} to {high:g}; dropped")
        return None
    return number


def whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def rows(value: Any, key: str) -> Iterable[Mapping[str, Any]]:
    """The objects of a list (or the one object) that have `key`."""
    for entry in [value] if isinstance(value, Mapping) else value if isinstance(value, list) else []:
        if isinstance(entry, Mapping) and key in entry:
            yield entry


def fields_of(plain: Any, main: str) -> dict[str, Any] | None:
    """The object's fields by lower-case name; a wrapper around the one with `main` is opened. None: no object."""
    if not isinstance(plain, Mapping):
        return None
    fields = {str(k).strip().casefold(): v for k, v in plain.items()}
    inner = [v for v in fields.values() if isinstance(v, Mapping) and main in v]
    if main not in fields and len(inner) == 1:
        return fields_of(inner[0], main)
    return fields
