"""Bringing a parsed but imperfect answer into the planner's schema: what is clear is kept, the rest is dropped
and noted. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.answer import (
    MAX_ALPHA,
    MAX_EXPIRES_SLOTS,
    MAX_REASON_CHARS,
    MAX_ROLE_CHARS,
    Names,
    NodeModels,
    NodeRole,
    PlannerAnswer,
)
from agents.names import nearest

MAX_NOTES = 12


@dataclass(frozen=True, slots=True)
class Cut:
    """Not usable; `reason` says why in words the model can act on."""

    reason: str


@dataclass(slots=True)
class _Notes:
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


def shaped(plain: Any, closed: bool, names: Names) -> tuple[PlannerAnswer, tuple[str, ...]] | Cut:
    """The answer and notes of what was changed. `closed` False: the text ended inside this value."""
    fields = _fields(plain)
    if fields is None or "replicas" not in fields:
        return Cut("no object with a `replicas` list")
    # Keys keep their order, so a later key proves that the placement was finished before the cut.
    if not closed and list(fields)[-1] == "replicas":
        return Cut("the answer ends in the middle of the placement")
    notes = _Notes(names)
    placement = _placement(fields["replicas"], notes)
    if not any(placement.values()):
        return Cut("; ".join(["`replicas` names no known node with a known model", *notes.lines[:3]]))
    answer = PlannerAnswer(
        replicas=[NodeModels(node=n, models=m) for n, m in placement.items()],
        roles=_roles(fields.get("roles"), notes),
        alpha=_number(fields.get("alpha"), 0.0, MAX_ALPHA, "alpha", notes),
        expires_slots=_whole(_number(fields.get("expires_slots"), 1, MAX_EXPIRES_SLOTS, "expires_slots", notes)),
        reason=clean_text(str(fields.get("reason") or ""), MAX_REASON_CHARS),
    )
    return answer, tuple(notes.lines)


def clean_text(text: str, limit: int) -> str:
    """One printable line of at most `limit` characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())[:limit].rstrip()


def _fields(plain: Any) -> dict[str, Any] | None:
    """The object's fields by lower-case name; a bare list counts as the placement, a wrapper is opened."""
    if isinstance(plain, list):
        entries = plain and all(isinstance(e, Mapping) and "node" in e for e in plain)
        return {"replicas": plain} if entries else None
    if not isinstance(plain, Mapping):
        return None
    fields = {str(k).strip().casefold(): v for k, v in plain.items()}
    inner = [v for v in fields.values() if isinstance(v, Mapping) and "replicas" in v]
    if "replicas" not in fields and len(inner) == 1:
        return _fields(inner[0])
    return fields


def _placement(value: Any, notes: _Notes) -> dict[str, list[str]]:
    """Models by node. Takes a list of {node, models}, of {node, model}, or a mapping from node to models."""
    placement: dict[str, list[str]] = {}
    for name, wanted in _entries(value, ("models", "model")):
        node = notes.node(name)
        if node is None:
            continue
        here = placement.setdefault(node, [])
        for item in _models(wanted, notes):
            model = notes.model(item)
            if model is not None and model not in here:
                here.append(model)
    return placement


def _entries(value: Any, keys: tuple[str, ...]) -> Iterable[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        if "node" not in value:
            yield from value.items()
            return
        value = [value]
    for entry in value if isinstance(value, list) else []:
        if isinstance(entry, Mapping) and "node" in entry:
            yield entry["node"], next((entry[k] for k in keys if k in entry), None)


def _models(value: Any, notes: _Notes) -> list[Any]:
    """Model names from a list, a comma-separated string, or a mapping from model to weight."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, Mapping):
        return [m for m, w in value.items() if _number(w, 0.0, 1.0, f"weight of {clean_text(str(m), 40)}", notes)]
    if not isinstance(value, list):
        return []
    return [
        next((i[k] for k in ("model", "id", "name") if k in i), i) if isinstance(i, Mapping) else i for i in value
    ]


def _roles(value: Any, notes: _Notes) -> list[NodeRole]:
    roles: dict[str, str] = {}
    for name, role in _entries(value, ("role",)):
        node = notes.node(name)
        if node is not None and isinstance(role, str) and role.strip():
            roles[node] = clean_text(role, MAX_ROLE_CHARS)
    return [NodeRole(node=n, role=r) for n, r in roles.items()]


def _number(value: Any, low: float, high: float, what: str, notes: _Notes) -> float | None:
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


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
